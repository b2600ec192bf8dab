"""The log of changes, as it is followed: none is missed, whoever writes at the same time."""

from __future__ import annotations

from itertools import takewhile

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import Did
from atdata.replica.reading import fitting
from atdata.replica.statements import Statements

_RUNNING = """SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint"""


class LoggedChange(Struct, frozen=True):
    """A change in the log.

    Attributes:
        number: of the change; a later one has a higher number.
        moment: when it was written here, in microseconds since 1970.
        action: `create`, `update` or `delete`; `hide` or `show` where that alone has changed.
        did: the account.
        key: `collection/rkey`; empty where all of the account was hidden, or shown again.
        cid: the record after; `None` where it was deleted.
        block: its bytes, if it is still there and is shown.
        shown: whether the account is active, and the record not hidden.
    """

    number: int
    moment: int
    action: str
    did: Did
    key: str
    cid: Cid | None
    block: bytes | None
    shown: bool


class ChangeHorizon:
    """The number up to which the log is whole: no change of a lower number will ever come.

    In SQLite one transaction writes at a time. In PostgreSQL a number is given out before the transaction is committed, and
    one with a lower number may be committed later: a number is passed once every transaction has ended that ran when it
    was the highest.
    """

    def __init__(self) -> None:
        self._passed = 0
        self._waiting: tuple[int, int] | None = None  # a number, and the transaction before which all must have ended

    def look(self, sql: Statements) -> int:
        """The number now."""
        (newest,) = sql.first("SELECT COALESCE(max(number), 0) FROM replica_changes")
        if sql.dialect.name == "sqlite":
            return int(newest)
        oldest_running, next_one = sql.first(_RUNNING)
        if self._waiting is not None and oldest_running >= self._waiting[1]:
            self._passed, self._waiting = max(self._passed, self._waiting[0]), None
        if oldest_running == next_one:  # none runs
            self._passed, self._waiting = max(self._passed, int(newest)), None
        elif self._waiting is None and newest > self._passed:
            self._waiting = (int(newest), next_one)
        return self._passed


def log_bounds(sql: Statements) -> tuple[int, int]:
    """The lowest and the highest number in the log; of an empty one 1 and 0."""
    low, high = sql.first("SELECT COALESCE(min(number), 1), COALESCE(max(number), 0) FROM replica_changes")
    return int(low), int(high)


def changes_between(sql: Statements, after: int, until: int, limit: int) -> list[LoggedChange]:
    """The changes after a number, up to another, in their order: the first of them, as many as a page has room for."""
    rows = sql.all(
        """SELECT c.number, c.moment, c.action, a.did, c.key, c.cid, r.id, a.status, h.since
        FROM replica_changes c JOIN replica_accounts a ON a.id = c.account
        LEFT JOIN replica_records r ON r.account = c.account AND r.key = c.key AND r.cid = c.cid
        LEFT JOIN replica_hidden h ON h.did = a.did AND h.key = c.key
        WHERE c.number > ? AND c.number <= ? ORDER BY c.number LIMIT ?""",
        *(after, until, limit),
    )
    records = fitting(sql, list({record: None for *_, record, _, _ in rows if record is not None}))
    left = set(records)
    rows = list(takewhile(lambda row: row[-3] is None or row[-3] in left, rows))
    marks = ", ".join("?" * len(records))
    blocks = dict(sql.all(f"SELECT id, block FROM replica_records WHERE id IN ({marks})", *records)) if records else {}  # noqa: S608
    found = []
    for number, moment, action, did, key, cid, record, status, hidden in rows:
        shown = status == "active" and hidden is None
        block = blocks.get(record)
        body = bytes(block) if shown and block is not None else None
        of = cid and Cid.from_bytes(bytes(cid))
        found.append(LoggedChange(number, moment, action, Did(did), bytes(key).decode(), of, body, shown))
    return found


def prune_log(sql: Statements, before: int, most: int, limit: int = 2000) -> int:
    """Let the oldest changes go; how many went. The newest always stays: the log has an end.

    Args:
        sql: in a transaction that writes.
        before: changes before this moment go.
        most: so many may stay.
        limit: how many may go at once.
    """
    _, newest = log_bounds(sql)
    rows = sql.all("SELECT number, moment FROM replica_changes ORDER BY number LIMIT ?", limit)
    old = takewhile(lambda row: row[0] < newest and (row[1] < before or row[0] <= newest - most), rows)
    numbers = [number for number, _ in old]
    if numbers:
        sql.run("DELETE FROM replica_changes WHERE number <= ?", numbers[-1])
    return len(numbers)
