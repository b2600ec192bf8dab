"""A way to one server for a program that does its own HTTPS: guarded as it dials, and bounded in bytes.

The program is told to use a proxy (RFC 9110, section 9.3.6: CONNECT), which is this process. It leads to the one server
that it was made for, at an address that passed the guard, and to nothing else, whatever the server says.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import selectors
import socket
import threading
from contextlib import closing, suppress
from typing import Self

from atdata.errors import AddressError, AtdataError, LimitError, NetworkError
from atdata.transport.guard import to_dial
from atdata.urls import origin_of, split_url

_CONNECT_TIMEOUT = 10.0
_HEAD = 1 << 13
_PIECE = 1 << 16
_WAIT = 0.5  # seconds after which it looks again whether it was closed


class Tunnel:
    """A proxy to one https server, for as long as it is a context.

    Args:
        url: at the server.
        allow_loopback: also to this machine.
        most: bytes that may come from it, in all connections together.

    Attributes:
        url: what the program must use as its proxy; with a password, so that nobody else does.
        refused: why it had to refuse, if it had to.

    Raises:
        AddressError: the URL is not an https one.
    """

    def __init__(self, url: str, *, allow_loopback: bool, most: int) -> None:
        origin, parts = origin_of(url), split_url(url)
        if parts.scheme != "https":
            raise AddressError("an address is not https", uri=origin, hint="Name it with https://.")
        self._host, self._port = str(parts.hostname), parts.port or 443
        self._allow_loopback, self._left, self._counting = allow_loopback, most, threading.Lock()
        self._most = most
        self.refused: AtdataError | None = None
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._user, self.url = f"git:{secrets.token_hex(16)}", ""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_WAIT)
        self.url = f"http://{self._user}@127.0.0.1:{self._listener.getsockname()[1]}"
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for thread in self._threads:  # the first is the one that adds others
            thread.join()
        self._listener.close()

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            with suppress(TimeoutError):
                self._begin(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            client.settimeout(_CONNECT_TIMEOUT)
            if (status := self._asked(client)) is not None:
                client.sendall(f"HTTP/1.1 {status}\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n".encode())
                return
            try:
                server = self._dial()
            except AtdataError as error:
                self.refused = error
                client.sendall(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\n\r\n")
                return
            with closing(server):
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                self._pass_on(client, server)

    def _asked(self, client: socket.socket) -> str | None:
        """The status that says why a request is refused; `None` for one that is not."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(_HEAD)
            head += piece
            if not piece or len(head) > _HEAD:
                return "400 Bad"
        first, *fields = head.split(b"\r\n")
        given = [f.partition(b":")[2].strip() for f in fields if f.lower().startswith(b"proxy-authorization:")]
        password = b"Basic " + base64.b64encode(self._user.encode())
        if not given or not hmac.compare_digest(given[0], password):
            return "407 Unknown"
        wanted = re.fullmatch(rb"CONNECT ([!-~]+) HTTP/1\.[01]", first)
        if not wanted or wanted[1].decode("ascii").lower() != f"{self._host}:{self._port}":
            said = first.decode("ascii", "replace")
            self.refused = AddressError("a server leads to another", uri=f"{self._host}:{self._port}", actual=said)
            return "403 Elsewhere"
        return None

    def _dial(self) -> socket.socket:
        failure: Exception = OSError("no address")
        for address in to_dial(self._host, self._allow_loopback):
            try:
                return socket.create_connection((str(address), self._port), _CONNECT_TIMEOUT)
            except OSError as error:
                failure = error
        raise NetworkError("a server cannot be reached", uri=f"https://{self._host}:{self._port}", actual=failure)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways, until one side has ended, or too much came."""
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (client, server))
            selector.register(server, selectors.EVENT_READ, (server, client))
            while not self._closed.is_set():
                for key, _ in selector.select(_WAIT):
                    side, other = key.data
                    data = side.recv(_PIECE)
                    if not data or (side is server and not self._counted(len(data))):
                        return
                    other.sendall(data)

    def _counted(self, count: int) -> bool:
        with self._counting:
            self._left -= count
            if self._left >= 0:
                return True
        uri = f"https://{self._host}:{self._port}"
        self.refused = LimitError("a server sends too much", uri=uri, expected=f"at most {self._most} bytes")
        return False
