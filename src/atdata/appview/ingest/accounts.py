"""The state of accounts: who says what of them, and whether they are shown.

Hiding is done at once, on anybody's word; showing again, and forgetting, only once the account's own server was asked.
Where it contradicts an upstream, it is right, but in this: an upstream that took an account down, and that never was the
account's own server, has decided so for itself, and for those who follow it, until it says otherwise or is asked and does.
The operator's decisions are kept apart.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

from atdata.appview.ingest.upstream import Upstream
from atdata.atproto.events import AccountEvent
from atdata.atproto.fetch import HostedAccount
from atdata.atproto.syntax import Did
from atdata.replica import Reading, Writing
from atdata.replica.writing import Status

Decision: TypeAlias = Literal["takedown", "block"]
"""Decisions of an operator: hide what is kept of an account, or keep nothing of it."""

ADDED, DECIDED = "it was added", "a decision was taken"
"""The reasons for which an account is marked that an operator named: it is kept, also while it has nothing of ours."""
UNKNOWN = "nothing is known of it"
"""The reason for which an account is marked that somebody said has written, and of which nothing is known."""

_WORDS: dict[str | None, Status] = {
    "deactivated": "deactivated",
    "suspended": "suspended",
    "takendown": "takendown",
    "deleted": "deleted",
}
_MODERATION = ("suspended", "takendown")


def status_of(active: bool, word: str | None) -> Status:
    """The state that a server's words stand for: `active` decides, whatever the other word."""
    return "active" if active else _WORDS.get(word, "deactivated")


def hear(writing: Writing, upstream: int, event: AccountEvent, moment: int) -> bool:
    """Take what an upstream says of an account; `False` where it has said something later.

    Args:
        writing: the transaction.
        upstream: who says it.
        event: of an account that is followed.
        moment: when, in microseconds since 1970.
    """
    writing.head(event.did)  # its lock comes before those of what is said of it, here and in `confirm`
    sql, status = writing.sql, status_of(event.active, event.status)
    said = "SELECT seq, hides FROM ingest_statements WHERE did = ? AND upstream = ?"
    seq, hides = sql.first(said, event.did, upstream) or (-1, None)
    if event.seq <= seq:
        return False
    sql.run("DELETE FROM ingest_statements WHERE did = ? AND upstream = ?", event.did, upstream)
    insert = "INSERT INTO ingest_statements (did, upstream, seq, status, hides) VALUES (?, ?, ?, ?, ?)"
    sql.run(insert, event.did, upstream, event.seq, status, hides if event.active else status)
    settle(writing, event.did, moment)
    return True


def hiding(reading: Reading, did: Did) -> list[Upstream]:
    """The upstreams that hide an account."""
    found = """SELECT u.id, u.url FROM ingest_statements s JOIN ingest_upstreams u ON u.id = s.upstream
        WHERE s.did = ? AND s.hides IS NOT NULL ORDER BY u.id"""
    return [Upstream(number, url) for number, url in reading.sql.all(found, did)]


def lift(writing: Writing, did: Did, upstream: Upstream) -> None:
    """Take it that an upstream hides an account no more: its event of that was lost."""
    update = "UPDATE ingest_statements SET status = 'active', hides = NULL WHERE did = ? AND upstream = ?"
    writing.sql.run(update, did, upstream.number)


def confirm(writing: Writing, did: Did, hosted: HostedAccount, hosts: Collection[str], moment: int) -> None:
    """Take what an account's own server says of it, asked just now.

    Args:
        writing: the transaction.
        did: the account.
        hosted: what the server says.
        hosts: the servers that the account is, or ever was, at.
        moment: when, in microseconds since 1970.
    """
    sql, status = writing.sql, status_of(hosted.active, hosted.status)
    said = "SELECT s.upstream, s.status, u.url FROM ingest_statements s JOIN ingest_upstreams u ON u.id = s.upstream"
    statements = sql.all(f"{said} WHERE s.did = ?", did)
    sql.run("DELETE FROM ingest_hosting WHERE did = ?", did)
    sql.run("INSERT INTO ingest_hosting (did, status, asked_at) VALUES (?, ?, ?)", did, status, moment)
    for upstream, stated, url in statements:
        hides = stated in _MODERATION and Upstream(upstream, url).server not in hosts
        update = "UPDATE ingest_statements SET hides = ? WHERE did = ? AND upstream = ?"
        sql.run(update, stated if hides else None, did, upstream)
    if status == "deleted" and any(stated == "deleted" for _, stated, _ in statements):
        writing.purge(did, moment)
    settle(writing, did, moment)


def decide(writing: Writing, did: Did, decision: Decision | None, why: str, moment: int) -> None:
    """Take a decision of the operator's; `None` takes the last one back."""
    sql = writing.sql
    writing.head(did)
    sql.run("DELETE FROM ingest_decisions WHERE did = ?", did)
    if decision is not None:
        insert = "INSERT INTO ingest_decisions (did, decision, since, why) VALUES (?, ?, ?, ?)"
        sql.run(insert, did, decision, moment, why.encode("utf-8", "replace"))
    if decision == "block":
        forget_blocked(writing, did, moment)
    writing.mark_behind(did, DECIDED)  # also to forget what a comparison writes that has begun
    settle(writing, did, moment)


def forget_blocked(writing: Writing, did: Did, moment: int) -> None:
    """Forget all of an account of which nothing is to be kept: what it wrote, and who it is."""
    writing.purge(did, moment)
    writing.sql.run("DELETE FROM replica_identities WHERE account = ?", writing.head(did).account)


def is_blocked(writing: Writing, did: Did) -> bool:
    """True if the operator decided to keep nothing of an account."""
    found = "SELECT 1 FROM ingest_decisions WHERE did = ? AND decision = 'block'"
    return writing.sql.first(found, did) is not None


def settle(writing: Writing, did: Did, moment: int) -> None:
    """Show an account, or hide it, by all that is known."""
    head = writing.head(did)  # locked before anything is read: somebody else may be deciding just now
    status = _settled(writing, did)
    if head.status != status:
        writing.set_status(did, status, moment)


def _settled(writing: Writing, did: Did) -> Status:
    sql = writing.sql
    if sql.first("SELECT 1 FROM ingest_decisions WHERE did = ?", did) is not None:
        return "takendown"
    hosting = sql.first("SELECT status FROM ingest_hosting WHERE did = ?", did)
    stated = "SELECT hides FROM ingest_statements WHERE did = ? AND hides IS NOT NULL ORDER BY upstream"
    found = [_WORDS[status] for (status,) in filter(None, (hosting, sql.first(stated, did))) if status != "active"]
    return found[0] if found else "active"
