"""Tables as text: CSV, TSV, and others with `;` or `|` between the cells. The first line names the columns.

A column is what all of its cells are: int, float, bool, else text. Text is always what stands in the file.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atdata.errors import SampleError, UsageError
from atdata.importers.files import Snapshot, reading
from atdata.importers.imported import Imported, import_values
from atdata.importers.infer import BOOL, FLOAT, NONE, STR, Bound, Column, Guess, describe, guess_of_int, rows, settle
from atdata.samples import FieldType, Maybe, Plain, Scalar
from atdata.samples.codec import INT_MAX, INT_MIN

_DELIMITERS = {"\t": "TSV", ",": "CSV", ";": "CSV with ;", "|": "CSV with |"}
_SNIFFED = 50  # lines that the delimiter is chosen by
_AT_ONCE = 256  # rows that are looked at together, column by column

# "007" and "+49" are names of something, not numbers.
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_FLOAT = re.compile(r"(?!-?[0-9]+$)-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"nan|[+-]?inf(?:inity)?", re.IGNORECASE)
_BOOLS = {"true": True, "false": False}


def open_csv(path: Path, type_name: str) -> Imported:
    """The rows of a table.

    An empty cell is `None`, in a column of text it is empty text.

    Raises:
        SampleError: a line has more or fewer cells than the first, a quote is never closed, or it is not UTF-8.
        UsageError: the first line names no columns, or no rows follow it.
    """
    files = Snapshot.of([path])
    table = _Table(path, _delimiter(path))
    names = table.header()
    columns, count = _look(table, len(names))
    fields, notes = [], []
    for name, column in zip(names, columns, strict=True):
        fields.append((name, _field_type(column)))
        notes += _describe(name, column)
    parsers = [_parser(kind) for _, kind in fields]

    def read() -> Iterator[list[Any]]:
        for _, cells in table.rows():
            yield [parse(cell) for parse, cell in zip(parsers, cells, strict=True)]

    kind = f"table ({_DELIMITERS[table.delimiter]})"
    return import_values(kind, type_name, fields, read, uri=str(path), count=count, files=files, notes=notes)


@dataclass(frozen=True)
class _Table:
    path: Path
    delimiter: str

    def header(self) -> list[str]:
        """The names of the columns."""
        with self._lines() as lines:
            names: list[str] = next((cells for cells in lines if cells), [])
        guesses = [_guess_of_cell(name) for name in names]
        if any(guess in (FLOAT, BOOL) for guess in guesses) or not any(guess == STR for guess in guesses):
            raise UsageError(
                "a table whose first line names no columns",
                uri=str(self.path),
                actual=self.delimiter.join(names)[:80],
                hint="Put the names of the columns into its first line, such as: image,label",
            )
        return names

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The lines after the header, each with its number; empty ones are no rows."""
        width = 0
        with self._lines() as lines:
            for cells in lines:
                if cells and width and len(cells) != width:
                    raise SampleError(
                        "a line with more or fewer cells than the first",
                        uri=str(self.path),
                        path=f"line {lines.line_num}",
                        expected=f"{width} cells",
                        actual=f"{len(cells)} cells",
                        hint=f"Put quotes around cells that hold {self.delimiter!r} or a line break.",
                    )
                if cells and width:
                    yield lines.line_num, cells
                width = width or len(cells)

    def first(self) -> Iterator[list[str]]:
        """The first few lines, with the header."""
        with self._lines() as lines:
            yield from (cells for cells in itertools.islice(lines, _SNIFFED) if cells)

    @contextmanager
    def _lines(self) -> Iterator[Any]:
        with reading(self.path), self.path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=self.delimiter, strict=True)
            try:
                yield lines
            except csv.Error as error:
                raise SampleError(
                    "a table that cannot be read",
                    uri=str(self.path),
                    path=f"line {lines.line_num}",
                    actual=str(error),
                    hint="Check the quotes there. Very long cells belong into Parquet.",
                ) from error
            except UnicodeDecodeError as error:
                raise SampleError(
                    "a table that is not UTF-8",
                    uri=str(self.path),
                    path=f"after line {lines.line_num}",
                    actual=error.reason,
                    hint="Save it as UTF-8.",
                ) from error


def _delimiter(path: Path) -> str:
    """The delimiter that gives the most columns, of those that give every line as many, if there are such."""
    if path.suffix.lower() == ".tsv":
        return "\t"

    def worth(delimiter: str) -> tuple[bool, int]:
        widths, whole = {0}, False
        with suppress(SampleError):  # of quotes, which may make sense with another; or it is for the reader to raise
            for cells in _Table(path, delimiter).first():
                widths.add(len(cells))
            whole = len(widths) == 2 and widths != {0, 1}
        return whole, max(widths)

    return max([",", *_DELIMITERS], key=worth)


def _look(table: _Table, width: int) -> tuple[list[Column], int]:
    """Take in all rows. Cells that are alike are looked at once in some hundred."""
    columns, count = [Column() for _ in range(width)], 0
    numbered = table.rows()
    while block := list(itertools.islice(numbered, _AT_ONCE)):
        count += len(block)
        for column, cells in zip(columns, zip(*(cells for _, cells in block), strict=True), strict=True):
            for cell, times in Counter(cells).items():

                def where(cell: str = cell, cells: Sequence[str] = cells) -> str:
                    return f"line {block[cells.index(cell)][0]}"

                column.add(_guess_of_cell(cell), where, times)
    return columns, count


def _guess_of_cell(cell: str) -> Guess:
    text = cell.strip()
    if not text:
        return NONE
    if _INT.fullmatch(text):
        number = int(text)
        return guess_of_int(number) if INT_MIN <= number <= INT_MAX else STR
    if text.lower() in _BOOLS:
        return BOOL
    if _SPECIAL.fullmatch(text):
        return FLOAT
    return FLOAT if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else STR


def _is_text(column: Column) -> bool:
    return isinstance(column.guess.core, Plain) or column.guess.core in (STR.core, Bound.NOTHING)


def _field_type(column: Column) -> FieldType:
    return Scalar("str") if _is_text(column) else settle(column.guess)


def _describe(name: str, column: Column) -> list[str]:
    if not _is_text(column):
        return describe(name, column.guess, column.empty)
    notes = []
    if column.clash is not None:
        first, first_where, second, second_where = column.clash
        notes.append(f"{name}: text, for {first_where} holds {first.core} and {second_where} {second.core}")
    if column.empty:
        notes.append(f"{name}: empty in {rows(column.empty)}, kept as empty text")
    return notes


def _parser(field_type: FieldType) -> Callable[[str], Any]:
    match field_type:
        case Maybe(inner):
            parse = _parser(inner)
            return lambda cell: parse(cell) if cell.strip() else None
        case Scalar("int"):
            return int
        case Scalar("float"):
            return float
        case Scalar("bool"):
            return lambda cell: _BOOLS[cell.strip().lower()]
    return str
