"""Many packed samples to columns at once, without touching a sample in Python.

Samples of one writer look alike: the map header, each key and each array header are the same bytes in every sample.
The layout is learned from the first sample; one comparison proves it for all, and one gather copies an array field
of all samples into a column. What does not fit is `None` here, and is decoded one by one, with the same result.

The tokens are those of the msgpack specification (github.com/msgpack/msgpack, spec.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.samples.codec import Misfit, check_items, decoder
from atdata.samples.fields import Array, Field, FieldType, Maybe, Scalar, ScalarKind
from atdata.samples.npy import MAX_DIMS, MAX_HEADER, check_text, read_header

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Column: TypeAlias = "NDArray[Any] | list[Any]"

LARGE = 1 << 13  # arrays of at least this many bytes are copied one by one, straight to where they are wanted


@dataclass(frozen=True, eq=False)
class Rows:
    """Large arrays of one kind, where they are in memory: a column that is not copied yet."""

    memory: Bytes
    at: Ints
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.at)

    def write(self, column: NDArray[Any], places: Iterable[int]) -> None:
        """Copy them to places in a column of shape `[n, *shape]`, C-contiguous."""
        length = self.dtype.itemsize * math.prod(self.shape)
        raw = column.reshape(len(column), -1).view(np.uint8)
        for place, start in zip(places, self.at.tolist(), strict=True):
            raw[place] = self.memory[start : start + length]


class _Unlike(Exception):
    """These samples are not all of one layout that is decoded in bulk."""


def decode_columns(
    memory: Bytes, starts: Ints, sizes: Ints, fields: Sequence[Field], wanted: Sequence[str]
) -> dict[str, Column | Rows] | None:
    """Columns of some samples in memory, in the order of `starts`.

    Args:
        memory: bytes that hold the samples, and at least 8 more after the last.
        starts, sizes: where each sample is in `memory`, int64 `[n]`.
        fields: of the sample type.
        wanted: names of the fields to decode.

    Returns:
        For each wanted field an array `[n, ...]`, a list of n values, or `Rows`; `None` where the samples have no
        common layout, or may be damaged.
    """
    if not len(starts):
        return None
    try:
        return _Cursor(memory, starts, sizes).columns({f.name: f for f in fields}, wanted)
    except (_Unlike, IndexError, ValueError, OverflowError, Misfit):  # ValueError: no text, no array, past the memory
        return None


def _table(default: int, *ranges: tuple[int, int, int]) -> NDArray[np.int64]:
    table = np.full(256, default, np.int64)
    for first, last, value in ranges:
        table[first : last + 1] = value
    return table


# By token: bytes of the length that follows it; then bytes of the payload, but for what the length says.
_HEAD = _table(0, (0xC4, 0xC4, 1), (0xC5, 0xC5, 2), (0xC6, 0xC6, 4), (0xD9, 0xD9, 1), (0xDA, 0xDA, 2), (0xDB, 0xDB, 4))
_BODY = _table(
    0,
    *((0xA0 + n, 0xA0 + n, n) for n in range(32)),
    *((token, token, 1) for token in (0xCC, 0xD0)),
    *((token, token, 2) for token in (0xCD, 0xD1)),
    *((token, token, 4) for token in (0xCA, 0xCE, 0xD2)),
    *((token, token, 8) for token in (0xCB, 0xCF, 0xD3)),
)
_NIL, _TRUE, _UINT64 = 0xC0, 0xC3, 0xCF
_KINDS: dict[ScalarKind | None, NDArray[np.int64]] = {
    None: _table(1, (0x80, 0x9F, 0), (0xC1, 0xC1, 0), (0xC7, 0xC9, 0), (0xD4, 0xD8, 0), (0xDC, 0xDF, 0)),
    "str": _table(0, (0xA0, 0xBF, 1), (0xD9, 0xDB, 1)),
    "bytes": _table(0, (0xC4, 0xC6, 1)),
    "int": _table(0, (0x00, 0x7F, 1), (0xCC, 0xD3, 1), (0xE0, 0xFF, 1)),
    "float": _table(0, (0xCB, 0xCB, 1)),
    "bool": _table(0, (0xC2, 0xC3, 1)),
}
_NUMBERS = dict(zip(range(0xCB, 0xD4), (">f8", ">u1", ">u2", ">u4", ">u8", ">i1", ">i2", ">i4", ">i8"), strict=True))
_SMALL = _table(0, *((n, n, n) for n in range(128)), *((256 + n, 256 + n, n) for n in range(-32, 0)))
_SHIFT = np.where(_BODY > 0, 64 - 8 * _BODY.clip(0, 8), 0)
_SIGNED = _table(0, (0xD0, 0xD3, 1)).astype(bool)
_SHORT = 32


class _Cursor:
    """A place in each sample, which moves through all of them field by field: `at + off`."""

    def __init__(self, memory: Bytes, starts: Ints, sizes: Ints) -> None:
        self.memory, self.at, self.off = memory, starts, 0
        self.count, self.ends, self.least = len(starts), starts + sizes, int(sizes.min())

    def columns(self, fields: dict[str, Field], wanted: Sequence[str]) -> dict[str, Column | Rows]:
        found: dict[str, Column | Rows] = {}
        names = set()
        count, prefix = self._map_header()
        for _ in range(count):
            name, length = self._key(len(prefix))
            prefix = self._first(len(prefix) + length)
            if name in names:
                raise _Unlike
            names.add(name)
            field = fields.get(name)
            if field is None or name not in wanted:
                self._expect(prefix)
                self._skip(declared=field is not None)
            else:
                found[name] = self._column(field.type, prefix)
            prefix = b""
        if prefix:
            self._expect(prefix)
        if (self.at + self.off).tobytes() != self.ends.tobytes():
            raise _Unlike
        for name in wanted:
            if name not in found:
                if fields[name].required:
                    raise _Unlike
                found[name] = [fields[name].missing() for _ in range(self.count)]
        return {name: found[name] for name in wanted}

    def _first(self, length: int, after: int = 0) -> bytes:
        """Bytes of the first sample, from its place on."""
        start = int(self.at[0]) + self.off + after
        return self.memory[start : start + length].tobytes()

    def _map_header(self) -> tuple[int, bytes]:
        head = self._first(3)
        if head[0] >> 4 == 8:
            return head[0] & 15, head[:1]
        if head[0] == 0xDE:
            return int.from_bytes(head[1:], "big"), head
        raise _Unlike

    def _key(self, after: int) -> tuple[str, int]:
        """The key that the first sample has here, and how many bytes it takes."""
        head = self._first(2, after)
        if head[0] >> 5 == 5:
            start, length = 1, head[0] & 31
        elif head[0] == 0xD9:
            start, length = 2, head[1]
        else:
            raise _Unlike
        return self._first(length, after + start).decode(), start + length

    def _gather(self, dtype: str, after: int = 0, at: Ints | None = None) -> NDArray[Any]:
        """An item of this dtype from each sample, at its place or at another one."""
        at, off = (self.at, self.off + after) if at is None else (at, 0)
        item = np.dtype(dtype)
        spare = len(self.memory) - off - item.itemsize + 1
        return np.ndarray((max(spare, 0),), item, self.memory, off, (1,))[at]

    def _take(self, length: int) -> NDArray[np.void]:
        """The next bytes of each sample. No length that a sample claims makes more than its bytes of them."""
        if length > self.least:
            raise _Unlike
        taken = self._gather(f"V{length}")
        self.off += length
        return taken

    def _expect(self, same: bytes) -> None:
        """Go past bytes that all samples must have here."""
        if self._take(len(same)).tobytes() != same * self.count:
            raise _Unlike

    def _go(self, at: Ints) -> None:
        self.at, self.off = at, 0

    def _tokens(self) -> tuple[Bytes, int | None]:
        """The token of each value; and which it is, where all have the same."""
        tokens = self._gather("u1")
        first = int(tokens[0])
        return tokens, first if tokens.tobytes().count(first) == self.count else None

    def _extents(self, tokens: Bytes, one: int | None, kind: ScalarKind | None, optional: bool) -> tuple[Ints, Ints]:
        """Where the payload of each value is, and how long."""
        allowed = _KINDS[kind]
        if one is not None:
            head, length = int(_HEAD[one]), np.full(self.count, _BODY[one])
            if not (allowed[one] or (optional and one == _NIL)):
                raise _Unlike
            if head:
                length = self._gather(f">u{head}", 1).astype(np.int64)
            return self._inside(self.at + (self.off + 1 + head), length)
        heads, length = _HEAD[tokens], _BODY[tokens]
        if not (allowed[tokens] | (optional & (tokens == _NIL))).all():
            raise _Unlike
        at = self.at + (self.off + 1)
        for head in (1, 2, 4):
            here = np.flatnonzero(heads == head)
            if len(here):
                length[here] = self._gather(f">u{head}", at=at[here])
        return self._inside(at + heads, length)

    def _inside(self, start: Ints, length: Ints) -> tuple[Ints, Ints]:
        """The same, once it is known that no sample claims what is not its own: many could claim all of the memory."""
        if (start + length > self.ends).any():
            raise _Unlike
        return start, length

    def _skip(self, declared: bool) -> None:
        """Go past a value of any kind. What no field declares must still be text where it says so."""
        tokens, one = self._tokens()
        if one is not None and _KINDS[None][one] and not _HEAD[one] and (declared or not _KINDS["str"][one]):
            self.off += 1 + int(_BODY[one])
            return
        start, length = self._extents(tokens, one, None, False)
        texts = _KINDS["str"][tokens] == 1
        if not declared and texts.any():
            self._texts(start[texts], length[texts])
        self._go(start + length)

    def _column(self, field_type: FieldType, prefix: bytes) -> Column | Rows:
        optional = isinstance(field_type, Maybe)
        inner = field_type.inner if isinstance(field_type, Maybe) else field_type
        if isinstance(inner, Array):
            return self._arrays(inner, optional, prefix)
        self._expect(prefix)
        if not isinstance(inner, Scalar):
            raise _Unlike
        tokens, one = self._tokens()
        if one in _NUMBERS and _KINDS[inner.kind][one]:
            numbers: list[Any] = self._gather(_NUMBERS[one], 1).tolist()
            self.off += 1 + int(_BODY[one])
            return numbers
        start, length = self._extents(tokens, one, inner.kind, optional)
        values = self._values(inner.kind, tokens, start, length)
        self._go(start + length)
        if optional and _NIL in (missing := tokens.tobytes()):
            return [None if token == _NIL else value for value, token in zip(values, missing, strict=True)]
        return values

    def _values(self, kind: ScalarKind, tokens: Bytes, start: Ints, length: Ints) -> list[Any]:
        match kind:
            case "str":
                return self._texts(start, length)
            case "bytes":
                return self._payloads(start, length)
            case "int":
                integers: list[int] = self._integers(tokens, start).tolist()
                return integers
            case "float":
                floats: list[float] = self._gather(">f8", at=start).tolist()
                return floats
            case "bool":
                return [token == _TRUE for token in tokens.tobytes()]

    def _payloads(self, start: Ints, length: Ints) -> list[bytes]:
        whole = self.memory.data
        return [bytes(whole[a:b]) for a, b in zip(start.tolist(), (start + length).tolist(), strict=True)]

    def _integers(self, tokens: Bytes, start: Ints) -> Ints:
        body = _BODY[tokens]
        if not body.any():
            return _SMALL[tokens]
        wide = self._gather(">i8", at=start).astype(np.int64)
        if (wide[tokens == _UINT64] < 0).any():
            raise _Unlike
        shift = _SHIFT[tokens]
        value = (wide.view(np.uint64) >> shift.view(np.uint64)).view(np.int64)
        signed = _SIGNED[tokens]
        if signed.any():
            value = np.where(signed, wide >> shift, value)
        return np.where(body == 0, _SMALL[tokens], value)

    def _texts(self, start: Ints, length: Ints) -> list[str]:
        longest, total = int(length.max()), int(length.sum())
        room = int(start.max()) + longest <= len(self.memory)
        if longest and room and longest * len(start) <= 4 * total + _SHORT * len(start):
            rows = self._gather(f"V{longest}", at=start)
            texts = _short(rows, length, total) if longest <= _SHORT else _long(rows, length)
            if texts is not None:
                return texts
        whole = self.memory.data
        return [str(whole[a:b], "utf-8") for a, b in zip(start.tolist(), (start + length).tolist(), strict=True)]

    def _arrays(self, declared: Array, optional: bool, prefix: bytes) -> Column | Rows:
        """An array field: stacked where all have one header, else a list."""
        head = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}.get(self._first(1, len(prefix)))
        if head is not None:
            packed = len(prefix) + 1 + head
            length = int.from_bytes(self._first(head, len(prefix) + 1), "big")
            dtype, fortran, shape, begin = read_header(self._first(min(length, _MAX_HEADER), packed))
            same = self._first(packed + begin)
            if len(shape) < MAX_DIMS and (self.at + (self.off + len(same)) <= self.ends).all():
                if self._take(len(same)).tobytes() == same * self.count:
                    return self._stacked(declared, dtype, fortran, shape, length - begin)
                self.off -= len(same)
        self._expect(prefix)
        tokens, one = self._tokens()
        start, lengths = self._extents(tokens, one, "bytes", optional)
        self._go(start + lengths)
        decode = decoder(declared)
        return [
            None if token == _NIL else decode(payload)
            for payload, token in zip(self._payloads(start, lengths), tokens.tobytes(), strict=True)
        ]

    def _stacked(
        self, declared: Array, dtype: np.dtype[Any], fortran: bool, shape: tuple[int, ...], length: int
    ) -> NDArray[Any] | Rows:
        if length != math.prod(shape) * dtype.itemsize:
            raise _Unlike
        check_items(declared, dtype, shape)
        if length >= LARGE and not fortran and dtype.kind in "biufcmM" and length <= self.least:
            rows = Rows(self.memory, self.at + self.off, dtype, shape)
            self.off += length
            return rows
        items: NDArray[Any] = self._take(length).view(dtype) if length else np.empty(0, dtype)
        check_text(items)
        if fortran:
            column = items.reshape(self.count, *shape[::-1]).transpose(0, *range(len(shape), 0, -1))
            return np.ascontiguousarray(column)
        return items.reshape(self.count, *shape)


_MAX_HEADER = 2 * MAX_HEADER


def _short(rows: NDArray[np.void], length: Ints, total: int) -> list[str] | None:
    count, longest = len(rows), rows.itemsize
    letters = rows.view(np.uint8).reshape(count, longest)
    if longest * count > total:
        letters = letters * (np.arange(longest) < length[:, None])
    raw = letters.tobytes()
    if not raw.isascii() or raw.count(0) != longest * count - total:  # numpy drops NUL at the end of a text
        return None
    texts: list[str] = letters.astype(np.uint32).view(f"<U{longest}")[:, 0].tolist()
    return texts


def _long(rows: NDArray[np.void], length: Ints) -> list[str] | None:
    """The texts at the beginning of rows, if all are ASCII. What else is in a row is somebody else's."""
    width, every = rows.itemsize, str(rows.view(np.uint8).data, "latin-1")
    texts = [every[a : a + n] for a, n in zip(range(0, len(every), width), length.tolist(), strict=True)]
    return texts if every.isascii() or all(map(str.isascii, texts)) else None
