"""Connections that do not wait for ever: neither for a question, nor for somebody who takes an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN = 15.0
"""Seconds within which a question must have come, down to its headers' end."""
ANSWERED_WITHIN = 120.0
"""Seconds within which its body must have come, and its answer must be taken."""

REFUSED_WITHIN = 5.0
"""Seconds that are waited for the end of what could not be read, once that was said."""


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
        if self._phase == "refusing":
            return
        super().data_received(data)
        if self._phase != "refusing":
            self._enter("answering" if self._answers() else "asking")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no question, or has too long a line or headers, so that its sender reads why.

        What it still sends is taken, and dropped: a connection that is closed with bytes unread is reset, and takes the
        answer with it (RFC 9112, section 9.6).
        """
        limit = self.config.h11_max_incomplete_event_size
        said = {"error": "InvalidRequest", "message": f"{msg} Its line and headers may have {limit} bytes."}
        headers = [("Content-Type", "application/json"), ("Connection", "close")]
        for event in (
            h11.Response(status_code=400, reason=b"Bad Request", headers=headers),
            h11.Data(data=json.dumps(said).encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.write_eof()
        self._enter("refusing")

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
            within = {"asking": HEADERS_WITHIN, "answering": ANSWERED_WITHIN, "refusing": REFUSED_WITHIN}[phase]
            self._timer = self.loop.call_later(within, self._end)

    def _end(self) -> None:
        if self.transport.get_protocol() is self:  # else it has gone over to WebSocket, which has limits of its own
            self.transport.abort()
