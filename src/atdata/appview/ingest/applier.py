"""The one who applies what came from upstreams: a batch of frames is one transaction, with how far each was read.

A frame is a hint. Whatever it says of a repository that is followed is held against the signed commit in it; what cannot
be applied at once marks the repository, in the same transaction, to be compared with its own server.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atdata.appview.ingest.batch import Batch, FrameRead, verify_commits
from atdata.appview.ingest.frames import FrameQueue, Interruption, Item
from atdata.appview.ingest.lease import IngestLease
from atdata.atproto.events import CommitEvent, ErrorEvent
from atdata.replica import Replica, Writing, now

BATCH = 500
"""Frames in one transaction."""
CURSOR_AFTER = 1_000_000
"""Microseconds after which it is written how far foreign frames were read."""


@dataclass(slots=True)
class _Position:
    """The place in the stream of an upstream.

    Attributes:
        cursor: the number of the last event of which all is durable, or will be with the next transaction.
        rewinds: how often an operator had moved it.
        written: whether the database says so too.
    """

    cursor: int | None
    rewinds: int
    written: bool = True

    def passes(self, seq: int) -> bool:
        """Pass an event; `False` where others are missing before it."""
        whole = self.cursor is None or seq <= self.cursor + 1
        if self.cursor is None or seq > self.cursor:
            self.cursor, self.written = seq, False
        return whole


class Applier:
    """Applies frames.

    Args:
        replica: what they change.
        queue: where they come from.
        followed: the accounts of which all is looked at.
        lease: under which this is done.
        wake: called once something was marked.
        sweep_after: microseconds between two sweeps of all repositories.
        counted: counts what happens.
    """

    def __init__(
        self,
        replica: Replica,
        queue: FrameQueue,
        followed: set[str],
        lease: IngestLease,
        wake: Callable[[], None],
        sweep_after: int,
        counted: Counter[str],
    ) -> None:
        self._replica, self._queue, self._followed, self._lease, self._wake = replica, queue, followed, lease, wake
        self._sweep_after, self.counted = sweep_after, counted
        self._positions: dict[int, _Position] = {}
        self._written_at = 0

    def run(self, stopping: threading.Event) -> None:
        """Apply what comes until the end."""
        while not stopping.is_set():
            self.apply(self._queue.take(BATCH, 0.5))

    def apply(self, items: Sequence[Item]) -> None:
        """Apply some frames. Where it returns all is durable, but for how far foreign ones were read."""
        reads = list[FrameRead]()
        for upstream, item in items:
            if isinstance(item, Interruption):
                self._write(reads, upstream if item.too_large else None)
                reads = []
                self._positions.pop(upstream, None)
                item.applied.set()
            else:
                reads.append(self._look(upstream, item))
        idle = not items or now() - self._written_at > CURSOR_AFTER
        if any(map(FrameRead.matters, reads)) or (idle and not all(p.written for p in self._positions.values())):
            self._write(reads)

    def _look(self, upstream: int, frame: bytes) -> FrameRead:
        """Read as much of a frame as is of interest."""
        read = FrameRead.of(upstream, frame, self._followed)
        self.counted["frames"] += 1
        self.counted["foreign"] += not read.matters()
        position = self._position(upstream)
        if read.seq is not None:
            read.after_gap = not position.passes(read.seq)
        elif isinstance(read.event, ErrorEvent) and read.event.error == "FutureCursor":
            position.cursor, position.written = None, False  # its numbers have begun anew
        return read

    def _position(self, upstream: int) -> _Position:
        if upstream not in self._positions:
            found = "SELECT cursor, rewinds FROM ingest_upstreams WHERE id = ?"
            row = self._replica.read(lambda reading: reading.sql.first(found, upstream))
            self._positions[upstream] = _Position(*row)
        return self._positions[upstream]

    def _write(self, reads: Sequence[FrameRead], too_large: int | None = None) -> None:
        """Apply frames in one transaction, with how far all upstreams were read."""
        if too_large is not None and (position := self._position(too_large)).cursor is not None:
            position.cursor, position.written = position.cursor + 1, False
        commits = [read for read in reads if isinstance(read.event, CommitEvent)]
        self._replica.read(lambda reading: verify_commits(reading, commits)) if commits else None
        moment = now()

        def work(writing: Writing) -> Batch:
            batch = Batch(writing, moment, self._sweep_after)
            for read in reads:
                batch.take(read)
            if too_large is not None:
                batch.pass_over_large(too_large)
            for upstream, position in self._positions.items():
                if position.written:
                    continue  # nothing came from it
                update = "UPDATE ingest_upstreams SET cursor = ?, event_at = ? WHERE id = ? AND rewinds = ?"
                writing.sql.run(update, position.cursor, moment, upstream, position.rewinds)
            return batch

        batch = self._lease.write(work)
        self._written_at = moment
        for position in self._positions.values():
            position.written = True
        self.counted.update(batch.counted)
        self._followed.update(batch.marked)
        if batch.marked:
            self._wake()
