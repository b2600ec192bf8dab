"""A piece of a shard in memory: mapped where the system can, else read."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import ShardError

Bytes: TypeAlias = NDArray[np.uint8]

_PAGE = mmap.ALLOCATIONGRANULARITY

FAR = 1 << 16  # bytes: what takes or is apart so many is not worth mapping
_VECTOR = 256  # rows of one call; POSIX promises no more than 1024 pieces, and there are gaps
_GAP = 1 << 13  # bytes between rows that are read and thrown away


@dataclass(frozen=True, eq=False)
class Memory:
    """Bytes of a file.

    Attributes:
        data: uint8 `[n]`; what is mapped is read-only.
        base: where in the file `data[0]` is.
        file: what it is mapped from, if it is.
    """

    data: Bytes
    base: int = 0
    file: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self.data)

    def read(self, rows: Sequence[Bytes], starts: Sequence[int]) -> None:
        """Fill arrays, all of one length, with the bytes from `data[start]` on. Long ones are read: that is faster than
        mapping them; with one call for many, where little lies between them.

        Raises:
            ShardError: the file ends before that.
        """
        if self.file is None or not len(rows) or len(rows[0]) < FAR:
            for row, start in zip(rows, starts, strict=True):
                row[:] = self.data[start : start + len(row)]
            return
        first = 0
        while first < len(rows):
            first += self._read_some(self.file, rows[first : first + _VECTOR], starts[first : first + _VECTOR])

    def _read_some(self, file: BinaryIO, rows: Sequence[Bytes], starts: Sequence[int]) -> int:
        """Read the first of some rows, and those after it that are near; how many that were."""
        vector, stop = [rows[0].data], starts[0] + len(rows[0])
        count = 1
        for row, start in zip(rows[1:], starts[1:], strict=True):
            if not stop <= start <= stop + _GAP:
                break
            vector += (memoryview(bytearray(start - stop)), row.data)
            stop = start + len(row)
            count += 1
        if os.preadv(file.fileno(), vector, self.base + starts[0]) == stop - starts[0]:
            return count
        _read_whole(file, rows[0], self.base + starts[0])
        return 1


def _read_whole(file: BinaryIO, into: Bytes, position: int) -> None:
    done, number = 0, file.fileno()
    while done < len(into):
        got = os.preadv(number, [into[done:].data], position + done)
        if not got:
            raise _cut(getattr(file, "name", None), position + len(into), position + done)
        done += got


def read_file(file: BinaryIO, start: int, stop: int, buffer: Bytes) -> Memory:
    """The bytes of a file in `[start, stop)`, read into the beginning of a buffer.

    Raises:
        ShardError: the file ends before that.
    """
    data = buffer[: stop - start]
    _read_whole(file, data, start)
    return Memory(data, start)


def map_file(file: BinaryIO, start: int, stop: int, *, scattered: bool = False) -> Memory:
    """The bytes of a file in `[start, stop)`, and possibly some before them.

    Args:
        file: what to read; without a file descriptor its bytes are copied.
        start: first byte.
        stop: one past the last byte.
        scattered: whether only few of its pages are wanted; else those around one that is touched come with it.

    Raises:
        ShardError: the file ends before that.
    """
    first = start - start % _PAGE
    try:
        mapped = mmap.mmap(file.fileno(), stop - first, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=first)
    except (OSError, AttributeError, ValueError):  # no file that can be mapped so far, or a system that maps otherwise
        file.seek(start)
        data = file.read(stop - start)
        if len(data) < stop - start:
            raise _cut(getattr(file, "name", None), stop, start + len(data)) from None
        return Memory(np.frombuffer(data, np.uint8), start)
    if scattered:
        mapped.madvise(mmap.MADV_RANDOM)
    return Memory(np.frombuffer(mapped, np.uint8), first, file)


def check_unchanged(file: BinaryIO, size: int, uri: str) -> None:
    """Look before each touch of mapped memory: a file that was cut meanwhile would end the process.

    Raises:
        ShardError: the file is no longer as long as it was.
    """
    actual = os.fstat(file.fileno()).st_size
    if actual < size:
        raise _cut(uri, size, actual)


def _cut(uri: str | None, expected: int, actual: int) -> ShardError:
    return ShardError(
        "a shard was cut while it was read",
        uri=uri,
        expected=f"{expected} bytes",
        actual=f"{actual} bytes",
        hint="Replace shards by renaming a new file over them; never write into them.",
    )
