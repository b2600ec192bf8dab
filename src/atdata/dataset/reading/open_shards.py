"""What a process has open of a dataset's shards, and how it lets go of it.

A process may open only so many files (`RLIMIT_NOFILE`). All its datasets share a part of that: whoever opens one more
has the dataset that holds the most let go of what it used longest ago.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from atdata.dataset.reading.partial import PartialShard
from atdata.shards.keys import Keys
from atdata.shards.memory import Memory
from atdata.shards.opening import OpenShard

_SPARE = 64  # files that are open for other ends
_EACH = 3  # descriptors that an open shard takes: its own, that of what is mapped, and one to read with

_everyone: weakref.WeakSet[OpenShards] = weakref.WeakSet()
_joining = threading.Lock()


class Prefetch(NamedTuple):
    """A shard that is being fetched, and the way to stop that."""

    shard: Future[OpenShard]
    stopped: threading.Event


class OpenShards:
    """What one process has open of a table's shards.

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
        """Let go of everything without closing it."""
        self.open: OrderedDict[int, OpenShard] = OrderedDict()
        self.mapped: dict[int, Memory] = {}
        self.prefetches: dict[int, Prefetch] = {}
        self.partial: OrderedDict[int, PartialShard] = OrderedDict()
        self.refused: set[int] = set()
        self.keys: OrderedDict[int, Keys] = OrderedDict()
        self.lock = threading.RLock()
        self.process = os.getpid()
        weakref.finalize(self, _close, self.open, self.prefetches, self.partial)

    @property
    def files(self) -> int:
        """How many are open."""
        return len(self.open) + len(self.partial) + len(self.prefetches)

    def drop(self, shard: int) -> None:
        """Let go of a whole shard; what is mapped of it lives on while it is used. The lock is held."""
        if opened := self.open.pop(shard, None):
            self.mapped.pop(shard, None)
            opened.file.close()

    def drop_partial(self, shard: int) -> None:
        """Let go of a shard in parts. The lock is held."""
        if partial := self.partial.pop(shard, None):
            self.mapped.pop(shard, None)
            partial.opened.file.close()

    def evict(self) -> bool:
        """Let go of what was used longest ago; whether that was possible: somebody may be at work with it."""
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
        """Stop fetching what nobody asked for yet."""
        _cancel(self.prefetches)


def most_open() -> int:
    """How many shards all datasets of this process may have open together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max((soft - min(_SPARE, soft // 4)) // _EACH, 1)


def evict_excess(own: OpenShards, most: int | None = None) -> None:
    """Have datasets let go of shards until no more are open than may be. What `own` opened last stays open."""
    with _joining:
        others = [some for some in _everyone if some.process == os.getpid()]
    limit = most_open() if most is None else most
    excess = sum(some.files for some in others) - limit
    while excess > 0 and others:
        largest = max(others, key=lambda some: some.files)
        before = largest.files
        if before <= (largest is own) or not largest.evict():
            others.remove(largest)
        excess -= before - largest.files


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
