"""Decoding of many packed samples to columns at once, without touching a sample in Python.

What samples have in common is learned from one of them. `blocks` decodes what has it with a loop in C, `gather` the
same with numpy. What fits neither is `None` here, and is decoded one by one, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from atdata.samples.blocks import Block, Empty
from atdata.samples.gather import Bytes, Column, Cursor, Ints
from atdata.samples.kinds import Derived, Maybe, Misfit
from atdata.samples.kinds.field import Field
from atdata.samples.template import Arrays, Template, Unlike, learn

FAR = 1 << 16  # as in `_native.c`
_UNFIT = (Unlike, IndexError, ValueError, OverflowError, Misfit)  # ValueError: no text, no array, past the memory


class ColumnDecoder:
    """Decodes samples of one type, or some of their fields.

    Args:
        fields: of the sample type.
        wanted: names of the fields to decode.
        empty: makes uninitialized arrays of a shape and dtype, for the columns of blocks.
    """

    def __init__(self, fields: Sequence[Field], wanted: Sequence[str], empty: Empty = np.empty) -> None:
        self._fields, self._wanted = {field.name: field for field in fields}, tuple(wanted)
        self._derived = [
            (f.name, kind)
            for f in fields
            if f.name in self._wanted
            and isinstance(kind := f.type.inner if isinstance(f.type, Maybe) else f.type, Derived)
        ]
        self._template: Template | None = None  # of the samples decoded last; the next are likely to have the same
        self._empty = empty
        self._native = False  # whether the loop in C decodes them, as far as is known

    @property
    def knows(self) -> bool:
        """True if it has seen a sample."""
        return self._template is not None

    def look(self, sample: bytes) -> None:
        """Learn the template of a sample, which the next are expected to have."""
        with suppress(*_UNFIT):
            self._template, self._native = learn(memoryview(sample), self._fields, self._wanted), True

    @property
    def straight(self) -> int:
        """The bytes of a sample that are read from a file into their column directly."""
        parts = self._template.parts if self._template else ()
        lengths = [part.first.length for part in parts if isinstance(part, Arrays) and part.first]
        return sum(length for length in lengths if length >= FAR)

    def block(self, count: int, least: int) -> Block | None:
        """A block for so many samples, the shortest of which has `least` bytes; `None` where it is not known that they are
        such as the loop in C decodes.
        """
        if self._template is None or not self._native or not count:
            return None
        with suppress(*_UNFIT):
            return Block(self._template, count, least, self._empty)
        self._native = False
        return None

    def finish(self, block: Block) -> dict[str, Column] | None:
        """The columns of a block; `None` as in `decode`."""
        with suppress(*_UNFIT):
            return self._all(block.columns(), block.template, block.count)
        self._native = False
        return None

    def decode(self, memory: Bytes, starts: Ints, sizes: Ints) -> dict[str, Column] | None:
        """Columns of some samples in memory, in the order of `starts`.

        Args:
            memory: bytes that hold the samples, and at least 8 more after the last.
            starts, sizes: where each sample is in `memory`, int64 `[n]`.

        Returns:
            For each wanted field an array `[n, ...]`, `Numbers`, or a list of n values; `None` where the samples have
            no common template, or may be damaged.
        """
        with suppress(*_UNFIT):
            return self._decode(memory, starts, sizes) if len(starts) else None
        return None

    def _decode(self, memory: Bytes, starts: Ints, sizes: Ints) -> dict[str, Column]:
        template = self._template
        found = None if template is None else _natively(memory, starts, sizes, template)
        if found is None or template is None:
            before, template = (
                template,
                learn(memory[starts[0] : starts[0] + sizes[0]].data, self._fields, self._wanted),
            )
            if template != before:
                found = _natively(memory, starts, sizes, template)
            self._template, self._native = template, found is not None
            if found is None:
                found = Cursor(memory, starts, sizes).columns(template)
        return self._all(found, template, len(starts))

    def _all(self, found: Mapping[str, Column], template: Template, count: int) -> dict[str, Column]:
        """The column of each wanted field, or what stands for it where samples of a template lack it."""
        missing = {name: [self._fields[name].missing() for _ in range(count)] for name in template.missing}
        columns = {name: missing[name] if name in missing else found[name] for name in self._wanted}
        for name, kind in self._derived:
            if name not in missing:
                columns[name] = kind.column(columns[name])
        return columns


def _natively(memory: Bytes, starts: Ints, sizes: Ints, template: Template) -> dict[str, Column] | None:
    """The columns, if all samples have the template and it holds nothing unusual."""
    with suppress(Unlike):
        block = Block(template, len(starts), int(sizes.min()))
        block.add(memory, starts, sizes, 0)
        return block.columns()
    return None
