"""Promise: a preview of what a stranger published shows nothing that was not verified, and takes no more than it may."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.dataset import Dataset
from atdata.preview import FetchLimits, PreviewLimits, PublishedPreview, preview_published
from atdata.records import Entry, Schema
from atdata.shards import Digest, ShardRef
from atdata.shards.http import HttpSource
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.networks import fresh_handle
from support.rawhttp import FileServer, Piece, answer
from support.rawhttp import Request as RawRequest


@atdata.packable
class Row:
    n: int
    wave: NDArray[np.float32]
    picture: atdata.Image
    table: pd.DataFrame | None = None


def row(number: int, wide: int = 2000) -> Row:
    pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3), np.uint8)
    return Row(number, np.sin(np.arange(wide, dtype=np.float32) + number), atdata.Image(pixels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


@pytest.fixture
def reader(devnet: Devnet, tmp_path: Path) -> Iterator[AtmosphereClient]:
    yield devnet.client(folder=str(tmp_path / "reader"))
    devnet.tell(None)


@pytest.fixture(scope="module")
def blobs(devnet: Devnet, folder: Path) -> Entry:
    """Two shards as blobs, with manifests."""
    client = devnet.client(devnet.create_account(fresh_handle()))
    data = atdata.write_samples(map(row, range(60)), folder / "blobs-%06d.tar", maxcount=30)
    return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(data, name="blobs")


@pytest.fixture
def web(folder: Path) -> Iterator[FileServer]:
    data = atdata.write_samples(
        map(row, range(60)), folder / "web-%06d.tar", maxcount=30, manifest=True, overwrite=True
    )
    assert data.shards
    with FileServer(files={f"/{path.name}": path.read_bytes() for path in folder.glob("web-*")}) as server:
        yield server


def publish(devnet: Devnet, web: FileServer, *, digests: bool = True, manifests: bool | None = None) -> Entry:
    client = devnet.client(devnet.create_account(fresh_handle()))
    names = sorted(name for name in web.files if name.endswith(".tar"))
    refs = [ShardRef(web.url + name, Digest.sha256(web.files[name]) if digests else None) for name in names]
    data = Dataset[Row](HttpSource(tuple(refs), client.reader.transport), cache=client.settings.cache)
    found = AtmosphereIndex(client).insert_dataset(data, name="web", manifests=manifests)
    web.requests.clear()
    return found


def look(reader: AtmosphereClient, entry: Entry, fetch: FetchLimits | None = None, **limits: int) -> PublishedPreview:
    schema = reader.read(entry.schema_ref, Schema)
    return preview_published(reader, entry, schema, fetch, PreviewLimits(**limits))


def check_shown(found: PublishedPreview) -> None:
    assert found.preview.why == ""
    samples = found.preview.samples
    assert [sample.value("n").text for sample in samples] == [str(number) for number in range(8)]
    assert all(sample.value("picture").picture is not None for sample in samples)
    assert all(sample.value("wave").line for sample in samples)


def test_blobs_are_shown_and_kept(reader: AtmosphereClient, blobs: Entry, devnet: Devnet):
    found = look(reader, blobs)
    check_shown(found)
    assert found.statistics is not None
    assert (found.statistics.shards, found.statistics.samples) == (2, 60)
    devnet.tell(lambda request, honest: Answer(500) if "getBlob" in request.path else honest)
    check_shown(look(reader, blobs))


def test_by_range_only_the_samples_are_fetched(devnet: Devnet, reader: AtmosphereClient, web: FileServer):
    found = look(reader, publish(devnet, web), FetchLimits(bytes=200_000))
    check_shown(found)
    asked = [request.headers.get("range") for request in web.requests if request.target.endswith(".tar")]
    assert asked
    assert all(asked)


def test_without_ranges_a_shard_is_fetched_whole_if_it_may_be(
    devnet: Devnet, reader: AtmosphereClient, web: FileServer
):
    web.ranges = False
    entry = publish(devnet, web)
    refused = look(reader, entry, FetchLimits(bytes=200_000))
    assert not refused.preview.samples
    assert "may not fetch so many bytes" in refused.preview.why
    check_shown(look(reader, entry))


def test_what_is_too_large_is_not_asked_for(reader: AtmosphereClient, blobs: Entry, devnet: Devnet):
    asked: list[str] = []
    devnet.tell(lambda request, honest: asked.append(request.param("cid")) or honest)  # type: ignore[func-returns-value]
    found = look(reader, blobs, FetchLimits(bytes=100_000))
    assert "may not fetch so many bytes" in found.preview.why
    assert str(blobs.shards[0].digest.cid) not in asked  # type: ignore[union-attr]


def test_without_digests_nothing_is_shown(devnet: Devnet, reader: AtmosphereClient, web: FileServer):
    found = look(reader, publish(devnet, web, digests=False))
    assert not found.preview.samples
    assert "no digest" in found.preview.why
    assert not web.requests


def flipped(body: bytes) -> bytes:
    changed = bytearray(body)
    for place in range(2000, len(changed), 5000):
        changed[place] ^= 1
    return bytes(changed)


def test_bytes_that_are_not_the_published_ones_are_not_shown(devnet: Devnet, reader: AtmosphereClient, web: FileServer):
    for ranges in (True, False):
        web.ranges = ranges
        entry = publish(devnet, web)
        web.files = {name: flipped(body) if name.endswith(".tar") else body for name, body in web.files.items()}
        found = look(reader, entry)
        assert not found.preview.samples
        assert "digest" in found.preview.why or "not the bytes" in found.preview.why
        web.files = {name: flipped(body) if name.endswith(".tar") else body for name, body in web.files.items()}


def test_blobs_that_are_others_are_not_shown(reader: AtmosphereClient, blobs: Entry, devnet: Devnet):
    def tell(request: Request, honest: Answer) -> Answer:
        if "getBlob" not in request.path:
            return honest
        return replace(honest, body=flipped(honest.body) or b"x")

    devnet.tell(tell)
    found = look(reader, blobs)
    assert (found.preview.samples, found.statistics) == ((), None)
    assert "not the bytes" in found.preview.why


def endless(request: RawRequest) -> Iterable[Piece]:
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/x-tar\r\n\r\n"
    while True:
        yield bytes(1 << 16)


def drip(request: RawRequest) -> Iterable[Piece]:
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    while True:
        yield b"x"
        yield 0.05


def short(request: RawRequest) -> bytes:
    first, last = (
        (int(part) for part in request.headers["range"][6:].split("-")) if "range" in request.headers else (0, 9)
    )
    head = {"content_range": f"bytes {first}-{last}/1000000"}
    return answer(206, bytes(max(1, (last - first) // 2)), content_length=last - first + 1, **head)


@pytest.mark.parametrize("script", [endless, drip, short], ids=lambda script: script.__name__)
def test_hostile_storage_is_left_soon(
    devnet: Devnet, web: FileServer, tmp_path: Path, script: Callable[[RawRequest], Any]
):
    entry = publish(devnet, web)
    web.script = script
    settings = {"plc_url": devnet.plc_url, "allow_loopback": True, "cache": str(tmp_path / "cache")}
    hasty = AtmosphereClient(**settings, patience=2.0, least_rate=100_000)
    began = time.monotonic()
    found = look(hasty, entry, FetchLimits(bytes=1_000_000, seconds=3))
    assert time.monotonic() - began < 15
    assert not found.preview.samples
    assert found.preview.why


def test_addresses_that_are_not_public_are_not_dialled(devnet: Devnet, web: FileServer, tmp_path: Path):
    entry, schema = publish(devnet, web), devnet.client().read(publish(devnet, web).schema_ref, Schema)
    web.requests.clear()
    strict = AtmosphereClient(plc_url=devnet.plc_url, allow_loopback=False, cache=str(tmp_path / "strict"))
    found = preview_published(strict, entry, schema)
    assert not found.preview.samples
    assert found.preview.why
    assert not web.requests


def tar(samples: Iterable[bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for number, data in enumerate(samples):
            member = tarfile.TarInfo(f"{number:06}.msgpack")
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return file.getvalue()


def test_fields_that_cannot_be_decoded_take_no_others_with_them(
    devnet: Devnet, reader: AtmosphereClient, web: FileServer
):
    from atdata.samples.codec import pack, unpack

    good = row(3).packed
    table = Row(4, np.zeros(3, np.float32), atdata.Image(b"\xff\xd8\xffno"), pd.DataFrame({"a": [1]})).packed
    web.files = {"/a.tar": tar([good, pack({**unpack(good), "wave": "none", "n": "many"}), table, b"\xc1"])}
    samples = look(reader, publish(devnet, web)).preview.samples
    assert samples[0].value("n").text == "3"
    assert "int" in samples[1].value("n").why
    assert samples[1].value("picture").picture is not None
    assert "cannot be decoded" in samples[2].value("picture").why
    assert "not decoded for a preview" in samples[2].value("table").why
    assert samples[3].why


@atdata.packable
class Labelled:
    image: atdata.Image
    label: int


def test_samples_that_are_one_file_a_field_are_shown(devnet: Devnet, reader: AtmosphereClient, web: FileServer):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for number in range(4):
            for extension, data in (("png", row(number).picture.data), ("cls", b"%d" % number)):
                member = tarfile.TarInfo(f"{number:04}.{extension}")
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
    web.files = {"/wds.tar": file.getvalue()}
    client = devnet.client(devnet.create_account(fresh_handle()))
    source = HttpSource((ShardRef(f"{web.url}/wds.tar", Digest.sha256(file.getvalue())),), client.reader.transport)
    data = Dataset[Labelled](source, cache=client.settings.cache, layout={"image": "png", "label": "cls"})
    entry = AtmosphereIndex(client).insert_dataset(data, name="wds", manifests=False)
    for schema in (reader.read(entry.schema_ref, Schema), None):
        samples = preview_published(reader, entry, schema).preview.samples
        assert len(samples) == 4
        assert samples[3].value("label").text == "3"
        assert samples[3].value("image").picture is not None


def test_a_bomb_goes_off_in_a_process_of_its_own(devnet: Devnet, reader: AtmosphereClient, web: FileServer):
    deep = b"\x81\xa1n" + b"\x91" * 100_000 + b"\xc0"
    large = b"\x81\xa1n\xdd\xff\xff\xff\xff"
    web.files = {"/a.tar": tar([deep, large, row(1).packed])}
    samples = look(reader, publish(devnet, web)).preview.samples
    assert [bool(sample.why) for sample in samples] == [True, True, False]
