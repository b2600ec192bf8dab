"""Whoever listens to a firehose: reads events over a real socket, with nothing in between but the client under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from atdata.atproto.events import CommitEvent, Event
from atdata.atproto.firehose import MAX_FRAME, parse_frame
from atdata.transport.websocket import WebSocket


class Listener:
    """Reads a server's firehose, from a number on or from now on."""

    def __init__(self, url: str, cursor: int | None = None, silence: float = 30.0) -> None:
        query = "" if cursor is None else f"?cursor={cursor}"
        address = f"{url.replace('http', 'ws', 1)}/xrpc/com.atproto.sync.subscribeRepos{query}"
        self.socket = WebSocket(address, max_message=MAX_FRAME, allow_loopback=None, silence=silence)
        self._frames: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def next(self, wait: float = 20.0) -> Event:
        """The next event; it must come."""
        if not self._frames:
            self._frames = self.socket.receive(wait)
        assert self._frames, "nothing came"
        return parse_frame(self._frames.pop(0))

    def until(self, enough: Callable[[Any], bool], did: str | None = None) -> list[Any]:
        """The events up to one that is enough; only those of an account, where one is given."""
        events: list[Any] = []
        while not events or not enough(events[-1]):
            event = self.next()
            if did is None or getattr(event, "did", None) == did:
                events.append(event)
        return events

    def commits(self, count: int, did: str) -> list[CommitEvent]:
        """The next commits of an account."""
        found: list[CommitEvent] = []
        while len(found) < count:
            event = self.next()
            if isinstance(event, CommitEvent) and event.did == did:
                found.append(event)
        return found
