"""`Replica`: verified copies of repositories in a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from atdata.databases import SqlConnection, SqlTables, open_connection
from atdata.replica.reading import Reading
from atdata.replica.statements import Statements
from atdata.replica.tables import TABLES
from atdata.replica.writing import Derivation, Writing

T = TypeVar("T")

REPOSITORIES = "repositories.sqlite"
"""The file in a cache folder."""


class Replica:
    """Verified copies of repositories.

    Args:
        connection: to a database with the tables of `atdata.replica.tables`, and those of the derivations.
        derivations: tables that follow.
    """

    def __init__(self, connection: SqlConnection, derivations: Sequence[Derivation] = ()) -> None:
        self._connection, self._derivations = connection, tuple(derivations)

    def read(self, work: Callable[[Reading], T]) -> T:
        """Ask something, of one state. Raises what `SqlConnection.read` does."""
        return self._connection.read(lambda cursor: work(Reading(self._statements(cursor))))

    def write(self, work: Callable[[Writing], T]) -> T:
        """Change something: all of it, or nothing. It may be done again where a server was lost on the way.

        Raises what `SqlConnection.write` does.
        """
        return self._connection.write(lambda cursor: work(Writing(self._statements(cursor), self._derivations)))

    def close(self) -> None:
        """Let go of the database; the next call finds it again."""
        self._connection.close()

    def _statements(self, cursor: Any) -> Statements:
        return Statements(cursor, self._connection.dialect)


def open_replica(folder: Path, tables: Sequence[SqlTables] = (), derivations: Sequence[Derivation] = ()) -> Replica:
    """The replica in a cache folder, which all processes of a user share. All of it can be fetched again.

    Args:
        folder: of the cache.
        tables: what else is in its database.
        derivations: as of `Replica`.
    """
    what = "the copy of repositories"
    connection = open_connection(folder / REPOSITORIES, [TABLES, *tables], what=what, durable=False, disposable=True)
    return Replica(connection, derivations)
