"""Schemas on pages: fields as rows, differences between versions."""

from __future__ import annotations

from collections.abc import Sequence

from atdata.appview.web.pages import SchemaPage
from atdata.appview.web.parts import FieldChange, FieldRow, NamedThing, SchemaChange, SchemaTable
from atdata.appview.web.source import PageSource, provenance_of
from atdata.appview.web.things import lenses_at, things_with, versions_of
from atdata.errors import AtdataError
from atdata.records import Schema
from atdata.records.nsids import SCHEMA
from atdata.replica import StoredRecord
from atdata.samples import Array, Field, Maybe
from atdata.schema import Compatibility, compare
from atdata.search.facets import FacetKind

MOST_FIELDS, _CHANGES = 200, 50

_READERS = {
    Compatibility.IDENTICAL: "No field differs.",
    Compatibility.FULL: "Readers of either version read the samples of both.",
    Compatibility.BACKWARD: "Readers of this version read older samples; older readers do not read these.",
    Compatibility.FORWARD: "Older readers read these samples; readers of this version do not read older ones.",
    Compatibility.NONE: "Readers of one version do not read the samples of the other.",
}


def schema_table(fields: Sequence[Field]) -> SchemaTable:
    """The fields of a sample type: `schema_table(fields_of(sample_type))`."""
    return SchemaTable(tuple(map(_row, fields[:MOST_FIELDS])), max(0, len(fields) - MOST_FIELDS))


def table_of(schema: Schema | None) -> SchemaTable:
    """The fields of a schema record."""
    if schema is None:
        return SchemaTable(problem="The record of this schema is not known here.")
    try:
        return schema_table(schema.sample_schema.fields)
    except AtdataError as error:
        return SchemaTable(problem=f"Its fields cannot be shown: {error.what}.")


def change_between(since: NamedThing, before: Schema | None, after: Schema | None) -> SchemaChange:
    """The difference between the schemas of two versions."""
    if before is None or after is None:
        return SchemaChange(since, problem="One of the two schemas is not known here.")
    if before.uri == after.uri:
        return SchemaChange(since, same=True)
    try:
        found = compare(before.sample_schema, after.sample_schema)
    except AtdataError as error:
        return SchemaChange(since, problem=f"The two cannot be compared: {error.what}.")
    changed = [field for field in found.fields if field.before != field.after]
    rows = [
        FieldChange(
            field.name,
            "added" if field.before is None else "removed" if field.after is None else "changed",
            "" if field.before is None else field.before.shown,
            "" if field.after is None else field.after.shown,
            field.reason,
        )
        for field in changed[:_CHANGES]
    ]
    return SchemaChange(since, False, _READERS[found.compatibility], tuple(rows), max(0, len(changed) - _CHANGES))


def schema_page(source: PageSource, stored: StoredRecord, schema: Schema) -> SchemaPage:
    """The page of a schema."""
    uri, account = str(stored.uri), source.account(stored.did)
    versions = versions_of(source, stored.did, SCHEMA, schema.name, uri)
    before = versions.before(uri)
    change = None
    if before is not None:
        change = change_between(
            NamedThing(before.uri, f"version {before.version}"), source.record(before.uri, Schema), schema
        )
    return SchemaPage(
        name=schema.name,
        version=schema.version,
        uri=uri,
        account=account,
        description=schema.description or "",
        compatibility=schema.compatibility if isinstance(schema.compatibility, str) else "",
        fields=table_of(schema),
        versions=(versions,) if len(versions.rows) > 1 else (),
        change=change,
        datasets=things_with(source, FacetKind.schema, uri, "dataset"),
        lenses_from=lenses_at(source, uri, "sourceSchema"),
        lenses_to=lenses_at(source, uri, "targetSchema"),
        load=(
            "from atdata.atmosphere import AtmosphereClient, SchemaLoader",
            f'Sample = SchemaLoader(AtmosphereClient()).decode("{uri}")',
        ),
        provenance=provenance_of(stored),
        labels=source.labels_on(stored),
    )


def _row(field: Field) -> FieldRow:
    kind = field.type
    optional = isinstance(kind, Maybe)
    inner = kind.inner if isinstance(kind, Maybe) else kind
    shape = ""
    if isinstance(inner, Array) and inner.shape is not None:
        shape = str(inner.shape)
        inner = Array(inner.scalar)
    return FieldRow(field.name, str(inner), shape, field.unit or "", field.doc or "", optional)
