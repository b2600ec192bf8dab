"""An upstream: a server whose stream of events is followed, a PDS or a relay."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from atdata.appview.ingest.frames import FrameQueue, Interruption
from atdata.appview.ingest.lease import IngestLease
from atdata.atproto.firehose import MAX_FRAME
from atdata.errors import LimitError, NetworkError, UsageError
from atdata.replica import Replica, Statements, now
from atdata.transport.budget import backoff
from atdata.transport.websocket import WebSocket
from atdata.urls import split_url

log = logging.getLogger("atdata.appview.ingest")

_PATH = "/xrpc/com.atproto.sync.subscribeRepos"


def upstream_url(text: str) -> str:
    """The root of an upstream: `wss://HOST`, or `ws://HOST:PORT`.

    Raises:
        UsageError: it is none.
    """
    parts = split_url(text.rstrip("/"))
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username or parts.path or parts.query:
        raise UsageError("not the root of an upstream", expected="wss://HOST", actual=text[:200])
    return f"{parts.scheme}://{parts.netloc.lower()}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream as it is kept.

    Attributes:
        number: its row.
        url: its root, `wss://` or `ws://`.
    """

    number: int
    url: str

    @classmethod
    def known(cls, sql: Statements, url: str) -> Upstream:
        """The row of an upstream, made where there is none."""
        sql.run("INSERT INTO ingest_upstreams (url) VALUES (?) ON CONFLICT (url) DO NOTHING", url)
        (number,) = sql.first("SELECT id FROM ingest_upstreams WHERE url = ?", url)
        return cls(number, url)

    @property
    def server(self) -> str:
        """Its root for other questions: `https://` or `http://`."""
        return "http" + self.url.removeprefix("ws")

    def stream_url(self, cursor: int | None) -> str:
        """The address of its events after a number; of those from now on without one."""
        return f"{self.url}{_PATH}" + ("" if cursor is None else f"?cursor={cursor}")


def sweep(sql: Statements, number: int, pause: int) -> None:
    """Let all repositories be compared with their servers, soon: events of any of them may have been lost.

    Args:
        sql: in a transaction.
        number: of the upstream that lost them.
        pause: microseconds since the last time that must have passed: a server that is away again and again, or says that
            events are missing, lets nobody else be asked without end.
    """
    found = sql.first("SELECT swept_at FROM ingest_upstreams WHERE id = ?", number)
    due = max(found[0] + pause, now())
    update = "UPDATE ingest_upstreams SET sweep_at = ? WHERE id = ? AND (sweep_at IS NULL OR sweep_at > ?)"
    sql.run(update, due, number, due)


class UpstreamReader:
    """Reads the stream of an upstream, connecting again from where all was durable.

    Args:
        replica: knows how far it was read.
        upstream: which.
        queue: where its frames go.
        lease: under which this is done.
        sweep_after: microseconds between two sweeps.

    Attributes:
        upstream: which.
        connected: whether events come.
        reached: whether there ever was a connection.
        failure: why the last connection ended, if it failed.
    """

    def __init__(
        self, replica: Replica, upstream: Upstream, queue: FrameQueue, lease: IngestLease, sweep_after: int
    ) -> None:
        self.upstream, self._replica, self._queue, self._sweep_after = upstream, replica, queue, sweep_after
        self._lease = lease
        self.connected = self.reached = False
        self.failure = ""
        self._rewinds, self._came, self._again = 0, False, threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Read until the end."""
        failures = 0
        while not stopping.is_set():
            too_large, self._came, self.failure = False, False, ""
            try:
                self._read(stopping)
            except LimitError as error:
                too_large, self.failure = True, str(error)
            except NetworkError as error:
                self.failure = str(error)
            self.connected = False
            if not stopping.is_set():
                facts = {"upstream": self.upstream.url, "failure": self.failure or None}
                log.warning("a stream has ended", extra={"facts": facts})
            failures = 0 if self._came or not self.failure else failures + 1
            interruption = Interruption(too_large)
            if self._queue.put(self.upstream.number, interruption):
                while not interruption.applied.wait(0.2) and not stopping.is_set():
                    pass
            if self.failure:
                stopping.wait(backoff(failures))

    def notice_rewind(self, rewinds: int) -> None:
        """Connect again if an operator has moved the cursor since."""
        if rewinds != self._rewinds:
            self._again.set()

    def _read(self, stopping: threading.Event) -> None:
        """Pass frames on until the connection ends, which raises, or is to end."""
        found = "SELECT cursor, rewinds FROM ingest_upstreams WHERE id = ?"
        cursor, self._rewinds = self._replica.read(lambda reading: reading.sql.first(found, self.upstream.number))
        self._again.clear()
        # The operator named the server, so it is dialled as it is.
        url = self.upstream.stream_url(cursor)
        with WebSocket(url, max_message=MAX_FRAME, allow_loopback=None, stopping=stopping) as socket:
            if cursor is None:  # nobody knows what came before, least of all where nobody followed
                pause = self._sweep_after if self.reached else 0
                self._lease.write(lambda writing: sweep(writing.sql, self.upstream.number, pause))
            self.connected = self.reached = True
            log.info("a stream has begun", extra={"facts": {"upstream": self.upstream.url, "cursor": cursor}})
            while not (stopping.is_set() or self._again.is_set()):
                for frame in socket.receive(0.5):
                    self._came = True
                    if not self._queue.put(self.upstream.number, frame):
                        return
