"""The index in a PostgreSQL database."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from atdata.errors import AuthError, MissingExtraError, NetworkError, bare
from atdata.local.database import FORMAT, check_format, no_address, patiently, public_address, unreachable
from atdata.local.sql import TABLE, SqlDatabase
from atdata.redaction import Secret

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

_TYPES = {"number": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "text": 'TEXT COLLATE "C"', "bytes": "BYTEA"}
_SETTING_UP = 0x6174646174610001  # a number that only we lock


class PostgresDatabase(SqlDatabase):
    """Rows in a PostgreSQL database. What was written is committed when a call returns.

    Args:
        url: `postgresql://user@host/database?sslmode=verify-full`, or what else libpq takes as a URL.
    """

    MARK = "%s"
    LOCK = "FOR UPDATE"

    def __init__(self, url: str) -> None:
        self._url = Secret(url)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_url": self._url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _run(
        self, work: Callable[[Any], T], violated: Callable[[], Exception] | None = None, *, one: bool = False
    ) -> T:
        psycopg = _driver()
        if self._process != os.getpid():  # forked: closing the parent's connection would end it for the parent too
            self._abandoned = self._connection
            self._begin()

        def once() -> T:
            db = self._connected()
            alone = violated is None or one  # a transaction of its own: beginning and ending one takes two more trips
            with nullcontext() if alone else db.transaction(), db.cursor(binary=True) as cursor:
                return work(cursor)

        with self._lock:
            try:
                return patiently(once, self._is_lost, self.close)
            except psycopg.Error as error:
                if violated and isinstance(error, psycopg.errors.ForeignKeyViolation):
                    raise violated() from bare(error)
                raise self._failed(error) from bare(error)

    def _is_lost(self, error: Exception) -> bool:
        psycopg = _driver()
        undone = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
        if isinstance(error, undone):
            return True
        refused = isinstance(error, psycopg.errors.InvalidAuthorizationSpecification | psycopg.errors.InvalidPassword)
        closed = self._connection is None or self._connection.closed
        final = refused or _refuses(error) or "does not exist" in str(error)  # it would say the same once more
        return isinstance(error, psycopg.OperationalError) and bool(closed) and not final

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            psycopg = _driver()
            try:
                _check_port(self._url)
                db = psycopg.connect(self._url.reveal(), autocommit=True, connect_timeout=10, application_name="atdata")
            except (psycopg.ProgrammingError, ValueError):
                raise no_address("PostgreSQL", self._url) from None
            try:
                _set_up(db)
            except BaseException:
                db.close()
                raise
            self._connection = db
        return self._connection

    def _failed(self, error: psycopg.Error) -> Exception:
        psycopg = _driver()
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return AuthError(
                "PostgreSQL does not let this user do that",
                uri=self.address,
                actual=str(error.diag.message_primary or type(error).__name__),
                hint="Who only reads needs SELECT on the tables; who writes needs all rights, and may have to create them.",
            )
        denied = psycopg.errors.InvalidPassword | psycopg.errors.InvalidAuthorizationSpecification
        if isinstance(error, denied) or _refuses(error):
            return AuthError(
                "PostgreSQL refuses the login",
                uri=self.address,
                actual=type(error).__name__,
                hint="Check user and password.",
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            self.close()
            return unreachable("PostgreSQL", self.address, error, _said(error))
        return NetworkError("PostgreSQL refuses a request", uri=self.address, actual=str(error).splitlines()[0])

    @property
    def address(self) -> str:
        """The address of it, without password."""
        return public_address(self._url)

    def close(self) -> None:
        """See `Database`."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                with suppress(_driver().Error):
                    self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        with suppress(Exception):  # Python may be ending
            self.close()

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.address!r})"


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError.of("postgres", "An index in PostgreSQL") from error
    return psycopg


def _check_port(url: str) -> None:
    """Refuse what is no port: the driver would take it for no host.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    _ = "," in parts.netloc or parts.port


def _refuses(error: Exception) -> bool:
    """True if a connection was refused for who we are: before there is one, the driver says it in words only."""
    text = str(error)
    return "authentication failed" in text or "no password supplied" in text or "role " in text


def _said(error: Exception) -> str | None:
    """The reason why a server does not take us, in its own words."""
    _, found, said = str(error).partition("FATAL:")
    return said.strip().splitlines()[0] if found and said.strip() else None


def _set_up(db: psycopg.Connection[Any]) -> None:
    psycopg = _driver()
    try:
        found = db.execute("SELECT format FROM atdata_format").fetchone()
    except psycopg.errors.UndefinedTable:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", [_SETTING_UP])  # one process sets up, others wait for it
            if db.execute("SELECT to_regclass('atdata_format')").fetchone() == (None,):
                for statement in TABLE:
                    db.execute(statement.format(**_TYPES))
                db.execute("CREATE TABLE atdata_format (format INTEGER NOT NULL)")
                db.execute("INSERT INTO atdata_format VALUES (%s)", [FORMAT])
        found = db.execute("SELECT format FROM atdata_format").fetchone()
    check_format(0 if found is None else int(found[0]))
