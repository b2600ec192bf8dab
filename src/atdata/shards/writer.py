"""Writing of shards: plain ustar, equal bytes for equal samples, and nothing partial is ever visible."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import LimitError, SampleError, UsageError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.native import native
from atdata.numbers import checked_int
from atdata.shards.digest import CHUNK, Digest
from atdata.shards.index import EXTENSION, SampleMembers
from atdata.shards.ports import ShardRef
from atdata.shards.tar import BLOCK

Row: TypeAlias = tuple[str, bytes]
"""A sample's key and its bytes: packed, or `SampleMembers`."""

SampleRow: TypeAlias = tuple[str, bytes, Any]
"""The same with the sample itself, for who watches shards being written."""


@dataclass(frozen=True, slots=True)
class NumberedMembers:
    """PackedRows samples as tar members, named by their numbers: many rows at once, for who watches nothing.

    Attributes:
        first: the number of the first.
        data: all blocks, headers included.
        ends: where those of each sample end, int64.
    """

    first: int
    data: memoryview
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, packed: bytes, ends: NDArray[np.int64], first: int) -> NumberedMembers:
        """The members for packed samples, with the loop in C.

        Args:
            packed: the samples, one after the other.
            ends: where each ends.
            first: the number of the first.
        """
        assert native is not None, "else nothing packs many samples at once"
        blocks = np.empty(len(ends), np.int64)
        return cls(first, memoryview(native.head_samples(packed, ends, _header(b"", 0, b"0"), first, blocks)), blocks)

    def cut(self, count: int) -> tuple[NumberedMembers, NumberedMembers | None]:
        """The first so many, and the others."""
        if count >= len(self.ends):
            return self, None
        size = int(self.ends[count - 1]) if count else 0
        rest = NumberedMembers(self.first + count, self.data[size:], self.ends[count:] - size)
        return NumberedMembers(self.first, self.data[:size], self.ends[:count]), rest


END = bytes(2 * BLOCK)
_METADATA = re.compile(r"__[^/]*__/")  # in which webdataset looks for no samples
DEFAULT_MAXSIZE = 1_000_000_000
_AHEAD = 4  # chunks that may be written before they are hashed
_SYNC = 1 << 23  # bytes that are written before the disk is asked to keep them


@dataclass(frozen=True)
class Limits:
    """The most that one shard may hold. `size` counts every byte of the file, headers and end mark included."""

    count: int | None = None
    size: int | None = None

    @classmethod
    def of(cls, maxcount: int | None, maxsize: float | None) -> Limits:
        """The limits, checked.

        Raises:
            UsageError: `maxcount` is no whole number of samples, or no sample fits.
        """
        count = None if maxcount is None else checked_int(maxcount, "maxcount", 1)
        given: Any = maxsize
        if given is not None and not (isinstance(given, int | float) and given >= 4 * BLOCK):
            raise UsageError("maxsize must be at least 2048 bytes", path="maxsize", actual=maxsize)
        return cls(count, None if maxsize is None or math.isinf(maxsize) else int(maxsize))


class ShardObserver(Protocol):
    """Sees one shard being written."""

    def observe(self, key: str, offset: int, packed: bytes, sample: Any) -> None:
        """Observe a sample that was written.

        Args:
            key: what it is called.
            offset: where its first byte is in the shard.
            packed: its bytes.
            sample: the sample; `None` where rows come without.
        """

    def finish(self, shard: ShardRef) -> None:
        """Observe that the shard is complete on disk."""


Observer: TypeAlias = Callable[[Path], AbstractContextManager[ShardObserver]]
"""Gives who watches the shard that will be at a path. It is left when the shard is finished, or has failed."""


def tar_member(key: str, data: bytes) -> bytes:
    """One sample as tar blocks: `{key}.msgpack`, mtime 0, mode 0644, owner 0.

    Raises:
        SampleError: the key is empty or has a dot in its last component.
    """
    return _head(key, len(data)) + data + bytes(-len(data) % BLOCK)


def sample_members(key: str, files: Iterable[tuple[str, bytes]]) -> SampleMembers:
    """One sample as tar blocks, one file a field.

    Args:
        key: its name.
        files: the extension of each and its content.

    Raises:
        SampleError: the key is no name for files of one sample.
    """
    blocks: list[bytes] = []
    for extension, data in files:
        if blocks:
            blocks.append(_PADDING[-len(blocks[-1]) % BLOCK])
        blocks += _head(key, len(data), extension), data
    if not blocks or (len(blocks) == 2 and extension == EXTENSION):
        raise SampleError(
            "a sample without files cannot be stored" if not blocks else "one file of msgpack is a packed sample",
            path=f"sample {key}",
            hint="Let a field that no sample lacks have a file, with another extension than msgpack (mp, json, ...).",
        )
    return SampleMembers(b"".join(blocks))


def _head(key: str, size: int, extension: str = EXTENSION) -> bytes:
    """All that comes before a sample's bytes, or those of one of its files."""
    # Most keys are numbers: those need no look at what they are made of.
    raw = f"{key}.{extension}".encode() if key.isalnum() and key.isascii() else _member_name(key, extension)
    if len(raw) <= 100 and raw.isascii():
        return _header(raw, size, b"0")
    alias = b"PaxData/" + hashlib.sha256(raw).hexdigest()[:32].encode()
    return _pax_header(raw) + _header(alias, size, b"0")


def _member_name(key: str, extension: str) -> bytes:
    base = key.rpartition("/")[2]
    with suppress(UnicodeEncodeError):
        if base and "." not in base and "\0" not in key and not _METADATA.match(key):
            return f"{key}.{extension}".encode()
    raise SampleError(
        "a sample's key is invalid", path="__key__", actual=repr(key), hint="Use letters, digits, - and _."
    )


def _pax_header(path: bytes) -> bytes:
    # "%d path=%s\n": the number counts its own digits too.
    length = len(path) + 7
    length += len(str(length + len(str(length))))
    record = b"%d path=%s\n" % (length, path)
    return _header(b"PaxHeader", len(record), b"x") + record + bytes(-len(record) % BLOCK)


_OWNER = b"0000644\0" + b"0000000\0" * 2  # mode, uid, gid
_TIME = b"00000000000\0"
_TAIL = b"".join(
    [
        bytes(100),  # link name
        b"ustar\x0000",
        bytes(64),  # user and group name
        b"0000000\0" * 2,  # device numbers
        bytes(167),  # prefix and padding
    ]
)
_PADDING = tuple(bytes(length) for length in range(BLOCK))


def _header(name: bytes, size: int, kind: bytes) -> bytes:
    numbers, checksum = _numbers(size, kind)
    return b"".join((name.ljust(100, b"\0"), numbers, b"%06o\0 " % (checksum + sum(name)), kind, _TAIL))


@lru_cache(maxsize=4096)  # the samples of a shard are often of one size
def _numbers(size: int, kind: bytes) -> tuple[bytes, int]:
    """The bytes between name and checksum, and the sum of all bytes but the name's."""
    octal = b"%011o\0" % size if size < 8**11 else (1 << 95 | size).to_bytes(12, "big")
    numbers = _OWNER + octal + _TIME
    return numbers, sum(numbers) + sum(b" " * 8) + sum(kind) + sum(_TAIL)  # the checksum counts as spaces


def write_shard(path: str | os.PathLike[str], rows: Iterable[Row]) -> ShardRef:
    """Write one shard, all of it or nothing.

    Returns:
        The shard with its digest, size and sample count.

    Raises:
        SampleError: a key twice, or one that names no sample.
        StorageError: the disk is full or fails; no file is left.
    """
    (shard,) = cut_shards(_distinct(rows), Limits(), lambda _: Path(path))
    return shard


def _distinct(rows: Iterable[Row]) -> Iterator[Row]:
    keys: set[str] = set()
    for key, packed in rows:
        if key in keys:
            raise SampleError("a shard must contain every key once", path="__key__", actual=repr(key))
        keys.add(key)
        yield key, packed


def cut_shards(
    rows: Iterable[Row] | Iterable[SampleRow | NumberedMembers],
    limits: Limits,
    place: Callable[[int], Path],
    observer: Observer | None = None,
    *,
    distinct: bool = False,
) -> Iterator[ShardRef]:
    """Write rows to as many shards as the limits ask for; `place(i)` names the file of shard `i`.

    A key seen before in the same shard starts a new one: no shard holds a key twice. With no rows at all
    one empty shard is written. Each shard is complete on disk when it is yielded, and what watches it has finished.

    Args:
        rows: the samples; `NumberedMembers` only where nobody watches.
        limits: what a shard may hold.
        place: gives the path of a shard by its number.
        observer: gives who watches a shard being written.
        distinct: whether no key comes twice, so that none need be remembered.

    Raises:
        LimitError: one sample is larger than a whole shard may be.
        StorageError: the disk is full or fails.
    """
    source: Iterator[Row | SampleRow | NumberedMembers] = iter(rows)
    first = next(source, None)
    with ThreadPoolExecutor(1, "atdata-hash") as hashing, ThreadPoolExecutor(1, "atdata-sync") as syncing:
        for index in itertools.count():
            target = place(index)
            with nullcontext() if observer is None else observer(target) as observing:
                with atomic_file(target) as file, _HashedOutput(file, target, hashing, syncing) as output:
                    filling = _Filling(output, limits, observing, distinct)
                    while first is not None and (first := filling.add(first)) is None:
                        first = next(source, None)
                    output.write(len(END), END)
                    digest = output.finish()
                shard = ShardRef(str(target), digest, output.size, filling.count)
                if observing is not None:
                    observing.finish(shard)
            yield shard
            if first is None:
                return


class _Filling:
    """A shard that is being filled."""

    def __init__(self, output: _HashedOutput, limits: Limits, observing: ShardObserver | None, distinct: bool) -> None:
        self._output, self._limits, self._observing, self._distinct = output, limits, observing, distinct
        self._most = math.inf if limits.count is None else limits.count
        self._capacity = math.inf if limits.size is None else limits.size - len(END)
        self._keys: set[str] = set()
        self.count = 0

    def add(self, row: Row | SampleRow | NumberedMembers) -> Row | SampleRow | NumberedMembers | None:
        """Write a row, or as much of it as fits; what did not."""
        if isinstance(row, NumberedMembers):
            return self._add_members(row)
        key, packed, output = row[0], row[1], self._output
        head = b"" if isinstance(packed, SampleMembers) else _head(key, len(packed))
        offset = output.size + len(head)
        padding = _PADDING[-len(packed) % BLOCK]
        end = offset + len(packed) + len(padding)
        if end > self._capacity and not self.count:
            raise self._too_large(key, end)
        if end > self._capacity or self.count >= self._most or key in self._keys:
            return row
        if not self._distinct:
            self._keys.add(key)
        self.count += 1
        output.write(end - output.size, head, packed, padding)
        if self._observing is not None:
            self._observing.observe(key, offset, packed, row[2] if len(row) == 3 else None)
        return None

    def _add_members(self, members: NumberedMembers) -> NumberedMembers | None:
        fitting = np.searchsorted(members.ends, self._capacity - self._output.size, "right")
        count = int(min(fitting, self._most - self.count))
        if not count and not self.count:
            raise self._too_large(f"{members.first:09d}", int(members.ends[0]))
        now, rest = members.cut(count)
        self.count += count
        self._output.write(len(now.data), now.data)
        return rest

    def _too_large(self, key: str, size: int) -> LimitError:
        return LimitError(
            "a sample is larger than maxsize",
            path=key,
            expected=f"at most {self._limits.size} bytes with its header",
            actual=f"{size + len(END)} bytes",
            hint="Raise maxsize, or split the sample.",
        )


class _HashedOutput:
    """Writes in large pieces. Another thread hashes them, so that hashing costs no time where there are two cores, and
    one waits for the disk, so that little is left to wait for at the end.
    """

    def __init__(self, file: FileIO, place: Path, hashing: Executor, syncing: Executor) -> None:
        self._file, self._place, self._hashing, self._syncing = file, place, hashing, syncing
        self._pending: list[bytes | memoryview] = []
        self._flushed = 0
        self._hash = hashlib.sha256()
        self._unhashed: deque[Future[None]] = deque()
        self._unsynced: Future[None] | None = None
        self._synced = 0
        self.size = 0

    def write(self, size: int, *pieces: bytes | memoryview) -> None:
        """Write pieces that have `size` bytes together."""
        self._pending += pieces
        self.size += size
        if self.size - self._flushed >= CHUNK:
            self._flush()

    def finish(self) -> Digest:
        """Write what is left; the digest of the whole file."""
        self._flush()
        while self._unhashed:
            self._unhashed.popleft().result()
        self._settle_sync()
        return Digest("sha256", self._hash.hexdigest())

    def _flush(self) -> None:
        chunk = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._flushed = self.size
        self._unhashed.append(self._hashing.submit(self._hash.update, chunk))
        write_all(self._file, chunk, self._place)
        if self._flushed - self._synced >= _SYNC and (self._unsynced is None or self._unsynced.done()):
            self._settle_sync()
            self._synced = self._flushed
            self._unsynced = self._syncing.submit(os.fsync, self._file.fileno())
        if len(self._unhashed) > _AHEAD:
            self._unhashed.popleft().result()

    def _settle_sync(self) -> None:
        waiting, self._unsynced = self._unsynced, None
        with disk_errors(self._place):
            if waiting is not None:
                waiting.result()

    def __enter__(self) -> _HashedOutput:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for waiting in self._unhashed:  # of a shard that failed
            waiting.cancel()
        if self._unsynced is not None:
            self._unsynced.exception()  # so that the file is not closed meanwhile
