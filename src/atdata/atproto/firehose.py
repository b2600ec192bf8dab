"""Frames of `com.atproto.sync.subscribeRepos`: a header and a body, each DAG-CBOR, one after the other.

https://atproto.com/specs/event-stream, https://atproto.com/specs/sync#firehose. Most frames of a relay are of no
interest to anyone in particular: `skim` finds at the cost of a header whose they are, `parse_frame` reads the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeGuard, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import shown
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
from atdata.atproto.repo.node import MAX_KEY_LENGTH
from atdata.atproto.syntax import Did, Tid
from atdata.errors import DataModelError, IdentifierError, LimitError

MAX_FRAME = 5_000_000
"""Bytes of a frame."""
MAX_BLOCKS = 2_000_000
"""Bytes of the blocks in one event."""
MAX_OPERATIONS = 200
"""Operations in one commit."""
MAX_SEQ = 2**63 - 1
"""The largest number of an event."""

T = TypeVar("T")

_MESSAGE, _ERROR = 1, -1


class Skimmed(NamedTuple):
    """The little of a frame that says whether to read on.

    Attributes:
        op: 1 for a message, -1 for an error; others are to be passed over.
        type: of the message, such as `#commit`; empty for an error.
        seq: the number of the event, if it has one.
        did: whose event it is, as the frame has it, if anybody's.
        names: beginning and end of the part that names records.
    """

    op: int
    type: str
    seq: int | None
    did: str | None
    names: tuple[int, int]


# A commit as all servers write it, up to where it says whose it is. What is matched here is CBOR read from the start,
# piece by piece: a decoder finds the same values there, or none at all. Anything else goes to the decoder.
_LINK = rb"(?:\xf6|\xd8\x2a\x58\x25\x00.{36})"
_HEAD = re.compile(rb"\xa2atg#commitbop\x01[\xa4-\xb7]cops(?:[\x80-\x97]|\x98[\x18-\xff])", re.DOTALL)
_OPERATION = re.compile(rb"[\xa3\xa4]ccid" + _LINK + rb"dpath(?:[\x60-\x77]|x[\x18-\xff])", re.DOTALL)
_ACTION = rb"factionf(?:create|update|delete)"
_ENDS = {0xA3: re.compile(_ACTION), 0xA4: re.compile(rb"dprev" + _LINK + _ACTION, re.DOTALL)}
_WHOSE = re.compile(
    rb"crevm[2-7a-z]{13}cseq([\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?!\0\0).{4}|\x1b(?!\0{4})[\0-\x7f].{7})"
    rb"drepo(?:[\x60-\x77]|x[\x18-\xff])",
    re.DOTALL,
)


def skim(frame: bytes) -> Skimmed:
    """The kind of a frame, its number and whose it is, without reading more of it than that takes.

    It gives no other answer than the decoder would, but may give one for a frame that the decoder refuses further on.

    Raises:
        DataModelError: not a header and a body.
        LimitError: longer than `MAX_FRAME`.
    """
    if len(frame) > MAX_FRAME:
        _fail_long("a frame", len(frame), MAX_FRAME, "bytes")
    return _skim_commit(frame) or _skim_decoded(frame)


def may_name(frame: bytes, skimmed: Skimmed, prefixes: Sequence[bytes]) -> bool:
    """False if no record that a frame names can have a key with one of these beginnings, such as `b"app.bsky.feed."`."""
    start, end = skimmed.names
    return any(frame.find(prefix, start, end) >= 0 for prefix in prefixes)


def parse_frame(frame: bytes) -> Event:
    """The event in a frame.

    Raises:
        DataModelError: not a frame, or an event of a known type without what it must have; `path` names it.
        LimitError: longer, or with more in it, than an event may have.
    """
    if len(frame) > MAX_FRAME:
        _fail_long("a frame", len(frame), MAX_FRAME, "bytes")
    op, kind, body = _decode(frame)
    if op == _ERROR:
        return ErrorEvent(_want(body, "error", str), _optional(body, "message", str) or "")
    if op == _MESSAGE and (read := _READERS.get(kind)):
        return read(body)
    seq = body.get("seq")
    return UnknownEvent(kind, seq if _is_seq(seq) else None)


def encode_frame(event: Event) -> bytes:
    """The frame of an event.

    Raises:
        DataModelError: a value that DAG-CBOR has no form for.
    """
    if isinstance(event, ErrorEvent):
        return cbor.encode({"op": _ERROR}) + cbor.encode({"error": event.error, "message": event.message})
    kind, body = _body_of(event)
    return cbor.encode({"op": _MESSAGE, "t": kind}) + cbor.encode(body)


def _skim_commit(frame: bytes) -> Skimmed | None:
    head = _HEAD.match(frame)
    if head is None:
        return None
    at = start = head.end()
    for _ in range(frame[at - 1] if frame[at - 2] == 0x98 else frame[at - 1] & 0x1F):
        operation = _OPERATION.match(frame, at)
        if operation is None:
            return None
        ends, at = _ENDS[frame[at]], _after_text(frame, operation.end())
        action = ends.match(frame, at)
        if action is None:
            return None
        at = action.end()
    whose = _WHOSE.match(frame, at)
    if whose is None:
        return None
    begin = whose.end()
    end = _after_text(frame, begin)
    did, seq = frame[begin:end], whose[1]
    if end > len(frame) or not did.isascii():
        return None
    return Skimmed(_MESSAGE, "#commit", int.from_bytes(seq[1:] or seq), did.decode(), (start, at))


def _after_text(frame: bytes, start: int) -> int:
    """The end of a text whose length stands right before `start`: in a byte after an x, or in the byte of its type."""
    length = frame[start - 1]
    return start + (length if frame[start - 2] == 0x78 else length - 0x60)


def _skim_decoded(frame: bytes) -> Skimmed:
    op, kind, body = _decode(frame)
    seq, did = body.get("seq"), body.get("repo" if kind == "#commit" else "did")
    known = (seq if _is_seq(seq) else None, did if isinstance(did, str) else None)
    return Skimmed(op, kind, *known, (0, len(frame)))


def _decode(frame: bytes) -> tuple[int, str, dict[str, Any]]:
    """Operation, type and body."""
    header: Any
    body: Any
    header, end = cbor.decode_first(frame)
    body, after = cbor.decode_first(frame, end)
    if after != len(frame):
        _fail("its body", "nothing after it", f"{len(frame) - after} bytes")
    match header:
        case {"op": int(op)} if not isinstance(op, bool):
            kind = "" if op == _ERROR else header.get("t", "")
        case _:
            _fail("its header", "a map with an op", header)
    if not isinstance(kind, str):
        _fail("t", "text", kind)
    if op not in (_MESSAGE, _ERROR):
        return op, kind, {}  # to come, or nothing
    if not isinstance(body, dict):
        _fail("its body", "a map", body)
    return op, kind, body


def _read_commit(body: dict[str, Any]) -> CommitEvent:
    operations = _want(body, "ops", list)
    if len(operations) > MAX_OPERATIONS:
        _fail_long("a commit", len(operations), MAX_OPERATIONS, "operations")
    return CommitEvent(
        seq=_seq(body),
        did=_identifier(Did, body, "repo"),
        rev=_identifier(Tid, body, "rev"),
        since=None if body.get("since") is None else _identifier(Tid, body, "since"),
        commit=_link(body, "commit"),
        prev_data=_optional(body, "prevData", Cid),
        operations=tuple(_read_operation(each, f"ops[{index}]") for index, each in enumerate(operations)),
        blocks=_blocks(body),
        too_big=_optional(body, "tooBig", bool) or False,
        time=_want(body, "time", str),
    )


def _read_operation(value: Any, path: str) -> StatedOperation:
    match value:
        case {"action": "create" | "update" | "delete" as action, "path": str(key)}:
            cid, prev = _optional(value, "cid", Cid, path), _optional(value, "prev", Cid, path)
        case _:
            _fail(path, "create, update or delete, and a path", value)
    if (cid is None) != (action == "delete"):
        _fail(f"{path}.cid", "a record, unless it was deleted", cid)
    if action == "create" and prev is not None:
        _fail(f"{path}.prev", "no record before a created one", prev)
    if not 0 < len(key.encode()) <= MAX_KEY_LENGTH or "/" not in key:
        _fail(f"{path}.path", f"collection/rkey, at most {MAX_KEY_LENGTH} bytes", key)
    return StatedOperation(action, key, cid, prev)


def _read_sync(body: dict[str, Any]) -> SyncEvent:
    did, rev = _identifier(Did, body, "did"), _identifier(Tid, body, "rev")
    return SyncEvent(_seq(body), did, rev, _blocks(body), _want(body, "time", str))


def _read_identity(body: dict[str, Any]) -> IdentityEvent:
    handle = _optional(body, "handle", str)
    return IdentityEvent(_seq(body), _identifier(Did, body, "did"), handle, _want(body, "time", str))


def _read_account(body: dict[str, Any]) -> AccountEvent:
    active, status = _want(body, "active", bool), _optional(body, "status", str)
    return AccountEvent(_seq(body), _identifier(Did, body, "did"), active, status, _want(body, "time", str))


def _read_info(body: dict[str, Any]) -> InfoEvent:
    return InfoEvent(_want(body, "name", str), _optional(body, "message", str) or "")


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "#commit": _read_commit,
    "#sync": _read_sync,
    "#identity": _read_identity,
    "#account": _read_account,
    "#info": _read_info,
}


def _body_of(event: Event) -> tuple[str, dict[str, Any]]:
    """Type and body of a message."""
    match event:
        case CommitEvent():
            known: dict[str, Any] = {} if event.prev_data is None else {"prevData": event.prev_data}
            state = {"commit": event.commit, "rev": event.rev, "since": event.since, "blocks": event.blocks}
            operations = [
                {"action": each.action, "path": each.key, "cid": each.cid, **({"prev": each.prev} if each.prev else {})}
                for each in event.operations
            ]
            empty = {"rebase": False, "blobs": []}  # required, and without use
            facts = {"seq": event.seq, "time": event.time, "repo": event.did, "tooBig": event.too_big}
            return "#commit", {**facts, **state, **known, **empty, "ops": operations}
        case SyncEvent():
            return "#sync", {**_facts(event), "rev": event.rev, "blocks": event.blocks}
        case IdentityEvent():
            return "#identity", {**_facts(event), **({} if event.handle is None else {"handle": event.handle})}
        case AccountEvent():
            status = {} if event.status is None else {"status": event.status}
            return "#account", {**_facts(event), "active": event.active, **status}
        case InfoEvent():
            return "#info", {"name": event.name, "message": event.message}
        case UnknownEvent():
            return event.type, {} if event.seq is None else {"seq": event.seq}
        case ErrorEvent():
            raise AssertionError("an error is no message")


def _facts(event: SyncEvent | IdentityEvent | AccountEvent) -> dict[str, Any]:
    return {"seq": event.seq, "did": event.did, "time": event.time}


def _want(body: dict[str, Any], name: str, kind: type[T], path: str = "") -> T:
    value = body.get(name)
    if not isinstance(value, kind):
        _fail(f"{path}.{name}".lstrip("."), kind.__name__, value)
    return value


def _optional(body: dict[str, Any], name: str, kind: type[T], path: str = "") -> T | None:
    return None if body.get(name) is None else _want(body, name, kind, path)


def _link(body: dict[str, Any], name: str) -> Cid:
    return _want(body, name, Cid)


def _identifier(kind: type[T], body: dict[str, Any], name: str) -> T:
    text = _want(body, name, str)
    try:
        return kind(text)  # type: ignore[call-arg]
    except IdentifierError:
        _fail(name, f"a {kind.__name__.upper()}", text)


def _blocks(body: dict[str, Any]) -> bytes:
    blocks = _want(body, "blocks", bytes)
    if len(blocks) > MAX_BLOCKS:
        _fail_long("the blocks of an event", len(blocks), MAX_BLOCKS, "bytes")
    return blocks


def _seq(body: dict[str, Any]) -> int:
    seq = body.get("seq")
    if not _is_seq(seq):
        _fail("seq", "an integer from 0 on, of 63 bits", seq)
    return seq


def _is_seq(seq: object) -> TypeGuard[int]:
    return isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq <= MAX_SEQ


def _fail(path: str, expected: str, actual: object) -> NoReturn:
    raise DataModelError("not an event of a firehose", path=path, expected=expected, actual=shown(actual))


def _fail_long(what: str, actual: int, limit: int, unit: str) -> NoReturn:
    raise LimitError(
        f"{what} is too large", expected=f"at most {limit} {unit}", actual=f"{actual} {unit}", step="firehose"
    )
