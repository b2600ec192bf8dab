"""From a team's index to the network: what is carried over, what is refused, and what happens when it is killed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.errors import ConflictError, LimitError, NotFoundError, RetractedError, ShardNotFoundError, UsageError
from atdata.local import LocalDiskStore, LocalIndex, S3DataStore
from atdata.promote import RECUT_FROM, promote_to_atmosphere
from atdata.records import Entry, HttpStorage, S3Storage, Schema, record
from atdata.shards import Digest
from atdata.testing import DevAccount
from support.networks import Devnet, Network, list_records
from support.rawhttp import FileServer
from support.s3_servers import S3Server


@atdata.packable
class Reading:
    values: NDArray[np.float32]
    number: int


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_ALLOW_LOOPBACK", "1")


def readings(count: int = 30, size: int = 8, maxcount: int = 12, name: str = "readings") -> Any:
    samples = [Reading(np.full(size, number, np.float32), number) for number in range(count)]
    return atdata.write_samples(samples, f"{name}-%06d.tar", maxcount=maxcount, overwrite=True)


def numbers(dataset: Any) -> list[int]:
    return [sample.number for sample in dataset]


def listed(account: DevAccount, kind: str) -> list[dict[str, Any]]:
    return list_records(account.pds_url, account.did, f"science.alt.dataset.{kind}")


def as_bob(network: Network, bob: DevAccount, ref: str) -> Any:
    return atdata.load_dataset(ref, client=network.client(bob))


def uploads(network: Network) -> list[bytes]:
    sent: list[bytes] = []

    def before(request: Any) -> None:
        if "uploadBlob" in request.path:
            sent.append(request.body)

    for server in network.pds_servers:
        server.before = before
    return sent


def identity(index: LocalIndex, entry: Entry) -> str:
    return str(entry.identity(index.get_schema(entry.schema_ref).identity))


def test_whole_shards_become_blobs(network: Network, alice: DevAccount, bob: DevAccount) -> None:
    index, client = LocalIndex("team.sqlite"), network.client(alice)
    splits = {"train": [0, 1], "test": [2]}
    facts = {"description": "some", "tags": ["a", "b"], "license": "MIT"}
    entry = index.insert_dataset(
        readings(), name="readings", version="1.0.0", metadata={"splits": splits, "scale": 0.5}, **facts
    )
    index.add_label(entry, name="readings", version="1.1.0")
    index.add_label(entry, name="also", version="2.0.0")
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    published = AtmosphereIndex(client).get_dataset(uri)
    assert published.identity(client.read(published.schema_ref, Schema).identity) == entry.identity(
        index.get_schema(entry.schema_ref).identity
    )
    assert (published.description, published.tags, published.license) == ("some", ("a", "b"), "MIT")
    assert dict(published.metadata) == {"splits": splits, "scale": 0.5}
    assert published.size == entry.size
    labels = {(label["value"]["name"], label["value"].get("version")) for label in listed(alice, "label")}
    assert labels == {("readings", "1.0.0"), ("readings", "1.1.0"), ("also", "2.0.0")}
    loaded = as_bob(network, bob, f"@{alice.handle}/readings@1.1.0")
    assert {name: numbers(split) for name, split in loaded.items()} == {
        "train": list(range(24)),
        "test": list(range(24, 30)),
    }
    sent = uploads(network)
    assert promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client)) == uri
    assert sent == []
    assert [len(listed(alice, kind)) for kind in ("schema", "entry", "label")] == [1, 1, 3]


def test_shards_too_large_are_cut_anew(
    network: Network, alice: DevAccount, bob: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, client = LocalIndex("team.sqlite"), network.client(alice)
    dataset = readings(30, size=1000, maxcount=20)
    splits = {"train": [1], "test": [0]}
    entry = index.insert_dataset(dataset, name="large", metadata={"splits": splits})
    monkeypatch.setitem(client.__dict__, "blob_limit", 40_000)
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    published = AtmosphereIndex(client).get_dataset(uri)
    assert len(published.shards) > 2
    assert published.metadata[RECUT_FROM] == identity(index, entry)
    loaded = as_bob(network, bob, uri)
    assert numbers(loaded["test"]) == list(range(20))
    assert numbers(loaded["train"]) == list(range(20, 30))


@pytest.mark.parametrize("where", ["kept", "copied"])
def test_public_buckets(
    network: Network, alice: DevAccount, bob: DevAccount, s3_server: S3Server, public_bucket: str, where: str
) -> None:
    store = S3DataStore(s3_server.credentials, bucket=public_bucket, prefix="team")
    index, client = LocalIndex("team.sqlite", data_store=store if where == "kept" else None), network.client(alice)
    entry = index.insert_dataset(readings(), name="readings", prefix="r/1")
    uri = promote_to_atmosphere(entry, index, client, data_store=None if where == "kept" else store)
    published = AtmosphereIndex(client).get_dataset(uri)
    assert isinstance(published.storage, S3Storage)
    assert published.storage.endpoint == s3_server.url
    assert [shard.digest for shard in published.shards] == [shard.digest for shard in entry.shards]
    assert numbers(as_bob(network, bob, uri)["train"]) == list(range(30))


def test_a_private_bucket_is_refused_unless_allowed(
    network: Network, alice: DevAccount, s3_server: S3Server, bucket: str
) -> None:
    if s3_server.kind == "moto":
        pytest.skip("moto lets everybody read everything")
    store = S3DataStore(s3_server.credentials, bucket=bucket)
    index, client = LocalIndex("team.sqlite", data_store=store), network.client(alice)
    entry = index.insert_dataset(readings(), name="readings")
    assert numbers(index.load("readings")["train"]) == list(range(30)), "the team reads it"
    with pytest.raises(UsageError, match="cannot be read by strangers") as caught:
        promote_to_atmosphere(entry, index, client)
    assert caught.value.path == "storage.shards[0]"
    assert [listed(alice, kind) for kind in ("schema", "entry", "label")] == [[], [], []]
    with s3_server.new_bucket() as other:
        with pytest.raises(UsageError, match="cannot be read by strangers"):
            promote_to_atmosphere(entry, index, client, data_store=S3DataStore(s3_server.credentials, bucket=other))
        assert len(s3_server.keys(other)) == 1, "after the first it is known that nobody could read them"
    uri = promote_to_atmosphere(entry, index, client, allow_private=True)
    assert s3_server.secret not in str(listed(alice, "entry"))
    mine = store.create_source(entry.data_urls)
    loaded = atdata.load_dataset(uri, client=network.client(), source=mine)["train"]
    assert numbers(loaded) == list(range(30)), "whoever has credentials reads it, checked all the same"


@pytest.mark.parametrize("by", ["promoting", "inserting"])
def test_a_version_that_stands_for_another_dataset_copies_nothing(
    network: Network, alice: DevAccount, s3_server: S3Server, public_bucket: str, by: str
) -> None:
    index, client = LocalIndex("team.sqlite"), network.client(alice)
    first = index.insert_dataset(readings(), name="readings", version="1.0.0")
    promote_to_atmosphere(first, index, client, data_store=PDSBlobStore(client))
    store, other = S3DataStore(s3_server.credentials, bucket=public_bucket), readings(31, name="other")
    with pytest.raises(ConflictError, match=r"readings@1\.0\.0"):
        if by == "promoting":
            entry = index.insert_dataset(other, name="other")
            promote_to_atmosphere(entry, index, client, name="readings", version="1.0.0", data_store=store)
        else:
            AtmosphereIndex(client, store).insert_dataset(other, name="readings", version="1.0.0")
    assert s3_server.keys(public_bucket) == []


def test_manifests_that_are_insisted_on_are_had_before_anything_is_copied(
    network: Network, alice: DevAccount, s3_server: S3Server, public_bucket: str
) -> None:
    store = S3DataStore(s3_server.credentials, bucket=public_bucket)
    with pytest.raises(ShardNotFoundError):
        AtmosphereIndex(network.client(alice), store).insert_dataset(readings(), name="none", manifests=True)
    assert s3_server.keys(public_bucket) == []


def test_what_is_copied_byte_for_byte_is_not_said_to_be_cut(
    network: Network, alice: DevAccount, s3_server: S3Server, public_bucket: str
) -> None:
    store, client = S3DataStore(s3_server.credentials, bucket=public_bucket), network.client(alice)
    readings(maxcount=30)
    content = Path("readings-000000.tar").read_bytes()
    with FileServer(files={"/a.tar": content}) as web:
        index = LocalIndex("team.sqlite")
        entry = index.insert_dataset(atdata.Dataset[Reading](f"{web.url}/a.tar"), name="a", digests=False)
        uri = promote_to_atmosphere(entry, index, client, data_store=store)
    published = AtmosphereIndex(client).get_dataset(uri)
    assert RECUT_FROM not in published.metadata
    assert [shard.digest for shard in published.shards] == [Digest.sha256(content)]


def test_only_what_is_too_large_is_cut(network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    index, client = LocalIndex("team.sqlite"), network.client(alice)
    Path("empty.tar").write_bytes(bytes(10240))
    files = ["empty.tar", *(shard.url for n in (20, 2) for shard in readings(n, 1000, n, f"r{n}").shards)]
    splits = {"none": [0], "large": [1], "small": [2]}
    entry = index.insert_dataset(atdata.Dataset[Reading](files), name="mixed", metadata={"splits": splits})
    monkeypatch.setitem(client.__dict__, "blob_limit", 40_000)
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    published = AtmosphereIndex(client).get_dataset(uri)
    assert {published.shards[0].digest, published.shards[-1].digest} == {entry.shards[0].digest, entry.shards[2].digest}
    loaded = atdata.load_dataset(uri, client=client)
    assert [len(numbers(loaded[split])) for split in splits] == [0, 20, 2]


def test_a_view_without_a_store_is_not_published_as_the_whole(network: Network, alice: DevAccount) -> None:
    readings(maxcount=30)
    with FileServer(files={"/a.tar": Path("readings-000000.tar").read_bytes()}) as web:
        view = atdata.Dataset[Reading](f"{web.url}/a.tar").take(1)
        with pytest.raises(UsageError, match="a view of a dataset has no shards of its own"):
            AtmosphereIndex(network.client(alice)).insert_dataset(view, name="first")
    assert listed(alice, "entry") == []


def with_storage(index: LocalIndex, entry: Entry, *urls: str) -> Entry:
    shards = tuple(replace(shard, url=url) for shard, url in zip(entry.shards, urls, strict=False))
    return replace(entry, storage=HttpStorage(shards))


REFUSED = {
    "a path": ("file:///data/a.tar", "path of this machine"),
    "presigned": ("https://b.s3.amazonaws.com/a.tar?X-Amz-Signature=0", "presigned"),
    "with a password": ("https://user:secret@example.com/a.tar", "credentials"),
    "a private host": ("https://10.0.0.7/a.tar", "cannot reach"),
    "a name of the house": ("https://storage.corp/a.tar", "cannot reach"),
    "plain http": ("http://example.com/a.tar", "http://"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_addresses_that_are_refused(devnet: Devnet, which: str) -> None:
    url, why = REFUSED[which]
    account = devnet.create_account(f"{re.sub('[^a-z]', '', which)}.test")
    index, client = LocalIndex("team.sqlite"), devnet.client(account)
    entry = with_storage(index, index.insert_dataset(readings(), name="readings"), url)
    with pytest.raises(UsageError, match=why) as caught:
        promote_to_atmosphere(entry, index, client, allow_private=True)
    assert "secret" not in str(caught.value)
    assert url not in str(caught.value)
    assert listed(account, "schema") == []


def test_loopback_needs_the_opt_in(devnet: Devnet, s3_server: S3Server, public_bucket: str) -> None:
    account = devnet.create_account("careful.test")
    client = AtmosphereClient(account.pds_url, plc_url=devnet.plc_url, allow_loopback=False)
    client.login(account.handle, account.password)
    store = S3DataStore(s3_server.credentials, bucket=public_bucket)
    index = LocalIndex("team.sqlite", data_store=store)
    entry = index.insert_dataset(readings(), name="readings")
    with pytest.raises(UsageError, match="cannot reach"):
        promote_to_atmosphere(entry, index, client)


def test_what_is_missing(devnet: Devnet) -> None:
    client = devnet.client(devnet.create_account("missing.test"))
    index, other = LocalIndex("team.sqlite"), LocalIndex("other.sqlite")
    entry = index.insert_dataset(readings(), name="readings")
    with pytest.raises(KeyError):
        promote_to_atmosphere(entry, other, client)
    with pytest.raises(NotFoundError, match="there is no such record in the index"):
        other.publish_schema(Reading)
        promote_to_atmosphere(entry, other, client)
    gone = index.insert_dataset(readings(name="gone"), name="gone", version="1.0.0")
    index.retract("gone", reason="wrong")
    with pytest.raises(RetractedError, match=r"gone@1\.0\.0 was retracted"):
        promote_to_atmosphere(gone, index, client)
    assert AtmosphereIndex(client).list_datasets() == []
    with pytest.raises(ValueError, match="without shards"):
        promote_to_atmosphere(replace(entry, storage=HttpStorage(())), index, client)


def test_schemas_are_known_by_what_they_say(devnet: Devnet) -> None:
    client = devnet.client(devnet.create_account("schemas.test"))
    network_index, index = AtmosphereIndex(client), LocalIndex("team.sqlite")
    here = network_index.publish_schema(Reading, version="3.2.1")
    entry = index.insert_dataset(readings(), name="readings")
    assert index.get_schema(entry.schema_ref).version == "1.0.0"
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    assert network_index.get_dataset(uri).schema_ref == here, "the same content has a version already"

    @atdata.packable
    class Other:
        word: str

    index.publish_schema(Other, name="Thing", version="1.0.0")
    network_index.publish_schema(Reading, name="Thing", version="1.0.0")
    others = atdata.write_samples([Other("a")], "others.tar")
    entry = index.insert_dataset(others, name="others", schema_ref="Thing@1.0.0")
    with pytest.raises(ConflictError):
        promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client), schema_version="2.0.0")
    assert network_index.get_schema(network_index.get_dataset(uri).schema_ref).version == "2.0.0"


def test_too_large_for_a_record_is_refused_before_anything_is_sent(
    devnet: Devnet, s3_server: S3Server, public_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = devnet.create_account("crowd.test")
    client, index = devnet.client(account), LocalIndex("team.sqlite")
    entry = index.insert_dataset(readings(30, maxcount=3), name="readings")
    monkeypatch.setattr(record, "MAX_RECORD", 1500)
    sent = uploads(devnet)
    for store in (PDSBlobStore(client), S3DataStore(s3_server.credentials, bucket=public_bucket)):
        with pytest.raises(LimitError, match=r"at most [3-9] shards") as caught:
            promote_to_atmosphere(entry, index, client, data_store=store)
        assert "larger shards" in str(caught.value)
    assert sent == []
    assert s3_server.keys(public_bucket) == []
    assert listed(account, "schema") == []


def test_a_version_stands_for_one_dataset(devnet: Devnet) -> None:
    client, index = devnet.client(devnet.create_account("versions.test")), LocalIndex("team.sqlite")
    first = index.insert_dataset(readings(), name="readings", version="1.0.0")
    other = index.insert_dataset(readings(5, name="other"), name="other")
    store = PDSBlobStore(client)
    promote_to_atmosphere(first, index, client, data_store=store)
    with pytest.raises(ConflictError):
        promote_to_atmosphere(other, index, client, data_store=store, name="readings", version="1.0.0")
    uri = promote_to_atmosphere(other, index, client, data_store=store, name="readings", version="2.0.0")
    assert AtmosphereIndex(client).get_label("readings").dataset_uri == uri


def test_a_disk_store_is_no_place_for_strangers(devnet: Devnet, tmp_path: Path) -> None:
    client, index = devnet.client(devnet.create_account("disk.test")), LocalIndex("team.sqlite")
    entry = index.insert_dataset(readings(), name="readings")
    with pytest.raises(UsageError, match="path of this machine"):
        promote_to_atmosphere(entry, index, client, data_store=LocalDiskStore(tmp_path / "shards"))


def test_an_altered_shard_is_never_promoted(devnet: Devnet) -> None:
    client, index = devnet.client(devnet.create_account("altered.test")), LocalIndex("team.sqlite")
    entry = index.insert_dataset(readings(), name="readings")
    path = Path("readings-000001.tar")
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    sent = uploads(devnet)
    with pytest.raises((atdata.AtdataError,)):
        promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    assert sent == []


def test_a_predecessor_is_that_of_the_account(network: Network, alice: DevAccount) -> None:
    index, client = LocalIndex("team.sqlite"), network.client(alice)
    store = PDSBlobStore(client)
    first = index.insert_dataset(readings(12), name="readings", version="1.0.0")
    grown = index.append("readings", readings(5, name="more"))
    alone = promote_to_atmosphere(grown, index, client, name="alone", data_store=store)
    found = AtmosphereIndex(client).get_dataset(alone)
    assert (found.predecessor.uri, str(found.predecessor.identity)) == (None, identity(index, first))
    base = promote_to_atmosphere(first, index, client, data_store=store)
    uri = promote_to_atmosphere(grown, index, client, data_store=store)
    assert AtmosphereIndex(client).get_dataset(uri).predecessor.uri == base
    assert [item.predecessor for item in AtmosphereIndex(client).history("readings")] == ["1.0.0", None]
