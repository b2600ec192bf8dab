"""A database of an index in a dict: the simplest reference for what every other one must answer."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from atdata.local.database import FoundRow, RecordRow, nothing_there, still_needed, taken

_KNOWN: WeakValueDictionary[str, MemoryDatabase] = WeakValueDictionary()


class MemoryDatabase:
    """Rows in this process's memory; every lookup looks at all of them. It pickles to itself, within the process."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, RecordRow]] = {}
        self._number = 0
        self._lock = threading.RLock()
        self._id = uuid.uuid4().hex
        _KNOWN[self._id] = self

    def __reduce__(self) -> tuple[Callable[[str], MemoryDatabase], tuple[str]]:
        return _known, (self._id,)

    def insert(self, rows: Sequence[RecordRow], after: RecordRow | None = None) -> None:
        """See `Database`."""
        with self._lock:
            newest = None if after is None else self.newest(after.collection, after.name)
            if after is not None and (newest is None or newest.rkey != after.rkey):
                raise taken()
            then, number = dict(self._rows), self._number
            for row in rows:
                if row.key in then and then[row.key][1].cid == row.cid:
                    continue
                if row.key in then or any(_place(row) == _place(there) for _, there in then.values()):
                    raise taken()
                if row.target is not None and row.target not in then:
                    raise nothing_there()
                number += 1
                then[row.key] = (number, row)
            self._rows, self._number = then, number

    def swap(self, row: RecordRow, cid: str) -> None:
        """See `Database`."""
        self.replace([(row, cid)], ())

    def replace(self, swaps: Sequence[tuple[RecordRow, str]], gone: Sequence[RecordRow]) -> None:
        """See `Database`."""
        with self._lock:
            before, after = self._rows, dict(self._rows)
            for row, cid in swaps:
                number, there = before.get(row.key, (0, None))
                if there is None or there.cid not in (cid, row.cid):
                    raise taken()
                after[row.key] = (number, row)
            if any(row.key in before and before[row.key][1].cid != row.cid for row in gone):
                raise taken()
            self._rows = after
            try:
                self.delete(gone)
            except BaseException:
                self._rows = before
                raise

    def delete(self, rows: Sequence[RecordRow]) -> None:
        """See `Database`."""
        gone = {(row.key, row.cid) for row in rows}
        with self._lock:
            after = {key: item for key, item in self._rows.items() if (key, item[1].cid) not in gone}
            if any(row.target in self._rows and row.target not in after for _, row in after.values()):
                raise still_needed()
            self._rows = after

    def get(self, key: str) -> FoundRow | None:
        """See `Database`."""
        return self._first(lambda row: row.key == key)

    def of_cid(self, collection: str, cid: str) -> FoundRow | None:
        """See `Database`."""
        return self._first(lambda row: (row.collection, row.cid) == (collection, cid))

    def newest(self, collection: str, name: str) -> FoundRow | None:
        """See `Database`."""
        found = self.of_name(collection, name)
        return found[0] if found else None

    def of_name(self, collection: str, name: str) -> list[FoundRow]:
        """See `Database`."""
        return self._sorted(lambda row: (row.collection, row.name) == (collection, name), _by_sort_key)

    def of_unique_key(self, collection: str, name: str, unique_key: str) -> FoundRow | None:
        """See `Database`."""
        return self._first(lambda row: _place(row) == (collection, name, unique_key))

    def of_content(self, collection: str, name: str, content: str) -> FoundRow | None:
        """See `Database`."""
        wanted = (collection, name, content)
        found = self._sorted(lambda row: (row.collection, row.name, row.content) == wanted, _by_sort_key)
        return found[0] if found else None

    def recent(self, collection: str, limit: int, before: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        found = self._sorted(lambda row: row.collection == collection, _by_number)
        return [item for item in found if before is None or item.number < before][:limit]

    def under(self, collection: str, prefix: str, limit: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        names = {row.name for _, row in self._rows.values() if row.collection == collection}
        found: list[FoundRow] = []
        for name in sorted(name for name in names if name.startswith(prefix)):  # code points sort as their UTF-8 does
            found += self.of_name(collection, name)
        return found[:limit]

    def referring(self, key: str, collection: str) -> list[FoundRow]:
        """See `Database`."""
        return self._sorted(lambda row: (row.target, row.collection) == (key, collection), _by_number)

    def risks(self) -> list[str]:
        """See `Database`."""
        return []

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return True

    def faults(self) -> list[str]:
        """See `Database`."""
        return []

    def close(self) -> None:
        """See `Database`."""

    def _first(self, wanted: Callable[[RecordRow], bool]) -> FoundRow | None:
        found = self._sorted(wanted, _by_number)
        return found[0] if found else None

    def _sorted(
        self, wanted: Callable[[RecordRow], bool], order: Callable[[tuple[int, RecordRow]], tuple[bytes, int]]
    ) -> list[FoundRow]:
        """The rows that are wanted, the greatest first."""
        items = [item for item in self._rows.values() if wanted(item[1])]
        items.sort(key=order, reverse=True)
        return [FoundRow(number, row.rkey, row.cid, row.value) for number, row in items]

    def __repr__(self) -> str:
        return "MemoryDatabase()"


def _known(name: str) -> MemoryDatabase:
    return _KNOWN[name]


def _place(row: RecordRow) -> tuple[str, str, str]:
    return row.collection, row.name, row.unique_key


def _by_sort_key(item: tuple[int, RecordRow]) -> tuple[bytes, int]:
    return item[1].sort_key, item[0]


def _by_number(item: tuple[int, RecordRow]) -> tuple[bytes, int]:
    return b"", item[0]
