"""The connection behind an address."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from atdata.databases.connection import SqlConnection
from atdata.databases.postgres import PostgresConnection
from atdata.databases.sqlite import SqliteConnection
from atdata.databases.tables import SqlTables
from atdata.errors import UsageError
from atdata.paths import checked_path
from atdata.redaction import Secret, revealed

_EXPECTED = "sqlite:///PATH, postgresql:// or a path"


def open_connection(
    where: str | Path,
    tables: Sequence[SqlTables],
    *,
    what: str = "the database",
    durable: bool = True,
    disposable: bool = False,
    private: bool = False,
) -> SqlConnection:
    """A connection to the database at an address; nothing is dialled before it is used.

    Args:
        where: `sqlite:///PATH`, `postgresql://...`, or the path of a SQLite file.
        tables: what is in it.
        what: what errors call it.
        durable: whether what was written is on disk when a call returns; else the last of it may be lost where the machine
            fails, none of it by half.
        disposable: whether all of it can be had again, so that a file that is damaged is removed, and made anew.
        private: whether a file that is made is for its user alone.

    Raises:
        UsageError: no such database can be there.
    """
    file = _file(where, what)
    if file is None:
        return PostgresConnection(Secret(str(revealed(where))), tables, what=what, durable=durable)
    return SqliteConnection(file, tables, what=what, durable=durable, disposable=disposable, private=private)


def is_there(where: str | Path, *, what: str = "the database") -> bool:
    """True if there is a file at an address of SQLite; of a server only using it can tell.

    Raises:
        UsageError: no such database can be there.
    """
    file = _file(where, what)
    return file is None or stat.S_ISREG(_mode(file))


def _file(where: str | Path, what: str) -> Path | None:
    """The file of SQLite at an address; `None` where that is a server's."""
    if isinstance(where, Path):
        return _no_folder(str(where), where, what)
    text = str(revealed(where))
    scheme, found, place = text.partition("://")
    match scheme.lower() if found else "file":
        case "postgresql" | "postgres":
            return None
        case "sqlite" | "file":
            place = place if found else text
            if not place.strip():
                hint = "Name a file, or leave the address out for the one by default."
                raise UsageError(f"the address of {what} is empty", expected=_EXPECTED, actual=repr(text), hint=hint)
            if found and "?" in place:  # what other programs take for settings, such as ?mode=ro
                hint = "Leave ? and what follows out. A file of such a name is given as a path, without sqlite://."
                raise UsageError(f"the address of {what} has settings", expected=_EXPECTED, actual=text, hint=hint)
            return _no_folder(place, checked_path(place), what)
        case other:
            raise UsageError(f"{what} cannot be kept at {other}://", expected=_EXPECTED)


def _no_folder(text: str, path: Path, what: str) -> Path:
    if text.endswith(("/", os.sep)) or stat.S_ISDIR(_mode(path)):
        hint = "Name a file in it: SQLite keeps all in one, and makes it where there is none."
        raise UsageError(f"{what} cannot be kept in a folder as if that were a file", actual=text, hint=hint)
    return path.absolute()


def _mode(path: Path) -> int:
    """The kind of what is at a path, as `stat` has it; 0 where nothing is, or nobody may look."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
