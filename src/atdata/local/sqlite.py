"""The index in a SQLite file: nothing to set up, and any number of processes on this machine may share it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from atdata.errors import StorageError
from atdata.local.database import FORMAT, check_format
from atdata.local.sql import TABLE, SqlDatabase

T = TypeVar("T")

_WAIT = 60.0  # seconds for other processes to finish what they write
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_TYPES = {"number": "INTEGER PRIMARY KEY AUTOINCREMENT", "text": "TEXT", "bytes": "BLOB"}


class SqliteDatabase(SqlDatabase):
    """Rows in a SQLite file, with a write-ahead log. What was written is on disk when a call returns.

    A file that may only be read is read, also where its folder takes no files beside it.

    Args:
        path: the file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # that it is of
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _run(
        self, work: Callable[[Any], T], violated: Callable[[], Exception] | None = None, *, one: bool = False
    ) -> T:
        if self._process != os.getpid():  # forked: the parent's connection must not even be closed
            self._abandoned = self._connection
            self._begin()
        with self._lock:
            try:
                try:
                    db = self._connected()
                except sqlite3.Error as error:
                    if violated is None and _code(error) in _NOT_WRITABLE and _identity(self.path):
                        return _read_only(self.path, work)
                    raise
                if violated is None or one:
                    return work(db.cursor())
                db.execute("BEGIN IMMEDIATE")
                try:
                    done = work(db.cursor())
                    db.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
                if _identity(self.path) != self._file:
                    raise self._replaced()
                return done
            except sqlite3.Error as error:
                if violated and isinstance(error, sqlite3.IntegrityError):
                    raise violated() from error
                raise self._failed(error) from error

    def faults(self) -> list[str]:
        """See `Database`."""
        said = self._run(lambda cursor: cursor.execute("PRAGMA integrity_check").fetchall())
        return [*(line for (line,) in said if line != "ok"), *super().faults()]

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self.path) != self._file:
            self.close()  # what stands there now is another file
        if self._connection is None:
            with suppress(OSError):  # the connection will say why
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA foreign_keys = ON")
                _set_up(db)
            except BaseException:
                db.close()
                raise
            self._connection, self._file = db, _identity(self.path)
        return self._connection

    def _failed(self, error: sqlite3.Error) -> StorageError:
        self.close()
        busy = _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return StorageError(
            "the index is being written by somebody else" if busy else "the index cannot be read or written",
            uri=str(self.path),
            actual=str(error),
            hint="Try again." if busy else "Is the folder writable, the disk full? `atdata doctor` looks closer.",
        )

    def _replaced(self) -> StorageError:
        self.close()
        return StorageError(
            "the index's file was removed or replaced while it was written to",
            uri=str(self.path),
            hint="What was written went with the old file. Look who removed it, and do it again.",
        )

    def close(self) -> None:
        """See `Database`."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        with suppress(Exception):  # Python may be ending
            self.close()

    def __repr__(self) -> str:
        return f"SqliteDatabase({str(self.path)!r})"


def _read_only(path: Path, work: Callable[[Any], T]) -> T:
    """Read a file that may not be written. Nothing is remembered of it: who may write it may do so at any time."""
    while True:
        before = _state(path)
        alone = not any(
            size for _, size, _ in before[1:]
        )  # no log: then all of it is in the file, which needs no locks
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' * alone}", uri=True, timeout=_WAIT)
        try:
            check_format(db.execute("PRAGMA user_version").fetchone()[0])
            done = work(db.cursor())
        except sqlite3.Error:
            if _state(path) == before:
                raise
        else:
            if not alone or _state(path) == before:
                return done
        finally:
            db.close()


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


def _set_up(db: sqlite3.Connection) -> None:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found == 0:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        (found,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been faster
        if found == 0:
            for statement in TABLE:
                db.execute(statement.format(**_TYPES))
            db.execute(f"PRAGMA user_version = {FORMAT}")
            found = FORMAT
        db.execute("COMMIT")
    check_format(found)
