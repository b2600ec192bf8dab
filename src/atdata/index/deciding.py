"""Decisions: what to write, said by a function of the state that is written to (decision 19), whatever keeps the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record
from atdata.atproto.syntax import AtUri
from atdata.records import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclass(frozen=True)
class Write:
    """A change of one record.

    Attributes:
        action: `create`, `update` or `delete`.
        uri: the record.
        record: as it will be; `None` where it is deleted.
        stands: as it is, where it is changed or deleted.
    """

    action: Literal["create", "update", "delete"]
    uri: AtUri
    record: Record | None
    stands: Record | None = None

    @classmethod
    def create(cls, record: Record) -> Write:
        """A record that has a place (`RecordState.place`), where nothing is."""
        return cls("create", record.located, record)

    @classmethod
    def update(cls, record: Record, stands: Record | None = None) -> Write:
        """A record in the place of the one that is at its address."""
        return cls("update", record.located, record, stands)

    @classmethod
    def delete(cls, uri: AtUri, stands: Record | None = None) -> Write:
        """No record where one is."""
        return cls("delete", uri, None, stands)


@dataclass(frozen=True)
class Decision(Generic[T]):
    """The writes that follow from a state.

    Attributes:
        result: what is true once the writes are made.
        writes: all of them are made, or none; where there are none, it is true already.
        after: a record that must be the newest of its name when new ones are written: nobody else's came between.
    """

    result: T
    writes: Sequence[Write] = ()
    after: Record | None = None


def located(record: R, uri: AtUri) -> R:
    """A record as it will be at an address."""
    return record.at(uri, Cid.of_cbor(cbor.encode(check_record(record.to_record()))))
