"""Many packed samples to columns at once, without touching a sample in Python.

One comparison proves what all samples share, and one gather copies an array field of all of them into a column. What
does not fit is `None` here, and is decoded one by one, with the same result. Where this machine could compile
`_native.c`, its loop does the same faster; what it leaves comes back here.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.native import native
from atdata.samples.batch import Numbers
from atdata.samples.codec import Misfit, decoder
from atdata.samples.fields import Field, ScalarKind
from atdata.samples.layout import (
    BODY,
    HEAD,
    KINDS,
    NIL,
    TRUE,
    UINT64,
    Arrays,
    Layout,
    Scalars,
    Skipped,
    Stack,
    Unlike,
    learn,
    table,
)
from atdata.samples.npy import check_text

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Column: TypeAlias = "NDArray[Any] | Numbers | list[Any]"
Read: TypeAlias = Callable[[Sequence[Bytes], Sequence[int]], None]

Empty: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]

HANDS = min(4, os.cpu_count() or 1)
_HANDFUL = 1 << 20  # bytes that are worth a hand of their own
LARGE = 1 << 13  # arrays of at least this many bytes are copied one by one, straight to where they are wanted
FAR = 1 << 16  # as in `_native.c`


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples in one file.

    Attributes:
        file: its descriptor.
        starts, sizes: where each sample is in it, int64 `[n]`.
    """

    file: int
    starts: Ints
    sizes: Ints

    def split(self, parts: int) -> list[Piece]:
        """As some pieces that are about as large as each other."""
        cuts = [len(self.starts) * part // parts for part in range(parts + 1)]
        return [Piece(self.file, self.starts[a:b], self.sizes[a:b]) for a, b in itertools.pairwise(cuts) if a < b]


@dataclass(frozen=True, eq=False)
class Rows:
    """Large arrays of one kind, where they are: a column that is not copied yet.

    Attributes:
        read: fills arrays with the bytes from some places on.
        at: the place of each.
        dtype, shape: of each.
    """

    read: Read
    at: Ints
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def length(self) -> int:
        """Bytes of each."""
        return self.dtype.itemsize * math.prod(self.shape)

    def write(self, column: NDArray[Any], places: Sequence[int] | Ints, hands: Executor | None = None) -> None:
        """Bring them to places in a column of shape `[n, *shape]`, C-contiguous; many with several `hands`."""
        raw, starts = column.reshape(len(column), -1).view(np.uint8), self.at.tolist()

        def some(first: int, stop: int) -> None:
            self.read([raw[place] for place in places[first:stop]], starts[first:stop])

        parts = min(HANDS, len(starts) * raw.shape[1] // _HANDFUL) if hands else 0
        if hands is None or parts < 2:
            some(0, len(starts))
            return
        cuts = [len(starts) * part // parts for part in range(parts + 1)]
        deque(hands.map(some, cuts, cuts[1:]), maxlen=0)


class ColumnDecoder:
    """Decodes samples of one type, or some of their fields.

    Args:
        fields: of the sample type.
        wanted: names of the fields to decode.
        empty: makes uninitialized arrays of a shape and dtype, for columns that are read out of files.
    """

    def __init__(self, fields: Sequence[Field], wanted: Sequence[str], empty: Empty = np.empty) -> None:
        self._fields, self._wanted = {field.name: field for field in fields}, tuple(wanted)
        self._layout: Layout | None = None  # of the samples decoded last; the next are likely to have the same
        self._empty = empty
        self._native = False  # whether the loop in C decoded them

    def decode(
        self, memory: Bytes, starts: Ints, sizes: Ints, read: Read | None = None
    ) -> dict[str, Column | Rows] | None:
        """Columns of some samples in memory, in the order of `starts`.

        Args:
            memory: bytes that hold the samples, and at least 8 more after the last.
            starts, sizes: where each sample is in `memory`, int64 `[n]`.
            read: a way to its bytes that large arrays take instead of being copied out of `memory`.

        Returns:
            For each wanted field an array `[n, ...]`, `Numbers`, a list of n values, or `Rows`; `None` where the samples have no
            common layout, or may be damaged.
        """
        if not len(starts):
            return None
        try:
            columns = self._decode(memory, starts, sizes)
        except _UNFIT:
            return None
        if read:
            columns = {n: replace(c, read=read) if isinstance(c, Rows) else c for n, c in columns.items()}
        return columns

    def _decode(self, memory: Bytes, starts: Ints, sizes: Ints) -> dict[str, Column | Rows]:
        layout = self._layout
        found = None if layout is None else _decode_natively(memory, starts, sizes, layout)
        if found is None or layout is None:
            before, layout = layout, learn(memory[starts[0] : starts[0] + sizes[0]].data, self._fields, self._wanted)
            if layout != before:
                found = _decode_natively(memory, starts, sizes, layout)
            self._layout, self._native = layout, found is not None
            if found is None:
                found = _Cursor(memory, starts, sizes).columns(layout)
        return self._all(found, layout, len(starts))

    @property
    def reads(self) -> bool:
        """Whether files may be read (`reading`): samples like those that were decoded last are decoded by the loop in C."""
        return self._native and self._layout is not None

    @property
    def knows(self) -> bool:
        """Whether it has seen a sample."""
        return self._layout is not None

    def look(self, sample: bytes) -> None:
        """Expect that samples are like this one."""
        with suppress(*_UNFIT):
            self._layout, self._native = learn(memoryview(sample), self._fields, self._wanted), native is not None

    @property
    def straight(self) -> int:
        """Bytes of a sample that go straight from a file to their column."""
        steps = self._layout.steps if self._layout else ()
        lengths = [step.first.length for step in steps if isinstance(step, Arrays) and step.first]
        return sum(length for length in lengths if length >= FAR)

    def reading(self, pieces: Sequence[Piece], hands: Executor | None = None) -> Callable[[], Raw | None]:
        """What does the same with files, one after the other, or with several `hands`. Where no sample was seen before, it
        gives `None` too.

        Any thread may call it, and hardly holds up others.
        """
        plan, layout = None, self._layout
        counts = [len(piece.starts) for piece in pieces]
        if native is not None and layout is not None:
            with suppress(*_UNFIT):
                least = min(int(piece.sizes.min()) for piece in pieces)
                plan = _Plan.of(layout, sum(counts), least, None, self._empty)
        cuts = itertools.pairwise(itertools.accumulate(counts, initial=0))
        work = [(p.file, p.starts, p.sizes, plan.some(*cut)) for p, cut in zip(pieces, cuts, strict=True) if plan]

        def read() -> Raw | None:
            parts = [part for part in (hands.map if hands else map)(_decode_piece, work) if part is not None]
            if plan and layout and len(parts) == len(pieces):
                with suppress(*_UNFIT):
                    plan.check()
                    return Raw(layout, sum(counts), plan.columns, plan.lists, parts)
            self._native = False
            return None

        return read

    def finish(self, raw: Raw) -> dict[str, Column] | None:
        """The columns of what was read; `None` as above."""
        try:
            return self._all(raw.columns | raw.lists(), raw.layout, raw.count)
        except _UNFIT:
            self._native = False
            return None

    def _all(self, found: Mapping[str, Any], layout: Layout, count: int) -> dict[str, Any]:
        """What was found for each wanted field, or what stands for it where samples of a layout lack it."""
        missing = {name: [self._fields[name].missing() for _ in range(count)] for name in layout.missing}
        return {name: missing[name] if name in missing else found[name] for name in self._wanted}


_UNFIT = (Unlike, IndexError, ValueError, OverflowError, Misfit)  # ValueError: no text, no array, past the memory
_SAME, _COPY, _PLACE, _VALUE, _SKIP, _NUMBER = range(6)
_KIND_NUMBERS: dict[ScalarKind, int] = {"int": 0, "float": 1, "str": 2, "bytes": 3, "bool": 4}


_DTYPES: dict[ScalarKind, str] = {"int": "=i8", "float": "=f8", "bool": "?"}


def _decode_natively(memory: Bytes, starts: Ints, sizes: Ints, layout: Layout) -> dict[str, Column | Rows] | None:
    """The columns of samples that all have a layout, if they do, and the layout holds nothing unusual."""
    if native is None or (plan := _Plan.of(layout, len(starts), int(sizes.min()), memory)) is None:
        return None
    values = native.decode(memory, starts, sizes, plan.steps)
    if values is None:
        return None
    plan.check()
    return plan.columns | dict(zip((name for name, _ in plan.lists), values, strict=True))


def _decode_piece(work: tuple[Any, ...]) -> list[bytearray] | None:
    assert native is not None
    part: list[bytearray] | None = native.decode(*work)
    return part


@dataclass(frozen=True, eq=False)
class Raw:
    """Samples that the loop in C has decoded. Texts, bytes, and numbers that may be missing are no objects yet.

    Attributes:
        layout: of the samples.
        count: how many there are.
        columns: those that are done.
        names: of the other columns, with their kinds.
        parts: of each file, all texts and bytes, then the cells of each of these columns.
    """

    layout: Layout
    count: int
    columns: dict[str, Any]
    names: list[tuple[str, int]]
    parts: list[list[bytearray]]

    def lists(self) -> dict[str, list[Any]]:
        """The columns that were not done.

        Raises:
            ValueError: some of it is no text.
        """
        assert native is not None
        found: dict[str, list[Any]] = {name: [] for name, _ in self.names}
        for texts, *columns in self.parts:
            for (name, kind), cells in zip(self.names, columns, strict=True):
                found[name] += native.values(kind, texts, cells)
        return found


@dataclass(frozen=True, eq=False)
class _Plan:
    """What the loop in C is to do for each sample.

    Attributes:
        steps: for `native.decode`.
        columns: those that it fills, or finds.
        lists: the names and kinds of those that it gives.
    """

    steps: tuple[tuple[object, ...], ...]
    columns: dict[str, Any]
    lists: list[tuple[str, int]]

    @classmethod
    def of(cls, layout: Layout, count: int, least: int, memory: Bytes | None, empty: Empty = np.empty) -> _Plan | None:
        """The plan for samples of a layout, the shortest of which has `least` bytes; large arrays stay in `memory`."""
        columns: dict[str, Any] = {}
        steps, lists = list[tuple[object, ...]](), list[tuple[str, int]]()
        for step in layout.steps:
            if isinstance(step, Skipped):
                steps += (_SAME, step.before), (_SKIP, step.declared)
            elif isinstance(step, Scalars) and not step.optional and step.kind in _DTYPES:
                numbers = np.empty(count, _DTYPES[step.kind])
                steps += (_SAME, step.before), (_NUMBER, _KIND_NUMBERS[step.kind], numbers)
                columns[step.name] = Numbers(numbers)
            elif isinstance(step, Scalars):
                steps += (_SAME, step.before), (_VALUE, _KIND_NUMBERS[step.kind], step.optional)
                lists.append((step.name, _KIND_NUMBERS[step.kind]))
            elif (stack := step.first) is None or stack.fortran or stack.dtype.subdtype or stack.length > least:
                return None
            else:
                steps.append((_SAME, step.before + stack.header))
                if memory is not None and _large(stack):
                    at = np.empty(count, np.int64)
                    steps.append((_PLACE, at, stack.length))
                    columns[step.name] = Rows(partial(_copy, memory), at, stack.dtype, stack.shape)
                else:
                    items = empty((count, *stack.shape), stack.dtype)
                    steps.append((_COPY, items.reshape(-1).view(np.uint8).reshape(count, stack.length), stack.length))
                    columns[step.name] = items
        return cls((*steps, (_SAME, layout.after)), columns, lists)

    def some(self, first: int, stop: int) -> tuple[tuple[object, ...], ...]:
        """The steps for some of the samples."""

        def cut(value: object) -> object:
            return value[first:stop] if isinstance(value, np.ndarray) else value

        return tuple(tuple(map(cut, step)) for step in self.steps)

    def check(self) -> None:
        """Look at what was copied, where not all bytes are values.

        Raises:
            ValueError: it is no text.
        """
        for column in self.columns.values():
            if isinstance(column, np.ndarray):
                check_text(column)


def _copy(memory: Bytes, rows: Sequence[Bytes], starts: Sequence[int]) -> None:
    for row, start in zip(rows, starts, strict=True):
        row[:] = memory[start : start + len(row)]


def _large(stack: Stack) -> bool:
    return stack.length >= LARGE and not stack.fortran and stack.dtype.kind in "biufcmM"


_NUMBERS = dict(zip(range(0xCB, 0xD4), (">f8", ">u1", ">u2", ">u4", ">u8", ">i1", ">i2", ">i4", ">i8"), strict=True))
_SMALL = table(0, *((n, n, n) for n in range(128)), *((256 + n, 256 + n, n) for n in range(-32, 0)))
_SHIFT = np.where(BODY > 0, 64 - 8 * BODY.clip(0, 8), 0)
_SIGNED = table(0, (0xD0, 0xD3, 1)).astype(bool)
_SHORT = 32


class _Cursor:
    """A place in each sample, which moves through all of them field by field: `at + off`."""

    def __init__(self, memory: Bytes, starts: Ints, sizes: Ints) -> None:
        self.memory, self.at, self.off = memory, starts, 0
        self.count, self.ends, self.least = len(starts), starts + sizes, int(sizes.min())

    def columns(self, layout: Layout) -> dict[str, Column | Rows]:
        """The columns of the fields in the layout, if all samples have it."""
        found: dict[str, Column | Rows] = {}
        for step in layout.steps:
            match step:
                case Skipped(before, declared):
                    self._expect(before)
                    self._skip(declared)
                case Scalars(before, name, kind, optional):
                    self._expect(before)
                    found[name] = self._scalars(kind, optional)
                case Arrays(_, name):
                    found[name] = self._arrays(step)
        self._expect(layout.after)
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
        """Go past bytes that all samples must have here."""
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
        """Where the payload of each value is, and how long."""
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
        """Go past a value of any kind. What no field declares must still be text where it says so."""
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
            return Numbers(numbers.astype(_DTYPES[kind])) if fits else numbers.tolist()
        start, length = self._extents(tokens, one, kind, optional)
        values = self._values(kind, tokens, start, length)
        self._go(start + length)
        if optional and NIL in (missing := tokens.tobytes()):
            every = values.array.tolist() if isinstance(values, Numbers) else values
            return [None if token == NIL else value for value, token in zip(every, missing, strict=True)]
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
        room = int(start.max()) + longest <= len(self.memory)
        if longest and room and longest * len(start) <= 4 * total + _SHORT * len(start):
            rows = self._gather(f"V{longest}", at=start)
            texts = _short(rows, length, total) if longest <= _SHORT else _long(rows, length)
            if texts is not None:
                return texts
        whole = self.memory.data
        return [str(whole[a:b], "utf-8") for a, b in zip(start.tolist(), (start + length).tolist(), strict=True)]

    def _arrays(self, step: Arrays) -> Column | Rows:
        """An array field: stacked where all are stored like the first, else a list."""
        if step.first is not None:
            same = step.before + step.first.header
            if (self.at + (self.off + len(same)) <= self.ends).all():
                if self._take(len(same)).tobytes() == same * self.count:
                    return self._stacked(step.first)
                self.off -= len(same)
        self._expect(step.before)
        tokens, one = self._tokens()
        start, lengths = self._extents(tokens, one, "bytes", step.optional)
        self._go(start + lengths)
        decode = decoder(step.declared)
        return [
            None if token == NIL else decode(payload)
            for payload, token in zip(self._payloads(start, lengths), tokens.tobytes(), strict=True)
        ]

    def _stacked(self, stack: Stack) -> NDArray[Any] | Rows:
        length, shape = stack.length, stack.shape
        if _large(stack) and length <= self.least:
            rows = Rows(partial(_copy, self.memory), self.at + self.off, stack.dtype, shape)
            self.off += length
            return rows
        items: NDArray[Any] = self._take(length).view(stack.dtype) if length else np.empty(0, stack.dtype)
        check_text(items)
        if stack.fortran:
            column = items.reshape(self.count, *shape[::-1]).transpose(0, *range(len(shape), 0, -1))
            return np.ascontiguousarray(column)
        return items.reshape(self.count, *shape)


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
