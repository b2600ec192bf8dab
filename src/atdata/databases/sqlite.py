"""A SQLite file: nothing to set up, and any number of processes on this machine may share it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from atdata.databases.pool import Pool, whole_at_forks
from atdata.databases.tables import Dialect, SqlTables, check_format
from atdata.errors import StorageError, UsageError

T = TypeVar("T")

_WAIT = 60.0  # seconds for other processes to finish what they write
_READERS = 16  # at a time, of the threads of a process
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_FORMAT = "(format INTEGER NOT NULL)"  # of a table that only ours have
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DIALECT = Dialect(
    name="sqlite",
    mark="?",
    types={
        "number": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "integer": "INTEGER",
        "text": "TEXT",
        "bytes": "BLOB",
        "by_key": "WITHOUT ROWID",
    },
    lock="",
)


class SqliteConnection:
    """A SQLite file with a write-ahead log. Of the threads of a process one writes at a time; those that read wait for none.

    A file that may only be read is read, also where its folder takes no files beside it.

    Args:
        path: the file; it is made where there is none.
        tables: what is in it.
        what: what errors call it.
        durable: whether what was written is on disk when a call returns; else the last of it may be lost where the machine
            fails, none of it by half.
        disposable: whether all of it can be had again, so that a file that is damaged is removed, and made anew.
        private: whether a file that is made is for its user alone.
    """

    dialect = _DIALECT

    def __init__(
        self,
        path: Path,
        tables: Sequence[SqlTables],
        *,
        what: str = "the database",
        durable: bool = True,
        disposable: bool = False,
        private: bool = False,
    ) -> None:
        self.path = path
        self._tables = tuple(tables)
        self._what = what
        self._durable, self._disposable, self._private = durable, disposable, private
        self._begin()

    def _begin(self) -> None:
        self._readers: Pool[_Connection] = Pool(_READERS, at_fork=False)  # else the child took its locks for its own
        self._writer: Pool[_Connection] = Pool(1, at_fork=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path, self._tables, self._what, self._durable, self._disposable, self._private)

    def read(self, work: Callable[[Any], T], *, one: bool = False) -> T:
        """See `SqlConnection`."""
        return self._whole(lambda: self._read(work, one))

    def _read(self, work: Callable[[Any], T], one: bool) -> T:
        with whole_at_forks():
            try:
                try:
                    with self._taken(self._readers, self._connect_reader) as db:
                        return self._done(db, work, None if one else "BEGIN")
                except sqlite3.Error as error:
                    if _code(error) in _NOT_WRITABLE and _identity(self.path):
                        return self._read_only(work)
                    raise
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def write(
        self, work: Callable[[Any], T], *, one: bool = False, violated: Callable[[], Exception] | None = None
    ) -> T:
        """See `SqlConnection`."""
        return self._whole(lambda: self._write(work, one, violated))

    def _write(self, work: Callable[[Any], T], one: bool, violated: Callable[[], Exception] | None) -> T:
        try:
            with whole_at_forks(), self._taken(self._writer, self._connect) as db:
                done = self._done(db, work, None if one else "BEGIN IMMEDIATE")
                if _identity(self.path) != db.file:
                    raise self._replaced()
                return done
        except sqlite3.Error as error:
            if violated and isinstance(error, sqlite3.IntegrityError):
                raise violated() from error
            raise self._failed(error) from error

    def _whole(self, work: Callable[[], T]) -> T:
        """Do something; where the file is damaged and can be had again, with a new one."""
        before = _identity(self.path)
        try:
            return work()
        except StorageError as error:
            if not (self._disposable and isinstance(cause := error.__cause__, sqlite3.Error)):
                raise
            if _code(cause) not in _DAMAGED:
                raise
            self.close()
            if _identity(self.path) == before:  # else somebody has made it anew already
                for suffix in ("-wal", "-shm", ""):  # the log first: it must not be taken for that of the new file
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return work()

    def identity(self) -> str:
        """See `SqlConnection`."""
        self.read(lambda _: None)
        return "{}:{}".format(*_identity(self.path) or ("", ""))

    def faults(self) -> list[str]:
        """See `SqlConnection`."""
        said = self.read(lambda cursor: cursor.execute("PRAGMA integrity_check").fetchall(), one=True)
        return [line for (line,) in said if line != "ok"]

    def close(self) -> None:
        """See `SqlConnection`."""
        self._readers.close()
        self._writer.close()

    @contextmanager
    def _taken(self, pool: Pool[_Connection], connect: Callable[[], _Connection]) -> Iterator[_Connection]:
        with pool.taken(connect, lambda db: db.file != _identity(self.path)) as db:  # another file may stand there now
            try:
                yield db
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error:
                db.close()
                raise

    def _done(self, db: _Connection, work: Callable[[Any], T], begin: str | None) -> T:
        with nullcontext() if begin is None else _transaction(db, begin):
            if _schema(db) != db.schema:  # somebody has changed the tables since
                self._check(db)
                db.schema = _schema(db)
            with closing(db.cursor()) as cursor:
                return work(cursor)

    def _connect(self) -> _Connection:
        with suppress(OSError):  # the connection will say why
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._private:
                # Only one that is not there: to close a file takes all of SQLite's locks of this process off it.
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = sqlite3.connect(
            self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            self._set_up(db)
            db.execute("PRAGMA foreign_keys = ON")  # not before: tables may be made anew
            db.schema, db.file = _schema(db), _identity(self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _connect_reader(self) -> _Connection:
        db = self._connect()
        db.execute("PRAGMA query_only = ON")
        return db

    def _set_up(self, db: _Connection) -> None:
        for tables in self._tables:
            found = _format(db, tables)
            if 0 <= found < tables.format:
                if found == 0:
                    self._check_own(db)
                    _log_ahead(db)
                with _transaction(db, "BEGIN IMMEDIATE"):  # one process takes the steps, others wait for it
                    found = _format(db, tables)
                    if found == 0:
                        self._check_own(db)  # again: nobody else writes now
                    if 0 <= found < tables.format:
                        with closing(db.cursor()) as cursor:
                            tables.upgrade(cursor, self.dialect, found)
                        _set_format(db, tables)
        self._check(db)

    def _check_own(self, db: sqlite3.Connection) -> None:
        """Leave a file alone that holds something, and nothing of ours."""
        named = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        found = db.execute(named).fetchall()
        if any(sql == f"CREATE TABLE {name} {_FORMAT}" for _, name, sql in found):
            return
        numbers = {
            number: db.execute(f"PRAGMA {number}").fetchone()[0] for number in ("user_version", "application_id")
        }
        held = [f"a {kind} {name[:100]}" for kind, name, _ in found] + [f"{n} {v}" for n, v in numbers.items() if v]
        if held:
            raise UsageError(
                f"{self._what} cannot be kept in a file that holds something else",
                actual=f"{self.path}, with {held[0]}",
                hint="Name a file that is not there yet.",
            )

    def _check(self, db: sqlite3.Connection) -> None:
        for tables in self._tables:
            if not (found := _format(db, tables)):
                self._check_own(db)
            check_format(self._what, tables.format, found)

    def _read_only(self, work: Callable[[Any], T]) -> T:
        """Read a file that may not be written. Nothing is remembered of it: who may write it may do so at any time."""
        while True:
            before = _state(self.path)
            alone = not any(
                size for _, size, _ in before[1:]
            )  # no log: then all of it is in the file, which needs no locks
            uri = f"{self.path.resolve().as_uri()}?mode=ro{'&immutable=1' * alone}"
            with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None)) as db:
                try:
                    with _transaction(db, "BEGIN"), closing(db.cursor()) as cursor:
                        self._check(db)
                        done = work(cursor)
                except sqlite3.Error:
                    if _state(self.path) == before:
                        raise
                else:
                    if not alone or _state(self.path) == before:
                        return done

    def _failed(self, error: sqlite3.Error) -> StorageError:
        busy = _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if _code(error) in _DAMAGED:
            hint = "Take a copy of it from before, or name another file."
            what = f"{self._what} cannot be read or written: its file is damaged, or none of SQLite"
            return StorageError(what, uri=str(self.path), actual=str(error), hint=hint)
        return StorageError(
            f"{self._what} is being written by somebody else" if busy else f"{self._what} cannot be read or written",
            uri=str(self.path),
            actual=str(error),
            hint="Try again." if busy else "Is the folder writable, the disk full? `atdata doctor` looks closer.",
        )

    def _replaced(self) -> StorageError:
        self.close()
        return StorageError(
            f"{self._what}'s file was removed or replaced while it was written to",
            uri=str(self.path),
            hint="What was written went with the old file. Look who removed it, and do it again.",
        )

    def __del__(self) -> None:
        with suppress(Exception):  # Python may be ending
            self.close()

    def __repr__(self) -> str:
        return f"SqliteConnection({str(self.path)!r})"


class _Connection(sqlite3.Connection):
    """A connection that knows the file it is to, the tables it has seen, and whether it is closed."""

    file: tuple[int, int] | None = None
    schema: int | None = None
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        super().close()


def _opened(path: Path, tables: Sequence[SqlTables], what: str, *settings: bool) -> SqliteConnection:
    durable, disposable, private = settings
    return SqliteConnection(path, tables, what=what, durable=durable, disposable=disposable, private=private)


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _log_ahead(db: sqlite3.Connection) -> None:
    """Give the file a write-ahead log. SQLite waits for nobody here: several may do this at the same moment."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > until:
                raise
        time.sleep(0.005)


def _schema(db: sqlite3.Connection) -> int:
    """The number of changes of the tables, which SQLite keeps."""
    (number,) = db.execute("PRAGMA schema_version").fetchone()
    return int(number)


def _format(db: sqlite3.Connection, tables: SqlTables) -> int:
    """The format of tables: 0 where there are none, -1 where nobody says."""
    if tables.in_header:
        prefix = f"{tables.name}_"  # a number alone may be another program's
        ours = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?"
        if db.execute(ours, [len(prefix), prefix]).fetchone() is None:
            return 0
        (found,) = db.execute("PRAGMA user_version").fetchone()
        return int(found)
    named = [f"{tables.name}_format"]
    if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", named).fetchone() is None:
        return 0
    row = db.execute(f"SELECT format FROM {tables.name}_format").fetchone()  # noqa: S608  a name of ours
    return row[0] if row is not None and isinstance(row[0], int) else -1


def _set_format(db: sqlite3.Connection, tables: SqlTables) -> None:
    if tables.in_header:
        db.execute(f"PRAGMA user_version = {tables.format}")
        return
    db.execute(f"CREATE TABLE IF NOT EXISTS {tables.name}_format {_FORMAT}")
    db.execute(f"DELETE FROM {tables.name}_format")  # noqa: S608  a name of ours
    db.execute(f"INSERT INTO {tables.name}_format VALUES (?)", [tables.format])  # noqa: S608


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells the file at a path from any other."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _state(path: Path) -> list[tuple[int, int, int]]:
    """The states of a file and, where there is one, of its log."""
    found = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            stat = file.stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
