"""A record as a replica holds it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Did, Tid
from atdata.errors import DataModelError, ProofError
from atdata.records import Malformed, Record, parse_record
from atdata.replica.columns import KINDS, Validity


class StoredRecord(Struct, frozen=True):
    """A record of a replica, at the head of its repository.

    Attributes:
        number: its row; a later version of the record keeps it, a record of the same key after a deletion does not.
        did: the account.
        key: `collection/rkey`.
        kind: the collection in which such records are written today.
        cid: its CID, held against `block` when it was read.
        block: its bytes; `None` where the tree has a CID that cannot be that of a record.
        rev: of the commit that brought this version of it.
        first_seen: when any version of it was first verified here, in microseconds since 1970.
        verified_at: when this one was.
        sorted_at: when it was made, as far as that can be believed: never after `first_seen`.
        validity: of what it says.
        reason: what is wrong with an invalid one.
    """

    number: int
    did: Did
    key: str
    kind: str
    cid: Cid
    block: bytes | None
    rev: Tid
    first_seen: int
    verified_at: int
    sorted_at: int
    validity: Validity
    reason: str | None

    COLUMNS = "r.id, a.did, r.key, r.kind, r.cid, r.block, r.rev, r.first_seen, r.verified_at, r.sorted_at, r.validity, r.reason"

    @classmethod
    def of_row(cls, row: Any) -> StoredRecord:
        """The record of a row of `COLUMNS`.

        Raises:
            ProofError: its bytes are not those that its CID names.
        """
        number, did, key, kind, cid, block, *rest = row
        found, block = Cid.from_bytes(cid), None if block is None else bytes(block)
        if found.codec == "dag-cbor" if block is None else not found.matches(block):
            raise ProofError(
                "a stored record is not what its CID names",
                step="record",
                uri=f"at://{did}/{bytes(key).decode()}",
                expected=found,
                actual=Cid.of_cbor(block or b""),
                hint="The database was changed by something else: let the repository be compared with its server.",
            )
        rev, first_seen, verified_at, sorted_at, validity, reason = rest
        place = (Did(did), bytes(key).decode(), kind, found, block, Tid(rev))
        return cls(number, *place, first_seen, verified_at, sorted_at, validity, reason)

    @property
    def uri(self) -> AtUri:
        """Its address, as text: a malformed key makes it one that no record can have."""
        return AtUri(f"at://{self.did}/{self.key}")

    @property
    def value(self) -> Any:
        """The value of the data model that it is, or `None` where that cannot be read."""
        try:
            return None if self.block is None else cbor.decode(self.block)
        except DataModelError:
            return None

    def parse(self) -> Record | Malformed:
        """The record as one of its kind."""
        return parse_record(KINDS[self.kind], self.did, self.key, self.cid, self.block)
