"""Some collections of a repository as a commit has them, followed from commit to commit.

A tree shares with the one before it all that did not change, by CID. So a view that follows a repository reads only the
nodes that are new, however many records there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from atdata.atproto.cid import Cid
from atdata.atproto.repo.mst import Leaf, Subtree
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Nsid


@dataclass
class RepositoryView:
    """The records of some collections, all at one commit.

    Attributes:
        collections: which.
        with_records: whether the records' own blocks are wanted too, of all that can be records.
        blocks: every block that was brought, each what its CID names.
        proven: the commit, once there is one.
        leaves: key and CID of each record, in the order of the keys; all of them where nothing is `missing`.
    """

    collections: tuple[Nsid, ...]
    with_records: bool = True
    blocks: dict[Cid, bytes] = field(default_factory=dict, repr=False)
    proven: ProvenCommit | None = None
    leaves: tuple[Leaf, ...] = field(default=(), repr=False)
    _read: dict[Subtree, tuple[Leaf, ...]] = field(default_factory=dict, repr=False)

    def move_to(self, proven: ProvenCommit) -> ProvenCommit:
        """Move the view to another commit, which is returned."""
        self.proven = proven
        self.blocks.update(proven.blocks)
        return proven

    def missing(self) -> list[Cid]:
        """The blocks to fetch next; none once the view is complete.

        Raises:
            ProofError: a node that is there is malformed or misplaced.
        """
        if self.proven is None:
            raise AssertionError("a view of no commit")
        missing: list[Cid] = []
        self.leaves = self._walk(Subtree(self.proven.commit.data), missing)
        return list(dict.fromkeys(missing))

    def _walk(self, subtree: Subtree, missing: list[Cid]) -> tuple[Leaf, ...]:
        """The leaves below a node. A node that all is there of is read once in every place where it stands."""
        known = self._read.get(subtree)
        if known is not None:
            return known
        if subtree.cid not in self.blocks:
            missing.append(subtree.cid)
            return ()
        before, found = len(missing), list[Leaf]()
        prefixes = tuple(f"{collection}/" for collection in self.collections)
        for part in subtree.open(self.blocks).parts():
            if isinstance(part, Leaf):
                if part.key.startswith(prefixes):
                    found.append(part)
                    missing += [part.value] if self.with_records and self._lacks(part.value) else []
            elif isinstance(part, Subtree) and any(part.may_hold(prefix) for prefix in prefixes):
                found += self._walk(part, missing)
        if len(missing) == before:
            self._read[subtree] = tuple(found)
        return tuple(found)

    def _lacks(self, record: Cid) -> bool:
        return record not in self.blocks and record.codec == "dag-cbor"
