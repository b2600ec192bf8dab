"""A repository: records and blobs of one account, and a signed commit for each change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import is_blob
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
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
        records: block by `collection/rkey`.
        blobs: by CID.
        head: the newest commit.
        blocks: of the newest commit and its tree.
        since: the revision in which each block, those of records too, came into the repository.
    """

    did: Did
    key: PrivateKey
    records: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[Cid, StoredBlob] = field(default_factory=dict)
    head: Commit = field(init=False)
    blocks: dict[Cid, bytes] = field(init=False)
    since: dict[Cid, Tid] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit()

    def commit(self) -> None:
        """Sign the present records."""
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in self.records.items()})
        self.head = Commit.sign(self.key, self.did, Tid.now(), root)
        self.blocks = {**nodes, self.head.cid: self.head.encode()}
        self.since = {cid: self.since.get(cid, self.head.rev) for cid in self.all_blocks()}

    def write(self, changes: dict[str, Any | None]) -> None:
        """Put records, or delete those that are `None`; all or none, in one commit.

        Raises:
            Refusal: a record names a blob that was not uploaded.
        """
        encoded = {key: None if value is None else cbor.encode(value) for key, value in changes.items()}
        for value in changes.values():
            self._check_blobs(value)
        for value in changes.values():
            self._name_blobs(value)
        for key, block in encoded.items():
            if block is None:
                self.records.pop(key, None)
            else:
                self.records[key] = block
        self._drop_blobs()
        self.commit()

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

    def _name_blobs(self, value: Any) -> None:
        for blob in _blobs(value):
            self.blobs[blob["ref"]].named = True

    def _drop_blobs(self) -> None:
        """A blob that a record named and none names any more is gone at once."""
        named = {blob["ref"] for block in self.records.values() for blob in _blobs(cbor.decode(block))}
        self.blobs = {cid: blob for cid, blob in self.blobs.items() if cid in named or not blob.named}

    def proof(self, key: str) -> bytes:
        """The CAR that proves what is at a key, or that nothing is."""
        path = mst.proof_path(self.head.data, key, self.blocks)
        blocks = {cid: self.blocks[cid] for cid in (self.head.cid, *path)}
        if key in self.records:
            blocks[Cid.of_cbor(self.records[key])] = self.records[key]
        return write_car([self.head.cid], blocks)

    def changed(self, since: str) -> dict[Cid, bytes]:
        """The blocks that came after a revision."""
        return {cid: block for cid, block in self.all_blocks().items() if self.since[cid] > since}

    def all_blocks(self) -> dict[Cid, bytes]:
        """Every block: commit, tree, records."""
        return {**self.blocks, **{Cid.of_cbor(block): block for block in self.records.values()}}


def _blobs(value: Any) -> list[dict[str, Any]]:
    if is_blob(value):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [blob for item in inner for blob in _blobs(item)]
