"""Bounds on the memory that reading a file may take, by the file's own size, before anything is decoded.

Compression, dictionaries and runs let a few bytes stand for as many as one likes. Honest data repeat themselves too, so
a limit is in proportion to the file, and never below what any machine has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from atdata.errors import LimitError, SampleError, ShardError
from atdata.manifest.pages import Struct, Thrift

HELD = 1 << 28  # bytes that may be in memory at once, whatever the file's size; and times its size:
_HELD_RATIO = 100
TOTAL = 1 << 30  # bytes that may come out of it one after the other; and times its size:
_TOTAL_RATIO = 2000
_AT_ONCE = 1 << 26  # bytes of rows that are looked at together, where one row is not larger
_WINDOWS = (1 << 10, 1 << 16, 1 << 24)  # bytes in which a page's header is looked for

# Of parquet.thrift. Bytes of a value by its physical type; one of text or bytes has any number.
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_PLAIN, _DICTIONARY_ENCODINGS, _SHARED_BEGINNINGS = 0, (2, 8), 7


@dataclass(frozen=True)
class Bounds:
    """The limits for one file.

    Attributes:
        path: the file.
        size: its bytes.
    """

    path: Path
    size: int

    @property
    def held(self) -> int:
        """Bytes that may be in memory at once."""
        return max(HELD, _HELD_RATIO * self.size)

    @property
    def total(self) -> int:
        """Bytes that may come out of it one after the other."""
        return max(TOTAL, _TOTAL_RATIO * self.size)

    def check_held(self, size: int, where: str) -> None:
        """Refuse what would have to be in memory at once.

        Raises:
            LimitError: it is too much for a file of this size.
        """
        self._check("decoding a file takes too much memory", where, self.held, size)

    def check_total(self, size: int, where: str) -> None:
        """Refuse what would come out of the file in all.

        Raises:
            LimitError: it is too much for a file of this size.
        """
        self._check("a file decompresses to too many bytes", where, self.total, size)

    def _check(self, what: str, where: str, most: int, size: int) -> None:
        if size > most:
            hint = "Split it, or write it with less compression."
            limit = f"at most {most} bytes, of a file of {self.size}"
            raise LimitError(what, uri=str(self.path), path=where, expected=limit, actual=f"{size} bytes", hint=hint)


def row_groups(bounds: Bounds) -> list[Struct]:
    """The row groups in the footer of a Parquet file, read here: what `pyarrow` finds wrong in one, once it is asked for
    a column, ends the whole process.

    Raises:
        SampleError: they cannot be read.
    """
    with bounds.path.open("rb") as file:
        file.seek(max(bounds.size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(bounds.size - 8 - length, 0))
        try:
            return Struct.read(Thrift(file.read(length), 0, str(bounds.path))).structs(4)
        except ShardError as error:
            raise _malformed(bounds, "the footer", "its row groups") from error


def rows_at_once(schema: Any, group: int, groups: list[Struct], width: int, bounds: Bounds, most: int) -> int:
    """The number of rows of a row group of a Parquet file that are decoded together.

    Args:
        schema: the file's, as `pyarrow` reads it.
        group: which row group.
        groups: all of them; see `row_groups`.
        width: bytes that a row takes by the types of the columns alone, also where it has no value.
        bounds: of the file.
        most: rows that are enough.

    Raises:
        LimitError: one row, or one page, may be more than memory should hold.
        SampleError: a column, or the header of a page, cannot be read.
    """
    row = width
    try:
        columns, rows = [chunk.struct(3) for chunk in groups[group].structs(1)], groups[group].number(3)
        if len(columns) != len(schema):
            raise groups[group].damaged()
        with bounds.path.open("rb") as file:
            for number, column in enumerate(columns):
                where = f"row group {group}, {schema.column(number).path}"
                row += _largest(file, column, schema.column(number), rows, where, bounds)
    except ShardError as error:
        raise _malformed(bounds, f"row group {group}", "its columns") from error
    bounds.check_held(row, f"row group {group}")
    return max(1, min(most, _AT_ONCE // max(row, 1)))


def _largest(file: BinaryIO, column: Struct, kind: Any, rows: int, where: str, bounds: Bounds) -> int:
    """Bytes that a row of a column chunk has at most; of lists, as many as one has that is like the others.

    Each page is in memory at once. A value has bytes of its own, or those of a dictionary, which are there once. Where a
    list ends is known only when it is read: one may be the whole chunk.
    """
    width = _WIDTHS.get(kind.physical_type)
    if kind.physical_type == "FIXED_LEN_BYTE_ARRAY":
        width = int(kind.length)
    longest = values = plain = dictionary = shared = begun = 0
    for page, size, count, encoding in _pages(file, column, where, bounds):
        bounds.check_held(size, where)
        if page == _DICTIONARY:
            dictionary = size
        elif width is not None:
            values, longest = values + count, width
        elif encoding in _DICTIONARY_ENCODINGS:
            shared, longest = shared + count, max(longest, dictionary)
        elif encoding == _SHARED_BEGINNINGS:  # a value may begin as the one before it does, so with all bytes so far
            begun += size
            plain, longest = plain + begun * count, max(longest, begun)
        else:
            plain, longest = plain + size, max(longest, size)
    if not kind.max_repetition_level:
        return longest
    whole = values * (width or 0) + plain + shared * dictionary
    bounds.check_held(whole, where)
    return whole // max(rows, 1)


def _pages(file: BinaryIO, column: Struct, where: str, bounds: Bounds) -> Iterator[tuple[int, int, int, int]]:
    """Kind, size in memory, number of values and encoding of each page, as its header says them."""
    at = min((start for start in (column.number(9), column.number(11, 0)) if start), default=0)
    end = at + column.number(7)
    if not 0 <= at <= end <= bounds.size:
        raise _malformed(bounds, where, "its offsets")
    while at < end:
        try:
            header, length = _header(file, at, str(bounds.path))
            kind, size, packed = header.number(1), header.number(2), header.number(3)
            if size < 0 or packed < 0:
                raise header.damaged()
            data = header.struct({_DATA: 5, _DATA_V2: 8}[kind]) if kind in (_DATA, _DATA_V2) else None
            count, encoding = (data.number(1), data.number(2 if kind == _DATA else 4)) if data else (0, _PLAIN)
        except ShardError as error:
            raise _malformed(bounds, where, f"the header of a page at byte {at}") from error
        at += length + packed
        if kind == _DICTIONARY or data:
            yield kind, size, max(count, 0), encoding


def _malformed(bounds: Bounds, where: str, actual: str) -> SampleError:
    hint = "Write it again."
    return SampleError("a Parquet file is malformed", uri=str(bounds.path), path=where, actual=actual, hint=hint)


def _header(file: BinaryIO, at: int, uri: str) -> tuple[Struct, int]:
    """The header of the page that begins at a byte, and its length.

    Raises:
        ShardError: there is none.
    """
    for window in _WINDOWS:
        file.seek(at)
        raw = file.read(window)
        thrift = Thrift(raw, 0, uri)
        try:
            return Struct.read(thrift), thrift.at
        except ShardError:
            if len(raw) < window or window == _WINDOWS[-1]:
                raise
    raise AssertionError
