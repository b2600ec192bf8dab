"""The right to ingest into a database, which one process has at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from atdata.errors import ContentionError
from atdata.replica import Replica, Statements, Writing, now

T = TypeVar("T")


class IngestLease:
    """The right to ingest. It ends by itself where its holder does not renew it.

    Args:
        replica: whose database.
        seconds: for which it holds.
    """

    def __init__(self, replica: Replica, seconds: float) -> None:
        self._replica, self._seconds, self._holder = replica, seconds, secrets.token_hex(16)

    @property
    def pause(self) -> float:
        """Seconds after which to renew it."""
        return self._seconds / 4

    def take(self) -> bool:
        """Take it, or renew it; `False` while somebody else has it."""

        def take(sql: Statements) -> bool:
            moment = now()
            sql.run("INSERT INTO ingest_lease (id, holder, ends_at) VALUES (1, '', 0) ON CONFLICT (id) DO NOTHING")
            update = "UPDATE ingest_lease SET holder = ?, ends_at = ? WHERE holder = ? OR ends_at < ?"
            sql.run(update, self._holder, moment + int(self._seconds * 1e6), self._holder, moment)
            return self._held(sql)

        return self._replica.write(lambda writing: take(writing.sql))

    def write(self, work: Callable[[Writing], T]) -> T:
        """Change something, unless somebody else ingests: the one way in which this process writes.

        Raises:
            ContentionError: somebody else does.
        """

        def checked(writing: Writing) -> T:
            self._check(writing.sql)
            return work(writing)

        return self._replica.write(checked)

    def _check(self, sql: Statements) -> None:
        if not self._held(sql):
            raise ContentionError(
                "another process ingests into the database",
                hint="One at a time may. This one was stopped, or slept, for longer than its lease lasts.",
            )

    def end(self) -> None:
        """Let somebody else have it at once."""
        give = "UPDATE ingest_lease SET ends_at = 0 WHERE holder = ?"
        self._replica.write(lambda writing: writing.sql.run(give, self._holder) and None)

    def _held(self, sql: Statements) -> bool:
        row = sql.first("SELECT holder FROM ingest_lease WHERE id = 1")
        return row is not None and row[0] == self._holder


def is_ingesting(sql: Statements) -> bool:
    """True if a process ingests just now."""
    return sql.first("SELECT 1 FROM ingest_lease WHERE ends_at > ?", now()) is not None
