"""Large shards come in parts, a few at a time and in order; what gives no parts is read by a stream."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from atdata.errors import DigestError, NetworkError, StorageError, UsageError
from atdata.shards import Digest, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.fetching import LARGE, PART, SIDE_BY_SIDE, fetch_bytes
from atdata.shards.http import HttpSource
from atdata.shards.s3 import S3Source
from support.rawhttp import FileServer

URL = "test:large"
BODY = os.urandom(1 << 20) * 41 + b"the end"


class Stream(io.BytesIO):
    """Knows its size, as the bodies of servers do."""

    size = len(BODY)


@dataclass
class Parts:
    """A source that gives parts, and counts them."""

    body: bytes = BODY
    sized: bool = True
    part: Callable[[int, bytes], bytes | None] = lambda _, part: part
    asked: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    streams: list[BinaryIO] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    @property
    def shards(self) -> list[ShardRef]:
        return [ShardRef(URL)]

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        self.opened.append(offset)
        stream = (Stream if self.sized else io.BytesIO)(self.body)
        stream.seek(offset)
        self.streams.append(stream)
        return stream

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        with self.lock:
            self.asked.append(start)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.002 * (start // PART % 3))  # they do not come in order
        part = self.body[start:stop]
        with self.lock:
            self.now -= 1
        return self.part(start, part if len(part) == stop - start else None)  # type: ignore[arg-type]


def got(source: Parts, **facts: Any) -> bytes:
    return b"".join(fetch_bytes(source, ShardRef(URL, **facts), threading.Event()))


@pytest.mark.parametrize("known", [True, False])
def test_parts_are_put_together_in_order(known: bool) -> None:
    source = Parts()
    assert got(source, **({"size": len(BODY)} if known else {})) == BODY
    assert sorted(source.asked) == list(range(0, len(BODY), PART))
    assert source.opened == ([] if known else [0])
    assert 1 < source.most <= SIDE_BY_SIDE
    assert all(stream.closed for stream in source.streams)


def test_what_is_small_or_of_unknown_size_is_one_stream() -> None:
    small = Parts(BODY[:LARGE], sized=False)
    assert got(small, size=LARGE) == BODY[:LARGE]
    unknown = Parts(sized=False)
    assert got(unknown) == BODY
    assert small.asked == unknown.asked == []
    assert small.opened == unknown.opened == [0]


@pytest.mark.parametrize("nth", range(6))
def test_from_the_first_part_that_is_not_given_a_stream_goes_on(nth: int) -> None:
    source = Parts(part=lambda start, part: part if start < nth * PART else None)
    assert got(source, size=len(BODY)) == BODY
    assert source.opened == [nth * PART]


@pytest.mark.parametrize("nth", [0, 2, 5])
def test_a_part_that_cannot_be_had_ends_it(nth: int) -> None:
    def broken(start: int, part: bytes) -> bytes:
        if start == nth * PART:
            raise NetworkError("it keeps breaking off")
        return part

    with pytest.raises(NetworkError, match="breaking"):
        got(Parts(part=broken), size=len(BODY))


@pytest.mark.parametrize("said", [len(BODY) - 1, len(BODY) - PART, len(BODY) + 1, len(BODY) + PART, 1 << 50])
def test_a_false_size_is_found(tmp_path: Path, said: int) -> None:
    cache, digest = ShardCache(tmp_path), Digest.sha256(BODY)
    if said > len(BODY):  # it was only said to be longer: its bytes are right
        cache.fetch(Parts(), ShardRef(URL, digest, said), digest, threading.Event()).close()
        return
    with pytest.raises(DigestError):
        cache.fetch(Parts(), ShardRef(URL, digest, said), digest, threading.Event())
    assert not [path for path in (tmp_path / "shards").rglob("*") if path.is_file()]


@pytest.mark.parametrize("nth", range(6))
def test_a_part_that_lies_is_never_seen(tmp_path: Path, nth: int) -> None:
    def lying(start: int, part: bytes) -> bytes:
        return part[:-1] + bytes([part[-1] ^ 1]) if start == nth * PART else part

    cache, digest = ShardCache(tmp_path), Digest.sha256(BODY)
    with pytest.raises(DigestError):
        cache.fetch(Parts(part=lying), ShardRef(URL, digest, len(BODY)), digest, threading.Event())
    assert not [path for path in (tmp_path / "shards").rglob("*") if path.is_file()]


def test_whoever_stops_waits_for_no_more_parts() -> None:
    stopped = threading.Event()
    source = Parts(BODY * 4)
    pieces = fetch_bytes(source, ShardRef(URL, size=4 * len(BODY)), stopped)
    next(pieces)
    stopped.set()
    with pytest.raises(NetworkError, match="stopped"):
        for _ in pieces:
            pass
    assert len(source.asked) <= SIDE_BY_SIDE + 3
    early = Parts(BODY * 4)
    pieces = fetch_bytes(early, ShardRef(URL, size=4 * len(BODY)), threading.Event())
    next(pieces)
    pieces.close()
    assert len(early.asked) <= SIDE_BY_SIDE + 1


def test_no_more_than_a_few_parts_are_held() -> None:
    source = Parts(BODY * 4)
    for number, _ in enumerate(fetch_bytes(source, ShardRef(URL, size=4 * len(BODY)), threading.Event()), 1):
        assert len(source.asked) <= number + SIDE_BY_SIDE


def test_no_thread_is_left(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("no folder")
    digest = Digest.sha256(BODY)
    for cache in (ShardCache(tmp_path), ShardCache(tmp_path / "other")):
        try:
            cache.fetch(Parts(), ShardRef(URL, digest, len(BODY)), digest, threading.Event()).close()
        except StorageError:
            assert cache.root == tmp_path
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("atdata-part")]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_over_http_too(tmp_path: Path, ranges: bool, known: bool) -> None:
    digest = Digest.sha256(BODY)
    with FileServer(files={"/a.tar": BODY}, ranges=ranges) as server:
        source = HttpSource.from_urls([f"{server.url}/a.tar"])
        ref = ShardRef(f"{server.url}/a.tar", digest, len(BODY) if known else None)
        ShardCache(tmp_path).fetch(source, ref, digest, threading.Event()).close()
        asked = [request.headers.get("range") for request in server.requests]
    assert asked[0] is None or known
    parts = sum(part is not None for part in asked)
    assert parts == 6 if ranges else 1 <= parts <= SIDE_BY_SIDE


# --- addresses -------------------------------------------------------------------------------------------------------


def test_keys_of_a_bucket_are_addresses() -> None:
    source = S3Source.from_keys("bucket", ["a/1.tar", "ü 2.tar"], endpoint_url="http://localhost:1", anonymous=True)
    assert [shard.url for shard in source.shards] == ["s3://bucket/a/1.tar", "s3://bucket/ü 2.tar"]
    for bucket, key in (("", "a"), ("a/b", "a"), ("bucket", "")):
        with pytest.raises(UsageError):
            S3Source.from_keys(bucket, [key])


def test_a_source_shows_no_secret() -> None:
    source = S3Source.from_keys("bucket", ["a"], credentials=("canary", "canary", "canary"))
    assert "canary" not in repr(source)
