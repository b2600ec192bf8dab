"""Versions that keep all shards of the one before: on every index, only what is new is read and sent."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.dataset import Dataset
from atdata.errors import ConflictError, NotFoundError, NotTakenWarning, SampleError, SchemaError, UsageError
from atdata.local import LocalIndex
from atdata.records import Entry, Label, Schema
from atdata.samples import fields_of
from atdata.shards.digest import Digest
from atdata.testing.http import Request
from support.networks import Network, RealNet, fresh_handle, list_records, official_verdicts

pytest.importorskip("pyarrow")


@atdata.packable
class Row:
    n: int
    text: str


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int, kind: Any = Row, **options: Any) -> Dataset[Any]:
    """A dataset of one shard for each sample."""
    name = f"{kind.__name__}-{'-'.join(map(str, numbers))}"
    samples = [kind(n, f"row {n}", *[None] * (len(fields_of(kind)) - 2)) for n in numbers]
    return atdata.write_samples(samples, f"{name}-%06d.tar", maxcount=1, overwrite=True, manifest=True, **options)


def numbers(index: Any, name: str = "rows", version: str | None = None) -> dict[str, list[int]]:
    return {split: [row.n for row in dataset] for split, dataset in index.load(name, version).items()}


def test_a_new_version_shares_the_old_shards(place: Any, index: Any) -> None:
    base = index.insert_dataset(rows(1, 2), name="rows", version="1.0.0", license="MIT", metadata={"rate": 0.5})
    entry = index.append("rows", rows(3, 4), notes="two more")
    assert numbers(index) == {"train": [1, 2, 3, 4]}
    assert numbers(index, version="1.0.0") == {"train": [1, 2]}
    assert entry.data_urls[:2] == base.data_urls
    assert (entry.license, dict(entry.metadata)) == ("MIT", {"rate": 0.5})
    (label,) = index.labels_of(entry)
    assert (label.version, label.description) == ("1.1.0", "two more")
    assert entry.predecessor.uri == base.uri
    assert entry.predecessor.identity == base.identity(index.get_schema(base.schema_ref).identity)
    assert (entry.size.samples, entry.size.shards) == (4, 4)
    assert len(entry.manifests) == (4 if place.public else 0)
    assert (place.count(Schema), place.count(Entry), place.count(Label)) == (1, 2, 2)


def test_the_same_once_more_changes_nothing(place: Any, index: Any) -> None:
    index.insert_dataset(rows(1), name="rows")
    first = index.append("rows", rows(2))
    assert [label.version for label in index.labels_of(first)] == ["1.0.0"]
    for _ in range(2):
        assert place.open().append("rows", rows(2)).uri == first.uri
    assert index.append("rows", rows(2, 3)).data_urls[:2] == first.data_urls
    assert numbers(index) == {"train": [1, 2, 3]}
    assert (place.count(Entry), place.count(Label)) == (3, 3)
    again = index.append("rows", rows(2, 3), version="5.0.0")
    assert [label.version for label in index.labels_of(again)] == ["5.0.0", "1.1.0"]
    assert place.count(Entry) == 3


def test_paths_and_samples(place: Any, index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    shard = rows(2).shards[0].url
    index.append("rows", shard)
    index.append("rows", [Path(rows(3).shards[0].url)])
    index.append("rows", (Row(n, "generated") for n in (4, 5)))
    entry = index.append("rows", [Row(4, "generated"), Row(5, "generated")])
    assert [label.version for label in index.labels_of(entry)] == ["1.3.0"]
    assert numbers(index) == {"train": [1, 2, 3, 4, 5]}
    for new in (5, {"n": 1}, [], None):
        with pytest.raises((UsageError, atdata.errors.SampleError)):
            index.append("rows", new)


LAYOUT = {"n": "cls", "text": "note.txt"}


def members(*numbers: int) -> str:
    """A shard of two files a sample, which only the layout tells the fields of."""
    name = f"members-{'-'.join(map(str, numbers))}-%06d.tar"
    made = atdata.write_samples([Row(n, f"row {n}") for n in numbers], name, layout=LAYOUT, overwrite=True)
    return made.shards[0].url


def test_samples_without_a_type_are_those_of_the_dataset(place: Any, index: Any) -> None:
    index.insert_dataset(Dataset[Row](members(1), layout=LAYOUT), name="rows", version="1.0.0")
    entry = index.append("rows", Dataset(members(2)))
    assert (entry.layout, str(entry.shards[1].digest)) == (LAYOUT, f"sha256:{Digest.of_file(members(2)).hex}")
    index.append("rows", Dataset(members(3, 4, 5)).take(2))
    index.append("rows", [atdata.DictSample(n=6, text="row 6")])
    loaded = index.load("rows")["train"]
    assert [(row.n, row.text) for row in loaded] == [(n, f"row {n}") for n in (1, 2, 3, 4, 6)]
    other = atdata.write_samples([Row(7, "x")], "other.tar", layout={"n": "id", "text": "txt"}).shards[0].url
    for new in (other, Dataset(other), [atdata.DictSample(n="7")], Dataset(other).map(lambda row: row)):
        with pytest.raises(SampleError):
            index.append("rows", new)
    assert numbers(index) == {"train": [1, 2, 3, 4, 6]}


def test_splits(index: Any) -> None:
    index.insert_dataset(rows(1, 2), name="rows", version="1.0.0")
    index.append("rows", rows(3), split="test")
    index.append("rows", rows(4))
    index.append("rows", rows(5), split="test")
    assert numbers(index) == {"train": [1, 2, 4], "test": [3, 5]}
    index.insert_dataset(rows(7, 8), name="other", metadata={"splits": {"a": [0], "b": [1]}})
    with pytest.raises(UsageError, match="nobody says which one"):
        index.append("other", rows(9))
    index.append("other", rows(9), split="b")
    assert numbers(index, "other") == {"a": [7], "b": [8, 9]}


def test_versions(index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.4.2")
    with pytest.raises(UsageError, match="a version with more comes after"):
        index.append("rows", rows(2), version="1.4.1")
    index.append("rows", rows(2))
    index.retract("rows", "1.5.0", reason="wrong")
    with pytest.raises(ConflictError, match=r"rows@1\.5\.0 was retracted"):
        index.append("rows", rows(2), version="1.5.0")
    entry = index.append("rows", rows(3))
    assert [label.version for label in index.labels_of(entry)] == ["1.6.0"]
    assert numbers(index) == {"train": [1, 3]}
    with pytest.raises(NotFoundError, match="there is no dataset absent"):
        index.append("absent", rows(1))


def test_what_is_there_already_gets_no_earlier_version(place: Any, index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    monday = index.append("rows", rows(2))
    tuesday = index.append("rows", rows(3), version="2.0.0")
    for version in ("0.1.0", "1.0.1", "1.0", "newest"):
        with pytest.raises(UsageError, match="a version with more comes after"):
            index.append("rows", rows(3), version=version)
    assert place.open().append("rows", rows(2), version="1.1.0").uri == monday.uri
    with pytest.raises(ConflictError, match=r"rows@1\.1\.0 already stands for another"):
        index.append("rows", rows(3), version="1.1.0")
    assert index.append("rows", rows(3), version="2.0.0").uri == tuesday.uri
    assert [item.version for item in index.history("rows")] == ["2.0.0", "1.1.0", "1.0.0"]


def test_what_is_said_of_shards_that_are_there_is_not_lost_in_silence(index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    index.append("rows", rows(2), notes="May", split="test")
    index.append("rows", rows(2), notes="May", split="test")
    with pytest.warns(NotTakenWarning, match="not taken: split, notes"):
        index.append("rows", rows(2), notes="June", split="train")
    with pytest.warns(NotTakenWarning, match="not taken: notes"):
        index.append("rows", rows(2), notes="June", split="test")


def kind(name: str, **fields: Any) -> Any:
    return atdata.packable(type(name, (), {"__annotations__": {"n": int, "text": str, **fields}}))


Optional = kind("Row", extra=int | None)


def test_samples_may_have_more_optional_fields(place: Any, index: Any) -> None:
    base = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    entry = index.append("rows", rows(2, kind=Optional))
    assert entry.schema_ref != base.schema_ref
    assert [(row.n, row.extra) for row in index.load("rows")["train"]] == [(1, None), (2, None)]
    assert index.get_schema(entry.schema_ref).name == "Row"
    assert index.append("rows", rows(3)).schema_ref == entry.schema_ref
    assert numbers(index) == {"train": [1, 2, 3]}
    assert place.count(Schema) == 2


@atdata.packable
class Fewer:
    n: int


@atdata.packable
class Other:
    n: int
    text: bytes


def test_samples_that_do_not_go_with_those_before(place: Any, index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    required = kind("Row", extra=int)
    for samples in ([required(1, "a", 2)], [Fewer(1)], [Other(1, b"")]):
        with pytest.raises(SchemaError) as caught:
            index.append("rows", samples)
        assert caught.value.path in ("extra", "text")
    assert (place.count(Schema), place.count(Entry)) == (1, 1)


def test_samples_need_a_store(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "index.sqlite")
    index.insert_dataset(rows(1), name="rows")
    with pytest.raises(UsageError, match="samples need a data store"):
        index.append("rows", [Row(2, "a")])
    index.append("rows", rows(2))
    assert numbers(index) == {"train": [1, 2]}


def test_shards_in_another_kind_of_place_are_refused(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "index.sqlite")
    index.insert_dataset(rows(1), name="rows")
    other = Dataset("https://example.com/a.tar", sample_type=Row)
    source = type(other.view.source)
    digest = Digest.sha256(b"")
    elsewhere = Dataset(source((atdata.shards.ShardRef("https://example.com/a.tar", digest, 0, 0),)), sample_type=Row)
    with pytest.raises((UsageError, atdata.errors.AtdataError)):
        index.append("rows", elsewhere)
    assert len(index.list_datasets()) == 1


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the shards of before are gone by now."""
    index = LocalIndex(tmp_path / "index.sqlite")
    old = rows(1, 2)
    index.insert_dataset(old, name="rows", version="1.0.0")
    for shard in old.shards:
        Path(shard.url).unlink()
    entry = index.append("rows", rows(3))
    assert [shard.url.rpartition("/")[2] for shard in entry.shards][-1] == "Row-3-000000.tar"


def test_only_what_is_new_is_sent(network: Network, alice: Any, tmp_path: Path) -> None:
    client = network.client(alice)
    index = atdata.AtmosphereIndex(client, data_store=atdata.PDSBlobStore(client))
    index.insert_dataset(rows(1, 2, 3), name="rows", version="1.0.0")
    sent: list[int] = []

    def count(request: Request) -> None:
        if "uploadBlob" in request.path:
            sent.append(len(request.body))

    for server in network.pds_servers:
        server.before = count
    entry = index.append("rows", rows(4))
    assert len(sent) == 3  # the shard, and its manifest
    assert sum(sent) == sum(blob.size or 0 for blob in entry.storage.listed[3:]) + sum(
        file.size or 0 for pair in entry.pinned[3:] for file in pair
    )
    assert len(entry.manifests) == 4
    index.append("rows", rows(4))
    assert len(sent) == 3


def test_nobodys_shards_are_lost(place: Any, index: Any) -> None:
    index.insert_dataset(rows(0), name="rows", version="1.0.0")
    datasets = [rows(n) for n in range(1, 5)]
    failed: list[BaseException] = []

    def work(dataset: Dataset[Any]) -> None:
        try:
            place.open().append("rows", dataset)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(dataset,)) for dataset in datasets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(numbers(index)["train"]) == [0, 1, 2, 3, 4]
    assert {label.version for label in index.list_labels()} == {f"1.{n}.0" for n in range(5)}


def test_the_official_validator_takes_what_is_written(realnet: RealNet) -> None:
    """The predecessor of an entry and the retraction of a label are members that the lexicons do not know."""
    account = realnet.create_account(fresh_handle())
    client = realnet.client(account)
    index = atdata.AtmosphereIndex(client, data_store=atdata.PDSBlobStore(client))
    index.insert_dataset(rows(1), name="rows", version="1.0.0", manifests=False)
    index.append("rows", rows(2))
    index.append("rows", rows(3))
    index.retract("rows", "1.2.0", reason="wrong")
    written = [
        record
        for kind in ("entry", "label", "schema")
        for record in list_records(account.pds_url, account.did, f"science.alt.dataset.{kind}")
    ]
    assert sum("predecessor" in record["value"] for record in written) == 1
    assert sum("retraction" in record["value"] for record in written) == 1
    assert [verdict for verdict in official_verdicts(written) if not verdict["ok"]] == []


DATABASES = ["sqlite", *(pytest.param(kind, marks=pytest.mark.served) for kind in ("redis", "postgres"))]


class Late:
    """A database that others write to just before a version is written to it."""

    def __init__(self, database: Any, others: Any) -> None:
        self._database, self._others = database, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def insert(self, rows: Any, after: Any = None) -> None:
        others, self._others = self._others, None
        if others is not None:
            others()
        self._database.insert(rows, after)


@pytest.mark.parametrize("versions", [("2.0.0", None), (None, "2.0.0"), ("3.0.0", "2.0.0"), (None, None)])
@pytest.mark.parametrize("place", DATABASES, indirect=True)  # a repository is written to as a whole
def test_who_is_late_has_the_shards_of_who_was_faster(place: Any, index: Any, versions: tuple[Any, Any]) -> None:
    index.insert_dataset(rows(0), name="rows", version="1.0.0")
    mine, theirs = versions

    def others() -> None:
        place.open().append("rows", rows(1), version=theirs)

    index.records = type(index.records)(Late(index.records.database, others))
    entry = index.append("rows", rows(2), version=mine)
    (label,) = index.labels_of(entry)
    assert label.version == (mine or ("1.2.0" if theirs is None else "2.1.0"))
    assert numbers(place.open(), version=label.version) == {"train": [0, 1, 2]}
    assert place.count(Entry) == 3


def test_of_two_who_want_one_version_one_has_it(place: Any, index: Any) -> None:
    index.insert_dataset(rows(0), name="rows", version="1.0.0")
    if not place.public:

        def others() -> None:
            place.open().append("rows", rows(1), version="2.0.0")

        index.records = type(index.records)(Late(index.records.database, others))
    else:
        place.open().append("rows", rows(1), version="2.0.0")
    with pytest.raises(ConflictError, match=r"rows@2\.0\.0 already stands"):
        index.append("rows", rows(2), version="2.0.0")
    assert numbers(place.open(), version="2.0.0") == {"train": [0, 1]}
    assert (place.count(Entry), place.count(Label)) == (2, 2)
