"""The one way in which a replica changes: a repository is moved to a signed commit, in one transaction.

What changed is found by walking the tree that is held and the signed one beside each other, in the part of our
collections. Nobody's list of changes is believed, and no commit in between need have been seen: the records held are
those that the signed tree has, or nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from atdata.atproto.cid import Cid
from atdata.atproto.repo import MAX_RECORD
from atdata.atproto.repo.diff import Difference, Operation, diff
from atdata.atproto.repo.node import MissingBlockError
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Tid
from atdata.errors import LimitError, RollbackError
from atdata.replica.blocks import KnownBlocks
from atdata.replica.columns import RecordColumns, columns_of
from atdata.replica.statements import Statements, now
from atdata.replica.tables import PREFIXES

Status = Literal["active", "deactivated", "suspended", "takendown", "deleted"]
"""The state of an account. Only an active one's records are shown to anybody."""

WAITING = 5_000
"""Accounts that wait to be looked at for the first time: no more are taken, whoever speaks of them."""

ASKED = "it was asked for"
"""The reason for which an account is marked that a stranger has asked for."""

_LOG = "INSERT INTO replica_changes (moment, action, account, key, record, cid) VALUES (?, ?, ?, ?, ?, ?)"


class RecordChange(Struct, frozen=True):
    """A change of a record.

    Attributes:
        number: of its row.
        action: what was done with it.
        key: `collection/rkey`.
        cid: the record after; `None` where it was deleted.
        columns: of the record after.
    """

    number: int
    action: Literal["create", "update", "delete"]
    key: str
    cid: Cid | None
    columns: RecordColumns | None


class Moved(Struct, frozen=True):
    """The outcome of moving a repository to a commit.

    Attributes:
        changes: of our records, in the order of their keys.
        missing: blocks that it takes and that nobody has brought: nodes, or records. Then nothing was written.
        was_there: the repository was at this commit, or a later one, already.
    """

    changes: tuple[RecordChange, ...] = ()
    missing: tuple[Cid, ...] = ()
    was_there: bool = False


class Derivation(Protocol):
    """Tables made from records, kept in the transactions that change these, such as those of a search."""

    def apply(self, sql: Statements, account: int, changes: Sequence[RecordChange]) -> None:
        """Follow changes of an account's records."""

    def show(self, sql: Statements, account: int, visible: bool) -> None:
        """Hide all of an account, or show it again."""


class HeadRow(Struct, frozen=True):
    """The head of a repository as it is kept; all `None` before the first commit."""

    account: int
    rev: str | None
    root: Cid | None
    head: bytes | None
    status: str

    @classmethod
    def read(cls, sql: Statements, did: Did, *, lock: bool = False) -> HeadRow | None:
        """The head of an account; `None` where the account is unknown."""
        words = sql.dialect.lock if lock else ""
        row = sql.first(f"SELECT id, rev, root, head, status FROM replica_accounts WHERE did = ? {words}", did)  # noqa: S608
        if row is None:
            return None
        account, rev, root, head, status = row
        return cls(account, rev, root and Cid.from_bytes(root), None if head is None else bytes(head), status)


class Writing:
    """A transaction on a replica.

    Args:
        sql: in a transaction.
        derivations: that follow.
    """

    def __init__(self, sql: Statements, derivations: Sequence[Derivation] = ()) -> None:
        self.sql, self._derivations = sql, derivations

    def head(self, did: Did) -> HeadRow:
        """The head of an account's repository, locked; the account is made where there is none."""
        found = HeadRow.read(self.sql, did, lock=True)
        if found is None:
            self.sql.run("INSERT INTO replica_accounts (did) VALUES (?) ON CONFLICT (did) DO NOTHING", did)
            found = HeadRow.read(self.sql, did, lock=True)
        assert found is not None
        return found

    def move(self, proven: ProvenCommit, brought: Mapping[Cid, bytes], now: int) -> Moved:
        """Move a repository to a commit, of which the signature was verified.

        Args:
            proven: the commit.
            brought: nodes and records, each what its CID names; what is held need not be among them.
            now: in microseconds since 1970.

        Raises:
            RollbackError: there is another commit of the same revision.
            ProofError: a node is malformed or misplaced, or one that is held is not what its CID names.
            LimitError: a record is larger than any may be.
        """
        head, commit = self.head(proven.commit.did), proven.commit
        if head.rev is not None and commit.rev <= head.rev:
            _check_same(head, proven)
            if commit.rev < head.rev or head.root is not None:
                return Moved(was_there=True)
        known = KnownBlocks(self.sql, head.account, brought)
        try:
            found = diff(head.root, commit.data, known, PREFIXES)
        except (
            MissingBlockError
        ):  # of the tree that is held, which is made anew: what a new one lacks is only asked for
            head = replace(head, root=None)
            found = diff(None, commit.data, known, PREFIXES)
        operations = found.operations if head.root else against_rows(self.sql, head.account, found.operations)
        lacking = [cid for _, cid, _ in map(_parts, operations) if cid and cid.codec == "dag-cbor" and cid not in known]
        if missing := (*found.missing, *dict.fromkeys(lacking)):
            return Moved(missing=missing)
        for key, cid, _ in map(_parts, operations):
            if cid is not None and len(known.get(cid, b"")) > MAX_RECORD:
                limit = f"at most {MAX_RECORD} bytes"
                raise LimitError("a record is too large", uri=f"at://{commit.did}/{key}", expected=limit)
        changes = [self._write(head.account, operation, commit.rev, known, commit.did, now) for operation in operations]
        self._write_tree(head, proven, found, known)
        self._log(head.account, changes, now)
        for derivation in self._derivations:
            derivation.apply(self.sql, head.account, changes)
        return Moved(tuple(changes))

    def _write_tree(self, head: HeadRow, proven: ProvenCommit, found: Difference, known: KnownBlocks) -> None:
        if head.root is None:
            self.sql.run("DELETE FROM replica_nodes WHERE account = ?", head.account)
        gone = "DELETE FROM replica_nodes WHERE account = ? AND cid = ?"
        self.sql.run_each(gone, [(head.account, bytes(cid)) for cid in found.removed])
        new = "INSERT INTO replica_nodes (account, cid, block) VALUES (?, ?, ?)"
        self.sql.run_each(new, [(head.account, bytes(cid), known[cid]) for cid in found.added])
        update, commit = "UPDATE replica_accounts SET rev = ?, root = ?, head = ? WHERE id = ?", proven.commit
        self.sql.run(update, str(commit.rev), bytes(commit.data), commit.encode(), head.account)

    def _write(
        self, account: int, operation: Operation, rev: Tid, known: KnownBlocks, did: Did, now: int
    ) -> RecordChange:
        """Write one record, or delete it."""
        key, cid, prev = _parts(operation)
        number, first_seen = None, now
        if prev is not None:
            held = "SELECT id, first_seen FROM replica_records WHERE account = ? AND key = ?"
            number, first_seen = self.sql.first(held, account, key.encode())
            self.sql.run("DELETE FROM replica_links WHERE record = ?", number)
        if cid is None:
            self.sql.run("DELETE FROM replica_records WHERE id = ?", number)
            assert number is not None
            return RecordChange(number, operation.action, key, None, None)
        block = known.get(cid) if cid.codec == "dag-cbor" else None
        columns = columns_of(did, key, cid, block)
        values = {"cid": bytes(cid), "block": block, "rev": str(rev), "verified_at": now}
        if number is None:
            values |= {"account": account, "kind": columns.kind, "key": key.encode(), "first_seen": first_seen}
            values |= _derived(columns, first_seen)
            marks = ", ".join("?" * len(values))
            insert = f"INSERT INTO replica_records ({', '.join(values)}) VALUES ({marks}) RETURNING id"  # noqa: S608
            (number,) = self.sql.first(insert, *values.values())
        else:
            self._update(number, values | _derived(columns, first_seen))
        self._link(number, columns)
        return RecordChange(number, operation.action, key, cid, columns)

    def _update(self, number: int, values: Mapping[str, Any]) -> None:
        update = f"UPDATE replica_records SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?"  # noqa: S608
        self.sql.run(update, *values.values(), number)

    def _link(self, number: int, columns: RecordColumns) -> None:
        links = [(number, link.relation, _raw(link.target), _raw(link.cid)) for link in columns.links]
        self.sql.run_each("INSERT INTO replica_links (record, relation, target, cid) VALUES (?, ?, ?, ?)", links)

    def _log(self, account: int, changes: Sequence[RecordChange], now: int) -> None:
        rows = [(now, c.action, account, c.key.encode(), c.number, c.cid and bytes(c.cid)) for c in changes]
        self.sql.run_each(_LOG, rows)

    def mark_behind(self, did: Did, reason: str, by: int | None = None) -> None:
        """Note that a repository must be compared with its own server; the reason that was first given stays, unless it was `ASKED`.

        Args:
            did: whose.
            reason: why.
            by: the moment at which it is tried again at the latest, however often that failed before.
        """
        account = self.head(did).account
        update = """UPDATE replica_accounts SET behind = COALESCE(NULLIF(behind, ?), ?), marks = marks + 1,
            next_try = CASE WHEN behind IS NULL THEN ? ELSE next_try END WHERE id = ?"""
        self.sql.run(update, ASKED, reason, now(), account)  # who was marked first has the first turn
        if by is not None:
            self.sql.run("UPDATE replica_accounts SET next_try = ? WHERE id = ? AND next_try > ?", by, account, by)

    def is_marked(self, did: Did, marks: int) -> bool:
        """True if a repository was marked as often as that, and not again since; it is locked."""
        words = self.sql.dialect.lock
        found = f"SELECT 1 FROM replica_accounts WHERE did = ? AND marks = ? AND behind IS NOT NULL {words}"  # noqa: S608
        return self.sql.first(found, did, marks) is not None

    def caught_up(self, did: Did, marks: int) -> bool:
        """Take the mark off a repository that was compared; `False` where it was marked again since there were `marks`."""
        if not self.is_marked(did, marks):
            return False
        self.sql.run("UPDATE replica_accounts SET behind = NULL, tries = 0, next_try = 0 WHERE did = ?", did)
        return True

    def retry(self, did: Did, marks: int, next_try: int, by: int, *, failed: bool = True) -> None:
        """Let a repository that could not be compared, or not yet, be tried at a moment.

        Args:
            did: whose.
            marks: how often it was marked when it was tried.
            next_try: the moment.
            by: the moment at the latest, if it was marked again meanwhile: that may have ended what stopped it.
            failed: whether it was tried.
        """
        update = """UPDATE replica_accounts SET tries = tries + ?, next_try = CASE WHEN marks = ? THEN ? ELSE ? END
            WHERE did = ?"""
        self.sql.run(update, int(failed), marks, next_try, min(next_try, by), did)

    def forget(self, did: Did, *, empty: bool = False) -> bool:
        """Forget an account of which no record was ever held; `True` if it was one.

        Args:
            did: the account.
            empty: whether also one that was verified to hold none.
        """
        head = self.head(did)
        logged = "SELECT 1 FROM replica_changes WHERE account = ? LIMIT 1"
        held = "SELECT 1 FROM replica_records WHERE account = ? LIMIT 1"
        if head.head is not None and not empty:
            return False
        if any(self.sql.first(found, head.account) is not None for found in (logged, held)):
            return False
        for table in ("replica_identities", "replica_nodes"):
            self.sql.run(f"DELETE FROM {table} WHERE account = ?", head.account)  # noqa: S608  names of ours
        self.sql.run("DELETE FROM replica_accounts WHERE id = ?", head.account)
        return True

    def looked(self, did: Did, now: int) -> None:
        """Note when the server of an account was asked for its newest commit."""
        self.sql.run("UPDATE replica_accounts SET looked_at = ? WHERE id = ?", now, self.head(did).account)

    def set_status(self, did: Did, status: Status, now: int) -> None:
        """Show an account, or hide it."""
        head, visible = self.head(did), status == "active"
        account = head.account
        self.sql.run("UPDATE replica_accounts SET status = ? WHERE id = ?", status, account)
        if head.head is not None and visible != (head.status == "active"):
            self.sql.run(_LOG, now, "show" if visible else "hide", account, b"", 0, None)
        for derivation in self._derivations:
            derivation.show(self.sql, account, visible)

    def turn(self, did: Did, key: str, action: Literal["hide", "show"], now: int) -> None:
        """Note that a record, if it is there, is hidden from now on, or shown; derivations look at it anew."""
        found = """SELECT r.id, r.account, r.cid, r.block FROM replica_records r
            JOIN replica_accounts a ON a.id = r.account WHERE a.did = ? AND r.key = ?"""
        row = self.sql.first(found, did, key.encode())
        if row is None:
            return
        number, account, raw, block = row
        cid = Cid.from_bytes(raw)
        self.sql.run(_LOG, now, action, account, key.encode(), number, bytes(cid))
        columns = columns_of(did, key, cid, None if block is None else bytes(block))
        for derivation in self._derivations:
            derivation.apply(self.sql, account, [RecordChange(number, "update", key, cid, columns)])

    def rederive(self, did: Did) -> int:
        """Make all that is derived from an account's records anew; the number of records."""
        account = self.head(did).account
        found = "SELECT id, key, cid, block, first_seen FROM replica_records WHERE account = ? ORDER BY key"
        rows, changes = self.sql.all(found, account), []
        for number, raw_key, raw_cid, block, first_seen in rows:
            key, cid = bytes(raw_key).decode(), Cid.from_bytes(raw_cid)
            columns = columns_of(did, key, cid, None if block is None else bytes(block))
            self.sql.run("DELETE FROM replica_links WHERE record = ?", number)
            self._update(number, _derived(columns, first_seen))
            self._link(number, columns)
            changes.append(RecordChange(number, "update", key, cid, columns))
        for derivation in self._derivations:
            derivation.apply(self.sql, account, changes)
        return len(rows)

    def purge(self, did: Did, now: int) -> tuple[RecordChange, ...]:
        """Forget all that an account wrote: its repository is gone, or was never to be kept."""
        account = self.head(did).account
        changes = [
            self._write(account, operation, Tid.from_microseconds(0), KnownBlocks(self.sql, account, {}), did, now)
            for operation in against_rows(self.sql, account, ())
        ]
        self.sql.run("DELETE FROM replica_nodes WHERE account = ?", account)
        self.sql.run("UPDATE replica_accounts SET rev = NULL, root = NULL, head = NULL WHERE id = ?", account)
        self._log(account, changes, now)
        for derivation in self._derivations:
            derivation.apply(self.sql, account, changes)
        return tuple(changes)


def many_wait(sql: Statements, *, asked: bool = False) -> bool:
    """True if so many accounts wait to be looked at for the first time that no more are taken: nobody fills the database.

    Args:
        sql: in a transaction.
        asked: whether only those count that strangers have asked for, of which a tenth is taken.
    """
    waiting = "SELECT 1 FROM replica_accounts WHERE behind IS NOT NULL AND head IS NULL"
    if asked:
        return sql.first(f"{waiting} AND behind = ? LIMIT 1 OFFSET ?", ASKED, WAITING // 10 - 1) is not None
    return sql.first(f"{waiting} LIMIT 1 OFFSET ?", WAITING - 1) is not None


def against_rows(sql: Statements, account: int, listed: Sequence[Operation]) -> tuple[Operation, ...]:
    """The changes from the records that are held to those of a whole tree."""
    held = sql.all("SELECT key, cid FROM replica_records WHERE account = ?", account)
    rows = {bytes(key).decode(): Cid.from_bytes(cid) for key, cid in held}
    there = {operation.key: operation.cid for operation in listed}
    found = [Operation(key, there.get(key), rows.get(key)) for key in sorted({*rows, *there})]
    return tuple(operation for operation in found if operation.cid != operation.prev)


def _parts(operation: Operation) -> tuple[str, Cid | None, Cid | None]:
    return operation.key, operation.cid, operation.prev


def _derived(columns: RecordColumns, first_seen: int) -> dict[str, Any]:
    """The columns that can be made again."""
    return {
        "sorted_at": first_seen if columns.created is None else min(columns.created, first_seen),
        "validity": columns.validity,
        "reason": columns.reason,
        "name": _raw(columns.name),
        "version": _raw(columns.version),
        "sort_key": columns.sort_key,
        "content": columns.content and bytes(columns.content),
        "target": _raw(columns.target),
    }


def _check_same(head: HeadRow, proven: ProvenCommit) -> None:
    if proven.commit.rev == head.rev and head.head != proven.commit.encode():
        raise RollbackError(
            "there are two commits of one revision",
            step="rollback",
            uri=f"at://{proven.commit.did}",
            expected=Cid.of_cbor(head.head or b""),
            actual=proven.cid,
        )


def _raw(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")
