"""The server's side of a WebSocket, for the test servers: it goes over to it on the connection of a request, and sends."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Closing:
    """The end of a connection, and why."""

    code: int
    reason: str


@dataclass(frozen=True)
class Drip:
    """A message that is sent byte by byte, with a pause after each."""

    data: bytes
    pause: float


Messages: TypeAlias = Iterator["bytes | Drip | Closing | None"]
"""Messages to send; `None` where there is nothing to send just now."""


def send_messages(connection: socket.socket, target: str, headers: Mapping[str, str], messages: Messages) -> None:
    """Go over to WebSocket and send messages, until they end or the client goes.

    Raises:
        OSError: the connection broke off.
    """
    from websockets.datastructures import Headers
    from websockets.http11 import Request
    from websockets.protocol import OPEN
    from websockets.server import ServerProtocol

    protocol = ServerProtocol(max_size=_AT_ONCE)
    request = Request(target, Headers(headers))
    protocol.receive_data(request.serialize())  # it reads frames only once it has read a request
    protocol.events_received()
    protocol.send_response(protocol.accept(request))
    end = Closing(1000, "")
    pending = 0
    for message in messages:
        if isinstance(message, Closing):
            end = message
            break
        if isinstance(message, Drip):
            _drip(connection, protocol, message)
        elif message is not None:
            protocol.send_binary(message)
            pending += len(message)
        if message is None or pending > _AT_ONCE:
            pending = 0
            _flush(connection, protocol)
            _listen(connection, protocol, 0)
        if protocol.state is not OPEN:
            return
    protocol.send_close(end.code, end.reason)
    _flush(connection, protocol)
    _listen(connection, protocol, 1.0)


def _listen(connection: socket.socket, protocol: ServerProtocol, wait: float) -> None:
    """Answer what the client has to say, if anything."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while selector.select(wait):
            data = connection.recv(_AT_ONCE)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            _flush(connection, protocol)
            if not data or protocol.state.name != "OPEN":
                return


def _flush(connection: socket.socket, protocol: ServerProtocol) -> None:
    if data := b"".join(protocol.data_to_send()):
        connection.sendall(data)


def _drip(connection: socket.socket, protocol: ServerProtocol, message: Drip) -> None:
    _flush(connection, protocol)
    protocol.send_binary(message.data)
    for byte in b"".join(protocol.data_to_send()):
        connection.sendall(bytes([byte]))
        time.sleep(message.pause)
