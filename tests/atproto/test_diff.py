"""Changing a tree, undoing changes on a part of it, and telling two trees apart."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.repo import mst
from atdata.atproto.repo.diff import Operation, apply, covering_proof, diff, invert
from atdata.atproto.repo.node import MissingBlockError, key_depth
from atdata.errors import ProofError, UsageError

VALUES = [Cid.of_cbor(bytes([number])) for number in range(4)]
keys = st.builds("app.test/{}".format, st.integers(0, 400))
models = st.dictionaries(keys, st.sampled_from(VALUES), max_size=60)
# What is to be at each key afterwards.
edits = st.dictionaries(keys, st.none() | st.sampled_from(VALUES), max_size=12)


def edited(model: dict[str, Cid], edit: dict[str, Cid | None]) -> tuple[dict[str, Cid], list[Operation]]:
    operations = [Operation(key, cid, model.get(key)) for key, cid in edit.items() if cid != model.get(key)]
    after = {key: cid for key, cid in {**model, **edit}.items() if cid is not None}
    return after, operations


@given(models, edits)
def test_a_changed_tree_is_the_tree_of_the_changed_records(model: dict[str, Cid], edit: dict[str, Cid | None]) -> None:
    after, operations = edited(model, edit)
    root, blocks = mst.build(model)
    change = apply(root, operations, blocks)
    expected, expected_blocks = mst.build(after)
    assert change.root == expected
    assert change.blocks == {cid: block for cid, block in expected_blocks.items() if cid not in blocks}


@given(models, edits)
def test_the_covering_proof_is_enough_to_undo(model: dict[str, Cid], edit: dict[str, Cid | None]) -> None:
    after, operations = edited(model, edit)
    root, blocks = mst.build(after)
    proof = covering_proof(root, [operation.key for operation in operations] or ["app.test/0"], blocks)
    assert invert(root, operations, {cid: blocks[cid] for cid in proof}) == mst.build(model)[0]


@given(models, edits.filter(bool), st.data())
def test_a_false_list_of_operations_does_not_lead_back(
    model: dict[str, Cid], edit: dict[str, Cid | None], data: st.DataObject
) -> None:
    after, operations = edited(model, edit)
    if not operations:
        return
    omitted = data.draw(st.integers(0, len(operations) - 1))
    root, blocks = mst.build(after)
    assert invert(root, operations[:omitted] + operations[omitted + 1 :], blocks) != mst.build(model)[0]


@given(models, edits)
def test_two_trees_differ_in_what_was_changed(model: dict[str, Cid], edit: dict[str, Cid | None]) -> None:
    after, operations = edited(model, edit)
    (old, old_blocks), (new, new_blocks) = mst.build(model), mst.build(after)
    found = diff(old, new, {**old_blocks, **new_blocks})
    assert list(found.operations) == sorted(operations, key=lambda operation: operation.key)


@given(models, models)
def test_two_trees_differ_in_all_that_differs(left: dict[str, Cid], right: dict[str, Cid]) -> None:
    (old, old_blocks), (new, new_blocks) = mst.build(left), mst.build(right)
    expected = [
        Operation(key, right.get(key), left.get(key))
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]
    found = diff(old, new, {**old_blocks, **new_blocks})
    assert list(found.operations) == expected
    assert set(found.added) == new_blocks.keys() - old_blocks.keys()
    assert set(found.removed) == old_blocks.keys() - new_blocks.keys()
    assert found.missing == ()


COLLECTIONS = ("a.b.one", "a.b.onemore", "a.b.two", "z.z.z")
many_keys = st.builds("{}/{}".format, st.sampled_from(COLLECTIONS), st.integers(0, 200))
repositories = st.dictionaries(many_keys, st.sampled_from(VALUES), max_size=80)


@given(st.lists(repositories, min_size=1, max_size=4), st.sets(st.sampled_from(COLLECTIONS), min_size=1))
def test_a_part_of_a_tree_is_followed_with_the_nodes_of_that_part_alone(
    states: list[dict[str, Cid]], wanted: set[str]
) -> None:
    """What is held is always just what proves the part: nodes that were asked for, less those that are gone."""
    prefixes = tuple(f"{collection}/" for collection in sorted(wanted))
    held: dict[Cid, bytes] = {}
    records: dict[str, Cid] = {}
    root = None
    for state in states:
        after, server = mst.build(state)
        brought: dict[Cid, bytes] = {}
        while (found := diff(root, after, {**held, **brought}, prefixes)).missing:
            assert not set(found.missing) & {*held, *brought}, "nothing is asked for twice"
            brought |= {cid: server[cid] for cid in found.missing}
        for operation in found.operations:
            assert records.get(operation.key) == operation.prev
            records = {**records, operation.key: operation.cid}
        held = {cid: {**held, **brought}[cid] for cid in {*held, *found.added} - {*found.removed}}
        records, root = {key: cid for key, cid in records.items() if cid}, after
        assert records == {key: cid for key, cid in state.items() if key.startswith(prefixes)}
        for key in records:
            assert mst.lookup(after, key, held) == records[key]
        assert held.keys() == nodes_of_part(after, server, prefixes)


def nodes_of_part(root: Cid, server: dict[Cid, bytes], prefixes: tuple[str, ...]) -> set[Cid]:
    """The nodes that a copy of a part holds that is made anew."""
    brought: dict[Cid, bytes] = {}
    while (found := diff(None, root, brought, prefixes)).missing:
        brought |= {cid: server[cid] for cid in found.missing}
    return set(found.added)


def test_a_subtree_that_stays_is_read_where_other_keys_with_a_prefix_could_be_in_it_now() -> None:
    """It begins behind a key of nobody's, which goes; now it begins behind one of ours, and so does its first child."""

    def key(collection: str, depth: int, after: int = 0) -> str:
        numbers = (f"{collection}/{number:04}" for number in range(after, 10_000))
        return next(key for key in numbers if key_depth(key) == depth)

    ours, gone = key("a", 2), key("b", 2)
    first = key("b", 0, int(gone[2:]))
    top = key("b", 1, int(first[2:]))
    new = key("a", 0, int(ours[2:]))
    state = dict.fromkeys([ours, gone, first, top, key("c", 0)], VALUES[0])
    states = [state, {k: v for k, v in state.items() if k != gone}]
    states += [{**states[1], new: VALUES[1]}, states[1], state]
    prefixes, held, root = ("a/", "c/"), dict[Cid, bytes](), None
    for state in states:
        after, server = mst.build(state)
        brought: dict[Cid, bytes] = {}
        while (found := diff(root, after, {**held, **brought}, prefixes)).missing:
            brought |= {cid: server[cid] for cid in found.missing}
        assert not held.keys() & set(found.added)
        held = {cid: {**held, **brought}[cid] for cid in {*held, *found.added} - {*found.removed}}
        root = after
        assert held.keys() == nodes_of_part(after, server, prefixes)


def test_shared_subtrees_are_not_read() -> None:
    model = {f"app.test/{number:05}": VALUES[0] for number in range(3000)}
    root, blocks = mst.build(model)
    change = apply(root, [Operation("app.test/01500", VALUES[1], VALUES[0])], blocks)
    path = {*mst.proof_path(root, "app.test/01500", blocks), *change.blocks}
    needed = {cid: block for cid, block in {**blocks, **change.blocks}.items() if cid in path}
    assert len(diff(root, change.root, needed).operations) == 1
    assert diff(root, root, {}).operations == ()


A, B = VALUES[:2]


@pytest.mark.parametrize(
    "operation",
    [
        Operation("app.test/1", B, None),  # there is one
        Operation("app.test/2", B, A),  # there is none
        Operation("app.test/2", None, A),
        Operation("app.test/1", B, B),  # it is another
        Operation("app.test/1", None, B),
    ],
)
def test_an_operation_must_fit(operation: Operation) -> None:
    root, blocks = mst.build({"app.test/1": A})
    with pytest.raises(ProofError) as caught:
        apply(root, [operation], blocks)
    assert caught.value.path == operation.key


def test_an_operation_that_changes_nothing_changes_nothing() -> None:
    root, blocks = mst.build({"app.test/1": A})
    assert apply(root, [Operation("app.test/1", A, A)], blocks).root == root
    assert apply(root, [Operation("app.test/2", None, None)], blocks).root == root
    assert apply(root, [], blocks).blocks == {}


def test_to_undo_nothing_no_block_is_needed() -> None:
    root, _ = mst.build({"app.test/1": A})
    assert covering_proof(root, [], {}) == []
    assert invert(root, [], {}) == apply(root, [], {}).root == root


def test_the_last_record_leaves_an_empty_tree() -> None:
    root, blocks = mst.build({"app.test/1": A})
    assert apply(root, [Operation("app.test/1", None, A)], blocks).root == mst.build({})[0]
    empty, nothing = mst.build({})
    assert apply(empty, [Operation("app.test/1", A, None)], nothing).root == root


def test_a_missing_node_is_named() -> None:
    model = {f"app.test/{number:05}": A for number in range(200)}
    root, blocks = mst.build(model)
    with pytest.raises(MissingBlockError) as caught:
        apply(root, [Operation("app.test/00100", None, A)], {root: blocks[root]})
    assert caught.value.cid in blocks
    assert pickle.loads(pickle.dumps(caught.value)).cid == caught.value.cid


def test_a_key_no_tree_may_hold() -> None:
    root, blocks = mst.build({})
    with pytest.raises(UsageError):
        apply(root, [Operation("", A, None)], blocks)


def test_the_words_of_the_firehose() -> None:
    assert [Operation("k", A, None).action, Operation("k", A, B).action, Operation("k", None, B).action] == [
        "create",
        "update",
        "delete",
    ]
    assert Operation("k", A, B).inverse() == Operation("k", B, A)
