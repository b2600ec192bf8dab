"""Fetching of shards: their bytes in order, a few parts of a large one in parallel."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import BinaryIO, Protocol, runtime_checkable

from atdata.errors import DigestError, NetworkError
from atdata.shards.digest import CHUNK
from atdata.shards.ports import DataSource, RangeSource, ShardRef

MAX_SHARD = 1 << 36
"""Bytes of a shard, where nobody has said how many: a server that sends without end fills no disk."""

LARGE = 16 << 20
"""Bytes above which a shard is fetched in parts."""

PART = 8 << 20
SIDE_BY_SIDE = 4


@runtime_checkable
class Sized(Protocol):
    """A stream that may know how long it is."""

    @property
    def size(self) -> int | None:
        """Bytes of all of it, from its very beginning."""


def fetch_bytes(source: DataSource, ref: ShardRef, stopped: threading.Event) -> Generator[bytes]:
    """A shard's bytes in pieces, in order, no more than its record says, so that no server fills the disk.

    Only who checks a digest may call this: parts that are fetched side by side may be of different shards, where one
    is replaced meanwhile.

    Raises:
        ShardNotFoundError, NetworkError: it cannot be had.
        DigestError: it is longer than it may be.
    """
    return _bounded(_fetched(source, ref, stopped), ref, stopped)


def stream_bytes(source: DataSource, ref: ShardRef, stopped: threading.Event) -> Generator[bytes]:
    """The same by one stream, which is of one shard from its beginning to its end."""
    return _bounded(_streamed(source, ref, 0), ref, stopped)


def _bounded(fetched: Generator[bytes], ref: ShardRef, stopped: threading.Event) -> Generator[bytes]:
    total = 0
    with closing(fetched) as pieces:
        for piece in pieces:
            total += len(piece)
            if total > (MAX_SHARD if ref.size is None else ref.size):
                limit = f"{ref.size} bytes" if ref.size is not None else f"at most {MAX_SHARD} bytes"
                raise DigestError("a shard is longer than expected", step="shard digest", uri=ref.url, expected=limit)
            if stopped.is_set():
                raise _stopped(ref)
            yield piece


def _fetched(source: DataSource, ref: ShardRef, stopped: threading.Event) -> Generator[bytes]:
    position = 0
    if isinstance(source, RangeSource):
        size = ref.size
        if size is None:
            with source.open(ref) as stream:
                size = stream.size if isinstance(stream, Sized) else None
                if size is None or size <= LARGE:
                    yield from _pieces(stream)
                    return
        if size > LARGE:
            for part in _side_by_side(source, ref, min(size, MAX_SHARD), stopped):
                position += len(part)
                yield part
            if position == size:
                return
    yield from _streamed(source, ref, position)  # all of it, or what its server did not give in parts


def _side_by_side(source: RangeSource, ref: ShardRef, size: int, stopped: threading.Event) -> Iterator[bytes]:
    """Parts of a shard in order, up to the first that its server does not give."""
    starts = iter(range(0, size, PART))
    waiting: deque[Future[bytes | None]] = deque()

    def ask(start: int) -> bytes | None:
        if stopped.is_set():
            raise _stopped(ref)
        return source.read_range(ref, start, min(start + PART, size))

    with ThreadPoolExecutor(SIDE_BY_SIDE, "atdata-part") as pool:
        try:
            while True:
                waiting.extend(pool.submit(ask, start) for start in islice(starts, SIDE_BY_SIDE - len(waiting)))
                if not waiting or (part := waiting.popleft().result()) is None:
                    return
                yield part
                del part
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _streamed(source: DataSource, ref: ShardRef, position: int) -> Generator[bytes]:
    with source.open(ref, position) as stream:
        yield from _pieces(stream)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece


def _stopped(ref: ShardRef) -> NetworkError:
    return NetworkError("reading was stopped", uri=ref.url)
