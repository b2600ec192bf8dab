"""The output of the command line: strangers' text made harmless, tables, pictures, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TextIO

from atdata.errors import (
    AtdataError,
    AuthError,
    ConflictError,
    FieldTypeError,
    IdentifierError,
    LensNotFoundError,
    LimitError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ShardNotFoundError,
    UsageError,
)
from atdata.plain import plain
from atdata.redaction import redacted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_READABLE, _RULE = 12, 3  # characters of a column that can be read, wrapped; and between two
_UNBOUNDED = 1_000_000
_LONGEST = 10_000  # characters of a stranger's text; --json has all of it
_CODES: list[tuple[type[AtdataError] | tuple[type[AtdataError], ...], int]] = [
    (AuthError, 5),
    (NetworkError, 3),
    ((NotFoundError, ShardNotFoundError, LensNotFoundError), 4),
    ((UsageError, LimitError, ConflictError, MissingExtraError, FieldTypeError, IdentifierError), 2),
]


@cache
def console(stderr: bool = False, width: int | None = None) -> Console:
    """The terminal, as wide as it is unless another width is given. Markup in text is off: no data can colour, link or hide."""
    from rich.console import Console  # what prints JSON needs none of rich

    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _page() -> Console:
    """The console for tables: the terminal; elsewhere one that is as wide as they are, so that addresses stay whole."""
    return console() if console().is_terminal or "COLUMNS" in os.environ else console(width=_UNBOUNDED)


class OutputError(Exception):
    """Standard output cannot be written."""


class Output:
    """Standard output. Its `OSError`s become `OutputError`s, so that they are told from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._stream, name)
        return partial(_checked, member) if name in ("write", "flush") else member


def _checked(method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except OSError as error:
        raise OutputError(error.strerror) from error


def line(text: object, style: str = "") -> Text:
    """Text as a part of one line: the only way from text to the terminal."""
    from rich.text import Text

    return Text(plain(text, _LONGEST), style=style)


def say(text: object = "", style: str = "") -> None:
    """Print a line on standard output."""
    console().print(line(text, style))


def say_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str).replace("\x7f", "\\u007f") + "\n")


def announce(url: str, text: str, as_json: bool) -> None:
    """Print on one line where a server answers, now."""
    if as_json:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
    else:
        say(text)
    sys.stdout.flush()


def note(message: Warning | str, *_where: object, **_file: object) -> None:
    """Print a warning on standard error, in one line and without its place in the code."""
    console(stderr=True).print(line(f"note: {'; '.join(redacted(str(message)).split(chr(10)))}", "yellow"))


def exit_code(error: AtdataError) -> int:
    """The exit code of an error: 1 check failed, 2 usage, 3 network, 4 not found, 5 not allowed."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def fail(kind: str, what: str, code: int, as_json: bool) -> int:
    """Print in one line why a command ends, and give its exit code."""
    what = redacted(what)  # it may be of an error that is not ours
    if as_json:
        say_json({"error": kind, "what": what, "exit": code})
    else:
        console(stderr=True).print(line(f"✗ {what}", "bold red"))
    return code


def explain(error: AtdataError, as_json: bool) -> int:
    """Print an error: first what happened, last what to do; and give the exit code."""
    code, terminal = exit_code(error), console(stderr=True)
    if as_json:
        say_json({"error": type(error).__name__, "what": error.what, **error.facts, "hint": error.hint, "exit": code})
        return code
    terminal.print(line(f"✗ {error.what}", "bold red"))
    for name, value in error.facts.items():
        terminal.print(line(f"  {name + ':':10}", "dim"), line(value), sep="")
    if error.hint:
        terminal.print(line(error.hint))
    return code


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title_justify="left", show_edge=False, pad_edge=False, header_style="bold")
    shown.title = None if title is None else line(title, "table.title")
    for column in columns:
        shown.add_column(line(column), overflow="fold")  # an address that is cut leads nowhere
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else line(cell) for cell in row))
    _page().print(shown)


def fitting(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The number of the first columns of a table that can be read side by side on this terminal; at least one."""
    from rich.cells import cell_len

    left = _page().width
    for count, column in enumerate(columns):
        left -= min(_READABLE, max(cell_len(cell) for cell in (column, *(row[count] for row in rows)))) + _RULE
        if count and left < -_RULE:
            return count
    return len(columns)


def facts(pairs: Mapping[str, object]) -> None:
    """Print names and values, one to a line; those without a value are left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value not in (None, "", (), []):
            grid.add_row(line(name, "dim"), line(value))
    _page().print(grid)


def size(count: int | None) -> str:
    """A number of bytes with a unit."""
    if count is None:
        return "unknown"
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.1f} {units[0]}"


def plural(count: int, noun: str) -> str:
    """A count and its noun: `1 shard`, `2 shards`, `2 entries`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"
