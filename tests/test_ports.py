"""Every implementation of a port passes the port's suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import BlobUri
from atdata.dataset import write_samples
from atdata.shards import FileSource
from atdata.shards.http import HttpSource
from atdata.shards.s3 import S3Source
from atdata.testing import DevAccount
from atdata.testing.conformance.ports import (
    DataSourceSuite,
    IndexSuite,
    RangeSourceSuite,
    ShardStoreSuite,
    SourceUnderTest,
    rows,
)
from atdata.testing.http import Answer, HttpServer, Request
from support.networks import Network


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written() -> list[Path]:
    return [Path(shard.url) for shard in write_samples(rows(30), "rows-%06d.tar", maxcount=12).shards]


class TestFileSource(DataSourceSuite):
    @pytest.fixture
    def made(self) -> SourceUnderTest:
        paths = written()
        return SourceUnderTest(
            FileSource.of([str(path) for path in paths]), [path.read_bytes() for path in paths], "absent.tar"
        )


def with_ranges(request: Request, body: bytes) -> Answer:
    wanted = request.headers.get("range")
    if not wanted:
        return Answer(200, body, {"accept-ranges": "bytes"})
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, stop = int(first), min(int(last) + 1 if last else len(body), len(body))
    if start >= len(body):
        refusal = b"<Error><Code>InvalidRange</Code></Error>"
        return Answer(416, refusal, {"content-range": f"bytes */{len(body)}"})
    return Answer(206, body[start:stop], {"content-range": f"bytes {start}-{stop - 1}/{len(body)}"})


@contextmanager
def served(ranges: bool, prefix: str = "") -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server of shards, and what it has by path."""
    contents = {f"{prefix}/{path.name}": path.read_bytes() for path in written()}

    def answer(asked: Request) -> Answer:
        body = contents.get(asked.path)
        if body is None:
            missing = b"<Error><Code>NoSuchKey</Code></Error>"
            return Answer(404, missing, {"content-type": "application/xml"})
        return with_ranges(asked, body) if ranges else Answer(200, body)

    with HttpServer(answer) as server:
        yield server.url, contents


class TestHttpSource(RangeSourceSuite):
    @pytest.fixture
    def made(self) -> Iterator[SourceUnderTest]:
        with served(ranges=True) as (url, contents):
            source = HttpSource.from_urls([url + path for path in contents])
            yield SourceUnderTest(source, list(contents.values()), f"{url}/absent.tar")


class TestHttpSourceWithoutRanges(DataSourceSuite):
    @pytest.fixture
    def made(self) -> Iterator[SourceUnderTest]:
        with served(ranges=False) as (url, contents):
            source = HttpSource.from_urls([url + path for path in contents])
            yield SourceUnderTest(source, list(contents.values()), f"{url}/absent.tar")


class TestS3Source(RangeSourceSuite):
    """Against a server that speaks as much of S3 as reading takes."""

    @pytest.fixture
    def made(self) -> Iterator[SourceUnderTest]:
        pytest.importorskip("boto3")
        with served(ranges=True, prefix="/bucket") as (url, contents):
            source = S3Source.from_urls(
                [f"s3:/{path}" for path in contents],
                endpoint_url=url,
                region="us-east-1",
                credentials=("key", "secret"),
            )
            yield SourceUnderTest(source, list(contents.values()), "s3://bucket/absent.tar")


class TestBlobSource(DataSourceSuite):
    @pytest.fixture
    def made(self, network: Network, alice: DevAccount) -> SourceUnderTest:
        client = network.client(alice)
        store = PDSBlobStore(client)
        paths = written()
        entry = AtmosphereIndex(client, data_store=store).insert_dataset(
            write_samples(rows(30), "again-%06d.tar", maxcount=12), name="rows"
        )
        reader = PDSBlobStore(network.client())
        absent = BlobUri.of(alice.did, Cid.of_raw(b"never uploaded"))
        return SourceUnderTest(reader.create_source(entry.data_urls), [path.read_bytes() for path in paths], absent)


class TestPdsBlobStore(ShardStoreSuite):
    @pytest.fixture
    def store(self, network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> PDSBlobStore:
        client = network.client(alice)
        # What no record names yet is read from the cache of the machine that wrote it.
        monkeypatch.setenv("ATDATA_CACHE", str(client.settings.cache))
        return PDSBlobStore(client)


class TestAtmosphereIndex(IndexSuite):
    @pytest.fixture
    def index(self, network: Network, alice: DevAccount) -> AtmosphereIndex:
        client = network.client(alice)
        return AtmosphereIndex(client, data_store=PDSBlobStore(client))
