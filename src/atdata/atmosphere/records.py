"""`AccountRecords`: the network as a store of records, one's own to write and anybody's to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from atdata.arguments import checked_text
from atdata.atmosphere.evidence import EvidenceReader
from atdata.atmosphere.repository import Repository, State, request_of
from atdata.atproto.net import Account
from atdata.atproto.syntax import AtUri, Did, RecordKey
from atdata.errors import ConflictError, UsageError
from atdata.index import Named
from atdata.index.deciding import Decision, Write, located
from atdata.numbers import checked_int
from atdata.records import Listing, Record
from atdata.settings import Settings

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Login(Protocol):
    """A client that may be logged in."""

    settings: Settings

    @property
    def reader(self) -> EvidenceReader:
        """The reader of what anybody published."""

    @property
    def account(self) -> Account:
        """The account that is logged in; an `AuthError` where none is."""


class AccountRecords:
    """The `RecordStore` of an account on the AT Protocol.

    Args:
        login: whose.
    """

    def __init__(self, login: Login) -> None:
        self._login = login

    @property
    def _did(self) -> Did:
        return self._login.account.session.did

    def read(self, ref: str, kind: type[R]) -> R:
        """A record of anybody's, verified (see `EvidenceReader.read`)."""
        return self._login.reader.read(AtUri(ref), kind)

    def read_all(self, owner: str | None, kind: type[R], limit: int | None = None) -> Listing[R]:
        """All records of a kind, newest first, of a DID or handle, or else of the account's own; verified."""
        if limit is not None:
            checked_int(limit, "limit")
        return self._login.reader.read_all(self._did if owner is None else owner, kind, limit)

    def named(self, owner: str | None, kind: type[R], name: str) -> Named[R]:
        """The records of a kind under a name: read, and verified, at once."""
        return self._login.reader.named(self._did if owner is None else owner, kind, checked_text(name, "name"))

    def repository(self) -> Repository:
        """The account's own records, to be decided upon and written to."""
        return Repository(self._login.reader, self._login.account)

    def referring(self, record: Record, kind: type[R]) -> list[R]:
        """See `RecordStore`: those of the account that the record is of."""
        uri = record.located
        uri = uri.with_authority(self._login.reader.identity(uri.authority).did)
        return self._login.reader.targeting(kind, uri)

    def state(self, kinds: Sequence[type[Record]]) -> State:  # noqa: ARG002  of all kinds there is a copy
        """See `RecordStore`."""
        return self.repository().read()

    def transact(
        self,
        kinds: Sequence[type[Record]],  # noqa: ARG002  of all kinds there is a copy
        decide: Callable[[State], Decision[T]],
    ) -> T:
        """Make true what a decision says about the account's own records; see `Repository.transact`."""
        return self.repository().transact(decide, self._login.settings)

    def check(self, writes: Sequence[Write]) -> None:
        """See `RecordStore`."""
        request_of(self._did, writes, settings=self._login.settings)

    def create(self, record: R, rkey: RecordKey, same: Callable[[R], bool]) -> R:
        """Write a record under a key of our own, once.

        Where the key is taken, `same` says whether the record there is as good as ours.

        Raises:
            ConflictError: the key is taken by other content.
            LimitError, LexiconError, UsageError: the record may not be written; nothing was sent.
            ContentionError, NetworkError, ProofError: see `Repository.transact`.
        """

        def decide(state: State) -> Decision[R]:
            uri = AtUri.of(self._did, record.NSID, rkey)
            there = state.get(uri, type(record))
            if there is not None and same(there):
                return Decision(there)
            placed = state.place(record, rkey)
            return Decision(placed, [Write.create(placed)])

        return self.transact([type(record)], decide)

    def swap(self, record: R, stands: R) -> R:
        """Put a record in the place of one of the account's own that was read, if that is still there.

        Raises:
            ConflictError: another is there by now, or none.
            LimitError, LexiconError, UsageError: it may not be written, or is another account's; nothing was sent.
            ProofError: the server stored something else.
        """
        place = stands.located
        self._check_own(place)
        new = located(record, AtUri.of(self._did, place.collection, place.rkey))

        def decide(state: State) -> Decision[R]:
            there = state.cid_at(place)
            if there not in (stands.cid, new.cid):
                raise ConflictError("a record has changed since it was read", uri=place, expected=stands.cid)
            return Decision(new, [] if there == new.cid else [Write.update(new)])

        return self._login.reader.read(self.transact([type(record)], decide).located, type(record))

    def delete(self, uri: AtUri) -> None:
        """Delete a record of the account's own; deleting what is not there is fine.

        Raises:
            UsageError: it is somebody else's.
        """
        self._check_own(uri)
        place = {"repo": self._did, "collection": uri.collection, "rkey": uri.rkey}
        self._login.account.procedure("com.atproto.repo.deleteRecord", place)

    def _check_own(self, uri: AtUri) -> None:
        if uri.authority != self._did and self._login.reader.identity(uri.authority).did != self._did:
            raise UsageError("the record belongs to another account", actual=uri, expected=self._did)
