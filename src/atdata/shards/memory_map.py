"""A range of a file in memory: mapped (`mmap`) where the system can, else read."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import ShardError

Bytes: TypeAlias = NDArray[np.uint8]

_PAGE = mmap.ALLOCATIONGRANULARITY


@dataclass(frozen=True, eq=False)
class FileRange:
    """Bytes of a file, mapped or read.

    Attributes:
        data: uint8 `[n]`; what is mapped is read-only.
        base: where in the file `data[0]` is.
    """

    data: Bytes
    base: int = 0

    def __len__(self) -> int:
        return len(self.data)


def _read_whole(file: BinaryIO, into: Bytes, position: int) -> None:
    done, number = 0, file.fileno()
    while done < len(into):
        got = os.preadv(number, [into[done:].data], position + done)
        if not got:
            raise _cut(getattr(file, "name", None), position + len(into), position + done)
        done += got


def read_file(file: BinaryIO, start: int, stop: int, buffer: Bytes) -> FileRange:
    """The bytes of a file in `[start, stop)`, read into the beginning of a buffer.

    Raises:
        ShardError: the file ends before that.
    """
    data = buffer[: stop - start]
    _read_whole(file, data, start)
    return FileRange(data, start)


def map_file(file: BinaryIO, start: int, stop: int, *, scattered: bool = False) -> FileRange:
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
        return FileRange(np.frombuffer(data, np.uint8), start)
    if scattered:
        mapped.madvise(mmap.MADV_RANDOM)
    return FileRange(np.frombuffer(mapped, np.uint8), first)


def check_unchanged(file: BinaryIO, size: int, uri: str) -> None:
    """Check before each access to mapped memory that the file was not truncated, which would end the process.

    Raises:
        ShardError: the file is no longer as long as it was.
    """
    actual = os.fstat(file.fileno()).st_size
    if actual < size:
        raise _cut(uri, size, actual)


def _cut(uri: str | None, expected: int, actual: int) -> ShardError:
    return ShardError(
        "a shard was truncated while it was read",
        uri=uri,
        expected=f"{expected} bytes",
        actual=f"{actual} bytes",
        hint="Replace shards by renaming a new file over them; never write into them.",
    )
