"""The connection behind an address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atdata.databases.connection import SqlConnection
from atdata.databases.postgres import PostgresConnection
from atdata.databases.sqlite import SqliteConnection
from atdata.databases.tables import SqlTables
from atdata.errors import UsageError
from atdata.paths import checked_path
from atdata.redaction import Secret, revealed


def open_connection(
    where: str | Path, tables: Sequence[SqlTables], *, what: str = "the database", durable: bool = True
) -> SqlConnection:
    """A connection to the database at an address; nothing is dialled before it is used.

    Args:
        where: `sqlite:///PATH`, `postgresql://...`, or the path of a SQLite file.
        tables: what is in it.
        what: what errors call it.
        durable: whether what was written is on disk when a call returns; else the last of it may be lost where the machine
            fails, none of it by half.

    Raises:
        UsageError: no such database can be there.
    """
    if isinstance(where, Path):
        return SqliteConnection(where.absolute(), tables, what=what, durable=durable)
    text = str(revealed(where))
    scheme, found, place = text.partition("://")
    match scheme.lower() if found else "file":
        case "postgresql" | "postgres":
            return PostgresConnection(Secret(text), tables, what=what, durable=durable)
        case "sqlite" | "file":
            path = checked_path(place if found else text).absolute()
            return SqliteConnection(path, tables, what=what, durable=durable)
        case other:
            raise UsageError(
                f"{what} cannot be kept at {other}://",
                expected="sqlite:///PATH, postgresql:// or a path",
            )
