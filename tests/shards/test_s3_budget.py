"""Objects of a server that is slow, brings nothing on, or compresses: an error, after a bounded time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from atdata.errors import AddressError, AtdataError, NetworkError, ShardError, UsageError
from atdata.local import S3DataStore
from atdata.settings import Settings
from atdata.shards.addresses import source_at
from atdata.shards.http import HttpSource
from atdata.shards.ports import ShardRef
from atdata.shards.s3 import S3Source
from atdata.transport.budget import TRIES
from support.rawhttp import RESET, Piece, RawServer, Request, answer

pytestmark = pytest.mark.slow

SIZE = 1 << 20


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PATIENCE", "1")


def source(server: RawServer) -> S3Source:
    return S3Source.from_urls(["s3://bucket/a.tar"], endpoint_url=server.url, region="here", anonymous=True)


def head(request: Request, **headers: object) -> bytes:
    asked = request.headers.get("range", "")
    start = int(asked[6:].partition("-")[0]) if asked else 0
    if asked:
        headers["content_range"] = f"bytes {start}-{SIZE - 1}/{SIZE}"
    return answer(206 if asked else 200, content_length=SIZE - start, etag='"v"', **headers)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("gap", [0.02, 5.0])
def test_a_trickle_ends(gap: float) -> None:
    def script(request: Request) -> Iterator[Piece]:
        yield head(request)
        yield from itertools.cycle([b"y", gap])

    with RawServer(script) as server:
        with pytest.raises(NetworkError), source(server).open(ShardRef("s3://bucket/a.tar")) as body:
            body.read()
        with pytest.raises(NetworkError):
            source(server).read_range(ShardRef("s3://bucket/a.tar"), 0, SIZE)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.02],
        [b"H", 0.02],
    ],
    ids=["informational", "headers", "bytes"],
)
def test_what_comes_before_an_object_ends(pieces: list[Piece]) -> None:
    def script(_: Request) -> Iterator[Piece]:
        first, *rest = pieces
        return itertools.chain([first], itertools.cycle(rest or [first]))

    with (
        RawServer(script) as server,
        pytest.raises(AtdataError),
        source(server).open(ShardRef("s3://bucket/a.tar")) as body,
    ):
        body.read()


@pytest.mark.timeout(60)
def test_a_byte_a_connection_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PATIENCE", "60")
    with RawServer(lambda request: [head(request) + b"y", 0.01, RESET]) as server:
        with pytest.raises(NetworkError), source(server).open(ShardRef("s3://bucket/a.tar")) as body:
            body.read()
        assert len(server.requests) == TRIES


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "X-GZIP"])
def test_an_object_that_is_stored_compressed_is_called_so(encoding: str) -> None:
    with RawServer(lambda request: head(request, content_encoding=encoding) + bytes(SIZE)) as server:
        ref, url = ShardRef("s3://bucket/a.tar"), f"{server.url}/a.tar"
        web = HttpSource.from_urls([url])
        for where, at in ((source(server), ref), (web, ShardRef(url))):
            with pytest.raises(ShardError, match="compressed") as caught:
                where.open(at)
            assert encoding.lower().rpartition(" ")[2] in (caught.value.actual or "")
            assert where.read_range(at, 0, SIZE) is None


@pytest.mark.parametrize("encoding", ["identity", "aws-chunked", "", "Identity"])
def test_what_says_that_nothing_was_done_is_read(encoding: str) -> None:
    with RawServer(lambda request: head(request, content_encoding=encoding) + bytes(SIZE)) as server:
        url = f"{server.url}/a.tar"
        for where, at in ((source(server), "s3://bucket/a.tar"), (HttpSource.from_urls([url]), url)):
            with where.open(ShardRef(at)) as body:
                assert body.read() == bytes(SIZE)
            assert where.read_range(ShardRef(at), 0, SIZE) == bytes(SIZE)


def test_settings_reach_the_sources_of_addresses() -> None:
    """By argument and by variable."""
    for given, expected in ((None, 1.0), (Settings.of(patience=7), 7.0)):
        found = source_at(["https://a.test/b.tar"], given)
        assert isinstance(found, HttpSource)
        assert found.transport.patience == expected


@pytest.mark.parametrize(
    "endpoint", ["http://[::1", "nonsense", "ftp://a.test", "http://a.test:port", "http://a\u2028b"]
)
def test_an_endpoint_that_is_none_is_told(endpoint: str) -> None:
    broken = S3Source.from_urls(["s3://bucket/a.tar"], endpoint_url=endpoint, region="here", anonymous=True)
    for use in (broken.open, lambda shard: broken.read_range(shard, 0, 1)):
        with pytest.raises(AddressError):
            use(ShardRef("s3://bucket/a.tar"))
    with pytest.raises(UsageError):
        S3DataStore(bucket="bucket", endpoint_url=endpoint)


@pytest.mark.parametrize("region", ["", "no region", "../x"])
def test_a_region_that_is_none_is_told(region: str) -> None:
    broken = S3Source.from_urls(["s3://bucket/a.tar"], region=region, anonymous=True)
    with pytest.raises(AtdataError):
        broken.open(ShardRef("s3://bucket/a.tar"))
