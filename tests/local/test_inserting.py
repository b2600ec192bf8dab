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
from support.rawhttp import FileServer
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


REFUSED: dict[str, tuple[type[AtdataError] | tuple[type[AtdataError], ...], Callable[[LocalIndex], dict[str, Any]]]] = {
    "a version that stands for another dataset": (ConflictError, lambda _: {"version": "1.0.0"}),
    "a key that is another's": (ConflictError, lambda index: {"rkey": taken_key(index)}),
    "a schema of other samples": (SchemaError, lambda index: {"schema_ref": index.publish_schema(Other)}),
    "splits of shards that there are not": ((LexiconError, UsageError), lambda _: {"metadata": {"splits": {"a": [9]}}}),
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


def test_splits_are_of_the_shards_that_are_stored_not_of_as_many_others() -> None:
    files = [write_samples([Row(n) for n in part], f"{part.start}.tar") for part in (range(4), range(4, 20))]
    dataset = Dataset[Row]([file.shards[0].url for file in files])
    splits = {"splits": {"test": [0], "train": [1]}}
    index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
    index.insert_dataset(dataset, name="whole", metadata=splits)
    assert [row.n for row in index.load("whole")["test"]] == list(range(4))
    for view in (dataset.filter(lambda row: True), dataset.select([5, 1])):
        with pytest.raises(UsageError, match="splits name shards by number"):
            index.insert_dataset(view, name="view", metadata=splits)
    other = LocalIndex("other.sqlite", data_store=Evenly("evenly"))
    with pytest.raises(UsageError, match="splits name shards by number"):
        other.insert_dataset(dataset, name="even", metadata=splits)


class Evenly:
    """A store that writes all samples anew, as many to each shard, and cannot say so before."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def write_shards(self, dataset: Dataset[Any], *, prefix: str, maxcount: Any = None, maxsize: Any = None) -> Any:
        written = write_samples(dataset, f"{self.folder}/{prefix}-%d.tar", maxcount=10)
        return [shard.url for shard in written.shards]

    def read_url(self, url: str) -> str:
        return url

    def create_source(self, urls: Any) -> Any:
        return Dataset[Row](list(urls)).view.source


def test_what_is_listed_already_is_not_copied_to_where_no_entry_names_it() -> None:
    dataset = rows(1, 2)
    LocalIndex("team.sqlite").insert_dataset(dataset, name="rows")
    index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
    assert index.insert_dataset(dataset, name="rows").data_urls == [Path("rows.tar").absolute().as_uri()]
    assert stored() == []


def test_the_samples_of_shards_from_elsewhere_are_counted(tmp_path: Path) -> None:
    rows(1, 2, 3)
    with FileServer(files={"/rows.tar": Path("rows.tar").read_bytes()}) as web:
        index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
        entry = index.insert_dataset(Dataset[Row](f"{web.url}/rows.tar"), name="rows")
    assert (entry.size.samples, entry.size.shards) == (3, 1)


def test_samples_without_a_type_must_be_what_the_schema_describes() -> None:
    index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
    other, schema = index.publish_schema(Other), index.publish_schema(Row)
    rows(1, 2)
    with pytest.raises(SampleError):
        index.insert_dataset(Dataset("rows.tar"), name="rows", schema_ref=str(other))
    assert stored() == []
    made = Dataset("rows.tar").map(lambda sample: {"n": sample.n + 1})
    index.insert_dataset(made, name="rows", schema_ref=str(schema))
    assert [row.n for row in index.load("rows")["train"]] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"name": None}, "name"),
        ({"name": "a", "version": 1}, "version"),
        ({"name": "a", "prefix": 3}, "prefix"),
        ({"name": "a", "schema_ref": 3}, "schema_ref"),
        ({"name": "a", "maxsize": "1"}, "maxsize"),
        ({"name": "a", "tags": (tag for tag in ["a"])}, "tags"),
        ({"name": "a", "metadata": {"splits": {"": [0]}}}, "metadata.splits."),
    ],
)
def test_arguments_that_cannot_be_meant(arguments: dict[str, Any], path: str) -> None:
    index = LocalIndex("team.sqlite", data_store=LocalDiskStore("store"))
    with pytest.raises((UsageError, LexiconError)) as caught:
        index.insert_dataset(rows(1), **arguments)
    assert caught.value.path == path
    assert stored() == []


@pytest.mark.parametrize("given", [{"train": 1}, "rows.tar", ["rows.tar"], None])
def test_only_a_dataset_is_inserted(given: Any) -> None:
    with pytest.raises(UsageError, match="only a Dataset can be inserted"):
        LocalIndex("team.sqlite").insert_dataset(given, name="a")
