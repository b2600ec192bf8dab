"""The web server of an AppView, in a thread of its own."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from atdata.appview.xrpc.limits import LOOPBACK
from atdata.errors import MissingExtraError, NetworkError, UsageError

if TYPE_CHECKING:
    from atdata.appview.xrpc.service import AppViewService

_GRACE = 5  # seconds for answers that are on their way at the end
_CONNECTIONS = 1000
_HEADERS, _FROM_SUBSCRIBERS = 32_768, 4096  # bytes


class WebServer:
    """A web server, from `start` to `stop`.

    Args:
        make: makes the application that answers, of the address where it is.
        what: in words, for who lacks what it needs.
        host: the address to listen on.
        port: 0 for one that is free.
        ended: is set once it serves no more.
        proxies: addresses of reverse proxies, whose word for the address of a client is believed.

    Attributes:
        url: where it is.
        failure: why it ended by itself, if it did.

    Raises:
        MissingExtraError: the extra `appview` is not installed.
        UsageError: nobody can listen there.
    """

    def __init__(
        self,
        make: Callable[[str], Any],
        what: str,
        host: str = "127.0.0.1",
        port: int = 0,
        ended: threading.Event | None = None,
        proxies: Sequence[str] = LOOPBACK,
    ) -> None:
        self._socket = _listening(host, port)
        bound = self._socket.getsockname()
        self.url = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        try:
            import uvicorn

            from atdata.appview.connections import PatientProtocol

            app = make(self.url)
        except ImportError:
            self._socket.close()
            raise MissingExtraError.of("appview", what) from None
        self._ended, self.failure = ended or threading.Event(), ""
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                loop="asyncio",
                http=PatientProtocol,
                ws_max_size=_FROM_SUBSCRIBERS,
                limit_concurrency=_CONNECTIONS,
                h11_max_incomplete_event_size=_HEADERS,
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=_GRACE,
                server_header=False,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)

    def start(self) -> Self:
        """Serve, and give it once it answers.

        Raises:
            NetworkError: it does not begin.
        """
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
            if not self._thread.is_alive():
                raise NetworkError("the web server does not begin", uri=self.url, actual=self.failure)
        return self

    def stop(self) -> None:
        """End, once the answers that are on their way are sent."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run([self._socket])
        except (Exception, SystemExit) as error:  # noqa: BLE001  said by whoever waits for the end
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._ended.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class AppViewServer(WebServer):
    """The web server of a service.

    Args:
        service: that answers; without a DID it gets the did:web of its address.
        host: the address to listen on.
        port: 0 for one that is free.
        ended: is set once it serves no more.
    """

    def __init__(
        self, service: AppViewService, host: str = "127.0.0.1", port: int = 0, ended: threading.Event | None = None
    ) -> None:
        def make(url: str) -> Any:
            from atdata.appview.app import make_app

            return make_app(service if service.did else replace(service, did=_did(url)))

        super().__init__(make, "serving an AppView", host, port, ended, service.proxies)


def _did(url: str) -> str:
    return f"did:web:{quote(url.partition('://')[2], safe='.-')}"


def _listening(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Of TCP by name: only then asyncio sends what is written at once, and not 40 ms later.
        listener = socket.socket(found[0][0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[0][4])
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "Name an address of this machine: 127.0.0.1 for its own programs, 0.0.0.0 for everybody."
        hint = "Choose another port." if taken else hint
        raise UsageError(
            "nobody can listen at an address", uri=f"{host}:{port}", actual=str(error), hint=hint
        ) from error
    return listener
