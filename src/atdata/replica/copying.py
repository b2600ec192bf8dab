"""A replica's copy of one repository, on its way to the newest commit (`atdata.atproto.fetch.RepositoryCopy`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from atdata.atproto.cid import Cid
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Nsid, Tid
from atdata.replica.replica import Replica
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import Moved, Writing


class ReplicaCopy:
    """A replica's copy of a repository, of the collections that a replica keeps.

    Args:
        replica: where it is kept.
        did: the account.
        check: is given each commit before the copy is moved to it, and raises where it must not be.
    """

    collections = tuple(map(Nsid, COLLECTIONS))

    def __init__(self, replica: Replica, did: Did, check: Callable[[ProvenCommit], None] = lambda _: None) -> None:
        self._replica, self._did, self._check = replica, did, check
        self.blocks: dict[Cid, bytes] = {}
        self.head: Commit | None = replica.read(lambda reading: reading.account(did).head())
        if self.head is not None:
            self.blocks[self.head.cid] = self.head.encode()

    @property
    def rev(self) -> Tid | None:
        """See `RepositoryCopy`."""
        return None if self.head is None else self.head.rev

    def add(self, blocks: Mapping[Cid, bytes]) -> None:
        """See `RepositoryCopy`."""
        self.blocks.update(blocks)

    def move_to(self, proven: ProvenCommit) -> list[Cid]:
        """See `RepositoryCopy`.

        A copy that is newer than what its server shows is not evidence against the server: whoever keeps a memory of
        what was seen has `check` for that. Then the copy is made anew.

        Raises:
            ProofError: a node is malformed or misplaced.
        """
        self._check(proven)
        if self.head is not None and self.head.cid == proven.cid:
            return []

        def move(writing: Writing) -> Moved:
            head = writing.head(self._did)
            if mine is not None and proven.commit.rev <= mine.rev and head.head == mine.encode():
                writing.purge(self._did, now)
            return writing.move(proven, self.blocks, now)

        now, mine = time.time_ns() // 1000, self.head
        return list(self._replica.write(move).missing)
