"""One state of the service, as pages ask it: records, who accounts are, what things are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from atdata.appview.web.parts import LabelRow, NamedThing, Provenance, Publisher, ThingRow
from atdata.appview.xrpc.identities import HandleBook, ProvenIdentity
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import IdentifierError
from atdata.records import Entry, LensRecord, Malformed, Record, Schema
from atdata.records.nsids import ENTRY, LABEL, LENS, LENS_VERIFICATION, SCHEMA
from atdata.replica import Reading, StoredRecord
from atdata.trust import Concern, VerificationJudge, VerifierList, labels_of, verifiers_at

R = TypeVar("R", bound=Record)

KINDS = {
    str(ENTRY): "dataset",
    str(SCHEMA): "schema",
    str(LENS): "lens",
    str(LABEL): "label",
    str(LENS_VERIFICATION): "verification",
}
"""The collections, each with a word for what is in it."""
_SNIPPET, _LABELS = 300, 20
_ABOUT = {
    Concern.ALL: "all versions of it",
    Concern.THIS: "this version of it",
    Concern.SAME_CONTENT: "another version of it, of the same content",
    Concern.OTHER: "another version of it",
    Concern.UNKNOWN: "a version of it that is not known here",
}


def moment_words(microseconds: int) -> str:
    """A moment, to the second."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True)
class PageSource:
    """The facts that pages are made of.

    Attributes:
        reading: one state of the replica.
        book: who accounts are.
    """

    reading: Reading
    book: HandleBook
    _accounts: dict[str, ProvenIdentity | None] = field(default_factory=dict)

    @cached_property
    def verifiers(self) -> VerifierList:
        """The verifiers whose word the service takes."""
        return verifiers_at(self.reading.sql)

    @cached_property
    def judge(self) -> VerificationJudge:
        """Weighs verifications."""
        return VerificationJudge(self.reading)

    def identity(self, did: str) -> ProvenIdentity | None:
        """The identity of an account, if it was proven."""
        if did not in self._accounts:
            self._accounts[did] = self.book.of_account(self.reading, Did(did))
        return self._accounts[did]

    def account(self, did: str) -> Publisher:
        """An account."""
        identity = self.identity(did)
        return Publisher(str(did), None if identity is None or identity.handle is None else str(identity.handle))

    def account_named(self, text: str) -> Publisher | None:
        """The account of a DID that somebody wrote; `None` where the text is none."""
        try:
            return self.account(Did(text))
        except IdentifierError:
            return None

    def stored(self, uri: str) -> StoredRecord | None:
        """The record at an address, if it is shown."""
        try:
            found = AtUri(uri)
            if found.collection is None or found.rkey is None or not isinstance(found.authority, Did):
                return None
        except IdentifierError:
            return None
        return self.reading.get(found)

    def record(self, uri: str, kind: type[R]) -> R | None:
        """The record at an address, if it is shown and of a kind."""
        stored = self.stored(uri)
        parsed = None if stored is None else stored.parse()
        return parsed if isinstance(parsed, kind) else None

    def named(self, uri: str, record: Record | None = None, note: str = "") -> NamedThing:
        """A thing as others speak of it."""
        try:
            authority = AtUri(uri).authority
        except IdentifierError:
            return NamedThing(uri, note=note)
        account = self.account(authority) if isinstance(authority, Did) else None
        if record is None:
            return NamedThing(uri, None, account, note or "not known here")
        note = note or (record.version if isinstance(record, Schema) else "")
        return NamedThing(uri, str(getattr(record, "name", "")) or None, account, note)

    def schema_named(self, uri: str) -> NamedThing:
        """A schema as others speak of it."""
        return self.named(uri, self.record(uri, Schema))

    def labels_on(self, stored: StoredRecord) -> tuple[LabelRow, ...]:
        """The labels of labelers on a record and its account, those that apply."""
        subjects = {str(stored.uri): stored.cid, str(stored.did): None}
        found = labels_of(self.reading.sql, subjects, datetime.now(UTC))
        return tuple(
            LabelRow(
                kept.label.val,
                self.account(kept.label.src),
                _ABOUT[kept.concern] if subject == str(stored.uri) else "its account",
                kept.label.cts.strftime("%Y-%m-%d"),
                kept.disputed,
            )
            for subject in subjects
            for kept in found.get(subject, ())
            if kept.applies
        )[:_LABELS]

    def row(self, stored: StoredRecord) -> ThingRow | None:
        """A record in a list; `None` where it is none that stands in lists."""
        record, account, uri = stored.parse(), self.account(stored.did), str(stored.uri)
        if isinstance(record, Malformed):
            return None
        said = ThingRow(KINDS[stored.kind], uri, str(getattr(record, "name", "")), account, date=record.created_at[:10])
        description = (getattr(record, "description", None) or "")[:_SNIPPET]
        match record:
            case Entry():
                return ThingRow(
                    said.kind,
                    uri,
                    record.name,
                    account,
                    description,
                    record.license,
                    record.size.samples,
                    record.size.bytes,
                    "",
                    said.date,
                    record.tags[:8],
                )
            case Schema():
                return ThingRow(said.kind, uri, record.name, account, description, note=record.version, date=said.date)
            case LensRecord():
                return ThingRow(said.kind, uri, record.name, account, description, date=said.date)
        return None


def provenance_of(stored: StoredRecord) -> Provenance:
    """The way by which a record came here."""
    return Provenance(
        str(stored.uri),
        str(stored.cid),
        str(stored.rev),
        moment_words(stored.verified_at),
        moment_words(stored.first_seen),
        stored.validity,
        stored.reason or "",
    )
