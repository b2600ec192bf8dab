"""The page of a record that has none of its own kind: labels, verifications, and what cannot be read."""

from __future__ import annotations

import json

from atdata.appview.web.pages import PlainRecordPage
from atdata.appview.web.parts import NamedThing
from atdata.appview.web.source import KINDS, PageSource, provenance_of
from atdata.appview.xrpc.views import record_json
from atdata.records import Entry, Label, LensRecord, LensVerification, Malformed, Record
from atdata.replica import StoredRecord

_TEXT = 20_000


def record_page(source: PageSource, stored: StoredRecord, record: Record | Malformed) -> PlainRecordPage:
    """The page of a record as it was written."""
    value = record_json(stored.value)
    text = "" if value is None else json.dumps(value, indent=1, ensure_ascii=False)
    return PlainRecordPage(
        kind=KINDS[stored.kind] if not isinstance(record, Malformed) else f"{KINDS[stored.kind]} that cannot be read",
        uri=str(stored.uri),
        account=source.account(stored.did),
        named=_named(source, record),
        facts=tuple(_facts(record)),
        text=text[:_TEXT] + ("…" if len(text) > _TEXT else ""),
        provenance=provenance_of(stored),
        labels=source.labels_on(stored),
    )


def _named(source: PageSource, record: Record | Malformed) -> NamedThing | None:
    match record:
        case Label():
            return source.named(str(record.dataset_uri), source.record(str(record.dataset_uri), Entry))
        case LensVerification():
            return source.named(str(record.lens), source.record(str(record.lens), LensRecord))
    return None


def _facts(record: Record | Malformed) -> list[tuple[str, str]]:
    match record:
        case Label():
            said = {"name": record.name, "version": record.version, "about it": record.description}
            said["retracted"] = None if record.retraction is None else record.retraction.reason or "without a reason"
        case LensVerification():
            said = {"method": record.method, "of the version": record.lens_commit, "about it": record.description}
            said["says"] = record.verdict or ("holds" if record.holds else "something that cannot be read")
        case _:
            said = {}
    return [(name, text) for name, text in said.items() if text]
