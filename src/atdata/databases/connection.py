"""The port behind rows in a database that speaks SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from atdata.databases.tables import Dialect

T = TypeVar("T")


class SqlConnection(Protocol):
    """A database with the tables it was opened for, which are made, or brought up to date, on first use.

    Any number of threads and processes may use it at once; a fork has connections of its own. It pickles as its
    address. Work is given a cursor of the driver's, takes all rows before it returns, and calls no method of the connection:
    it may be run again where a server was lost, or refused what was done at the same time elsewhere. The server may have
    done it before, so it must be such that doing it twice is harmless. `executemany` gives nothing back.

    Attributes:
        dialect: the words that it takes.
    """

    @property
    def dialect(self) -> Dialect:
        """The words that it takes."""

    def read(self, work: Callable[[Any], T], *, one: bool = False) -> T:
        """Do some work that reads: all of it sees one state, which no writer waits for, nor it for any.

        Args:
            work: what to do.
            one: whether it is one statement, which sees one state by itself.

        Raises:
            UsageError: another version of atdata has written the tables.
            StorageError: the file cannot be read.
            AuthError: the server refuses the login, or this user the tables.
            NetworkError: the server does not answer, or refuses a request.
        """

    def write(
        self, work: Callable[[Any], T], *, one: bool = False, violated: Callable[[], Exception] | None = None
    ) -> T:
        """Do some work that writes, all of it or none; what was written is committed when the call returns.

        Args:
            work: what to do.
            one: whether it is one statement, which is all or nothing by itself.
            violated: the error for a reference that would lead nowhere.

        Raises:
            UsageError: another version of atdata has written the tables.
            StorageError: the file cannot be written, or somebody took it away meanwhile.
            AuthError: the server refuses the login, or this user the tables.
            NetworkError: the server does not answer, or refuses a request.
        """

    def identity(self) -> str:
        """Text that tells this database from any other, also from one that takes its place: its file, or its server's number.

        Raises:
            AtdataError: as `read` does.
        """

    def faults(self) -> list[str]:
        """The faults of the database itself, a line each, as far as it can tell.

        Raises:
            AtdataError: as `read` does.
        """

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""
