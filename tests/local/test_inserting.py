"""Inserting plans first: where an index refuses a dataset, its store is as it was, and nothing cut for it is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.dataset import Dataset, write_samples
from atdata.errors import AtdataError, ConflictError, LexiconError, LimitError, SampleError, SchemaError, UsageError
from atdata.local import LocalDiskStore, LocalIndex, S3DataStore
from support.s3_servers import S3Server


@atdata.packable
class Row:
    n: int


@atdata.packable
class Other:
    word: str


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int, file: str = "rows.tar") -> Dataset[Row]:
    return write_samples([Row(n) for n in numbers], file, overwrite=True)


def taken_key(index: LocalIndex) -> str:
    """The record key of an entry that is there."""
    return str(index.insert_dataset(rows(7, file="seven.tar"), name="seven").located.rkey)


REFUSED: dict[str, tuple[type[AtdataError], Callable[[LocalIndex], dict[str, Any]]]] = {
    "a version that stands for another dataset": (ConflictError, lambda _: {"version": "1.0.0"}),
    "a key that is another's": (ConflictError, lambda index: {"rkey": taken_key(index)}),
    "a schema of other samples": (SchemaError, lambda index: {"schema_ref": index.publish_schema(Other)}),
    "splits of shards that there are not": (LexiconError, lambda _: {"metadata": {"splits": {"a": [9]}}}),
    "splits of shards that are cut": (UsageError, lambda _: {"metadata": {"splits": {"a": [0]}}, "maxcount": 1}),
    "metadata that no record holds": (SampleError, lambda _: {"metadata": {"when": object()}}),
    "metadata that are too large": (LimitError, lambda _: {"metadata": {"text": "x" * 200_000}}),
    "manifests, which a local index does not list": (UsageError, lambda _: {"manifests": True}),
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("view", [False, True])
def test_what_is_refused_is_not_stored(index_url: str, why: str, view: bool) -> None:
    index = LocalIndex(index_url, data_store=LocalDiskStore("store"))
    index.insert_dataset(rows(1, 2), name="rows", version="1.0.0")
    error, arguments = REFUSED[why]
    given = arguments(index)
    before, dataset = stored(), rows(3, 2, 1, file="more.tar")
    with pytest.raises(error):
        index.insert_dataset(dataset.take(2) if view else dataset, name="rows", **given)
    assert stored() == before


def test_what_is_refused_is_not_sent(s3_server: S3Server, bucket: str) -> None:
    index = LocalIndex("team.sqlite", data_store=S3DataStore(s3_server.credentials, bucket=bucket))
    index.insert_dataset(rows(1, 2), name="rows", version="1.0.0")
    before = s3_server.keys(bucket)
    with pytest.raises(ConflictError):
        index.insert_dataset(rows(1, 2, 3, file="more.tar"), name="rows", version="1.0.0")
    assert s3_server.keys(bucket) == before


def test_what_is_inserted_again_and_was_lost_is_stored_again() -> None:
    index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
    dataset = rows(1, 2)
    index.insert_dataset(dataset, name="rows")
    (shard,) = Path("store").rglob("*.tar")
    shard.unlink()
    index.insert_dataset(dataset, name="rows")
    assert [row.n for row in index.load("rows")["train"]] == [1, 2]


def stored() -> list[str]:
    return sorted(str(path) for path in Path("store").rglob("*") if path.is_file())
