"""The search tree against a dict as its model, and against trees nobody should trust."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.repo import mst
from atdata.atproto.repo.node import MAX_KEY_LENGTH, MAX_KEYS_LENGTH, MissingBlockError, Node, TreeEntry
from atdata.errors import ProofError, UsageError
from support.blocks import COLLECTIONS, keys, models

pytestmark = pytest.mark.usefixtures("either_form")

prefixes = st.sampled_from(["", "app", "app.a.post", "app.a.post/", "app.a.posting/", "app.b/", "app.b/1", "b", "zzz"])

LEAF = Cid.of_cbor(b"leaf")
KEY_OF: dict[int, list[str]] = {}
for number in range(4000):
    KEY_OF.setdefault(mst.key_depth(f"a/{number:04}"), []).append(f"a/{number:04}")


@given(models, st.randoms(use_true_random=False))
def test_a_tree_does_not_depend_on_the_order(model: dict[str, Cid], rng: random.Random) -> None:
    shuffled = list(model.items())
    rng.shuffle(shuffled)
    assert mst.build(dict(shuffled)) == mst.build(model)


@given(models, st.lists(keys, max_size=10))
def test_what_is_found_is_what_is_there(model: dict[str, Cid], others: list[str]) -> None:
    root, blocks = mst.build(model)
    for key in (*model, *others):
        assert mst.lookup(root, key, blocks) == model.get(key)
        path = mst.proof_path(root, key, blocks)
        assert path[0] == root
        proof = {cid: blocks[cid] for cid in path}
        assert mst.lookup(root, key, proof) == model.get(key)
        for cid in path:
            with pytest.raises(MissingBlockError) as caught:
                mst.lookup(root, key, {other: block for other, block in proof.items() if other != cid})
            assert caught.value.cid == cid


@given(models, prefixes)
def test_a_prefix_lists_what_begins_with_it_in_order(model: dict[str, Cid], prefix: str) -> None:
    root, blocks = mst.build(model)
    expected = sorted(item for item in model.items() if item[0].startswith(prefix))
    assert list(mst.entries(root, blocks, prefix)) == expected


@given(models, prefixes)
def test_fetching_what_is_missing_comes_to_an_end(model: dict[str, Cid], prefix: str) -> None:
    root, blocks = mst.build(model)
    fetched: dict[Cid, bytes] = {}
    rounds = 0
    while missing := mst.missing_nodes(root, fetched, prefix):
        assert not set(missing) & set(fetched)
        fetched |= {cid: blocks[cid] for cid in missing}
        rounds += 1
    top = max(map(mst.key_depth, model), default=0)
    assert rounds <= top + 2
    assert list(mst.entries(root, fetched, prefix)) == sorted(i for i in model.items() if i[0].startswith(prefix))
    # Nothing was fetched in vain: without any of it the listing breaks.
    for cid in fetched:
        with pytest.raises(MissingBlockError) as caught:
            list(mst.entries(root, {other: block for other, block in fetched.items() if other != cid}, prefix))
        assert caught.value.cid == cid


def test_an_empty_tree() -> None:
    root, blocks = mst.build({})
    assert str(root) == "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    assert mst.lookup(root, "a/b", blocks) is None
    assert list(mst.entries(root, blocks)) == []


def test_a_collection_is_listed_without_the_nodes_of_others() -> None:
    model = {f"{collection}/{number:05}": LEAF for collection in COLLECTIONS for number in range(500)}
    root, blocks = mst.build(model)
    fetched: dict[Cid, bytes] = {}
    while missing := mst.missing_nodes(root, fetched, "app.b/"):
        fetched |= {cid: blocks[cid] for cid in missing}
    assert len(list(mst.entries(root, fetched, "app.b/"))) == 500
    assert len(fetched) < len(blocks) / 3


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_LENGTH + 1), "é" * MAX_KEY_LENGTH])
def test_keys_no_tree_may_hold(key: str) -> None:
    with pytest.raises(UsageError):
        mst.build({key: LEAF})


@given(models)
def test_a_node_is_read_as_it_was_written(model: dict[str, Cid]) -> None:
    for cid, block in mst.build(model)[1].items():
        assert Node.decode(block).encode() == block
        assert Cid.of_cbor(block) == cid


@given(models.filter(bool), st.data())
def test_a_node_has_one_form(model: dict[str, Cid], data: st.DataObject) -> None:
    block = bytearray(data.draw(st.sampled_from(sorted(mst.build(model)[1].values()))))
    bit = data.draw(st.integers(0, len(block) * 8 - 1))
    block[bit // 8] ^= 1 << bit % 8
    try:
        node = Node.decode(bytes(block))
    except ProofError:
        return
    assert node.encode() == bytes(block)


def entry(key: bytes, prefix: int = 0, **changes: Any) -> dict[str, Any]:
    return {"p": prefix, "k": key, "v": LEAF, "t": None, **changes}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"l": None},
        {"e": []},
        {"l": None, "e": [], "x": 1},
        {"l": None, "e": {}},
        {"l": 1, "e": []},
        {"l": Cid.of_raw(b""), "e": []},
        {"l": None, "e": [1]},
        {"l": None, "e": [{}]},
        {"l": None, "e": [entry(b"")]},
        {"l": None, "e": [entry(b"a/b", 1)]},
        {"l": None, "e": [entry(b"a/b", -1)]},
        {"l": None, "e": [entry(b"a/b", False)]},
        {"l": None, "e": [entry(b"a/b", v=None)]},
        {"l": None, "e": [entry(b"a/b", v="x")]},
        {"l": None, "e": [entry(b"a/b", t=1)]},
        {"l": None, "e": [entry(b"a/b", t=Cid.of_raw(b""))]},
        {"l": None, "e": [entry(b"a/b", k="a/b")]},
        {"l": None, "e": [entry(b"a/b", x=1)]},
        {"l": None, "e": [entry(b"\xff")]},
        {"l": None, "e": [entry(b"a" * (MAX_KEY_LENGTH + 1))]},
        {"l": None, "e": [entry(b"b/1"), entry(b"a/1")]},
        {"l": None, "e": [entry(b"a/1"), entry(b"", 3)]},
        {"l": None, "e": [entry(b"a/1"), entry(b"a/2")]},  # the prefix is not used
        {"l": None, "e": [entry(b"a/1"), entry(b"/2", 1)]},  # nor all of it here
        {"l": None, "e": [entry(b"a/1"), entry(b"2", 2**63)]},
    ],
)
def test_what_is_no_node_is_refused(value: Any) -> None:
    block = cbor.encode(value)
    with pytest.raises(ProofError) as caught:
        Node.decode(block)
    assert caught.value.step == "proof"
    cid = Cid.of_cbor(block)
    with pytest.raises(ProofError):
        mst.lookup(cid, "a/b", {cid: block})


def test_the_keys_of_a_node_have_one_depth() -> None:
    low, high = sorted([KEY_OF[0][0], KEY_OF[1][0]])
    with pytest.raises(ProofError, match="depth"):
        Node.decode(Node(None, (TreeEntry(low, LEAF), TreeEntry(high, LEAF))).encode())


@pytest.mark.parametrize("block", [b"", b"\xff", b"\x81" * 10_000, bytes.fromhex("a261659bffffffffffffffff")])
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(ProofError):
        Node.decode(block)


def test_keys_do_not_unfold_without_limit() -> None:
    """A block of a megabyte whose entries share a prefix of half of it."""
    long = b"a" * 500_000
    entries = [entry(long), *(entry(b"%07d" % number, len(long)) for number in range(10_000))]
    with pytest.raises(ProofError):
        Node.decode(cbor.encode({"l": None, "e": entries}))


class Forge:
    """Makes trees that no honest builder makes."""

    def __init__(self) -> None:
        self.blocks: dict[Cid, bytes] = {}

    def node(self, left: Cid | None = None, *entries: TreeEntry) -> Cid:
        block = Node(left, entries).encode()
        cid = Cid.of_cbor(block)
        self.blocks[cid] = block
        return cid

    def refuse(self, root: Cid, key: str = "a/9999") -> None:
        with pytest.raises(ProofError) as caught:
            list(mst.entries(root, self.blocks))
        assert not isinstance(caught.value, MissingBlockError)
        assert caught.value.path.startswith("node ")
        with pytest.raises(ProofError):
            mst.lookup(root, key, self.blocks)


LOW, MIDDLE, HIGH = KEY_OF[1][0], KEY_OF[1][1], KEY_OF[1][2]


def between(low: str, high: str, depth: int = 0) -> str:
    return next(key for key in KEY_OF[depth] if low < key < high)


def test_a_subtree_must_be_one_layer_down() -> None:
    forge = Forge()
    deep = forge.node(None, TreeEntry(KEY_OF[0][-1], LEAF))
    forge.refuse(forge.node(None, TreeEntry(KEY_OF[2][0], LEAF, deep)))
    forge.refuse(forge.node(None, TreeEntry(KEY_OF[1][0], LEAF, forge.node(None, TreeEntry(KEY_OF[1][-1], LEAF)))))
    forge.refuse(forge.node(None, TreeEntry(KEY_OF[1][0], LEAF, forge.node(None, TreeEntry(KEY_OF[2][-1], LEAF)))))


def test_a_subtree_must_keep_to_its_range() -> None:
    forge = Forge()
    inside = forge.node(None, TreeEntry(between(LOW, HIGH), LEAF))
    assert list(mst.entries(forge.node(None, TreeEntry(LOW, LEAF, inside), TreeEntry(HIGH, LEAF)), forge.blocks))
    forge.refuse(forge.node(inside, TreeEntry(LOW, LEAF)), "a/-")
    forge.refuse(forge.node(None, TreeEntry(LOW, LEAF), TreeEntry(HIGH, LEAF, inside)))
    forge.refuse(forge.node(inside, TreeEntry(LOW, LEAF, inside)), "a/-")


def test_the_bounds_of_a_node_come_from_all_above_it() -> None:
    forge = Forge()
    # In place by its parent, out of place by the parent's parent.
    beyond = next(key for key in KEY_OF[0] if key > KEY_OF[2][0])
    leafs = forge.node(None, TreeEntry(beyond, LEAF))
    middle = forge.node(None, TreeEntry(next(k for k in KEY_OF[1] if k < KEY_OF[2][0]), LEAF, leafs))
    forge.refuse(forge.node(middle, TreeEntry(KEY_OF[2][0], LEAF)), max(k for k in KEY_OF[0] if k < KEY_OF[2][0]))


def test_nodes_without_content_are_refused() -> None:
    forge = Forge()
    empty = forge.node()
    forge.refuse(forge.node(None, TreeEntry(LOW, LEAF, empty)))
    forge.refuse(forge.node(forge.node(None, TreeEntry(LOW, LEAF))))
    forge.refuse(forge.node(empty))


def test_there_is_nothing_below_the_lowest_layer() -> None:
    forge = Forge()
    leaf = forge.node(None, TreeEntry(KEY_OF[0][-1], LEAF))
    forge.refuse(forge.node(None, TreeEntry(KEY_OF[0][0], LEAF, leaf)))


def test_a_long_chain_ends_at_the_lowest_layer() -> None:
    """Empty nodes one below another, more than there are layers: a server cannot lead us on."""
    forge = Forge()
    top = max(KEY_OF)
    here = forge.node(None, TreeEntry(KEY_OF[0][-1], LEAF))
    for _ in range(5000):
        here = forge.node(here)
    root = forge.node(None, TreeEntry(KEY_OF[top][0], LEAF, here))
    forge.refuse(root)
    rounds = 0
    fetched: dict[Cid, bytes] = {}
    with pytest.raises(ProofError):
        while missing := mst.missing_nodes(root, fetched):
            fetched |= {cid: forge.blocks[cid] for cid in missing}
            rounds += 1
    assert rounds <= top + 2


def test_blocks_are_hashed_whoever_filled_the_mapping() -> None:
    root, blocks = mst.build({LOW: LEAF})
    other, others = mst.build({HIGH: LEAF})
    with pytest.raises(ProofError, match="not what its CID names"):
        mst.lookup(root, LOW, {root: others[other]})
    assert blocks


def test_a_missing_root_is_missing() -> None:
    root, _ = mst.build({LOW: LEAF})
    assert mst.missing_nodes(root, {}) == [root]
    with pytest.raises(MissingBlockError):
        mst.lookup(root, LOW, {})
    with pytest.raises(MissingBlockError):
        list(mst.entries(root, {}))


def test_keys_do_not_unfold_without_end() -> None:
    """They share all but their last bytes, so that a small block holds many long ones."""
    alike = (f"{'a' * 1000}{number:08}" for number in range(1 << 30))
    long = (key for key in alike if mst.key_depth(key) == 0)
    few = tuple(TreeEntry(next(long), LEAF) for _ in range(MAX_KEYS_LENGTH // 1008))
    assert Node.decode(Node(None, few).encode()).entries == few
    block = Node(None, (*few, TreeEntry(next(long), LEAF))).encode()
    assert len(block) < MAX_KEYS_LENGTH // 10
    with pytest.raises(ProofError, match="too long"):
        Node.decode(block)
