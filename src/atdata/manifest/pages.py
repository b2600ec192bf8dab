"""Checking of the footer and every page header of a Parquet file before a decoder reads it.

A page says how many values it holds and how large they become; a decoder believes it, and some claims make it end
the whole process. Here the claims are held against the bytes that are there. All of them are Thrift structs in the
compact protocol; fields are known by number (parquet-format, `parquet.thrift`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from atdata.errors import ShardError

MAX_FILE = 104_857_600
"""Bytes of a file (what an entry takes: formats.md 3), and of all its pages once they are no longer compressed."""
MAX_FOOTER = 1 << 19
MAX_PAGES = 20_000

_MAGIC = b"PAR1"
_DATA_PAGE = 0
_UNCOMPRESSED, _ZSTD = 0, 6
_PLAIN, _RLE, _DELTA = 0, 3, 5
_FIXED_LENGTH = 7
_REPEATED = 2
_MAX_DEPTH = 8
_TRUE, _FALSE, _INTS, _BINARY, _LISTS, _STRUCT = 1, 2, (4, 5, 6), 8, (9, 10), 12
_SIZES = {_TRUE: 1, _FALSE: 1, 3: 1, 7: 8}  # bools in a list, byte, double
_TYPES = (0, 1, 2, 4, 5, 6, 7)  # all but int96


def check_pages(raw: bytes, uri: str, columns: Sequence[int] | None = None) -> list[Struct]:
    """Prove that no page claims more than its bytes can hold; the row groups of the footer.

    Args:
        raw: the Parquet file.
        uri: what to call it in errors.
        columns: the numbers of those that will be decoded; by default all are.

    Raises:
        ShardError: a page has no checksum, is compressed with anything but zstd, is of another encoding, or claims too
            much.
    """
    length = int.from_bytes(raw[-8:-4], "little")
    end = len(raw) - 8 - length
    if raw[:4] != _MAGIC or raw[-4:] != _MAGIC or end < len(_MAGIC) or length > MAX_FOOTER:
        raise damaged(uri, "no Parquet file, or too long a footer")
    footer = Struct.read(Thrift(raw[: len(raw) - 8], end, uri))
    leaves = list(_leaves(footer))
    walk = _Walk(raw[:end], uri)
    for group in footer.structs(4):
        chunks, rows = group.structs(1), group.number(3)
        if len(chunks) != len(leaves) or rows < 0:
            raise damaged(uri, f"{len(chunks)} columns in a group", f"{len(leaves)} columns")
        if footer.number(3):  # else there is nothing to decode
            for number, (leaf, chunk) in enumerate(zip(leaves, chunks, strict=True)):
                walk.chunk(chunk.struct(3), leaf, rows, columns is None or number in columns)
    groups = footer.structs(4)
    if sum(group.number(3) for group in groups) != footer.number(3):
        raise damaged(uri, "other rows in its groups", f"{footer.number(3)} rows")
    return groups


@dataclass(frozen=True)
class _Leaf:
    """A column as the schema has it."""

    type: int
    length: int
    nested: bool


def _leaves(footer: Struct) -> Iterator[_Leaf]:
    """The columns, in order. The schema is a tree, written from the root down."""
    open_groups: list[list[int]] = []  # children still to come, and whether anything on the way is repeated
    for element in footer.structs(2):
        repeated = bool(open_groups and open_groups[-1][1]) or element.number(3, 0) == _REPEATED
        children = element.number(5, 0)
        if open_groups:
            open_groups[-1][0] -= 1
        if children > 0:
            open_groups.append([children, repeated])
        else:
            if element.number(1) not in _TYPES:
                raise element.damaged()
            yield _Leaf(element.number(1), element.number(2, 0), repeated)
        while open_groups and open_groups[-1][0] == 0:
            open_groups.pop()


class _Walk:
    """Goes through the pages in the order in which they stand, over each byte once.

    Bytes that two columns stand on would hold twice as much as they are.
    """

    def __init__(self, raw: bytes, uri: str) -> None:
        self._raw, self._uri = raw, uri
        self._at = len(_MAGIC)
        self._pages = self._plain = 0

    def chunk(self, chunk: Struct, leaf: _Leaf, rows: int, decoded: bool) -> None:
        """Prove the pages of one column in a row group; go over them where they will not be decoded."""
        codec = chunk.number(4)
        if chunk.number(1) != leaf.type or codec not in (_UNCOMPRESSED, _ZSTD) or 11 in chunk.fields:
            raise self._damaged("a column", "of its type, plain or in zstd, without a dictionary")
        end = self._at + chunk.number(7)
        if chunk.number(9) != self._at or not self._at < end <= len(self._raw):
            raise self._damaged(f"bytes {chunk.number(9)} to {end}", f"from byte {self._at} on")
        if not decoded:
            self._at = end
            return
        values, before = 0, self._plain
        while self._at < end:
            values += self._page(leaf, rows, values, end, codec)
        if self._plain - before != chunk.number(6):
            raise self._damaged(f"{self._plain - before} bytes of pages", f"{chunk.number(6)} bytes")
        if values != chunk.number(5) or (values != rows and not leaf.nested):
            raise self._damaged(f"{values} values", f"{rows} rows")

    def _page(self, leaf: _Leaf, rows: int, values: int, end: int, codec: int) -> int:
        """Prove one page; how many values it holds."""
        thrift = Thrift(self._raw, self._at, self._uri)
        header = Struct.read(thrift)
        stored, length, data = header.number(3), header.number(2), header.struct(5)
        if header.number(1) != _DATA_PAGE or 4 not in header.fields or (codec == _UNCOMPRESSED and stored != length):
            raise self._damaged("another page", "a data page with its checksum")
        count, encoding = data.number(1), data.number(2)
        levels = data.number(3), data.number(4)
        if encoding not in (_PLAIN, _RLE, _DELTA) or levels != (_RLE, _RLE) or (leaf.nested and encoding != _PLAIN):
            raise self._damaged(f"encodings {encoding}, {levels}")
        if not 0 <= stored <= end - thrift.at:
            raise self._damaged(f"a page of {stored} bytes", f"at most {end - thrift.at}")
        self._plain += thrift.at - self._at + length
        if length < 0 or self._plain > MAX_FILE:
            raise self._damaged(f"pages of {self._plain} bytes", f"at most {MAX_FILE}")
        # A list takes four bytes for each of its items at least, and a slot where it is empty.
        most = rows + length // 4 if leaf.nested else rows - values
        if not 0 <= count <= most:
            raise self._damaged(f"a page of {count} values", f"at most {most}")
        if leaf.type == _FIXED_LENGTH and count * leaf.length != length:
            raise self._damaged(f"{length} bytes", f"{count * leaf.length} bytes")
        self._pages += 1
        if self._pages > MAX_PAGES:
            raise self._damaged("too many pages", f"at most {MAX_PAGES}")
        self._at = thrift.at + stored
        return count

    def _damaged(self, actual: str, expected: str | None = None) -> ShardError:
        return damaged(self._uri, f"at byte {self._at}: {actual}", expected)


def damaged(uri: str, actual: str, expected: str | None = None) -> ShardError:
    """The error for rows that are not what a manifest's must be."""
    hint = "Fetch it again, or read the shard without it."
    return ShardError("a manifest's rows are malformed", uri=uri, expected=expected, actual=actual[:200], hint=hint)


class Struct:
    """A Thrift struct: its fields by number."""

    def __init__(self, fields: dict[int, Any], thrift: Thrift) -> None:
        self.fields = fields
        self._thrift = thrift

    @classmethod
    def read(cls, thrift: Thrift) -> Struct:
        """The struct that stands where the reader is."""
        return cls(thrift.fields(), thrift)

    def number(self, number: int, missing: int | None = None) -> int:
        """An int."""
        value = self.fields.get(number, missing)
        if type(value) is not int:
            raise self.damaged()
        return value

    def struct(self, number: int) -> Struct:
        """A struct in it."""
        fields = self.fields.get(number)
        if not isinstance(fields, dict):
            raise self.damaged()
        return Struct(fields, self._thrift)

    def structs(self, number: int) -> list[Struct]:
        """A list of structs in it."""
        items = self.fields.get(number)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.damaged()
        return [Struct(item, self._thrift) for item in items]

    def damaged(self) -> ShardError:
        """The error for a field that is not there, or is something else."""
        return self._thrift.damaged()


class Thrift:
    """Reads structs. Ints, bytes, structs and lists are kept; of what else there is, only that it is there."""

    def __init__(self, raw: bytes, at: int, uri: str) -> None:
        self._raw, self.at, self._uri = raw, at, uri

    def fields(self, depth: int = 0) -> dict[int, Any]:
        """The struct that stands here."""
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._int()
            if number in fields:
                raise self.damaged()
            fields[number] = kind & 15 == _TRUE if kind & 15 in (_TRUE, _FALSE) else self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth == _MAX_DEPTH:
            raise self.damaged()
        if kind in _INTS:
            return self._int()
        if kind == _STRUCT:
            return self.fields(depth + 1)
        if kind in _LISTS:
            return self._list(depth + 1)
        if kind in _SIZES:
            self._skip(_SIZES[kind])
            return None
        if kind == _BINARY:
            start = self._skip(self._varint())
            return self._raw[start : self.at]
        raise self.damaged()  # a map: Parquet has none

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self._raw) - self.at:  # each item takes a byte at least
            raise self.damaged()
        return [self._value(head & 15, depth) for _ in range(count)]

    def _skip(self, length: int) -> int:
        """Go on; from where."""
        if length > len(self._raw) - self.at:
            raise self.damaged()
        self.at += length
        return self.at - length

    def _byte(self) -> int:
        return self._raw[self._skip(1)]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise self.damaged()

    def _int(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def damaged(self) -> ShardError:
        """The error for what stands here."""
        return damaged(self._uri, f"a header at byte {self.at}")
