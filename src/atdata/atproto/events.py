"""Events of a firehose: commits, states of repositories, identities and accounts, as a server claims them.

https://atproto.com/specs/sync#firehose. Nothing here was verified: signatures and blocks are looked at by whoever applies
an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from atdata.atproto.cid import Cid
from atdata.atproto.repo.diff import Operation
from atdata.atproto.syntax import Did, Tid

Action: TypeAlias = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class StatedOperation:
    """A change of one record as a server states it.

    Attributes:
        action: what was done.
        key: `collection/rkey`.
        cid: the record after; None where it was deleted.
        prev: the record before; None where there was none, and where the server omits it.
    """

    action: Action
    key: str
    cid: Cid | None
    prev: Cid | None = None

    @classmethod
    def of(cls, operation: Operation) -> StatedOperation:
        """The statement of a change."""
        return cls(operation.action, operation.key, operation.cid, operation.prev)

    @property
    def is_whole(self) -> bool:
        """True if it says what was there before, so that it can be undone."""
        return (self.prev is None) == (self.action == "create")


@dataclass(frozen=True, slots=True)
class CommitEvent:
    """A new commit in a repository, as its server claims.

    Attributes:
        seq: the number of the event.
        did: whose repository.
        rev: the revision of the commit.
        since: the revision before; None for the first.
        commit: the CID of the commit.
        prev_data: the root of the tree before; None for the first commit, and where the server omits it.
        operations: what was changed.
        blocks: a CAR file with the commit, the records and the nodes that are new, and those needed to undo the change.
        too_big: whether the server left out operations or blocks.
        time: when the server saw it; informal.
    """

    seq: int
    did: Did
    rev: Tid
    since: Tid | None
    commit: Cid
    prev_data: Cid | None
    operations: tuple[StatedOperation, ...]
    blocks: bytes = field(repr=False)
    too_big: bool = False
    time: str = ""

    def changes(self) -> list[Operation] | None:
        """The operations in the form that can be undone; None where the server does not say enough for that."""
        if self.too_big or self.prev_data is None or not all(each.is_whole for each in self.operations):
            return None
        return [Operation(each.key, each.cid, each.prev) for each in self.operations]


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """A repository's state, which need not follow from the one before.

    Attributes:
        seq, did, rev, time: as in `CommitEvent`.
        blocks: a CAR file with the commit.
    """

    seq: int
    did: Did
    rev: Tid
    blocks: bytes = field(repr=False)
    time: str = ""


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """Something about an identity may have changed: ask its DID document.

    Attributes:
        seq, did, time: as in `CommitEvent`.
        handle: the handle, as the server says, if it does.
    """

    seq: int
    did: Did
    handle: str | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """The state of an account at the server that sends this.

    Attributes:
        seq, did, time: as in `CommitEvent`.
        active: whether it is to be shown.
        status: why not, as the server says: deactivated, deleted, suspended, takendown, or other words.
    """

    seq: int
    did: Did
    active: bool
    status: str | None = None
    time: str = ""


@dataclass(frozen=True, slots=True)
class InfoEvent:
    """Something about the stream; `OutdatedCursor`: events are missing before the next one."""

    name: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The end of the stream, and why; `FutureCursor`: the server has not come that far."""

    error: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type that is not known here, to be passed over.

    Attributes:
        type: as the header has it.
        seq: the number, if it has one.
    """

    type: str
    seq: int | None = None


Event: TypeAlias = CommitEvent | SyncEvent | IdentityEvent | AccountEvent | InfoEvent | ErrorEvent | UnknownEvent
"""Any event that a frame may hold."""
