"""One bad record poisons nothing: it is passed over, told to who asks, and an error only for who asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore, SchemaLoader
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.repo import mst
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import Did, Tid
from atdata.errors import AtdataError, ConflictError, LexiconError, NotFoundError
from atdata.index import NamedRecords
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere
from atdata.records import Entry, Label, Malformed, parse_record
from atdata.testing import DevAccount, Devnet
from support.networks import Network, post
from support.terminal import Terminal

NSID = "science.alt.dataset"
AT = "2026-02-01T10:00:00.000Z"
ACCOUNT = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@atdata.packable
class Other:
    text: str


def rows(count: int) -> list[Row]:
    return [Row(np.full(4, number, np.float32), number) for number in range(count)]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def publish(network: Network, owner: DevAccount, name: str, version: str | None, count: int = 3) -> Entry:
    client = network.client(owner)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    dataset = atdata.write_samples(rows(count), f"{name}-{count}.tar", overwrite=True)
    return index.insert_dataset(dataset, name=name, version=version)


class Raw:
    """Somebody who puts records into an account as they see fit."""

    def __init__(self, account: DevAccount) -> None:
        self.url, self.did = account.pds_url, account.did
        login = {"identifier": account.handle, "password": account.password}
        self.token = post(self.url, "com.atproto.server.createSession", login)["accessJwt"]

    def put(self, kind: str, rkey: str | None = None, **members: Any) -> str:
        collection = f"{NSID}.{kind}"
        record = {name: value for name, value in members.items() if value is not None}
        body = {"repo": self.did, "collection": collection, "rkey": rkey or str(Tid.now()), "validate": False}
        answer = post(
            self.url, "com.atproto.repo.putRecord", {**body, "record": {"$type": collection, **record}}, self.token
        )
        return str(answer["uri"])


def spoil(raw: Raw, name: str, entry: Entry, base64: str) -> dict[str, str]:
    """One bad record of every kind, and several of some."""
    storage = {"$type": f"{NSID}.storageHttp", "shards": [{"url": "https://x.example/a.tar", "checksum": {}}]}
    good = {"name": name, "schemaRef": str(entry.schema_ref), "createdAt": AT}
    return {
        "entry": raw.put("entry", **{**good, "createdAt": "yesterday"}, storage=storage),
        "bytes": raw.put("entry", **good, storage=storage, metadata={"$bytes": base64}),
        "none": raw.put("entry", name={"no": "name"}),
        "label": raw.put("label", name=name, createdAt=AT, version="9.0.0"),
        "schema": raw.put("schema", name=name, version="1.0.0", schema={"$type": "x.y.z"}, createdAt=AT),
        "lens": raw.put("lens", name=name, createdAt=AT, getterCode=5),
    }


def test_listing_loading_and_publishing_go_on(network: Network, alice: DevAccount) -> None:
    good = publish(network, alice, "good", "1.0.0")
    # The real server keeps as a map what is no base64; the Devnet refuses it, but not what is no msgpack.
    bad = spoil(Raw(alice), "bad", good, "gaFh" if isinstance(network, Devnet) else "!!")
    anyone = network.client()
    index = AtmosphereIndex(anyone)
    for listing, kinds in (
        (index.list_datasets(alice.did), ("entry", "bytes", "none")),
        (index.list_labels(alice.did), ("label",)),
        (index.list_schemas(alice.did), ("schema",)),
        (index.list_lenses(alice.did), ("lens",)),
    ):
        assert {passed.uri for passed in listing.malformed} == {bad[kind] for kind in kinds}
        assert all(isinstance(passed.reason, AtdataError) and passed.uri in str(passed) for passed in listing.malformed)
        assert len(listing) == (0 if "lens" in kinds else 1)
    [only] = index.list_datasets(alice.did, limit=1)
    assert only.uri == good.uri, "those that are passed over do not count"
    assert list(atdata.load_dataset(f"@{alice.handle}/good", Row, split="train", client=anyone)) == rows(3)
    # Publishing: the same is found, other datasets, versions and types are added.
    assert publish(network, alice, "good", "1.0.0").uri == good.uri
    assert publish(network, alice, "good", "2.0.0", 4).uri != good.uri
    client = network.client(alice)
    assert AtmosphereIndex(client).publish_schema(Other)
    local = LocalIndex()
    listed = local.insert_dataset(atdata.write_samples(rows(5), "local.tar"), name="local", version="1.0.0")
    promoted = promote_to_atmosphere(listed, local, client, data_store=PDSBlobStore(client))
    assert AtmosphereIndex(anyone).get_dataset(promoted).name == "local"
    # Who asks for the very record is told what is wrong with it.
    for kind, read in (("entry", index.get_dataset), ("schema", index.get_schema), ("lens", index.get_lens)):
        with pytest.raises(LexiconError) as caught:
            read(bad[kind])
        assert (caught.value.step, caught.value.uri) == ("lexicon", bad[kind])
    with pytest.raises(AtdataError):
        SchemaLoader(anyone).decode(bad["schema"])


def test_a_malformed_label_does_not_change_what_its_name_means(network: Network, alice: DevAccount) -> None:
    first, second = publish(network, alice, "rows", "1.0.0"), publish(network, alice, "rows", "2.0.0", 4)
    raw, anyone = Raw(alice), network.client()
    ref = f"@{alice.handle}/rows"
    assert len(list(atdata.load_dataset(ref, split="train", client=anyone))) == 4
    key = str(Tid.now())
    bad = raw.put("label", key, name="rows", version="3.0.0", datasetUri=str(second.uri), createdAt="yesterday")
    for asked in (ref, f"{ref}@3.0.0"):
        with pytest.raises(LexiconError, match="the name rows is malformed") as caught:
            atdata.load_dataset(asked, client=anyone)
        assert caught.value.uri == bad
        assert "ask for another version (2.0.0, 1.0.0)" in str(caught.value)
    for asked, count in ((f"{ref}@1.0.0", 3), (f"{ref}@2.0.0", 4), (str(first.uri), 3)):
        assert len(list(atdata.load_dataset(asked, split="train", client=anyone))) == count
    with pytest.raises(NotFoundError, match=r"rows@4\.0\.0"):
        atdata.load_dataset(f"{ref}@4.0.0", client=anyone)
    # The version is taken, by what nobody knows; the next one is free.
    with pytest.raises((LexiconError, ConflictError)):
        publish(network, alice, "rows", "3.0.0", 5)
    assert len(list(AtmosphereIndex(anyone).list_labels(alice.did))) == 2
    third = publish(network, alice, "rows", "4.0.0", 5)
    assert atdata.load_dataset(f"{ref}@4.0.0", split="train", client=anyone).entry.uri == third.uri
    raw.put("label", key, name="rows", version=["3.0.0"], datasetUri=str(second.uri), createdAt=AT)
    with pytest.raises(LexiconError):  # a version that cannot be read may be any
        atdata.load_dataset(f"{ref}@1.0.0", client=anyone)
    # Deleted, or written again, it is in nobody's way.
    raw.put("label", key, name="rows", version="3.0.0", datasetUri=str(second.uri), createdAt=AT)
    assert len(list(atdata.load_dataset(f"{ref}@3.0.0", split="train", client=anyone))) == 4


def test_a_name_without_a_label_is_not_changed_either(network: Network, alice: DevAccount) -> None:
    good = publish(network, alice, "rows", None)
    raw, anyone = Raw(alice), network.client()
    storage = good.to_record()["storage"]["$type"]
    [label] = AtmosphereIndex(anyone).list_labels(alice.did)
    network.client(alice).records.delete(label.located)
    ref = f"@{alice.handle}/rows"
    assert len(list(atdata.load_dataset(ref, split="train", client=anyone))) == 3
    raw.put("entry", name="rows", schemaRef=str(good.schema_ref), storage={"$type": storage}, createdAt=AT)
    with pytest.raises(LexiconError, match="the name rows is malformed"):
        atdata.load_dataset(ref, client=anyone)
    assert len(list(atdata.load_dataset(str(good.uri), split="train", client=anyone))) == 3


def test_what_names_nothing_is_told_where_a_name_is_not_found(network: Network, alice: DevAccount) -> None:
    publish(network, alice, "rows", "1.0.0")
    Raw(alice).put("label", name=["rows"], datasetUri="at://x", createdAt=AT)
    assert atdata.load_dataset(f"@{alice.handle}/rows", client=network.client())
    with pytest.raises(NotFoundError, match="1 cannot be read"):
        atdata.load_dataset(f"@{alice.handle}/absent", client=network.client())


KEYS = ["no key", "", "a/b", "é", "x" * 600, "..", "a\n", "a@1.0.0"]


@pytest.fixture
def tampered(devnet: Devnet) -> Any:
    """An account whose server lets it sign whatever it likes."""
    account = devnet.create_account(f"tamper{Tid.now()}.test")
    return account, devnet.account(account.did).repo


@pytest.mark.parametrize("key", KEYS)
def test_a_malformed_key_in_the_signed_tree(devnet: Devnet, tampered: Any, key: str) -> None:
    account, repo = tampered
    good = publish(devnet, account, "good", "1.0.0")
    label = {"$type": f"{NSID}.label", "name": "bad", "datasetUri": str(good.uri), "createdAt": AT}
    for kind, value in (("label", label), ("entry", {**good.to_record(), "name": "bad"})):
        repo.records[f"{NSID}.{kind}/{key}"] = cbor.encode(value)
    repo.commit()
    anyone = devnet.client()
    index = AtmosphereIndex(anyone)
    for listing, kind in ((index.list_datasets(account.did), "entry"), (index.list_labels(account.did), "label")):
        assert [passed.uri for passed in listing.malformed] == [f"at://{account.did}/{NSID}.{kind}/{key}"]
        assert len(listing) == 1
    assert list(atdata.load_dataset(f"@{account.handle}/good", Row, split="train", client=anyone)) == rows(3)
    assert publish(devnet, account, "more", "1.0.0").uri
    with pytest.raises(LexiconError):  # a name that can be read counts, wherever it is
        atdata.load_dataset(f"@{account.handle}/bad", client=anyone)


BLOCKS = {
    "no block of a record": (None, b"raw bytes"),
    "no CBOR": (b"\xff", None),
    "a number": (cbor.encode(1), None),
    "a float": (b"\xa1ax\xfb\x3f\xf8\0\0\0\0\0\0", None),
    "too deep": (b"\x81" * 500 + b"\x80", None),
    "too many values": (cbor.encode([[]] * 50_000), None),
}


@pytest.mark.parametrize("what", BLOCKS)
def test_any_block_in_the_place_of_a_record(devnet: Devnet, tampered: Any, what: str) -> None:
    """Also one that the server cannot give out, as no repository may hold it."""
    account, repo = tampered
    good = publish(devnet, account, "good", "1.0.0")
    block, raw = BLOCKS[what]
    keys = [f"{NSID}.{kind}/{Tid.now()}" for kind in ("entry", "label", "schema")]
    cid = Cid.of_raw(raw) if raw else Cid.of_cbor(block or b"")
    records = {key: Cid.of_cbor(value) for key, value in repo.records.items()}
    root, nodes = mst.build({**records, **dict.fromkeys(keys, cid)})
    repo.head = Commit.sign(repo.key, repo.did, Tid.now(), root)
    repo.blocks = {**nodes, repo.head.cid: repo.head.encode(), **({cid: block} if block else {})}
    index = AtmosphereIndex(devnet.client())
    listings = (index.list_datasets(account.did), index.list_labels(account.did), index.list_schemas(account.did))
    assert [passed.uri for listing in listings for passed in listing.malformed] == [
        f"at://{account.did}/{key}" for key in keys
    ]
    loaded = atdata.load_dataset(f"@{account.handle}/good", Row, split="train", client=devnet.client())
    assert list(loaded) == rows(3)
    client = devnet.client(account)
    again = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    dataset = atdata.write_samples(rows(3), "again.tar")
    assert again.insert_dataset(dataset, name="good", version="1.0.0").uri == good.uri


def test_what_is_no_block_of_a_record_is_malformed() -> None:
    value = {"$type": f"{NSID}.label", "name": "n", "datasetUri": f"at://{ACCOUNT}/{NSID}.entry/3jzf", "createdAt": AT}
    block, key = cbor.encode(value), f"{NSID}.label/3jzfcijpj2z2a"
    good = parse_record(Label, ACCOUNT, key, Cid.of_cbor(block), block)
    assert isinstance(good, Label)
    assert (good.uri, good.cid) == (f"at://{ACCOUNT}/{key}", Cid.of_cbor(block))
    for cid, bad in (
        (Cid.of_raw(block), block),
        (Cid.of_raw(block), None),
        (Cid.of_cbor(b"\xff"), b"\xff"),
        (Cid.of_cbor(b"\x01"), b"\x01"),
        (Cid.of_cbor(b"\xf9\x3c\x00"), b"\xf9\x3c\x00"),
    ):
        found = parse_record(Label, ACCOUNT, key, cid, bad)
        assert isinstance(found, Malformed)
        assert found.name is None
    other = parse_record(Label, ACCOUNT, f"{NSID}.entry/3jzfcijpj2z2a", Cid.of_cbor(block), block)
    assert isinstance(other, Malformed)


def test_which_versions_a_malformed_record_may_stand_for() -> None:
    def malformed(**members: Any) -> Malformed:
        return Malformed("at://x", LexiconError("x"), {"name": "n", **members})

    assert [malformed(version="1.0.0").may_be_of(v) for v in ("1.0.0", "2.0.0")] == [True, False]
    assert malformed().may_be_of("1.0.0") is False
    assert [malformed(version=said).may_be_of("1.0.0") for said in (1, [], {}, b"1.0.0")] == [True] * 4
    assert NamedRecords[Label]([], []).newest() is None
    with pytest.raises(LexiconError):
        NamedRecords[Label]([], [malformed()]).newest()
    assert NamedRecords[Label]([], [malformed()]).of_version("1.0.0") is None


def test_show_and_doctor_name_what_cannot_be_read(
    network: Network, alice: DevAccount, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    good = publish(network, alice, "good", "1.0.0")
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run("doctor", "--account", f"@{alice.handle}") == 0
    bad = spoil(Raw(alice), "bad", good, "gaFh")
    assert terminal.run("show", f"@{alice.handle}/good") == 0
    for uri in bad.values():
        assert uri in terminal.out
    said = terminal.json("show", f"@{alice.handle}/good")
    assert {record["uri"] for record in said["malformed"]} == set(bad.values())
    assert terminal.run("doctor", "--account", f"@{alice.handle}", "--json") == 1
    assert {finding["where"] for finding in json.loads(terminal.out)} == set(bad.values())
