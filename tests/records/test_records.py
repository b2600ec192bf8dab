"""Records: the lexicons, the eras, what makes two of them the same, and which is newest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import (
    DataModelError,
    DigestError,
    LexiconError,
    LimitError,
    NotFoundError,
    SampleError,
    SchemaError,
    UsageError,
)
from atdata.records import (
    Blob,
    BlobStorage,
    CodeReference,
    Entry,
    ExternalStorage,
    HttpStorage,
    Label,
    LensRecord,
    Predecessor,
    Retraction,
    S3Storage,
    Schema,
    ShardManifest,
    Size,
    Version,
    check_outgoing,
    lexicons,
    newest,
)
from atdata.records.public import check_public
from atdata.records.storage import read_storage, storage_of
from atdata.settings import Settings
from atdata.shards import Digest, ShardRef
from atdata.shards.s3 import S3Source
from support.oracles import LEXICONS, needs_lexicons

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SCHEMA_URI = AtUri(f"at://{DID}/science.alt.dataset.schema/Row:1.0.0")
ENTRY_URI = AtUri(f"at://{DID}/science.alt.dataset.entry/3jzfcijpj2z2a")
BLOB = Blob(Cid.of_raw(b"shard"), size=5)
DIGEST = Digest.sha256(b"shard")
OWN = Path(atdata.__file__).parent / "records" / "lexicons"


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


def entry(**facts: Any) -> Entry:
    return Entry(**{"name": "rows", "schema_ref": SCHEMA_URI, "storage": BlobStorage((BLOB,)), **facts})


CODE = CodeReference("https://example.com/r", "0" * 40, "a.py:f", language="python")
MANIFEST = ShardManifest(
    Blob(Cid.of_raw(b"{}"), "application/json", 2), Blob(Cid.of_raw(b"PAR1"), "application/octet-stream", 4)
)
RECORDS = [
    entry(manifests=(MANIFEST,)),
    entry(manifests=(ShardManifest(MANIFEST.header, extra={"fromTheFuture": [1]}),)),
    Schema.of(Row, version="1.2.3", description="a row", metadata={"license": "MIT", "tags": ["a"], "source": "x"}),
    entry(
        metadata={"scale": 0.5, "list": [1, None, b"x"]},
        tags=("a", "b"),
        license="MIT",
        size=Size(1, 2, 3),
        description="d",
    ),
    entry(storage=HttpStorage((ShardRef("https://example.com/a.tar", DIGEST),))),
    entry(
        storage=S3Storage("bucket", (ShardRef("s3://bucket/a/b.tar", DIGEST),), "eu-west-1", "https://s3.example.com")
    ),
    entry(storage=ExternalStorage(("s3://bucket/a-{000..009}.tar",))),
    Label(name="rows", dataset_uri=ENTRY_URI, version="1.0.0", description="first"),
    Label(name="rows", dataset_uri=ENTRY_URI),
    Label(name="rows", dataset_uri=ENTRY_URI, version="1.0.0", retraction=Retraction("wrong labels")),
    entry(predecessor=Predecessor(Cid.of_cbor(b"\xa0"), ENTRY_URI)),
    entry(predecessor=Predecessor(Cid.of_cbor(b"\xa0"))),
    LensRecord(
        name="l",
        source_schema=SCHEMA_URI,
        target_schema=SCHEMA_URI,
        getter_code=CODE,
        putter_code=CODE,
        description="d",
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_survive_the_wire(record: Any) -> None:
    value = check_outgoing(record)
    back = type(record).from_record(cbor.decode(cbor.encode(value)))
    assert back == record
    assert dict(back) == value
    assert back["$type"] == str(record.NSID)
    placed = back.at(ENTRY_URI, Cid.of_cbor(b"\xa0"))
    assert (placed.uri, str(placed.cid)) == (ENTRY_URI, str(Cid.of_cbor(b"\xa0")))
    assert dict(placed) == dict(back)
    with pytest.raises(NotFoundError):
        _ = record.located


def test_manifests_change_nothing_about_which_dataset_it_is() -> None:
    schema = Cid.of_cbor(b"\xa0")
    assert entry(manifests=(MANIFEST,)).identity(schema) == entry().identity(schema)
    placed = entry(manifests=(MANIFEST,)).at(ENTRY_URI, schema)
    ((header, rows),) = placed.pinned
    assert (header.url, header.size) == (f"at://{DID}/blob/{MANIFEST.header.cid}", 2)
    assert rows.digest == Digest.sha256(b"PAR1")


def test_a_predecessor_changes_nothing_about_which_dataset_it_is() -> None:
    after = entry(predecessor=Predecessor(Cid.of_cbor(b"\xa0"), ENTRY_URI))
    assert after.index_keys == entry().index_keys
    assert after.identity(Cid.of_cbor(b"\xa0")) == entry().identity(Cid.of_cbor(b"\xa0"))


@pytest.mark.parametrize("said", [5, {}, {"identity": "no CID"}, {"identity": str(Cid.of_cbor(b"\xa0")), "uri": "x"}])
def test_a_predecessor_that_cannot_be_read_is_kept_as_it_came(said: Any) -> None:
    back = Entry.from_record({**entry().to_record(), "predecessor": said})
    assert back.predecessor is None
    assert back["predecessor"] == said


@pytest.mark.parametrize("said", [5, {}, {"reason": 5}, "because"])
def test_whatever_stands_for_a_retraction_is_one(said: Any) -> None:
    back = Label.from_record({**Label(name="rows", dataset_uri=ENTRY_URI).to_record(), "retraction": said})
    assert back.retraction is not None
    assert back.index_keys.target is None


def test_rows_may_be_called_parquet_by_those_who_read_them_only() -> None:
    rows = Blob(Cid.of_raw(b"PAR1"), "application/vnd.apache.parquet", 4)
    named = entry(manifests=(ShardManifest(MANIFEST.header, rows),))
    assert Entry.from_record(named.to_record()).manifests == named.manifests
    with pytest.raises(LexiconError, match="not accepted"):
        check_outgoing(named)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_what_is_not_known_is_kept(record: Any) -> None:
    value = {**record.to_record(), "fromTheFuture": {"a": [1, b"x"]}}
    back = type(record).from_record(value)
    assert back["fromTheFuture"] == {"a": [1, b"x"]}
    assert check_outgoing(back) == value


@needs_lexicons
def test_our_lexicons_are_the_public_ones() -> None:
    """The same ids, fields, types and limits; only the prose is ours."""

    def bare(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                name: bare(item) for name, item in node.items() if name != "description" or not isinstance(item, str)
            }
        return [bare(item) for item in node] if isinstance(node, list) else node

    def read(folder: Path) -> dict[str, Any]:
        return {path.name: json.loads(path.read_text()) for path in folder.rglob("*.json")}

    public, ours = read(LEXICONS / "science"), read(OWN)
    assert ours.keys() == public.keys()
    for name in public:
        assert bare(ours[name]) == bare(public[name]), name
        assert json.dumps(ours[name]).count('"description"') == json.dumps(public[name]).count('"description"')
    assert len(lexicons()) == len(public)


INVALID = [
    (entry(name="x" * 201), "name"),
    (entry(tags=("t",) * 31), "tags"),
    (entry(license="x" * 201), "license"),
    (entry(storage=ExternalStorage(())), "storage"),
    (entry(storage=HttpStorage((ShardRef("no url", DIGEST),))), "storage"),
    (Label(name="x", dataset_uri=ENTRY_URI, version="v" * 51), "version"),
    (Label(name="x", dataset_uri=ENTRY_URI, created_at="yesterday"), "createdAt"),
]


@pytest.mark.parametrize(("record", "path"), INVALID, ids=lambda value: value if isinstance(value, str) else "")
def test_records_that_break_their_lexicon_are_not_sent(record: Any, path: str) -> None:
    with pytest.raises(LexiconError) as caught:
        check_outgoing(record)
    assert (caught.value.path or "").startswith(path)


def test_records_that_break_the_data_model_are_not_sent() -> None:
    with pytest.raises(DataModelError) as caught:
        check_outgoing(Schema.of(Row, version="1.0.0", metadata={"rate": 0.5}))
    assert caught.value.path == "metadata.rate"
    with pytest.raises(SampleError) as refused:
        entry(metadata={"x": {1, 2}}).to_record()
    assert refused.value.path == "metadata['x']"
    with pytest.raises(LimitError, match="metadata are too large"):
        entry(metadata={"x": "y" * 100_000}).to_record()


def test_a_schema_is_its_content() -> None:
    one = Schema.of(Row, version="1.0.0", description="a", metadata={"a": 1})
    other = Schema.of(Row, version="1.0.0", description="b")
    assert one.identity == other.identity
    assert one.rkey == other.rkey == "Row:1.0.0"
    assert one.identity != Schema.of(Row, version="1.0.1").identity
    assert one.identity != Schema.of(Row, version="1.0.0", name="Other").identity
    assert Schema.from_record(one.to_record()).identity == one.identity
    assert one.sample_type is other.sample_type


def test_an_entry_is_its_schema_and_its_shards() -> None:
    schema = Schema.of(Row, version="1.0.0").identity
    blobs, http = (
        entry(),
        entry(storage=HttpStorage((ShardRef("https://example.com/a.tar", DIGEST),)), description="moved"),
    )
    assert blobs.identity(schema) == http.identity(schema), "the same bytes elsewhere are the same dataset"
    assert blobs.identity(schema) != entry(storage=BlobStorage((BLOB, BLOB))).identity(schema)
    assert blobs.identity(schema) != blobs.identity(Schema.of(Row, version="2.0.0").identity)
    placed = blobs.at(ENTRY_URI, Cid.of_cbor(b"\xa0"))
    assert placed.data_urls == [f"at://{DID}/blob/{BLOB.cid}"]
    assert placed.shards[0].digest == DIGEST
    assert placed.splits == {"train": placed.shards}


# The eras (formats.md 3)

CONTENT = {"type": "object", "properties": {"x": {"type": "string"}, "n": {"type": "integer"}}, "required": ["n", "x"]}
HEAD = {"name": "Row", "version": "1.0.0", "schemaType": "jsonSchema", "createdAt": "2025-01-01T00:00:00.000Z"}
FORMAT = "science.alt.dataset.schema#jsonSchemaFormat"
ERAS: list[tuple[str, dict[str, Any]]] = [
    ("science.alt.dataset.schema", {**HEAD, "schema": {"$type": FORMAT, "draft": "draft-07", "content": CONTENT}}),
    (
        "ac.foundation.dataset.sampleSchema",
        {**HEAD, "schema": {"$type": "ac.foundation.dataset.sampleSchema#jsonSchemaFormat", **CONTENT}},
    ),
    ("ac.foundation.dataset.sampleSchema", {**HEAD, "schema": {"schemaBody": CONTENT}}),
    ("ac.foundation.dataset.sampleSchema", {**HEAD, "schemaBody": CONTENT}),
]


@pytest.mark.parametrize(("collection", "value"), ERAS, ids=lambda value: value if isinstance(value, str) else "")
def test_schemas_of_every_era(collection: str, value: dict[str, Any]) -> None:
    schema = Schema.from_record({"$type": collection, **value}, collection)
    assert {field.name: str(field.type) for field in schema.sample_schema.fields} == {"n": "int", "x": "str"}
    assert schema.sample_type(n=1, x="a").n == 1


def test_the_first_eras_field_list() -> None:
    kind = "ac.foundation.dataset.schemaType"
    value = {
        "$type": "ac.foundation.dataset.sampleSchema",
        "name": "Row",
        "version": "1.0.0",
        "fields": [
            {"name": "image", "fieldType": {"$type": f"{kind}#ndarray", "dtype": "uint8"}, "optional": False},
            {"name": "any", "fieldType": {"$type": f"{kind}#ndarray"}, "optional": False},
            {"name": "label", "fieldType": {"$type": f"{kind}#primitive", "primitive": "str"}, "optional": True},
            {
                "name": "tags",
                "fieldType": {"$type": f"{kind}#array", "items": {"$type": f"{kind}#primitive", "primitive": "int"}},
            },
            {"name": "raw", "fieldType": {"$type": f"{kind}#primitive", "primitive": "bytes"}},
        ],
    }
    schema = Schema.from_record(value)
    assert [(field.name, str(field.type)) for field in schema.sample_schema.fields] == [
        ("image", "NDArray[uint8]"),
        ("any", "NDArray"),
        ("label", "str | None"),
        ("tags", "list[int]"),
        ("raw", "bytes"),
    ]
    for field_type in ({"$type": f"{kind}#ref"}, {"$type": f"{kind}#primitive", "primitive": "os.system"}, "str", None):
        with pytest.raises(LexiconError):
            Schema.from_record({**value, "fields": [{"name": "x", "fieldType": field_type}]})


def test_the_earlier_readers_form_is_in_what_we_write() -> None:
    written = Schema.of(Row, version="1.0.0").to_record()["schema"]
    assert written["properties"] == written["content"]["properties"]
    assert written["required"] == written["content"]["required"] == ["x", "n"]
    forged = {**Schema.of(Row, version="1.0.0").to_record()}
    forged["schema"] = {**written, "properties": {"x": {"type": "string"}}}
    with pytest.raises(SchemaError, match="disagree"):
        Schema.from_record(forged)


def test_schemas_that_cannot_be_decoded_can_still_be_listed() -> None:
    later = {"properties": {"m": {"$ref": "https://json-schema.alt.science/atdata-voxels/1.0.0#/$defs/voxels"}}}
    schema = Schema.from_record(
        {
            **HEAD,
            "$type": "science.alt.dataset.schema",
            "schema": {"$type": FORMAT, "draft": "draft-07", "content": later},
        }
    )
    assert schema["name"] == "Row"
    with pytest.raises(SchemaError, match="ref is unknown"):
        _ = schema.sample_type
    other = Schema.from_record(
        {**HEAD, "$type": "science.alt.dataset.schema", "schemaType": "avro", "schema": {"$type": "x.y.z#avro"}}
    )
    with pytest.raises(SchemaError, match="unknown kind"):
        _ = other.sample_type
    assert dict(other)["schema"] == {"$type": "x.y.z#avro"}, "kept as it came"


ENTRY_HEAD = {
    "name": "rows",
    "schemaRef": f"at://{DID}/ac.foundation.dataset.sampleSchema/3jzf",
    "createdAt": "2025-01-01T00:00:00.000Z",
}
LEGACY = "ac.foundation.dataset.record"


def test_entries_of_every_era() -> None:
    external = {"$type": "ac.foundation.dataset.storageExternal", "urls": ["s3://b/a-{0..2}.tar"]}
    old = Entry.from_record({**ENTRY_HEAD, "$type": LEGACY, "storage": external, "metadata": {"a": 1}})
    assert old.metadata == {"a": 1}
    assert old.data_urls == ["s3://b/a-0.tar", "s3://b/a-1.tar", "s3://b/a-2.tar"]
    assert old["$type"] == "science.alt.dataset.entry", "one model: the mapping is today's form"
    packed = Entry.from_record(
        {**ENTRY_HEAD, "$type": LEGACY, "storage": external, "metadata": msgspec.msgpack.encode({"a": 0.5})}
    )
    assert packed.metadata == {"a": 0.5}
    bare = {
        "$type": "ac.foundation.dataset.storageBlobs",
        "blobs": [{"$type": "blob", "ref": BLOB.cid, "mimeType": "application/x-tar", "size": 5}],
    }
    entry = Entry.from_record({**ENTRY_HEAD, "$type": LEGACY, "storage": bare})
    assert isinstance(entry.storage, BlobStorage)
    assert entry.storage.listed[0].cid == BLOB.cid
    for metadata in (b"\xc1", b"\x01", "text", b"\x81\xa1a"):
        with pytest.raises(LexiconError) as caught:
            Entry.from_record({**ENTRY_HEAD, "$type": LEGACY, "storage": external, "metadata": metadata})
        assert caught.value.path == "metadata"


def test_storage_that_is_not_known_is_kept_and_named() -> None:
    value = {**entry().to_record(), "storage": {"$type": "com.example.storageTape", "reel": 7}}
    read = Entry.from_record(value)
    assert read["storage"] == {"$type": "com.example.storageTape", "reel": 7}
    with pytest.raises(LexiconError, match="does not know"):
        _ = read.data_urls


def test_a_placeholder_is_no_digest() -> None:
    for checksum in (
        {"algorithm": "none", "digest": ""},
        {"algorithm": "sha256", "digest": ""},
        {"algorithm": "md5", "digest": "0" * 32},
        None,
        {},
    ):
        storage = read_storage(
            {
                "$type": "science.alt.dataset.storageHttp",
                "shards": [{"url": "https://x.example/a", "checksum": checksum}],
            }
        )
        assert storage.shards(None)[0].digest is None
    with pytest.raises(DigestError):
        read_storage(
            {
                "$type": "science.alt.dataset.storageBlobs",
                "blobs": [{"blob": BLOB.to_record(), "checksum": {"algorithm": "sha256", "digest": "0" * 64}}],
            }
        )


def test_storage_says_the_most_it_can() -> None:
    http, bucket = "https://example.com/a.tar", "s3://bucket/a.tar"
    assert isinstance(storage_of([ShardRef(http, DIGEST)]), HttpStorage)
    assert isinstance(storage_of([ShardRef(http, DIGEST), ShardRef(http)]), ExternalStorage)
    s3 = storage_of([ShardRef(bucket, DIGEST)], S3Source((), endpoint_url="https://s3.example.com"))
    assert isinstance(s3, S3Storage)
    assert s3.to_record()["shards"] == [{"key": "a.tar", "checksum": DIGEST.checksum}]
    assert s3.public(s3.listed[0]).url == "https://s3.example.com/bucket/a.tar"
    assert isinstance(storage_of([ShardRef(bucket, DIGEST), ShardRef("s3://other/a.tar", DIGEST)]), ExternalStorage)


# Versions: the examples of semver.org, section 11

ORDERED = [
    None, "draft", "latest", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
    "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-0", "2.0.0", "10.0.0",
]  # fmt: skip


def test_versions_are_ordered() -> None:
    parsed = [Version.parse(text) for text in ORDERED]
    assert parsed == sorted(parsed)
    assert len(set(parsed)) == len(ORDERED)
    assert Version.parse("1.0.0+a") == Version.parse("1.0.0+b")


@given(st.permutations(ORDERED))
def test_the_newest_label_is_that_of_the_highest_version(versions: list[str | None]) -> None:
    labels = [Label(name="x", dataset_uri=ENTRY_URI, version=version) for version in versions]
    found = newest(labels)
    assert found is not None
    assert found.version == "10.0.0"


def test_the_newest_label_cannot_be_dated_ahead() -> None:
    def label(moment: datetime, key: str) -> Label:
        made = Label(name="x", dataset_uri=ENTRY_URI, created_at=moment.isoformat())
        return made.at(AtUri(f"at://{DID}/science.alt.dataset.label/{key}"), Cid.of_cbor(b"\xa0"))

    present = datetime.now(UTC)
    ahead, behind = (
        label(present + timedelta(days=900), "3aaaaaaaaaaaa"),
        label(present - timedelta(days=1), "3zzzzzzzzzzzz"),
    )
    also_ahead = label(present + timedelta(days=1), "3bbbbbbbbbbbb")
    assert newest([behind, ahead]) is ahead
    assert newest([also_ahead, ahead]) is also_ahead, "both count as now, so the later key decides"
    offset = Label(name="x", dataset_uri=ENTRY_URI, created_at="2026-01-01T01:00:00+02:00")
    zulu = Label(name="x", dataset_uri=ENTRY_URI, created_at="2026-01-01T00:30:00Z")
    assert newest([offset, zulu]) is zulu, "23:00 the day before is earlier, whatever the text looks like"
    assert newest([]) is None


def test_nothing_local_is_public_unless_this_machine_was_allowed() -> None:
    for url in ("http://localhost:9000/a.tar", "http://127.0.0.1/a.tar"):
        record = entry(storage=HttpStorage((ShardRef(url, DIGEST),)))
        with pytest.raises(UsageError) as caught:
            check_public(record)
        assert caught.value.path == "storage.shards[0].url"
        check_public(record, Settings(allow_loopback=True))
    with pytest.raises(UsageError):
        check_public(
            entry(storage=HttpStorage((ShardRef("https://10.0.0.1/a.tar", DIGEST),))), Settings(allow_loopback=True)
        )
    with pytest.raises(UsageError) as caught:
        check_public(entry(storage=S3Storage("b", (ShardRef("s3://b/a.tar", DIGEST),), endpoint="https://minio.local")))
    assert caught.value.path == "storage.endpoint"
