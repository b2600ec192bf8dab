"""Frames of a firehose: what is written is read, whatever is read is checked, and a skim tells what the decoder would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.events import (
    AccountEvent,
    CommitEvent,
    ErrorEvent,
    Event,
    IdentityEvent,
    InfoEvent,
    StatedOperation,
    SyncEvent,
    UnknownEvent,
)
from atdata.atproto.firehose import (
    MAX_BLOCKS,
    MAX_FRAME,
    MAX_OPERATIONS,
    MAX_SEQ,
    Skimmed,
    encode_frame,
    may_name,
    parse_frame,
    skim,
)
from atdata.atproto.repo.diff import Operation
from atdata.atproto.syntax import Did, Tid
from atdata.errors import AtdataError, DataModelError, LimitError

CIDS = [Cid.of_cbor(bytes([number])) for number in range(4)]
ALICE, BOB = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Did("did:web:bob.example.com")
HEADER = cbor.encode({"op": 1, "t": "#commit"})

cids = st.sampled_from(CIDS)
dids = st.sampled_from([ALICE, BOB, Did("did:web:" + "a" * 60 + ".example.com"), Did("did:x:y")])
tids = st.builds(Tid.from_microseconds, st.integers(0, 2**53 - 1))
seqs = st.integers(0, MAX_SEQ) | st.sampled_from([0, 23, 24, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, MAX_SEQ])
keys = st.builds("app.test/{}".format, st.text("abcdrepocidprevpathaction", min_size=1, max_size=300))
operations = st.one_of(
    st.builds(StatedOperation, st.just("create"), keys, cids),
    st.builds(StatedOperation, st.just("update"), keys, cids, st.none() | cids),
    st.builds(StatedOperation, st.just("delete"), keys, st.none(), st.none() | cids),
)
commits = st.builds(
    CommitEvent,
    seq=seqs,
    did=dids,
    rev=tids,
    since=st.none() | tids,
    commit=cids,
    prev_data=st.none() | cids,
    operations=st.lists(operations, max_size=30).map(tuple),
    blocks=st.binary(max_size=100),
    too_big=st.booleans(),
    time=st.text(max_size=30),
)
words = st.none() | st.text(max_size=20)
events = st.one_of(
    commits,
    st.builds(SyncEvent, seqs, dids, tids, st.binary(max_size=100), st.text(max_size=30)),
    st.builds(IdentityEvent, seqs, dids, words, st.text(max_size=30)),
    st.builds(AccountEvent, seqs, dids, st.booleans(), words, st.text(max_size=30)),
    st.builds(InfoEvent, st.text(max_size=20), st.text(max_size=20)),
    st.builds(ErrorEvent, st.text(max_size=20), st.text(max_size=20)),
    st.builds(UnknownEvent, st.just("#handle"), st.none() | seqs),
)

COMMIT = CommitEvent(
    seq=7,
    did=ALICE,
    rev=Tid.from_microseconds(2),
    since=Tid.from_microseconds(1),
    commit=CIDS[0],
    prev_data=CIDS[1],
    operations=(
        StatedOperation("create", "app.test/a", CIDS[2]),
        StatedOperation("delete", "app.test/b", None, CIDS[3]),
    ),
    blocks=b"blocks",
    time="2026-01-01T00:00:00.000Z",
)


def decoded(frame: bytes) -> tuple[Any, ...]:
    """What the decoder alone finds, as `skim` has it."""
    header, end = cbor.decode_first(frame)
    body = cbor.decode(frame[end:])
    assert isinstance(header, dict)
    assert isinstance(body, dict) or header["op"] not in (1, -1)
    if header["op"] not in (1, -1):
        body = {}
    kind = header.get("t", "") if header["op"] != -1 else ""
    assert isinstance(body, dict)
    seq, did = body.get("seq"), body.get("repo" if kind == "#commit" else "did")
    is_seq = isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq <= MAX_SEQ
    return header["op"], kind, seq if is_seq else None, did if isinstance(did, str) else None


def altered(**members: Any) -> bytes:
    """The frame of a commit with other members; those that are `...` are left out."""
    body = {**body_of(COMMIT), **members}
    return HEADER + cbor.encode({name: value for name, value in body.items() if value is not ...})


def body_of(event: Event) -> dict[str, Any]:
    frame = encode_frame(event)
    body = cbor.decode_first(frame, cbor.decode_first(frame)[1])[0]
    assert isinstance(body, dict)
    return body


@given(events)
def test_what_is_written_is_read(event: Event) -> None:
    assert parse_frame(encode_frame(event)) == event


@given(events)
def test_a_skim_says_what_the_decoder_says(event: Event) -> None:
    frame = encode_frame(event)
    assert skim(frame)[:4] == decoded(frame)


@given(events, st.data())
def test_no_altered_frame_is_attributed_to_anybody_else(event: Event, data: st.DataObject) -> None:
    """Where both have an answer it is the same one, whatever was altered."""
    frame = bytearray(encode_frame(event))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame)))
        match data.draw(st.sampled_from(["set", "drop", "insert", "copy", "cut"])):
            case "set" if at < len(frame):
                frame[at] = data.draw(st.integers(0, 255))
            case "drop":
                del frame[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                frame[at:at] = data.draw(st.binary(max_size=40))
            case "copy":
                start = data.draw(st.integers(0, len(frame)))
                frame[at:at] = frame[start : start + data.draw(st.integers(1, 80))]
            case _:
                del frame[at:]
    try:
        skimmed = skim(bytes(frame))
    except AtdataError:
        with pytest.raises(AtdataError):
            parse_frame(bytes(frame))
        return
    try:
        expected = decoded(bytes(frame))
    except (AtdataError, AssertionError, KeyError):
        return  # the rest of it is no frame, which who reads on is told
    assert skimmed[:4] == expected


@pytest.mark.parametrize(
    "text", ["drepox\x20{bob}", "factionfcreatecrevm{rev}cseq\x07drepox\x20{bob}", "x" * 90 + "drepo"]
)
@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_key_that_looks_like_the_rest_of_a_commit_is_a_key(text: str, count: int) -> None:
    bob = "did:plc:" + "b" * 24
    key = "app.test/" + text.format(bob=bob, rev=COMMIT.rev)
    hidden = tuple(StatedOperation("create", key, CIDS[0]) for _ in range(count))
    frame = encode_frame(replace(COMMIT, operations=hidden, blocks=encode_frame(replace(COMMIT, did=Did(bob)))))
    assert skim(frame)[:4] == (1, "#commit", 7, ALICE)
    assert skim(frame).names[1] < len(frame)


def test_a_frame_that_is_cut_short_is_nobody_elses() -> None:
    frame = encode_frame(COMMIT)
    for end in range(len(frame)):
        try:
            assert skim(frame[:end])[:4] == (1, "#commit", 7, ALICE)
        except DataModelError:
            assert end < frame.index(ALICE.encode()) + len(ALICE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"cseq\x07", b"cseq\x18\x07"),
        (b"cseq\x07", b"cseq\x1a\0\0\0\x07"),
        (b"cseq\x07", b"cseq\x1b\0\0\0\0\0\0\0\x07"),
        (b"cops\x82", b"cops\x98\x02"),
        (b"cops\x82", b"cops\x9f"),
        (HEADER + b"\xac", HEADER + b"\xa1"),
        (HEADER + b"\xac", HEADER + b"\xbf"),
        (b"dpath", b"dpat\xff"),
        (b"drepox\x20", b"drepoy\0\x20"),
    ],
)
def test_another_encoding_is_no_frame(right: bytes, wrong: bytes) -> None:
    frame = encode_frame(COMMIT)
    assert frame.count(right) >= 1
    for read in (skim, parse_frame):
        with pytest.raises(DataModelError):
            read(frame.replace(right, wrong, 1))


@given(commits, st.sampled_from(["app.test", "app.other", "org.example."]))
def test_whoever_is_named_may_be_named(event: CommitEvent, collection: str) -> None:
    frame = encode_frame(event)
    named = any(operation.key.startswith(collection) for operation in event.operations)
    assert may_name(frame, skim(frame), [b"nobody.", collection.encode()]) >= named


def test_only_the_operations_name_records() -> None:
    frame = encode_frame(replace(COMMIT, blocks=b"science.alt.dataset.entry/1"))
    assert not may_name(frame, skim(frame), [b"science.alt.dataset."])
    assert may_name(frame, skim(frame), [b"app.test/a"])


def test_the_quick_way_is_taken_by_every_kind_of_commit() -> None:
    """Else the rate would silently be that of the decoder, which names the whole frame."""
    for did in (ALICE, BOB):
        for count in (0, 1, 23, 24, MAX_OPERATIONS):
            many = tuple(StatedOperation("update", f"app.test/{n}" * 9, CIDS[0], CIDS[1]) for n in range(count))
            for event in (replace(COMMIT, operations=many, did=did), replace(COMMIT, did=did)):
                frame = encode_frame(event)
                assert skim(frame).names[1] < len(frame)


def test_operations_that_can_be_undone() -> None:
    assert COMMIT.changes() == [Operation("app.test/a", CIDS[2], None), Operation("app.test/b", None, CIDS[3])]
    assert tuple(StatedOperation.of(change) for change in COMMIT.changes() or ()) == COMMIT.operations
    omitted = StatedOperation("update", "app.test/c", CIDS[2])
    for event in (
        replace(COMMIT, prev_data=None),
        replace(COMMIT, too_big=True),
        replace(COMMIT, operations=(*COMMIT.operations, omitted)),
    ):
        assert event.changes() is None


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"seq": ...}, "seq"),
        ({"seq": -1}, "seq"),
        ({"seq": True}, "seq"),
        ({"seq": MAX_SEQ + 1}, "seq"),
        ({"seq": "7"}, "seq"),
        ({"repo": ...}, "repo"),
        ({"repo": "alice.test"}, "repo"),
        ({"repo": "did:plc:ewvi7nxzyoun6zhxrhs64oiz\n"}, "repo"),
        ({"rev": "1"}, "rev"),
        ({"since": 3}, "since"),
        ({"commit": str(CIDS[0])}, "commit"),
        ({"prevData": b"x"}, "prevData"),
        ({"blocks": None}, "blocks"),
        ({"tooBig": 1}, "tooBig"),
        ({"time": 1}, "time"),
        ({"ops": {}}, "ops"),
        ({"ops": [1]}, "ops[0]"),
        ({"ops": [{"action": "create", "path": "a/b", "cid": None}]}, "ops[0].cid"),
        ({"ops": [{"action": "delete", "path": "a/b", "cid": CIDS[0]}]}, "ops[0].cid"),
        ({"ops": [{"action": "move", "path": "a/b", "cid": CIDS[0]}]}, "ops[0]"),
        ({"ops": [{"action": "create", "path": "a/b", "cid": CIDS[0], "prev": CIDS[1]}]}, "ops[0].prev"),
        ({"ops": [{"action": "update", "path": "a/b", "cid": CIDS[0], "prev": 1}]}, "ops[0].prev"),
        ({"ops": [{"action": "create", "path": "ab", "cid": CIDS[0]}]}, "ops[0].path"),
        ({"ops": [{"action": "create", "path": "a/" + "b" * 1024, "cid": CIDS[0]}]}, "ops[0].path"),
    ],
)
def test_a_commit_that_lacks_something(members: dict[str, Any], path: str) -> None:
    with pytest.raises(DataModelError) as caught:
        parse_frame(altered(**members))
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["since", "prevData", "rebase", "blobs", "tooBig"])
def test_what_a_commit_may_lack(name: str) -> None:
    assert isinstance(parse_frame(altered(**{name: ...})), CommitEvent)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xa0",
        cbor.encode({"op": 1, "t": "#info"}),
        cbor.encode({"op": 1, "t": "#info"}) + cbor.encode([]),
        cbor.encode({"op": 1, "t": 1}) + cbor.encode({}),
        cbor.encode({"op": True, "t": "#info"}) + cbor.encode({"name": "x"}),
        cbor.encode({"t": "#info"}) + cbor.encode({"name": "x"}),
        cbor.encode([1]) + cbor.encode({"name": "x"}),
        encode_frame(InfoEvent("x")) + b"\0",
        b"\x9f" * 1000,
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,
    ],
)
def test_what_is_no_frame(frame: bytes) -> None:
    for read in (parse_frame, skim):
        with pytest.raises(DataModelError):
            read(frame)


def test_what_is_not_known_is_passed_over() -> None:
    assert parse_frame(cbor.encode({"op": 1, "t": "#new"}) + cbor.encode({"seq": 3})) == UnknownEvent("#new", 3)
    assert parse_frame(cbor.encode({"op": 2}) + cbor.encode([])) == UnknownEvent("")
    assert skim(cbor.encode({"op": 2, "t": "#new"}) + cbor.encode([]))[:4] == (2, "#new", None, None)


def test_limits() -> None:
    for read in (parse_frame, skim):
        with pytest.raises(LimitError, match="a frame is too large"):
            read(bytes(MAX_FRAME + 1))
    with pytest.raises(LimitError, match="blocks"):
        parse_frame(encode_frame(replace(COMMIT, blocks=bytes(MAX_BLOCKS + 1))))
    many = tuple(StatedOperation("create", f"app.test/{number}", CIDS[0]) for number in range(MAX_OPERATIONS + 1))
    with pytest.raises(LimitError, match="a commit is too large"):
        parse_frame(encode_frame(replace(COMMIT, operations=many)))
    assert parse_frame(encode_frame(replace(COMMIT, operations=many[1:], blocks=bytes(MAX_BLOCKS))))


def test_a_skim_is_a_tuple_that_programs_can_unpack() -> None:
    assert skim(encode_frame(COMMIT)) == Skimmed(1, "#commit", 7, ALICE, skim(encode_frame(COMMIT)).names)
