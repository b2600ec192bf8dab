"""What a process has open of a dataset's shards, and how it lets go of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from atdata.dataset.partial import PartialShard
from atdata.shards.keys import Keys
from atdata.shards.memory import Memory
from atdata.shards.opening import OpenShard


class Coming(NamedTuple):
    """A shard that is being fetched, and the way to stop that."""

    shard: Future[OpenShard]
    stopped: threading.Event


class Held:
    """What one process has open of a table's shards.

    Attributes:
        open: whole shards, the one used last at the end.
        mapped: memory over open shards, whole or partial.
        coming: shards being fetched.
        partial: shards of which only some samples are here.
        refused: shards that are not to be had in parts.
        keys: of shards, those used last at the end.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Let go of everything without closing it."""
        self.open: OrderedDict[int, OpenShard] = OrderedDict()
        self.mapped: dict[int, Memory] = {}
        self.coming: dict[int, Coming] = {}
        self.partial: OrderedDict[int, PartialShard] = OrderedDict()
        self.refused: set[int] = set()
        self.keys: OrderedDict[int, Keys] = OrderedDict()
        self.lock = threading.RLock()
        self.process = os.getpid()
        weakref.finalize(self, _close, self.open, self.coming, self.partial)

    def rest(self) -> None:
        """Stop fetching what nobody asked for yet."""
        _cancel(self.coming)


def _close(
    opened: OrderedDict[int, OpenShard], coming: dict[int, Coming], partial: OrderedDict[int, PartialShard]
) -> None:
    _cancel(coming)
    for shard in [*opened.values(), *(some.opened for some in partial.values())]:
        shard.file.close()


def _cancel(coming: dict[int, Coming]) -> None:
    while coming:
        _, one = coming.popitem()
        one.stopped.set()
        one.shard.cancel()
        one.shard.add_done_callback(_close_unused)


def _close_unused(future: Future[OpenShard]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()
