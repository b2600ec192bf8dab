"""Changes that frames make, in one transaction.

A frame is a hint. Whatever it says of a repository that is followed is held against the signed commit in it; what cannot
be applied at once marks the repository, in the same transaction, to be compared with its own server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from atdata.appview.ingest.accounts import UNKNOWN, hear, is_blocked
from atdata.appview.ingest.listing import list_again
from atdata.appview.ingest.rejected import REFUSED, Rejected
from atdata.appview.ingest.upstream import sweep
from atdata.atproto.cid import Cid
from atdata.atproto.events import AccountEvent, CommitEvent, ErrorEvent, Event, IdentityEvent, InfoEvent, SyncEvent
from atdata.atproto.firehose import MAX_FRAME, Skimmed, may_name, parse_frame, skim
from atdata.atproto.keys import PublicKey
from atdata.atproto.repo.proof import ProvenCommit, prove_commit
from atdata.atproto.syntax import Did, Tid
from atdata.errors import ProofError
from atdata.replica import Reading, Statements, Writing, doubt_identity, many_wait
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import HeadRow

NEWS = 10 * 1_000_000
"""Microseconds after news of an account in which it is compared again, however often that failed before."""
AHEAD = 300 * 1_000_000
"""Microseconds by which the clock of a server may be ahead of ours."""

_KINDS = ("#commit", "#sync", "#identity", "#account", "#info")
_NAMES = tuple(collection.encode() for collection in COLLECTIONS)


def horizon(moment: int) -> Tid:
    """The latest revision that is taken at a moment."""
    return Tid.from_microseconds(moment + AHEAD)


@dataclass(slots=True)
class FrameRead:
    """A frame that was looked at.

    Attributes:
        upstream: where it came from.
        frame: its bytes.
        seq: its number, if it has one.
        did: whose it is, if anybody's that matters.
        event: in it, if it matters.
        after_gap: whether others are missing before it.
        rejected: why it could not be taken, if so.
        proven: its commit, if that was held against a key.
        key: that key.
    """

    upstream: int
    frame: bytes
    seq: int | None = None
    did: Did | None = None
    event: Event | None = None
    after_gap: bool = False
    rejected: Rejected | None = None
    proven: ProvenCommit | None = None
    key: str | None = None

    @classmethod
    def of(cls, upstream: int, frame: bytes, followed: Iterable[str]) -> Self:
        """Look at a frame: at its header, and at all of it where it is of an account that is followed, or names ours."""
        read = cls(upstream, frame)
        kind = "frame"
        try:
            skimmed = skim(frame)
            kind, read.seq = skimmed.type if skimmed.type in _KINDS else kind, skimmed.seq
            if not _is_foreign(frame, skimmed, followed):
                read.did = None if skimmed.did is None else Did(skimmed.did)
                read.event = parse_frame(frame)
        except REFUSED as error:
            read.reject(kind, str(error))
        return read

    def matters(self) -> bool:
        """True unless it may be passed over."""
        return self.event is not None or self.rejected is not None or self.after_gap

    def reject(self, kind: str, reason: str) -> None:
        """Note why it cannot be taken."""
        self.rejected = Rejected(kind, reason, self.upstream, self.seq, self.did, self.frame)


def _is_foreign(frame: bytes, skimmed: Skimmed, followed: Iterable[str]) -> bool:
    """True if a frame is of an account that is not followed, and names none of our collections."""
    if skimmed.did is None or skimmed.did in followed:
        return False
    return skimmed.type != "#commit" or not may_name(frame, skimmed, _NAMES)


class AccountRow(NamedTuple):
    """The facts of an account by which an event is judged."""

    rev: str | None
    root: bytes | None
    head: bytes | None
    behind: str | None
    status: str
    key: str | None

    @classmethod
    def find(cls, sql: Statements, did: Did) -> AccountRow | None:
        """The facts of an account; `None` where it is unknown."""
        found = """SELECT a.rev, a.root, a.head, a.behind, a.status, i.key FROM replica_accounts a
            LEFT JOIN replica_identities i ON i.account = a.id WHERE a.did = ?"""
        row = sql.first(found, did)
        return None if row is None else cls(*row)

    def is_past(self, rev: Tid, commit: Cid | None) -> bool:
        """True if a commit is not newer than the head; another one of the head's revision is not past."""
        if self.rev is None or self.head is None or rev > self.rev:
            return False
        return rev < self.rev or commit is None or commit == Cid.of_cbor(self.head)


def verify_commits(reading: Reading, reads: Iterable[FrameRead]) -> None:
    """Hold commits against the keys that are kept for their accounts, those that could be applied at once."""
    for read in reads:
        event = read.event
        row = AccountRow.find(reading.sql, event.did) if isinstance(event, CommitEvent) else None
        if not isinstance(event, CommitEvent) or row is None or row.key is None or row.behind or row.root is None:
            continue
        if row.is_past(event.rev, event.commit):
            continue
        read.key = row.key
        try:
            read.proven = prove_commit(event.blocks, event.did, PublicKey.from_did_key(row.key))
            if (read.proven.cid, read.proven.commit.rev) != (event.commit, event.rev):
                raise ProofError("an event is not of the commit in it", expected=event.commit, actual=read.proven.cid)
        except REFUSED as error:
            read.reject("#commit", str(error))


class Batch:
    """The changes that some frames make.

    Args:
        writing: the transaction.
        moment: of it, in microseconds since 1970.
        sweep_after: microseconds between two sweeps.

    Attributes:
        marked: the accounts that were marked.
        counted: what happened.
    """

    def __init__(self, writing: Writing, moment: int, sweep_after: int) -> None:
        self._writing, self._sql, self._moment, self._sweep_after = writing, writing.sql, moment, sweep_after
        self.marked, self.counted = set[str](), Counter[str]()

    def take(self, read: FrameRead) -> None:
        """Apply one frame."""
        if read.after_gap:
            self.counted["gaps"] += 1
            self._sweep(read.upstream)
        if read.rejected is not None:
            self._reject(read.rejected)
            if read.did is not None:
                self._mark(read, read.did, "an event could not be taken")
            return
        match read.event:
            case CommitEvent() as event:
                self._commit(read, event)
            case SyncEvent() as event:
                row = AccountRow.find(self._sql, event.did)
                if row is None or not row.is_past(event.rev, None):
                    self._mark(read, event.did, "its server says that it is to be compared")
            case IdentityEvent() as event:
                if not is_blocked(self._writing, event.did):
                    doubt_identity(self._writing, event.did, "its identity may have changed", self._moment + NEWS)
                    self.marked.add(event.did)
            case AccountEvent() as event:
                self._account(read, event)
            case InfoEvent(name="OutdatedCursor"):
                self._sweep(read.upstream)
            case ErrorEvent(error="FutureCursor"):
                self._sql.run("UPDATE ingest_statements SET seq = -1 WHERE upstream = ?", read.upstream)
                self._sweep(read.upstream)
            case _:
                pass

    def pass_over_large(self, upstream: int) -> None:
        """Pass over a frame that is larger than any may be: nobody knows whose it was."""
        self._reject(Rejected("frame", f"a frame is larger than {MAX_FRAME} bytes", upstream))
        self._sweep(upstream)

    def _commit(self, read: FrameRead, event: CommitEvent) -> None:
        row = AccountRow.find(self._sql, event.did)
        if row is not None and row.is_past(event.rev, event.commit):
            self.counted["past"] += 1
        elif event.rev > horizon(self._moment):
            read.reject("#commit", f"its revision is of the future: {event.rev}")
            self.take(read)
        elif row is None or row.root is None or row.key is None:
            self._mark(read, event.did, UNKNOWN)
        elif row.behind is not None:
            self._mark(read, event.did, "more was written meanwhile")
        elif read.proven is None or read.key != row.key:
            self._mark(read, event.did, "its key has changed")
        else:
            self._move(read, event, row, read.proven)

    def _move(self, read: FrameRead, event: CommitEvent, row: AccountRow, proven: ProvenCommit) -> None:
        if event.prev_data is None or bytes(event.prev_data) != row.root:
            self.counted["broken chains" if event.prev_data else "without prevData"] += 1
        try:
            moved = self._writing.move(proven, proven.blocks, self._moment)
        except REFUSED as error:  # before anything was written
            read.reject("#commit", str(error))
            self.take(read)
            return
        if moved.missing:
            self._mark(read, event.did, "blocks are missing")
        self.counted["commits"] += not moved.missing and not moved.was_there
        self.counted["changes"] += len(moved.changes)

    def _account(self, read: FrameRead, event: AccountEvent) -> None:
        if not hear(self._writing, read.upstream, event, self._moment):
            self.counted["past"] += 1
        elif not event.active or self._writing.head(event.did).status != "active":
            self._mark(read, event.did, "its state is to be asked for")

    def _mark(self, read: FrameRead, did: Did, reason: str) -> None:
        if HeadRow.read(self._sql, did) is None and self._is_full:
            self.counted["let go"] += 1
            list_again(self._sql, read.upstream, self._moment)
        elif not is_blocked(self._writing, did):
            self._writing.mark_behind(did, reason, self._moment + NEWS)
            self.marked.add(did)
            self.counted["marked"] += 1

    def _reject(self, rejected: Rejected) -> None:
        rejected.write(self._sql, self._moment)
        self.counted["rejected"] += 1

    def _sweep(self, upstream: int) -> None:
        sweep(self._sql, upstream, self._sweep_after)

    @cached_property
    def _is_full(self) -> bool:
        """True if no account is taken of which nothing is known."""
        return many_wait(self._sql)
