"""A replica's copy of one repository, on its way to the newest commit (`atdata.atproto.fetch.RepositoryCopy`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from atdata.atproto.cid import Cid
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Nsid, Tid
from atdata.replica.replica import Replica
from atdata.replica.statements import now
from atdata.replica.tables import COLLECTIONS
from atdata.replica.writing import Moved, Writing

_BESIDE = 250
"""Bytes of memory that a block takes beside its own."""


class ReplicaCopy:
    """A replica's copy of a repository, of the collections that a replica keeps.

    Args:
        replica: where it is kept.
        did: the account.
        check: is given each commit before the copy is moved to it, and raises where it must not be.
        write: does some work in a transaction; by default `replica.write`.
        reserve: is told of bytes before they are held, and raises where there is no room for them.
        anew: whether a copy that is newer than what its server shows is made anew. Such a copy is no evidence against the
            server: whoever keeps a memory of what was seen has `check` for that. Otherwise a copy only moves forward.
    """

    collections = tuple(map(Nsid, COLLECTIONS))

    def __init__(
        self,
        replica: Replica,
        did: Did,
        *,
        check: Callable[[ProvenCommit], None] = lambda _: None,
        write: Callable[[Callable[[Writing], Moved]], Moved] | None = None,
        reserve: Callable[[int], None] = lambda _: None,
        anew: bool = True,
    ) -> None:
        self._did, self._check, self._write, self._anew = did, check, write or replica.write, anew
        self.reserve = reserve
        self.blocks: dict[Cid, bytes] = {}
        self.head: Commit | None = replica.read(lambda reading: reading.account(did).tree_head())
        if self.head is not None:
            self.blocks[self.head.cid] = self.head.encode()

    @property
    def rev(self) -> Tid | None:
        """See `RepositoryCopy`."""
        return None if self.head is None else self.head.rev

    def add(self, blocks: Mapping[Cid, bytes]) -> None:
        """See `RepositoryCopy`."""
        self.reserve(sum(map(len, blocks.values())) + _BESIDE * len(blocks))
        self.blocks.update(blocks)

    def move_to(self, proven: ProvenCommit) -> list[Cid]:
        """See `RepositoryCopy`.

        Raises:
            RollbackError: there is another commit of the same revision.
            ProofError: a node is malformed or misplaced.
        """
        self._check(proven)
        if self.head is not None and self.head.cid == proven.cid:
            return []
        moment, mine = now(), self.head
        held = mine and mine.encode()

        def move(writing: Writing) -> Moved:
            older = self._anew and mine is not None and proven.commit.rev <= mine.rev
            if older and writing.head(self._did).head == held:  # else somebody else has moved it meanwhile
                writing.purge(self._did, moment)
            return writing.move(proven, self.blocks, moment)

        return list(self._write(move).missing)
