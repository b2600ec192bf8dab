"""What this machine knows of the shard files it has looked at: which digest they have, and where their samples are.

A file is known by its state: device, inode, size and time of change. So a shard is hashed once and scanned once per
machine, not once per epoch. The ledger may be shared by any number of processes and deleted at any time.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atdata.shards.digest import Digest
from atdata.shards.scan import ShardIndex

if TYPE_CHECKING:
    import sqlite3

_SECOND = 1_000_000_000
_TICK = 20_000_000  # ns; a file that was changed more recently may be changed again within a tick of its clock
_LIMIT = 1 << 30
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS files (
        state TEXT PRIMARY KEY, digest TEXT, samples INTEGER, places BLOB, used INTEGER NOT NULL
    ) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Known:
    """What is known of a file in one state. `digest` is one that its bytes were found to have."""

    digest: str | None
    samples: int | None
    index: ShardIndex | None


UNKNOWN = Known(None, None, None)


@dataclass(frozen=True)
class Ledger:
    """A small database in the cache folder. Where it cannot be used, nothing is known and nothing fails."""

    root: Path

    def known(self, state: str) -> Known:
        """All that is known of a file in this state."""
        if not self._path.exists():
            return UNKNOWN
        with _quietly(), self._open() as db:
            row = db.execute("SELECT digest, samples, places FROM files WHERE state = ?", [state]).fetchone()
            if row:
                return Known(row[0], row[1], None if row[2] is None else _unpack(row[2], row[1]))
        return UNKNOWN

    def counts(self, states: Sequence[str]) -> dict[str, int]:
        """The number of samples in files, for those that are known."""
        found: dict[str, int] = {}
        if not self._path.exists():
            return found
        with _quietly(), self._open() as db:
            for start in range(0, len(states), 500):
                some = states[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT state, samples FROM files WHERE samples IS NOT NULL AND state IN ({marks})"  # noqa: S608
                found.update(db.execute(query, some).fetchall())
        return found

    def record(self, state: str, digest: Digest | None, index: ShardIndex) -> None:
        """Remember a file that was just proved: its headers, and its digest where that was checked too."""
        changed = int(state.rpartition(":")[2])
        if time.time_ns() - changed < (_TICK if changed % _SECOND else 2 * _SECOND):  # some disks count seconds
            return
        row = [state, None if digest is None else str(digest), len(index), _pack(index), int(time.time())]
        with _quietly(), self._open() as db, db:
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)
            pages = db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
            if pages > _LIMIT:  # what was learned longest ago goes first
                db.execute("DELETE FROM files WHERE used <= (SELECT used FROM files ORDER BY used LIMIT 1 OFFSET 500)")

    @property
    def _path(self) -> Path:
        return self.root / "shards.sqlite"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        import sqlite3

        self.root.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=5)) as db:
            try:
                db.execute(_SCHEMA)
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError):  # damaged, not busy
                    self._path.unlink(missing_ok=True)
                raise
            yield db


@contextmanager
def _quietly() -> Iterator[None]:
    """Whatever is wrong with the database: then nothing is known."""
    import sqlite3

    with suppress(sqlite3.Error, OSError, ValueError, zlib.error):
        yield


def state_of(stat: os.stat_result) -> str:
    """The state of a file, as text."""
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"


def _pack(index: ShardIndex) -> bytes:
    both = np.stack([np.diff(index.starts, prepend=0), index.sizes]).astype("<i8")
    return zlib.compress(both.tobytes(), 1)


def _unpack(packed: bytes, count: int) -> ShardIndex:
    size = 16 * count
    inflater = zlib.decompressobj()
    raw = inflater.decompress(packed, size + 1)
    steps, sizes = np.frombuffer(raw, "<i8").reshape(2, count)
    return ShardIndex(np.cumsum(steps), np.array(sizes))
