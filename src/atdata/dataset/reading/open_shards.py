"""The shards of a dataset, opened and proved when they are asked for or shortly before.

A process may open only so many files (`RLIMIT_NOFILE`). All its datasets share a part of that: whoever opens one more
has the dataset with the most open files close those that it used longest ago.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.reading.manifests import ShardManifests
from atdata.dataset.reading.partial import PartialShard
from atdata.errors import LimitError, ShardError
from atdata.shards.cache import ShardCache
from atdata.shards.keys import Keys, keys_of
from atdata.shards.listing import look
from atdata.shards.memory_map import FileRange, check_unchanged, map_file
from atdata.shards.opening import AHEAD, OpenShard, open_shard
from atdata.shards.ports import DataSource, RangeSource, ShardRef
from atdata.shards.scan import ShardIndex
from atdata.shards.source import FileSource

Ints: TypeAlias = NDArray[np.int64]

KEPT = 128
_KEYS = 1 << 28  # bytes of keys in memory
_SPARE = 64  # files that are open for other ends
_EACH = 3  # descriptors that an open shard takes: its own, that of what is mapped, and one to read with

_everyone: weakref.WeakSet[ShardFiles] = weakref.WeakSet()
_joining = threading.Lock()


class OpenShards:
    """Shards of a source, each proved before it is used, and open as long as others leave room.

    It pickles as the source it opens. Threads may share it.

    Args:
        source: where the shards are.
        refs: the shards.
        cache: where fetched shards are kept.
        counts: the number of samples in each, where it is known; it must prove true.

    Attributes:
        ranges: the source, if it gives parts of shards.
    """

    def __init__(
        self, source: DataSource, refs: Sequence[ShardRef], cache: ShardCache, counts: Sequence[int | None]
    ) -> None:
        self.source, self.refs, self.cache, self._counts = source, refs, cache, counts
        self.ranges = source if isinstance(source, RangeSource) else None
        self._begin()

    def _begin(self) -> None:
        self.manifests = ShardManifests(self.refs, self.cache)
        self._files = ShardFiles()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("manifests", "_files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    # --- opening

    def open(self, shard: int) -> OpenShard:
        """A shard, proved.

        Raises:
            DigestError: it is not the one that was published.
            ShardError: it is damaged, or has other samples than its reference or its manifest says.
        """
        files = self._files
        with files.lock:
            opened = files.open.get(shard)
            if opened is not None:
                files.open.move_to_end(shard)
                return opened
            coming = files.prefetches.pop(shard, None)
            try:
                opened = coming.shard.result() if coming else self._proved(shard, threading.Event())
            except LimitError:  # others have all files open that this process may
                evict_excess(files, 0)
                opened = self._proved(shard, threading.Event())
            files.drop_partial(shard)
            files.open[shard] = opened
            while len(files.open) > KEPT:
                files.drop(next(iter(files.open)))
            evict_excess(files)
            return opened

    def _proved(self, shard: int, stopped: threading.Event) -> OpenShard:
        opened = open_shard(self.source, self.refs[shard], self.cache, stopped)
        count, said = self._counts[shard], self.manifests.known(shard)
        try:
            if count is not None and count != len(opened.index):
                raise _miscounted(self.refs[shard], count, len(opened.index))
            if said is not None and not _equal(said.index, opened.index):
                raise ShardError(
                    "the samples of a shard are elsewhere than its manifest says",
                    uri=self.refs[shard].url,
                    hint="Its manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
                )
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
            return look(ref.url)
        try:
            return None if ref.digest is None else self.cache.path(ref.digest).stat()
        except OSError:
            return None

    def drop(self, shard: int) -> None:
        """Close a shard; what is mapped of it lives on while it is used."""
        with self._files.lock:
            self._files.drop(shard)

    # --- ahead of their use

    def prefetch(self, shards: Iterable[int]) -> None:
        """Begin to fetch and prove shards that will be asked for soon."""
        files = self._files
        with files.lock:
            known, count = {*files.open, *files.prefetches}, len(self.refs)
            wanted = [shard for shard in shards if shard < count and shard not in known]
            if not wanted:
                return
            pool = ThreadPoolExecutor(len(wanted), "atdata-fetch")
            for shard in wanted:
                stopped = threading.Event()
                files.prefetches[shard] = Prefetch(pool.submit(self._proved, shard, stopped), stopped)
            pool.shutdown(wait=False)

    def prefetch_first(self) -> None:
        """Begin to prove the first shards, side by side, where they are on this machine: all will be read in order."""
        self.prefetch([shard for shard in range(min(AHEAD, len(self.refs))) if self.stat(shard) is not None])

    def is_prefetching(self, shard: int) -> bool:
        """True while a shard is being fetched."""
        coming = self._files.prefetches.get(shard)
        return coming is not None and not coming.shard.done()

    def cancel_prefetch(self) -> None:
        """Stop fetching what nobody asked for yet."""
        with self._files.lock:
            self._files.cancel_prefetch()

    def fetch(self, groups: Mapping[int, Ints]) -> None:
        """Fetch samples that will be asked for next, where they can be had by themselves: here they cannot.

        Args:
            groups: the numbers of samples in each shard, int64 `[n]`.

        Raises:
            DigestError: a sample is not what its manifest says, or a manifest is not the one that was published.
            NetworkError: a source cannot be reached.
        """

    # --- what is in them

    @contextmanager
    def used(self, shard: int, starts: Ints) -> Iterator[OpenShard]:
        """An open shard some samples of which are about to be read. Nobody closes it meanwhile.

        Raises:
            DigestError, NetworkError: as `fetch`.
            ShardError: the shard was cut meanwhile.
        """
        with self._files.lock:
            yield self._ready(shard, starts)

    def memory(self, shard: int, starts: Ints) -> FileRange:
        """The bytes of a whole shard, mapped, to touch some samples in; the same until the shard is closed.

        Raises:
            DigestError, NetworkError, ShardError: as `used`.
        """
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
        """The keys of a shard's samples, in order. They are looked at once, and kept while there is room for them.

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
            while size > _KEYS and len(files.keys) > 1:
                size -= files.keys.popitem(last=False)[1].nbytes
            return keys


def _equal(one: ShardIndex, other: ShardIndex) -> bool:
    return np.array_equal(one.starts, other.starts) and np.array_equal(one.sizes, other.sizes)


def _miscounted(ref: ShardRef, expected: int, actual: int) -> ShardError:
    return ShardError(
        "a shard does not hold as many samples as its reference says", uri=ref.url, expected=expected, actual=actual
    )


# --- files


class Prefetch(NamedTuple):
    """A shard that is being fetched, and the way to stop that."""

    shard: Future[OpenShard]
    stopped: threading.Event


class ShardFiles:
    """The files of one dataset's shards that this process has open. A forked process has none: threads are gone, and the
    files are the parent's to close.

    Attributes:
        open: whole shards, the one used last at the end.
        mapped: memory over open shards, whole or partial.
        prefetches: shards being fetched.
        partial: shards of which only some samples are here.
        refused: shards that are not to be had in parts.
        keys: of shards, those used last at the end.
    """

    def __init__(self) -> None:
        self.reset()
        with _joining:
            _everyone.add(self)

    def reset(self) -> None:
        """Forget everything without closing it."""
        self.open: OrderedDict[int, OpenShard] = OrderedDict()
        self.mapped: dict[int, FileRange] = {}
        self.prefetches: dict[int, Prefetch] = {}
        self.partial: OrderedDict[int, PartialShard] = OrderedDict()
        self.refused: set[int] = set()
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
        """Close what was used longest ago. False if that was not possible: somebody may be at work with it."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            if self.open:
                self.drop(next(iter(self.open)))
            elif self.partial:
                self.drop_partial(next(iter(self.partial)))
            else:
                self.cancel_prefetch()
        finally:
            self.lock.release()
        return True

    def cancel_prefetch(self) -> None:
        """Stop fetching what nobody asked for yet. The lock is held."""
        _cancel(self.prefetches)


def most_open() -> int:
    """The number of shards that all datasets of this process may have open together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max((soft - min(_SPARE, soft // 4)) // _EACH, 1)


def evict_excess(own: ShardFiles, most: int | None = None) -> None:
    """Have datasets close shards until no more are open than may be. What `own` opened last stays open."""
    with _joining:
        others = list(_everyone)
    limit = most_open() if most is None else most
    excess = sum(some.files for some in others) - limit
    while excess > 0 and others:
        largest = max(others, key=lambda some: some.files)
        before = largest.files
        if before <= (largest is own) or not largest.evict():
            others.remove(largest)
        excess -= before - largest.files


def _begin_anew() -> None:
    """Begin anew in a forked process."""
    global _joining
    _joining = threading.Lock()
    for files in list(_everyone):
        files.reset()


os.register_at_fork(after_in_child=_begin_anew)


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
