"""The page of a dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from atdata.appview.web.citing import citation_of, linked_data_of
from atdata.appview.web.pages import DatasetPage
from atdata.appview.web.parts import NamedThing, SchemaChange, ShardPlaces, ShardRow, VersionList
from atdata.appview.web.schemas import change_between, table_of
from atdata.appview.web.source import PageSource, provenance_of
from atdata.appview.web.things import lenses_at, versions_of
from atdata.atproto.syntax import AtUri
from atdata.errors import AtdataError
from atdata.records import BlobStorage, Entry, ExternalStorage, HttpStorage, Label, S3Storage, Schema
from atdata.records.entry import SPLITS
from atdata.records.nsids import LABEL
from atdata.replica import StoredRecord
from atdata.replica.pages import links_to

SHARDS, _LABELS, _NAMES, _SUCCESSORS = 20, 30, 3, 6
_METADATA = 4000
_WORD = re.compile(r"[A-Za-z0-9._-]{1,200}")
_STORED = {
    BlobStorage: "as blobs in the publisher's repository",
    HttpStorage: "on web servers",
    S3Storage: "in a bucket",
    ExternalStorage: "at addresses of which nothing else is said",
}


def dataset_page(source: PageSource, stored: StoredRecord, entry: Entry) -> DatasetPage:
    """The page of a dataset of the network."""
    uri, account = str(stored.uri), source.account(stored.did)
    own, others = _labels(source, stored)
    versions = tuple(versions_of(source, stored.did, LABEL, name, uri) for name in own)
    label = _newest(versions)
    schema = source.record(str(entry.schema_ref), Schema)
    page = DatasetPage(
        name=entry.name,
        uri=uri,
        account=account,
        label="" if label is None else "@".join(filter(None, label)),
        description=entry.description or "",
        license=entry.license,
        tags=entry.tags,
        created=entry.created_at[:10],
        samples=entry.size.samples,
        bytes=entry.size.bytes,
        metadata=_said(entry.metadata),
        schema=source.named(str(entry.schema_ref), schema),
        fields=table_of(schema),
        versions=versions,
        change=_change(source, versions, uri, schema),
        storage=storage_of(entry, stored.did),
        lenses_from=lenses_at(source, str(entry.schema_ref), "sourceSchema"),
        lenses_to=lenses_at(source, str(entry.schema_ref), "targetSchema"),
        predecessor=_predecessor(source, entry),
        successors=_successors(source, stored),
        named_by=others,
        load=loading(account.handle or account.did, label, uri, _split(entry)),
        provenance=provenance_of(stored),
        labels=source.labels_on(stored),
    )
    cited = citation_of(page, str(stored.cid), None if label is None else label[1])
    return replace(page, citation=cited, linked_data=linked_data_of(page, str(stored.cid)))


def storage_of(entry: Entry, did: str | None) -> ShardPlaces:
    """The places of the shards of an entry."""
    storage = entry.storage
    kind = _STORED.get(type(storage), "in a way that is not known here")
    place = " ".join(filter(None, [getattr(storage, "bucket", None), storage.endpoint, storage.region]))
    try:
        shards = storage.shards(did)
    except AtdataError as error:
        return ShardPlaces(kind, place, manifests=len(entry.manifests), problem=error.what)
    rows = tuple(ShardRow(shard.url, str(shard.digest or ""), shard.size) for shard in shards[:SHARDS])
    known = sum(shard.digest is not None for shard in shards)
    return ShardPlaces(kind, place, rows, len(shards), known, len(entry.manifests))


def loading(account: str, label: tuple[str, str | None] | None, uri: str, split: str | None) -> tuple[str, ...]:
    """Python that loads a dataset: by its name where it has one that can be written so, else by its address."""
    named = label is not None and all(_WORD.fullmatch(part) for part in label if part)
    reference = f"@{account}/" + "@".join(filter(None, label)) if named and label else uri
    chosen = "" if split is None else f", split={json.dumps(split)}"
    first = [f'dataset = atdata.load_dataset("{reference}"{chosen})']
    last = ["for batch in dataset.shuffled(batch_size=32): ..."] if split is not None else ["print(dataset)"]
    return ("import atdata", *first, *last)


def _labels(source: PageSource, stored: StoredRecord) -> tuple[list[str], tuple[NamedThing, ...]]:
    """The names that a dataset's publisher gave it, and those that others did."""
    uri, others = AtUri(stored.uri), []
    # The publisher's own are looked for by themselves: others may give any number of names, and must not hide them.
    parsed = [found.parse() for found in source.reading.account(stored.did).targeting(LABEL, uri, _LABELS)]
    own = dict.fromkeys(label.name for label in parsed if isinstance(label, Label) and not label.is_retracted)
    for link in links_to(source.reading.sql, uri, ("dataset",), _LABELS).links:
        label = link.record.parse()
        if link.record.did != stored.did and isinstance(label, Label) and not label.is_retracted:
            others.append(source.named(str(link.record.uri), label, label.version or ""))
    return [*own][:_NAMES], tuple(others)


def _newest(versions: tuple[VersionList, ...]) -> tuple[str, str | None] | None:
    """The name and version under which a dataset is found, where there is one."""
    for of_name in versions:
        for row in of_name.rows:
            if row.current:
                return of_name.name, row.version or None
    return None


def _change(
    source: PageSource, versions: tuple[VersionList, ...], uri: str, schema: Schema | None
) -> SchemaChange | None:
    for of_name in versions:
        before = of_name.before(uri)
        if before is not None:
            since = NamedThing(before.uri, f"version {before.version}".strip())
            entry = source.record(before.uri, Entry)
            if entry is None:
                return SchemaChange(since, problem="The version before is not known here.")
            return change_between(since, source.record(str(entry.schema_ref), Schema), schema)
    return None


def _predecessor(source: PageSource, entry: Entry) -> NamedThing | None:
    if entry.predecessor is None or entry.predecessor.uri is None:
        return None
    uri = str(entry.predecessor.uri)
    return source.named(uri, source.record(uri, Entry))


def _successors(source: PageSource, stored: StoredRecord) -> tuple[NamedThing, ...]:
    links = links_to(source.reading.sql, AtUri(stored.uri), ("predecessor",), _SUCCESSORS).links
    parsed = [(str(link.record.uri), link.record.parse()) for link in links]
    return tuple(source.named(uri, record) for uri, record in parsed if isinstance(record, Entry))


def _split(entry: Entry) -> str | None:
    """The name of the first split, where it is a word."""
    try:
        name = next(iter(entry.splits), None)
    except AtdataError:
        return None
    return name if name is not None and _WORD.fullmatch(name) else None


def _said(metadata: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in metadata.items() if name != SPLITS}
    try:
        return json.dumps(rest, indent=1, ensure_ascii=False, default=repr)[:_METADATA] if rest else ""
    except (ValueError, TypeError, RecursionError):
        return "It has metadata that cannot be shown."
