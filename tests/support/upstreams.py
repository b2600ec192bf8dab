"""A server whose stream of events is followed: what it sends a test decides, frame by frame, over a real socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from atdata.atproto.events import ErrorEvent, Event, InfoEvent
from atdata.atproto.firehose import encode_frame
from atdata.testing.http import ask

STREAM = "/xrpc/com.atproto.sync.subscribeRepos"


class TestedUpstream:
    """A stream of events, and lists of accounts.

    Attributes:
        sent: what it sends, in order; each with its number, if it has one.
        cut: asked before each frame whether the connection breaks instead.
        lists: gives the answers of `sync.listReposByCollection`, by collection; without it, the server has no such list.
        statuses: gives the answers of `sync.getRepoStatus`; without it, the server gives none.
        answered: passes these answers through, status and body.
        asked: what lists were asked for, and from where.
        connections: how often somebody connected, and from where.
        window: the number of the oldest event that it still has.
    """

    __test__ = False

    def __init__(self) -> None:
        self.sent: list[tuple[int | None, bytes]] = []
        self.cut: Callable[[], bool] = lambda: False
        self.lists: Callable[[], dict[str, list[str]]] | None = None
        self.statuses: Callable[[str], dict[str, Any]] | None = None
        self.answered: Callable[[int, bytes], tuple[int, bytes]] = lambda status, body: (status, body)
        self.connections: list[int | None] = []
        self.asked: list[tuple[str, str]] = []
        self.number, self.window = 0, 0
        self._ends: dict[ServerConnection, tuple[list[tuple[int | None, bytes]], int]] = {}
        self._changed, self._ended = threading.Condition(), False

    def __enter__(self) -> Self:
        self._server: Server = serve(
            self._handle, "127.0.0.1", 0, process_request=self._answer, compression=None, max_size=1000
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its root."""
        host, port = self._server.socket.getsockname()[:2]
        return f"ws://{host}:{port}"

    def emit(self, event: Event) -> bytes:
        """Number an event, and send it."""
        self.number += 1
        frame = encode_frame(replace(event, seq=self.number) if hasattr(event, "seq") else event)
        self.send(frame, self.number)
        return frame

    def skip(self) -> None:
        """Number an event that nobody gets."""
        self.number += 1

    def send(self, frame: bytes, number: int | None = None) -> None:
        """Send any frame."""
        with self._changed:
            self.sent.append((number, frame))
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew, with numbers from 1, as a server does that lost its own."""
        with self._changed:
            self.sent, self.number = [], 0
            self._changed.notify_all()

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query).get("cursor")
        cursor = None if asked is None else int(asked[0])
        self.connections.append(cursor)
        with contextlib.suppress(ConnectionClosed):
            self._stream(connection, cursor)

    def _stream(self, connection: ServerConnection, cursor: int | None) -> None:
        log, end = self._ends.pop(connection)
        if cursor is not None and cursor > self.number:
            connection.send(encode_frame(ErrorEvent("FutureCursor", "it is not there yet")))
            return
        if cursor is not None and cursor < self.window:
            connection.send(encode_frame(InfoEvent("OutdatedCursor")))
        at = end if cursor is None else 0
        while not self._ended:
            with self._changed:
                while at >= len(log) and not self._ended and log is self.sent:
                    self._changed.wait()
                part = log[at : at + 100]
                at += len(part)
                if self._ended or log is not self.sent:
                    return
            for number, frame in part:
                if number is not None and (number <= (cursor or 0) or number < self.window):
                    continue
                if self.cut():
                    return
                connection.send(frame)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path == STREAM:
            # Whoever is told yes gets what is sent from then on, however late the thread that sends it begins.
            self._ends[connection] = self.sent, len(self.sent)
            return None
        if self.statuses is not None and parts.path.endswith("getRepoStatus"):
            return self._json(200, self.statuses(parse_qs(parts.query)["did"][0]))
        collection = parse_qs(parts.query).get("collection", [""])[0]
        if self.lists is None or not parts.path.endswith("listReposByCollection"):
            return self._json(501, {"error": "MethodNotImplemented", "message": "Method Not Implemented"})
        dids = self.lists().get(collection, [])
        cursor = parse_qs(parts.query).get("cursor", [""])[0]
        self.asked.append((collection, cursor))
        start = int(cursor or 0)
        page = {"repos": [{"did": did} for did in dids[start : start + 2]]}
        return self._json(200, page | ({"cursor": str(start + 2)} if start + 2 < len(dids) else {}))

    def _json(self, code: int, value: Any) -> Response:
        status, body = self.answered(code, json.dumps(value).encode())
        headers = Headers({"content-type": "application/json", "content-length": str(len(body)), "connection": "close"})
        return Response(status, "OK" if status == 200 else "Refused", headers, body)


class Dripping:
    """A server before another, some of whose answers never end, and come byte by byte.

    Args:
        behind: the other.
        method: which are asked for by an address with that in it.

    Attributes:
        held: connections over which bytes drip.
    """

    def __init__(self, behind: str, method: str) -> None:
        self._behind, self._method, self._ended, self.held = behind, method, threading.Event(), 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as asked:
            while line := asked.readline():
                target = line.split()[1].decode()
                while asked.readline().strip():
                    pass
                if self._method in target:
                    self._drip(connection)
                status, body = ask("GET", self._behind + target, {}, None)
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                kind = "content-type: application/json"
                connection.sendall(
                    f"HTTP/1.1 {status} .\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
                )

    def _drip(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n")
        self.held += 1
        try:
            while not self._ended.wait(0.05):
                connection.sendall(b"x" * 100)
        finally:
            self.held -= 1
