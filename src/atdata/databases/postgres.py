"""A PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from atdata.databases.pool import Pool
from atdata.databases.servers import no_address, patiently, public_address, unreachable
from atdata.databases.tables import Dialect, SqlTables, check_format
from atdata.errors import AuthError, MissingExtraError, NetworkError, bare
from atdata.redaction import Secret

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

_DIALECT = Dialect(
    name="postgresql",
    mark="%s",
    types={
        "number": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "integer": "BIGINT",
        "text": 'TEXT COLLATE "C"',
        "bytes": "BYTEA",
        "by_key": "",
    },
    lock="FOR UPDATE",
)
_CONNECTIONS = 8  # at a time, of the threads of a process
_SETTING_UP = 0x6174646174610001  # a number that only we lock
_NAME = "atdata"  # of what is connected
_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = %s AND pid <> pg_backend_pid()
"""
_IDENTITY = """
    SELECT system_identifier::text || ':' || (SELECT oid FROM pg_database WHERE datname = current_database())::text
    FROM pg_control_system()
"""


class PostgresConnection:
    """A PostgreSQL database, with a connection for each thread that uses it, up to a few.

    Args:
        url: `postgresql://user@host/database?sslmode=verify-full`, or what else libpq takes as a URL.
        tables: what is in it.
        what: what errors call it.
        durable: whether what was written is on the server's disk when a call returns; else the last of it may be lost where
            the server fails, none of it by half.
    """

    dialect = _DIALECT

    def __init__(
        self, url: str, tables: Sequence[SqlTables], *, what: str = "the database", durable: bool = True
    ) -> None:
        self._url = Secret(url)
        self._tables = tuple(tables)
        self._what = what
        self._durable = durable
        self._pool: Pool[psycopg.Connection[Any]] = Pool(_CONNECTIONS)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._url, self._tables, self._what, self._durable)

    def read(self, work: Callable[[Any], T], *, one: bool = False) -> T:
        """See `SqlConnection`."""
        return self._run(work, one, writes=False)

    def write(
        self, work: Callable[[Any], T], *, one: bool = False, violated: Callable[[], Exception] | None = None
    ) -> T:
        """See `SqlConnection`."""
        return self._run(work, one, writes=True, violated=violated)

    def identity(self) -> str:
        """See `SqlConnection`."""
        return self.read(lambda cursor: str(cursor.execute(_IDENTITY).fetchone()[0]), one=True)

    def faults(self) -> list[str]:
        """See `SqlConnection`."""
        return []

    def close(self) -> None:
        """See `SqlConnection`."""
        self._pool.close()

    @property
    def address(self) -> str:
        """The address of it, without password."""
        return public_address(self._url)

    def _run(
        self, work: Callable[[Any], T], one: bool, *, writes: bool, violated: Callable[[], Exception] | None = None
    ) -> T:
        psycopg = _driver()
        used: list[Any] = []

        def once() -> T:
            used.clear()
            with self._pool.taken(self._connect) as db:
                used.append(db)
                if one:  # a transaction of its own: beginning and ending one takes two more trips
                    with db.cursor(binary=True) as cursor:
                        return work(cursor)
                level = psycopg.IsolationLevel
                db.isolation_level = level.READ_COMMITTED if writes else level.REPEATABLE_READ
                db.read_only = not writes
                with db.transaction(), db.cursor(binary=True) as cursor:
                    return work(cursor)

        def closed() -> bool:
            return not used or bool(used[0].closed)

        def forget() -> None:
            if closed():  # so are the others, most likely
                self.close()

        try:
            return patiently(once, lambda error: _passes(error, closed()), forget, _starting)
        except psycopg.Error as error:
            if violated and isinstance(error, psycopg.errors.ForeignKeyViolation):
                raise violated() from bare(error)
            raise self._failed(error) from bare(error)

    def _connect(self) -> psycopg.Connection[Any]:
        psycopg = _driver()
        try:
            _check_port(self._url)
            db = psycopg.connect(self._url.reveal(), autocommit=True, connect_timeout=10, application_name=_NAME)
        except (psycopg.ProgrammingError, ValueError):
            raise no_address("PostgreSQL", self._url) from None
        try:
            if not self._durable:
                db.execute("SET synchronous_commit = off")
            self._set_up(db)
        except BaseException:
            db.close()
            raise
        return db

    def _set_up(self, db: psycopg.Connection[Any]) -> None:
        for tables in self._tables:
            try:
                found = _format(db, tables)
            except _driver().errors.UndefinedTable:
                found = 0
            if 0 <= found < tables.format:
                # Locked before the transaction begins: what it sees, and what the server's process remembers of tables that
                # were not there, is then of after the wait.
                db.execute("SELECT pg_advisory_lock(%s)", [_SETTING_UP])
                try:
                    with db.transaction(), db.cursor() as cursor:
                        found = self._upgrade(db, cursor, tables)
                finally:
                    if not db.closed:
                        db.execute("SELECT pg_advisory_unlock(%s)", [_SETTING_UP])
            check_format(self._what, tables.format, found)

    def _upgrade(self, db: psycopg.Connection[Any], cursor: Any, tables: SqlTables) -> int:
        """Take the steps that are left. One process does, others wait for it."""
        table = f"{tables.name}_format"
        if cursor.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
            cursor.execute(f"CREATE TABLE {table} (format INTEGER NOT NULL)")
            cursor.execute(f"INSERT INTO {table} VALUES (0)")  # noqa: S608  a name of ours
        found = _format(db, tables)
        if 0 <= found < tables.format:
            if found:  # who is connected believes in the format that was: let them ask again, when this is done
                cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                cursor.execute(_OTHERS, [_NAME])
            tables.upgrade(cursor, self.dialect, found)
            cursor.execute(f"UPDATE {table} SET format = %s", [tables.format])  # noqa: S608
            found = tables.format
        return found

    def _failed(self, error: psycopg.Error) -> Exception:
        psycopg = _driver()
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return AuthError(
                "PostgreSQL does not let this user do that",
                uri=self.address,
                actual=str(error.diag.message_primary or type(error).__name__),
                hint="Who only reads needs SELECT on the tables; who writes needs all rights, and may have to create them.",
            )
        if _denies(error):
            return AuthError(
                "PostgreSQL refuses the login",
                uri=self.address,
                actual=type(error).__name__,
                hint="Check user and password.",
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return unreachable("PostgreSQL", self.address, error, _said(error))
        return NetworkError("PostgreSQL refuses a request", uri=self.address, actual=str(error).splitlines()[0])

    def __del__(self) -> None:
        with suppress(Exception):  # Python may be ending
            self.close()

    def __repr__(self) -> str:
        return f"PostgresConnection({self.address!r})"


def _opened(url: str, tables: Sequence[SqlTables], what: str, durable: bool) -> PostgresConnection:
    return PostgresConnection(url, tables, what=what, durable=durable)


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError.of("postgres", "A database in PostgreSQL") from error
    return psycopg


def _check_port(url: str) -> None:
    """Refuse what is no port: the driver would take it for no host.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    _ = "," in parts.netloc or parts.port


def _format(db: psycopg.Connection[Any], tables: SqlTables) -> int:
    """The format of tables that are there, -1 where nobody says."""
    row = db.execute(f"SELECT format FROM {tables.name}_format").fetchone()  # noqa: S608  a name of ours
    return -1 if row is None else int(row[0])


def _passes(error: Exception, closed: bool) -> bool:
    """True if the same may well go once more: what was undone for others' sake, or what a lost connection was asked."""
    psycopg = _driver()
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return True
    final = _denies(error) or "does not exist" in str(error)  # it would say the same once more
    return isinstance(error, psycopg.OperationalError) and closed and not final


def _starting(error: Exception) -> bool:
    """True if the server will be ready soon; before there is a connection, it says so in words only."""
    text = str(error)
    return "the database system is starting up" in text or "the database system is in recovery mode" in text


def _denies(error: Exception) -> bool:
    """True if a connection was refused for who we are: before there is one, the driver says it in words only."""
    errors, text = _driver().errors, str(error)
    said = "authentication failed" in text or "no password supplied" in text or "role " in text
    return said or isinstance(error, errors.InvalidPassword | errors.InvalidAuthorizationSpecification)


def _said(error: Exception) -> str | None:
    """The reason why a server does not take us, in its own words."""
    _, found, said = str(error).partition("FATAL:")
    return said.strip().splitlines()[0] if found and said.strip() else None
