"""The port behind a local index: rows of a database, found by what an index files records under.

A row is written once; what it is found by never changes, but for its CID. What is written together is there together or not at all, and every lookup is
one in an index of the database, so it costs the same however many rows there are. Names are data: no query, key or
pattern is ever made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from atdata.errors import ConflictError, NotFoundError

FORMAT = 1
"""The version of the rows' format. A database that a later one has written is left alone."""


class RecordRow(NamedTuple):
    """A record, and what it is found by.

    Attributes:
        collection: the kind of the record, an NSID.
        rkey: its record key.
        name: what people call it; a thousand bytes are not too many.
        unique_key: what there is only once under a name of a kind.
        sort_key: sorts the records of a name, and has no byte 255; of equals the later one is newer.
        content: what it says.
        cid: of the record.
        target: the key of the record it refers to, which must be there.
        value: the record, as DAG-CBOR.
    """

    collection: str
    rkey: str
    name: str
    unique_key: str
    sort_key: bytes
    content: str
    cid: str
    target: str | None
    value: bytes

    @property
    def key(self) -> str:
        """Its key in the database: neither part can hold a slash."""
        return f"{self.collection}/{self.rkey}"


class FoundRow(NamedTuple):
    """A row as it is found; later ones have greater numbers."""

    number: int
    rkey: str
    cid: str
    value: bytes


class TakenError(ConflictError):
    """A key, or a unique key under a name, is taken."""


class Database(Protocol):
    """Rows. It may be used from several threads and processes, and pickles as its address."""

    def insert(self, rows: Sequence[RecordRow], after: RecordRow | None = None) -> None:
        """Write all of some rows, or none; those they refer to come first. The same call again changes nothing.

        Args:
            rows: what to write.
            after: a row that must be the newest of its name when they are written. Then the same call again is refused.

        Raises:
            TakenError: a key or unique key is taken by another row, or another row is the newest by now.
            NotFoundError: a row refers to one that is not there.
        """

    def swap(self, row: RecordRow, cid: str) -> None:
        """Put a row in the place of the one with its key, if that is still the record with a CID.

        Its name, keys and content are those it has. The same call again changes nothing.

        Raises:
            TakenError: another is there by now, or none.
        """

    def replace(self, swaps: Sequence[tuple[RecordRow, str]], gone: Sequence[RecordRow]) -> None:
        """Swap rows, each as `swap` does, and delete others: all of it, or nothing. The same call again changes nothing.

        A row that is swapped may refer to nothing any more; then what it referred to may go.

        Raises:
            TakenError: another row is in the place of one, or, where it is to be swapped, none.
            ConflictError: another row refers to one that is to go.
        """

    def delete(self, rows: Sequence[RecordRow]) -> None:
        """Delete all of some rows, or none, in whatever order; those that are not there are gone already.

        Raises:
            ConflictError: another row refers to one of them.
        """

    def get(self, key: str) -> FoundRow | None:
        """The row with a key."""

    def of_cid(self, collection: str, cid: str) -> FoundRow | None:
        """The newest row of a record with a CID."""

    def newest(self, collection: str, name: str) -> FoundRow | None:
        """The row of a name with the highest sort key; of those the latest."""

    def of_name(self, collection: str, name: str) -> list[FoundRow]:
        """The rows of a name: the highest sort key first, of equals the latest."""

    def of_unique_key(self, collection: str, name: str, unique_key: str) -> FoundRow | None:
        """The row that has a unique key under a name."""

    def of_content(self, collection: str, name: str, content: str) -> FoundRow | None:
        """The row with the highest sort key, of those of a name that say the same; of several the latest."""

    def recent(self, collection: str, limit: int, before: int | None = None) -> list[FoundRow]:
        """The latest rows of a kind, the latest first; with `before`, of those with lesser numbers."""

    def under(self, collection: str, prefix: str, limit: int | None = None) -> list[FoundRow]:
        """The rows of a kind whose names begin with some text: by name, in a name the newest first."""

    def referring(self, key: str, collection: str) -> list[FoundRow]:
        """The rows of a kind that refer to a row, the latest first."""

    def __len__(self) -> int:
        """The number of rows; a database may estimate."""

    def faults(self) -> list[str]:
        """The faults of the database itself, a line each: rows that no index leads to, or indexes to no rows."""

    def risks(self) -> list[str]:
        """The ways in which the database may lose what was written, as it is set up, a line each."""

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""


def taken() -> TakenError:
    """The error for a key or unique key that is taken."""
    return TakenError("another record is there already")


def still_needed() -> ConflictError:
    """The error for deleting what others refer to."""
    return ConflictError("other records refer to this one", hint="Remove those first.")


def nothing_there() -> NotFoundError:
    """The error for a row that refers to nothing."""
    return NotFoundError("a record refers to one that is not there")
