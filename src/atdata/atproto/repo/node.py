"""One node of a Merkle search tree: its block, read and written in the one canonical form.

https://atproto.com/specs/repository#mst-structure. Keys are `collection/rkey`, held as text; their bytes are UTF-8, in
which text sorts as its bytes do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec import Struct

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import DataModelError, ProofError
from atdata.native import native

MAX_KEY_LENGTH = 1024
"""Bytes of the longest key read; a collection and a record key have 830 at most."""

MAX_KEYS_LENGTH = 1 << 18
"""Bytes of all keys read from one node. They share prefixes, so that without a limit a small block could unfold into a
very large one; of a million million keys no node is expected to hold a hundred."""


class MissingBlockError(ProofError):
    """A block that is needed is not among those given; `cid` names it."""

    cid: Cid

    @classmethod
    def of(cls, cid: Cid) -> MissingBlockError:
        """The error for the absence of one block."""
        error = cls("a block is missing", step="proof", expected=cid, hint="Fetch it, or a proof that holds it.")
        error.cid = cid
        return error


@dataclass(frozen=True, slots=True)  # whose slots _native_cbor.c fills
class TreeEntry:
    """A record's key and CID, and the subtree of the keys between this one and the next."""

    key: str
    value: Cid
    right: Cid | None = None


_Parts: TypeAlias = tuple[Cid | None, tuple[TreeEntry, ...]]


class Node(Struct, frozen=True):
    """A node: the subtree before its first key, and its entries in order."""

    left: Cid | None = None
    entries: tuple[TreeEntry, ...] = ()

    @classmethod
    def decode(cls, block: bytes) -> Node:
        """Read a node's block.

        Raises:
            ProofError: not the one encoding of a node: other fields, keys out of order or of different depths, a
                prefix not as long as it could be, links that are no links; or keys longer together than is read.
        """
        node = cls(*(_natively(block) or _read(block)))
        if len({key_depth(entry.key) for entry in node.entries}) > 1:
            raise malformed("keys of different depths")
        return node

    def encode(self) -> bytes:
        """The node's block."""
        items: list[dict[str, Any]] = []
        previous = b""
        for entry in self.entries:
            key = entry.key.encode("utf-8")
            shared = common_prefix_length(previous, key)
            items.append({"p": shared, "k": key[shared:], "v": entry.value, "t": entry.right})
            previous = key
        return cbor.encode({"l": self.left, "e": items})

    @property
    def links(self) -> tuple[Cid | None, ...]:
        """The subtrees before, between and after its keys."""
        return (self.left, *(entry.right for entry in self.entries))

    @property
    def layer(self) -> int | None:
        """The depth of its keys; none where it has no keys."""
        return key_depth(self.entries[0].key) if self.entries else None


def load_node(cid: Cid, blocks: Mapping[Cid, bytes]) -> Node:
    """The node that a CID names, its block hashed here once more, whoever filled `blocks`.

    Raises:
        MissingBlockError: the block is not there.
        ProofError: it is not what the CID names, or not a node.
    """
    block = blocks.get(cid)
    if block is None:
        raise MissingBlockError.of(cid)
    if not cid.matches(block):
        raise ProofError("a block is not what its CID names", step="proof", expected=cid)
    try:
        return Node.decode(block)
    except ProofError as error:
        error.path = f"node {cid} {error.path or ''}".strip()
        raise


def key_depth(key: str) -> int:
    """The layer a key lives in: the leading zero bits of its sha-256, in pairs (spec: MST Structure)."""
    digest = hashlib.sha256(key.encode("utf-8")).digest()
    return (256 - int.from_bytes(digest).bit_length()) // 2


def common_prefix_length(left: bytes, right: bytes) -> int:
    """The number of bytes that two keys begin with in common."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def malformed(what: str, **facts: Any) -> ProofError:
    """The error for a tree that is not in its one canonical form."""
    return ProofError(f"a malformed search tree: {what}", step="proof", **facts)


def _natively(block: bytes) -> _Parts | None:
    """The same as `_read`, by the loop in C; it refuses whatever that has an error for."""
    if native is None:
        return None
    limits = (cbor.MAX_ITEMS, MAX_KEY_LENGTH, MAX_KEYS_LENGTH)
    parts: _Parts | None = native.decode_node(block, *limits, Cid, TreeEntry)
    return parts


def _read(block: bytes) -> _Parts:
    """The first subtree of a node and its entries."""
    try:
        value = cbor.decode(block)
    except DataModelError as error:
        raise malformed(error.what, path=error.path) from error
    if not isinstance(value, dict) or set(value) != {"l", "e"} or not isinstance(value["e"], list):
        raise malformed("other fields than l and e")
    entries: list[TreeEntry] = []
    previous, unfolded = b"", 0
    for index, item in enumerate(value["e"]):
        previous, entry = _read_entry(item, previous, index)
        entries.append(entry)
        unfolded += len(previous)
        if unfolded > MAX_KEYS_LENGTH:
            raise malformed("its keys are too long together", expected=f"at most {MAX_KEYS_LENGTH} bytes")
    return _read_tree(value["l"], "l"), tuple(entries)


def _read_entry(item: cbor.Value, previous: bytes, index: int) -> tuple[bytes, TreeEntry]:
    place = f"e[{index}]"
    match item:
        # To Python True is 1; to a node it would be a second form of the same prefix.
        case {"p": int(shared), "k": bytes(suffix), "v": Cid() as value, "t": None | Cid() as right, **rest} if (
            not rest and not isinstance(shared, bool)
        ):
            pass
        case _:
            raise malformed("an entry with other fields than p, k, v and t", path=place)
    if not 0 <= shared <= len(previous) or shared + len(suffix) > MAX_KEY_LENGTH:
        raise malformed("a prefix or a key of an impossible length", path=place)
    if suffix[:1] == previous[shared : shared + 1]:
        raise malformed("a prefix shorter than it could be", path=place)
    raw = previous[:shared] + suffix
    if raw <= previous:
        raise malformed("keys out of order, or an empty key", path=place)
    try:
        key = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("a key that is not UTF-8", path=place) from None
    return raw, TreeEntry(key, value, _read_tree(right, place))


def _read_tree(link: cbor.Value, place: str) -> Cid | None:
    if link is None or (isinstance(link, Cid) and link.codec == "dag-cbor"):
        return link
    raise malformed("a link that is not to a node", path=place)
