"""Decoding of packed samples to columns at once, with numpy: one comparison proves what all samples share, and one gather
copies an array field of all of them into a column.

This form says what is right; `blocks` does the same where `_native.c` could be compiled.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.samples.forms import Numbers
from atdata.samples.kinds import ScalarKind
from atdata.samples.npy import check_text
from atdata.samples.template import (
    BODY,
    HEAD,
    KINDS,
    NIL,
    TRUE,
    UINT64,
    Arrays,
    Scalars,
    Skipped,
    Stack,
    Template,
    Unlike,
    table,
)

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Column: TypeAlias = "NDArray[Any] | Numbers | list[Any]"

LARGE = 1 << 13  # bytes of an array
DTYPES: dict[ScalarKind, str] = {"int": "=i8", "float": "=f8", "bool": "?"}

_NUMBERS = dict(zip(range(0xCB, 0xD4), (">f8", ">u1", ">u2", ">u4", ">u8", ">i1", ">i2", ">i4", ">i8"), strict=True))
_SMALL = table(0, *((n, n, n) for n in range(128)), *((256 + n, 256 + n, n) for n in range(-32, 0)))
_SHIFT = np.where(BODY > 0, 64 - 8 * BODY.clip(0, 8), 0)
_SIGNED = table(0, (0xD0, 0xD3, 1)).astype(bool)
_SHORT = 32


class Cursor:
    """A place in each sample, which moves through all of them field by field: `at + off`."""

    def __init__(self, memory: Bytes, starts: Ints, sizes: Ints) -> None:
        self.memory, self.at, self.off = memory, starts, 0
        self.count, self.ends, self.least = len(starts), starts + sizes, int(sizes.min())

    def columns(self, template: Template) -> dict[str, Column]:
        """The columns of the fields in the template, if all samples have it."""
        found: dict[str, Column] = {}
        for part in template.parts:
            match part:
                case Skipped(before, declared):
                    self._expect(before)
                    self._skip(declared)
                case Scalars(before, name, kind, optional):
                    self._expect(before)
                    found[name] = self._scalars(kind, optional)
                case Arrays(_, name):
                    found[name] = self._arrays(part)
        self._expect(template.after)
        if (self.at + self.off).tobytes() != self.ends.tobytes():
            raise Unlike
        return found

    def _gather(self, dtype: str, after: int = 0, at: Ints | None = None) -> NDArray[Any]:
        """An item of this dtype from each sample, at its place or at another one."""
        at, off = (self.at, self.off + after) if at is None else (at, 0)
        item = np.dtype(dtype)
        spare = len(self.memory) - off - item.itemsize + 1
        return np.ndarray((max(spare, 0),), item, self.memory, off, (1,))[at]

    def _take(self, length: int) -> NDArray[np.void]:
        """The next bytes of each sample. No length that a sample claims makes more than its bytes of them."""
        if length > self.least:
            raise Unlike
        taken = self._gather(f"V{length}")
        self.off += length
        return taken

    def _expect(self, same: bytes) -> None:
        """Skip bytes that all samples must have here."""
        if self._take(len(same)).tobytes() != same * self.count:
            raise Unlike

    def _go(self, at: Ints) -> None:
        self.at, self.off = at, 0

    def _tokens(self) -> tuple[Bytes, int | None]:
        """The token of each value; and which it is, where all have the same."""
        tokens = self._gather("u1")
        first = int(tokens[0])
        return tokens, first if tokens.tobytes().count(first) == self.count else None

    def _extents(self, tokens: Bytes, one: int | None, kind: ScalarKind | None, optional: bool) -> tuple[Ints, Ints]:
        """The offset and length of the payload of each value."""
        allowed = KINDS[kind]
        if one is not None:
            head, length = int(HEAD[one]), np.full(self.count, BODY[one])
            if not (allowed[one] or (optional and one == NIL)):
                raise Unlike
            if head:
                length = self._gather(f">u{head}", 1).astype(np.int64)
            return self._inside(self.at + (self.off + 1 + head), length)
        heads, length = HEAD[tokens], BODY[tokens]
        if not (allowed[tokens] | (optional & (tokens == NIL))).all():
            raise Unlike
        at = self.at + (self.off + 1)
        for head in (1, 2, 4):
            here = np.flatnonzero(heads == head)
            if len(here):
                length[here] = self._gather(f">u{head}", at=at[here])
        return self._inside(at + heads, length)

    def _inside(self, start: Ints, length: Ints) -> tuple[Ints, Ints]:
        """The same, once it is known that no sample claims what is not its own: many could claim all of the memory."""
        if (start + length > self.ends).any():
            raise Unlike
        return start, length

    def _skip(self, declared: bool) -> None:
        """Skip a value of any kind. What no field declares must still be valid text if its token says text."""
        tokens, one = self._tokens()
        if one is not None and KINDS[None][one] and not HEAD[one] and (declared or not KINDS["str"][one]):
            self.off += 1 + int(BODY[one])
            return
        start, length = self._extents(tokens, one, None, False)
        texts = KINDS["str"][tokens] == 1
        if not declared and texts.any():
            self._texts(start[texts], length[texts])
        self._go(start + length)

    def _scalars(self, kind: ScalarKind, optional: bool) -> Column:
        tokens, one = self._tokens()
        if one in _NUMBERS and KINDS[kind][one]:
            numbers = self._gather(_NUMBERS[one], 1)
            self.off += 1 + int(BODY[one])
            fits = numbers.dtype != ">u8" or not len(numbers) or numbers.max() < 1 << 63
            return Numbers(numbers.astype(DTYPES[kind])) if fits else numbers.tolist()
        start, length = self._extents(tokens, one, kind, optional)
        values = self._values(kind, tokens, start, length)
        self._go(start + length)
        if optional and NIL in (missing := tokens.tobytes()):
            if isinstance(values, Numbers):
                absent = tokens == NIL
                values.array[absent] = 0
                return Numbers(values.array, absent)
            return [None if token == NIL else value for value, token in zip(values, missing, strict=True)]
        return values

    def _values(self, kind: ScalarKind, tokens: Bytes, start: Ints, length: Ints) -> Numbers | list[Any]:
        match kind:
            case "str":
                return self._texts(start, length)
            case "bytes":
                return self._payloads(start, length)
            case "int":
                return Numbers(self._integers(tokens, start))
            case "float":
                return Numbers(self._gather(">f8", at=start).astype("=f8"))
            case "bool":
                return Numbers(tokens == TRUE)

    def _payloads(self, start: Ints, length: Ints) -> list[bytes]:
        whole = self.memory.data
        return [bytes(whole[a:b]) for a, b in zip(start.tolist(), (start + length).tolist(), strict=True)]

    def _integers(self, tokens: Bytes, start: Ints) -> Ints:
        body = BODY[tokens]
        if not body.any():
            return _SMALL[tokens]
        wide = self._gather(">i8", at=start).astype(np.int64)
        if (wide[tokens == UINT64] < 0).any():
            raise Unlike
        shift = _SHIFT[tokens]
        value = (wide.view(np.uint64) >> shift.view(np.uint64)).view(np.int64)
        signed = _SIGNED[tokens]
        if signed.any():
            value = np.where(signed, wide >> shift, value)
        return np.where(body == 0, _SMALL[tokens], value)

    def _texts(self, start: Ints, length: Ints) -> list[str]:
        longest, total = int(length.max()), int(length.sum())
        inside = int(start.max()) + longest <= len(self.memory)
        if longest and inside and longest * len(start) <= 4 * total + _SHORT * len(start):
            rows = self._gather(f"V{longest}", at=start)
            texts = _short(rows, length, total) if longest <= _SHORT else _long(rows, length)
            if texts is not None:
                return texts
        whole = self.memory.data
        return [str(whole[a:b], "utf-8") for a, b in zip(start.tolist(), (start + length).tolist(), strict=True)]

    def _arrays(self, part: Arrays) -> Column:
        """An array field: stacked where all are stored like the first, else a list."""
        if part.first is not None:
            same = part.before + part.first.header
            if (self.at + (self.off + len(same)) <= self.ends).all():
                if self._take(len(same)).tobytes() == same * self.count:
                    return self._stacked(part.first)
                self.off -= len(same)
        self._expect(part.before)
        tokens, one = self._tokens()
        start, lengths = self._extents(tokens, one, "bytes", part.optional)
        self._go(start + lengths)
        decode = part.declared.decoder
        return [
            None if token == NIL else decode(payload)
            for payload, token in zip(self._payloads(start, lengths), tokens.tobytes(), strict=True)
        ]

    def _stacked(self, stack: Stack) -> NDArray[Any]:
        length, shape = stack.length, stack.shape
        if length >= LARGE and length <= self.least and not stack.fortran and stack.dtype.kind in "biufcmM":
            return self._copied(stack)
        items: NDArray[Any] = self._take(length).view(stack.dtype) if length else np.empty(0, stack.dtype)
        check_text(items)
        if stack.fortran:
            column = items.reshape(self.count, *shape[::-1]).transpose(0, *range(len(shape), 0, -1))
            return np.ascontiguousarray(column)
        return items.reshape(self.count, *shape)

    def _copied(self, stack: Stack) -> NDArray[Any]:
        """The arrays as of `_stacked`, copied one by one: for large ones that is faster."""
        places = (self.at + self.off).tolist()
        self.off += stack.length
        column = np.empty((self.count, *stack.shape), stack.dtype)
        for row, place in zip(column.reshape(self.count, -1).view(np.uint8), places, strict=True):
            row[:] = self.memory[place : place + stack.length]
        return column


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
