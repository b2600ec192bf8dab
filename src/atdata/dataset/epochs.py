"""The number of a pass over a loader, where every pass has worker processes of its own.

A DataLoader copies the loader to new workers for each pass and tells nobody how many passes there were. The workers
of one pass share a seed, so the first of them to come makes the seed known and the others find it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import tempfile
import weakref
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from atdata.dataset.ranks import Worker
from atdata.files.own import discard, scratch_name

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS passes
    (number INTEGER PRIMARY KEY, seed TEXT UNIQUE, epoch INTEGER, start INTEGER, world INTEGER, passed_over INTEGER);
CREATE TABLE IF NOT EXISTS told (epoch INTEGER, start INTEGER)
"""
_LAST = "SELECT number, epoch, start, world, passed_over FROM passes "


class Pass(NamedTuple):
    """A pass.

    Attributes:
        number: its number among those that were counted, from 0.
        epoch: which epoch it reads.
        start: the position where it began.
        world: how many ranks share the epoch.
        passed_over: the first step that one of several workers passed over, since the filter left nothing of it.
    """

    number: int
    epoch: int
    start: int
    world: int
    passed_over: int | None


class EpochCounter:
    """A count of passes that a process shares with its workers, kept in a file. Ranks do not share it, even where they
    all were given the same loader: a process that is no worker counts for itself.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token or secrets.token_hex(8)
        own = self._file(os.getpid())
        if token is None:
            weakref.finalize(self, _remove, own, os.getpid())
        else:  # others here may have it too
            atexit.register(_remove, own, os.getpid())

    def _file(self, process: int) -> Path:
        return Path(tempfile.gettempdir()) / scratch_name(".sqlite", of=f"{self._token} {process}")

    @property
    def _path(self) -> Path:
        return self._file(Worker.parent() or os.getpid())

    def __reduce__(self) -> tuple[Any, ...]:
        return EpochCounter, (self._token,)

    def begin(self, seed: str, place: tuple[int, int], resumed: bool, world: int) -> Pass:
        """The pass whose workers have this seed: where it was told to be, else the epoch after the last one.

        Args:
            seed: what the workers of the pass share.
            place: the epoch and the position where the first pass begins.
            resumed: whether this one does, whatever was before.
            world: how many ranks share the epoch.
        """
        with closing(self._open()) as db, db:
            db.execute("BEGIN IMMEDIATE")
            found = db.execute(_LAST + "WHERE seed = ?", [seed]).fetchone()
            if found is None:
                last = db.execute(_LAST + "ORDER BY number DESC LIMIT 1").fetchone()
                told = db.execute("SELECT epoch, start FROM told").fetchone()
                epoch, start = place if resumed else told or ((last[1] + 1, 0) if last else place)
                found = (last[0] + 1 if last else 0, epoch, start, world, None)
                db.execute("INSERT INTO passes VALUES (?, ?, ?, ?, ?, ?)", [found[0], seed, *found[1:]])
                db.execute("DELETE FROM told")
            return Pass(*found)

    def tell(self, epoch: int, start: int) -> None:
        """Let the next pass be there; workers that stay from pass to pass learn it so."""
        if self._path.exists():
            with closing(self._open()) as db, db:
                db.execute("DELETE FROM told")
                db.execute("INSERT INTO told VALUES (?, ?)", [epoch, start])

    def pass_over(self, number: int, step: int) -> None:
        """Note that a step of a pass was passed over."""
        with closing(self._open()) as db, db:
            db.execute(
                "UPDATE passes SET passed_over = ? WHERE number = ? AND ifnull(passed_over, ?) >= ?",
                [step, number, step, step],
            )

    def last(self) -> Pass | None:
        """The pass that was begun last, if nothing was told since."""
        if not self._path.exists():
            return None
        with closing(self._open()) as db:
            if db.execute("SELECT 1 FROM told").fetchone():
                return None
            row = db.execute(_LAST + "ORDER BY number DESC LIMIT 1").fetchone()
            return row and Pass(*row)

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        db = sqlite3.connect(self._path, timeout=60, isolation_level="IMMEDIATE")
        db.executescript(_SCHEMA)
        return db


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        discard(path)
