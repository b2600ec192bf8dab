"""The text of a table: its lines as rows of cells, one by one or many at once."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from atdata.errors import LimitError, SampleError
from atdata.importers.cell_blocks import BlockReader, CellBlock, in_blocks
from atdata.importers.files import reading

_SNIFFED = 50  # lines that the delimiter is chosen by
_AT_ONCE = 256  # rows that are looked at together, column by column
_BLOCK = 1 << 24  # characters of those rows, about
_LONGEST = 1 << 25  # characters of a line, and of a cell that has several


@dataclass(frozen=True)
class TextTable:
    """A table in a file.

    Attributes:
        path: the file.
        delimiter: between cells.
        skipped: how many lines come before the names of the columns.
        names: of the columns.
    """

    path: Path
    delimiter: str
    skipped: int = 0
    names: tuple[str, ...] = ()

    def rows(self, names: Sequence[str], comments: list[str]) -> Iterator[tuple[int, list[str]]]:
        """The lines after the names of the columns, each with its number and its cells in the order of `names`.

        Empty lines are no rows. The numbers of those that are comments go into `comments`.
        """
        order = self._order(names)
        with self._lines() as lines:
            self._skip(lines)
            for line, cells in self._sound(lines, comments):
                yield line, [cells[index] for index in order]

    def blocks(self, names: Sequence[str], comments: list[str]) -> Iterator[CellBlock]:
        """The same rows, many at once."""
        order = self._order(names)
        with self._lines() as lines:
            self._skip(lines)
            if not BlockReader.reads(self.delimiter):
                yield from in_blocks(self._sound(lines, comments), order, _AT_ONCE, _BLOCK)
                return
            position, line = lines.position, lines.line_num
        with reading(self.path), self.path.open("rb") as file:
            reader = BlockReader(file, self.delimiter, order, position, line)
            size = file.seek(0, os.SEEK_END)
            while reader.position < size:
                if block := reader.next():
                    yield block
                    continue
                with self._lines(reader.position, reader.line) as lines:
                    yield from itertools.islice(in_blocks(self._sound(lines, comments), order, _AT_ONCE, _BLOCK), 1)
                    reader.position, reader.line = lines.position, lines.line_num

    def _order(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(name) for name in names]

    def _skip(self, lines: Lines) -> None:
        """Past the names of the columns."""
        for _ in itertools.islice(filter(None, lines), self.skipped + 1):
            pass

    def _sound(self, lines: Lines, comments: list[str]) -> Iterator[tuple[int, list[str]]]:
        """Rows that have a cell for each column."""
        width = len(self.names)
        for cells in filter(None, lines):
            if len(cells) != width:
                if cells[0].startswith("#"):
                    comments.append(f"line {lines.line_num}")
                    continue
                raise SampleError(
                    "a line has more or fewer cells than the first",
                    uri=str(self.path),
                    path=f"line {lines.line_num}",
                    expected=f"{width} cells",
                    actual=f"{len(cells)} cells",
                    hint=f"Put quotes around cells that hold {self.delimiter!r} or a line break.",
                )
            yield lines.line_num, cells

    def first(self) -> Iterator[list[str]]:
        """The first few lines that are not empty."""
        with self._lines() as lines:
            yield from itertools.islice(filter(None, lines), _SNIFFED)

    @contextmanager
    def _lines(self, position: int = 0, line: int = 0) -> Iterator[Lines]:
        """The lines from a byte on, before which others were."""
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of this process; others may have raised it more
        with reading(self.path), self.path.open("rb") as file:
            position = position or len(codecs.BOM_UTF8) * (file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8)
            file.seek(position)
            lines = Lines(io.TextIOWrapper(file, "utf-8", newline=""), self, position, line)
            try:
                yield lines
            except csv.Error as error:
                raise SampleError(
                    "a table is malformed",
                    uri=str(self.path),
                    path=f"line {lines.line_num}",
                    actual=str(error),
                    hint="Check the quotes there. Very long cells belong into Parquet.",
                ) from error
            except UnicodeDecodeError as error:
                raise SampleError(
                    "a table is not UTF-8",
                    uri=str(self.path),
                    path=f"after line {lines.line_num}",
                    actual=error.reason,
                    hint="Save it as UTF-8.",
                ) from error


class Lines:
    """Rows of cells, with what they took of the file.

    Attributes:
        position: the byte behind the last row.
    """

    def __init__(self, file: TextIO, table: TextTable, position: int, line: int) -> None:
        self._file, self._path, self.position, self._before = file, table.path, position, line
        self._reader = csv.reader(self._bounded(), delimiter=table.delimiter, strict=True)

    @property
    def line_num(self) -> int:
        """The number of the last line of the last row."""
        return self._before + self._reader.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self._reader

    def _bounded(self) -> Iterator[str]:
        """The lines of the file, none longer than a line may be."""
        while line := self._file.readline(_LONGEST + 1):
            if len(line) > _LONGEST:
                raise LimitError(
                    "a line of a table is too long",
                    uri=str(self._path),
                    expected=f"at most {_LONGEST} characters",
                    hint="Very long cells belong into Parquet.",
                )
            self.position += len(line if line.isascii() else line.encode())
            yield line
