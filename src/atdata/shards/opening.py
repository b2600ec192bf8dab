"""Opening of shards, for all who read them: each is verified before a byte of it is used.

A shard is a local file by then, its digest checked where one is known, its headers proved to the end.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from atdata.errors import DigestError, ShardError
from atdata.shards.cache import ShardCache
from atdata.shards.digest import Digest
from atdata.shards.index import ShardIndex
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.rows import scan_shard
from atdata.shards.source import FileSource
from atdata.shards.verified_files import UNKNOWN, state_of

AHEAD = 2


@dataclass(frozen=True, eq=False)
class OpenShard:
    """A verified shard as a local file, with the offsets of its samples."""

    ref: ShardRef
    file: BinaryIO
    size: int
    index: ShardIndex


def open_shard(
    source: DataSource, ref: ShardRef, cache: ShardCache, stopped: threading.Event | None = None
) -> OpenShard:
    """One shard as a local file, verified where its digest is known. Files of this machine stay where they are.

    Of a file in a state that is known, what was verified before is believed, unless the cache revalidates.

    Raises:
        ShardNotFoundError, NetworkError: it cannot be had.
        DigestError: it is not the one that was published.
        ShardError: it is damaged, or holds something other than samples.
    """
    stopped = stopped or threading.Event()
    with ExitStack() as stack:
        if isinstance(source, FileSource):
            file = source.open(ref)
        elif ref.digest is not None:
            file = cache.open(ref.digest) or cache.fetch(source, ref, ref.digest, stopped)
        else:
            file = cache.spool(source, ref, stopped)
        stack.enter_context(file)
        looked = time.time_ns()
        stat = os.fstat(file.fileno())
        state, verified = state_of(stat), cache.verified
        known = verified.known(state) if stat.st_nlink else UNKNOWN  # a file without a name is ours alone
        proved = ref.digest is None or known.digest == str(ref.digest)
        try:
            if not proved and isinstance(source, FileSource):
                assert ref.digest is not None
                ref.digest.check(Digest.of_stream(file, ref.digest.algorithm).hex, ref.url)
            index = scan_shard(file, stat.st_size, ref.url) if known.index is None else known.index
        except (DigestError, ShardError):
            if cache.revalidate:
                verified.forget(state)
            raise
        if stat.st_nlink and (known.index is None or not proved):
            verified.record(state, ref.digest, index, looked)
        file.seek(0)
        stack.pop_all()
        return OpenShard(ref, file, stat.st_size, index)


def open_shards(source: DataSource, refs: Iterable[ShardRef], cache: ShardCache) -> Generator[OpenShard]:
    """The shards of a source one after the other; the next ones are prefetched.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be had.
        DigestError: a shard is not the one that was published; nothing of it was given out.
        ShardError: it is damaged, or holds something other than samples; nothing of it was given out.
    """
    stopped, upcoming = threading.Event(), iter(refs)
    pool = ThreadPoolExecutor(AHEAD, "atdata-fetch")
    waiting: deque[Future[OpenShard]] = deque()

    def look_ahead() -> None:
        for ref in itertools.islice(upcoming, AHEAD - len(waiting)):
            waiting.append(pool.submit(open_shard, source, ref, cache, stopped))

    try:
        look_ahead()
        while waiting:
            shard = waiting.popleft().result()
            look_ahead()
            with shard.file:
                yield shard
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for future in waiting:
            future.add_done_callback(_close_unused)


def _close_unused(future: Future[OpenShard]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()
