"""Numbers that look like chance and that a text determines: the same on any machine, with any Python and any numpy."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """A stream of bytes. Block n is the SHA-256 of `key || n`, n as 8 bytes, big-endian; `key` is the SHA-256 of the words,
    each as UTF-8 behind its length in bytes and a colon.

    Args:
        words: what determines it; numbers stand for their decimal digits.
    """

    def __init__(self, *words: str | int) -> None:
        encoded = (str(word).encode("utf-8", "surrogatepass") for word in words)
        self._key = sha256(b"".join(b"%d:%b" % (len(word), word) for word in encoded)).digest()
        self._blocks, self._left = count(), b""

    def bytes(self, size: int) -> bytes:
        """The next bytes of the stream."""
        taken = [self._left]
        missing = size - len(self._left)
        while missing > 0:
            taken.append(sha256(self._key + next(self._blocks).to_bytes(8, "big")).digest())
            missing -= len(taken[-1])
        whole = b"".join(taken)
        self._left = whole[size:]
        return whole[:size]

    def below(self, bound: int) -> int:
        """A number from 0 up to a bound, each as likely: as many bytes as it takes, big-endian, taken again where they lie
        beyond the last multiple of the bound.
        """
        size = max(1, ((bound - 1).bit_length() + 7) // 8)
        while True:
            number = int.from_bytes(self.bytes(size), "big")
            if number < (1 << 8 * size) // bound * bound:
                return number % bound

    def pick(self, options: Sequence[T]) -> T:
        """One of some options."""
        return options[self.below(len(options))]
