"""The check of a whole index: every record what it should be, and found by all that it is filed under."""

from __future__ import annotations

from atdata.errors import AtdataError
from atdata.index import RecordIndex
from atdata.local.database import Database, FoundRow, RecordRow
from atdata.local.records import LocalRecords, record_of, row_of, rows_of
from atdata.records import Entry, Label, LensRecord, LensVerification, Record, Schema

KINDS: tuple[type[Record], ...] = (Schema, Entry, Label, LensRecord, LensVerification)
"""The kinds of records that an index holds, each after those it refers to."""


def check(index: RecordIndex[LocalRecords]) -> list[str]:
    """The faults of an index, a line each; nothing where it is whole. Nobody should be writing meanwhile.

    Every record is checked against its CID and its lexicon, looked up by all that it is filed under, and what it
    refers to must be there. It takes several lookups for each record.
    """
    database = index.records.database
    found, count = database.faults(), 0
    for kind in KINDS:
        names = _Names(database, str(kind.NSID))
        where = str(kind.NSID)
        try:
            for item in rows_of(database, str(kind.NSID)):
                count += 1
                where = f"{kind.NSID}/{item.rkey}"
                found += _of_row(names, item, kind, where)
        except AtdataError as error:
            found.append(f"{where}: {error.what}")
    if count != len(database):
        found.append(f"there are {len(database)} records, of which {count} are of a kind we know")
    return found


def _of_row(names: _Names, item: FoundRow, kind: type[Record], where: str) -> list[str]:
    try:
        row = row_of(record_of(item, kind))
        return [f"{where} is not found by its {what}" for what in _lookups_without(names, row, item)]
    except AtdataError as error:
        return [f"{where}: {error.what}"]


class _Names:
    """The numbers of the rows of each name of a kind, the newest first; asked for once for each name."""

    def __init__(self, database: Database, collection: str) -> None:
        self.database, self.collection = database, collection
        self.known: dict[str, dict[int, None]] = {}
        self.faulty: set[str] = set()

    def numbers(self, name: str) -> dict[int, None]:
        if name not in self.known:
            rows = self.database.of_name(self.collection, name)
            if rows != self.database.under(self.collection, name, len(rows)):
                self.faulty.add(name)
            self.known[name] = dict.fromkeys(row.number for row in rows)
        return self.known[name]


def _lookups_without(names: _Names, row: RecordRow, found: FoundRow) -> list[str]:
    """The lookups that should lead to a row, and do not."""
    database, named = names.database, names.numbers(row.name)
    newest, said = database.newest(row.collection, row.name), database.of_content(row.collection, row.name, row.content)
    of_cid = database.of_cid(row.collection, row.cid)
    leads = {
        "key": database.get(row.key) == found,
        "name": found.number in named and newest is not None and newest.number == next(iter(named)),
        "prefix": row.name not in names.faulty,
        "unique key": database.of_unique_key(row.collection, row.name, row.unique_key) == found,
        "content": said is not None and said.number in named,
        "CID": of_cid is not None and of_cid.cid == found.cid,
        "target": row.target is None or database.get(row.target) is not None,
    }
    return [what for what, fine in leads.items() if not fine]
