"""A listing of an account, or an index: records, and apart from them what is in their place and cannot be read.

Anybody can put anything into a repository of their own, so one record that is malformed must not hide the others. It is
passed over, and kept with the reason, for whoever asks: `index.list_datasets().malformed`.

A name must not change its meaning by this. A malformed record is taken to be of the name and version that can be read in
it, and whoever asks what such a name stands for is told, in place of an answer (`atdata.index.NamedRecords`). One in which
no name can be read names nothing. That is safe: it is in the tree that the account has signed, so a server can neither put
it there nor make it of another; and the account itself could as well have deleted what it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record
from atdata.atproto.syntax import AtUri, Did, Nsid, RecordKey
from atdata.errors import AtdataError, DataModelError
from atdata.records.record import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Malformed:
    """A record that cannot be read as one of its collection.

    Attributes:
        uri: where it is; its key may be one that no record can have.
        reason: what is wrong with it.
        value: what is there, where it can be decoded at all.
    """

    uri: str
    reason: AtdataError
    value: object = field(default=None, repr=False)

    @property
    def name(self) -> str | None:
        """The name that can be read in it; `None` where none can."""
        name = self._member("name")
        return name if isinstance(name, str) else None

    def may_be_of(self, version: str) -> bool:
        """True if it may stand for a version of its name: it says so, or says what cannot be read."""
        said = self._member("version")
        return said == version or not (said is None or isinstance(said, str))

    def _member(self, name: str) -> Any:
        return self.value.get(name) if isinstance(self.value, Mapping) else None

    def __str__(self) -> str:
        where = f" at {self.reason.path}" if self.reason.path else ""
        return f"{self.uri}: {self.reason.what}{where}"


class Listing(list[T]):
    """Records in order, as a list, and those that were passed over.

    Attributes:
        malformed: those that cannot be read, in the same order.
    """

    def __init__(self, records: Iterable[T] = (), malformed: Iterable[Malformed] = ()) -> None:
        super().__init__(records)
        self.malformed: list[Malformed] = list(malformed)

    def add(self, item: T | Malformed) -> None:
        """Put a record at the end, or one that cannot be read among those."""
        if isinstance(item, Malformed):
            self.malformed.append(item)
        else:
            self.append(item)

    def join(self, other: Listing[T]) -> None:
        """Put all of another at the end."""
        self.extend(other)
        self.malformed.extend(other.malformed)


def parse_record(kind: type[R], did: Did, key: str, cid: Cid, block: bytes | None) -> R | Malformed:
    """The record at a key of an account's tree.

    Args:
        kind: of the key's collection.
        did: the account.
        key: in the tree, of which nothing is known but that it is there.
        cid: what the tree has at the key.
        block: the bytes with that CID; `None` where it is the CID of no record.
    """
    value: object = None
    try:
        if block is None or Cid.of_cbor(block) != cid:
            raise DataModelError("a block in the place of a record is not a record", expected="a block of DAG-CBOR")
        value = cbor.decode(block)
        collection, _, rkey = key.partition("/")
        uri = AtUri.of(did, Nsid(collection), RecordKey(rkey))
        return kind.from_record(check_record(value), collection, checked=True).at(uri, cid)
    except AtdataError as reason:  # whatever it is, it is of this record alone
        return Malformed(f"at://{did}/{key}", reason, value)
