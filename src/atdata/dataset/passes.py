"""Which pass over a loader this is, where every pass has worker processes of its own.

A DataLoader copies the loader to new workers for each pass and tells nobody how many passes there were. The workers
of one pass share a seed, so the first of them to come makes the seed known and the others find it.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from atdata.shards.own import discard, scratch_name

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = "CREATE TABLE IF NOT EXISTS passes (number INTEGER PRIMARY KEY, seed TEXT UNIQUE, epoch INTEGER)"


class Pass(NamedTuple):
    """A pass: its number among those that were counted, from 0, and the epoch it reads."""

    number: int
    epoch: int


class Passes:
    """A count of passes that processes share, kept in a file of the process that made it."""

    def __init__(self) -> None:
        self._path = Path(tempfile.gettempdir()) / scratch_name(".sqlite")
        weakref.finalize(self, _remove, self._path, os.getpid())

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._path,)

    def begin(self, seed: str, first: int, resumed: int | None) -> Pass:
        """The pass whose workers have this seed: the epoch after the last one, unless it is resumed in another.

        Args:
            seed: what the workers of the pass share.
            first: the epoch of the first pass.
            resumed: the epoch that this worker was told to go on in.
        """
        with closing(self._open()) as db, db:
            row = db.execute("SELECT number, epoch FROM passes ORDER BY number DESC LIMIT 1").fetchone()
            number, epoch = (row[0] + 1, row[1] + 1) if row else (0, first)
            values = [number, seed, epoch if resumed is None else resumed]
            db.execute("INSERT INTO passes VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values)
            return Pass(*db.execute("SELECT number, epoch FROM passes WHERE seed = ?", [seed]).fetchone())

    def last(self) -> Pass | None:
        """The pass that was begun last."""
        if not self._path.exists():
            return None
        with closing(self._open()) as db:
            row = db.execute("SELECT number, epoch FROM passes ORDER BY number DESC LIMIT 1").fetchone()
            return row and Pass(*row)

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        db = sqlite3.connect(self._path, timeout=60, isolation_level="IMMEDIATE")
        db.execute(_SCHEMA)
        return db


def _again(path: Path) -> Passes:
    passes = Passes.__new__(Passes)
    passes._path = path
    return passes


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        discard(path)
