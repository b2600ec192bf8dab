"""Tables as text: CSV, TSV, and others with `;` or `|` between the cells. The first line names the columns.

A column is what all of its cells are: int, float, bool, else text. Text is always what stands in the file.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata.errors import SampleError, UsageError
from atdata.importers import guesses
from atdata.importers.cell_blocks import ANY, CellBlock, ParsedBlock
from atdata.importers.files import Snapshot, passed_over, reading
from atdata.importers.imported import Imported
from atdata.importers.rows import import_values
from atdata.importers.text_table import TextTable
from atdata.importers.wanted import Wanted
from atdata.progress import Progress, progress
from atdata.samples import FieldType, Maybe, Plain, Scalar
from atdata.samples.kinds.scalars import INT_MAX, INT_MIN
from atdata.samples.table import BOOL, FLOAT, INT, STR

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = {"\t": "TSV", ",": "CSV", ";": "CSV with ;", "|": "CSV with |"}

# "007" and "+49" are names of something, not numbers.
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_FLOAT = re.compile(r"(?!-?[0-9]+$)-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"nan|[+-]?inf(?:inity)?", re.IGNORECASE)

# Many cells at once, a line each. What these tell is what is told of each cell: numbers whose text needs no second look,
# and text that is no cell of another kind.
_PLAIN_INT, _PLAIN_FLOAT = r"-?(?:0|[1-9][0-9]{0,14})", r"-?(?:(?:0|[1-9][0-9]{0,99})\.[0-9]*|\.[0-9]+)"
_ALIKE = {
    guesses.INT.core: re.compile(rf"(?:{_PLAIN_INT})?(?:\n(?:{_PLAIN_INT})?)*"),
    guesses.FLOAT.core: re.compile(rf"(?:{_PLAIN_FLOAT}|{_PLAIN_INT})?(?:\n(?:{_PLAIN_FLOAT}|{_PLAIN_INT})?)*"),
}
_TOLD = re.compile(
    r"^(?:-?(?:0|[1-9][0-9]{0,19})|-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?"
    r"|nan|[+-]?inf(?:inity)?|true|false)[^\S\n]*$|^[^\S\n]",
    re.IGNORECASE | re.MULTILINE,
)
_KINDS = {guesses.STR.core: STR, guesses.INT.core: INT, guesses.FLOAT.core: FLOAT, guesses.BOOL.core: BOOL}
_BOOLS = {"true": True, "false": False}
_SEP = re.compile(r'"?sep=(.)"? *', re.IGNORECASE)


def open_files(splits: Mapping[str, Sequence[Path]], wanted: Wanted, uri: str, notes: Sequence[str] = ()) -> Imported:
    """The rows of tables, split after split. All have the same columns.

    An empty cell is `None`, in a column of text it is empty text. A first line `sep=;`, as Excel writes it, names the
    delimiter. Lines that begin with # are comments before the names of the columns, and after them where they do not
    have a cell for each.

    Raises:
        SampleError: a line has more or fewer cells than the first, a quote is never closed, it is not UTF-8, or a table
            has other columns than the first.
        UsageError: the first line names no columns, or no rows follow it.
        LimitError: a line, or a cell, is longer than 32 million characters.
    """
    split_by_path = {path: split for split, paths in splits.items() for path in paths}
    files = Snapshot.of(split_by_path)
    tables = {path: _table(path) for path in split_by_path}
    first = next(iter(tables.values()))
    names, several = first.names, len(tables) > 1
    columns, counts = [_Cells() for _ in names], dict.fromkeys(splits, 0)
    comments: list[str] = []
    with progress("Reading", None, "rows") as bars:
        for path, table in tables.items():
            if sorted(table.names) != sorted(names):
                raise SampleError(
                    "a table has other columns than the first",
                    uri=str(path),
                    expected=f"{', '.join(names)}, as in {first.path.name}"[:200],
                    actual=", ".join(table.names)[:200],
                    hint="Give the path of one of them, or give all the same columns.",
                )
            bars.begin(path.name, None)
            counts[split_by_path[path]] += _look(
                table, names, columns, f"{path.name} " if several else "", comments, bars
            )
    fields, decided = [], [*notes, *passed_over(comments, "comments")]
    for name, column in zip(names, columns, strict=True):
        fields.append(
            (name, Scalar("str") if _is_text(column) or wanted.declares(name) else guesses.settle(column.guess))
        )
        decided += [] if wanted.declares(name) else _describe(name, column)
    parsers = [_parser(kind) for _, kind in fields]

    def blocks(split: str) -> Iterator[ParsedBlock]:
        return (ParsedBlock(block, parsers) for path in splits[split] for block in tables[path].blocks(names, []))

    def read(split: str) -> Iterator[Sequence[Any]]:
        return itertools.chain.from_iterable(block.rows() for block in blocks(split))

    def locate(split: str, number: int) -> tuple[str, str]:
        lines = ((str(path), line) for path in splits[split] for line, _ in tables[path].rows(names, []))
        path, line = next(itertools.islice(lines, number, None))
        return path, f"line {line}"

    found = dict.fromkeys(_DELIMITERS.get(t.delimiter, f"CSV with {t.delimiter}") for t in tables.values())
    kind = f"{'tables' if several else 'table'} ({', '.join(found)})"
    options: dict[str, Any] = {"uri": uri, "counts": counts, "files": files, "notes": decided, "locate": locate}
    return import_values(kind, wanted, fields, read, blocks=blocks, **options)


def _table(path: Path) -> TextTable:
    """A table, with its delimiter and the line on which its rows begin.

    The delimiter is the one that it names itself, or that gives the most columns, of those that give every line as
    many, if there are such.
    """
    if match := _SEP.fullmatch(_first_line(path)):
        return _headed(TextTable(path, match[1]), 1)
    if path.suffix.lower() == ".tsv":
        return _headed(TextTable(path, "\t"))

    def worth(delimiter: str) -> tuple[bool, int]:
        widths, whole = {0}, False
        with suppress(SampleError):  # of quotes, which may make sense with another; or it is for the reader to raise
            for cells in TextTable(path, delimiter).first():
                if not cells[0].startswith("#"):
                    widths.add(len(cells))
            whole = len(widths) == 2 and widths != {0, 1}
        return whole, max(widths)

    return _headed(TextTable(path, max([",", *_DELIMITERS], key=worth)))


def _first_line(path: Path) -> str:
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline(20).rstrip("\r\n")


def _headed(table: TextTable, skipped: int = 0) -> TextTable:
    """The table with the names of its columns: its first line that is no comment.

    A line `#id,name` names the columns where the next has as many cells: many programs write such.
    """
    names: list[str] = []
    begin = skipped
    for cells in itertools.islice(table.first(), skipped, None):
        if not cells[0].startswith("#"):
            if len(names) == len(cells) > 1 and names[0][1:2].strip("# "):
                begin -= 1
            else:
                names = cells
            break
        names, begin = cells, begin + 1
    else:
        names = []
    found = [_guess_of_cell(name) for name in names]
    if any(each in (guesses.FLOAT, guesses.BOOL) for each in found) or guesses.STR not in found:
        raise UsageError(
            "a table's first line does not name its columns",
            uri=str(table.path),
            actual=table.delimiter.join(names)[:80],
            hint="Put the names of the columns into its first line, such as: image,label",
        )
    return replace(table, skipped=begin, names=tuple(names))


@dataclass
class _Cells(guesses.InferredColumn):
    """A column of cells.

    Attributes:
        numbers: whether one of them is a number: in a column without any, NaN is a word.
    """

    numbers: bool = False

    def add_block(self, block: CellBlock, index: int) -> bool:
        """The same of cells of which no objects were made."""
        core = self.guess.core
        kind = ANY if isinstance(core, Plain) else _KINDS.get(core)
        if kind is None or (kind in (INT, FLOAT) and not self.numbers):
            return False
        empty = block.empty(index, kind)
        if empty is None or (empty and not self.guess.optional):
            return False
        self.rows += block.count
        self.empty += empty
        return True

    def add_alike(self, cells: Sequence[str]) -> bool:
        """Take in cells that change nothing but counts, told by few looks at all of them; `False` if it cannot be told."""
        empty = cells.count("")
        core = self.guess.core
        if isinstance(core, Plain):  # once text, a column stays it
            empty = sum(not cell or cell.isspace() for cell in cells)
        else:
            text = "\n".join(cells)
            if text.count("\n") != len(cells) - 1:
                return False
            if core == guesses.STR.core:
                if _TOLD.search(text):
                    return False
            elif not (self.numbers and core in _ALIKE and _ALIKE[core].fullmatch(text)):
                return False
        if empty and not self.guess.optional:
            return False
        self.rows += len(cells)
        self.empty += empty
        return True


def _look(
    table: TextTable, names: Sequence[str], columns: Sequence[_Cells], prefix: str, comments: list[str], bars: Progress
) -> int:
    """Infer the columns from all rows; the number of rows. Equal cells are inferred once in some hundred."""
    count, passed = 0, list[str]()
    for block in table.blocks(names, passed):
        count += block.count
        bars.advance(block.count)
        for index, column in enumerate(columns):
            if column.add_block(block, index):
                continue
            cells = block.cells(index)
            if column.add_alike(cells):
                continue
            for cell, times in Counter(cells).items():

                def where(cell: str = cell, cells: Sequence[str] = cells, block: CellBlock = block) -> str:
                    return f"{prefix}line {block.numbered[cells.index(cell)][0]}"

                _see(column, cell, where, times)
    begin = int(_SEP.fullmatch(_first_line(table.path)) is not None)
    comments += [f"{prefix}{line}" for line in [*(f"line {n + 1}" for n in range(begin, table.skipped)), *passed]]
    return count


def _see(column: _Cells, cell: str, where: Callable[[], str], times: int) -> None:
    """Take in a cell that stands in a column several times."""
    guess = _guess_of_cell(cell)
    if not isinstance(column.guess.core, Plain):  # once text, a column stays it
        column.numbers |= guess in (guesses.INT, guesses.WHOLE) or (
            guess == guesses.FLOAT and not _SPECIAL.fullmatch(cell.strip())
        )
    column.add(guess, where, times)


def _guess_of_cell(cell: str) -> guesses.Guess:
    text = cell.strip()
    if not text:
        return guesses.NONE
    if _INT.fullmatch(text):
        number = int(text)
        return guesses.guess_of_int(number) if INT_MIN <= number <= INT_MAX else guesses.STR
    if text.lower() in _BOOLS:
        return guesses.BOOL
    if _SPECIAL.fullmatch(text):
        return guesses.FLOAT
    return guesses.FLOAT if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else guesses.STR


def _is_text(column: _Cells) -> bool:
    words = column.guess.core == guesses.FLOAT.core and not column.numbers  # NaN, and nothing but NaN
    return (
        words or isinstance(column.guess.core, Plain) or column.guess.core in (guesses.STR.core, guesses.Bound.NOTHING)
    )


def _describe(name: str, column: _Cells) -> list[str]:
    if not _is_text(column):
        return guesses.describe(name, column.guess, column.empty)
    notes = []
    if column.clash is not None:
        first, first_where, second, second_where = column.clash
        notes.append(f"{name}: text, for {first_where} holds {first.core} and {second_where} {second.core}")
    if column.empty:
        notes.append(f"{name}: empty in {guesses.rows(column.empty)}, kept as empty text")
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
