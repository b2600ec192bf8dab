"""The verbs of whoever runs an AppView. Each is a transaction on the database; the process that ingests notices it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from atdata.appview.ingest.accounts import Decision, decide
from atdata.appview.ingest.lease import now
from atdata.appview.ingest.rejected import Rejected
from atdata.appview.ingest.upstream import upstream_url
from atdata.atproto.syntax import Did
from atdata.errors import NotFoundError
from atdata.replica import Replica, Statements, Writing, doubt_identity
from atdata.trust import TrustChange, VerifierList, changes_of, distrust, trust, verifiers_at


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
        upstreams: each.
        accounts: how many are in each state.
        behind: how many repositories are to be compared with their servers.
        failing: how many of these were tried in vain.
        rejected: how many things could not be taken, so far.
        records: how many records are kept.
        moment: of all this, in microseconds since 1970.
    """

    upstreams: list[UpstreamStatus]
    accounts: dict[str, int]
    behind: int
    failing: int
    rejected: int
    records: int
    moment: int = field(default_factory=now)


def add(replica: Replica, did: Did) -> None:
    """Follow an account."""
    replica.write(lambda writing: writing.mark_behind(did, "it was added"))


def reindex(replica: Replica, did: Did) -> None:
    """Fetch the repository of an account anew, whatever is kept of it.

    Raises:
        NotFoundError: it is not followed.
    """

    def work(writing: Writing) -> None:
        _check_followed(writing.sql, did)
        writing.sql.run("UPDATE replica_accounts SET root = NULL WHERE did = ?", did)
        doubt_identity(writing, did, "it is to be fetched anew")

    replica.write(work)


def takedown(replica: Replica, did: Did, why: str, decision: Decision = "takedown") -> None:
    """Hide an account; with `block`, keep nothing of it, now and later."""
    replica.write(lambda writing: decide(writing, did, decision, why, now()))


def restore(replica: Replica, did: Did) -> None:
    """Take back what was decided of an account."""
    replica.write(lambda writing: decide(writing, did, None, "", now()))


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


def replay(replica: Replica, upstream: str, cursor: int) -> None:
    """Read an upstream again from the events after a number.

    Raises:
        UsageError: that is no upstream's root.
        NotFoundError: it was never followed.
    """

    def work(writing: Writing) -> None:
        url, update = (
            upstream_url(upstream),
            "UPDATE ingest_upstreams SET cursor = ?, rewinds = rewinds + 1 WHERE url = ?",
        )
        if writing.sql.run(update, cursor, url).rowcount == 0:
            raise NotFoundError("an upstream was never followed", uri=url)

    replica.write(work)


def rebuild(replica: Replica) -> int:
    """Make all that is derived from records anew: columns, links, and the tables of derivations. The number of records."""
    dids = replica.read(lambda reading: [Did(did) for (did,) in reading.sql.all("SELECT did FROM replica_accounts")])
    return sum(replica.write(partial(Writing.rederive, did=did)) for did in dids)


def status(replica: Replica) -> IngestStatus:
    """The state of ingest, of one moment."""

    def ask(sql: Statements) -> IngestStatus:
        upstreams = sql.all(
            "SELECT url, cursor, event_at, listed_at, swept_at, sweep_at FROM ingest_upstreams ORDER BY id"
        )
        (behind,) = sql.first("SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL")
        (failing,) = sql.first("SELECT count(*) FROM replica_accounts WHERE behind IS NOT NULL AND tries > 0")
        (rejected,) = sql.first("SELECT COALESCE(max(number), 0) FROM ingest_rejected")
        (records,) = sql.first("SELECT count(*) FROM replica_records")
        accounts = dict(sql.all("SELECT status, count(*) FROM replica_accounts GROUP BY status"))
        return IngestStatus([UpstreamStatus(*row) for row in upstreams], accounts, behind, failing, rejected, records)

    return replica.read(lambda reading: ask(reading.sql))


def rejected(replica: Replica, limit: int = 100) -> list[Rejected]:
    """The newest of all that could not be taken."""
    found = "SELECT what, reason, upstream, seq, did, head FROM ingest_rejected ORDER BY number DESC LIMIT ?"
    rows = replica.read(lambda reading: reading.sql.all(found, limit))
    return [
        Rejected(what, bytes(reason).decode(), upstream, seq, did and bytes(did).decode(), bytes(head))
        for what, reason, upstream, seq, did, head in rows
    ]


def _check_followed(sql: Statements, did: Did) -> None:
    if sql.first("SELECT 1 FROM replica_accounts WHERE did = ?", did) is None:
        raise NotFoundError("an account is not followed", uri=did, hint="Add it first.")
