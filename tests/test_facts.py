"""What a caller says about a dataset is kept or refused, and changed in place: alike in a team's index and on the network."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetPublisher, PDSBlobStore
from atdata.errors import (
    ConflictError,
    FieldTypeError,
    IdentifierError,
    LexiconError,
    NotFoundError,
    NotTakenWarning,
    SchemaError,
    UsageError,
)
from atdata.index import RecordIndex
from atdata.local import LocalDiskStore, LocalIndex
from atdata.promote import promote_to_atmosphere
from atdata.records import Entry
from atdata.settings import Settings
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, Request
from support.networks import Network, list_records

REFUSED = (UsageError, LexiconError, SchemaError, IdentifierError, FieldTypeError)


@atdata.packable
class Row:
    x: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(count: int = 3) -> atdata.Dataset[Any]:
    return atdata.write_samples([Row(x) for x in range(count)], f"rows-{count}.tar", overwrite=True)


SERVED = [pytest.param(kind, marks=pytest.mark.served) for kind in ("redis", "postgres")]


@pytest.fixture(params=["sqlite", *SERVED, "network"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> RecordIndex[Any]:
    if request.param == "network":
        network, account = request.getfixturevalue("devnet_only"), request.getfixturevalue("devnet_account")
        client = network.client(account)
        return AtmosphereIndex(client, data_store=PDSBlobStore(client))
    if request.param == "sqlite":
        return LocalIndex(tmp_path / "index.sqlite")
    return LocalIndex(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="module")
def devnet_only() -> Iterator[Devnet]:
    with Devnet() as devnet:
        yield devnet


_accounts = iter(range(1000))


@pytest.fixture
def devnet_account(devnet_only: Devnet) -> DevAccount:
    return devnet_only.create_account(f"facts{next(_accounts)}.test")


def test_both_indexes_take_the_same_keywords() -> None:
    shared = [name for name, member in inspect.getmembers(RecordIndex, callable) if not name.startswith("_")]
    assert {"insert_dataset", "update_dataset", "publish_schema", "list_datasets"} <= set(shared)
    for name in shared:
        wanted = inspect.signature(getattr(RecordIndex, name))
        for kind in (LocalIndex, AtmosphereIndex):
            assert inspect.signature(getattr(kind, name)) == wanted, (kind, name)
        for parameter in wanted.parameters.values():
            assert parameter.kind is not inspect.Parameter.VAR_KEYWORD, name


@pytest.mark.parametrize("word", ["licence", "tag", "labels"])
def test_an_unknown_word_is_a_type_error(index: RecordIndex[Any], word: str) -> None:
    with pytest.raises(TypeError, match=word):
        index.insert_dataset(rows(), name="rows", **{word: "MIT"})
    with pytest.raises(TypeError, match=word):
        index.update_dataset("rows", **{word: "MIT"})
    assert index.list_datasets() == index.list_schemas() == []


def test_other_facts_for_the_same_content_are_named(index: RecordIndex[Any]) -> None:
    said: dict[str, Any] = {"description": "d", "tags": ["a"], "license": "MIT", "metadata": {"rate": 0.5, "t": [1, 2]}}
    first = index.insert_dataset(rows(), name="rows", version="1.0.0", **said)
    assert index.insert_dataset(rows(), name="rows", version="1.0.0", **said) == first, "the same facts, and no word"
    assert index.insert_dataset(rows(), name="rows", version="1.0.0") == first
    for field, value in [("description", "x"), ("tags", ["b"]), ("tags", []), ("license", "BSD"), ("metadata", {})]:
        with pytest.warns(NotTakenWarning, match="update_dataset") as caught:
            again = index.insert_dataset(rows(), name="rows", version="1.0.0", **{**said, field: value})
        (warning,) = caught
        assert isinstance(warning.message, NotTakenWarning)
        assert (warning.message.fields, warning.message.uri) == ((field,), str(first.uri))
        assert warning.filename == __file__, "it points to who said it"
        assert again == first


def test_facts_are_changed_in_place(index: RecordIndex[Any]) -> None:
    first = index.insert_dataset(rows(), name="rows", description="d", tags=["a"], license="MIT", metadata={"a": 1})
    ref = str(first.uri)
    second = index.update_dataset(ref, license="CC0-1.0")
    assert (second.description, second.tags, second.license, second.metadata) == ("d", ("a",), "CC0-1.0", {"a": 1})
    assert second.uri == first.uri
    assert second.cid != first.cid
    assert second.index_keys == first.index_keys
    schema = index.get_schema(first.schema_ref).identity
    assert second.identity(schema) == first.identity(schema)
    assert index.get_dataset("rows") == index.get_dataset(ref) == second
    assert index.update_dataset("rows", license="CC0-1.0") == second, "nothing to change"
    third = index.update_dataset("rows", description=None, tags=["b", "c"], metadata={"b": [1.5], "a": None})
    assert (third.description, third.tags, third.license, third.metadata) == (None, ("b", "c"), "CC0-1.0", {"b": [1.5]})
    fourth = index.update_dataset("rows", tags=None, license=None, metadata=None)
    assert (fourth.description, fourth.tags, fourth.license, fourth.metadata) == (None, (), None, {})
    assert index.list_datasets() == [fourth]
    assert len(index.list_labels()) == 1
    assert [sample.x for sample in opened(index, fourth)["train"]] == [0, 1, 2]


@atdata.packable
class Instrument:
    voltage: float
    lens: str | None = None


@atdata.packable
class Optional:
    note: str | None = None


def test_content_metadata_are_changed_in_place(index: RecordIndex[Any]) -> None:
    first = index.insert_dataset(rows(), name="rows", license="MIT", content_metadata=Instrument(0.1))
    second = index.update_dataset("rows", content_metadata=Instrument(0.2, "long"))
    assert (second.uri, second.license) == (first.uri, "MIT")
    assert index.get_dataset("rows").content_as(Instrument) == Instrument(0.2, "long")
    assert second.metadata_schema_ref == first.metadata_schema_ref
    assert index.update_dataset("rows", content_metadata=Instrument(0.2, "long")) == second, "nothing to change"
    assert index.update_dataset("rows", license="BSD").content_as(Instrument) == Instrument(0.2, "long")
    other = index.update_dataset("rows", content_metadata=Optional())
    assert (other.content_as(Optional), other.content_metadata) == (Optional(), {})
    assert index.get_schema(str(other.metadata_schema_ref)).name == "Optional"
    schemas = len(index.list_schemas())
    for wrong in (5, {"voltage": 1.0}, Instrument):
        with pytest.raises(FieldTypeError):
            index.update_dataset("rows", content_metadata=wrong)
    with pytest.raises(NotFoundError):
        index.update_dataset("absent", content_metadata=rows()[0])
    assert len(index.list_schemas()) == schemas
    assert index.get_dataset("rows") == other
    none = index.update_dataset("rows", content_metadata=None)
    assert (none.content_metadata, none.metadata_schema_ref) == (None, None)
    assert index.update_dataset("rows", content_metadata=None) == none
    again = index.update_dataset("rows", content_metadata=Optional())
    assert (again.content_metadata, again.metadata_schema_ref) == ({}, other.metadata_schema_ref)


def opened(index: RecordIndex[Any], entry: Entry) -> Any:
    if isinstance(index, LocalIndex):
        return index.open(entry)
    return atdata.load_dataset(str(entry.uri), client=index.client)


def test_splits_stay_where_all_metadata_are_cleared(index: RecordIndex[Any]) -> None:
    dataset = atdata.write_samples([Row(x) for x in range(4)], "two-%d.tar", maxcount=2)
    splits = {"train": [0], "test": [1]}
    index.insert_dataset(dataset, name="rows", metadata={"splits": splits, "rate": 1})
    entry = index.update_dataset("rows", metadata=None)
    assert entry.metadata == {"splits": splits}
    assert [sample.x for sample in opened(index, entry)["test"]] == [2, 3]
    with pytest.raises(LexiconError, match="shards that do not exist"):
        index.update_dataset("rows", metadata={"splits": {"train": [2]}})
    with pytest.raises(LexiconError, match="shards that do not exist"):
        index.insert_dataset(rows(), name="other", metadata={"splits": {"train": [0, 1]}})
    assert index.get_dataset("rows") == entry


def test_splits_name_the_shards_that_are_stored(index: RecordIndex[Any], tmp_path: Path) -> None:
    if isinstance(index, LocalIndex):
        index.data_store = LocalDiskStore(tmp_path / "store")
    dataset = atdata.write_samples([Row(x) for x in range(40)], "two-%d.tar", maxcount=20)
    metadata = {"splits": {"train": [0], "test": [1]}}
    for limit in ({"maxcount": 10}, {"maxsize": 20_000}):
        with pytest.raises(UsageError, match="splits name shards by number"):
            index.insert_dataset(dataset, name="rows", metadata=metadata, **limit)
    with pytest.raises(UsageError, match="splits name shards by number"):
        index.insert_dataset(dataset.filter(lambda row: row.x < 20), name="rows", metadata={"splits": {"test": [0]}})
    assert index.list_datasets() == []
    entry = index.insert_dataset(dataset, name="rows", metadata=metadata)
    assert [sample.x for sample in opened(index, entry)["test"]] == list(range(20, 40))


def test_what_there_is_not_is_not_changed(index: RecordIndex[Any]) -> None:
    with pytest.raises(NotFoundError):
        index.update_dataset("rows", license="MIT")


def test_nothing_is_lost_between_those_who_change_at_once(index: RecordIndex[Any]) -> None:
    index.insert_dataset(rows(), name="rows", metadata={"keep": 1})
    failures: list[BaseException] = []

    def change(number: int) -> None:
        try:
            for turn in range(4):
                index.update_dataset("rows", metadata={f"{number}-{turn}": turn})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    expected = {f"{number}-{turn}": turn for number in range(4) for turn in range(4)} | {"keep": 1}
    assert index.get_dataset("rows").metadata == expected


def test_a_change_is_made_to_what_was_read(index: RecordIndex[Any]) -> None:
    first = index.insert_dataset(rows(), name="rows")
    second = index.update_dataset("rows", description="newer")
    with pytest.raises(ConflictError):
        index.records.swap(first.at(first.located, first.cid), first.at(first.located, _other(first)))
    assert index.get_dataset("rows") == second


def _other(entry: Entry) -> Any:
    from atdata.atproto.cid import Cid

    return Cid.of_cbor(b"\xa0") if entry.cid != Cid.of_cbor(b"\xa0") else None


EMPTY: dict[str, Callable[[RecordIndex[Any]], object]] = {
    "the name of a schema": lambda index: index.publish_schema(Row, name=""),
    "a schema's version": lambda index: index.publish_schema(Row, version=""),
    "a schema's key": lambda index: index.publish_schema(Row, rkey=""),
    "a dataset's name": lambda index: index.insert_dataset(rows(), name=""),
    "a dataset's version": lambda index: index.insert_dataset(rows(), name="rows", version=""),
    "a dataset's key": lambda index: index.insert_dataset(rows(), name="rows", rkey=""),
    "the version of its type": lambda index: index.insert_dataset(rows(), name="rows", schema_version=""),
    "tags as one text": lambda index: index.insert_dataset(rows(), name="rows", tags="MIT"),
    "a tag": lambda index: index.insert_dataset(rows(), name="rows", tags=["a", " "]),
    "metadata that are none": lambda index: index.insert_dataset(rows(), name="rows", metadata=["x"]),  # type: ignore[arg-type]
    "the version in a reference": lambda index: index.get_dataset("rows@"),
}


@pytest.mark.parametrize("what", EMPTY)
def test_an_empty_text_is_not_taken_for_none(index: RecordIndex[Any], what: str) -> None:
    with pytest.raises(REFUSED):
        EMPTY[what](index)
    assert index.list_datasets() == index.list_labels() == []


@pytest.mark.parametrize("setting", ["plc_url", "cache", "data", "index_url"])
def test_an_empty_setting_is_not_taken_for_none(setting: str) -> None:
    with pytest.raises(UsageError):
        Settings.of(**{setting: ""})


def test_an_empty_address_is_not_taken_for_none() -> None:
    with pytest.raises(UsageError):
        LocalIndex("")
    with pytest.raises(UsageError):
        AtmosphereClient("")
    for ref in ("@alice.test/rows@", "@local/rows@"):
        with pytest.raises(UsageError, match="version must not be empty"):
            atdata.load_dataset(ref)


def test_limits_without_a_store_are_refused(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "index.sqlite")
    for limit in ("maxcount", "maxsize"):
        with pytest.raises(UsageError, match="cannot be cut anew"):
            index.insert_dataset(rows(), name="rows", **{limit: 2})
    with pytest.raises(UsageError, match="cannot list manifests"):
        index.insert_dataset(rows(), name="rows", manifests=True)
    assert index.list_datasets() == []


def test_a_key_of_ones_own(index: RecordIndex[Any]) -> None:
    entry = index.insert_dataset(rows(), name="rows", rkey="mine")
    assert entry.located.rkey == "mine"
    assert index.insert_dataset(rows(), name="rows", rkey="mine") == entry
    with pytest.raises(ConflictError):
        index.insert_dataset(rows(5), name="rows", rkey="mine")
    assert index.list_datasets() == [entry]


def test_listing_by_prefix(index: RecordIndex[Any]) -> None:
    for number, name in enumerate(("b", "ab", "a", "a%")):
        index.insert_dataset(rows(number + 1), name=name)
    assert [entry.name for entry in index.list_datasets(prefix="a")] == ["a", "a%", "ab"]
    assert [label.name for label in index.list_labels(prefix="a", limit=2)] == ["a", "a%"]
    assert [schema.name for schema in index.list_schemas(prefix="R")] == ["Row"]
    assert index.list_datasets(prefix="x") == []


def test_metadata_that_are_no_number_are_the_same(index: RecordIndex[Any]) -> None:
    metadata = {"a": math.nan, "b": np.float64(0.5), "c": True}
    first = index.insert_dataset(rows(), name="rows", metadata=metadata)
    assert index.insert_dataset(rows(), name="rows", metadata=metadata).cid == first.cid
    with pytest.warns(NotTakenWarning):
        index.insert_dataset(rows(), name="rows", metadata={**metadata, "c": 1})


# --- on the network


def test_the_real_server_changes_one_record(network: Network, alice: DevAccount, bob: DevAccount) -> None:
    client = network.client(alice)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    first = index.insert_dataset(rows(), name="rows", version="1.0.0", license="MIT")
    second = index.update_dataset(f"@{alice.handle}/rows", license="CC0-1.0", metadata={"rate": 0.5})
    (record,) = list_records(alice.pds_url, alice.did, str(Entry.NSID))
    assert (record["uri"], record["cid"]) == (str(first.uri), str(second.cid))
    assert record["value"]["license"] == "CC0-1.0"
    assert record["value"]["createdAt"] == first.created_at
    loaded = atdata.load_dataset(f"@{alice.handle}/rows", client=network.client(), split="train")
    assert ([sample.x for sample in loaded], loaded.metadata) == ([0, 1, 2], {"rate": 0.5})
    with pytest.raises(UsageError, match="another account"):
        AtmosphereIndex(network.client(bob)).update_dataset(str(first.uri), license="MIT")
    with pytest.raises(UsageError, match="would publish") as caught:
        index.update_dataset("rows", description="see https://me:pw@example.org/x")
    assert "pw" not in str(caught.value)
    assert [entry.cid for entry in index.list_datasets()] == [second.cid]


def test_publishers_and_promotion_say_what_they_do_not_take(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    schema = index.publish_schema(Row)
    publisher = DatasetPublisher(client)
    blob = Path(rows().shards[0].url).read_bytes()
    uri = publisher.publish_with_blobs([blob], str(schema), name="rows")
    with pytest.warns(NotTakenWarning, match="license"):
        assert publisher.publish_with_blobs([blob], str(schema), name="rows", license="MIT") == uri
    with pytest.warns(NotTakenWarning, match="description"):
        index.publish_schema(Row, description="a row")
    team = LocalIndex("team.sqlite")
    entry = team.insert_dataset(rows(5), name="promoted", license="MIT")
    store = PDSBlobStore(client)
    promoted = promote_to_atmosphere(entry, team, client, data_store=store, license="BSD-3-Clause")
    assert index.get_dataset(str(promoted)).license == "BSD-3-Clause", "what was said, not what the entry says"
    with pytest.warns(NotTakenWarning, match="license"):
        promote_to_atmosphere(entry, team, client, data_store=store)
    with pytest.raises(REFUSED):
        promote_to_atmosphere(entry, team, client, data_store=store, name="")


@pytest.mark.parametrize("fault", ["before", "after", "rival"])
def test_a_change_whose_answer_is_lost_is_made_once(network: Network, alice: DevAccount, fault: str) -> None:
    """An error in place of the request, or of its answer, or somebody who was faster: of all that is said, all is there."""
    client = network.client(alice)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(rows(), name="rows", metadata={"keep": 1})
    other = AtmosphereIndex(network.client(alice, folder="other"))
    fired: list[str] = []

    def fires(request: Request, when: str) -> bool:
        if "applyWrites" in request.path and fault == when and not fired:
            fired.append(when)
            return True
        return False

    def before(request: Request) -> Answer | None:
        if fires(request, "rival"):
            other.update_dataset("rows", metadata={"rival": 1}, license="MIT")
        return Answer(503) if fires(request, "before") else None

    def after(request: Request, answer: Answer) -> Answer:
        return Answer(503) if fires(request, "after") else answer

    servers = network.pds_servers
    try:
        for server in servers:
            server.before, server.tamper = before, after
        entry = index.update_dataset("rows", description="d", metadata={"mine": 2})
    finally:
        for server in servers:
            server.before = server.tamper = None
    assert fired == [fault]
    rival = {"rival": 1} if fault == "rival" else {}
    assert (entry.description, entry.metadata) == ("d", {"keep": 1, "mine": 2, **rival})
    assert entry.license == ("MIT" if rival else None)
    (record,) = list_records(alice.pds_url, alice.did, str(Entry.NSID))
    assert record["cid"] == str(entry.cid)
