"""A firehose: the events of a server, numbered, of which the last ones are kept for readers that come back.

https://atproto.com/specs/event-stream. Numbers go on whatever happens to connections and readers; they begin at 1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from atdata.atproto.events import AccountEvent, CommitEvent, ErrorEvent, Event, IdentityEvent, InfoEvent, SyncEvent
from atdata.atproto.firehose import encode_frame
from atdata.testing.http import Answer, Refusal, Request
from atdata.testing.websocket import Closing, Messages

SUBSCRIBE = "/xrpc/com.atproto.sync.subscribeRepos"
WINDOW = 20_000
HEARTBEAT = 0.05
"""Seconds after which a reader to whom nothing came looks whether anybody still listens."""
_PAGE = 500

Numbered: TypeAlias = CommitEvent | SyncEvent | IdentityEvent | AccountEvent


class Firehose:
    """Numbered events, and any number of readers.

    Attributes:
        seq: the number of the last event. Raise it for a gap.
        window: how many events are kept.
        listeners: are called with each event, once it has its number.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self.seq, self.window = 0, window
        self.listeners: list[Callable[[Numbered], None]] = []
        self._oldest = 1
        self._kept: dict[int, tuple[str, bytes]] = {}
        self._more = threading.Condition()

    def add(self, event: Numbered) -> None:
        """Number an event, and send it to whoever listens."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._more:
            self.seq += 1
            event = replace(event, seq=self.seq, time=event.time or moment)
            self._kept[self.seq] = event.did, encode_frame(event)
            while len(self._kept) > self.window:
                first = next(iter(self._kept))
                del self._kept[first]
                self._oldest = first + 1
            self._more.notify_all()
        for listener in self.listeners:
            listener(event)

    def forget(self, did: str) -> None:
        """Drop what is kept of an account, but for the last event."""
        with self._more:
            gone = [seq for seq, (whose, _) in self._kept.items() if whose == did and seq != self.seq]
            for seq in gone:
                del self._kept[seq]

    def answer(self, request: Request) -> Answer:
        """The answer to `subscribeRepos`."""
        cursor = request.param("cursor")
        if cursor and not cursor.isdecimal():
            raise Refusal(400, "InvalidRequest", "Error: Params must have the property cursor as an integer")
        return Answer(101, messages=self.subscribe(int(cursor) if cursor else None))

    def subscribe(self, cursor: int | None = None) -> Messages:
        """The frames after a number, or from now on; `None` at times when there is nothing."""
        with self._more:
            if cursor is not None and cursor > self.seq:
                return _refused("FutureCursor", "Cursor in the future.")
            at = self.seq if cursor is None else cursor
            missed = at + 1 < self._oldest
            return self._replay(max(at, self._oldest - 1), missed)

    def _replay(self, at: int, missed: bool) -> Messages:
        if missed:
            yield _frame(InfoEvent("OutdatedCursor", "Requested cursor exceeded limit. Possibly missing events"))
        while True:
            with self._more:
                if at == self.seq:
                    self._more.wait(HEARTBEAT)
                if at + 1 < self._oldest:
                    break
                end = min(self.seq, at + _PAGE)
                frames = [self._kept[seq][1] for seq in range(at + 1, end + 1) if seq in self._kept]
                at = end
            if not frames:
                yield None
            yield from frames
        yield from _refused("ConsumerTooSlow", "Stream consumer too slow")


def _refused(error: str, message: str) -> Iterator[bytes | Closing]:
    yield _frame(ErrorEvent(error, message))
    yield Closing(1008, error)


def _frame(event: Event) -> bytes:
    return encode_frame(event)
