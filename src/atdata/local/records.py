"""Records in a database: the store under `LocalIndex`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

from atdata.arguments import checked_text
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.errors import (
    AtdataError,
    ConflictError,
    ContentionError,
    IdentifierError,
    NotFoundError,
    ProofError,
    UsageError,
)
from atdata.index import RecordState
from atdata.index.deciding import Decision, Write
from atdata.local.database import Database, FoundRow, RecordRow, TakenError
from atdata.numbers import checked_int
from atdata.records import Entry, IndexKeys, Label, Listing, Malformed, Record, Version, check_outgoing
from atdata.records.address import AUTHORITY, LOCAL

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_PAGE = 500
_PATIENCE = 60.0  # seconds for a change that others come before


@dataclass(frozen=True)
class LocalRecords:
    """Records in a database. What is read is checked against its CID, and against its lexicon."""

    database: Database

    def read(self, ref: str, kind: type[R]) -> R:
        """See `RecordStore`."""
        found = self.database.get(_key(AtUri(ref), kind))
        if found is None:
            raise NotFoundError("there is no such record in the index", uri=ref)
        return record_of(found, kind)

    def read_all(self, owner: str | None, kind: type[R], limit: int | None = None) -> Listing[R]:
        """See `RecordStore`."""
        check_owner(owner)
        _check_limit(limit)
        listing = Listing[R]()
        for item in self._recent(kind, limit) if limit != 0 else ():
            listing.add(item)
            if len(listing) == limit:
                break
        return listing

    def each(self, kind: type[R]) -> Iterator[R]:
        """The records of a kind that can be read, newest first, some at a time in memory."""
        return (item for item in self._recent(kind) if not isinstance(item, Malformed))

    def _recent(self, kind: type[R], limit: int | None = None) -> Iterator[R | Malformed]:
        return (_parsed(found, kind) for found in rows_of(self.database, str(kind.NSID), limit))

    def under(self, kind: type[R], prefix: str, limit: int | None = None) -> Listing[R]:
        """The records of a kind whose names begin with some text, by name."""
        _check_limit(limit)
        checked_text(prefix, "prefix")
        listing = Listing[R]()
        for found in self.database.under(str(kind.NSID), prefix, limit):
            listing.add(_parsed(found, kind))
        return listing

    def named(self, owner: str | None, kind: type[R], name: str) -> NamedRows[R]:
        """See `RecordStore`."""
        check_owner(owner)
        return NamedRows(self.database, kind, checked_text(name, "name"))

    def of_cid(self, kind: type[R], cid: str) -> R | None:
        """The record with a CID."""
        try:
            cid = str(Cid.parse(cid))
        except IdentifierError:  # no CID is like this
            return None
        return _maybe(self.database.of_cid(str(kind.NSID), cid), kind)

    def referring(self, record: Record, kind: type[R]) -> list[R]:
        """The records of a kind that refer to one, the newest first."""
        found = self.database.referring(_key(record.located, type(record)), str(kind.NSID))
        return [record_of(item, kind) for item in found]

    def state(self, kinds: Sequence[type[Record]]) -> LocalState:  # noqa: ARG002  all can be asked for
        """See `RecordStore`."""
        return LocalState(self)

    def transact(self, kinds: Sequence[type[Record]], decide: Callable[[RecordState], Decision[T]]) -> T:
        """See `RecordStore`."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            decision = decide(self.state(kinds))
            try:
                self._write(decision.writes, decision.after)
                return decision.result
            except ConflictError as error:  # somebody was faster; what they wrote is found now
                if time.monotonic() > deadline:
                    raise ContentionError(
                        "others write to the index faster than it can be written to; nothing was written",
                        expected=f"a moment without other writes within {_PATIENCE:.0f} s",
                        actual=error.what,
                        hint="Try again when the other program is done.",
                    ) from error

    def check(self, writes: Sequence[Write]) -> None:
        """See `RecordStore`."""
        for write in writes:
            if write.record is not None:
                check_outgoing(write.record, bounded=False)

    def _write(self, writes: Sequence[Write], after: Record | None) -> None:
        """Make all of some changes, or none: new records, or changes of those that stand.

        Raises:
            ConflictError: something else stands in the place of one, or refers to one that is to go.
        """
        fresh = [write.record for write in writes if write.action == "create" and write.record is not None]
        swaps = [
            (write.record, write.stands) for write in writes if write.record is not None and write.stands is not None
        ]
        gone = [write.stands for write in writes if write.record is None and write.stands is not None]
        if (fresh and (swaps or gone)) or len(fresh) + len(swaps) + len(gone) < len(writes):
            raise AssertionError("a database takes what is new and what changes by themselves")
        self.check(writes)
        if fresh:
            self.put(fresh, after)
        elif writes:
            self.database.replace(
                [(row_of(record), str(stands.cid)) for record, stands in swaps], [row_of(record) for record in gone]
            )

    def create(self, record: R, rkey: RecordKey, same: Callable[[R], bool]) -> R:
        """See `RecordStore`."""
        placed = self.placed(record, rkey)
        try:
            self.put([placed])
        except TakenError as error:
            found = self._in_the_way(placed)
            if found is not None and same(found):
                return found
            raise ConflictError(
                "the name of a record is taken by other content",
                uri=placed.located,
                expected="equal content",
                actual=None if found is None else str(found.cid),
                hint="What was published stays; publish under a new version or name.",
            ) from error
        return placed

    def _in_the_way(self, record: R) -> R | None:
        kind = type(record)
        found = self.database.get(_key(record.located, kind))
        found = found or self.database.of_unique_key(
            str(kind.NSID), record.index_keys.name, record.index_keys.unique_key
        )
        return _maybe(found, kind)

    def placed(self, record: R, rkey: RecordKey) -> R:
        """A record as it will be under a key; one that is somewhere stays there.

        Raises:
            DataModelError, LexiconError: it may not be written.
        """
        if record.uri is not None:
            return record
        cid = Cid.of_cbor(cbor.encode(check_outgoing(record, bounded=False)))
        return record.at(AtUri.of(AUTHORITY, record.NSID, rkey), cid)

    def put(self, records: Sequence[Record], after: Record | None = None) -> None:
        """Write records that are placed, all of them or none; those they refer to come first.

        Args:
            records: what to write.
            after: a record that must be the newest of its name then.

        Raises:
            TakenError: the key, the version, or the content under a name, is taken, or another is the newest by now.
            NotFoundError: one refers to a record that is not there.
        """
        self.database.insert([row_of(record) for record in records], None if after is None else row_of(after))

    def swap(self, record: R, stands: R) -> R:
        """Put a record in the place of one that was read, which says the same but for facts about it.

        Raises:
            TakenError: another is there by now, or none.
            DataModelError, LexiconError, UsageError: it may not be written.
        """
        placed = self.placed(replace(record, uri=None, cid=None), RecordKey(stands.located.rkey or ""))
        self.database.swap(row_of(placed), str(stands.cid))
        return placed

    def delete(self, records: Sequence[Record]) -> None:
        """Delete all of some records, or none.

        Raises:
            ConflictError: others refer to them.
        """
        self.database.delete([row_of(record) for record in records])


@dataclass(frozen=True)
class LocalState:
    """`RecordState` of a database: what is asked for is looked up, and what is written is held against it."""

    records: LocalRecords

    def get(self, uri: AtUri, kind: type[R]) -> R | None:
        """See `RecordState`."""
        if uri.authority != AUTHORITY:
            return None
        with suppress(NotFoundError):
            return self.records.read(uri, kind)
        return None

    def all(self, kind: type[R]) -> Listing[R]:
        """See `RecordState`."""
        return self.records.read_all(None, kind)

    def named(self, kind: type[R], name: str) -> NamedRows[R]:
        """See `RecordState`."""
        return self.records.named(None, kind, name)

    def labels_of(self, uri: AtUri) -> list[Label]:
        """See `RecordState`."""
        found = self.records.database.referring(_key(uri, Entry), str(Label.NSID)) if uri.authority == AUTHORITY else ()
        return [record_of(item, Label) for item in found]

    def place(self, record: R, rkey: RecordKey) -> R:
        """See `RecordState`."""
        placed = self.records.placed(record, rkey)
        if record.uri is None and self.records.database.get(_key(placed.located, type(record))) is not None:
            raise ConflictError(
                "the key of a record is taken by other content",
                uri=placed.uri,
                hint="What was published stays; publish under a new version or name.",
            )
        return placed


@dataclass(frozen=True)
class NamedRows(Generic[R]):
    """The records of a kind under a name, each question one lookup."""

    database: Database
    kind: type[R]
    name: str

    def newest(self) -> R | None:
        """See `Named`."""
        last = self.last()
        if last is None or not last.is_retracted:
            return last
        return next((record for record in self.all() if not record.is_retracted), None)

    def last(self) -> R | None:
        """See `Named`."""
        return _maybe(self.database.newest(str(self.kind.NSID), self.name), self.kind)

    def all(self) -> list[R]:
        """See `Named`."""
        found = self.database.of_name(str(self.kind.NSID), self.name)
        return [record_of(item, self.kind) for item in found]

    def of_version(self, version: str) -> R | None:
        """See `Named`."""
        return _maybe(
            self.database.of_unique_key(str(self.kind.NSID), self.name, IndexKeys.unique_key_of(version)), self.kind
        )

    def of_content(self, content: Cid) -> R | None:
        """See `Named`."""
        return _maybe(self.database.of_content(str(self.kind.NSID), self.name, str(content)), self.kind)


def rows_of(database: Database, collection: str, limit: int | None = None) -> Iterator[FoundRow]:
    """The rows of a collection, newest first, some at a time in memory.

    Args:
        database: where they are.
        collection: which.
        limit: how many are likely to be enough.

    Raises:
        ProofError: their numbers do not descend, so that nobody could tell whether these are all.
    """
    before: int | None = None
    while page := database.recent(collection, min(limit or _PAGE, _PAGE), before):
        for found in page:
            if before is not None and found.number >= before:
                raise ProofError("rows of the index were altered: their numbers do not descend", step="record")
            before = found.number
            yield found


def row_of(record: Record) -> RecordRow:
    """A record that is placed, as a row."""
    uri, listed = record.located, record.index_keys
    target = listed.target
    return RecordRow(
        collection=str(record.NSID),
        rkey=str(uri.rkey),
        name=listed.name,
        unique_key=listed.unique_key,
        sort_key=Version.parse(listed.version).key,
        content=str(listed.content),
        cid=str(record.cid),
        target=f"{target.collection}/{target.rkey}" if target is not None and target.authority == AUTHORITY else None,
        value=cbor.encode(record.to_record()),
    )


def record_of(found: FoundRow, kind: type[R]) -> R:
    """The record that a row is.

    Raises:
        ProofError: it is not the one that was written.
        LexiconError: it is of another kind.
    """
    cid, where = Cid.of_cbor(found.value), f"at://{AUTHORITY}/{kind.NSID}/{found.rkey}"
    if str(cid) != found.cid:
        raise ProofError("a record of the index was altered", step="record", uri=where, expected=found.cid, actual=cid)
    uri = AtUri(where)
    value = cbor.decode(found.value)
    if not isinstance(value, dict):
        raise ProofError("a row of the index holds no record", step="record", uri=uri)
    return kind.from_record(cast(dict[str, object], value), kind.NSID).at(uri, cid)


def _parsed(found: FoundRow, kind: type[R]) -> R | Malformed:
    """The same, or why it is none."""
    try:
        return record_of(found, kind)
    except AtdataError as reason:
        value: object = None
        with suppress(AtdataError):
            value = cbor.decode(found.value)
        return Malformed(f"at://{AUTHORITY}/{kind.NSID}/{found.rkey}", reason, value)


def _maybe(found: FoundRow | None, kind: type[R]) -> R | None:
    return None if found is None else record_of(found, kind)


def _key(uri: AtUri, kind: type[Record]) -> str:
    if uri.authority != AUTHORITY:
        raise UsageError(
            "the address is that of a record of the network, not of this index",
            actual=uri,
            hint="Read it with AtmosphereIndex, or load_dataset.",
        )
    if uri.collection != kind.NSID or uri.rkey is None:
        raise NotFoundError(f"the address names no {kind.NSID.name}", uri=uri)
    return f"{uri.collection}/{uri.rkey}"


def _check_limit(limit: int | None) -> None:
    if limit is not None:
        checked_int(limit, "limit")


def check_owner(owner: str | None) -> None:
    """Refuse to look for somebody else's records in an index of one's own.

    Raises:
        UsageError: another owner is named.
    """
    if owner not in (None, LOCAL, AUTHORITY):
        raise UsageError("a local index has no other accounts", actual=owner, hint="Leave the account out.")
