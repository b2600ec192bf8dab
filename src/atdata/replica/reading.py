"""Questions to a replica. Of an account that is not active nothing is shown, and nothing of one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import AtUri, Did, Nsid
from atdata.errors import LimitError, NotFoundError
from atdata.records.nsids import collections
from atdata.replica.blocks import KnownBlocks
from atdata.replica.statements import Statements
from atdata.replica.stored import StoredRecord
from atdata.replica.tables import SHOWN
from atdata.replica.writing import HeadRow

_FROM = f"SELECT {StoredRecord.COLUMNS} FROM replica_records r JOIN replica_accounts a ON a.id = r.account"  # noqa: S608  names of ours
_SIZES = "SELECT length(r.block) FROM replica_records r JOIN replica_accounts a ON a.id = r.account"
_IDS = "SELECT r.id FROM replica_records r JOIN replica_accounts a ON a.id = r.account"
_TARGETING = f"WHERE a.did = ? AND r.kind = ? AND r.target = ? AND {SHOWN} ORDER BY r.key DESC"
_NAMING = (
    f"JOIN replica_links l ON l.record = r.id WHERE l.target = ? AND l.relation = 'blob' AND a.did = ? AND {SHOWN}"
)
_HIDDEN = "SELECT key FROM replica_hidden WHERE did = ?"

MAX_BYTES = 2_000_000
"""Bytes of records that a page holds, after which it has no more; a larger one stands alone."""


class BehindMark(Struct, frozen=True):
    """A repository that must be compared with its own server: why, how often it was marked, and tried in vain."""

    did: Did
    reason: str
    marks: int
    tries: int


class Reading:
    """A snapshot of a replica.

    Args:
        sql: in a transaction.
    """

    def __init__(self, sql: Statements) -> None:
        self.sql = sql

    def account(self, did: Did) -> AccountReading:
        """The copy of one account's repository."""
        return AccountReading(self.sql, did)

    def get(self, uri: AtUri) -> StoredRecord | None:
        """The record at an address, which names its account by DID."""
        return self.account(Did(uri.authority)).get(f"{uri.collection}/{uri.rkey}")

    def behind(self, now: int, limit: int) -> list[BehindMark]:
        """Repositories that must be compared with their servers, and may be tried at a moment; the longest due first."""
        found = "SELECT did, behind, marks, tries FROM replica_accounts WHERE behind IS NOT NULL AND next_try <= ?"
        rows = self.sql.all(f"{found} ORDER BY next_try, id LIMIT ?", now, limit)
        return [BehindMark(Did(did), reason, marks, tries) for did, reason, marks, tries in rows]

    def _all(self, where: str, *values: object) -> list[StoredRecord]:
        return records_where(self.sql, where, *values)


class AccountReading:
    """A snapshot of the copy of one account's repository.

    Args:
        sql: in a transaction.
        did: the account.
    """

    def __init__(self, sql: Statements, did: Did) -> None:
        self.sql, self.did = sql, did

    def head(self) -> Commit | None:
        """The newest commit that was verified."""
        found = HeadRow.read(self.sql, self.did)
        return None if found is None or found.head is None else Commit.decode(found.head)

    def tree_head(self) -> Commit | None:
        """The newest commit that was verified, if the tree that it signed is held."""
        found = HeadRow.read(self.sql, self.did)
        return None if found is None or found.head is None or found.root is None else Commit.decode(found.head)

    def is_shown(self) -> bool:
        """True if the account is active, so that what it has is shown."""
        found = self.sql.first("SELECT 1 FROM replica_accounts WHERE did = ? AND status = 'active'", self.did)
        return found is not None

    def get(self, key: str) -> StoredRecord | None:
        """The record at a key of its tree."""
        return next(iter(self._all(f"WHERE a.did = ? AND r.key = ? AND {SHOWN}", self.did, key.encode())), None)

    def named(self, kind: str, name: str, most: int | None = None) -> list[StoredRecord]:
        """The records of a kind under a name: by version, the newest first, of equals the latest.

        Args:
            kind: of which.
            name: theirs.
            most: bytes of them all together; of any number without one.

        Raises:
            LimitError: they have more bytes.
        """
        order = "ORDER BY r.sort_key DESC, r.sorted_at DESC, r.key DESC"
        where = f"WHERE a.did = ? AND r.kind = ? AND r.name = ? AND {SHOWN} {order}"
        return records_where(self.sql, where, self.did, kind, name.encode("utf-8", "surrogatepass"), most=most)

    def all(self, kind: str, limit: int | None = None) -> list[StoredRecord]:
        """The records of a kind, the newest key first: in the collections of all eras, today's first.

        Args:
            kind: of which.
            limit: how many at most; those that are invalid do not count.
        """
        found, left = list[StoredRecord](), limit
        for collection in sorted(collections(Nsid(kind)), reverse=True):  # by ranges of keys, which have an index
            within = f"WHERE a.did = ? AND r.key >= ? AND r.key < ? AND {SHOWN}"
            first, end = f"{collection}/".encode(), f"{collection}0".encode()
            if left is None:
                found += self._all(f"{within} ORDER BY r.key DESC", self.did, first, end)
                continue
            valid = f"{within} AND r.validity <> 'invalid' ORDER BY r.key DESC LIMIT ?"
            read = self._all(valid, self.did, first, end, left)
            last = read[-1].key.encode() + b"\0" if read and len(read) == left else first
            passed = self._all(f"{within} AND r.validity = 'invalid'", self.did, last, end)
            found += sorted([*read, *passed], key=lambda record: record.key, reverse=True)
            left -= len(read)
            if not left:
                break
        return found

    def targeting(self, kind: str, target: AtUri, limit: int | None = None) -> list[StoredRecord]:
        """The records of a kind that are nothing without another, the newest key first.

        Args:
            kind: of which.
            target: the other.
            limit: how many, and no more than a page has room for; else all.
        """
        values = (self.did, kind, str(target).encode())
        if limit is None:
            return self._all(_TARGETING, *values)
        rows = self.sql.all(f"{_IDS} {_TARGETING} LIMIT ?", *values, limit)
        return numbered(self.sql, fitting(self.sql, [number for (number,) in rows]))

    def names_blob(self, cid: Cid) -> bool:
        """True if a record names a blob."""
        found = f"SELECT 1 FROM replica_records r JOIN replica_accounts a ON a.id = r.account {_NAMING} LIMIT 1"  # noqa: S608
        return self.sql.first(found, str(cid).encode(), self.did) is not None

    def naming_blobs(self, cids: Iterable[Cid]) -> list[StoredRecord]:
        """The records that name some blobs."""
        found = {row.number: row for cid in cids for row in self._all(_NAMING, str(cid).encode(), self.did)}
        return [found[number] for number in sorted(found)]

    def invalid(self) -> list[StoredRecord]:
        """The records that are none of their collection, the newest key first."""
        return self._all(f"WHERE a.did = ? AND r.validity = 'invalid' AND {SHOWN} ORDER BY r.key DESC", self.did)

    def cid_at(self, key: str) -> Cid | None:
        """The CID at a key of its tree; `None` where nothing is."""
        found = "SELECT r.cid FROM replica_records r JOIN replica_accounts a ON a.id = r.account WHERE a.did = ? AND r.key = ?"
        row = self.sql.first(found, self.did, key.encode())
        return None if row is None else Cid.from_bytes(row[0])

    def proofs(self, keys: Iterable[str], most: int | None = None) -> dict[str, bytes]:
        """The CAR for each of some keys that proves the record there, or that there is none, at the head.

        Args:
            keys: of its tree.
            most: bytes of the nodes of the tree on the way; a key with more is left out.

        Raises:
            NotFoundError: nothing is known of the account, or a record is hidden.
            ProofError: the database was changed by something else.
        """
        head = HeadRow.read(self.sql, self.did)
        if head is None or head.head is None or head.status != "active":
            raise NotFoundError(
                "nothing is known of an account", uri=AtUri.of(self.did), hint="It has to be fetched first."
            )
        known, commit = KnownBlocks(self.sql, head.account, {}), Cid.of_cbor(head.head)
        root = Commit.decode(head.head).data  # whether or not the tree is to be brought anew, what it signed is held
        found, keys = {}, set(keys)
        hidden = {bytes(key).decode() for (key,) in self.sql.all(_HIDDEN, self.did)} & keys
        if hidden:
            raise NotFoundError("nothing is shown of a record", uri=f"at://{self.did}/{min(hidden)}")
        for key, record, path in mst.proof_paths(root, keys, known):
            blocks = {commit: head.head, **{cid: known[cid] for cid in path}}
            if most is not None and sum(map(len, blocks.values())) > most:
                continue
            if record is not None and record in known:
                blocks[record] = known[record]
            found[key] = write_car([commit], blocks)
        return found

    def _all(self, where: str, *values: object) -> list[StoredRecord]:
        return records_where(self.sql, where, *values)


def records_where(sql: Statements, where: str, *values: object, most: int | None = None) -> list[StoredRecord]:
    """The records that a condition holds for.

    Raises:
        LimitError: they have more bytes than `most` together.
    """
    if most is not None:
        total = sum(size or 0 for (size,) in sql.all(f"{_SIZES} {where}", *values))
        if total > most:
            raise LimitError("records are too large together", expected=f"at most {most} bytes", actual=total)
    return [StoredRecord.of_row(row) for row in sql.all(f"{_FROM} {where}", *values)]


def numbered(sql: Statements, numbers: Sequence[int]) -> list[StoredRecord]:
    """The records of some numbers, in their order, as far as they are shown."""
    if not numbers:
        return []
    found = records_where(sql, f"WHERE {SHOWN} AND r.id IN ({', '.join('?' * len(numbers))})", *numbers)
    by_number = {record.number: record for record in found}
    return [by_number[number] for number in numbers if number in by_number]


def fitting(sql: Statements, numbers: Sequence[int], most: int = MAX_BYTES) -> list[int]:
    """The first of some records, as many as have no more bytes together than a page has room for; at least one.

    Args:
        sql: in a transaction.
        numbers: of the records, a few hundred at most.
        most: the room.
    """
    if not numbers:
        return []
    found = f"SELECT id, length(block) FROM replica_records WHERE id IN ({', '.join('?' * len(numbers))})"  # noqa: S608
    sizes = dict(sql.all(found, *numbers))
    ends = accumulate(sizes.get(number) or 0 for number in numbers)
    return [number for place, (number, end) in enumerate(zip(numbers, ends, strict=True)) if not place or end <= most]
