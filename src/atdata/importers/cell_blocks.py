"""Rows of a table's text, many at once.

Python's csv module says what their cells are, and `delimited` what those hold. Where this machine could compile the loops
in C, they tell the same of most rows without making an object of each cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.native import native
from atdata.samples import FieldType, Maybe
from atdata.samples.table import BOOL, FLOAT, INT, STR, TableColumn, column_kind

ANY = 4  # of cells of several kinds
_TEXT = 1 << 18  # bytes of text that are looked at together
_ROWS = 1 << 13  # and the most rows of them
_FIRST = 256  # rows that tell what most columns hold
_DTYPES = {INT: np.int64, FLOAT: np.float64, BOOL: np.uint8}

Numbered: TypeAlias = list[tuple[int, list[str]]]
"""Rows: the number of the line on which each ends, and its cells."""


@dataclass(frozen=True)
class _Found:
    """Cells that the loop in C found.

    Attributes:
        content: of all cells, row after row, UTF-8.
        bounds: where each begins, and where the last ends.
        width: cells of a row.
    """

    content: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    width: int


class CellBlock:
    """Some rows of a table.

    Attributes:
        count: how many rows.
    """

    def __init__(self, count: int, number: Callable[[], Numbered], order: Sequence[int], found: _Found | None = None):
        self.count, self._number, self._order, self._found = count, number, order, found

    @cached_property
    def numbered(self) -> Numbered:
        """The rows, cells in the order that was asked for."""
        return [(line, [cells[index] for index in self._order]) for line, cells in self._number()]

    def cells(self, index: int) -> list[str]:
        """The cells of a column."""
        return [cells[index] for _, cells in self.numbered]

    def empty(self, index: int, kind: int) -> int | None:
        """The number of empty cells of a column, if all others are sure to be of a kind, or white space where it is ANY."""
        if self._found is None or native is None:
            return None
        found = self._found
        count = native.count_empty(found.content, found.bounds, found.width, self._order[index], kind)
        return None if count < 0 else count

    def column(self, index: int, kind: FieldType) -> TableColumn | None:
        """See `TableBlock`."""
        code = column_kind(kind)
        if self._found is None or native is None or code is None:
            return None
        found, place = self._found, self._order[index]
        if code == STR:
            begin = np.ascontiguousarray(found.bounds[place : -1 : found.width])
            end = np.ascontiguousarray(found.bounds[place + 1 :: found.width])
            return TableColumn(STR, found.content, begin, end)
        values, missing = np.empty(self.count, _DTYPES[code]), np.empty(self.count, np.uint8)
        whole = native.parse_cells(found.content, found.bounds, found.width, place, code, values, missing)
        if not whole or (not isinstance(kind, Maybe) and missing.any()):
            return None
        return TableColumn(code, values, missing=missing)


def in_blocks(rows: Iterator[tuple[int, list[str]]], order: Sequence[int], most: int, size: int) -> Iterator[CellBlock]:
    """Rows that are found one by one, as blocks of at most so many, and about so many characters."""
    while True:
        block: Numbered = []
        held = 0
        while len(block) < most and held < size and (row := next(rows, None)):
            block.append(row)
            held += sum(map(len, row[1]))
        if not block:
            return
        yield CellBlock(len(block), lambda block=block: block, order)  # type: ignore[misc]


class BlockReader:
    """Finds the cells of many rows at once, up to one that it leaves to others.

    Attributes:
        position: the byte at which the next row begins.
        line: how many lines were before it.
    """

    def __init__(self, file: BinaryIO, delimiter: str, order: Sequence[int], position: int, line: int) -> None:
        self._file, self._delimiter, self._order = file, delimiter, order
        self.position, self.line, self._most = position, line, _FIRST

    @staticmethod
    def reads(delimiter: str) -> bool:
        """True if it can tell cells with such a delimiter between them."""
        return native is not None and delimiter.isascii() and delimiter not in '"\r\n'

    def next(self) -> CellBlock | None:
        """The next rows; without any, what comes next is for others, or there is nothing."""
        assert native is not None, "`reads` has told so"
        width = len(self._order)
        self._file.seek(self.position)
        text = self._file.read(_TEXT)
        bounds = np.empty(min(self._most, len(text)) * width + 1, np.int64)
        content = np.empty(len(text), np.uint8)
        last = len(text) < _TEXT
        self._most = _ROWS
        rows, taken = native.table_cells(text, ord(self._delimiter), width, last, bounds, content)
        part, line = text[:taken], self.line
        if not part.isascii():
            try:
                part.decode()
            except UnicodeDecodeError:
                return None
        self.position += taken
        self.line += part.count(b"\n")  # what another \r ends is left to others
        if not rows:
            return None

        def number() -> Numbered:
            lines = csv.reader(io.StringIO(part.decode(), newline=""), delimiter=self._delimiter, strict=True)
            return [(line + lines.line_num, cells) for cells in filter(None, lines)]

        bounds = bounds[: rows * width + 1]
        return CellBlock(rows, number, self._order, _Found(content, bounds, width))


@dataclass(frozen=True)
class ParsedBlock:
    """Some rows of a table, parsed: `TableBlock`.

    Attributes:
        block: the rows.
        parsers: gives the value of a cell, one for each column.
    """

    block: CellBlock
    parsers: Sequence[Callable[[str], Any]]

    def __len__(self) -> int:
        return self.block.count

    def column(self, index: int, kind: FieldType) -> TableColumn | None:
        """See `TableBlock`."""
        return self.block.column(index, kind)

    def rows(self) -> Iterable[Sequence[Any]]:
        """See `TableBlock`."""
        cells = zip(*(cells for _, cells in self.block.numbered), strict=True)
        columns = [
            column if parse is str else map(parse, column) for parse, column in zip(self.parsers, cells, strict=True)
        ]
        return zip(*columns, strict=True)
