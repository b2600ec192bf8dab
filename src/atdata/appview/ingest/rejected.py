"""The list of what could not be taken: the newest of it, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from atdata.errors import AtdataError, DataModelError, IdentifierError, LimitError, VerificationError
from atdata.replica import Statements

KEPT = 10_000
"""The number of those that are kept."""
HEAD = 256
"""Bytes of a frame that are kept."""

REFUSED = (DataModelError, IdentifierError, LimitError, VerificationError)
"""The errors that say that strangers' data are at fault. Any other is ours, or the database's, and stops ingest."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that could not be taken.

    Attributes:
        what: it was: `frame`, `#commit`, ..., `repository`.
        reason: why not.
        upstream: the number of the upstream that sent it, if one did.
        seq: its number there, if it could be read.
        did: whose it was, if that could be read.
        head: the beginning of the frame.
    """

    what: str
    reason: str
    upstream: int | None = None
    seq: int | None = None
    did: str | None = None
    head: bytes = b""

    @classmethod
    def of(cls, what: str, error: AtdataError, did: str | None = None) -> Rejected:
        """The form of an error that is of no frame."""
        return cls(what, str(error), did=did)

    def write(self, sql: Statements, moment: int) -> None:
        """Add it to the list, and let the oldest go."""
        insert = """INSERT INTO ingest_rejected (moment, upstream, seq, did, what, reason, head)
            VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number"""
        did = None if self.did is None else self.did.encode("utf-8", "replace")[:HEAD]
        reason, head = self.reason.encode("utf-8", "replace")[:1000], self.head[:HEAD]
        (number,) = sql.first(insert, moment, self.upstream, self.seq, did, self.what[:100], reason, head)
        sql.run("DELETE FROM ingest_rejected WHERE number <= ?", number - KEPT)
