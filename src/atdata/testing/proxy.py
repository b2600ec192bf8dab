"""A proxy on loopback in front of a real server: forwards everything, and can lie, fail and count."""

from __future__ import annotations

from atdata.atproto.firehose import MAX_FRAME
from atdata.errors import NetworkError
from atdata.testing.http import Answer, HttpServer, Request
from atdata.testing.websocket import Closing, Messages
from atdata.transport.websocket import WebSocket

HEARTBEAT = 0.05
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding")


def _passed_on(upstream: WebSocket) -> Messages:
    with upstream:
        while True:
            try:
                messages = upstream.receive(HEARTBEAT)
            except NetworkError as error:
                code, _, reason = (error.actual or "").partition(" ")
                yield Closing(int(code) if code.isdecimal() else 1011, reason)
                return
            if not messages:
                yield None
            yield from messages


class Proxy(HttpServer):
    """Serves what another server answers, unless `before` or `tamper` (see `HttpServer`) have other plans.

    Attributes:
        upstream: the other server's URL.
    """

    def __init__(self, upstream: str, port: int = 0) -> None:
        import httpcore  # so that the command line needs it only where it forwards

        super().__init__(self._forward, port)
        self.upstream = upstream.rstrip("/")
        self._pool = httpcore.ConnectionPool(max_connections=32)

    def _forward(self, request: Request) -> Answer:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return self._subscribe(request)
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP]
        body = request.body if request.method == "POST" else None
        answer = self._pool.request(request.method, self.upstream + request.target, headers=headers, content=body)
        kept = {n.decode("latin1").lower(): v.decode("latin1") for n, v in answer.headers}
        return Answer(answer.status, answer.content, {n: v for n, v in kept.items() if n not in _HOP})

    def _subscribe(self, request: Request) -> Answer:
        try:
            upstream = WebSocket(
                self.upstream.replace("http", "ws", 1) + request.target, max_message=MAX_FRAME, allow_loopback=None
            )
        except NetworkError as error:
            return Answer.error(502, "UpstreamFailure", error.what)
        return Answer(101, messages=_passed_on(upstream))

    def stop(self) -> None:
        """End all connections and give the port back."""
        super().stop()
        self._pool.close()
