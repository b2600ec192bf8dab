"""The copy of a repository on its way to the newest commit that its own server has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from atdata.appview.ingest.batch import horizon
from atdata.appview.ingest.lease import now
from atdata.atproto.cid import Cid
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Nsid, Tid
from atdata.errors import ProofError
from atdata.replica import Moved, Replica, Writing
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import HeadRow

T = TypeVar("T")


class ReconciledCopy:
    """A repository's copy (`atdata.atproto.fetch.RepositoryCopy`), moved forward only.

    Args:
        replica: where it is kept.
        did: the account.
        write: does some work in a transaction, if it may be done at all.
    """

    collections = tuple(map(Nsid, COLLECTIONS))

    def __init__(self, replica: Replica, did: Did, write: Callable[[Callable[[Writing], Moved]], Moved]) -> None:
        self._write = write
        self.blocks: dict[Cid, bytes] = {}
        self.rev: Tid | None = None
        head = replica.read(lambda reading: HeadRow.read(reading.sql, did))
        if head is not None and head.root is not None and head.head is not None and head.rev is not None:
            self.rev = Tid(head.rev)
            self.blocks[Cid.of_cbor(head.head)] = head.head

    def add(self, blocks: Mapping[Cid, bytes]) -> None:
        """See `RepositoryCopy`."""
        self.blocks.update(blocks)

    def move_to(self, proven: ProvenCommit) -> list[Cid]:
        """See `RepositoryCopy`.

        Raises:
            RollbackError: there is another commit of the same revision.
            ProofError: the commit is of the future, or a node is malformed or misplaced.
        """
        moment = now()
        if proven.commit.rev > horizon(moment):
            raise ProofError(
                "a commit is of the future",
                step="commit",
                expected=f"at most {horizon(moment)}",
                actual=proven.commit.rev,
            )
        return list(self._write(lambda writing: writing.move(proven, self.blocks, moment)).missing)
