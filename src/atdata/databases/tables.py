"""Tables that belong together, and the steps by which they came to be, for all dialects of SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from atdata.errors import UsageError


class Dialect(NamedTuple):
    """The words in which databases that speak SQL differ.

    Attributes:
        name: of the dialect, `sqlite` or `postgresql`.
        mark: the driver's mark of a parameter.
        types: the types of columns: `number`, a key that each row gets and that grows, `integer` of 64 bits, `text` that
            sorts by its code points and holds no NUL, `bytes`;
            `by_key` stands behind a table whose rows are best kept in the order of its primary key.
        lock: the words that lock the rows that are found until the transaction ends, where not all is locked.
    """

    name: str
    mark: str
    types: Mapping[str, str]
    lock: str

    def sql(self, text: str) -> str:
        """A statement with `?` for each parameter, as the driver takes it. No `?` or `%` stands in it for anything else."""
        return text.replace("?", self.mark)


Step: TypeAlias = "Sequence[str | Callable[[Any, Dialect], None]]"
"""Statements with the names of types in braces, and functions that are given a cursor and the dialect."""


class SqlTables(NamedTuple):
    """Tables that belong together. Beside them, `NAME_format` holds the number of steps that were taken.

    Attributes:
        name: begins their names; each room has one of its own, and may share a database with others.
        steps: `steps[n]` leads from format `n` to format `n + 1`, from an empty database on. A step that was ever
            released is never changed.
        in_header: whether SQLite has the number in the header of the file instead, which no other tables may use then.
    """

    name: str
    steps: Sequence[Step]
    in_header: bool = False

    @property
    def format(self) -> int:
        """The format after all steps."""
        return len(self.steps)

    def upgrade(self, cursor: Any, dialect: Dialect, found: int) -> None:
        """Take the steps that are left, in a transaction of the caller's, who writes the new number too."""
        for step in self.steps[found:]:
            for part in step:
                if callable(part):
                    part(cursor, dialect)
                else:
                    cursor.execute(part.format(**dialect.types))


def check_format(what: str, expected: int, found: int) -> None:
    """Leave rows alone that this version does not understand.

    Raises:
        UsageError: another version has written them.
    """
    if found != expected:
        older = 0 < found < expected
        raise UsageError(
            f"{what} was written by another version of atdata",
            expected=f"format {expected}",
            actual=f"format {found}",
            hint="Open it once with the right to write: that brings it up to date." if older else "Update atdata.",
        )
