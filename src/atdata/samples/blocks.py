"""Blocks of samples to columns, with the loop in C (`_native.c`), where this machine could compile it."""

from __future__ import annotations

import itertools
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.native import native
from atdata.samples.forms import Numbers
from atdata.samples.gather import DTYPES, Bytes, Column, Ints
from atdata.samples.kinds import ScalarKind
from atdata.samples.npy import check_text
from atdata.samples.template import Arrays, Scalars, Skipped, Template, Unlike

Empty: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Makes an uninitialized array."""

_POOLED = 1 << 20  # bytes; less than that is had from malloc

_MAX_STEPS = 1024  # of a loop that does not say it

_SAME, _COPY, _VALUE, _SKIP, _NUMBER, _MASKED = range(6)
_KIND_NUMBERS: dict[ScalarKind, int] = {"int": 0, "float": 1, "str": 2, "bytes": 3, "bool": 4}


class Block:
    """Samples of one template, from any number of sources.

    Args:
        template: that all must have.
        count: how many there are.
        least: bytes of the shortest. No item of a column is larger.
        empty: for columns of arrays.

    Raises:
        Unlike: the loop does not know all that is in the template, or takes no so many fields, or was not compiled.
    """

    def __init__(self, template: Template, count: int, least: int, empty: Empty = np.empty) -> None:
        if native is None:
            raise Unlike
        self.template, self.count = template, count
        self._begin, self._result = native.begin, native.result
        self._jobs: list[tuple[int | Ints, object]] = []
        self._columns: dict[str, NDArray[Any] | Numbers] = {}
        self._lists: list[str] = []
        instructions: list[tuple[object, ...]] = []
        for part in template.parts:
            if isinstance(part, Skipped):
                instructions += (_SAME, part.before), (_SKIP, part.declared)
            elif isinstance(part, Scalars) and not part.optional and part.kind in DTYPES:
                numbers = np.empty(count, DTYPES[part.kind])
                instructions += (_SAME, part.before), (_NUMBER, _KIND_NUMBERS[part.kind], numbers)
                self._columns[part.name] = Numbers(numbers)
            elif isinstance(part, Scalars) and part.kind in DTYPES and hasattr(native, "MASKED"):
                raw = np.empty(count * (np.dtype(DTYPES[part.kind]).itemsize + 1), np.uint8)
                instructions += (_SAME, part.before), (_MASKED, _KIND_NUMBERS[part.kind], raw)
                self._columns[part.name] = Numbers(raw[:-count].view(DTYPES[part.kind]), raw[-count:].view(bool))
            elif isinstance(part, Scalars):
                instructions += (_SAME, part.before), (_VALUE, _KIND_NUMBERS[part.kind], part.optional)
                self._lists.append(part.name)
            else:
                instructions += self._array(part, least, empty)
        self._instructions = (*instructions, (_SAME, template.after))
        if len(self._instructions) > getattr(native, "MAX_STEPS", _MAX_STEPS):
            raise Unlike

    def _array(self, part: Arrays, least: int, empty: Empty) -> Iterable[tuple[object, ...]]:
        stack = part.first
        if stack is None or stack.fortran or stack.dtype.subdtype or stack.length > least:
            raise Unlike
        items = self._columns[part.name] = empty((self.count, *stack.shape), stack.dtype)
        raw = items.reshape(-1).view(np.uint8).reshape(self.count, stack.length)
        return (_SAME, part.before + stack.header), (_COPY, raw, stack.length)

    def add(self, source: int | Bytes, starts: Ints, sizes: Ints, rows: int | Ints) -> None:
        """Add some of the samples. Those in memory are decoded now, those in a file by another thread.

        Args:
            source: memory, or the descriptor of a file, which may be closed afterwards.
            starts, sizes: where each sample is in it, int64 `[n]`.
            rows: in which row of the block each belongs, int64 `[n]`; or from which one on they follow each other, and
                then those that are added after them come after them.
        """
        self._jobs.append((rows, self._begin(source, starts, sizes, self._instructions, rows)))

    def columns(self) -> dict[str, Column]:
        """Each column, once all are done.

        Raises:
            Unlike: some sample has another template, a file ends before it, or a text is none.
            ValueError: an array holds text that is none.
        """
        parts = [(rows, self._result(job)) for rows, job in self._jobs]
        if any(lists is None for _, lists in parts):
            raise Unlike
        for column in self._columns.values():
            if isinstance(column, np.ndarray):
                check_text(column)
        lists = (self._joined([(rows, lists[number]) for rows, lists in parts]) for number in range(len(self._lists)))
        return self._columns | dict(zip(self._lists, lists, strict=True))

    def _joined(self, parts: list[tuple[int | Ints, list[Any]]]) -> list[Any]:
        if len(parts) == 1 and isinstance(parts[0][0], int):
            return parts[0][1]
        if all(isinstance(rows, int) for rows, _ in parts):
            return list(itertools.chain.from_iterable(part for _, part in parts))
        whole = np.empty(self.count, object)
        for rows, part in parts:
            values = np.fromiter(part, object, len(part))
            whole[slice(rows, rows + len(part)) if isinstance(rows, int) else rows] = values
        joined: list[Any] = whole.tolist()
        return joined


class BufferPool:
    """A pool of buffers of columns that are no longer referenced: reusing one is much faster than new pages."""

    def __init__(self) -> None:
        self._blocks: deque[Bytes] = deque(maxlen=4)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array, uninitialized."""
        size = math.prod(shape) * dtype.itemsize
        if size < _POOLED:
            return np.empty(shape, dtype)
        for block in self._blocks:
            if len(block) == size and sys.getrefcount(block) == _IDLE:  # no array lies in it
                return block.view(dtype).reshape(shape)
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1].view(dtype).reshape(shape)


def _references_of_an_idle_block() -> int:
    """The number of references to a block while the pool looks at it; Python versions count differently."""
    for block in deque([np.empty(1, np.uint8)]):
        return sys.getrefcount(block)
    raise AssertionError


_IDLE = _references_of_an_idle_block()
