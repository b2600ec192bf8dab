"""The columns by which a record is found, and whom it names: made from its bytes, so that they can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.formats import check_datetime, parse_datetime
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AtdataError, IdentifierError
from atdata.records import (
    Blob,
    BlobStorage,
    Entry,
    Label,
    LensRecord,
    LensVerification,
    Malformed,
    Record,
    Schema,
    Version,
    parse_record,
)
from atdata.records.nsids import today

Validity: TypeAlias = Literal["valid", "older", "invalid"]
"""The form of a record: of today, of an older era, or none of its collection."""

KINDS: dict[str, type[Record]] = {str(kind.NSID): kind for kind in (Entry, Schema, Label, LensRecord, LensVerification)}

_EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)


class RecordLink(Struct, frozen=True):
    """A record or blob that a record names.

    Attributes:
        relation: what it is to the other: `schema`, `metadataSchema`, `predecessor`, `dataset`, `sourceSchema`,
            `targetSchema`, `lens`, `blob`.
        target: the address that is named, or the CID of the blob.
        cid: the version that is named, where one is; as it was written.
    """

    relation: str
    target: str
    cid: str | None = None


class RecordColumns(Struct, frozen=True):
    """The columns of a record. `created` is in microseconds since 1970; `name` and the rest are `None` where unread."""

    kind: str
    record: Record | Malformed
    validity: Validity
    reason: str | None
    created: int | None
    name: str | None
    version: str | None
    sort_key: bytes | None
    content: Cid | None
    target: AtUri | None
    links: tuple[RecordLink, ...]


def columns_of(did: Did, key: str, cid: Cid, block: bytes | None) -> RecordColumns:
    """The columns of a record at a key of an account's tree. Nothing in it makes this fail."""
    kind = today(key.partition("/")[0])
    record = parse_record(KINDS[kind], did, key, cid, block)
    if not isinstance(record, Malformed):
        try:
            keys, links = record.index_keys, tuple(dict.fromkeys(links_of(record)))
        except AtdataError as reason:  # what it says can be read, and does not hold together
            record = Malformed(str(record.uri), reason, dict(record))
        else:
            validity: Validity = "older" if record.older_forms else "valid"
            found = (keys.name, keys.version, Version.parse(keys.version).key, keys.content, keys.target)
            return RecordColumns(kind, record, validity, None, _moment(record.created_at), *found, links)
    said = record.value if isinstance(record.value, dict) else {}
    version = said.get("version") if isinstance(said.get("version"), str) else None
    created, sort_key = _moment(said.get("createdAt")), Version.parse(version).key
    return RecordColumns(
        kind, record, "invalid", str(record.reason.what), created, record.name, version, sort_key, None, None, ()
    )


def links_of(record: Record) -> Iterator[RecordLink]:
    """The records and blobs that a record names, each once."""
    if isinstance(record, Entry):
        yield RecordLink("schema", record.schema_ref)
        if record.metadata_schema_ref is not None:
            yield RecordLink("metadataSchema", record.metadata_schema_ref)
        for blob in blobs_of(record):
            yield RecordLink("blob", str(blob.cid))
        if record.predecessor is not None and record.predecessor.uri is not None:
            yield RecordLink("predecessor", record.predecessor.uri)
    elif isinstance(record, Label):
        yield RecordLink("dataset", record.dataset_uri)
    elif isinstance(record, LensRecord):
        yield RecordLink("sourceSchema", record.source_schema)
        yield RecordLink("targetSchema", record.target_schema)
    elif isinstance(record, LensVerification):
        yield RecordLink("lens", record.lens, record.lens_commit)


def blobs_of(entry: Entry) -> list[Blob]:
    """The blobs that an entry names: shards, and the parts of manifests."""
    stored = entry.storage.listed if isinstance(entry.storage, BlobStorage) else ()
    parts = [blob for item in entry.manifests for blob in (item.header, item.samples)]
    return list({blob.cid: blob for blob in (*stored, *parts) if blob is not None}.values())


def _moment(text: Any) -> int | None:
    """Microseconds since 1970 of what should be a datetime; of the year 0, which Python does not have, the year 1's."""
    if not isinstance(text, str):
        return None
    with suppress(IdentifierError):
        return int(parse_datetime(text).timestamp() * 1_000_000)
    with suppress(IdentifierError):
        check_datetime(text)
        return _EARLIEST if text.startswith("0000") else None
    return None
