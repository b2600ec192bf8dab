"""Publishing: once, whatever happens; immutable under a version; nothing that must not be public."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereIndex, DatasetLoader, DatasetPublisher, PDSBlobStore, SchemaPublisher
from atdata.atproto.cid import Cid
from atdata.errors import (
    ConflictError,
    LexiconError,
    LimitError,
    NotFoundError,
    NotTakenWarning,
    SchemaError,
    ShardError,
    UsageError,
)
from atdata.records import Entry, Label
from atdata.shards.writer import END, tar_member
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Request
from support import MANY
from support.networks import Network, fresh_handle, get, list_records


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(count: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [Row(rng.random(8).astype(np.float32), number) for number in range(count)]


def dataset(count: int = 10, seed: int = 0, **limits: Any) -> atdata.Dataset[Any]:
    return atdata.write_samples(rows(count, seed), f"rows-{seed}-%06d.tar", overwrite=True, **limits)


def index_of(network: Network, account: DevAccount, folder: str | None = None) -> AtmosphereIndex:
    client = network.client(account, folder=folder)
    return AtmosphereIndex(client, data_store=PDSBlobStore(client))


@pytest.mark.usefixtures("many_files")
def test_it_works_where_many_files_are_open(devnet: Devnet) -> None:
    account = devnet.create_account(fresh_handle())
    entry = index_of(devnet, account).insert_dataset(dataset(), name="rows")
    assert [row.n for row in DatasetLoader(devnet.client()).to_dataset(entry.located, Row).ordered()] == list(range(10))


def count(account: DevAccount, kind: str) -> int:
    return len(list_records(account.pds_url, account.did, f"science.alt.dataset.{kind}"))


def test_twice_is_once_also_from_another_machine(network: Network, alice: DevAccount) -> None:
    first = index_of(network, alice).insert_dataset(dataset(), name="rows", version="1.0.0", description="the first")
    with pytest.warns(NotTakenWarning, match="'rows' is listed already and stands as it is; not taken: description"):
        again = index_of(network, alice).insert_dataset(
            dataset(), name="rows", version="1.0.0", description="other words"
        )
    assert (again.uri, again.cid, again.description) == (first.uri, first.cid, "the first")
    assert [count(alice, kind) for kind in ("schema", "entry", "label")] == [1, 1, 1]


def test_equal_samples_written_by_others_are_the_same_dataset(network: Network, alice: DevAccount) -> None:
    import webdataset as wds

    with wds.writer.TarWriter("theirs.tar") as sink:  # other headers, other times
        for number, sample in enumerate(rows(10)):
            sink.write({**sample.as_wds, "__key__": f"{number:09d}"})
    first = index_of(network, alice).insert_dataset(dataset(), name="rows")
    again = index_of(network, alice).insert_dataset(atdata.Dataset[Row]("theirs.tar"), name="rows")
    assert again.uri == first.uri


def test_a_new_version_of_equal_data_is_a_label_only(network: Network, alice: DevAccount) -> None:
    index = index_of(network, alice)
    first = index.insert_dataset(dataset(), name="rows", version="1.0.0")
    again = index.insert_dataset(dataset(), name="rows", version="1.1.0")
    assert first.uri == again.uri
    assert [count(alice, kind) for kind in ("entry", "label")] == [1, 2]


def test_a_published_version_never_changes(network: Network, alice: DevAccount) -> None:
    index = index_of(network, alice)
    index.insert_dataset(dataset(seed=0), name="rows", version="1.0.0")
    server = network.pds_servers[0]
    server.requests.clear()
    with pytest.raises(ConflictError, match=re.escape("rows@1.0.0 already stands for another dataset")):
        index.insert_dataset(dataset(seed=1), name="rows", version="1.0.0")
    assert not [request for request in server.requests if "uploadBlob" in request], (
        "it is known before anything is sent"
    )
    newer = index.insert_dataset(dataset(seed=1), name="rows", version="1.0.1")
    assert index.get_label("rows").dataset_uri == newer.uri
    assert index.get_label("rows", "1.0.0").dataset_uri != newer.uri


def test_a_name_without_version_follows_the_newest(network: Network, alice: DevAccount) -> None:
    index = index_of(network, alice)
    index.insert_dataset(dataset(seed=0), name="rows")
    newer = index.insert_dataset(dataset(seed=1), name="rows")
    assert index.get_label("rows").dataset_uri == newer.uri
    with pytest.raises(KeyError, match="no dataset colums") as caught:
        index.get_label("colums")
    assert "rows" in str(caught.value)


def test_a_schema_version_never_changes(network: Network, alice: DevAccount) -> None:
    publisher = SchemaPublisher(network.client(alice))
    first = publisher.publish(Row, version="1.0.0", description="a row")
    with pytest.warns(NotTakenWarning, match="not taken: description"):
        assert publisher.publish(Row, version="1.0.0", description="in other words") == first

    @atdata.packable
    class Other:
        x: str

    with pytest.raises(ConflictError):
        publisher.publish(Other, name="Row", version="1.0.0")
    assert publisher.publish(Other, name="Row").rkey == "Row:2.0.0", (
        "the next major version, where the fields are others"
    )
    assert publisher.publish(Row) == first
    with pytest.raises(UsageError, match="semantic version"):
        publisher.publish(Row, version="one")


def test_a_schema_whose_name_is_no_record_key(network: Network, alice: DevAccount) -> None:
    publisher = SchemaPublisher(network.client(alice))
    uri = publisher.publish(Row, name="Zeilen & Spalten", version="1.0.0+build")
    assert publisher.publish(Row, name="Zeilen & Spalten", version="1.0.0+build") == uri
    assert count(alice, "schema") == 1


@pytest.mark.parametrize("theirs", ["the same type", "another type of that name"])
def test_manifests_name_the_schema_that_stands_in_the_end(network: Network, alice: DevAccount, theirs: str) -> None:
    """Somebody publishes a schema of that name, once our manifests are written and sent."""
    pytest.importorskip("pyarrow")
    other = index_of(network, alice)

    @atdata.packable
    class Other:
        text: str

    published: list[str] = []

    def before(request: Request) -> None:
        if request.path.endswith("applyWrites") and not published:
            published.append("")  # what follows comes by here too
            published[0] = other.publish_schema(Row if theirs == "the same type" else Other, name="Row")

    network.pds_servers[0].before = before
    entry = index_of(network, alice).insert_dataset(dataset(), name="rows", version="1.0.0")
    network.pds_servers[0].before = None
    schema = other.get_schema(entry.schema_ref)
    assert (schema.uri == published[0], schema.version) == (
        (True, "1.0.0") if theirs == "the same type" else (False, "2.0.0")
    )
    assert [count(alice, kind) for kind in ("schema", "entry", "label")] == [1 + (schema.uri != published[0]), 1, 1]
    header = get(alice.pds_url, "com.atproto.sync.getBlob", did=alice.did, cid=entry.manifests[0].header.cid)
    header = header if isinstance(header, dict) else json.loads(header)
    assert header["schema"] == {"type": "Row", "uri": str(schema.uri), "cid": str(schema.cid)}


def test_shards_are_cut_to_what_the_server_takes() -> None:  # test_pds reaches the real server's 50 MB
    with Devnet(blob_limit=20_000) as small:
        account = small.create_account("small.test")
        index = index_of(small, account)
        entry = index.insert_dataset(dataset(100), name="rows")
        sizes = [shard.size for shard in entry.shards]
        assert len(sizes) > 3
        assert all(size is not None and size <= 20_000 for size in sizes)
        assert list(DatasetLoader(small.client()).to_dataset(entry.located, Row)) == rows(100)
        with pytest.raises(LimitError, match="a sample is larger"):
            big = atdata.write_samples([Row(np.zeros(6000, np.float32), 0)], "big.tar")
            index.insert_dataset(big, name="big")
        with pytest.raises(LimitError, match="larger than a blob may be"):
            DatasetPublisher(small.client(account)).publish_with_blobs([bytes(30_000)], entry.schema_ref, name="big")


def test_shards_that_fit_stay_as_they_are(network: Network, alice: DevAccount) -> None:
    given = dataset(90, maxcount=30)
    entry = index_of(network, alice).insert_dataset(given, name="rows")
    assert [shard.digest for shard in entry.shards] == [shard.digest for shard in given.shards]
    recut = index_of(network, alice).insert_dataset(given, name="recut", maxcount=50)
    assert len(recut.shards) == 2
    assert list(DatasetLoader(network.client()).to_dataset(recut.located, Row)) == rows(90)


@pytest.mark.slow
def test_too_many_shards_for_a_record_are_refused_before_any_upload(network: Network, alice: DevAccount) -> None:
    index, server = index_of(network, alice), network.pds_servers[0]
    server.requests.clear()
    with pytest.raises(LimitError, match="more shards than one record can list") as caught:
        index.insert_dataset(dataset(700), name="rows", maxcount=1)
    most = int(re.search(r"at most (\d+) shards", str(caught.value))[1])  # type: ignore[index]
    assert 400 < most < 700
    assert not [request for request in server.requests if "uploadBlob" in request or "entry" in request]
    assert [count(alice, kind) for kind in ("schema", "entry")] == [0, 0]
    if MANY:
        entry = index.insert_dataset(dataset(most), name="rows", maxcount=1)
        assert len(entry.shards) == most


def test_the_schema_given_must_be_that_of_the_samples(network: Network, alice: DevAccount) -> None:
    @atdata.packable
    class Other:
        text: str

    index = index_of(network, alice)
    other = index.publish_schema(Other)
    with pytest.raises(SchemaError, match="not what the schema describes"):
        index.insert_dataset(dataset(), name="rows", schema_ref=other)
    with pytest.raises(SchemaError, match="without a type"):
        index.insert_dataset(atdata.Dataset(dataset().view.source), name="rows")
    with pytest.raises(NotFoundError):
        index.insert_dataset(
            dataset(), name="rows", schema_ref=f"at://{alice.did}/science.alt.dataset.schema/None:1.0.0"
        )
    assert count(alice, "entry") == 0


def test_blobs_are_read_through_before_anything_is_sent(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    publisher, schema = DatasetPublisher(client), SchemaPublisher(client).publish(Row)
    good = Path(dataset(5).shards[0].url).read_bytes()
    with pytest.raises(ShardError):
        publisher.publish_with_blobs([good, good[:-700]], schema, name="rows")
    with pytest.raises(UsageError):
        publisher.publish_with_blobs([], schema, name="rows")
    with pytest.raises(UsageError):
        publisher.publish_with_blobs([good], schema, name="rows", mime_type="application/zip")
    uri = publisher.publish_with_blobs([good], schema, name="rows", metadata={"scale": 0.5})
    assert publisher.publish_with_blobs([good], schema, name="rows") == uri
    loader = DatasetLoader(network.client())
    assert loader.get_metadata(uri) == {"scale": 0.5}
    (url,) = loader.get_blob_urls(uri)
    assert url == f"at://{alice.did}/blob/{Cid.of_raw(good)}"
    assert get(alice.pds_url, "com.atproto.sync.getBlob", did=alice.did, cid=Cid.of_raw(good)) == good


@pytest.mark.parametrize("key", ["BM0001", "GIF", "%PDF1"])
def test_a_type_that_the_server_insists_on_is_told_at_the_first_blob(
    network: Network, alice: DevAccount, key: str
) -> None:
    """A server looks at the first bytes; a shard begins with a key."""
    for number in range(3):
        name = key if number == 0 else f"{number:06}"
        Path(f"shard-{number}.tar").write_bytes(tar_member(name, rows(3)[number].packed) + END)
    data = atdata.Dataset[Row]("shard-{0..2}.tar")
    before = sum("uploadBlob" in request for request in network.pds_servers[0].requests)
    with pytest.raises(LexiconError, match="detects a type of file") as caught:
        index_of(network, alice).insert_dataset(data, name="rows")
    assert caught.value.expected == "application/x-tar"
    assert "key" in (caught.value.hint or "")
    assert sum("uploadBlob" in request for request in network.pds_servers[0].requests) == before + 1
    assert [count(alice, kind) for kind in ("entry", "label")] == [0, 0]


SECRETS = {
    "description": "with AKIAIOSFODNN7EXAMPL3 in it",
    "tags": ["ghp_" + "a1B2" * 9],
    "license": "https://user:pa55word@example.com/licence",
    "metadata": {"notes": {"key": "-----BEGIN RSA PRIVATE KEY-----"}},
}
ADDRESSES = [
    "/home/somebody/data.tar",
    "file:///home/somebody/data.tar",
    "http://example.com/data.tar",
    "https://localhost/data.tar",
    "https://10.1.2.3/data.tar",
    "https://[fd00::1]/data.tar",
    "https://fileserver/data.tar",
    "https://data.corp/data.tar",
    "https://me:secret@example.com/data.tar",
    "https://bucket.s3.amazonaws.com/data.tar?X-Amz-Signature=abc&X-Amz-Expires=60",
    "ftp://example.com/data.tar",
]


@pytest.fixture
def strict(devnet: Devnet) -> DatasetPublisher:
    """A publisher that was not told to allow this machine's addresses."""
    client = devnet.client(devnet.create_account("strict.test") if not _strict else _strict[0])
    if not _strict:
        _strict.append(
            next(
                DevAccount(a.did, a.handle, a.password, devnet.pds_url)
                for a in devnet.pdses[0].accounts.values()
                if a.handle == "strict.test"
            )
        )
        _schemas.append(SchemaPublisher(client).publish(Row))
    client.settings = replace(client.settings, allow_loopback=False)
    return DatasetPublisher(client)


_strict: list[DevAccount] = []
_schemas: list[str] = []


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_that_must_not_be_public_are_never_sent(strict: DatasetPublisher, devnet: Devnet, url: str) -> None:
    devnet.pds_servers[0].requests.clear()
    with pytest.raises(UsageError) as caught:
        strict.publish_with_urls([url], _schemas[0], name="x")
    assert caught.value.path == "storage.urls[0]"
    assert "secret" not in str(caught.value)
    assert not [request for request in devnet.pds_servers[0].requests if request.startswith("POST")]


@pytest.mark.parametrize("field", SECRETS)
def test_secrets_are_never_sent(strict: DatasetPublisher, devnet: Devnet, field: str) -> None:
    devnet.pds_servers[0].requests.clear()
    with pytest.raises(UsageError) as caught:
        strict.publish_with_urls(["https://example.com/a.tar"], _schemas[0], name="x", **{field: SECRETS[field]})
    assert (caught.value.path or "").startswith(field)
    for word in ("AKIA", "ghp_", "pa55word", "BEGIN"):
        assert word not in str(caught.value)
    assert not [request for request in devnet.pds_servers[0].requests if request.startswith("POST")]


def test_a_record_key_of_the_callers_choice(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    publisher, schema = DatasetPublisher(client), SchemaPublisher(client).publish(Row)
    key = "3jzfcijpj2z2a"
    uri = publisher.publish_with_urls(["https://example.com/a.tar"], schema, name="a", rkey=key)
    assert uri.rkey == key
    assert publisher.publish_with_urls(["https://example.com/a.tar"], schema, name="a", rkey=key) == uri
    with pytest.raises(ConflictError):
        publisher.publish_with_urls(["https://example.com/b.tar"], schema, name="b", rkey=key)


def test_what_is_listed_is_a_mapping_with_its_place(network: Network, alice: DevAccount) -> None:
    entry = index_of(network, alice).insert_dataset(dataset(), name="rows", tags=["a", "b"], license="MIT")
    (listed,) = DatasetLoader(network.client()).list_all(repo=alice.handle)
    assert dict(listed) == get(
        alice.pds_url, "com.atproto.repo.listRecords", repo=alice.did, collection="science.alt.dataset.entry"
    )["records"][0]["value"] | {name: listed[name] for name in ("storage", "manifests")}
    assert (listed["name"], listed.get("tags"), listed["license"], listed.get("nothing", 1)) == (
        "rows",
        ["a", "b"],
        "MIT",
        1,
    )
    assert (listed.uri, listed.cid) == (entry.uri, entry.cid)
    assert isinstance(listed, Entry)
    assert len(listed.data_urls) == listed.size.shards == 1
    labels = index_of(network, alice).list_labels()
    assert [(label["name"], label["datasetUri"], label.uri is not None) for label in labels] == [
        ("rows", str(entry.uri), True)
    ]
    assert isinstance(labels[0], Label)
