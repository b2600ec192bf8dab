"""Merkle search trees: finding a key, proving it absent, listing a prefix, building.

https://atproto.com/specs/repository#mst-structure. A tree is a root CID and a mapping of blocks, which may hold only
part of it; whatever is needed and not there is a `MissingBlockError`. Every node that is visited is checked for its
place: its layer is one below its parent's and its keys lie between those around it. So a walk is never deeper than the
root's layer, whatever a server sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from atdata.atproto.cid import Cid
from atdata.atproto.repo.node import MAX_KEY_LENGTH, Node, TreeEntry, key_depth, load_node, malformed
from atdata.errors import UsageError


class Leaf(NamedTuple):
    """A record's key and CID."""

    key: str
    value: Cid


class Branch(NamedTuple):
    """An opened node: its leaves, and before, between and after them a subtree or none.

    Attributes:
        layer: the depth of its keys.
        trees: one more than there are leaves.
        leaves: in the order of their keys.
    """

    layer: int
    trees: tuple[Subtree | Branch | None, ...]
    leaves: tuple[Leaf, ...]

    def parts(self) -> list[Subtree | Branch | Leaf]:
        """Its parts, in the order of the keys."""
        parts = [part for pair in zip(self.trees, self.leaves, strict=False) for part in pair]
        return [part for part in (*parts, self.trees[-1]) if part is not None]


class Subtree(NamedTuple):
    """A node that was not opened yet, with what its place demands of it.

    Attributes:
        cid: the node.
        layer: its layer; for a root its keys say.
        low: the key that all its keys lie after.
        high: the key that all its keys lie before.
    """

    cid: Cid
    layer: int | None = None
    low: str | None = None
    high: str | None = None

    def spans(self, key: str) -> bool:
        """True if the key, if it is in the tree, is in this part of it."""
        return (self.low is None or self.low < key) and (self.high is None or key < self.high)

    def may_hold(self, prefix: str) -> bool:
        """True if a key with the prefix could be in this part."""
        return not self.begins_after(prefix) and not self.ends_before(prefix)

    def begins_after(self, prefix: str) -> bool:
        """True if all keys with the prefix are before this part."""
        return self.low is not None and self.low > prefix and not self.low.startswith(prefix)

    def ends_before(self, prefix: str) -> bool:
        """True if all keys with the prefix are after this part."""
        return self.high is not None and self.high <= prefix

    def open(self, blocks: Mapping[Cid, bytes]) -> Branch:
        """Read the node.

        Raises:
            MissingBlockError: its block is not there.
            ProofError: the node is malformed, or not one that may stand here.
        """
        node = load_node(self.cid, blocks)
        layer, low, link = self._checked_layer(node), self.low, node.left
        trees, leaves = list[Subtree | None](), list[Leaf]()
        for entry in node.entries:
            trees.append(None if link is None else Subtree(link, layer - 1, low, entry.key))
            leaves.append(Leaf(entry.key, entry.value))
            low, link = entry.key, entry.right
        trees.append(None if link is None else Subtree(link, layer - 1, low, self.high))
        return Branch(layer, tuple(trees), tuple(leaves))

    def _checked_layer(self, node: Node) -> int:
        own = node.layer
        if self.layer is None:
            misplaced = node.left is not None and not node.entries
            layer = own or 0
        else:
            misplaced = own not in (None, self.layer) or (node.left is None and not node.entries)
            layer = self.layer
        if misplaced:
            raise malformed("a node of another layer, or without content", path=f"node {self.cid}")
        if layer == 0 and any(node.links):
            raise malformed("a subtree below the lowest layer", path=f"node {self.cid}")
        if node.entries and not (self.spans(node.entries[0].key) and self.spans(node.entries[-1].key)):
            raise malformed("keys outside of the node's range", path=f"node {self.cid}")
        return layer


def lookup(root: Cid, key: str, blocks: Mapping[Cid, bytes]) -> Cid | None:
    """The CID of the record at a key, or None: then the blocks prove that there is none.

    Raises:
        MissingBlockError: the blocks prove neither.
        ProofError: a node on the way is malformed or misplaced.
    """
    return next(
        (leaf.value for _, branch in _descend(root, key, blocks) for leaf in branch.leaves if leaf.key == key), None
    )


def proof_path(root: Cid, key: str, blocks: Mapping[Cid, bytes]) -> list[Cid]:
    """The nodes, from the root down, whose blocks prove what is at a key, or that nothing is.

    Raises:
        MissingBlockError: one of them is not there.
        ProofError: one of them is malformed or misplaced.
    """
    return [cid for cid, _ in _descend(root, key, blocks)]


def proof_paths(
    root: Cid, keys: Iterable[str], blocks: Mapping[Cid, bytes]
) -> Iterator[tuple[str, Cid | None, list[Cid]]]:
    """Each of some keys in their order, with what `lookup` and `proof_path` say of it; every node is read once.

    Raises:
        MissingBlockError: one of the nodes is not there.
        ProofError: one of them is malformed or misplaced.
    """
    path: list[tuple[Subtree, Branch]] = []
    for key in sorted(set(keys)):
        while path and not path[-1][0].spans(key):
            path.pop()
        here: Subtree | None = path[-1][0] if path else Subtree(root)
        while here is not None:
            if not path or path[-1][0] is not here:
                path.append((here, here.open(blocks)))
            below = (tree for tree in path[-1][1].trees if isinstance(tree, Subtree) and tree.spans(key))
            here = next(below, None)
        found = next((leaf.value for leaf in path[-1][1].leaves if leaf.key == key), None)
        yield key, found, [subtree.cid for subtree, _ in path]


def _descend(root: Cid, key: str, blocks: Mapping[Cid, bytes]) -> Iterator[tuple[Cid, Branch]]:
    here: Subtree | None = Subtree(root)
    while here is not None:
        branch = here.open(blocks)
        yield here.cid, branch
        # Nothing spans a key that is in the node itself: the walk ends there as it does where the key is absent.
        here = next((tree for tree in branch.trees if isinstance(tree, Subtree) and tree.spans(key)), None)


def entries(root: Cid, blocks: Mapping[Cid, bytes], prefix: str = "") -> Iterator[Leaf]:
    """The leaves whose keys begin with `prefix`, in order; only nodes that can hold them are read.

    A collection's records have the prefix `{nsid}/`.

    Raises:
        MissingBlockError: a needed node is not there; see `missing_nodes`.
        ProofError: a node is malformed or misplaced.
    """
    pending: list[Subtree | Branch | Leaf] = [Subtree(root)]
    while pending:
        part = pending.pop()
        if isinstance(part, Leaf) and part.key.startswith(prefix):
            yield part
        elif isinstance(part, Subtree) and part.may_hold(prefix):
            pending.extend(reversed(part.open(blocks).parts()))


def held_leaves(root: Cid, blocks: Mapping[Cid, bytes]) -> Iterator[Leaf]:
    """The leaves of all nodes that are there, in the order of their keys; a proof has the nodes of one path.

    Raises:
        MissingBlockError: the root is not there.
        ProofError: a node that is there is malformed or misplaced.
    """
    pending: list[Subtree | Branch | Leaf] = [Subtree(root).open(blocks)]
    while pending:
        part = pending.pop()
        if isinstance(part, Leaf):
            yield part
        elif isinstance(part, Branch):
            pending.extend(reversed(part.parts()))
        elif part.cid in blocks:
            pending.append(part.open(blocks))


def missing_nodes(root: Cid, blocks: Mapping[Cid, bytes], prefix: str = "") -> list[Cid]:
    """The nodes to fetch next in order to list a prefix; none once `entries` will run to its end.

    Fetch them, add their blocks, ask again: each round goes at least one layer deeper, so there are at most as many
    rounds as the root's layer and two.

    Raises:
        ProofError: a node that is there is malformed or misplaced.
    """
    missing: list[Cid] = []
    pending = [Subtree(root)]
    while pending:
        subtree = pending.pop()
        if subtree.cid in blocks:
            trees = reversed(subtree.open(blocks).trees)
            pending.extend(tree for tree in trees if isinstance(tree, Subtree) and tree.may_hold(prefix))
        else:
            missing.append(subtree.cid)
    return list(dict.fromkeys(missing))


def build(records: Mapping[str, Cid]) -> tuple[Cid, dict[Cid, bytes]]:
    """The root and the blocks of the tree of some records; the order of the mapping does not matter.

    Raises:
        UsageError: an empty key, or one longer than `MAX_KEY_LENGTH`.
    """
    for key in records:
        check_key(key)
    leaves = sorted((key, value, key_depth(key)) for key, value in records.items())
    blocks: dict[Cid, bytes] = {}
    root = _build(leaves, max((depth for _, _, depth in leaves), default=0), blocks)
    return root, blocks


def check_key(key: str) -> None:
    """Check that a tree may hold a key.

    Raises:
        UsageError: it may not.
    """
    if not 0 < len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_LENGTH:
        raise UsageError("not a key of a tree", expected=f"1 to {MAX_KEY_LENGTH} bytes", actual=key[:200])


def _build(leaves: Sequence[tuple[str, Cid, int]], layer: int, blocks: dict[Cid, bytes]) -> Cid:
    own = [index for index, (_, _, depth) in enumerate(leaves) if depth == layer]
    gaps = [leaves[before + 1 : after] for before, after in pairwise([-1, *own, len(leaves)])]
    trees = [_build(gap, layer - 1, blocks) if gap else None for gap in gaps]
    rows = (TreeEntry(leaves[index][0], leaves[index][1], tree) for index, tree in zip(own, trees[1:], strict=True))
    block = Node(trees[0], tuple(rows)).encode()
    cid = Cid.of_cbor(block)
    blocks[cid] = block
    return cid
