"""A small HTTP server on loopback, for the parts of a network that run in this process."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from atdata.testing.websocket import Messages, send_messages

MAX_BODY = 1 << 30


@dataclass
class Request:
    """A request as a handler sees it. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    target: str

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        """The body as JSON; `None` where it is none."""
        try:
            return json.loads(self.body) if self.body else {}
        except ValueError:
            return None


@dataclass
class Answer:
    """An answer. `cut` bytes into its body the connection breaks, where that is set.

    Where it has `messages`, it is that the connection goes over to WebSocket, and they are sent.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    messages: Messages | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Answer:
        """An answer in JSON."""
        return cls(status, json.dumps(value).encode(), {"content-type": "application/json"})

    @classmethod
    def error(cls, status: int, error: str, message: str) -> Answer:
        """An XRPC error."""
        return cls.json({"error": error, "message": message}, status)


class Refusal(Exception):
    """Ends a handler with an error answer."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.error(status, error, message)


class HttpServer:
    """Serves `handle` on a port of loopback, from its first use as a context to its last.

    Attributes:
        url: where.
        before: is called with each request first; what it gives, if anything, is the answer. Set it to make the
            server fail.
        tamper: is called with each answer and gives the one to send. Set it to make the server lie.
        requests: `METHOD path` of each request, in order.
    """

    def __init__(self, handle: Callable[[Request], Answer], port: int = 0) -> None:
        self._handle = handle
        self.before: Callable[[Request], Answer | None] | None = None
        self.tamper: Callable[[Request, Answer], Answer] | None = None
        self.requests: list[str] = []
        self._server = _Listener(("127.0.0.1", port), _handler_of(self))
        self.url = f"http://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ended = False

    def answer(self, request: Request) -> Answer:
        """The answer to a request."""
        self.requests.append(f"{request.method} {request.path}")
        early = self.before(request) if self.before else None
        if early is not None:
            return early
        try:
            answer = self._handle(request)
        except Refusal as refusal:
            answer = refusal.answer
        return self.tamper(request, answer) if self.tamper else answer

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all connections and give the port back."""
        self._ended = True
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self._server.server_port)).close()  # it waits for one
        self._thread.join()
        self._server.close_all()
        self._server.server_close()

    def _serve(self) -> None:
        while (
            not self._ended
        ):  # nothing looks every few milliseconds whether it is the end: many of these run at a time
            self._server.handle_request()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away."""


def _handler_of(server: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _respond(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(min(length, MAX_BODY))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, unquote(parts.path), parse_qs(parts.query), headers, body, self.path)
            answer = server.answer(request)
            if answer.messages is not None and headers.get("upgrade", "").lower() == "websocket":
                self.close_connection = True
                send_messages(self.connection, self.path, headers, answer.messages)
                return
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.cut is not None:
                self.wfile.write(answer.body[: answer.cut])
                self.wfile.flush()
                self.close_connection = True
                return
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_HEAD = _respond  # noqa: N815  the names that http.server looks up

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def ask(verb: str, url: str, headers: Mapping[str, str], content: bytes | None) -> tuple[int, Any]:
    """A plain request, with nothing of atdata in between: status, and JSON where it is JSON, else bytes."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "localhost", parts.port, timeout=60)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(verb, target, content, {**headers, "accept-encoding": "identity"})
        answer = connection.getresponse()
        body = answer.read()
        is_json = (answer.getheader("content-type") or "").partition(";")[0].endswith("json")
        return answer.status, json.loads(body) if is_json else body
    finally:
        connection.close()
