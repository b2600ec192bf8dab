"""The account's own repository: decided upon as it is at one proven commit, and written to only if it is still so.

Others may write at the same moment, from this machine or any other. So whoever publishes says how to *decide*: from the
state of all collections concerned, what is to be written. The records are written in one request that the server refuses
if anything has changed since (`swapCommit`); then what changed is read, and decided again. An answer that got lost is the
same case: the state says whether the records are there. Nothing depends on locks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from atdata.atmosphere.evidence import EvidenceReader, named, parsed
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import to_json
from atdata.atproto.net import Account
from atdata.atproto.net.session import encoded
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import AtUri, Did, RecordKey
from atdata.errors import (
    AddressError,
    AuthError,
    ConflictError,
    ContentionError,
    LimitError,
    NetworkError,
    ProofError,
    XrpcError,
)
from atdata.index import NamedRecords
from atdata.index.deciding import Decision, Write, located
from atdata.records import Entry, Label, Listing, Record, check_outgoing
from atdata.records.nsids import collections
from atdata.records.public import check_public
from atdata.replica import AccountReading, Reading
from atdata.replica.mending import with_whole_copy
from atdata.settings import STRICT, Settings

R = TypeVar("R", bound=Record)
T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which a write that others outran is decided and tried again."""

MAX_REQUEST = 150 * 1024
"""Bytes of a request that every PDS takes (pds-facts.md, Records)."""

_MAX_WRITES = 200  # in one request
_PAUSE = 0.05


@dataclass(frozen=True)
class State:
    """The account's records at one commit, read when they are asked for.

    Attributes:
        did: the account.
        commit: the commit.
    """

    did: Did
    commit: Cid
    _ask: Callable[[Callable[[AccountReading], Any]], Any] = field(repr=False)

    def all(self, kind: type[R]) -> Listing[R]:
        """Every record of a kind, the newest key first."""
        return parsed(self._ask(lambda copy: copy.all(kind.NSID)))

    def get(self, uri: AtUri, kind: type[R]) -> R | None:
        """See `RecordState`."""
        if uri.authority != self.did or uri.collection not in collections(kind.NSID):
            return None
        found = self._ask(lambda copy: copy.get(f"{uri.collection}/{uri.rkey}"))
        return None if found is None else next(iter(parsed([found])), None)

    def labels_of(self, uri: AtUri) -> list[Label]:
        """See `RecordState`."""
        return parsed(self._ask(lambda copy: copy.targeting(Label.NSID, uri)))

    def named(self, kind: type[R], name: str) -> NamedRecords[R]:
        """The records of a kind under a name."""
        return named(parsed(self._ask(lambda copy: copy.named(kind.NSID, name))))

    def naming_blobs(self, cids: Iterable[Cid]) -> list[Entry]:
        """The entries that name some blobs."""
        return parsed(self._ask(lambda copy: copy.naming_blobs(cids)))

    def cid_at(self, uri: AtUri) -> Cid | None:
        """The CID of what is at an address of the account, malformed or not; `None` where nothing is."""
        found: Cid | None = self._ask(lambda copy: copy.cid_at(f"{uri.collection}/{uri.rkey}"))
        return found

    def holds(self, record: Record) -> bool:
        """True if anything is at the address of a record."""
        return self.cid_at(record.located) is not None

    def place(self, record: R, rkey: RecordKey) -> R:
        """A new record as it will be under a key.

        Raises:
            ConflictError: the key is taken.
        """
        placed = located(record, AtUri.of(self.did, record.NSID, rkey))
        if (there := self.cid_at(placed.located)) is not None:
            raise ConflictError(
                "the key of a record is taken by other content",
                uri=placed.uri,
                expected="equal content",
                actual=str(there),
                hint="What was published stays; publish under a new version or name.",
            )
        return placed


class Repository:
    """The account's own records, followed from commit to commit.

    Args:
        reader: reads and verifies.
        account: logged in.
    """

    def __init__(self, reader: EvidenceReader, account: Account) -> None:
        self._reader, self._account = reader, account
        self._checked: dict[Cid | None, Any] = {}

    @property
    def did(self) -> Did:
        """The account that the repository is of."""
        return self._account.session.did

    def read(self) -> State:
        """The state at the newest commit; what was read before is not read again.

        Raises:
            VerificationError: a link broke; `step` names it.
            NetworkError: the account's server cannot be reached.
        """
        proven = self._reader.follow(self._reader.identity(self.did))
        replica = self._reader.replica

        def ask(work: Callable[[AccountReading], T]) -> T:
            read = partial(replica.read, lambda reading: work(reading.account(self.did)))
            return with_whole_copy(replica, self.did, read, self.read)

        return State(self.did, proven.cid, ask)

    def transact(self, decide: Callable[[State], Decision[T]], settings: Settings = STRICT) -> T:
        """Make true what a decision says, on the very state that it was made on.

        Args:
            decide: from a state, what to write. Called again, on the new state, whenever others were faster or an
                answer was lost; so it must depend on the state alone, and find what it wrote itself.
            settings: what may be public; see `check_public`.

        Raises:
            ContentionError: for a minute others were faster each time. Nothing was written.
            LimitError, LexiconError, UsageError: a record may not be written; nothing was sent.
            XrpcError: the server refuses; nothing was written.
            NetworkError: the server cannot be reached. Whether the records were written the same call will find out.
            ProofError: the server stored something else.
        """
        seen: ProvenCommit | None = None
        patient_until, tries = time.monotonic() + PATIENCE, 0

        def decided() -> tuple[ProvenCommit, Decision[T]]:
            nonlocal seen
            # Remembered in the end: what delays the write lets others come between.
            seen = self._reader.follow(self._reader.identity(self.did), remember=False)
            return seen, self._decide(seen.cid, decide)

        try:
            while True:
                seen, decision = with_whole_copy(self._reader.replica, self.did, decided)
                if not decision.writes or self._write(decision, seen.cid, settings, patient_until):
                    return decision.result
                # Those who failed together, and those who write in a steady rhythm, are met at another moment.
                time.sleep(random.uniform(0, _PAUSE * min(tries := tries + 1, 4)))  # noqa: S311  not a secret
        finally:
            if seen is not None:
                self._reader.remember(seen)

    def _decide(self, commit: Cid, decide: Callable[[State], Decision[T]]) -> Decision[T]:
        """The decision on one state: whoever brings the copy further meanwhile changes nothing in it."""

        def on(reading: Reading) -> Decision[T]:
            return decide(State(self.did, commit, lambda work: work(reading.account(self.did))))

        return self._reader.replica.read(on)

    def _write(self, decision: Decision[T], commit: Cid, settings: Settings, patient_until: float) -> bool:
        """Write what was decided; `False` where it must be decided again."""
        try:
            body = request_of(self.did, decision.writes, commit, settings, self._checked)
            # Sent twice by an impatient transport it is still carried out once: then the commit is another.
            answer = self._account.procedure("com.atproto.repo.applyWrites", body)
        except NetworkError as error:
            if not _passes(error):
                raise
            if time.monotonic() > patient_until:
                raise _outrun(self.did, error) from error
            return False
        if "results" not in answer:  # a server need not say; then the next state does
            return False
        _check_stored(answer, decision.writes)
        return True


def request_of(
    did: Did,
    writes: Sequence[Write],
    commit: Cid | None = None,
    settings: Settings = STRICT,
    checked: dict[Cid | None, Any] | None = None,
) -> dict[str, Any]:
    """The body of `com.atproto.repo.applyWrites`, each record in it checked, and the whole.

    Args:
        did: whose repository it is.
        writes: what to write.
        commit: what must be the newest commit; without one it is only about the size.
        settings: in force; see `check_public`.
        checked: records that were checked, by CID, so that a next try need not.

    Raises:
        UsageError: it would publish what must not be public.
        DataModelError, LexiconError: a record breaks a rule; `path` names the place.
        LimitError: a record, or all of it together, is larger than every PDS takes.
    """
    if len(writes) > _MAX_WRITES:
        raise LimitError("too many records for one write", expected=f"at most {_MAX_WRITES}", actual=len(writes))
    checked = {} if checked is None else checked
    body = {
        "repo": did,
        "writes": [_to_json(write, settings, checked) for write in writes],
        "swapCommit": str(commit or _NO_COMMIT),
        "validate": False,  # the server does not know our lexicons; we have validated
    }
    if (size := len(encoded(body))) > MAX_REQUEST:
        raise LimitError(
            "the records of one write are too large together",
            uri=", ".join(str(write.uri) for write in writes)[:300],
            expected=f"at most {MAX_REQUEST} bytes",
            actual=size,
        )
    return body


def _to_json(write: Write, settings: Settings, checked: dict[Cid | None, Any]) -> dict[str, Any]:
    """The wire form of a change, with a record that was checked: what may be public, data model, lexicon, size."""
    place = {"collection": write.uri.collection, "rkey": write.uri.rkey}
    action = {"$type": f"com.atproto.repo.applyWrites#{write.action}", **place}
    if write.record is None:
        return action
    if write.record.cid not in checked:
        check_public(write.record, settings)
        checked[write.record.cid] = to_json(check_outgoing(write.record))
    return {**action, "value": checked[write.record.cid]}


_NO_COMMIT = Cid.of_cbor(b"\xa0")


def _passes(error: NetworkError) -> bool:
    """True if deciding again may help: others were faster, or nobody knows what became of the request."""
    if isinstance(error, XrpcError):
        return error.error == "InvalidSwap" or error.status == 429 or error.status >= 500
    return not isinstance(error, (AuthError, AddressError))


def _outrun(did: Did, error: NetworkError) -> NetworkError:
    if not isinstance(error, XrpcError) or error.error != "InvalidSwap":
        return error
    return ContentionError(
        "others write to the account faster than it can be written to; nothing was written",
        uri=did,
        expected=f"a moment without other writes within {PATIENCE:.0f} s",
        hint="Try again when the other program is done.",
    )


def _check_stored(answer: Mapping[str, Any], writes: Sequence[Write]) -> None:
    """True if the server says that it stored the very records.

    Raises:
        ProofError: it stored something else.
    """
    results = answer["results"] if isinstance(answer["results"], list) else []
    said = [item.get("cid") if isinstance(item, dict) else None for item in results]
    expected = [None if write.record is None else str(write.record.cid) for write in writes]
    if said != expected:
        raise ProofError(
            "the server stored other records", step="record", uri=writes[0].uri, expected=expected, actual=said
        )
