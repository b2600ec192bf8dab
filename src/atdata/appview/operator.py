"""The verbs of whoever runs an AppView. Each is a transaction on the database; the process that ingests notices it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from atdata.appview.ingest.accounts import ADDED, Decision, decide, is_blocked
from atdata.appview.ingest.lease import is_ingesting
from atdata.appview.ingest.rejected import Rejected
from atdata.appview.ingest.upstream import upstream_url
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import NotFoundError, UsageError
from atdata.replica import AccountReading, Replica, Statements, Writing, doubt_identity, now
from atdata.replica.changes import log_bounds
from atdata.replica.hiding import hide_record, show_record
from atdata.replica.mending import forget_damaged
from atdata.replica.statements import database_size
from atdata.trust import (
    FollowedLabeler,
    TrustChange,
    VerifierList,
    changes_of,
    checked_reason,
    distrust,
    follow,
    labelers,
    trust,
    unfollow,
    verifiers_at,
)


@dataclass(frozen=True)
class UpstreamStatus:
    """An upstream, and where it was read to.

    Attributes:
        url: its root.
        cursor: the number of the last event of which all is durable.
        event_at: when that was written, in microseconds since 1970; 0 where nothing came yet.
        listed_at: when its accounts were listed last.
        swept_at: when all repositories were compared last, as events might have been lost.
        sweep_at: when they are to be compared next, if they are.
    """

    url: str
    cursor: int | None
    event_at: int
    listed_at: int
    swept_at: int
    sweep_at: int | None


@dataclass(frozen=True)
class IngestStatus:
    """The state of ingest.

    Attributes:
        ingesting: whether a process ingests just now.
        upstreams: each.
        accounts: how many are in each state.
        behind: how many repositories are to be compared with their servers.
        failing: how many of these were tried in vain.
        rejected: how many things could not be taken, so far.
        records: how many records are kept.
        changes: how many changes the log keeps.
        search_pending: how many tasks the search has put off.
        bytes: the size of the database.
        moment: of all this, in microseconds since 1970.
    """

    ingesting: bool
    upstreams: list[UpstreamStatus]
    accounts: dict[str, int]
    behind: int
    failing: int
    rejected: int
    records: int
    changes: int
    search_pending: int
    bytes: int
    moment: int = field(default_factory=now)


@dataclass(frozen=True)
class OperatorDecision:
    """A decision of the operator's.

    Attributes:
        subject: the DID of an account, or the address of a record.
        decision: what it is.
        since: when, in microseconds since 1970.
        why: in the operator's words.
    """

    subject: str
    decision: Literal["takedown", "block"]
    since: int
    why: str


_AT_ONCE = "UPDATE replica_accounts SET tries = 0, next_try = 0, behind = ? WHERE did = ?"


def add(replica: Replica, did: Did) -> None:
    """Follow an account.

    Raises:
        UsageError: it is blocked here.
    """

    def work(writing: Writing) -> None:
        _check_not_blocked(writing, did)
        writing.mark_behind(did, ADDED)
        writing.sql.run(_AT_ONCE, ADDED, did)

    replica.write(work)


def reindex(replica: Replica, did: Did) -> None:
    """Fetch the repository of an account anew, whatever is kept of it.

    Raises:
        NotFoundError: it is not followed.
        UsageError: it is blocked here.
    """

    def work(writing: Writing) -> None:
        _check_followed(writing.sql, did)
        _check_not_blocked(writing, did)
        forget_damaged(writing, did)
        writing.sql.run("UPDATE replica_accounts SET root = NULL WHERE did = ?", did)
        doubt_identity(writing, did, why := "it is to be fetched anew")
        writing.sql.run(_AT_ONCE, why, did)

    replica.write(work)


def takedown(replica: Replica, subject: Did | AtUri, why: str, decision: Decision = "takedown") -> bool:
    """Hide an account, or a record; with `block`, keep nothing of an account, now and later.

    Returns:
        Whether it was known here; else it is hidden from the moment on when it is.

    Raises:
        UsageError: the address is none of a record by DID, a record is to be blocked, the reason is none, or an account
            is blocked, which a takedown would weaken.
    """
    said = checked_reason(why)
    if isinstance(subject, Did):
        return replica.write(lambda writing: _take_down_account(writing, subject, said, decision))
    did, key = _record(subject)
    if decision == "block":
        raise UsageError("a record cannot be blocked", actual=subject, hint="Take it down, or block its account.")

    def work(writing: Writing) -> bool:
        hide_record(writing, did, key, said, now())
        return AccountReading(writing.sql, did).cid_at(key) is not None

    return replica.write(work)


def _take_down_account(writing: Writing, did: Did, why: str, decision: Decision) -> bool:
    known = writing.head(did).head is not None  # locked before the look: somebody else may be deciding just now
    if decision == "takedown" and is_blocked(writing, did):
        raise UsageError(
            "an account is blocked here, which hides it already and keeps nothing of it",
            actual=did,
            hint="To have it kept again, but hidden, lift the block first: atdata appview takedown DID --lift.",
        )
    decide(writing, did, decision, why, now())
    return known


def restore(replica: Replica, subject: Did | AtUri) -> None:
    """Take back what was decided of an account, or a record.

    Raises:
        NotFoundError: nothing was decided of it.
        UsageError: the address is none of a record by DID.
    """

    def work(writing: Writing) -> bool:
        if isinstance(subject, Did):
            found = writing.sql.first("SELECT 1 FROM ingest_decisions WHERE did = ?", subject) is not None
            if found:
                decide(writing, subject, None, "", now())
            return found
        did, key = _record(subject)
        return show_record(writing, did, key, now())

    if not replica.write(work):
        raise NotFoundError("this was not taken down", uri=subject)


def decisions(replica: Replica) -> list[OperatorDecision]:
    """All that was decided here and stands, the newest first."""
    accounts = "SELECT did, decision, since, why FROM ingest_decisions"
    records = "SELECT did, key, since, why FROM replica_hidden"
    of_accounts, of_records = replica.read(lambda reading: (reading.sql.all(accounts), reading.sql.all(records)))
    found = [OperatorDecision(did, decision, since, _text(why)) for did, decision, since, why in of_accounts]
    for did, key, since, why in of_records:
        found.append(OperatorDecision(f"at://{did}/{_text(key)}", "takedown", since, _text(why)))
    return sorted(found, key=lambda decided: -decided.since)


def trust_verifier(replica: Replica, did: str, why: str, methods: Sequence[str] = ()) -> int:
    """Put an account on the public list of trusted verifiers, or change what is said of it there.

    Args:
        replica: of the service.
        did: the account.
        why: the reason, which everybody may read.
        methods: the methods of verification of which its word counts, such as `codeReview`; without any, of all.

    Returns:
        The version of the list. The same again makes no new one.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no such method, or no reason.
        LimitError: the list is full.
    """
    return replica.write(lambda writing: trust(writing.sql, did, why, methods, now()))


def distrust_verifier(replica: Replica, did: str, why: str) -> int:
    """Take an account off the list of trusted verifiers: from now on what it verified is nobody's the service trusts.

    Returns:
        The version of the list.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no reason.
        NotFoundError: it is not on the list.
    """
    return replica.write(lambda writing: distrust(writing.sql, did, why, now()))


def trusted_verifiers(replica: Replica, version: int | None = None) -> VerifierList:
    """The list of trusted verifiers, as it is or as it was in a version.

    Raises:
        NotFoundError: there was no such version.
    """
    return replica.read(lambda reading: verifiers_at(reading.sql, version))


def trust_changes(replica: Replica, limit: int = 100) -> list[TrustChange]:
    """The newest changes of the list of trusted verifiers."""
    return replica.read(lambda reading: changes_of(reading.sql, None, limit))


def follow_labeler(replica: Replica, did: str, why: str) -> None:
    """Show the labels of a labeler with what they are about; one that is followed is read from the beginning again.

    Raises:
        IdentifierError: it is no DID.
        UsageError: there is no reason.
        LimitError: too many are followed.
    """
    replica.write(lambda writing: follow(writing.sql, did, why, now()))


def unfollow_labeler(replica: Replica, did: str) -> None:
    """Follow a labeler no more, and forget its labels.

    Raises:
        IdentifierError: it is no DID.
        NotFoundError: it is not followed.
    """
    replica.write(lambda writing: unfollow(writing.sql, did))


def followed_labelers(replica: Replica) -> list[FollowedLabeler]:
    """The labelers that are followed, each with when it was read, and what went wrong if something did."""
    return replica.read(lambda reading: labelers(reading.sql))


def replay(replica: Replica, upstream: str, cursor: int) -> None:
    """Read an upstream again from the events after a number.

    Raises:
        UsageError: that is no upstream's root, or it was not read as far as that yet.
        NotFoundError: it was never followed.
    """
    url = upstream_url(upstream)

    def work(writing: Writing) -> None:
        found = writing.sql.first("SELECT cursor FROM ingest_upstreams WHERE url = ?", url)
        if found is None:
            raise NotFoundError("an upstream was never followed", uri=url)
        if cursor > (read := found[0] or 0):
            hint = "A larger number would pass over events: name one that was read, as atdata appview status shows it."
            limit = f"at most {read}"
            raise UsageError("an upstream was not read as far as that", expected=limit, actual=cursor, hint=hint)
        writing.sql.run("UPDATE ingest_upstreams SET cursor = ?, rewinds = rewinds + 1 WHERE url = ?", cursor, url)

    replica.write(work)


def accounts(replica: Replica) -> list[Did]:
    """The accounts that are followed; none that is blocked."""
    blocked = "SELECT did FROM ingest_decisions WHERE decision = 'block'"
    found = f"SELECT did FROM replica_accounts WHERE did NOT IN ({blocked}) ORDER BY id"  # noqa: S608
    return [Did(did) for (did,) in replica.read(lambda reading: reading.sql.all(found))]


def marked(replica: Replica) -> dict[Did, int]:
    """The accounts that are to be compared with their servers, and how often each was tried in vain."""
    found = "SELECT did, tries FROM replica_accounts WHERE behind IS NOT NULL"
    return {Did(did): tries for did, tries in replica.read(lambda reading: reading.sql.all(found))}


def rebuild(replica: Replica, did: Did) -> int:
    """Make all that is derived from an account's records anew: columns, links, and the tables of derivations.

    Returns:
        The number of records.
    """
    return replica.write(lambda writing: writing.rederive(did))


_COUNTS = {
    "behind": "SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL",
    "failing": "SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL AND tries > 0",
    "rejected": "SELECT COALESCE(max(number), 0) FROM ingest_rejected",
    "records": "SELECT count(*) FROM replica_records",
    "search_pending": "SELECT count(*) FROM search_pending",
}


def status(replica: Replica) -> IngestStatus:
    """The state of ingest, of one moment."""
    return replica.read(lambda reading: ingest_status(reading.sql))


def ingest_status(sql: Statements) -> IngestStatus:
    """The state of ingest as a transaction sees it."""
    upstreams = sql.all("SELECT url, cursor, event_at, listed_at, swept_at, sweep_at FROM ingest_upstreams ORDER BY id")
    low, high = log_bounds(sql)
    return IngestStatus(
        ingesting=is_ingesting(sql),
        upstreams=[UpstreamStatus(*row) for row in upstreams],
        accounts=dict(sql.all("SELECT status, count(*) FROM replica_accounts GROUP BY status")),
        changes=1 + high - low,
        bytes=database_size(sql),
        **{name: int(sql.first(question)[0]) for name, question in _COUNTS.items()},
    )


def rejected(replica: Replica, limit: int = 100) -> list[Rejected]:
    """The newest of all that could not be taken."""
    found = "SELECT what, reason, upstream, seq, did, head FROM ingest_rejected ORDER BY number DESC LIMIT ?"
    rows = replica.read(lambda reading: reading.sql.all(found, limit))
    return [
        Rejected(what, bytes(reason).decode(), upstream, seq, did and bytes(did).decode(), bytes(head))
        for what, reason, upstream, seq, did, head in rows
    ]


def _record(uri: AtUri) -> tuple[Did, str]:
    if not isinstance(uri.authority, Did) or uri.collection is None or uri.rkey is None:
        raise UsageError("not the address of a record", expected="at://DID/COLLECTION/KEY", actual=uri)
    return uri.authority, f"{uri.collection}/{uri.rkey}"


def _text(raw: bytes) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _check_not_blocked(writing: Writing, did: Did) -> None:
    writing.head(did)  # its lock comes before the look: somebody else may be deciding just now
    if is_blocked(writing, did):
        hint = "Nothing of it is fetched. Take that back first: atdata appview takedown DID --lift."
        raise UsageError("an account is blocked here", actual=did, hint=hint)


def _check_followed(sql: Statements, did: Did) -> None:
    if sql.first("SELECT 1 FROM replica_accounts WHERE did = ?", did) is None:
        raise NotFoundError("an account is not followed", uri=did, hint="Add it first.")
