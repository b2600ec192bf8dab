"""The index in a database that speaks SQL: the statements, for all dialects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atdata.databases import SqlConnection, SqlTables
from atdata.local.database import FoundRow, RecordRow, nothing_there, still_needed, taken

_FORMAT_1 = (
    """
    CREATE TABLE atdata_records (
        number {number},
        key {text} NOT NULL UNIQUE,
        rkey {text} NOT NULL,
        collection {text} NOT NULL,
        name {bytes} NOT NULL,
        slot {bytes} NOT NULL,
        rank {bytes} NOT NULL,
        content {text} NOT NULL,
        cid {text} NOT NULL,
        target {text} REFERENCES atdata_records (key),
        value {bytes} NOT NULL,
        UNIQUE (collection, name, slot)
    )
    """,
    "CREATE INDEX atdata_newest ON atdata_records (collection, name, rank, number)",
    "CREATE INDEX atdata_content ON atdata_records (collection, name, content, rank, number)",
    "CREATE INDEX atdata_recent ON atdata_records (collection, number)",
    "CREATE INDEX atdata_cid ON atdata_records (collection, cid, number)",
    "CREATE INDEX atdata_target ON atdata_records (target, collection, number)",
)
TABLES = SqlTables("atdata", steps=(_FORMAT_1,), in_header=True)
"""Text that people choose is stored as its UTF-8 bytes: every database sorts those alike, and takes them all."""

_INSERT = """
    INSERT INTO atdata_records (key, rkey, collection, name, slot, rank, content, cid, target, value)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_FOUND = "SELECT number, rkey, cid, value FROM atdata_records"
_LOST = """
    SELECT key, target FROM atdata_records AS lost WHERE target IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM atdata_records AS found WHERE found.key = lost.target)
"""
_ALL = 1 << 62  # no limit
# The columns slot and rank hold what a `RecordRow` calls unique_key and sort_key.
_RANKED = "ORDER BY rank DESC, number DESC"


class SqlDatabase:
    """Rows in one table.

    Args:
        connection: to the database that has it; it was opened with `TABLES`.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    def insert(self, rows: Sequence[RecordRow], after: RecordRow | None = None) -> None:
        """See `Database`."""

        def work(cursor: Any) -> None:
            if after is not None:  # locked first, so that the look afterwards sees what others wrote after it
                cursor.execute(self._sql(f"{_FOUND} WHERE key = ? {self._connection.dialect.lock}"), [after.key])
                newest = f"{_FOUND} WHERE collection = ? AND name = ? {_RANKED} LIMIT 1"
                cursor.execute(self._sql(newest), [after.collection, _raw(after.name)])
                if (found := cursor.fetchone()) is None or found[1] != after.rkey:
                    raise taken()
            for row in rows:
                values: list[object] = [
                    row.key,
                    row.rkey,
                    row.collection,
                    _raw(row.name),
                    _raw(row.unique_key),
                    row.sort_key,
                ]
                values += [row.content, row.cid, row.target, row.value]
                cursor.execute(self._sql(_INSERT), values)
                if not cursor.rowcount and self._one(cursor, "WHERE key = ?", row.key, row.cid) is None:
                    raise taken()

        self._connection.write(work, violated=nothing_there, one=len(rows) == 1 and after is None)

    def swap(self, row: RecordRow, cid: str) -> None:
        """See `Database`."""
        self.replace([(row, cid)], ())

    def replace(self, swaps: Sequence[tuple[RecordRow, str]], gone: Sequence[RecordRow]) -> None:
        """See `Database`."""

        def work(cursor: Any) -> None:
            for row, cid in swaps:
                swap = "UPDATE atdata_records SET cid = ?, value = ?, target = ? WHERE key = ? AND cid IN (?, ?)"
                cursor.execute(self._sql(swap), [row.cid, row.value, row.target, row.key, cid, row.cid])
                if not cursor.rowcount:
                    raise taken()
            for row in _referring_first(gone):
                cursor.execute(self._sql("DELETE FROM atdata_records WHERE key = ? AND cid = ?"), [row.key, row.cid])
                if not cursor.rowcount and self._there(cursor, row.key):
                    raise taken()

        self._connection.write(work, violated=still_needed, one=len(swaps) + len(gone) == 1)

    def _there(self, cursor: Any, key: str) -> bool:
        cursor.execute(self._sql(f"{_FOUND} WHERE key = ?"), [key])
        return cursor.fetchone() is not None

    def delete(self, rows: Sequence[RecordRow]) -> None:
        """See `Database`."""

        def work(cursor: Any) -> None:
            gone = [(row.key, row.cid) for row in _referring_first(rows)]
            cursor.executemany(self._sql("DELETE FROM atdata_records WHERE key = ? AND cid = ?"), gone)

        self._connection.write(work, violated=still_needed)

    def _one(self, cursor: Any, where: str, key: str, cid: str) -> Any:
        cursor.execute(self._sql(f"{_FOUND} {where} AND cid = ?"), [key, cid])
        return cursor.fetchone()

    def get(self, key: str) -> FoundRow | None:
        """See `Database`."""
        return self._first("WHERE key = ?", key)

    def of_cid(self, collection: str, cid: str) -> FoundRow | None:
        """See `Database`."""
        return self._first("WHERE collection = ? AND cid = ? ORDER BY number DESC LIMIT 1", collection, cid)

    def newest(self, collection: str, name: str) -> FoundRow | None:
        """See `Database`."""
        return self._first(f"WHERE collection = ? AND name = ? {_RANKED} LIMIT 1", collection, _raw(name))

    def of_name(self, collection: str, name: str) -> list[FoundRow]:
        """See `Database`."""
        return self._all(f"WHERE collection = ? AND name = ? {_RANKED}", collection, _raw(name))

    def of_unique_key(self, collection: str, name: str, unique_key: str) -> FoundRow | None:
        """See `Database`."""
        return self._first("WHERE collection = ? AND name = ? AND slot = ?", collection, _raw(name), _raw(unique_key))

    def of_content(self, collection: str, name: str, content: str) -> FoundRow | None:
        """See `Database`."""
        where = f"WHERE collection = ? AND name = ? AND content = ? {_RANKED} LIMIT 1"
        return self._first(where, collection, _raw(name), content)

    def recent(self, collection: str, limit: int, before: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        if before is None:
            return self._all("WHERE collection = ? ORDER BY number DESC LIMIT ?", collection, limit)
        where = "WHERE collection = ? AND number < ? ORDER BY number DESC LIMIT ?"
        return self._all(where, collection, before, limit)

    def under(self, collection: str, prefix: str, limit: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        where = "WHERE collection = ? AND name >= ? AND name < ? ORDER BY name, rank DESC, number DESC LIMIT ?"
        # No byte of UTF-8 is 255.
        return self._all(where, collection, _raw(prefix), _raw(prefix) + b"\xff", _ALL if limit is None else limit)

    def referring(self, key: str, collection: str) -> list[FoundRow]:
        """See `Database`."""
        return self._all("WHERE target = ? AND collection = ? ORDER BY number DESC", key, collection)

    def faults(self) -> list[str]:
        """See `Database`."""

        def work(cursor: Any) -> list[str]:
            cursor.execute(_LOST)
            return [f"{key} refers to {target}, which is not there" for key, target in cursor.fetchall()]

        return [*self._connection.faults(), *self._connection.read(work, one=True)]

    def risks(self) -> list[str]:
        """See `Database`."""
        return []

    def close(self) -> None:
        """See `Database`."""
        self._connection.close()

    def __len__(self) -> int:
        """The number of rows."""

        def work(cursor: Any) -> int:
            cursor.execute("SELECT count(*) FROM atdata_records")
            return int(cursor.fetchone()[0])

        return self._connection.read(work, one=True)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"SqlDatabase({self._connection!r})"

    def _first(self, where: str, *values: object) -> FoundRow | None:
        found = self._all(where, *values)
        return found[0] if found else None

    def _all(self, where: str, *values: object) -> list[FoundRow]:
        def work(cursor: Any) -> list[Any]:
            cursor.execute(self._sql(f"{_FOUND} {where}"), values)
            return list(cursor.fetchall())

        return [
            FoundRow(number, str(rkey), str(cid), bytes(value) if isinstance(value, bytes | memoryview) else b"")
            for number, rkey, cid, value in self._connection.read(
                work, one=True
            )  # a database may hold what we did not put there
        ]

    def _sql(self, text: str) -> str:
        return self._connection.dialect.sql(text)


def _referring_first(rows: Sequence[RecordRow]) -> list[RecordRow]:
    """Rows, each before the one it refers to."""
    known = {row.key: row for row in rows}

    def depth(row: RecordRow) -> int:
        above = None if row.target is None else known.get(row.target)
        return 0 if above is None else 1 + depth(above)

    return sorted(rows, key=depth, reverse=True)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
