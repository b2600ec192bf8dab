"""The shards of a dataset side by side: which sample is in which, and the ones that are open just now."""

from __future__ import annotations

import bisect
import hashlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import NotFoundError, ShardError
from atdata.protocols import DataSource
from atdata.shards.cache import ShardCache
from atdata.shards.ledger import state_of
from atdata.shards.memory import Memory, check_unchanged, map_file
from atdata.shards.opening import OpenShard, open_shard
from atdata.shards.rows import scan_rows
from atdata.shards.source import FileSource, ShardRef

Ints: TypeAlias = NDArray[np.int64]

KEPT = 128
_PIECE = 1 << 16
_SLACK = 1024  # an archive ends with two blocks, so this much can be read after any sample


class _Coming(NamedTuple):
    """A shard that is being fetched, and the way to stop that."""

    shard: Future[OpenShard]
    stopped: threading.Event


class ShardTable:
    """The shards of a source, opened as they are needed, with the number of samples in each.

    One table serves all views of a dataset. It pickles as the source it reads, and knows nothing then.
    """

    def __init__(self, source: DataSource, cache: ShardCache) -> None:
        self.source, self.cache = source, cache
        self.refs: tuple[ShardRef, ...] = tuple(source.shards)
        self._counts: list[int | None] = [ref.samples for ref in self.refs]
        self._bounds: list[int] = [0]
        self._starts: Ints | None = None
        self._asked = False  # whether the ledger was
        self._reset()

    def _reset(self) -> None:
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        self._whole: dict[int, Memory] = {}
        self._coming: dict[int, _Coming] = {}
        self._lock = threading.RLock()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._open, self._coming)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("source", "cache", "refs", "_counts", "_bounds", "_starts", "_asked")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        """How many samples there are.

        Raises:
            ShardError: a shard that had to be looked at is damaged.
        """
        return self.reach(None)

    def reach(self, stop: int | None, far: bool = True) -> int:
        """`stop`, or the number of all samples if that is less; opens shards as far as it must to tell.

        With `far` false no shard is opened, and the answer is the end of those that are known, at most.
        """
        while far and len(self._bounds) <= len(self.refs) and (stop is None or self._bounds[-1] < stop):
            shard = len(self._bounds) - 1
            if self._counts[shard] is None and not self._asked:
                self._look_up()
            count = self._counts[shard]
            if count is None:
                count = self._counts[shard] = len(self.open(shard).index)
            self._bounds.append(self._bounds[-1] + count)
        return self._bounds[-1] if stop is None else min(stop, self._bounds[-1])

    def _look_up(self) -> None:
        """Take from the ledger what it knows of local files, all at once."""
        self._asked = True
        unknown = [shard for shard, count in enumerate(self._counts) if count is None]
        if not unknown or not isinstance(self.source, FileSource):
            return
        states = {shard: state_of(self.source.path(self.refs[shard]).stat()) for shard in unknown}
        counts = self.cache.ledger.counts(list(states.values()))
        for shard, state in states.items():
            self._counts[shard] = counts.get(state)

    def locate(self, samples: Ints) -> tuple[Ints, Ints]:
        """The shard of each sample, and its number in it."""
        self.reach(int(samples.max(initial=-1)) + 1)
        if self._starts is None or len(self._starts) != len(self._bounds):
            self._starts = np.array(self._bounds, np.int64)
        shards = np.searchsorted(self._starts, samples, "right") - 1
        return shards, samples - self._starts[shards]

    def shard_of(self, sample: int) -> int:
        """The shard of one sample."""
        self.reach(sample + 1)
        return bisect.bisect_right(self._bounds, sample) - 1

    def fingerprints(self) -> list[str]:
        """What tells each shard from others: its digest; where none is known, its size, count and some of its bytes."""
        return [self._fingerprint(shard, ref) for shard, ref in enumerate(self.refs)]

    def _fingerprint(self, shard: int, ref: ShardRef) -> str:
        if ref.digest is not None:
            return str(ref.digest)
        self.reach(None)
        known = f"{self._counts[shard]}:{ref.size}"
        if not isinstance(self.source, FileSource):
            return known
        with self.source.open(ref) as file:
            size = os.fstat(file.fileno()).st_size
            pieces = [os.pread(file.fileno(), _PIECE, max(place, 0)) for place in (0, size // 2, size - _PIECE)]
        return f"{self._counts[shard]}:{size}:{hashlib.sha256(b''.join(pieces)).hexdigest()}"

    def find(self, key: str) -> int:
        """The number of the sample with a key.

        Raises:
            NotFoundError: no shard holds it.
        """
        before = 0
        for shard in range(len(self.refs)):
            opened = self.open(shard)
            for number, member in enumerate(scan_rows(opened.file, opened.size, opened.ref.url)):
                if member.key == key:
                    return before + number
            before += len(opened.index)
        raise NotFoundError("no sample has this key", path=repr(key))

    def open(self, shard: int) -> OpenShard:
        """A shard, proved.

        Raises:
            DigestError: it is not the one that was published.
            ShardError: it is damaged, or has other samples than its reference says.
        """
        if self._process != os.getpid():  # forked: threads are gone, and files are the parent's to close
            self._reset()
        with self._lock:
            opened = self._open.get(shard)
            if opened is not None:
                self._open.move_to_end(shard)
                return opened
            coming = self._coming.pop(shard, None)
            opened = coming.shard.result() if coming else self._proved(shard, threading.Event())
            self._open[shard] = opened
            while len(self._open) > KEPT:
                self.drop(next(iter(self._open)))
            return opened

    def _proved(self, shard: int, stopped: threading.Event) -> OpenShard:
        opened = open_shard(self.source, self.refs[shard], self.cache, stopped)
        count = self._counts[shard]
        if count is not None and count != len(opened.index):
            opened.file.close()
            raise _miscounted(self.refs[shard], count, len(opened.index))
        return opened

    def ahead(self, shards: Iterable[int]) -> None:
        """Begin to fetch and prove shards that will be asked for soon."""
        with self._lock:
            wanted = [s for s in shards if s < len(self.refs) and s not in self._open and s not in self._coming]
            if not wanted:
                return
            pool = ThreadPoolExecutor(len(wanted), "atdata-fetch")
            for shard in wanted:
                stopped = threading.Event()
                self._coming[shard] = _Coming(pool.submit(self._proved, shard, stopped), stopped)
            pool.shutdown(wait=False)

    def rest(self) -> None:
        """Stop fetching what nobody asked for yet."""
        with self._lock:
            _cancel(self._coming)

    def drop(self, shard: int) -> None:
        """Let go of a shard; what is mapped of it lives on while it is used."""
        with self._lock:
            self._whole.pop(shard, None)
            if opened := self._open.pop(shard, None):
                opened.file.close()

    def memory(self, shard: int, starts: Ints, sizes: Ints, dense: bool) -> Memory:
        """Memory that holds some samples of a shard; `dense` maps just the range they span, at once."""
        opened = self.open(shard)
        check_unchanged(opened.file, opened.size, opened.ref.url)
        if dense:
            stop = min(int(starts[-1] + sizes[-1]) + _SLACK, opened.size)
            return map_file(opened.file, int(starts[0]), stop)
        with self._lock:
            if shard not in self._whole:
                self._whole[shard] = map_file(opened.file, 0, opened.size, scattered=True)
            return self._whole[shard]


def _close(opened: OrderedDict[int, OpenShard], coming: dict[int, _Coming]) -> None:
    _cancel(coming)
    for shard in opened.values():
        shard.file.close()


def _cancel(coming: dict[int, _Coming]) -> None:
    while coming:
        _, one = coming.popitem()
        one.stopped.set()
        one.shard.cancel()
        one.shard.add_done_callback(_close_unused)


def _close_unused(future: Future[OpenShard]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()


def _miscounted(ref: ShardRef, expected: int, actual: int) -> ShardError:
    return ShardError(
        "a shard does not hold as many samples as its reference says", uri=ref.url, expected=expected, actual=actual
    )
