"""A team's index as its users write against it."""

from __future__ import annotations

from typing import Any, assert_type

import atdata
from atdata import AbstractDataStore, AbstractIndex, AtUri, Dataset, DatasetDict, IndexEntry, LocalDiskStore, LocalIndex
from atdata.records import Entry, Label, Schema


@atdata.packable
class Row:
    n: int


store = LocalDiskStore("stored")
index = LocalIndex("index.sqlite", data_store=store)
rows = atdata.write_samples([Row(1), Row(2)], "rows.tar")

assert_type(index.publish_schema(Row, version="1.0.0"), AtUri)
entry = index.insert_dataset(rows, name="rows", version="1.0.0", tags=["small"], metadata={"rate": 0.5})
assert_type(entry, Entry)
assert_type(index.get_dataset("rows@1.0.0"), Entry)
assert_type(index.update_dataset("rows", description="two rows"), Entry)
for listed in index.list_datasets(limit=10):
    assert_type(listed, Entry)
for label in index.list_labels(prefix="ro"):
    assert_type(label, Label)
for schema in index.list_schemas():
    assert_type(schema, Schema)

assert_type(index.load("rows"), DatasetDict[Any])
assert_type(index.load("rows", sample_type=Row), DatasetDict[Row])
assert_type(index.open(entry, Row), DatasetDict[Row])
assert_type(atdata.load_dataset("@local/rows", Row, split="train", index=index), Dataset[Row])
assert_type(atdata.load_dataset("rows", Row, index=index)["train"][0].n, int)


def through_ports(index: AbstractIndex, store: AbstractDataStore, entry: IndexEntry) -> None:
    """What takes a port takes what stands behind it."""
    print(index, store.read_url(entry.data_urls[0]))


through_ports(index, store, entry)


def refused() -> None:
    LocalIndex("index.sqlite", data_store="stored")  # type: ignore[arg-type]
    index.insert_dataset(rows)  # type: ignore[call-arg]
    index.insert_dataset([Row(1)], name="rows")  # type: ignore[arg-type]
