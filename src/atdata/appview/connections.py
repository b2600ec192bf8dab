"""Connections that do not wait for ever: neither for a question, nor for somebody who takes an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN = 15.0
"""Seconds within which a question must have come, down to its headers' end."""
ANSWERED_WITHIN = 120.0
"""Seconds within which its body must have come, and its answer must be taken."""


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, with an end to patience."""

    _timer: asyncio.TimerHandle | None = None
    _phase = ""

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._enter("asking")

    def data_received(self, data: bytes) -> None:
        """A client says something."""
        super().data_received(data)
        self._enter("answering" if self._answers() else "asking")

    def on_response_complete(self) -> None:
        """An answer was sent; another question may have come behind the last."""
        super().on_response_complete()
        self._enter("answering" if self._answers() else "idle", anew=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._enter("idle")
        super().connection_lost(exc)

    def _answers(self) -> bool:
        cycle: Any = self.cycle  # there is none before the first question
        return cycle is not None and not cycle.response_complete

    def _enter(self, phase: str, *, anew: bool = False) -> None:
        """Begin to wait for the end of a phase; idle connections are ended by uvicorn."""
        if phase == self._phase and not anew:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._phase, self._timer = phase, None
        if phase != "idle":
            seconds = HEADERS_WITHIN if phase == "asking" else ANSWERED_WITHIN
            self._timer = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        if self.transport.get_protocol() is self:  # else it has gone over to WebSocket, which has limits of its own
            self.transport.abort()
