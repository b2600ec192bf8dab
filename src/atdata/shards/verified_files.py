"""Facts about shard files that this machine has verified: the digest of each, and the offsets of its samples.

A file is known by its state: device, inode, size, and both its times of change, that of its content, which anybody
may set, and that of its inode, which the system keeps. So a shard is hashed once and scanned once per machine, not once
per epoch. The database may be shared by any number of processes and deleted at any time.

What is known serves who reads. Who gives a verdict, to people or in a record, believes none of it.
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

import msgspec
import numpy as np

from atdata.shards.digest import Digest
from atdata.shards.index import Members, ShardIndex

if TYPE_CHECKING:
    import sqlite3

_SECOND = 1_000_000_000
_TICK = 20_000_000  # ns; a file that was changed more recently may be changed again within a tick of its clock
_LIMIT = 1 << 30
_WIDTHS = (2, 4, 8)  # bytes of a number
_MEMBERS = 0x80  # beside the width, where samples are several files
_SIZES = ("page_count", "freelist_count", "page_size")
_DAMAGED = (ValueError, TypeError, OverflowError, IndexError, zlib.error)  # what an entry may say that says nothing
_LATELY = 600  # seconds to which it is known when a shard was used last
_MOST = 10_000
_noted: dict[tuple[Path, str], int] = {}
"""The time at which this process last noted that a shard is used, by cache folder and digest."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS files (
        state TEXT PRIMARY KEY, digest TEXT, samples INTEGER, places BLOB, used INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS uses (digest TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True)
class Known:
    """The facts about a file in one state. `digest` is one that its bytes were found to have."""

    digest: str | None
    samples: int | None
    index: ShardIndex | None


UNKNOWN = Known(None, None, None)


@dataclass(frozen=True)
class VerifiedFiles:
    """A small database in the cache folder. Where it cannot be used, nothing is known and nothing fails.

    Attributes:
        root: the folder.
        revalidate: whether nothing is taken from it, so that files are read again; what is found out is recorded.
    """

    root: Path
    revalidate: bool = False

    def known(self, state: str) -> Known:
        """All that is known of a file in this state."""
        if self.revalidate:
            return UNKNOWN
        with _quietly(), self._open(new=False) as db:
            row = db.execute("SELECT digest, samples, places FROM files WHERE state = ?", [state]).fetchone()
            if row:
                return Known(row[0], row[1], _unpack(row[2], row[1], _seal(state, row[0])))
        return UNKNOWN

    def counts(self, states: Sequence[str]) -> dict[str, int]:
        """The number of samples in files, for those that are known."""
        found: dict[str, int] = {}
        if self.revalidate:
            return found
        with _quietly(), self._open(new=False) as db:
            for start in range(0, len(states), 500):
                some = states[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT state, samples FROM files WHERE samples IS NOT NULL AND state IN ({marks})"  # noqa: S608
                found.update(db.execute(query, some).fetchall())
        return found

    def record(self, state: str, digest: Digest | None, index: ShardIndex, looked: int) -> None:
        """Record a file that was just verified: its headers, and its digest where that was checked too.

        Args:
            state: of the file, before a byte of it was read.
            digest: what its bytes were found to have.
            index: of its samples.
            looked: when it was in this state, in ns. A file just changed then may have changed again since, unseen.
        """
        for changed in map(int, state.split(":")[3:]):
            if looked - changed < (_TICK if changed % _SECOND else 2 * _SECOND):  # some disks count seconds
                return
        found = None if digest is None else str(digest)
        row = [state, found, len(index), _pack(index, _seal(state, found)), int(time.time())]
        with _quietly(), self._open() as db, db:
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)
            pages, free, size = (db.execute(f"PRAGMA {it}").fetchone()[0] for it in _SIZES)
            if (pages - free) * size > _LIMIT:  # what was learned longest ago goes first
                db.execute("DELETE FROM files WHERE used <= (SELECT used FROM files ORDER BY used LIMIT 1 OFFSET 500)")

    def forget(self, state: str) -> None:
        """Delete what is known of a file that was found to be something else."""
        with _quietly(), self._open(new=False) as db, db:
            db.execute("DELETE FROM files WHERE state = ?", [state])

    def use(self, digest: str) -> None:
        """Record that a shard of the cache is used now. Its file is not touched: that would change its state."""
        now = int(time.time())
        if 0 <= now - _noted.get((self.root, digest), -_LATELY) < _LATELY:
            return
        if len(_noted) >= _MOST:
            _noted.clear()
        _noted[self.root, digest] = now
        with _quietly(), self._open() as db, db:
            db.execute("INSERT OR REPLACE INTO uses VALUES (?, ?)", [digest, now])

    def uses(self) -> dict[str, int]:
        """The times at which the shards of the cache were used last, in seconds."""
        found: dict[str, int] = {}
        with _quietly(), self._open(new=False) as db:
            found.update(db.execute("SELECT digest, at FROM uses").fetchall())
        return found

    def drop(self, digests: Sequence[str]) -> None:
        """Delete the times of use of shards that are no longer in the cache."""
        with _quietly(), self._open(new=False) as db, db:
            db.executemany("DELETE FROM uses WHERE digest = ?", [[digest] for digest in digests])

    @property
    def _path(self) -> Path:
        return self.root / "atdata-ledger.sqlite"

    @contextmanager
    def _open(self, new: bool = True) -> Iterator[sqlite3.Connection]:
        import sqlite3

        if new:
            self.root.mkdir(parents=True, exist_ok=True)
        else:
            self._path.stat()
        with closing(sqlite3.connect(self._path, timeout=5)) as db:
            try:
                db.execute("PRAGMA synchronous = OFF")  # what a crash of the machine leaves is told by the seal
                for table in _SCHEMA:
                    db.execute(table)
                yield db
            except sqlite3.DatabaseError as error:  # damaged, not busy: it is begun anew
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    self._path.unlink(missing_ok=True)
                raise


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress whatever is wrong with the database: then nothing is known."""
    import sqlite3

    with suppress(sqlite3.Error, OSError, *_DAMAGED):
        yield


def state_of(stat: os.stat_result) -> str:
    """The state of a file, as text."""
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _seal(state: str, digest: str | None) -> bytes:
    """The seal before the places in a row, under their checksum: so a row is whole or says nothing."""
    return f"{state} {digest} ".encode()


def _pack(index: ShardIndex, seal: bytes) -> bytes:
    parts, begin = [np.diff(index.starts, prepend=0), index.sizes], b""
    if members := index.members:
        parts += [np.diff(members.first), members.codes, np.diff(members.starts, prepend=0), members.sizes]
        names = msgspec.json.encode([len(members.codes), *members.extensions])
        begin = len(names).to_bytes(4, "little") + names
    numbers = np.concatenate(parts)
    width = next(width for width in _WIDTHS if numbers.max(initial=0) < 1 << (8 * width - 1))
    kind = width | (_MEMBERS if members else 0)
    return zlib.compress(seal + bytes([kind]) + begin + numbers.astype(f"<i{width}").tobytes(), 1)


def _unpack(packed: bytes, count: int, seal: bytes) -> ShardIndex:
    inflater = zlib.decompressobj()
    raw = inflater.decompress(packed, _LIMIT)
    if not inflater.eof or not raw.startswith(seal):  # only at the end is the checksum
        raise ValueError
    kind, at = raw[len(seal)], len(seal) + 1
    names: list[str] = []
    parts = [count, count]
    if kind & _MEMBERS:
        length = int.from_bytes(raw[at : at + 4], "little")
        members, *names = msgspec.json.decode(raw[at + 4 : at + 4 + length])
        parts, at = [count, count, count, members, members, members], at + 4 + length
    numbers = np.frombuffer(raw, f"<i{kind & ~_MEMBERS}", offset=at).astype(np.int64)
    if len(numbers) != sum(parts):
        raise ValueError
    steps, sizes, *rest = np.split(numbers, np.cumsum(parts)[:-1])
    starts = np.cumsum(steps)
    if not rest:
        return ShardIndex(starts, sizes)
    counts, codes, places, lengths = rest
    first = np.concatenate([[0], np.cumsum(counts)])
    members = Members(tuple(names), first, codes.astype(np.uint16), np.cumsum(places), lengths)
    return ShardIndex(starts, sizes, members, packed=False)
