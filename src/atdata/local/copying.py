"""Copying of an index from one database to another, with everything in it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from atdata.errors import AtdataError, ConflictError
from atdata.local.database import Database, RecordRow, TakenError
from atdata.local.integrity import KINDS
from atdata.local.records import record_of, row_of
from atdata.progress import progress
from atdata.records import Record
from atdata.records.address import AUTHORITY

_PAGE = 500


@dataclass(frozen=True)
class CopiedRecords:
    """The records of an index that was copied.

    Attributes:
        copied: how many were not in the other index before.
        changed: how many were there and said something else about the same.
        same: how many were there already.
        unread: the addresses of those that cannot be read, and were passed over.
    """

    copied: int = 0
    changed: int = 0
    same: int = 0
    unread: tuple[str, ...] = field(default=())


def copy_records(source: Database, target: Database) -> CopiedRecords:
    """Copy all records of an index: schemas, entries, labels (retracted ones too) and lenses, in the order of their making.

    What is there already is not written again, so the same call once more goes on where one that was killed has stopped.
    Where the two say something else about the same dataset or version, the source is right. Nothing is deleted.

    Raises:
        ConflictError: a key, a version or a content stands for another record in the target.
        NetworkError, StorageError, AuthError: a database cannot be read or written.
    """
    copied = changed = same = 0
    unread: list[str] = []
    bounds = {kind: _bounds(source, str(kind.NSID)) for kind in KINDS}
    with progress("Copying the index", sum(size for _, size in bounds.values())) as bars:
        for kind, (starts, size) in bounds.items():
            bars.begin(f"{kind.NSID.name} records", size)
            for start in starts:
                page = source.recent(str(kind.NSID), _PAGE, start)[::-1]
                rows = []
                for found in page:
                    try:
                        rows.append(row_of(record_of(found, kind)))
                    except AtdataError:
                        unread.append(f"at://{AUTHORITY}/{kind.NSID}/{found.rkey}")
                missing = [row for row in rows if target.get(row.key) is None]
                differing = [row for row in rows if row not in missing and _differs(target, row)]
                with suppress(TakenError):
                    target.insert(missing)
                    copied += len(missing)
                    missing = []
                for row in missing:  # one of them is in the way of another
                    _insert(target, row)
                    copied += 1
                for row in differing:
                    _change(target, row, kind)
                changed += len(differing)
                same += len(rows) - len(differing)
                bars.advance(sum(len(found.value) for found in page))
    return CopiedRecords(copied, changed, same - copied, tuple(unread))


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


def _differs(target: Database, row: RecordRow) -> bool:
    there = target.get(row.key)
    return there is not None and there.cid != row.cid


def _insert(target: Database, row: RecordRow) -> None:
    try:
        target.insert([row])
    except TakenError as error:
        raise _conflict(row) from error


def _change(target: Database, row: RecordRow, kind: type[Record]) -> None:
    """Put a record in the place of one that says something else about the same."""
    there = target.get(row.key)
    if there is None:
        return _insert(target, row)
    stands = row_of(record_of(there, kind))
    if (stands.name, stands.unique_key, stands.content) != (row.name, row.unique_key, row.content):
        raise _conflict(row)
    return target.swap(row, there.cid)


def _conflict(row: RecordRow) -> ConflictError:
    return ConflictError(
        "the other index has something else in the place of a record",
        uri=f"at://{AUTHORITY}/{row.key}",
        expected=f"{row.name} {row.unique_key.removeprefix('version:')}",
        hint="Copy into an index of its own, or remove there what is in the way. What was copied until now stays.",
    )
