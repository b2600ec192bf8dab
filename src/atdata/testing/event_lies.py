"""Lies that a firehose could tell: events left out, repeated, forged, or too much.

Each is told about the first commit with operations that it applies to, once; before and after it the stream is honest.
So what a reader did about the lie is seen in what it has in the end. Set one as a server's `tamper`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from msgspec import structs

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.events import CommitEvent, StatedOperation
from atdata.atproto.firehose import MAX_FRAME, MAX_OPERATIONS, encode_frame, parse_frame
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import read_car, write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import Tid
from atdata.testing.devnet.firehose import SUBSCRIBE
from atdata.testing.http import Answer, Request
from atdata.testing.websocket import Drip, Messages

Told: TypeAlias = Iterable["CommitEvent | bytes | Drip"]
_HOUR = 3600 * 1_000_000


@dataclass
class FirehoseLie:
    """A lie.

    Attributes:
        name: what it alters.
        step: the check that finds it: `frame` (it is none), `size`, `car`, `commit`, `signature`, `rev`, `proof` (the
            nodes do not lead back), `chain` (it does not follow), or `none`, where nothing is wrong in the end.
        forge: gives what is sent in the place of an honest event; the event itself where the lie does not apply.
        delays: whether the event is sent all the same, after the next message.
        told: how often it was told: a lie that was never told proves nothing.
    """

    name: str
    step: str
    forge: Callable[[CommitEvent], Told] = field(repr=False)
    delays: bool = False
    told: int = 0

    def __str__(self) -> str:
        return self.name

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Tell it."""
        if request.path == SUBSCRIBE and answer.messages is not None and not self.told:
            answer.messages = self._altered(answer.messages)
        return answer

    def _altered(self, messages: Messages) -> Messages:
        held: list[bytes] = []
        for message in messages:
            event = parse_frame(message) if isinstance(message, bytes) and not self.told else None
            forged = list(self.forge(event)) if isinstance(event, CommitEvent) and event.operations else [event]
            if forged == [event] or not isinstance(message, bytes):
                yield message
                if isinstance(message, bytes):
                    yield from held
                    held.clear()
                continue
            self.told += 1
            if self.delays:
                held.append(message)
            for each in forged:
                yield encode_frame(each) if isinstance(each, CommitEvent) else each  # type: ignore[misc]


def firehose_lies(key_of: Callable[[str], PrivateKey]) -> list[FirehoseLie]:
    """Lies about commits.

    Args:
        key_of: gives the signing key of an account, for the lies that only its own server could tell.
    """
    stranger = PrivateKey.generate("k256")

    def of(**members: object) -> Callable[[CommitEvent], Told]:
        return lambda event: [replace(event, **members)]  # type: ignore[arg-type]

    def signed(change: Callable[[Commit], Commit], by: PrivateKey | None = None) -> Callable[[CommitEvent], Told]:
        def forge(event: CommitEvent) -> Told:
            file = read_car(event.blocks)
            altered = change(Commit.decode(file.blocks[event.commit]))
            commit = Commit.sign(by or key_of(event.did), altered.did, altered.rev, altered.data)
            others = {cid: block for cid, block in file.blocks.items() if cid != event.commit}
            blocks = write_car([commit.cid], {commit.cid: commit.encode(), **others})
            return [replace(event, commit=commit.cid, rev=commit.rev, blocks=blocks)]

        return forge

    def later(event: CommitEvent) -> Tid:
        return Tid.from_microseconds(event.rev.microseconds + _HOUR)

    def missing(event: CommitEvent) -> Told:
        file = read_car(event.blocks)
        kept = {cid: block for cid, block in file.blocks.items() if not _is_node(block)}
        return [replace(event, blocks=write_car(file.roots, kept))]

    def unnamed(event: CommitEvent) -> Told:
        return [replace(event, operations=event.operations[1:])]

    def flipped(event: CommitEvent) -> Told:
        blocks = bytearray(event.blocks)
        blocks[-1] ^= 1
        return [replace(event, blocks=bytes(blocks))]

    def many(event: CommitEvent) -> Told:
        each = event.operations[0]
        named = tuple(replace(each, key=f"{each.key}{number}") for number in range(MAX_OPERATIONS + 1))
        return [replace(event, operations=named)]

    header = cbor.encode({"op": 1, "t": "#commit"})
    return [
        FirehoseLie("an omitted prevData", "chain", of(prev_data=None)),
        FirehoseLie("another prevData", "proof", of(prev_data=Cid.of_cbor(b"\xa0"))),
        FirehoseLie("omitted records before", "chain", lambda e: [replace(e, operations=_without_prev(e))]),
        FirehoseLie("nodes missing", "proof", missing),
        FirehoseLie("an operation left out", "proof", unnamed),
        FirehoseLie("a commit left out", "chain", lambda _: []),
        FirehoseLie("a commit left out and said to be too big", "chain", of(too_big=True, operations=(), blocks=b"")),
        FirehoseLie("a commit sent twice", "none", lambda event: [event, event]),
        FirehoseLie("a commit after the next event", "chain", lambda _: [], delays=True),
        FirehoseLie("a number that goes back", "none", lambda event: [replace(event, seq=max(event.seq - 10, 0))]),
        FirehoseLie("a commit that somebody else signed", "signature", signed(lambda commit: commit, stranger)),
        FirehoseLie(
            "a commit of somebody else",
            "commit",
            signed(lambda c: structs.replace(c, did=type(c.did)("did:web:x.test"))),
        ),
        FirehoseLie("a rev in the future", "rev", lambda e: signed(lambda c: structs.replace(c, rev=later(e)))(e)),
        FirehoseLie("a rev that the commit does not have", "commit", lambda event: [replace(event, rev=later(event))]),
        FirehoseLie("a byte of a block", "car", flipped),
        FirehoseLie("blocks that are no CAR file", "car", of(blocks=b"\x81" * 1000)),
        FirehoseLie("a CAR file of empty blocks", "car", of(blocks=write_car([], {}) + b"\0" * 1000)),
        FirehoseLie("a frame that is too large", "size", lambda _: [bytes(MAX_FRAME + 1)]),
        FirehoseLie("blocks that are too large", "size", of(blocks=bytes(2_000_001))),
        FirehoseLie("too many operations", "size", many),
        FirehoseLie("lists within lists", "frame", lambda _: [header + b"\x81" * 1_000_000]),
        FirehoseLie("a list that says it is long", "frame", lambda _: [header + b"\x9b" + b"\x7f" * 8]),
        FirehoseLie("a million values", "frame", lambda _: [header + b"\x9a\x00\x0f\x42\x40" + b"\xf6" * 1_000_000]),
        FirehoseLie("no frame at all", "frame", lambda _: [b"\xff"]),
        FirehoseLie("byte by byte", "none", lambda event: [Drip(encode_frame(event), 0.05)]),
    ]


def _is_node(block: bytes) -> bool:
    value = cbor.decode(block)
    return isinstance(value, dict) and value.keys() == {"l", "e"}


def _without_prev(event: CommitEvent) -> tuple[StatedOperation, ...]:
    return tuple(replace(each, prev=None) for each in event.operations)
