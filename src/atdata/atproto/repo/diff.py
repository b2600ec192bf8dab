"""Changes to a tree: making them, undoing them on a part of it, finding them between two trees.

https://atproto.com/specs/repository#repository-diffs. A commit on the firehose comes with its operations and with part
of the new tree. Undoing the operations there must give the root of the tree before: then they are all that changed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.repo.mst import Branch, Leaf, Subtree, check_key
from atdata.atproto.repo.node import Node, TreeEntry, key_depth
from atdata.errors import ProofError

Tree: TypeAlias = Subtree | Branch
"""Part of a tree: read only where it is touched, and given CIDs only in the end."""


class Operation(Struct, frozen=True):
    """A change of one record, as a commit on the firehose states it.

    Attributes:
        key: `collection/rkey`.
        cid: the record after; None: it was deleted.
        prev: the record before; None: it was created.
    """

    key: str
    cid: Cid | None
    prev: Cid | None

    @property
    def action(self) -> Literal["create", "update", "delete"]:
        """The firehose's word for it."""
        return "create" if self.prev is None else "delete" if self.cid is None else "update"

    def inverse(self) -> Operation:
        """The change that undoes it."""
        return Operation(self.key, self.prev, self.cid)


class Change(Struct, frozen=True):
    """A changed tree.

    Attributes:
        root: its root.
        blocks: those of its nodes that are not among the blocks it was made from.
    """

    root: Cid
    blocks: Mapping[Cid, bytes]


def apply(root: Cid, operations: Iterable[Operation], blocks: Mapping[Cid, bytes]) -> Change:
    """Change a tree, of which the blocks need hold only what the operations touch.

    Raises:
        ProofError: an operation does not fit: its `prev` is not what the tree holds.
        MissingBlockError: a node that is touched is not among the blocks.
        UsageError: a key that no tree may hold.
    """
    operations = tuple(operations)
    if not operations:
        return Change(root, {})  # nothing is touched, so no block is needed
    editor = _Editor(blocks)
    tree = editor.trim(Subtree(root))
    for operation in operations:
        tree = editor.perform(tree, operation)
    made: dict[Cid, bytes] = {}
    new_root = _seal(tree or Branch(0, (None,), ()), made)
    return Change(new_root, {cid: block for cid, block in made.items() if cid not in blocks})


def invert(root: Cid, operations: Sequence[Operation], blocks: Mapping[Cid, bytes]) -> Cid:
    """Undo the operations that led to a tree. The result must be the root of the tree before.

    Raises:
        ProofError, MissingBlockError, UsageError: as `apply`.
    """
    return apply(root, [operation.inverse() for operation in reversed(operations)], blocks).root


def covering_proof(root: Cid, keys: Iterable[str], blocks: Mapping[Cid, bytes]) -> list[Cid]:
    """The nodes of a tree that someone needs to undo operations on some keys, which led to it.

    They are the nodes on the way to each key and to its two neighbours.

    Raises:
        MissingBlockError: one of them is not among the blocks.
        ProofError: one of them is malformed or misplaced.
    """
    needed: dict[Cid, None] = {}
    for key in keys:
        pending: list[Tree | None] = [Subtree(root)]
        while pending:
            tree = pending.pop()
            if not isinstance(tree, Subtree):
                continue
            needed[tree.cid] = None
            branch = tree.open(blocks)
            place = _place(branch, key)
            # Below the key itself the way parts: to the last key before it and to the first one after it.
            pending.extend(branch.trees[place : place + 1 + _is_at(branch, place, key)])
    return list(needed)


class Difference(Struct, frozen=True):
    """The parts of two trees that differ.

    Attributes:
        operations: the records created, updated and deleted, in the order of their keys; not all, while nodes are
            `missing`.
        added: the nodes of the tree after that the one before does not have.
        removed: the nodes of the tree before that the one after does not have.
        missing: nodes of the tree after whose blocks are not there. Fetch them and ask again.
    """

    operations: tuple[Operation, ...]
    added: tuple[Cid, ...]
    removed: tuple[Cid, ...]
    missing: tuple[Cid, ...]


def diff(before: Cid | None, after: Cid, blocks: Mapping[Cid, bytes], prefixes: tuple[str, ...] = ("",)) -> Difference:
    """The difference of two trees, or of the parts of them that can hold keys with some prefixes.

    Subtrees that both trees share are passed over, unread: their blocks need not be there. Where keys beside one are others
    now, so that it could hold other keys with the prefixes, it is read all the same.

    Args:
        before: the root of a tree of which those nodes that differ are among the blocks; `None` for no tree.
        after: the root of the other.
        blocks: nodes of both.
        prefixes: of the keys; a collection's is `{nsid}/`.

    Raises:
        MissingBlockError: a node of the tree before is not among the blocks.
        ProofError: a node is malformed or misplaced.
    """
    old, new = _Walk(before, blocks, prefixes), _Walk(after, blocks, prefixes)
    operations, missing = list[Operation](), list[Cid]()
    while old.pending or new.pending:
        left, right = old.next, new.next
        if (isinstance(left, Leaf) and left == right) or (
            isinstance(left, Subtree) and isinstance(right, Subtree) and _are_alike(left, right, prefixes)
        ):
            old.pending.pop()
            new.pending.pop()
        elif isinstance(right, Subtree) and right.cid not in blocks:
            missing.append(right.cid)
            new.pending.pop()
        elif isinstance(left, Subtree) or isinstance(right, Subtree):
            # The higher one is opened first, so that equal subtrees come to stand beside each other.
            (old if _height(left) >= _height(right) else new).open()
        else:
            operations.append(_take_lesser(old, new))
    # What was read in both stands in both: it came to stand beside something else.
    added = tuple(cid for cid in new.opened if cid not in old.opened)
    removed = tuple(cid for cid in old.opened if cid not in new.opened)
    return Difference(tuple(operations), added, removed, tuple(missing))


class _Walk:
    """A walk through a tree in the order of its keys, opening only what it is told to."""

    def __init__(self, root: Cid | None, blocks: Mapping[Cid, bytes], prefixes: tuple[str, ...]) -> None:
        self._blocks, self._prefixes = blocks, prefixes
        self.pending: list[Tree | Leaf] = [] if root is None else [Subtree(root)]
        self.opened: dict[Cid, None] = {}

    @property
    def next(self) -> Tree | Leaf | None:
        return self.pending[-1] if self.pending else None

    def open(self) -> None:
        part = self.pending.pop()
        if isinstance(part, Subtree):
            self.opened[part.cid] = None
            branch = part.open(self._blocks)
            for tree, leaf in zip(reversed(branch.trees), (None, *reversed(branch.leaves)), strict=True):
                if leaf is not None and leaf.key.startswith(self._prefixes):
                    self.pending.append(leaf)
                if isinstance(tree, Subtree) and self._is_wanted(tree):
                    self.pending.append(tree)

    def _is_wanted(self, tree: Subtree) -> bool:
        after_ours = tree.low is not None and tree.low.startswith(self._prefixes)  # as nearly all that are
        return after_ours or any(map(tree.may_hold, self._prefixes))


def _are_alike(left: Subtree, right: Subtree, prefixes: tuple[str, ...]) -> bool:
    """True if two places hold one subtree, and the same parts of it are wanted: the keys beside it decide that of its edges."""
    if left.cid != right.cid:
        return False
    beside = (left.low, left.high) == (right.low, right.high)
    return beside or all(
        left.begins_after(prefix) == right.begins_after(prefix)
        and left.ends_before(prefix) == right.ends_before(prefix)
        for prefix in prefixes
    )


def _height(part: Tree | Leaf | None) -> int:
    """The layer of a part: a root is above all, a leaf below all."""
    if not isinstance(part, Subtree):
        return -1
    return 256 if part.layer is None else part.layer


def _take_lesser(old: _Walk, new: _Walk) -> Operation:
    """The change at the lesser of the two next leaves, which differ; both are taken where they have the same key."""
    left, right = old.next, new.next
    key = min(leaf.key for leaf in (left, right) if isinstance(leaf, Leaf))
    cid = prev = None
    if isinstance(left, Leaf) and left.key == key:
        prev = left.value
        old.pending.pop()
    if isinstance(right, Leaf) and right.key == key:
        cid = right.value
        new.pending.pop()
    return Operation(key, cid, prev)


class _Editor:
    """Edits trees without writing to any: each edit gives a new tree that shares what it did not touch."""

    def __init__(self, blocks: Mapping[Cid, bytes]) -> None:
        self._blocks = blocks
        self._opened: dict[Subtree, Branch] = {}

    def perform(self, tree: Tree | None, operation: Operation) -> Tree | None:
        check_key(operation.key)
        found = self._find(tree, operation.key)
        if found != operation.prev:
            raise ProofError(
                "an operation does not fit the tree",
                step="proof",
                path=operation.key,
                expected=operation.prev or "no record",
                actual=found or "no record",
            )
        if operation.cid is None:
            return self.trim(tree and self._remove(tree, operation.key))
        depth = key_depth(operation.key)
        top = self._open(tree) if tree else Branch(depth, (None,), ())
        while top.layer < depth:
            top = Branch(top.layer + 1, (top,), ())
        return self._put(top, top.layer, Leaf(operation.key, operation.cid))

    def trim(self, tree: Tree | None) -> Tree | None:
        """Take off what stands above the highest leaf."""
        while tree is not None:
            branch = self._open(tree)
            if branch.leaves:
                break
            tree = branch.trees[0]
        return tree

    def _open(self, tree: Tree) -> Branch:
        if isinstance(tree, Branch):
            return tree
        if tree not in self._opened:
            self._opened[tree] = tree.open(self._blocks)
        return self._opened[tree]

    def _find(self, tree: Tree | None, key: str) -> Cid | None:
        while tree is not None:
            branch = self._open(tree)
            place = _place(branch, key)
            if _is_at(branch, place, key):
                return branch.leaves[place].value
            tree = branch.trees[place]
        return None

    def _put(self, tree: Tree | None, layer: int, leaf: Leaf) -> Branch:
        branch = self._open(tree) if tree else Branch(layer, (None,), ())
        trees, leaves = branch.trees, branch.leaves
        place = _place(branch, leaf.key)
        if _is_at(branch, place, leaf.key):
            return Branch(layer, trees, (*leaves[:place], leaf, *leaves[place + 1 :]))
        if key_depth(leaf.key) == layer:
            before, after = self._split(trees[place], leaf.key)
            grown = (*trees[:place], before, after, *trees[place + 1 :])
            return Branch(layer, grown, (*leaves[:place], leaf, *leaves[place:]))
        return Branch(layer, _with(trees, place, self._put(trees[place], layer - 1, leaf)), leaves)

    def _remove(self, tree: Tree, key: str) -> Branch | None:
        branch = self._open(tree)
        trees, leaves = branch.trees, branch.leaves
        place = _place(branch, key)
        if _is_at(branch, place, key):
            joined = self._join(trees[place], trees[place + 1])
            shrunk = (*trees[:place], joined, *trees[place + 2 :])
            return _pruned(Branch(branch.layer, shrunk, (*leaves[:place], *leaves[place + 1 :])))
        child = trees[place]
        return _pruned(Branch(branch.layer, _with(trees, place, child and self._remove(child, key)), leaves))

    def _split(self, tree: Tree | None, key: str) -> tuple[Branch | None, Branch | None]:
        """The parts of a tree before and after a key that is not in it."""
        if tree is None:
            return None, None
        branch = self._open(tree)
        place = _place(branch, key)
        before, after = self._split(branch.trees[place], key)
        return (
            _pruned(Branch(branch.layer, (*branch.trees[:place], before), branch.leaves[:place])),
            _pruned(Branch(branch.layer, (after, *branch.trees[place + 1 :]), branch.leaves[place:])),
        )

    def _join(self, before: Tree | None, after: Tree | None) -> Tree | None:
        """One tree of two neighbours in the same layer."""
        if before is None or after is None:
            return before or after
        left, right = self._open(before), self._open(after)
        middle = self._join(left.trees[-1], right.trees[0])
        return Branch(left.layer, (*left.trees[:-1], middle, *right.trees[1:]), left.leaves + right.leaves)


def _place(branch: Branch, key: str) -> int:
    """The number of its leaves that come before the key."""
    return bisect_left(branch.leaves, key, key=lambda leaf: leaf.key)


def _is_at(branch: Branch, place: int, key: str) -> bool:
    return place < len(branch.leaves) and branch.leaves[place].key == key


def _with(trees: tuple[Tree | None, ...], place: int, tree: Tree | None) -> tuple[Tree | None, ...]:
    return (*trees[:place], tree, *trees[place + 1 :])


def _pruned(branch: Branch) -> Branch | None:
    return branch if branch.leaves or branch.trees != (None,) else None


def _seal(tree: Tree, made: dict[Cid, bytes]) -> Cid:
    """Write what was changed and give it CIDs."""
    if isinstance(tree, Subtree):
        return tree.cid
    left, *rights = (None if child is None else _seal(child, made) for child in tree.trees)
    rows = (TreeEntry(leaf.key, leaf.value, right) for leaf, right in zip(tree.leaves, rights, strict=True))
    block = Node(left, tuple(rows)).encode()
    cid = Cid.of_cbor(block)
    made[cid] = block
    return cid
