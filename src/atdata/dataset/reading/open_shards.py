"""The shards of a dataset, opened and verified when they are read or shortly before.

A process may open only so many files (`RLIMIT_NOFILE`). All its datasets share a part of that: to open one more, the
dataset with the most open files closes the least recently used.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from atdata.dataset.reading.manifests import ShardManifests, check_offsets
from atdata.dataset.reading.partial import PartialShard
from atdata.errors import LimitError, ShardError
from atdata.numbers import Ints
from atdata.shards.cache import ShardCache
from atdata.shards.keys import Keys, keys_of
from atdata.shards.listing import stat_file
from atdata.shards.memory_map import FileRange, check_unchanged, map_file
from atdata.shards.opening import AHEAD, OpenShard, open_shard
from atdata.shards.ports import DataSource, RangeSource, ShardRef
from atdata.shards.source import FileSource

MAX_OPEN = 128
_MAX_KEY_BYTES = 1 << 28
_RESERVED = 64  # files for other purposes
_PER_SHARD = 3  # descriptors of an open shard: its own, that of the mapping, and one to read with

_instances: weakref.WeakSet[ShardFiles] = weakref.WeakSet()
_instances_lock = threading.Lock()


class OpenShards:
    """Shards of a source, each verified before it is used, and open until others need its descriptors.

    It pickles as the source it opens. Threads may share it.

    Args:
        source: where the shards are.
        refs: the shards.
        cache: where fetched shards are kept.
        counts: the number of samples in each, where it is known; a shard with another is refused.

    Attributes:
        ranges: the source, if it gives parts of shards.
    """

    def __init__(
        self, source: DataSource, refs: Sequence[ShardRef], cache: ShardCache, counts: Sequence[int | None]
    ) -> None:
        self.source, self.refs, self.cache, self._counts = source, refs, cache, counts
        self.ranges = source if isinstance(source, RangeSource) else None
        self._reset()

    def _reset(self) -> None:
        self.manifests = ShardManifests(self.refs, self.cache)
        self._files = ShardFiles()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("manifests", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    # --- opening

    def open(self, shard: int) -> OpenShard:
        """A verified shard.

        Raises:
            DigestError: it is not the one that was published.
            ShardError: it is damaged, or contradicts its reference or its manifest.
        """
        files = self._files
        with files.lock:
            opened = files.open.get(shard)
            if opened is not None:
                files.open.move_to_end(shard)
                return opened
            pending = files.prefetches.pop(shard, None)
            try:
                opened = pending.shard.result() if pending else self._open_verified(shard, threading.Event())
            except LimitError:  # others have taken all descriptors of this process
                evict_excess(files, 0)
                opened = self._open_verified(shard, threading.Event())
            files.drop_partial(shard)
            files.open[shard] = opened
            while len(files.open) > MAX_OPEN:
                files.drop(next(iter(files.open)))
            evict_excess(files)
            return opened

    def _open_verified(self, shard: int, stopped: threading.Event) -> OpenShard:
        opened = open_shard(self.source, self.refs[shard], self.cache, stopped)
        count, manifest = self._counts[shard], self.manifests.cached_index(shard)
        try:
            if count is not None and count != len(opened.index):
                raise ShardError(
                    "the number of samples in the shard is not that in its reference",
                    uri=self.refs[shard].url,
                    expected=count,
                    actual=len(opened.index),
                    hint="The reference is wrong; tell the dataset's publisher.",
                )
            if manifest is not None:
                check_offsets(manifest.index, opened.index, self.refs[shard].url)
        except ShardError:
            opened.file.close()
            raise
        return opened

    def stat(self, shard: int) -> os.stat_result | None:
        """The status of a shard's file; `None` where it is not on this machine.

        Raises:
            ShardNotFoundError: it should be, and is not.
        """
        ref = self.refs[shard]
        if isinstance(self.source, FileSource):
            return stat_file(ref.url)
        try:
            return None if ref.digest is None else self.cache.path(ref.digest).stat()
        except OSError:
            return None

    # --- prefetching

    def prefetch(self, shards: Iterable[int]) -> None:
        """Begin to fetch and verify shards that will be read soon."""
        files = self._files
        with files.lock:
            known, count = {*files.open, *files.prefetches}, len(self.refs)
            wanted = [shard for shard in shards if shard < count and shard not in known]
            if not wanted:
                return
            pool = ThreadPoolExecutor(len(wanted), "atdata-fetch")
            for shard in wanted:
                stopped = threading.Event()
                files.prefetches[shard] = Prefetch(pool.submit(self._open_verified, shard, stopped), stopped)
            pool.shutdown(wait=False)

    def prefetch_first(self) -> None:
        """Begin to verify the first shards in parallel, where they are on this machine: all will be read in order."""
        self.prefetch([shard for shard in range(min(AHEAD, len(self.refs))) if self.stat(shard) is not None])

    def is_prefetching(self, shard: int) -> bool:
        """True while a shard is being fetched."""
        pending = self._files.prefetches.get(shard)
        return pending is not None and not pending.shard.done()

    def cancel_prefetch(self) -> None:
        """Stop fetching shards that are not needed yet."""
        with self._files.lock:
            _cancel(self._files.prefetches)

    # --- contents

    @contextmanager
    def used(self, shard: int, starts: Ints) -> Iterator[OpenShard]:
        """An open shard some samples of which are about to be read. It stays open meanwhile.

        Raises:
            DigestError, NetworkError: a sample is not the published one, or cannot be fetched.
            ShardError: the shard was cut meanwhile.
        """
        with self._files.lock:
            yield self._ready(shard, starts)

    def memory(self, shard: int, starts: Ints) -> FileRange:
        """The bytes of a whole shard, mapped, to touch some samples in; the same until the shard is closed."""
        files = self._files
        with files.lock:
            opened = self._ready(shard, starts)
            if shard not in files.mapped:
                files.mapped[shard] = map_file(opened.file, 0, opened.size, scattered=True)
            return files.mapped[shard]

    def _ready(self, shard: int, _starts: Ints) -> OpenShard:
        opened = self.open(shard)
        check_unchanged(opened.file, opened.size, opened.ref.url)
        return opened

    def keys(self, shard: int) -> Keys:
        """The keys of a shard's samples, in order. They are read once, and kept while there is room for them.

        Raises:
            ShardError: the shard is damaged.
        """
        files = self._files
        with files.lock:
            if shard in files.keys:
                files.keys.move_to_end(shard)
                return files.keys[shard]
            keys = files.keys[shard] = keys_of(self.open(shard))
            size = sum(some.nbytes for some in files.keys.values())
            while size > _MAX_KEY_BYTES and len(files.keys) > 1:
                size -= files.keys.popitem(last=False)[1].nbytes
            return keys


# --- files


class Prefetch(NamedTuple):
    """A shard that is being fetched, and the way to stop that."""

    shard: Future[OpenShard]
    stopped: threading.Event


class ShardFiles:
    """The open files of one dataset's shards. A forked process has none: threads are gone, and the files are the parent's to
    close.

    Attributes:
        open: whole shards, the most recently used last.
        mapped: memory over open shards, whole or partial.
        prefetches: shards being fetched.
        partial: shards of which only some samples are here, the most recently used last.
        whole: remote shards of which no parts are fetched.
        keys: of shards, the most recently used last.
    """

    def __init__(self) -> None:
        self.reset()
        with _instances_lock:
            _instances.add(self)

    def reset(self) -> None:
        """Forget everything without closing it."""
        self.open: OrderedDict[int, OpenShard] = OrderedDict()
        self.mapped: dict[int, FileRange] = {}
        self.prefetches: dict[int, Prefetch] = {}
        self.partial: OrderedDict[int, PartialShard] = OrderedDict()
        self.whole: set[int] = set()
        self.keys: OrderedDict[int, Keys] = OrderedDict()
        self.lock = threading.RLock()
        weakref.finalize(self, _close, self.open, self.prefetches, self.partial)

    @property
    def files(self) -> int:
        """The number of open files, or of those about to be."""
        return len(self.open) + len(self.partial) + len(self.prefetches)

    def drop(self, shard: int) -> None:
        """Close a whole shard; what is mapped of it lives on while it is used. The lock is held."""
        if opened := self.open.pop(shard, None):
            self.mapped.pop(shard, None)
            opened.file.close()

    def drop_partial(self, shard: int) -> None:
        """Close a shard in parts. The lock is held."""
        if partial := self.partial.pop(shard, None):
            self.mapped.pop(shard, None)
            partial.opened.file.close()

    def evict(self) -> bool:
        """Close the least recently used shard. False if it may be in use."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            if self.open:
                self.drop(next(iter(self.open)))
            elif self.partial:
                self.drop_partial(next(iter(self.partial)))
            else:
                _cancel(self.prefetches)
        finally:
            self.lock.release()
        return True


def most_open() -> int:
    """The number of shards that all datasets of this process may have open together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max((soft - min(_RESERVED, soft // 4)) // _PER_SHARD, 1)


def evict_excess(own: ShardFiles, most: int | None = None) -> None:
    """Have datasets close shards until no more are open than `most`, by default `most_open()`. The last of `own` stays."""
    with _instances_lock:
        others = list(_instances)
    limit = most_open() if most is None else most
    excess = sum(some.files for some in others) - limit
    while excess > 0 and others:
        largest = max(others, key=lambda some: some.files)
        before = largest.files
        if before <= (largest is own) or not largest.evict():
            others.remove(largest)
        excess -= before - largest.files


def _reset_after_fork() -> None:
    """Begin anew in a forked process."""
    global _instances_lock
    _instances_lock = threading.Lock()
    for files in list(_instances):
        files.reset()


os.register_at_fork(after_in_child=_reset_after_fork)


def _close(
    opened: OrderedDict[int, OpenShard], prefetches: dict[int, Prefetch], partial: OrderedDict[int, PartialShard]
) -> None:
    _cancel(prefetches)
    for shard in [*opened.values(), *(some.opened for some in partial.values())]:
        shard.file.close()


def _cancel(prefetches: dict[int, Prefetch]) -> None:
    while prefetches:
        _, one = prefetches.popitem()
        one.stopped.set()
        one.shard.cancel()
        one.shard.add_done_callback(_close_unused)


def _close_unused(future: Future[OpenShard]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()
