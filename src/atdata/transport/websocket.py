"""Messages that a server sends over a WebSocket (RFC 6455), read in the thread that asks for them.

Nothing is read ahead: what is not asked for stays with the server, so that no server, however fast, fills the memory.
No extension is offered, so nothing comes compressed; no redirect is followed; the address that is dialled is the one
that was checked. The library does the protocol, and the socket is ours, so that every wait has its end.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from atdata.errors import AtdataError, LimitError, MissingExtraError, NetworkError, bare
from atdata.transport.budget import Patience
from atdata.transport.connections import CONNECT_TIMEOUT, tls_context
from atdata.transport.guard import to_dial
from atdata.urls import http_form, origin_of, split_url

if TYPE_CHECKING:
    from websockets.client import ClientProtocol

PIECE = 1 << 18
"""Bytes that are read at once."""
FAREWELL = 1.0
"""Seconds in which a server may answer that the connection is closed."""
_GLANCE = 0.5  # seconds after which a handshake looks whether it is still wanted


class WebSocket:
    """A connection over which a server sends messages.

    A server that says nothing is asked whether it is there when half of the silence that it may keep is over. Bytes that
    come give back time, whole frames all of it: so a server that sends a message byte by byte is left as well.

    Args:
        url: `wss://` or `ws://`.
        max_message: bytes of the largest message that is taken.
        allow_loopback: what the guard lets pass; `None` dials anything.
        silence: seconds that a server may be silent.
        least_rate: bytes a second that give back what was spent.
        handshake: seconds in which the server must have agreed to speak WebSocket.
        stopping: nobody waits for that any longer once it is set.

    Raises:
        AddressError: the server must not be dialled.
        NetworkError: it cannot be reached, or does not speak WebSocket.
    """

    def __init__(
        self,
        url: str,
        *,
        max_message: int,
        allow_loopback: bool | None = False,
        silence: float = 60.0,
        least_rate: float = 10_000.0,
        handshake: float = CONNECT_TIMEOUT,
        stopping: threading.Event | None = None,
    ) -> None:
        origin_of(http_form(url))
        self.url, self._max_message = url, max_message
        self._silence, self._least_rate = silence, least_rate
        self._patience, self._asked = Patience(silence, least_rate), False
        self._messages: list[bytes] = []
        self._part: bytearray | None = None
        self._failure: AtdataError | None = None
        self._closed = False
        self._reading = threading.Lock()
        self._protocol = _protocol(url, max_message)
        self._socket = _dial(url, allow_loopback)
        try:
            self._shake_hands(time.monotonic() + handshake, stopping or threading.Event())
        except BaseException:
            self._socket.close()
            raise

    def receive(self, wait: float | None = None) -> list[bytes]:
        """The messages that have come, in order; at least one, unless `wait` seconds went by without any, or `close`.

        Raises:
            LimitError: a message is longer than taken. The connection has ended.
            NetworkError: the connection has ended: the server closed it, broke off, or fell silent.
        """
        until = None if wait is None else time.monotonic() + wait
        with self._reading:
            while not self._messages:
                if self._closed:
                    return []
                if self._failure is not None:
                    self._socket.close()
                    raise self._failure
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._read(left)
            messages, self._messages = self._messages, []
            return messages

    def __iter__(self) -> Iterator[bytes]:
        """The messages one by one, until `close`.

        Raises:
            LimitError, NetworkError: as `receive`.
        """
        while messages := self.receive():
            yield from messages

    def close(self) -> None:
        """End the connection; from any thread, also while another one reads."""
        if self._closed:
            return
        self._closed = True
        if self._reading.acquire(blocking=False):
            with suppress(OSError, NetworkError):
                self._take_leave(time.monotonic() + FAREWELL)
        else:
            with suppress(OSError):  # wakes the other thread
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            self._reading.acquire()
        self._socket.close()
        self._reading.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shake_hands(self, until: float, stopping: threading.Event) -> None:
        from websockets.protocol import CONNECTING

        request = self._protocol.connect()
        request.headers["User-Agent"] = "atdata"
        self._protocol.send_request(request)
        try:
            self._send()
            while self._protocol.state is CONNECTING:
                left = until - time.monotonic()
                if left <= 0 or stopping.is_set():
                    raise self._lost("a server does not answer")
                if (data := self._piece(min(left, _GLANCE))) is None:
                    continue
                self._feed(data)
                if self._protocol.handshake_exc is not None:
                    raise self._refused(self._protocol.handshake_exc)
        except NetworkError:
            raise
        except OSError as error:
            raise self._lost("a server dropped the connection", error) from bare(error)

    def _read(self, left: float | None) -> None:
        """Wait for the next bytes, not longer than `left`, nor than until the server is to be asked, or left."""
        patience = self._patience.left - (0 if self._asked else self._silence / 2)
        began = time.monotonic()
        try:
            data = self._piece(patience if left is None else min(patience, left))
            self._patience.spend(time.monotonic() - began)
            if data is not None:
                self._patience.gain(len(data))
                self._feed(data)
            elif not self._asked and self._patience.left <= self._silence / 2:
                self._asked = True
                self._protocol.send_ping(b"")
                self._send()
        except OSError as error:
            self._failure = self._failure or self._lost("a server dropped the connection", error)
        if self._patience.left <= 0 and self._failure is None:
            self._failure = self._lost("a server has fallen silent, or is too slow")

    def _piece(self, timeout: float) -> bytes | None:
        """The next bytes; `None` where none came in time, empty where the connection has ended."""
        self._socket.settimeout(max(timeout, 0.001))
        try:
            return self._socket.recv(PIECE)
        except TimeoutError:
            return None

    def _feed(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._take_events()  # before anything is sent: that may fail, and what came has come
        self._send()

    def _take_events(self) -> None:
        """Keep the messages that are whole; note why there will be no more."""
        from websockets.frames import Frame, Opcode

        events = self._protocol.events_received()
        if events:
            self._refill()
        for event in events:
            if not isinstance(event, Frame):
                continue  # the answer to the handshake
            if event.opcode in (Opcode.BINARY, Opcode.TEXT) and event.fin:
                self._messages.append(bytes(event.data))
            elif event.opcode in (Opcode.BINARY, Opcode.TEXT):
                self._part = bytearray(event.data)
            elif event.opcode is Opcode.CONT and self._part is not None:
                self._part += event.data
                if event.fin:
                    self._messages.append(bytes(self._part))
                    self._part = None
        if self._failure is None:
            self._failure = self._ended(self._protocol.parser_exc)

    def _send(self) -> None:
        """Send what the protocol wants to be sent; a server that does not read is left like one that does not send."""
        self._socket.settimeout(max(self._patience.left, 0.001))
        for data in filter(None, self._protocol.data_to_send()):
            try:
                self._socket.sendall(data)
            except OSError:
                if self._protocol.state.name == "OPEN":
                    raise
                return  # it had ended already: what came before says why

    def _take_leave(self, until: float) -> None:
        """Say that the connection is closed, and let the server say so too."""
        if self._protocol.state.name == "OPEN":
            self._protocol.send_close(1000)
            self._send()
            while (left := until - time.monotonic()) > 0 and (data := self._piece(left)):
                self._protocol.receive_data(data)
                self._protocol.events_received()

    def _refill(self) -> None:
        self._patience, self._asked = Patience(self._silence, self._least_rate), False

    def _lost(self, what: str, actual: object = None) -> NetworkError:
        if isinstance(actual, OSError):
            actual = f"{type(actual).__name__}: {actual}".rstrip(": ")
        return NetworkError(what, uri=self.url, actual=actual, hint="Connect again, and go on from the last message.")

    def _ended(self, error: Exception | None) -> AtdataError | None:
        """The reason why no message will come any more, if so."""
        from websockets.exceptions import PayloadTooBig

        close = self._protocol.close_rcvd
        if close is not None:
            return self._lost("a server closed the connection", f"{close.code} {close.reason}".strip())
        if error is None:
            return None
        if isinstance(error, PayloadTooBig):
            most = f"at most {self._max_message} bytes"
            return LimitError("a server's message is too long", uri=self.url, expected=most)
        if isinstance(error, EOFError):
            return self._lost("a server dropped the connection")
        return self._lost("a server does not keep to the WebSocket protocol", str(error)[:200])

    def _refused(self, error: Exception) -> NetworkError:
        from websockets.exceptions import InvalidStatus

        if isinstance(error, InvalidStatus):
            said = bytes(error.response.body or b"")[:200].decode("utf-8", "replace")
            return NetworkError(f"a server answered {error.response.status_code}", uri=self.url, actual=said or None)
        return NetworkError("a server does not speak WebSocket", uri=self.url, actual=str(error)[:200])


def _protocol(url: str, max_message: int) -> ClientProtocol:
    """The library's own state machine, which does no I/O; it is told to offer no extensions."""
    try:
        from websockets.client import ClientProtocol
        from websockets.uri import parse_uri
    except ImportError as error:
        raise MissingExtraError.of("appview", "Reading a firehose") from error
    return ClientProtocol(parse_uri(url), max_size=max_message)


def _dial(url: str, allow_loopback: bool | None) -> socket.socket:
    parts = split_url(http_form(url))
    host, secure = parts.hostname or "", parts.scheme == "https"
    failure: Exception = OSError("no address")
    for address in to_dial(host, allow_loopback):
        try:
            opened = socket.create_connection((str(address), parts.port or (443 if secure else 80)), CONNECT_TIMEOUT)
        except OSError as error:
            failure = error
            continue
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return tls_context().wrap_socket(opened, server_hostname=host) if secure else opened
        except OSError as error:
            opened.close()
            failure = error
    raise NetworkError(
        "a server cannot be reached",
        uri=url,
        actual=f"{type(failure).__name__}: {failure}",
        hint="Check the address and the network.",
    ) from bare(failure)
