"""Views: a record as it is shown, its members beside what is known of it."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from atdata.appview.xrpc.identities import HandleBook
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import to_json
from atdata.atproto.syntax import Did, Handle
from atdata.errors import DataModelError
from atdata.records import Malformed
from atdata.records.record import datetime_text
from atdata.replica import Reading, StoredRecord
from atdata.trust import KeptLabel, labels_of

View: TypeAlias = dict[str, Any]

MAX_NODES = 100_000
"""Bytes of the nodes of a tree that prove a record of several; one with more comes without, and is asked for alone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = ("$type", "proof", "proofRev", "handle", "reason", "labels")


def moment_text(microseconds: int) -> str:
    """A moment as an AT Protocol datetime."""
    return datetime_text(_EPOCH + timedelta(microseconds=microseconds))


def today_form(record: StoredRecord) -> Any:
    """A record that can be read in today's form, as JSON: itself, where it has that."""
    parsed = record.parse()
    if isinstance(parsed, Malformed):
        raise AssertionError("nobody asks for the form of what cannot be read")
    return to_json(record.value if record.validity == "valid" else parsed.to_record())


class RecordViews:
    """Views of one state of a replica.

    Args:
        reading: the state.
        book: who accounts are.
        proving: whether each view has what proves it.
    """

    def __init__(self, reading: Reading, book: HandleBook, proving: bool) -> None:
        self._reading, self._book, self._proving = reading, book, proving
        self._handles: dict[Did, Handle | None] = {}

    def one(self, record: StoredRecord, **more: Any) -> View:
        """The view of a record, and what more there is to say."""
        return {**self.all([record])[0], **more}

    def all(self, records: Iterable[StoredRecord]) -> list[View]:
        """The views of records, in their order."""
        records = list(records)
        proofs, labels = self._proofs(records, MAX_NODES if len(records) > 1 else None), self._labels(records)
        return [
            {**self._view(record), "labels": labels[record.number], **proofs.get(record.number, {})}
            for record in records
        ]

    def proof(self, record: StoredRecord) -> View:
        """The members that prove a record, if they are asked for."""
        return self._proofs([record]).get(record.number, {})

    def handle(self, did: Did) -> Handle | None:
        """The handle of an account, if it was proven."""
        if did not in self._handles:
            identity = self._book.of_account(self._reading, did)
            self._handles[did] = None if identity is None else identity.handle
        return self._handles[did]

    def _view(self, record: StoredRecord) -> View:
        members: View = {}
        if record.validity != "invalid":
            members = {name: value for name, value in today_form(record).items() if name not in _OWN}
        handle, value = self.handle(record.did), record_json(record.value)
        return {
            **members,
            "uri": str(record.uri),
            "cid": str(record.cid),
            "did": str(record.did),
            **({} if handle is None else {"handle": str(handle)}),
            "rev": str(record.rev),
            "indexedAt": moment_text(record.first_seen),
            "validity": record.validity,
            **({"reason": record.reason or ""} if record.validity == "invalid" else {}),
            "verified": True,  # nothing else is kept (`atdata.replica`)
            "verifiedAt": moment_text(record.verified_at),
            **({} if value is None else {"record": value}),
        }

    def _labels(self, records: list[StoredRecord]) -> dict[int, list[View]]:
        """The labels of records, and of their accounts, by the records' numbers."""
        subjects: dict[str, Cid | None] = {str(record.did): None for record in records}
        subjects |= {f"at://{record.did}/{record.key}": record.cid for record in records}
        found = labels_of(self._reading.sql, subjects, datetime.now(UTC))
        return {
            record.number: [
                _label_view(label)
                for subject in (f"at://{record.did}/{record.key}", str(record.did))
                for label in found.get(subject, ())
            ]
            for record in records
        }

    def _proofs(self, records: Iterable[StoredRecord], most: int | None = None) -> dict[int, View]:
        """The members that prove records, by the records' numbers."""
        if not self._proving:
            return {}
        by_account: dict[Did, list[StoredRecord]] = defaultdict(list)
        for record in records:
            by_account[record.did].append(record)
        found = {}
        for did, theirs in by_account.items():
            account = self._reading.account(did)
            head, cars = account.head(), account.proofs([record.key for record in theirs], most)
            assert head is not None
            for record in theirs:
                if record.key in cars:
                    car = base64.b64encode(cars[record.key]).decode()
                    found[record.number] = {"proof": car, "proofRev": str(head.rev)}
        return found


def _label_view(kept: KeptLabel) -> View:
    shown = {"verifiedAt": moment_text(kept.verified_at), "concerns": kept.concern, "disputed": kept.disputed}
    return {**kept.to_json(), **shown}


def record_json(value: Any) -> Any:
    """A record as JSON, whole; `None` where it is no map, or nothing that JSON can hold."""
    try:
        found = to_json(value)
    except DataModelError:
        return None
    return found if isinstance(found, dict) and found.get("$type") != "blob" else None
