"""Accounts whose repositories are made here, for tests of what follows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Tid
from atdata.replica import Replica

KEY = PrivateKey.generate("k256")
DIDS = (Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Did("did:plc:z72i7hdynmk6r22z27h6tvur"))
ENTRY, SCHEMA, LABEL, LENS = (f"science.alt.dataset.{name}" for name in ("entry", "schema", "label", "lens"))


@dataclass
class RepositoryAccount:
    """An account, with the records it has now, by `collection/rkey`."""

    did: Did = DIDS[0]
    records: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Its address."""
        return f"at://{self.did}"

    def put(self, replica: Replica, records: dict[str, Any], now: int = 0) -> None:
        """Write records, delete those given as `None`, and move a replica to the commit."""
        self.records = {key: value for key, value in {**self.records, **records}.items() if value is not None}
        blocks = {key: cbor.encode(value) for key, value in self.records.items()}
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in blocks.items()})
        commit = Commit.sign(KEY, self.did, Tid.now(), root)
        brought = {**nodes, **{Cid.of_cbor(block): block for block in blocks.values()}}
        moved = replica.write(lambda writing: writing.move(ProvenCommit(commit.cid, commit, {}), brought, now))
        assert not moved.missing
