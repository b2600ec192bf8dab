"""One suite over every index: the same verbs, the same keywords, the same errors."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, LabelLoader, LabelPublisher, PDSBlobStore
from atdata.dataset import Dataset
from atdata.errors import ConflictError, NotFoundError, NotTakenWarning, RetractedError, UsageError
from atdata.local import LocalIndex
from atdata.records import Address, Entry, Label, Schema
from atdata.testing import DevAccount
from support.networks import Network

VERBS = (
    "add_label",
    "labels_of",
    "get_entry_by_name",
    "load",
    "open",
    "remove",
    "retract",
    "get_label",
    "update_dataset",
)


@atdata.packable
class Row:
    n: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int) -> Dataset[Row]:
    return atdata.write_samples([Row(n) for n in numbers], f"rows-{'-'.join(map(str, numbers))}.tar", overwrite=True)


@pytest.mark.parametrize("verb", VERBS)
def test_both_indexes_have_the_same_verbs(verb: str) -> None:
    local, network = (inspect.signature(getattr(kind, verb)) for kind in (LocalIndex, AtmosphereIndex))
    assert local == network


def test_labels(index: Any) -> None:
    entry = index.insert_dataset(rows(1, 2), name="rows", version="1.0.0")
    label = index.add_label(entry, name="rows", version="1.0.1", description="the same")
    assert index.add_label(entry, name="rows", version="1.0.1", description="the same").uri == label.uri
    assert index.add_label(entry, name="other").version is None
    assert [(one.name, one.version) for one in index.labels_of(entry)] == [
        ("other", None),
        ("rows", "1.0.1"),
        ("rows", "1.0.0"),
    ]
    assert index.add_label(index.insert_dataset(rows(3), name="third"), name="rows").version == "1.0.2"
    with pytest.raises(ConflictError, match=r"rows@1\.0\.0 already stands for another dataset"):
        index.add_label(index.insert_dataset(rows(4), name="fourth"), name="rows", version="1.0.0")


def test_a_label_is_for_what_is_listed(index: Any) -> None:
    entry = index.insert_dataset(rows(1), name="rows")
    index.remove("rows")
    with pytest.raises(NotFoundError):
        index.add_label(entry, name="again")
    entry = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    index.retract("rows", reason="wrong")
    with pytest.raises(RetractedError, match=r"rows@1\.0\.0 was retracted"):
        index.add_label(entry, name="again")
    with pytest.raises(UsageError, match="name must not be empty"):
        index.add_label(entry, name=" ")


def test_a_label_is_for_an_entry_of_the_same_place(
    index: Any, network: Network, alice: DevAccount, tmp_path: Path
) -> None:
    client = network.client(alice)
    others = [LocalIndex(tmp_path / "other.sqlite"), AtmosphereIndex(client, data_store=PDSBlobStore(client))]
    entry = next(other for other in others if type(other) is not type(index)).insert_dataset(rows(1), name="rows")
    for verb in (lambda: index.add_label(entry, name="rows"), lambda: index.labels_of(entry)):
        with pytest.raises(UsageError, match="the address is that of a record of"):
            verb()


@pytest.mark.parametrize("name", ["a", "a/b", "a b", "é", "a%20b", "a?b#c", "a:b", "1.0.0"])
def test_references(place: Any, index: Any, name: str) -> None:
    owner = place.where.handle if place.public else "local"
    one = index.insert_dataset(rows(1), name=name, version="1.0.0")
    two = index.insert_dataset(rows(2), name=name, version="1.1.0")
    address = str(Address(owner, "dataset", name))
    for ref in (name, f"@{owner}/{name}", address):
        assert (index.get_dataset(f"{ref}@1.0.0").uri, index.get_dataset(ref).uri) == (one.uri, two.uri)
        assert index.diff(f"{ref}@1.0.0", ref).samples.changed == ["000000000"]
        assert index.update_dataset(f"{ref}@1.0.0", license="MIT").uri == one.uri
    with pytest.raises(NotFoundError, match="the address names no dataset"):
        index.get_dataset(str(Address(owner, "lens", name)))


@pytest.mark.parametrize("version", ["", " ", 5])
def test_a_version_is_text(index: Any, version: Any) -> None:
    entry = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    for verb in (
        lambda: index.get_label("rows", version),
        lambda: index.get_entry_by_name("rows", version),
        lambda: index.retract("rows", version, reason="wrong"),
        lambda: index.remove("rows", version),
        lambda: index.append("rows", rows(2), version=version),
        lambda: index.add_label(entry, name="rows", version=version),
    ):
        with pytest.raises(UsageError, match="version must"):
            verb()
    assert [label.version for label in index.list_labels() if not label.retraction] == ["1.0.0"]


@pytest.mark.parametrize("name", ["a@b", "@local/a", "@a/b@c", " a "])
def test_an_address_names_what_other_references_cannot(place: Any, index: Any, name: str) -> None:
    entry = index.insert_dataset(rows(1), name=name, version="1.0.0")
    address = Address(place.where.handle if place.public else "local", "dataset", name, "1.0.0")
    assert index.get_dataset(str(address)).uri == entry.uri
    assert index.diff(str(address), str(address)).samples.same == 1
    assert index.update_dataset(str(address), license="MIT").uri == entry.uri
    assert by_reference(index, str(address)).uri.rkey == entry.uri.rkey


def test_names(index: Any) -> None:
    old = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    new = index.insert_dataset(rows(2), name="rows", version="1.1.0")
    assert index.get_entry_by_name("rows").cid == new.cid
    assert index.get_entry_by_name("rows", "1.0.0").cid == old.cid
    for name, version in (("rows", "2.0.0"), ("absent", None)):
        with pytest.raises(NotFoundError, match="there is no dataset"):
            index.get_entry_by_name(name, version)


def test_loading(index: Any) -> None:
    splits = {"train": [0], "test": [1]}
    both = Dataset[Row]([rows(1, 2).shards[0].url, rows(3).shards[0].url])
    index.insert_dataset(both, name="rows", version="1.0.0", metadata={"splits": splits})
    index.insert_dataset(rows(4), name="rows", version="1.1.0")
    loaded = index.load("rows", "1.0.0")
    assert {name: [row.n for row in split] for name, split in loaded.items()} == {"train": [1, 2], "test": [3]}
    assert [row.n for row in index.load("rows", sample_type=Row)["train"]] == [4]
    entry = index.get_entry_by_name("rows")
    assert [row.n for row in index.load(str(entry.uri))["train"]] == [4]
    assert [row.n for row in index.open(entry)["train"]] == [4]
    with pytest.raises(NotFoundError):
        index.load("rows", "3.0.0")


def test_removing(place: Any, index: Any) -> None:
    one = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    two = index.insert_dataset(rows(2), name="rows", version="1.1.0")
    index.add_label(one, name="kept")
    assert index.remove("rows", "1.0.0") == []
    assert [entry.uri for entry in index.remove("rows")] == [two.uri]
    assert (place.count(Entry), place.count(Label), place.count(Schema)) == (1, 1, 1)
    assert index.get_entry_by_name("kept").uri == one.uri
    for version in (None, "1.0.0"):
        with pytest.raises(NotFoundError, match="there is no dataset rows"):
            index.remove("rows", version)


def test_what_is_removed_leaves_its_number(index: Any) -> None:
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    index.remove("rows")
    index.insert_dataset(rows(2), name="rows", version="1.0.0")
    assert [row.n for row in index.load("rows")["train"]] == [2]


# --- retraction


def test_a_retracted_version_says_so(place: Any, index: Any) -> None:
    one = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    two = index.insert_dataset(rows(2), name="rows", version="1.1.0")
    done = index.retract("rows", "1.1.0", reason="wrong labels")
    assert [entry.uri for entry in done.entries] == [two.uri]
    assert done.kept == ()
    assert place.count(Entry) == 1
    assert place.count(Label) == 2
    assert index.get_entry_by_name("rows").uri == one.uri
    for ask in (index.get_entry_by_name, index.get_label, index.load, index.remove):
        with pytest.raises(RetractedError, match=r"rows@1\.1\.0 was retracted by its publisher(.|\n)*wrong labels"):
            ask("rows", "1.1.0")
    with pytest.raises(NotFoundError):
        index.get_dataset(str(two.uri))
    with pytest.warns(NotTakenWarning, match="not taken: reason"):
        again = place.open().retract("rows", "1.1.0", reason="another")
    assert again.labels[0].retraction.reason == "wrong labels"


def test_the_number_is_never_given_again(index: Any) -> None:
    for version, numbers in (("1.0.0", (1,)), ("1.1.0", (2,))):
        index.insert_dataset(rows(*numbers), name="rows", version=version)
    index.retract("rows", "1.1.0", reason="wrong")
    for dataset in (rows(2), rows(3)):
        with pytest.raises(ConflictError, match=r"rows@1\.1\.0 was retracted"):
            index.insert_dataset(dataset, name="rows", version="1.1.0")
    with pytest.raises(ConflictError, match="was retracted"):
        index.add_label(index.get_entry_by_name("rows"), name="rows", version="1.1.0")
    entry = index.insert_dataset(rows(4), name="rows")
    assert [label.version for label in index.labels_of(entry)] == ["1.1.1"]
    index.remove("rows")
    with pytest.raises(RetractedError):
        index.get_entry_by_name("rows")
    with pytest.raises(ConflictError, match="was retracted"):
        index.insert_dataset(rows(5), name="rows", version="1.1.0")


LOOKS = {
    "get_entry_by_name": lambda index, _ref: index.get_entry_by_name("rows"),
    "get_dataset": lambda index, _ref: index.get_dataset("rows"),
    "load": lambda index, _ref: index.load("rows")["train"].entry,
    "load_dataset": lambda index, ref: by_reference(index, ref),
    "update_dataset": lambda index, _ref: index.update_dataset("rows", license="MIT"),
    "diff": lambda index, _ref: index.diff("rows", "rows") and index.get_dataset("rows"),
    "append": lambda index, _ref: index.append("rows", rows(9)),
}


def by_reference(index: Any, ref: str) -> Any:
    where = {"client": index.client} if isinstance(index, AtmosphereIndex) else {"index": index}
    return atdata.load_dataset(ref, split="train", **where).entry


@pytest.mark.parametrize("look", LOOKS)
def test_a_version_is_retracted_while_somebody_looks_for_it(
    place: Any, index: Any, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (index.insert_dataset(rows(n), name="rows", version=f"1.{n}.0") for n in (0, 1))
    rival, get_label, kind = place.open(), type(index).get_label, type(index)
    retracted: list[Any] = []

    def slow(self: Any, *args: Any, **kwargs: Any) -> Label:
        found: Label = get_label(self, *args, **kwargs)
        if not retracted:
            retracted.append(found)
            rival.retract("rows", found.version, reason="one is wrong")
        return found

    ref = f"@{place.where.handle}/rows" if place.public else "@local/rows"
    monkeypatch.setattr(kind, "get_label", slow)
    entry = LOOKS[look](index, ref)
    assert (entry.data_urls[0], retracted[0].version) == (first.data_urls[0], "1.1.0")
    assert second.uri not in {listed.uri for listed in index.list_datasets()}
    retracted.clear()
    if look != "append":
        with pytest.raises(RetractedError, match=r"(?s)rows@1\.1\.0 was retracted.*No version of it is left"):
            LOOKS[look](index, ref)


def test_all_versions_of_a_name(place: Any, index: Any) -> None:
    one = index.insert_dataset(rows(1), name="rows", version="1.0.0")
    index.insert_dataset(rows(2), name="rows", version="1.1.0")
    index.add_label(one, name="alias")
    plan = index.retract("rows", reason="no licence", dry_run=True)
    assert (place.count(Entry), [label.is_retracted for label in index.list_labels()]) == (2, [False] * 3)
    done = index.retract("rows", reason="no licence")
    assert [entry.uri for entry in plan.entries] == [entry.uri for entry in done.entries]
    assert [entry.uri for entry in done.kept] == [one.uri]
    assert {label.version for label in done.labels} == {"1.0.0", "1.1.0"}
    assert place.count(Entry) == 1
    assert index.get_entry_by_name("alias").uri == one.uri
    assert [label.name for label in index.labels_of(one)] == ["alias"]
    with pytest.raises(RetractedError, match="was retracted"):
        index.load("rows")


def test_what_no_version_names(index: Any) -> None:
    entry = index.insert_dataset(rows(1), name="rows")
    index.add_label(entry, name="alias")
    index.retract("rows", reason="by mistake")
    with pytest.raises(ConflictError, match="rows was retracted"):
        index.add_label(entry, name="rows")
    index.insert_dataset(rows(2), name="rows")
    assert [row.n for row in index.load("rows")["train"]] == [2]


@pytest.mark.parametrize("reason", ["", " ", None, 5])
def test_a_retraction_has_a_reason(tmp_path: Path, reason: Any) -> None:
    with pytest.raises(UsageError, match="a retraction needs a reason"):
        LocalIndex(tmp_path / "index.sqlite").retract("rows", reason=reason)


def test_blobs_that_others_name_stay(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    shared, own = rows(1), rows(2)
    index.insert_dataset(shared, name="shared", manifests=False)
    both = Dataset[Row]([shared.shards[0].url, own.shards[0].url])
    index.insert_dataset(both, name="both", version="1.0.0", manifests=False)
    done = index.retract("both", reason="wrong")
    assert len(done.blobs) == 1
    assert [row.n for row in index.load("shared")["train"]] == [1]


def test_publisher_and_loader_of_labels(network: Network, alice: DevAccount, bob: DevAccount) -> None:
    client = network.client(alice)
    entry = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(rows(1), name="rows")
    publisher, loader = LabelPublisher(client), LabelLoader(network.client(bob))
    uri = publisher.publish(str(entry.uri), name="rows", version="2.0.0", description="blessed")
    assert publisher.publish(str(entry.uri), name="rows", version="2.0.0", description="blessed") == uri
    label = loader.get(str(uri))
    assert (label.name, label.version, label.description) == ("rows", "2.0.0", "blessed")
    assert {one.version for one in loader.list_all(alice.handle)} == {None, "2.0.0"}
    assert loader.find("rows", repo=alice.handle).uri == uri
    assert loader.find("rows", "2.0.0", repo=alice.handle).dataset_uri == entry.uri
    with pytest.raises(NotFoundError, match="there is no dataset rows@3"):
        loader.find("rows", "3", repo=alice.handle)
