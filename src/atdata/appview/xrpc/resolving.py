"""Names, and what they stand for: labels, schemas, blobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atdata.appview.xrpc.asking import AskedQuery, parsed
from atdata.appview.xrpc.failures import QueryFailure
from atdata.appview.xrpc.views import today_form
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import BlobUri
from atdata.errors import IdentifierError, LexiconError, LimitError
from atdata.index import NamedRecords
from atdata.records import Label, Record
from atdata.records.nsids import ENTRY, LABEL, SCHEMA, collections
from atdata.replica import StoredRecord
from atdata.replica.pages import keyed

_MOST = 8_000_000  # bytes of the records under one name, among which one is chosen


def resolve_label(asked: AskedQuery) -> dict[str, Any]:
    """The entry that a label stands for."""
    name, version = asked.params["name"], asked.params.get("version")
    did = asked.account(asked.params["handle"], "LabelNotFound")
    with _readable():
        stored = _chosen(asked.reading.account(did).named(LABEL, name, _MOST), version, "LabelNotFound")
    label = stored.parse()
    assert isinstance(label, Label)
    entry = asked.find(label.dataset_uri, ENTRY)
    if entry is None:
        raise QueryFailure.absent("TargetNotFound", f"the label stands for {label.dataset_uri}, which is not there")
    shown = {"uri": str(entry.uri), "cid": str(entry.cid), "label": today_form(stored)}
    return {**shown, "labelUri": str(stored.uri), "labelCid": str(stored.cid), **asked.views.proof(stored)}


def resolve_schema(asked: AskedQuery) -> dict[str, Any]:
    """The schema of an identifier: its name, or what its record key has before a colon."""
    name, version = asked.params["schemaId"], asked.params.get("version")
    did = asked.account(asked.params["handle"], "SchemaNotFound")
    with _readable():
        records = asked.reading.account(did).named(SCHEMA, name, _MOST)
        records = records or keyed(asked.reading.sql, did, [f"{old}/{name}" for old in collections(SCHEMA)], _MOST)
    schema = _chosen(records, version, "SchemaNotFound")
    shown = {"uri": str(schema.uri), "cid": str(schema.cid), "record": today_form(schema)}
    return {**shown, **asked.views.proof(schema)}


def resolve_blobs(asked: AskedQuery) -> dict[str, Any]:
    """The addresses at which blobs can be fetched."""
    return {"blobs": [_blob(asked, uri) for uri in asked.params["uris"]]}


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except LimitError as error:
        raise QueryFailure(
            "RecordInvalid", f"the records of this name have more than {_MOST} bytes together"
        ) from error


def _chosen(records: list[StoredRecord], version: str | None, missing: str) -> StoredRecord:
    """The record that a name stands for, by the rule of every index."""
    named: NamedRecords[Record] = NamedRecords(*parsed(records))
    try:
        found = named.newest() if version is None else named.of_version(version)
        withdrawn = found is None and version is None and named.last() is not None
    except LexiconError as error:
        raise QueryFailure("RecordInvalid", error.what) from error
    if found is not None and found.is_retracted:
        found, withdrawn = None, True
    if found is None:
        why = "it was retracted by its publisher" if withdrawn else "there is no such name or version"
        raise QueryFailure.absent(missing, why)
    return next(record for record in records if str(record.uri) == found.uri)


def _blob(asked: AskedQuery, text: str) -> dict[str, str]:
    try:
        uri = BlobUri(text)
        did = asked.account(uri.did)
    except IdentifierError:
        return {"uri": text, "error": "InvalidRequest"}
    except QueryFailure as failure:
        return {"uri": text, "error": failure.name}
    identity = asked.book.of_account(asked.reading, did)
    if not asked.reading.account(did).names_blob(Cid.parse(uri.cid)):
        return {"uri": text, "error": "BlobNotFound"}
    if identity is None or identity.server is None:
        return {"uri": text, "error": "ServerUnknown"}
    url = f"{identity.server}/xrpc/com.atproto.sync.getBlob?did={did}&cid={uri.cid}"
    return {"uri": text, "cid": str(uri.cid), "url": url}
