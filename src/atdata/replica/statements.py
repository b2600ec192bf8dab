"""Statements with `?` for parameters, in whatever dialect."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from atdata.databases import Dialect


def now() -> int:
    """The moment as tables hold it: microseconds since 1970."""
    return time.time_ns() // 1000


class Statements:
    """A cursor that takes `?` for parameters.

    Args:
        cursor: the driver's.
        dialect: its words.
    """

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self._cursor, self.dialect = cursor, dialect

    def run(self, text: str, *values: object) -> Any:
        """Do one statement; the driver's cursor, with its rows."""
        self._cursor.execute(self.dialect.sql(text), values)
        return self._cursor

    def run_each(self, text: str, rows: Iterable[Sequence[object]]) -> None:
        """Do a statement for each row of parameters."""
        rows = list(rows)
        if rows:
            self._cursor.executemany(self.dialect.sql(text), rows)

    def first(self, text: str, *values: object) -> Any:
        """The first row that a statement finds; `None` where it finds none."""
        return self.run(text, *values).fetchone()

    def all(self, text: str, *values: object) -> list[Any]:
        """All rows that a statement finds."""
        return list(self.run(text, *values).fetchall())


_SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def database_size(sql: Statements) -> int:
    """The size of a whole database in bytes; of SQLite, without what its log has not yet brought in."""
    return int(sql.first(_SIZES[sql.dialect.name])[0])
