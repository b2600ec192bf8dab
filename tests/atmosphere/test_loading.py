"""Loading: what `load_dataset` takes, what it refuses, and what can be kept and checked again."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import (
    AtmosphereIndex,
    BlobSource,
    DatasetLoader,
    DatasetPublisher,
    Evidence,
    PDSBlobStore,
    SchemaPublisher,
)
from atdata.atproto.datamodel import to_json
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.atproto.verify import verify_record
from atdata.errors import (
    AddressError,
    DigestError,
    IdentityError,
    LexiconError,
    NotFoundError,
    ShardNotFoundError,
    UnverifiedError,
    UsageError,
)
from atdata.records import Entry, HttpStorage, Label, S3Storage
from atdata.shards import Digest, FileSource, ShardRef
from atdata.testing import DevAccount
from atdata.testing.http import Answer, HttpServer, Request
from support.networks import Network


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


def rows(count: int, start: int = 0) -> list[Any]:
    return [Row(np.full(4, number, np.float32), number) for number in range(start, start + count)]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def publish(network: Network, owner: DevAccount, name: str = "rows", count: int = 12, **facts: Any) -> Entry:
    client = network.client(owner)
    dataset = atdata.write_samples(rows(count), f"{name}-%06d.tar", maxcount=4, overwrite=True)
    return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(dataset, name=name, **facts)


def test_by_name_by_version_and_by_address(network: Network, alice: DevAccount) -> None:
    entry = publish(network, alice, version="1.0.0")
    reader = network.client()
    handle = alice.handle
    refs = [f"@{handle}/rows", f"@{handle}/rows@1.0.0", f"@{alice.did}/rows", f"@{handle.upper()}/rows", str(entry.uri)]
    refs.append(str(AtUri.of(handle, entry.uri.collection, entry.uri.rkey)))
    for ref in refs:
        loaded = atdata.load_dataset(ref, Row, client=reader)
        assert isinstance(loaded, atdata.DatasetDict)
        assert list(loaded) == ["train"]
        assert list(loaded["train"]) == rows(12), ref
    assert len(atdata.load_dataset(refs[0], split="train", client=reader)) == 12


def test_without_a_type_the_schema_gives_one(network: Network, alice: DevAccount) -> None:
    publish(network, alice)
    loaded = atdata.load_dataset(f"@{alice.handle}/rows", split="train", client=network.client())
    again = atdata.load_dataset(f"@{alice.handle}/rows", split="train", client=network.client())
    assert loaded.sample_type is again.sample_type
    assert loaded.sample_type.__name__ == "Row"
    batch = next(iter(loaded.ordered(batch_size=5)))
    assert batch.x.dtype == np.float32
    assert batch.x.shape == (5, 4)
    assert batch.n == [0, 1, 2, 3, 4]
    assert list(loaded.as_type(Row)) == rows(12)
    assert pickle.loads(pickle.dumps(loaded)).head(1)[0].n == 0


def test_what_is_not_there(network: Network, alice: DevAccount) -> None:
    publish(network, alice, version="1.0.0")
    reader = network.client()
    with pytest.raises(KeyError, match="no dataset nothing"):
        atdata.load_dataset(f"@{alice.handle}/nothing", client=reader)
    with pytest.raises(KeyError, match=r"rows@2\.0\.0"):
        atdata.load_dataset(f"@{alice.handle}/rows@2.0.0", client=reader)
    with pytest.raises(ValueError, match="no split 'test'") as caught:
        atdata.load_dataset(f"@{alice.handle}/rows", split="test", client=reader)
    assert "train" in str(caught.value)
    with pytest.raises(NotFoundError, match="no such record"):
        atdata.load_dataset(f"at://{alice.did}/science.alt.dataset.entry/3jzfcijpj2z2a", client=reader)
    with pytest.raises(IdentityError, match="cannot be resolved"):
        atdata.load_dataset("@nobody-here.test/rows", client=reader)
    with pytest.raises(UsageError):
        atdata.load_dataset(f"@{alice.handle}", client=reader)
    with pytest.raises(UsageError):
        atdata.load_dataset(f"at://{alice.did}/science.alt.dataset.schema/Row:1.0.0", client=reader)
    with pytest.raises(FileNotFoundError):
        atdata.load_dataset("no-such-file.tar")


def test_splits_are_named_by_the_metadata(network: Network, alice: DevAccount) -> None:
    entry = publish(network, alice, metadata={"splits": {"train": [0, 2], "test": [1]}})
    loaded = atdata.load_dataset(f"@{alice.handle}/rows", Row, client=network.client())
    assert {name: [row.n for row in split] for name, split in loaded.items()} == {
        "train": [0, 1, 2, 3, 8, 9, 10, 11],
        "test": [4, 5, 6, 7],
    }
    wrong = {"splits": {"train": [7]}}
    with pytest.raises(LexiconError, match="shards that do not exist"):
        publish(network, alice, name="wrong", metadata=wrong)
    others = replace(entry, metadata=wrong).to_record()  # what others publish all the same
    body = {"repo": alice.did, "collection": str(Entry.NSID), "rkey": "wrong", "record": to_json(others)}
    network.client(alice).account.procedure("com.atproto.repo.putRecord", {**body, "validate": False})
    with pytest.raises(LexiconError, match="shards that do not exist"):
        atdata.load_dataset(f"at://{alice.did}/{Entry.NSID}/wrong", Row, client=network.client())


def test_paths_load_too(tmp_path: Path) -> None:
    atdata.write_samples(rows(6), "r-%06d.tar", maxcount=2)
    assert list(atdata.load_dataset("r-{000000..000002}.tar", Row, split="train")) == rows(6)
    assert len(atdata.load_dataset(tmp_path / "r-000000.tar")["train"]) == 2


def test_evidence_can_be_kept_and_checked_offline(
    network: Network, alice: DevAccount, bob: DevAccount, tmp_path: Path
) -> None:
    publish(network, alice)
    entry = atdata.load_dataset(f"@{alice.handle}/rows", split="train", client=network.client()).entry
    assert isinstance(entry, Entry)
    assert entry.evidence is not None
    (tmp_path / "kept.json").write_text(entry.evidence.to_json())
    program = (
        "import sys, socket, pathlib\n"
        "def refuse(*a): raise AssertionError('a network was used')\n"
        "socket.socket = refuse\n"
        "from atdata.atmosphere import Evidence\n"
        "record = Evidence.from_json(pathlib.Path('kept.json').read_text()).verify()\n"
        "print(record.cid, record.value['name'], *[link.step for link in record.links])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(entry.cid), "rows", "handle", "did", "key", "signature", "proof", "record"]
    kept = Evidence.from_json((tmp_path / "kept.json").read_text())
    with pytest.raises(IdentityError, match="another account"):
        verify_record(kept, AtUri.of(bob.did, entry.located.collection, entry.located.rkey))


class _Files:
    """A web server with some files, for entries that refer to URLs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.server = HttpServer(self._answer)

    def _answer(self, request: Request) -> Answer:
        body = self.files.get(request.path)
        return Answer(404) if body is None else Answer(200, body)


@pytest.fixture
def web() -> Any:
    files = _Files()
    with files.server:
        yield files


def test_shards_at_urls_without_digests_need_a_word(network: Network, alice: DevAccount, web: _Files) -> None:
    client = network.client(alice)
    schema = SchemaPublisher(client).publish(Row)
    atdata.write_samples(rows(6), "r-%06d.tar", maxcount=3)
    web.files = {f"/r-{i:06d}.tar": Path(f"r-{i:06d}.tar").read_bytes() for i in range(2)}
    url = f"{web.server.url}/r-{{000000..000001}}.tar"
    uri = DatasetPublisher(client).publish_with_urls([url], schema, name="external")
    reader = network.client()
    loader = DatasetLoader(reader)
    assert loader.get_storage_type(uri) == "external"
    assert loader.get_urls(uri) == [url]
    with pytest.raises(UsageError):
        loader.get_blob_urls(uri)
    for load in (
        lambda **k: loader.to_dataset(uri, Row, **k),
        lambda **k: atdata.load_dataset(uri, Row, split="train", client=reader, **k),
    ):
        with pytest.raises(UnverifiedError, match="no digest") as caught:
            next(iter(load()))
        assert "allow_unverified=True" in str(caught.value)
        assert caught.value.step == "shard digest"
        assert list(load(allow_unverified=True)) == rows(6)
    mine = FileSource.of(["r-000000.tar", "r-000001.tar"])
    assert list(loader.to_dataset(uri, Row, source=mine, allow_unverified=True)) == rows(6)


def test_shards_at_urls_with_digests_are_checked(network: Network, alice: DevAccount, web: _Files) -> None:
    client = network.client(alice)
    written = atdata.write_samples(rows(6), "r-%06d.tar", maxcount=3)
    web.files = {f"/{Path(s.url).name}": Path(s.url).read_bytes() for s in written.shards}
    refs = tuple(ShardRef(f"{web.server.url}/{Path(s.url).name}", s.digest) for s in written.shards)
    schema = SchemaPublisher(client).publish(Row)
    entry = Entry(name="http", schema_ref=schema, storage=HttpStorage(refs))
    made = client.records.create(entry, RecordKey("3jzfcijpj2z2a"), lambda _: True)
    reader = network.client()
    assert list(DatasetLoader(reader).to_dataset(made.located, Row)) == rows(6)
    assert DatasetLoader(reader).get_storage_type(made.located) == "external"
    body = web.files["/r-000001.tar"]
    web.files["/r-000001.tar"] = body[:600] + bytes([body[600] ^ 1]) + body[601:]
    fresh = iter(DatasetLoader(network.client()).to_dataset(made.located, Row))
    assert [next(fresh).n for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DigestError) as caught:
        next(fresh)
    assert caught.value.expected == str(written.shards[1].digest)
    mine = FileSource.of(["r-000001.tar", "r-000000.tar"])  # the caller's own copies, in the wrong order
    with pytest.raises(DigestError):
        list(DatasetLoader(network.client()).to_dataset(made.located, Row, source=mine))


def test_shards_in_a_bucket_are_read_as_the_public_does(network: Network, alice: DevAccount, web: _Files) -> None:
    client = network.client(alice)
    written = atdata.write_samples(rows(6), "r-%06d.tar", maxcount=3)
    web.files = {f"/bucket/a b/{Path(s.url).name}": Path(s.url).read_bytes() for s in written.shards}
    refs = tuple(ShardRef(f"s3://bucket/a b/{Path(s.url).name}", s.digest) for s in written.shards)
    schema = SchemaPublisher(client).publish(Row)
    entry = Entry(name="s3", schema_ref=schema, storage=S3Storage("bucket", refs, endpoint=web.server.url))
    made = client.records.create(entry, RecordKey("3jzfcijpj2z2a"), lambda _: True)
    loader = DatasetLoader(network.client())
    assert loader.get_urls(made.located) == ["s3://bucket/a b/r-000000.tar", "s3://bucket/a b/r-000001.tar"]
    assert list(loader.to_dataset(made.located, Row)) == rows(6)


def test_without_the_opt_in_strangers_addresses_are_not_dialled(network: Network, alice: DevAccount) -> None:
    publish(network, alice)
    elsewhere = network.pds_servers[1].url  # spelled out, and not where alice is
    settings = {"plc_url": network.plc_url, "resolver_url": elsewhere, "allow_loopback": False}
    with pytest.raises(AddressError, match="not https"):
        atdata.load_dataset(f"@{alice.did}/rows", **settings)
    spelled = atdata.AtmosphereClient(base_url=alice.pds_url, **settings)
    assert list(atdata.load_dataset(f"@{alice.did}/rows", Row, split="train", client=spelled)) == rows(12)


def test_blobs_by_reference(network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = publish(network, alice)
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    refs = [{"did": alice.did, "cid": url.rpartition("/")[2]} for url in entry.data_urls]
    assert list(atdata.Dataset[Row](BlobSource.from_refs(refs))) == rows(12)
    assert atdata.Dataset[Row](BlobSource.from_urls(reversed(entry.data_urls))).head(1)[0].n == 8
    absent = Digest.sha256(b"never uploaded").cid
    with pytest.raises(ShardNotFoundError, match="does not give out this blob") as caught:
        list(atdata.Dataset[Row](BlobSource.from_refs([{"did": alice.did, "cid": str(absent)}])))
    assert "No record names it" in str(caught.value)


def test_written_shards_are_readable_before_a_record_names_them(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    store = PDSBlobStore(client)
    urls = store.write_shards(atdata.write_samples(rows(6), "r.tar"), prefix="r", maxcount=4)
    assert len(urls) == 2
    assert list(atdata.Dataset[Row](store.create_source(urls), cache=client.settings.cache)) == rows(6)
    elsewhere = PDSBlobStore(network.client(alice))
    with pytest.raises(ShardNotFoundError):
        list(atdata.Dataset[Row](elsewhere.create_source(urls), cache=elsewhere.client.settings.cache))


def test_entries_of_others_without_a_label_are_found_by_name(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    entry = publish(network, alice)
    for label in client.records.read_all(None, Label):
        client.records.delete(label.located)
    assert atdata.load_dataset(f"@{alice.handle}/rows", split="train", client=network.client()).entry.uri == entry.uri
