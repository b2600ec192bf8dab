"""Messages between a process and its sandbox: lists of byte strings, each list after its length and theirs."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

_HEAD = struct.Struct("<QQ")  # bytes that follow, and parts
_MOST_PARTS = 64


def to_bytes(parts: Sequence[bytes]) -> bytes:
    """A message as it is sent."""
    lengths = struct.pack(f"<{len(parts)}Q", *map(len, parts))
    return b"".join([_HEAD.pack(len(lengths) + sum(map(len, parts)), len(parts)), lengths, *parts])


def take(buffer: bytearray, most: int) -> list[bytes] | None:
    """The message at the start of a buffer, which is removed from it; `None` where it is not whole yet.

    Args:
        buffer: what came.
        most: bytes that a message may have.

    Raises:
        ValueError: it is no message, or too long.
    """
    if len(buffer) < _HEAD.size:
        return None
    size, count = _HEAD.unpack_from(buffer)
    if size > most:
        raise ValueError(f"a message of {size} bytes, of which {most} are allowed")
    if count > _MOST_PARTS or count * 8 > size:
        raise ValueError("bytes that are no message")
    if len(buffer) < _HEAD.size + size:
        return None
    place = _HEAD.size + count * 8
    lengths = struct.unpack_from(f"<{count}Q", buffer, _HEAD.size)
    if place + sum(lengths) != _HEAD.size + size:
        raise ValueError("bytes that are no message")
    parts = []
    for length in lengths:
        parts.append(bytes(buffer[place : place + length]))
        place += length
    del buffer[:place]
    return parts


def receive(source: int) -> list[bytes] | None:
    """The next message from a file descriptor, waited for; `None` at the end."""
    head = _read(source, _HEAD.size)
    if head is None:
        return None
    body = _read(source, _HEAD.unpack(head)[0])
    return None if body is None else take(bytearray(head + body), len(body))


def send(target: int, message: bytes) -> None:
    """Write a message to a file descriptor, whole."""
    rest = memoryview(message)
    while rest:
        rest = rest[os.write(target, rest) :]


def _read(source: int, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = os.read(source, min(count - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
