"""Copying of an index from one database to another, with everything in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields

from atdata.errors import AtdataError, ConflictError
from atdata.local.database import Database, FoundRow, RecordRow, TakenError
from atdata.local.integrity import KINDS
from atdata.local.records import record_of, row_of, rows_of
from atdata.progress import progress
from atdata.records import Entry, Label, Record
from atdata.records.address import AUTHORITY

_PAGE = 500


@dataclass(frozen=True)
class CopiedRecords:
    """The records of an index that was copied.

    Attributes:
        copied: how many were not in the other index before.
        changed: how many were there and said something else about the same.
        same: how many were there already.
        withdrawn: how many entries are not there, or no longer, since every version that stood for them is retracted.
        unread: the addresses of those that cannot be read, and were passed over.
    """

    copied: int = 0
    changed: int = 0
    same: int = 0
    withdrawn: int = 0
    unread: tuple[str, ...] = field(default=())

    def __add__(self, other: CopiedRecords) -> CopiedRecords:
        return CopiedRecords(*(getattr(self, name) + getattr(other, name) for name in _COUNTS))


_COUNTS = tuple(item.name for item in fields(CopiedRecords))


def copy_records(source: Database, target: Database) -> CopiedRecords:
    """Copy all records of an index: schemas, entries, labels (retracted ones too), lenses and their verifications, in the
    order of their making.

    What is there already is not written again, so the same call once more goes on where one that was killed has stopped.
    Where the two say something else about the same dataset or version, the source is right, but for this: a version that
    one of them has retracted is retracted, and the entry is taken out for which no other version stands. Nothing else is
    deleted.

    Raises:
        ConflictError: a key, a version or a content stands for another record in the target.
        NetworkError, StorageError, AuthError: a database cannot be read or written.
    """
    withdrawn = _withdrawn(source, target)
    done = CopiedRecords()
    bounds = {kind: _bounds(source, str(kind.NSID)) for kind in KINDS}
    with progress("Copying the index", sum(size for _, size in bounds.values())) as bars:
        for kind, (starts, size) in bounds.items():
            bars.begin(f"{kind.NSID.name} records", size)
            for start in starts:
                page = source.recent(str(kind.NSID), _PAGE, start)[::-1]
                done += _copy_page(page, kind, target, withdrawn)
                bars.advance(sum(len(found.value) for found in page))
    return done + CopiedRecords(withdrawn=_take_out(target, withdrawn))


def _copy_page(
    page: Sequence[FoundRow], kind: type[Record], target: Database, withdrawn: Collection[str]
) -> CopiedRecords:
    """Copy some rows of a kind, the oldest first; entries that are withdrawn only where they are there already."""
    missing, differing, same, left, unread = list[RecordRow](), list[Record](), 0, 0, list[str]()
    for found in page:
        try:
            record = record_of(found, kind)
            row = row_of(record)
        except AtdataError:
            unread.append(f"at://{AUTHORITY}/{kind.NSID}/{found.rkey}")
            continue
        there = target.get(row.key)
        if there is None and row.key in withdrawn:
            left += 1
        elif there is None:
            missing.append(row)
        elif there.cid != row.cid:
            differing.append(record)
        else:
            same += 1
    try:
        target.insert(missing)
    except TakenError:  # one of them is in the way of another
        for row in missing:
            _insert(target, row)
    changed = sum(_change(target, record, kind) for record in differing)
    return CopiedRecords(len(missing), changed, same + len(differing) - changed, left, tuple(unread))


def _withdrawn(source: Database, target: Database) -> set[str]:
    """The keys of the entries for which versions stood that are all retracted by now, in one of two indexes or in both."""
    led, live = set[str](), set[str]()
    for found in rows_of(source, str(Label.NSID)):
        with suppress(AtdataError):
            label = record_of(found, Label)
            there = target.get(row_of(label).key)
            entry = f"{label.dataset_uri.collection}/{label.dataset_uri.rkey}"
            led.add(entry)
            if not label.is_retracted and (there is None or not record_of(there, Label).is_retracted):
                live.add(entry)
    return led - live


def _take_out(target: Database, entries: Collection[str]) -> int:
    """Delete those of some entries to which no label leads; how many there were."""
    count = 0
    for key in entries:
        if (found := target.get(key)) is not None:
            with suppress(ConflictError):  # a label leads there that only the target has
                target.delete([row_of(record_of(found, Entry))])
                count += 1
    return count


def _bounds(database: Database, collection: str) -> tuple[list[int], int]:
    """The numbers before which pages of a kind end, the oldest first, and the bytes in all: of the rows that are there now."""
    bounds, size = list[int](), 0
    page = database.recent(collection, 1)
    bound = page[0].number + 1 if page else 0
    while page := database.recent(collection, _PAGE, bound):
        bounds.append(bound)
        size += sum(len(found.value) for found in page)
        bound = page[-1].number
    return bounds[::-1], size


def _insert(target: Database, row: RecordRow) -> None:
    try:
        target.insert([row])
    except TakenError as error:
        raise _conflict(row) from error


def _change(target: Database, record: Record, kind: type[Record]) -> bool:
    """Put a record in the place of one that says something else about the same, unless that says that it is retracted."""
    row = row_of(record)
    while (there := target.get(row.key)) is not None:
        found = record_of(there, kind)
        stands = row_of(found)
        if (stands.name, stands.unique_key, stands.content) != (row.name, row.unique_key, row.content):
            raise _conflict(row)
        if found.is_retracted and not record.is_retracted:
            return False
        with suppress(TakenError):  # somebody was faster; what they wrote is found now
            target.swap(row, there.cid)
            return True
    _insert(target, row)
    return True


def _conflict(row: RecordRow) -> ConflictError:
    return ConflictError(
        "the other index has something else in the place of a record",
        uri=f"at://{AUTHORITY}/{row.key}",
        expected=f"{row.name} {row.unique_key.removeprefix('version:')}",
        hint="Copy into an index of its own, or remove there what is in the way. What was copied until now stays.",
    )
