"""The shard writer: plain ustar, equal samples give equal bytes, and nothing partial is ever visible."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeAlias

from atdata.errors import LimitError, SampleError, StorageError, UsageError
from atdata.shards.digest import CHUNK, Digest
from atdata.shards.source import ShardRef
from atdata.shards.tar import BLOCK

Row: TypeAlias = tuple[str, bytes]
"""A sample's key and its packed bytes."""

END = bytes(2 * BLOCK)
DEFAULT_MAXSIZE = 1_000_000_000
_MARK = re.compile(r"%(0?\d{0,2}d|%|)")


@dataclass(frozen=True)
class Limits:
    """How much one shard may hold. `size` counts every byte of the file, headers and end mark included."""

    count: int | None = None
    size: int | None = None

    @classmethod
    def of(cls, maxcount: int | None, maxsize: float | None) -> Limits:
        """Checked limits.

        Raises:
            UsageError: a limit under which no sample fits.
        """
        if maxcount is not None and maxcount < 1:
            raise UsageError("a shard holds at least one sample", path="maxcount", actual=maxcount)
        if maxsize is not None and not maxsize >= 4 * BLOCK:
            raise UsageError("a shard takes at least 2048 bytes", path="maxsize", actual=maxsize)
        return cls(maxcount, None if maxsize is None or math.isinf(maxsize) else int(maxsize))


def tar_member(key: str, data: bytes) -> bytes:
    """One sample as tar blocks: `{key}.msgpack`, mtime 0, mode 0644, owner 0.

    Raises:
        SampleError: the key is empty or has a dot in its last component.
    """
    raw = _member_name(key)
    head = b""
    if len(raw) > 100 or not raw.isascii():
        head = _pax_header(raw)
        raw = b"PaxData/" + hashlib.sha256(raw).hexdigest()[:32].encode()
    return head + _header(raw, len(data), b"0") + data + bytes(-len(data) % BLOCK)


def _member_name(key: str) -> bytes:
    base = key.rpartition("/")[2]
    with suppress(UnicodeEncodeError):
        if base and "." not in base and "\0" not in key:
            return f"{key}.msgpack".encode()
    raise SampleError(
        "a key that names no sample", path="__key__", actual=repr(key), hint="Use letters, digits, - and _."
    )


def _pax_header(path: bytes) -> bytes:
    # "%d path=%s\n": the number counts its own digits too.
    length = len(path) + 7
    length += len(str(length + len(str(length))))
    record = b"%d path=%s\n" % (length, path)
    return _header(b"PaxHeader", len(record), b"x") + record + bytes(-len(record) % BLOCK)


def _header(name: bytes, size: int, kind: bytes) -> bytes:
    octal = b"%011o" % size if size < 8**11 else (1 << 95 | size).to_bytes(12, "big")
    mode, zero, nul = b"0000644", b"0000000", b"\x00"
    fields = [
        name.ljust(100, nul),
        *(mode, nul, zero, nul, zero, nul),  # mode, uid, gid
        octal.ljust(12, nul),
        *(b"00000000000", nul),  # mtime
        b" " * 8,  # the checksum counts as spaces
        kind,
        bytes(100),  # link name
        *(b"ustar", nul, b"00"),
        bytes(64),  # user and group name
        *(zero, nul, zero, nul),  # device numbers
        bytes(167),  # prefix and padding
    ]
    header = b"".join(fields)
    return header[:148] + b"%06o\x00 " % sum(header) + header[156:]


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
            raise SampleError("a shard holds every key once", path="__key__", actual=repr(key))
        keys.add(key)
        yield key, packed


def cut_shards(rows: Iterable[Row], limits: Limits, place: Callable[[int], Path]) -> Iterator[ShardRef]:
    """Write rows to as many shards as the limits ask for; `place(i)` names the file of shard `i`.

    A key seen before in the same shard starts a new one: no shard holds a key twice. With no rows at all
    one empty shard is written. Each shard is complete on disk when it is yielded.

    Raises:
        LimitError: one sample is larger than a whole shard may be.
        StorageError: the disk is full or fails.
    """
    members = ((key, tar_member(key, packed)) for key, packed in rows)
    first: tuple[str, bytes] | None = None
    for index in itertools.count():
        shard, first = _write_until_full(place(index), first, members, limits)
        yield shard
        if first is None:
            return


def _write_until_full(
    place: Path, first: tuple[str, bytes] | None, members: Iterator[tuple[str, bytes]], limits: Limits
) -> tuple[ShardRef, tuple[str, bytes] | None]:
    """One shard, and the member that no longer fitted into it."""
    keys: set[str] = set()
    with atomic_file(place) as file:
        output = _HashedOutput(file, place)
        for key, member in itertools.chain([first] if first else [], members):
            size = output.size + len(member) + len(END)
            if (limits.count is not None and len(keys) >= limits.count) or key in keys:
                rest = (key, member)
                break
            if limits.size is not None and size > limits.size:
                if not keys:
                    raise LimitError(
                        "one sample is larger than a shard may be",
                        path=key,
                        expected=f"at most {limits.size} bytes with its header",
                        actual=f"{size} bytes",
                        hint="Raise maxsize, or split the sample.",
                    )
                rest = (key, member)
                break
            keys.add(key)
            output.write(member)
        else:
            rest = None
        output.write(END)
        output.flush()
    return ShardRef(str(place), Digest("sha256", output.hash.hexdigest()), output.size, len(keys)), rest


class _HashedOutput:
    """Writes in large pieces, counting and hashing on the way."""

    def __init__(self, file: FileIO, place: Path) -> None:
        self._file, self._place = file, place
        self._pending = bytearray()
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._pending += data
        if len(self._pending) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        self.hash.update(self._pending)
        write_all(self._file, self._pending, self._place)
        self._pending = bytearray()


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn an `OSError` into the typed one."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"a file cannot be written: {error.strerror}",
            uri=str(place),
            actual=f"errno {error.errno}",
            hint="Nothing partial was left. Make room, or choose another folder.",
        ) from error


def write_all(file: FileIO, data: bytes | bytearray, place: Path) -> None:
    """Write every byte to an unbuffered file.

    Raises:
        StorageError: the disk is full or fails.
    """
    rest = memoryview(data)
    with disk_errors(place):
        while rest:
            rest = rest[file.write(rest) :]


@contextmanager
def atomic_file(place: Path) -> Iterator[FileIO]:
    """A file that appears at its place complete or not at all: temporary, fsync, rename, fsync of the folder.

    Raises:
        StorageError: the disk is full or fails. An fsync that failed is not tried again.
    """
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(temporary, "xb")  # unbuffered: closing after a failed write must not write again
    try:
        with file:
            yield file
            with disk_errors(place):
                os.fsync(file.fileno())
        with disk_errors(place):
            temporary.replace(place)
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def shard_places(pattern: str | os.PathLike[str], limited: bool) -> Callable[[int], Path]:
    """The paths that a file name with `%06d` in it stands for, or the one path of a plain name.

    Raises:
        UsageError: a plain name, but limits that may need more than one shard.
    """
    text = os.fspath(pattern)
    marks = _MARK.findall(text)
    holes = [mark for mark in marks if mark.endswith("d")]
    if len(holes) > 1 or "" in marks:
        raise UsageError("a shard name takes one number", expected="like digits-%06d.tar", actual=text)
    if not text.endswith(".tar"):
        raise UsageError("a shard is a .tar file", expected="like digits-%06d.tar", actual=text)
    if limited and not holes:
        raise UsageError("several shards need a number in their name", expected="like digits-%06d.tar", actual=text)
    return lambda index: Path(_MARK.sub(lambda mark: "%" if mark[1] == "%" else mark[0] % index, text))
