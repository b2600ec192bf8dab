"""Passes over a loader: the progress of one, and its number, where every pass has worker processes of its own.

A DataLoader copies the loader to new workers for each pass and keeps no count of passes. The workers of one pass
share a seed: the first of them records it, and the others find it.
"""

from __future__ import annotations

import atexit
import json
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
    (number INTEGER PRIMARY KEY, seed TEXT UNIQUE, epoch INTEGER, start INTEGER, weighing TEXT, world INTEGER,
    skipped INTEGER);
CREATE TABLE IF NOT EXISTS next (epoch INTEGER, start INTEGER, weighing TEXT)
"""
_PASSES = "SELECT number, epoch, start, weighing, world, skipped FROM passes "


class Pass(NamedTuple):
    """A pass.

    Attributes:
        number: its number among the passes of an `EpochCounter`, from 0.
        epoch: the epoch that it reads.
        start: the position where it began.
        weighing: the weights of a mixture that were changed, as a state has them.
        world: how many ranks share the epoch.
        skipped: the first step that one of several workers skipped, since the filter left nothing of it.
    """

    number: int
    epoch: int
    start: int
    weighing: dict[str, Any]
    world: int
    skipped: int | None

    @classmethod
    def of(cls, number: int, epoch: int, start: int, weighing: str, world: int, skipped: int | None) -> Pass:
        """The pass that a row tells of."""
        return cls(number, epoch, start, json.loads(weighing), world, skipped)


class PassProgress(NamedTuple):
    """The progress of a pass: it began at `start`, and this process has taken `taken` steps since, as one of `world` ranks."""

    epoch: int
    start: int = 0
    taken: int = 0
    world: int | None = None

    @classmethod
    def of(cls, begun: Pass) -> PassProgress:
        """The progress of a pass of which nothing is taken yet."""
        return cls(begun.epoch, begun.start, 0, begun.world)


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

    def start_pass(self, seed: str, place: tuple[int, int, dict[str, Any]], resumed: bool, world: int) -> Pass:
        """The pass whose workers have this seed: at the place that was set, else the epoch after the last one.

        Args:
            seed: what the workers of the pass share.
            place: the epoch and the position where the first pass begins, and the weights of a mixture that were changed.
            resumed: whether this one does, whatever was before.
            world: how many ranks share the epoch.
        """
        with closing(self._open()) as db, db:
            db.execute("BEGIN IMMEDIATE")
            found = db.execute(_PASSES + "WHERE seed = ?", [seed]).fetchone()
            if found is None:
                last = db.execute(_PASSES + "ORDER BY number DESC LIMIT 1").fetchone()
                set_place = db.execute("SELECT epoch, start, weighing FROM next").fetchone()
                own = (*place[:2], json.dumps(place[2]))
                epoch, start, weighing = own if resumed else set_place or ((last[1] + 1, 0, last[3]) if last else own)
                found = (last[0] + 1 if last else 0, epoch, start, weighing, world, None)
                db.execute("INSERT INTO passes VALUES (?, ?, ?, ?, ?, ?, ?)", [found[0], seed, *found[1:]])
                db.execute("DELETE FROM next")
            return Pass.of(*found)

    def set_next(self, epoch: int, start: int, weighing: dict[str, Any]) -> None:
        """Set where the next pass begins, for workers too that stay from pass to pass."""
        if self._path.exists():
            with closing(self._open()) as db, db:
                db.execute("DELETE FROM next")
                db.execute("INSERT INTO next VALUES (?, ?, ?)", [epoch, start, json.dumps(weighing)])

    def note_skipped(self, number: int, step: int) -> None:
        """Note that a step of a pass was skipped."""
        with closing(self._open()) as db, db:
            db.execute(
                "UPDATE passes SET skipped = ? WHERE number = ? AND ifnull(skipped, ?) >= ?", [step, number, step, step]
            )

    def last(self) -> Pass | None:
        """The pass that began last, if no next one was set since."""
        if not self._path.exists():
            return None
        with closing(self._open()) as db:
            if db.execute("SELECT 1 FROM next").fetchone():
                return None
            row = db.execute(_PASSES + "ORDER BY number DESC LIMIT 1").fetchone()
            return row and Pass.of(*row)

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        db = sqlite3.connect(self._path, timeout=60, isolation_level="IMMEDIATE")
        db.execute("PRAGMA synchronous = OFF")  # nobody needs it any more after the machine has failed
        db.executescript(_SCHEMA)
        return db


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        discard(path)
