"""Records that a service gave: each is proven here, from the account's identity to the members that the service showed."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import msgspec

from atdata.atmosphere.evidence import EvidenceReader, as_record, newest_seen
from atdata.atproto.datamodel import to_json
from atdata.atproto.fetch import MAX_CAR
from atdata.atproto.repo.proof import prove_record
from atdata.atproto.syntax import AtUri, Did, Handle, Nsid, RecordKey, Tid
from atdata.atproto.verify import Evidence, VerifiedIdentity, VerifiedRecord
from atdata.errors import (
    AtdataError,
    IdentifierError,
    IdentityError,
    NetworkError,
    NotFoundError,
    ProofError,
    SignatureError,
)
from atdata.records import Record, lexicons
from atdata.records.nsids import today
from atdata.replica.columns import KINDS

R = TypeVar("R", bound=Record)

_AT_ONCE = 8  # identities
_PAGE_SECONDS = 60.0  # in which all accounts of a page must have begun to be looked up
FACTS = frozenset(
    (
        *("uri", "cid", "did", "handle", "rev", "indexedAt", "validity", "reason", "verified", "verifiedAt"),
        *("record", "proof", "proofRev", "$type"),
    )
)
"""Members of a view that are of no record."""


@dataclass(frozen=True)
class ServiceRecord(Generic[R]):
    """A record that a service gave, and that was proven here.

    Attributes:
        record: it, with its address, its CID and its evidence.
        rev: the revision of its repository at which it is proven to have been there.
        handle: a handle of its account that the service showed, if it leads to the account and the account names it.
        confirmed: whether the account's own server was asked, since a newer commit than the service's was known here.
    """

    record: R
    rev: Tid
    handle: Handle | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class RefusedRecord:
    """Something in an answer that was not proven, and is not given.

    Attributes:
        uri: what it was said to be.
        error: why; its `step` is the link that broke.
    """

    uri: str
    error: AtdataError


class ServiceProofs:
    """Proves what a service shows. Nothing of an account is believed that its DID document does not say.

    Args:
        reader: looks up accounts, and asks their own servers.
        service: the URL of the service, for errors.
    """

    def __init__(self, reader: EvidenceReader, service: str) -> None:
        self._reader, self._service = reader, service
        self._fresh: set[Did] = set()  # accounts whose identity was looked up anew
        self._looked: dict[Did, VerifiedIdentity | AtdataError] = {}
        self._until = time.monotonic() + _PAGE_SECONDS

    def learn(self, views: Iterable[Any]) -> None:
        """Look up the accounts of views, several at once; what fails is said where it is needed."""

        def look(did: str) -> None:
            with suppress(AtdataError):
                self._identity(Did(did))

        named = (view.get("did") for view in views if isinstance(view, dict))
        dids = dict.fromkeys(text for text in named if isinstance(text, str))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(look, dids))

    def _identity(self, did: Did, fresh: bool = False) -> VerifiedIdentity:
        """The identity of an account. Who was looked up in vain is not looked up again, and after a while nobody is."""
        found = self._looked.get(did)
        if found is None or (fresh and not isinstance(found, AtdataError)):
            try:
                if time.monotonic() > self._until:
                    raise NetworkError("there was no time to look up an account", expected=f"{_PAGE_SECONDS:.0f} s")
                found = self._reader.identity(did, fresh=fresh)
            except AtdataError as error:
                found = error
            self._looked[did] = found
        if isinstance(found, AtdataError):
            raise copy(found)
        return found

    def prove(self, view: Any, kind: type[R], asked: AtUri | None = None) -> ServiceRecord[R]:
        """The record of a view.

        Args:
            view: as it came, with its proof.
            kind: what it must be.
            asked: where it must be.

        Raises:
            VerificationError: a link broke; `step` names it.
            LexiconError: the record is none of its collection.
            NotFoundError: its account has no such record any more.
            NetworkError: whose it is cannot be found out.
        """
        uri, did = self._address(view, kind, asked)
        verified = self._verified(view, uri, did)
        self._check_version(view, verified)
        record = as_record(verified, kind)
        _check_members(view, verified, record)
        found = ServiceRecord(record, verified.commit.rev, self._handle(view, verified.identity))
        return self._as_seen(found, kind)

    @contextmanager
    def blaming(self, uri: str) -> Iterator[None]:
        """Have errors name the service, and what it said."""
        try:
            yield
        except AtdataError as error:
            error.uri = uri or error.uri
            said = f"{self._service} has answered so, and is not believed; the account's own server knows."
            error.hint = said if error.hint is None else f"{error.hint} {said}"
            raise

    def _address(self, view: Any, kind: type[R], asked: AtUri | None) -> tuple[AtUri, Did]:
        try:
            uri, did = AtUri(_said(view, "uri")), Did(_said(view, "did") or AtUri(_said(view, "uri")).authority)
        except IdentifierError as error:
            raise ProofError("an answer names no record", step="uri", actual=str(error.actual)[:200]) from error
        if uri.authority != did or uri.rkey is None or today(str(uri.collection)) != kind.NSID:
            raise ProofError("an answer is of something else", step="uri", expected=f"{did}, {kind.NSID}", actual=uri)
        if asked is not None and uri != asked:
            raise ProofError("an answer is of another record than was asked for", step="uri", expected=asked)
        return uri, did

    def _verified(self, view: Any, uri: AtUri, did: Did) -> VerifiedRecord:
        car = _car(_said(view, "proof"))
        try:
            return _proven(car, uri, self._identity(did))
        except SignatureError:
            if did in self._fresh:
                raise
            self._fresh.add(did)  # the key may have changed since the account was looked at
            return _proven(car, uri, self._identity(did, fresh=True))

    def _check_version(self, view: Any, verified: VerifiedRecord) -> None:
        rev = verified.commit.rev
        said = {"cid": _said(view, "cid"), "proofRev": _said(view, "proofRev")}
        proven = {"cid": str(verified.cid), "proofRev": str(rev)}
        if said != proven:
            raise ProofError(
                "an answer is of another version than its proof", step="record", expected=proven, actual=said
            )
        with suppress(IdentifierError):
            if "rev" not in view or Tid(view["rev"]) <= rev:
                return
        raise ProofError(
            "a record is newer than what proves it", step="rev", expected=rev, actual=str(view["rev"])[:50]
        )

    def _handle(self, view: Any, identity: VerifiedIdentity) -> Handle | None:
        """The handle that a view shows, if it is proven. One that the account does not name is a lie, or out of date."""
        if "handle" not in view:
            return None
        try:
            handle = Handle(view["handle"]).normalized
        except IdentifierError as error:
            raise IdentityError("an answer shows a malformed handle", step="handle") from error
        if handle not in _claimed(identity) and identity.did not in self._fresh:
            self._fresh.add(identity.did)
            identity = self._identity(identity.did, fresh=True)
        if handle not in _claimed(identity):
            facts = {"expected": ", ".join(_claimed(identity)) or "no handle", "actual": handle}
            raise IdentityError("an answer shows a handle that its account does not name", step="handle", **facts)
        with suppress(IdentityError, NetworkError):
            if time.monotonic() > self._until:
                return None
            return handle if self._reader.identity(handle).did == identity.did else None
        return None

    def _as_seen(self, found: ServiceRecord[R], kind: type[R]) -> ServiceRecord[R]:
        """The record as the account's own server shows it, where a newer commit than the service's is known here."""
        uri = found.record.located
        newest = newest_seen(self._reader, Did(uri.authority))
        if newest is None or newest <= found.rev:
            return found
        verified = self._reader.record(uri)
        return replace(found, record=as_record(verified, kind), rev=verified.commit.rev, confirmed=True)


def prove_each(
    proofs: ServiceProofs, views: Iterable[Any], check: Callable[[ServiceRecord[Any], Any], None]
) -> tuple[list[ServiceRecord[Any]], list[RefusedRecord]]:
    """The records of views, and what was not proven.

    Args:
        proofs: of the service.
        views: as they came.
        check: is given each record and its view, and raises where it does not belong there.
    """
    views = list(views)
    proofs.learn(views)
    found, refused = list[ServiceRecord[Any]](), list[RefusedRecord]()
    for view in views:
        uri = _said(view, "uri")
        try:
            with proofs.blaming(uri):
                one = proofs.prove(view, kind_at(uri))
                check(one, view)
        except AtdataError as error:
            refused.append(RefusedRecord(uri[:500], error))
        else:
            found.append(one)
    return found, refused


def kind_at(uri: str) -> type[Record]:
    """The kind of the record at an address.

    Raises:
        ProofError: it is none of ours.
    """
    with suppress(IdentifierError, KeyError):
        return KINDS[today(str(AtUri(uri).collection))]
    raise ProofError("an answer names no record of ours", step="uri", actual=uri[:200])


def _said(view: Any, name: str) -> str:
    """A text in a view; empty where there is none."""
    text = view.get(name) if isinstance(view, dict) else None
    return text if isinstance(text, str) else ""


def _car(text: str) -> bytes:
    if not text:
        raise ProofError("an answer comes without a proof", step="proof")
    if len(text) > MAX_CAR * 4 // 3 + 4:
        raise ProofError("a proof is too large", step="car", expected=f"at most {MAX_CAR} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError("a proof is not base64", step="car") from error


def _proven(car: bytes, uri: AtUri, identity: VerifiedIdentity) -> VerifiedRecord:
    collection, rkey = Nsid(uri.collection), RecordKey(uri.rkey)
    try:
        proven = prove_record(car, identity.did, identity.key, collection, rkey)
    except NotFoundError as error:
        raise ProofError("the proof of a record shows that there is none", step="proof") from error
    evidence = Evidence(uri, identity.evidence, car)
    return VerifiedRecord(uri, proven.cid, proven.value, proven.commit, proven.commit_cid, identity, evidence)


def _claimed(identity: VerifiedIdentity) -> list[str]:
    return [str(handle.normalized) for handle in identity.handles]


def _check_members(view: Mapping[str, Any], verified: VerifiedRecord, record: Record) -> None:
    """Each member that a view shows as the record's is the record's, and none of them is left out."""
    older = bool(record.older_forms)
    form = to_json(record.to_record() if older else verified.value)
    expected: dict[str, Any] = {
        name: form.get(name, _NOTHING) for name in lexicons().members(record.NSID) | form.keys()
    }
    expected = {name: value for name, value in expected.items() if name not in FACTS}
    if "record" in view:
        expected["record"] = to_json(verified.value)
    if "validity" in view:
        expected["validity"] = "older" if older else "valid"
    for name, value in sorted(expected.items()):
        shown = view.get(name, _NOTHING)
        if shown is not value and (_NOTHING in (shown, value) or _text(shown) != _text(value)):
            facts = {"path": name, "expected": repr(value)[:200], "actual": repr(shown)[:200]}
            raise ProofError("an answer shows what is not in the record", step="members", **facts)


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def _text(value: Any) -> bytes:
    """JSON of a value, by which 1, 1.0 and true are three things."""
    return msgspec.json.encode(value, order="deterministic")
