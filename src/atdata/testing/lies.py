"""Lies that a server could tell: one altered byte in any link of the chain, and cleverer ones.

A lie looks at an honest answer and gives another. Set it as a server's `tamper` (`Devnet.tell`), or tell it with a
`Proxy` in front of a real server. Each names the link that must be found broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json, to_json
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import Car, read_car, write_car
from atdata.errors import DataModelError
from atdata.shards.tar import BLOCK
from atdata.testing.http import Answer, Request

Tamper: TypeAlias = Callable[[Request, Answer], Answer]
Change: TypeAlias = Callable[[Car], tuple[list[Cid], Mapping[Cid, bytes]]]

_LABELS = "/xrpc/com.atproto.label.queryLabels"
_K256_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True)
class Lie:
    """A lie.

    Attributes:
        name: what it alters.
        steps: the links of which one must be named by the error.
        tell: gives the altered answer.
    """

    name: str
    steps: tuple[str, ...]
    tell: Tamper = field(repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass
class Teller:
    """Tells a lie and counts how often it found something to alter: a lie that was never told proves nothing."""

    lie: Lie
    told: int = 0

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Tell it."""
        altered = self.lie.tell(request, answer)
        self.told += altered is not answer
        return altered


def blob_lies(other: bytes) -> list[Lie]:
    """Lies about a shard.

    Args:
        other: another blob of the same account, valid in itself.
    """

    def about(name: str, change: Callable[[bytes], bytes]) -> Lie:
        return Lie(name, ("shard digest",), _on("com.atproto.sync.getBlob", lambda _request, body: change(body)))

    return [
        about("a byte of a sample", lambda body: _flip(body, 2 * BLOCK - 100)),
        about("a byte of a tar header", lambda body: _flip(body, 124 + 8)),
        about("the tail of a shard cut off", lambda body: body[:-700]),
        about("whole members missing", _without_last_member),
        about("another, valid blob", lambda _: other),
        about("an empty blob", lambda _: b""),
        about("a byte more at the end", lambda body: body + b"\0"),
    ]


def proof_lies(other_car: Callable[[str], bytes]) -> list[Lie]:
    """Lies about a record, its Merkle path and its commit.

    Args:
        other_car: gives, for a request's target, the answer that another account's server would give.
    """
    return [
        Lie("a byte of a record", ("car",), _on_car(_flip_nth("record", 0))),
        Lie(
            "a record, with its CID made to fit",
            ("record", "proof", "car"),
            _on_car(_replacing("record", description=lambda _: "not what was signed")),
        ),
        *(Lie(f"a byte of tree node {number}", ("car",), _on_car(_flip_nth("node", number))) for number in range(3)),
        Lie("a tree node, with its CID made to fit", ("proof", "car"), _on_car(_replacing("node", e=_other_node))),
        Lie("a byte of the commit", ("car",), _on_car(_flip_nth("commit", 0))),
        Lie("the commit's signature", ("signature",), _on_car(_replacing("commit", sig=lambda sig: _flip(sig, 40)))),
        Lie("the commit's signature with a high S", ("signature",), _on_car(_replacing("commit", sig=_high_s))),
        Lie("the commit's tree", ("signature",), _on_car(_other_tree)),
        Lie(
            "another account's commit",
            ("commit",),
            _on("com.atproto.sync.getRecord", lambda request, _: other_car(request.target)),
        ),
    ]


def identity_lies(did: str, other_did: str) -> list[Lie]:
    """Lies about an identity.

    Args:
        did: the account that is asked for.
        other_did: an account that is not meant.
    """
    stranger = PrivateKey.generate("k256").public

    def document(change: Callable[[Any], Any]) -> Tamper:
        return _on_path(f"/{did}", change)

    def key(served: Any) -> Any:
        served["verificationMethod"][0]["publicKeyMultibase"] = stranger.multibase
        return served

    def server(served: Any) -> Any:
        served["service"][0]["serviceEndpoint"] += "0"
        return served

    def named(served: Any) -> Any:
        return {**served, "alsoKnownAs": ["at://somebody.else.test"]}

    def logged_key(log: Any) -> Any:
        log[-1]["operation"]["verificationMethods"]["atproto"] = stranger.did_key
        return log

    def resolved(_served: Any) -> Any:
        return {"did": other_did}

    return [
        Lie("another key in the DID document", ("key",), document(key)),
        Lie("another server in the DID document", ("did",), document(server)),
        Lie("other names in the DID document", ("did", "handle"), document(named)),
        Lie("another account's DID document", ("did",), document(lambda served: {**served, "id": other_did})),
        Lie("another key in the directory's log", ("did",), _on_path(f"/{did}/log/audit", logged_key)),
        Lie(
            "a handle that its DID document does not name",
            ("handle",),
            _on_path("/xrpc/com.atproto.identity.resolveHandle", resolved),
        ),
    ]


def label_lies(did: str) -> list[Lie]:
    """Lies of a labeler's server, or of whoever stands before it, about labels that it has.

    Each is found out by whoever asks: the labels then cannot be had. What was left out whole is found out only by who
    has seen it before.

    Args:
        did: the labeler.
    """
    stranger = PrivateKey.generate("k256")

    def forged(label: Any) -> Any:
        members = cbor.encode(from_json({name: value for name, value in label.items() if name != "sig"}))
        return {**label, "sig": to_json(stranger.sign(members))}

    def flipped(label: Any) -> Any:
        signature: Any = from_json(label["sig"])
        return {**label, "sig": to_json(_flip(signature, 40))}

    def without(*names: str) -> Callable[[Any], Any]:
        return lambda label: {name: value for name, value in label.items() if name not in names}

    def key(served: Any) -> Any:
        served["verificationMethod"][0]["publicKeyMultibase"] = stranger.public.multibase
        return served

    def server(served: Any) -> Any:
        served["service"][0]["serviceEndpoint"] += "0"
        return served

    def page(name: str, change: Callable[[list[Any]], Any]) -> Lie:
        def altered(body: Any) -> Any:
            return {**body, "labels": change(body["labels"])} if body["labels"] else body

        return Lie(name, ("label",), _on_path(_LABELS, altered))

    def each(name: str, change: Callable[[Any], Any]) -> Lie:
        return page(name, lambda labels: list(map(change, labels)))

    elsewhere = "at://did:web:elsewhere.test/x.y.z/1"
    return [
        each("a bit of a label's signature", flipped),
        each("a label that somebody else signed", forged),
        each("a label of another labeler", lambda label: forged({**label, "src": "did:web:elsewhere.test"})),
        each("a label without a signature", without("sig")),
        each("a label of another version of the format", lambda label: forged({**label, "ver": 2})),
        each("another value under a label's signature", lambda label: {**label, "val": "reviewed"}),
        each("another address under a label's signature", lambda label: {**label, "uri": elsewhere}),
        each("a label's version left out", without("cid")),
        each("a label made a negation", lambda label: {**label, "neg": True}),
        each("a label made to expire", lambda label: {**label, "exp": "2020-01-01T00:00:00Z"}),
        each("a label dated back", lambda label: {**label, "cts": "2020-01-01T00:00:00Z"}),
        each("a label that is none", lambda _: "retracted"),
        page("no list of labels", lambda _: {}),
        page("more labels than anybody reads", lambda labels: labels * 20_000),
        Lie("pages without end", ("label",), _on_path(_LABELS, lambda body: {**body, "cursor": "0"})),
        Lie("another key in the labeler's document", ("key",), _on_path(f"/{did}", key)),
        Lie("another server in the labeler's document", ("did",), _on_path(f"/{did}", server)),
    ]


class OldState:
    """Remembers the proofs of a server as they are now, and later serves them again: a rollback.

    Use it as a `tamper` first with `recording`, then without.
    """

    def __init__(self) -> None:
        self.recording = True
        self._kept: dict[str, Answer] = {}
        self._proofs: dict[str, Answer] = {}  # by account, each with the commit of that time

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Record, or replay. Who asks for what is new since a commit gets an old commit too."""
        if "com.atproto.sync.get" not in request.path or request.path.endswith("getBlob"):
            return answer
        if self.recording:
            self._kept.setdefault(request.target, answer)
            if request.path.endswith("getRecord"):
                self._proofs.setdefault(request.param("did"), answer)
            return answer
        if request.path.endswith("getRepo"):
            return self._proofs.get(request.param("did"), answer)
        return self._kept.get(request.target, answer)


def _on(method: str, change: Callable[[Request, bytes], bytes]) -> Tamper:
    def tell(request: Request, answer: Answer) -> Answer:
        if request.path != f"/xrpc/{method}" or answer.status != 200:
            return answer
        return Answer(200, change(request, answer.body), _plain(answer.headers))

    return tell


def _on_path(path: str, change: Callable[[Any], Any]) -> Tamper:
    def tell(request: Request, answer: Answer) -> Answer:
        if request.path != path or answer.status != 200:
            return answer
        return Answer(200, json.dumps(change(json.loads(answer.body))).encode(), _plain(answer.headers))

    return tell


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that say nothing about the bytes that were altered."""
    return {"content-type": headers.get("content-type", "application/octet-stream")}


def _on_car(change: Change) -> Tamper:
    def tell(request: Request, answer: Answer) -> Answer:
        if (
            request.path not in ("/xrpc/com.atproto.sync.getRecord", "/xrpc/com.atproto.sync.getBlocks")
            or answer.status != 200
        ):
            return answer
        car = read_car(answer.body)
        roots, blocks = change(car)
        if blocks is car.blocks:
            return answer
        return Answer(200, write_car(roots, blocks), _plain(answer.headers))

    return tell


def _kinds(car: Car) -> Iterator[tuple[str, Cid, dict[str, Any]]]:
    for cid, block in car.blocks.items():
        try:
            value = cbor.decode(block)
        except DataModelError:
            continue
        if isinstance(value, dict):
            kind = "commit" if {"sig", "data"} <= value.keys() else "node" if value.keys() == {"l", "e"} else "record"
            yield kind, cid, value


def _flip(data: bytes, position: int) -> bytes:
    position = min(position, len(data) - 1)
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _flip_nth(kind: str, number: int) -> Change:
    """Alter one byte in the middle of the nth block of a kind, and leave its CID as it is."""

    def change(car: Car) -> tuple[list[Cid], Mapping[Cid, bytes]]:
        cids = [cid for found, cid, _ in _kinds(car) if found == kind]
        if number >= len(cids):
            return list(car.roots), car.blocks
        block = car.blocks[cids[number]]
        return list(car.roots), {**car.blocks, cids[number]: _flip(block, len(block) // 2)}

    return change


def _replacing(kind: str, **members: Callable[[Any], Any]) -> Change:
    """Replace the first block of a kind by one with other members, under the CID that it then has.

    Each of `members` gives the new value for the old one. A node without entries has nothing to alter.
    """

    def change(car: Car) -> tuple[list[Cid], Mapping[Cid, bytes]]:
        for found, old, value in _kinds(car):
            if found == kind and value.get("e") != []:
                block = cbor.encode({**value, **{name: member(value.get(name)) for name, member in members.items()}})
                new = Cid.of_cbor(block)
                blocks = {(new if cid == old else cid): (block if cid == old else b) for cid, b in car.blocks.items()}
                return [new if root == old else root for root in car.roots], blocks
        return list(car.roots), car.blocks

    return change


def _other_node(entries: list[Any]) -> list[Any]:
    return [*entries[:-1], {**entries[-1], "v": Cid.of_cbor(b"\xa0")}]


def _high_s(signature: bytes) -> bytes:
    """The other signature that the same key and message have: valid mathematics, refused by the protocol."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + (_K256_ORDER - s).to_bytes(32, "big")


def _other_tree(car: Car) -> tuple[list[Cid], Mapping[Cid, bytes]]:
    """An empty tree under the old signature: every record would seem to be absent."""
    empty = cbor.encode({"l": None, "e": []})
    roots, blocks = _replacing("commit", data=lambda _: Cid.of_cbor(empty))(car)
    return roots, blocks if blocks is car.blocks else {**blocks, Cid.of_cbor(empty): empty}


def _without_last_member(body: bytes) -> bytes:
    """A valid tar with one member fewer."""
    position, starts = 0, []
    while body[position : position + BLOCK].strip(b"\0"):
        starts.append(position)
        size = int(body[position + 124 : position + 135], 8)
        position += BLOCK + size + -size % BLOCK
    return body[: starts[-1]] + bytes(2 * BLOCK)
