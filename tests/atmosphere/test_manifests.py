"""Manifests of entries: published once, in order, whatever happens; loaded from their publisher's server, verified."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
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
    PDSBlobStore,
    SchemaPublisher,
)
from atdata.atmosphere import manifests as making
from atdata.atmosphere.opening import datasets_of
from atdata.atproto.syntax import RecordKey
from atdata.dataset import Dataset
from atdata.errors import DigestError, LexiconError, LimitError, MissingExtraError, ShardNotFoundError, UsageError
from atdata.manifest import Manifest
from atdata.records import Entry, Schema, record
from atdata.shards import Digest, ShardRef
from atdata.shards.http import HttpSource
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, Request
from support.networks import Network, get, list_records
from support.rawhttp import FileServer

pytest.importorskip("pyarrow")

EACH, SHARDS = 10, 3


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


ROWS: list[Any] = [Row(np.full(16, number, np.float32), number) for number in range(EACH * SHARDS)]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def local(name: str = "rows", **options: Any) -> Dataset[Any]:
    return atdata.write_samples(ROWS, f"{name}-%06d.tar", maxcount=EACH, overwrite=True, **options)


def insert(network: Network, account: DevAccount, name: str = "rows", **facts: Any) -> Entry:
    client = network.client(account)
    return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(local(), name=name, **facts)


def uploads(network: Network, account: DevAccount) -> list[bytes]:
    """What is uploaded from now on, in order."""
    sent: list[bytes] = []

    def before(request: Request) -> Answer | None:
        if "uploadBlob" in request.path:
            sent.append(request.body)
        return None

    for server in network.pds_servers:
        server.before = before
    return sent


def blobs_asked(network: Network) -> list[str]:
    """The CIDs of the blobs that are asked for from now on, in order."""
    asked: list[str] = []

    def before(request: Request) -> Answer | None:
        if "getBlob" in request.path:
            asked.append(request.param("cid"))
        return None

    for server in network.pds_servers:
        server.before = before
    return asked


# --- publishing ----------------------------------------------------------------------------------------------------


def test_an_entry_lists_a_manifest_of_each_shard_in_their_order(network: Network, alice: DevAccount) -> None:
    entry = insert(network, alice)
    (there,) = list_records(alice.pds_url, alice.did, "science.alt.dataset.entry")
    listed = there["value"]["manifests"]
    assert len(listed) == len(entry.manifests) == len(entry.shards) == SHARDS
    schema = network.client().read(entry.schema_ref, Schema)
    for number, (item, shard) in enumerate(zip(listed, entry.shards, strict=True)):
        header, rows = (
            get(alice.pds_url, "com.atproto.sync.getBlob", did=alice.did, cid=item[part]["ref"]["$link"])
            for part in ("header", "samples")
        )
        kinds = item["header"]["mimeType"], item["samples"]["mimeType"]
        assert kinds == ("application/json", "application/octet-stream")
        assert Digest.sha256(rows).cid == entry.manifests[number].samples.cid  # type: ignore[union-attr]
        said = json.loads(header) if isinstance(header, bytes) else header
        assert said["shard"]["digest"]["digest"] == shard.digest.hex  # type: ignore[union-attr]
        assert said["schema"] == {"type": "Row", "uri": str(schema.uri), "cid": str(schema.cid)}
        assert said["fields"]["n"]["min"] == number * EACH


def test_twice_is_once_also_where_the_first_had_no_manifests(network: Network, alice: DevAccount) -> None:
    first = insert(network, alice, manifests=False)
    sent = uploads(network, alice)
    again = insert(network, alice, manifests=True)
    assert (again.uri, again.cid, again.manifests) == (first.uri, first.cid, ())
    assert sent == []
    assert len(list_records(alice.pds_url, alice.did, "science.alt.dataset.entry")) == 1


def test_the_same_data_under_another_name_sends_no_blob_again(network: Network, alice: DevAccount) -> None:
    first = insert(network, alice, schema_ref=None)
    sent = uploads(network, alice)
    other = insert(network, alice, name="the same")
    assert other.manifests == first.manifests
    assert sent == []


def test_what_was_uploaded_before_a_failure_is_not_sent_again(network: Network, alice: DevAccount) -> None:
    sent: list[bytes] = []
    client = network.client(alice, folder=f"resume-{alice.did[-8:]}")

    def run() -> Entry:
        return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(local(), name="rows")

    def before(request: Request) -> Answer | None:
        if "uploadBlob" not in request.path:
            return None
        if len(sent) == 5:
            return Answer.error(400, "InvalidRequest", "not now")
        sent.append(request.body)
        return None

    network.pds_servers[0].before = before
    with pytest.raises(OSError, match="not now"):
        run()
    assert len(sent) == 5
    network.pds_servers[0].before = None
    rest = uploads(network, alice)
    entry = run()
    assert len(entry.manifests) == SHARDS
    assert len(rest) == 3 * SHARDS - 5
    assert not set(rest) & set(sent)


def test_blobs_that_the_server_dropped_are_sent_again(network: Network, alice: DevAccount) -> None:
    dropped: list[str] = []
    sent: list[bytes] = []

    def before(request: Request) -> Answer | None:
        if "uploadBlob" in request.path:
            sent.append(request.body)
        if request.path.endswith("applyWrites") and b"dataset.entry" in request.body and not dropped:
            dropped.append(request.path)
            return Answer.error(400, "BlobNotFound", "Could not find blob")
        return None

    network.pds_servers[0].before = before
    entry = insert(network, alice)
    assert dropped
    assert len(sent) == 2 * 3 * SHARDS
    assert len(entry.manifests) == SHARDS


def test_without_pyarrow_none_are_published_unless_insisted_on(
    network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError.of("tables", "a manifest")

    monkeypatch.setattr(making, "require_parquet", missing)
    with pytest.raises(MissingExtraError):
        insert(network, alice, manifests=True)
    assert insert(network, alice).manifests == ()


def test_too_many_for_the_record_are_left_out_unless_insisted_on(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = devnet.create_account("crowded.test")
    monkeypatch.setattr(record, "MAX_RECORD", 1500)
    sent = uploads(devnet, account)
    with pytest.raises(LimitError, match="with their manifests") as caught:
        insert(devnet, account, manifests=True)
    assert re.search(r"at most [12] shards", str(caught.value))
    assert sent == []
    entry = insert(devnet, account)
    assert (len(entry.shards), entry.manifests) == (SHARDS, ())
    assert len(sent) == SHARDS


def test_a_server_that_calls_parquet_by_its_name_gets_headers_only(devnet: Devnet) -> None:
    """The lexicon wants octets, and the server wants what it saw: no record can say both (pds-facts.md, Blobs)."""
    account = devnet.create_account("sniffing.test")
    repo = devnet.pdses[0].accounts[account.did].repo
    sniffed: list[str] = []

    def tamper(request: Request, answer: Answer) -> Answer:
        if "uploadBlob" not in request.path or request.body[:4] != b"PAR1":
            return answer
        sniffed.append(request.path)
        for cid, blob in list(repo.blobs.items()):
            if blob.data[:4] == b"PAR1":
                repo.blobs[cid] = replace(blob, mime_type="application/vnd.apache.parquet")
        return Answer(200, answer.body.replace(b"application/octet-stream", b"application/vnd.apache.parquet"))

    devnet.pds_servers[0].tamper = tamper
    try:
        with pytest.raises(LexiconError, match="detects a type of file"):
            insert(devnet, account, manifests=True)
        assert len(sniffed) == 1  # at the first of them
        entry = insert(devnet, account)
    finally:
        devnet.pds_servers[0].tamper = None
    assert sniffed
    assert [item.samples for item in entry.manifests] == [None] * SHARDS
    data = DatasetLoader(devnet.client()).to_dataset(entry.located, Row)
    asked = blobs_asked(devnet)
    assert data.view.extent == len(ROWS)
    assert len(asked) == SHARDS
    assert data[7] == ROWS[7]
    devnet.pds_servers[0].before = None


def test_blobs_given_as_bytes_get_manifests_too(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    made = local()
    blobs = [Path(shard.url).read_bytes() for shard in made.shards]
    uri = DatasetPublisher(client).publish_with_blobs(blobs, SchemaPublisher(client).publish(Row), name="given")
    entry = network.client().read(uri, Entry)
    assert len(entry.manifests) == SHARDS
    assert DatasetLoader(network.client()).to_dataset(uri, Row).get("000000017") == ROWS[17]


# --- shards elsewhere ----------------------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FileServer]:
    made = local("web", manifest=True)
    files = {f"/{path.name}": path.read_bytes() for path in tmp_path.glob("web-*")}
    with FileServer(files=files) as server:
        server.made = made  # type: ignore[attr-defined]
        yield server


def elsewhere(network: Network, account: DevAccount, web: FileServer, **facts: Any) -> Entry:
    client = network.client(account)
    refs = web.made.shards  # type: ignore[attr-defined]
    shards = tuple(ShardRef(f"{web.url}/{Path(ref.url).name}", ref.digest) for ref in refs)
    data = Dataset[Row](HttpSource(shards, client.reader.transport), cache=client.settings.cache)
    return AtmosphereIndex(client).insert_dataset(data, name="elsewhere", **facts)


def test_shards_that_stay_where_they_are_bring_the_manifests_beside_them(
    network: Network, alice: DevAccount, web: FileServer
) -> None:
    entry = elsewhere(network, alice, web)
    assert len(entry.manifests) == SHARDS
    assert not [request for request in web.requests if request.target.endswith(".tar")]
    for name in [name for name in web.files if "manifest" in name]:
        del web.files[name]  # from now on they are where their publisher's other blobs are
    data = atdata.load_dataset(f"@{alice.handle}/elsewhere", Row, split="train", client=network.client())
    web.requests.clear()
    assert data[17] == ROWS[17]
    manifest = Manifest.find(web.made.shards[1])  # type: ignore[attr-defined]
    assert manifest is not None
    start = manifest.offsets[7]
    assert [(r.target, r.headers.get("range")) for r in web.requests] == [
        ("/web-000001.tar", f"bytes={start}-{start + manifest.sizes[7] - 1}")
    ]
    body = bytearray(web.files["/web-000001.tar"])
    body[int(start) + 100 + 1024] ^= 1  # in the next sample
    web.files["/web-000001.tar"] = bytes(body)
    with pytest.raises(DigestError):
        data[18]


@pytest.mark.parametrize("how", ["one is not there", "half of one is not there", "one is that of another shard"])
def test_they_come_all_or_none(network: Network, alice: DevAccount, web: FileServer, how: str) -> None:
    if how == "one is that of another shard":
        for end in ("json", "parquet"):
            web.files[f"/web-000002.manifest.{end}"] = web.files[f"/web-000001.manifest.{end}"]
    else:
        del web.files["/web-000002.manifest." + ("json" if "half" not in how else "parquet")]
    with pytest.raises(DigestError if "another" in how else ShardNotFoundError):
        elsewhere(network, alice, web, manifests=True)
    assert elsewhere(network, alice, web).manifests == ()


def test_shards_without_digests_have_none(network: Network, alice: DevAccount, web: FileServer) -> None:
    client = network.client(alice)
    urls = [f"{web.url}/web-{number:06d}.tar" for number in range(SHARDS)]
    index = AtmosphereIndex(client)
    with pytest.raises(UsageError, match="no manifest can be found"):
        index.insert_dataset(Dataset[Row](urls), name="unknown", manifests=True)
    assert index.insert_dataset(Dataset[Row](urls), name="unknown").manifests == ()


# --- loading -------------------------------------------------------------------------------------------------------


def test_a_blob_is_fetched_once_and_only_where_the_sample_is(network: Network, alice: DevAccount) -> None:
    entry = insert(network, alice)
    asked = blobs_asked(network)
    data = atdata.load_dataset(f"@{alice.handle}/rows", Row, split="train", client=network.client())
    assert len(data) == len(ROWS)
    assert asked == [], "nothing is fetched until it is needed"
    assert data[25] == ROWS[25]
    assert data[26] == ROWS[26]
    shards = [str(shard.digest.cid) for shard in entry.shards if shard.digest]
    assert [cid for cid in asked if cid in shards] == [shards[2]]
    assert data.get("000000013") == ROWS[13]
    assert [cid for cid in asked if cid in shards] == [shards[2], shards[1]]
    assert len(asked) == len(set(asked)), "nothing twice"


def test_orders_need_headers_only_to_begin(network: Network, alice: DevAccount) -> None:
    entry = insert(network, alice)
    headers = {str(item.header.cid) for item in entry.manifests}
    data = atdata.load_dataset(f"@{alice.handle}/rows", Row, split="train", client=network.client())
    asked = blobs_asked(network)
    assert len(data.shuffled(batch_size=4)) == 8
    assert set(asked) == headers
    assert sorted(row.n for row in data.shuffled(seed=2)) == list(range(len(ROWS)))


def test_splits_have_the_manifests_of_their_shards(network: Network, alice: DevAccount) -> None:
    insert(network, alice, metadata={"splits": {"train": [2, 0], "test": [1]}})
    loaded = atdata.load_dataset(f"@{alice.handle}/rows", Row, client=network.client())
    assert [len(loaded[name]) for name in ("train", "test")] == [20, 10]
    assert [loaded["train"][3], loaded["test"][-1]] == [ROWS[23], ROWS[19]]


@pytest.mark.parametrize("part", ["header", "samples"])
def test_a_manifest_that_the_server_swaps_is_refused(network: Network, alice: DevAccount, part: str) -> None:
    entry = insert(network, alice)
    first, second = (getattr(item, part).cid for item in entry.manifests[:2])
    source = BlobSource.from_urls([f"at://{alice.did}/blob/{second}"], network.client().settings)
    with source.open(source.shards[0]) as stream:
        swapped = stream.read()
    told: list[str] = []

    def tamper(request: Request, answer: Answer) -> Answer:
        if "getBlob" in request.path and request.param("cid") == str(first):
            told.append(request.path)
            return Answer(200, swapped, answer.headers)
        return answer

    network.tell(tamper)
    data = DatasetLoader(network.client()).to_dataset(entry.located, Row)
    with pytest.raises(DigestError):
        data.get("000000003")
    assert told
    without = DatasetLoader(network.client()).to_dataset(entry.located, Row, manifests=False)
    assert without.get("000000003") == ROWS[3]


def test_a_manifest_that_is_withheld_costs_time_only(network: Network, alice: DevAccount) -> None:
    entry = insert(network, alice)
    pinned = {str(blob.cid) for item in entry.manifests for blob in (item.header, item.samples) if blob}
    withheld: list[str] = []

    def before(request: Request) -> Answer | None:
        if "getBlob" in request.path and request.param("cid") in pinned:
            withheld.append(request.param("cid"))
            return Answer.error(400, "InvalidRequest", "Blob not found")
        return None

    for server in network.pds_servers:
        server.before = before
    data = DatasetLoader(network.client()).to_dataset(entry.located, Row)
    assert data[25] == ROWS[25]
    assert data.get("000000013") == ROWS[13]
    assert len(withheld) == 1, "once is enough to know"


def test_an_entry_that_lists_manifests_in_another_order_is_refused(network: Network, alice: DevAccount) -> None:
    entry = insert(network, alice, manifests=True)
    client = network.client(alice)
    lie = replace(entry, name="lie", manifests=entry.manifests[::-1], uri=None, cid=None, evidence=None)
    made = client.records.create(lie, RecordKey("3jzfcijpj2z2a"), lambda _: False)
    data = DatasetLoader(network.client()).to_dataset(made.located, Row)
    with pytest.raises(DigestError):
        data[3]
    with pytest.raises(DigestError):
        data.get("000000003")
    assert [row for row in data] == ROWS  # noqa: C416  list() would ask for the length


ILL_FORMED: dict[str, Any] = {
    "a number": 7,
    "an object": {"header": 1},
    "a list of numbers": [1, 2, 3],
    "no header": [{}] * SHARDS,
    "too few": None,
    "a header too large": None,
}


@pytest.mark.parametrize("kind", ILL_FORMED)
def test_ill_formed_manifests_do_not_keep_the_rest_from_being_read(devnet: Devnet, kind: str) -> None:
    account = next((a for a in _strangers), None) or devnet.create_account("ill-formed.test")
    _strangers[:] = [account]
    entry = insert(devnet, account)
    value = entry.to_record()
    if kind == "too few":
        value["manifests"] = value["manifests"][:-1]
    elif kind == "a header too large":
        value["manifests"][1]["header"]["size"] = (1 << 20) + 1
    else:
        value["manifests"] = ILL_FORMED[kind]
    stranger = Entry.from_record(value).at(entry.located, entry.cid)  # type: ignore[arg-type]
    assert (stranger.name, stranger.shards) == (entry.name, entry.shards)
    assert stranger.to_record()["manifests"] == value["manifests"], "it is kept as it came"
    with pytest.raises(LexiconError) as caught:
        _ = stranger.pinned
    assert str(caught.value.path).startswith("manifests")
    data = datasets_of(devnet.client(), stranger, Row, {"": stranger.shards})[""]
    assert data[17] == ROWS[17]
    assert data.get("000000023") == ROWS[23]
    assert list(data) == ROWS


_strangers: list[DevAccount] = []


@pytest.mark.slow
def test_killed_in_the_middle_of_the_manifests(devnet: Devnet, tmp_path: Path) -> None:
    """What a killed run had uploaded, the next does not send."""
    account = devnet.create_account("killed.test")
    local()
    sent = uploads(devnet, account)
    program = (
        "import sys, atdata\n"
        "from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore\n"
        "import numpy as np\n"
        "from numpy.typing import NDArray\n"
        "@atdata.packable\n"
        "class Row:\n    x: NDArray[np.float32]\n    n: int\n"
        "client = AtmosphereClient()\n"
        f"client.login({str(account.handle)!r}, {account.password!r})\n"
        "data = atdata.Dataset[Row]('rows-{000000..000002}.tar')\n"
        "AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(data, name='rows')\n"
    )
    environment = {
        **os.environ,
        **devnet.environment,
        "ATDATA_CACHE": str(tmp_path / "cache"),
        "ATDATA_DATA": str(tmp_path / "data"),
    }
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:

        def before(request: Request) -> Answer | None:
            if "uploadBlob" in request.path:
                sent.append(request.body)
                if len(sent) == 5:
                    process.send_signal(signal.SIGKILL)
                    return Answer(503)
            return None

        devnet.pds_servers[0].before = before
        assert process.wait(60) == -signal.SIGKILL
    rest = uploads(devnet, account)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    devnet.pds_servers[0].before = None
    assert sorted(rest) == sorted({*sent, *rest} - set(sent[:4])), "the four that were taken are not sent again"
    (there,) = list_records(account.pds_url, account.did, "science.alt.dataset.entry")
    assert len(there["value"]["manifests"]) == SHARDS
