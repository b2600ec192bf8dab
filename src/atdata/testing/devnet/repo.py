"""A repository: records and blobs of one account, and a signed commit for each change."""

from __future__ import annotations

from collections import Counter, UserDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import is_blob
from atdata.atproto.events import CommitEvent, StatedOperation, SyncEvent
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.diff import Operation, apply, covering_proof
from atdata.atproto.syntax import Did, Tid
from atdata.testing.http import Refusal


@dataclass
class StoredBlob:
    """A blob, and whether anything names it yet."""

    data: bytes
    mime_type: str
    named: bool = False


@dataclass
class Repo:
    """One account's repository.

    Attributes:
        did: whose.
        key: signs the commits.
        records: block by `collection/rkey`; call `commit` after altering them other than by `write`.
        blobs: by CID.
        head: the newest commit.
        blocks: of the newest commit and its tree.
        since: the revision in which each block, those of records too, came into the repository; in their order.
    """

    did: Did
    key: PrivateKey
    records: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[Cid, StoredBlob] = field(default_factory=dict)
    head: Commit = field(init=False)
    blocks: dict[Cid, bytes] = field(init=False)
    since: dict[Cid, Tid] = field(default_factory=dict)
    _contents: dict[Cid, bytes] = field(init=False, repr=False)
    _holders: Counter[Cid] = field(init=False, repr=False)
    _namers: Counter[Cid] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.commit()

    def commit(self) -> None:
        """Sign the present records, whatever they were before."""
        cids = {key: Cid.of_cbor(block) for key, block in self.records.items()}
        root, nodes = mst.build(cids)
        self.head = Commit.sign(self.key, self.did, Tid.now(), root)
        self.blocks = {**nodes, self.head.cid: self.head.encode()}
        self._contents = {cids[key]: block for key, block in self.records.items()}
        self._holders = Counter(cids.values())
        self._namers = Counter(cid for block in self.records.values() for cid in _named(block))
        since = {cid: self.since.get(cid, self.head.rev) for cid in self.all_blocks()}
        self.since = dict(sorted(since.items(), key=lambda item: item[1]))

    def first_event(self) -> CommitEvent:
        """The event of a repository that begins."""
        head = self.head
        return CommitEvent(0, self.did, head.rev, None, head.cid, None, (), write_car([head.cid], self.blocks))

    def state(self) -> SyncEvent:
        """The event that says how things stand."""
        block = {self.head.cid: self.blocks[self.head.cid]}
        return SyncEvent(0, self.did, self.head.rev, write_car([self.head.cid], block))

    def write(self, changes: dict[str, Any | None]) -> CommitEvent:
        """Put records, or delete those that are `None`; all or none, in one commit. Gives its event.

        Raises:
            Refusal: a record names a blob that was not uploaded.
        """
        encoded = {key: None if value is None else cbor.encode(value) for key, value in changes.items()}
        for value in changes.values():
            self._check_blobs(value)
        operations = []
        for key, block in encoded.items():
            cid, prev = self._replace(key, block)
            if cid or prev:
                operations.append(Operation(key, cid, prev))
        before, covering = self._move(operations)
        written = {each.cid: self._contents[each.cid] for each in operations if each.cid is not None}
        blocks = {cid: self.blocks[cid] for cid in (self.head.cid, *covering)} | written
        return CommitEvent(
            seq=0,
            did=self.did,
            rev=self.head.rev,
            since=before.rev,
            commit=self.head.cid,
            prev_data=before.data,
            operations=tuple(map(StatedOperation.of, operations)),
            blocks=write_car([self.head.cid], blocks),
        )

    def _replace(self, key: str, block: bytes | None) -> tuple[Cid | None, Cid | None]:
        """Put one record in the place of another: the CIDs of both."""
        old, cid, prev = self.records.pop(key, None), None, None
        if block is not None:
            cid = Cid.of_cbor(block)
            self.records[key] = self._contents[cid] = block
            self._holders[cid] += 1
            for blob in _named(block):
                self._namers[blob] += 1
                self.blobs[blob].named = True
        if old is not None:
            prev = Cid.of_cbor(old)
            self._holders[prev] -= 1
            if not self._holders[prev]:
                del self._holders[prev], self._contents[prev]
            for blob in _named(old):
                self._namers[blob] -= 1
                if not self._namers[blob]:  # what nothing names any more is gone at once
                    self.blobs.pop(blob, None)
        return cid, prev

    def _move(self, operations: list[Operation]) -> tuple[Commit, list[Cid]]:
        """Change the tree where the operations are, and sign it: the commit before, and the nodes that prove the change."""
        before, keys = self.head, [each.key for each in operations]
        blocks = _Noting(self.blocks)
        change = apply(before.data, operations, blocks)
        self.head = Commit.sign(self.key, self.did, Tid.now(), change.root)
        self.blocks.update({**change.blocks, self.head.cid: self.head.encode()})
        covering = covering_proof(change.root, keys, self.blocks)
        # A node that was read holds a neighbour of a key that changed; if it still stands, it is on the way to it.
        for cid in (*(blocks.read.keys() - set(covering)), before.cid):
            self.blocks.pop(cid, None)
            self.since.pop(cid, None)
        for operation in operations:
            if operation.prev and operation.prev not in self._holders:
                self.since.pop(operation.prev, None)
        records = [each.cid for each in operations if each.cid is not None]
        for cid in (self.head.cid, *change.blocks, *records):
            self.since.setdefault(cid, self.head.rev)
        return before, list(dict.fromkeys([*change.blocks, *covering]))

    def _check_blobs(self, value: Any) -> None:
        for blob in _blobs(value):
            stored = self.blobs.get(blob["ref"])
            if stored is None:
                raise Refusal(400, "BlobNotFound", f"Could not find blob: {blob['ref']}")
            if not stored.named and blob["mimeType"] != stored.mime_type:
                raise Refusal(
                    400, "InvalidMimeType", f"Referenced MimeType does not match stored blob: {stored.mime_type}"
                )
            if not stored.named and blob["size"] != len(stored.data):
                raise Refusal(400, "InvalidSize", f"Referenced size does not match stored blob: {len(stored.data)}")

    def proof(self, key: str) -> bytes:
        """The CAR that proves what is at a key, or that nothing is."""
        path = mst.proof_path(self.head.data, key, self.blocks)
        blocks = {cid: self.blocks[cid] for cid in (self.head.cid, *path)}
        if key in self.records:
            blocks[Cid.of_cbor(self.records[key])] = self.records[key]
        return write_car([self.head.cid], blocks)

    def some_blocks(self, cids: Iterable[Cid]) -> dict[Cid, bytes]:
        """Some blocks, those that are there."""
        found = {cid: self.blocks.get(cid) or self._contents.get(cid) for cid in cids}
        return {cid: block for cid, block in found.items() if block is not None}

    def changed(self, since: str) -> dict[Cid, bytes]:
        """The blocks that came after a revision."""
        newer = takewhile(lambda cid: self.since[cid] > since, reversed(self.since))
        return self.some_blocks(reversed(list(newer)))

    def all_blocks(self) -> dict[Cid, bytes]:
        """Every block: commit, tree, records."""
        return {**self.blocks, **self._contents}


class _Noting(UserDict[Cid, bytes]):
    """Blocks, and which of them were read."""

    def __init__(self, blocks: dict[Cid, bytes]) -> None:
        super().__init__()
        self.data, self.read = blocks, dict[Cid, None]()

    def __getitem__(self, cid: Cid) -> bytes:
        block = self.data[cid]
        self.read[cid] = None
        return block


def _named(block: bytes) -> list[Cid]:
    return [blob["ref"] for blob in _blobs(cbor.decode(block))]


def _blobs(value: Any) -> list[dict[str, Any]]:
    if is_blob(value):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [blob for item in inner for blob in _blobs(item)]
