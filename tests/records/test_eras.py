"""Three answers: a record is valid today, valid in a form of an older era and said to be, or invalid."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.errors import AtdataError, DigestError, LexiconError, SchemaError
from atdata.records import Entry, Label, LensRecord, Record, Schema, check_outgoing

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
NEW, OLD = "science.alt.dataset", "ac.foundation.dataset"
NDARRAY = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
AT = "2026-02-01T10:00:00.123456+00:00"
CONTENT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"image": {"$ref": NDARRAY}, "label": {"type": "string"}, "score": {"type": "number"}},
    "required": ["image", "label"],
}
FORMATS = {"arrayFormatVersions": {"ndarrayBytes": "1.0.0"}}
FORMAT = f"{NEW}.schema#jsonSchemaFormat"
SCHEMA = {
    "$type": f"{NEW}.schema",
    "name": "ImageSample",
    "version": "1.0.0",
    "schemaType": "jsonSchema",
    "createdAt": AT,
    "atdataSchemaVersion": 1,
}
FLAT = {**SCHEMA, "schema": {"$type": FORMAT, **CONTENT, **FORMATS}}
NESTED = {**SCHEMA, "schema": {"$type": FORMAT, "schemaBody": CONTENT, **FORMATS}}
FIELDS = {
    "$type": f"{OLD}.sampleSchema",
    "name": "ImageSample",
    "version": "1.0.0",
    "fields": [
        {"name": "image", "fieldType": {"$type": f"{OLD}.sampleSchema#ndarray"}, "optional": False},
        {"name": "label", "fieldType": {"$type": f"{OLD}.sampleSchema#primitive", "primitive": "str"}},
        {
            "name": "score",
            "fieldType": {"$type": f"{OLD}.sampleSchema#primitive", "primitive": "float"},
            "optional": True,
        },
    ],
}
TODAY_SCHEMA = {**SCHEMA, "schema": {"$type": FORMAT, "draft": "draft-07", "content": CONTENT, **FORMATS}}
BLOB = {"$type": "blob", "ref": Cid.of_raw(b"shard"), "mimeType": "application/x-tar", "size": 5}
ENTRY = {
    "$type": f"{NEW}.entry",
    "name": "images",
    "schemaRef": f"at://{DID}/{NEW}.schema/3jzfcijpj2z2a",
    "createdAt": AT,
}
HTTP = {
    "$type": f"{NEW}.storageHttp",
    "shards": [{"url": "https://data.example/a.tar", "checksum": {"algorithm": "none", "digest": ""}}],
}
BARE = {"$type": f"{NEW}.storageBlobs", "blobs": [BLOB]}
LABEL = {
    "$type": f"{OLD}.label",
    "name": "images",
    "datasetUri": f"at://{DID}/{OLD}.record/3jzfcijpj2z2a",
    "createdAt": AT,
}
CODE = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
LENS = {
    "$type": f"{OLD}.lens",
    "name": "l",
    "sourceSchema": f"at://{DID}/{OLD}.sampleSchema/3jzfcijpj2z2a",
    "targetSchema": f"at://{DID}/{OLD}.sampleSchema/3jzfcijpj2z2b",
    "getterCode": CODE,
    "putterCode": CODE,
    "createdAt": AT,
}
OLDER: list[tuple[type[Record], dict[str, Any], str]] = [
    (Schema, FLAT, "no envelope"),
    (Schema, NESTED, "schemaBody"),
    (Schema, {**SCHEMA, "schemaBody": CONTENT}, "schemaBody"),
    (
        Schema,
        {
            **FLAT,
            "$type": f"{OLD}.sampleSchema",
            "schema": {**CONTENT, "$type": f"{OLD}.sampleSchema#jsonSchemaFormat"},
        },
        f"{OLD}.sampleSchema",
    ),
    (Schema, FIELDS, "list of fields"),
    (Entry, {**ENTRY, "storage": HTTP, "metadata": {"split": "train", "custom": {"n": 1}}}, "an object"),
    (Entry, {**ENTRY, "storage": BARE}, "bare blobs"),
    (Entry, {**ENTRY, "$type": f"{OLD}.record", "storage": HTTP}, f"{OLD}.record"),
    (
        Entry,
        {
            **ENTRY,
            "$type": f"{OLD}.record",
            "storage": {"$type": f"{OLD}.storageExternal", "urls": ["s3://b/{0..1}.tar"]},
        },
        "called as it once was",
    ),
    (Label, LABEL, f"{OLD}.label"),
    (LensRecord, LENS, f"{OLD}.lens"),
]


@pytest.mark.parametrize(("kind", "value", "said"), OLDER, ids=lambda value: value if isinstance(value, str) else "")
def test_a_form_of_an_older_era_is_read_and_said_to_be_one(
    kind: type[Record], value: dict[str, Any], said: str
) -> None:
    record = kind.from_record(value)
    assert any(said in form for form in record.older_forms)
    again = kind.from_record(record.to_record())  # the one model is today's form
    assert (again.older_forms, dict(again)) == ((), dict(record))
    if isinstance(record, Schema):
        types = {field.name: str(field.type) for field in record.sample_schema.fields}
        assert types == {"image": "NDArray", "label": "str", "score": "float | None"}


def test_a_placeholder_is_read_and_never_written() -> None:
    record = Entry.from_record({**ENTRY, "storage": HTTP})
    assert record["storage"] == HTTP
    assert record.shards[0].digest is None
    with pytest.raises(DigestError):
        check_outgoing(record)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Schema, TODAY_SCHEMA), (Entry, {**ENTRY, "storage": HTTP}), (Label, {**LABEL, "$type": f"{NEW}.label"})],
)
def test_what_is_valid_today_is_not_said_to_be_older(kind: type[Record], value: dict[str, Any]) -> None:
    assert kind.from_record(value).older_forms == ()


def test_a_schema_says_the_same_in_every_form() -> None:
    read = [Schema.from_record(value) for value in (TODAY_SCHEMA, FLAT, NESTED)]
    assert len({schema.identity for schema in read}) == 1
    assert [schema.array_formats for schema in read] == [{"ndarrayBytes": "1.0.0"}] * 3


def test_metadata_are_bytes_or_an_object_and_say_the_same() -> None:
    said = {"sourceUri": "https://x.example", "custom": {"n": 1, "raw": b"\x00", "list": [None, True]}}
    packed = Entry.from_record({**ENTRY, "storage": HTTP, "metadata": msgspec.msgpack.encode(said)})
    plain = Entry.from_record({**ENTRY, "storage": HTTP, "metadata": said})
    assert packed.metadata == plain.metadata == said


HOSTILE: list[tuple[type[Record], dict[str, Any]]] = [
    (Schema, {**FLAT, "schema": [CONTENT]}),
    (Schema, {**FLAT, "schema": {**FLAT["schema"], "properties": [1]}}),
    (Schema, {**FLAT, "schema": {**FLAT["schema"], "draft": "draft-07"}}),
    (Schema, {**FLAT, "schema": {**FLAT["schema"], "draft": "draft-04", "content": CONTENT}}),
    (Schema, {**FLAT, "schema": {**FLAT["schema"], "arrayFormatVersions": 5}}),
    (Schema, {name: item for name, item in FLAT.items() if name != "schemaType"}),
    (Schema, {name: item for name, item in FLAT.items() if name != "createdAt"}),
    (Schema, {**FLAT, "name": 5}),
    (Schema, {**FLAT, "version": None}),
    (Schema, {**FLAT, "name": "x" * 101}),
    (Schema, {**NESTED, "schema": {"$type": FORMAT, "schemaBody": "{}"}}),
    (Schema, {**SCHEMA, "schemaBody": 5}),
    (Schema, {**FIELDS, "$type": f"{NEW}.schema"}),
    (Schema, {**FIELDS, "fields": [{"name": 5}]}),
    (Schema, {**FIELDS, "fields": [{"name": "x", "fieldType": {"$type": "#primitive", "primitive": "os.system"}}]}),
    (Entry, {**ENTRY, "storage": {**BARE, "blobs": [BLOB, {"blob": BLOB}]}}),
    (Entry, {**ENTRY, "storage": {**BARE, "blobs": [{**BLOB, "size": 60 << 20}]}}),
    (Entry, {**ENTRY, "storage": {**BARE, "blobs": [{**BLOB, "mimeType": "text/html"}]}}),
    (Entry, {**ENTRY, "storage": {**BARE, "blobs": []}}),
    (Entry, {**ENTRY, "storage": {"$type": f"{NEW}.storageBlobs", "blobs": [{"cid": str(Cid.of_raw(b"x"))}]}}),
    (Entry, {**ENTRY, "storage": {"$type": f"{NEW}.storageExternal", "urls": [5]}}),
    (Entry, {**ENTRY, "storage": {"$type": f"{NEW}.storageExternal", "urls": "s3://b/a.tar"}}),
    (Entry, {**ENTRY, "storage": {"$type": f"{OLD}.storageS3", "bucket": 5, "shards": [{"key": "a"}]}}),
    (Entry, {**ENTRY, "storage": HTTP, "metadata": {"link": Cid.of_raw(b"x")}}),
    (Entry, {**ENTRY, "storage": HTTP, "metadata": {"x": "y" * 100_000}}),
    (Entry, {**ENTRY, "storage": HTTP, "metadata": [1]}),
    (Entry, {**ENTRY, "$type": f"{OLD}.record", "storage": HTTP, "tags": 5}),
    (Entry, {**ENTRY, "$type": f"{OLD}.record", "storage": HTTP, "createdAt": "yesterday"}),
    (Label, {**LABEL, "datasetUri": 5}),
    (Label, {**LABEL, "version": 5}),
    (LensRecord, {**LENS, "getterCode": {"repository": "https://example.com/r"}}),
    (LensRecord, {**LENS, "metadata": "x"}),
]


@pytest.mark.parametrize(("kind", "value"), HOSTILE)
def test_what_is_no_form_of_any_era_is_an_error(kind: type[Record], value: dict[str, Any]) -> None:
    with pytest.raises(LexiconError):
        kind.from_record(value)


def test_a_format_is_told_by_its_whole_id() -> None:
    for ref in (NDARRAY + "/x", NDARRAY.replace("alt.science", "alt.science.evil.example"), "ndarray", NDARRAY[8:]):
        content = {**CONTENT, "properties": {"image": {"$ref": ref}}}
        schema = Schema.from_record({**FLAT, "schema": {"$type": FORMAT, **content}})
        with pytest.raises(SchemaError, match="ref is unknown"):
            _ = schema.sample_type
    kept = Entry.from_record({**ENTRY, "storage": {"$type": "evil.example.storageHttp", "shards": [{"url": 5}]}})
    with pytest.raises(LexiconError, match="does not know"):
        _ = kept.data_urls


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(OLDER), st.data())
def test_one_member_of_any_other_value_is_read_or_an_error_of_ours(
    older: tuple[type[Record], dict[str, Any], str], data: st.DataObject
) -> None:
    kind, value, _ = older
    name = data.draw(st.sampled_from([name for name in value if name != "$type"]))
    inner = value[name]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        changed = {**inner, data.draw(st.sampled_from(list(inner))): data.draw(anything)}
    else:
        changed = data.draw(anything)
    with suppress(AtdataError):
        record = kind.from_record({**value, name: changed})
        dict(record), record.index_keys
        if isinstance(record, Schema):
            _ = record.sample_schema
