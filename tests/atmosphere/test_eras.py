"""Datasets published wholly in the forms of older eras, by other software, are loaded to equal arrays."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, DatasetLoader, LensLoader, SchemaLoader
from atdata.atproto.syntax import Tid
from atdata.errors import LexiconError, SchemaError, UnverifiedError
from atdata.testing import DevAccount
from atdata.testing.http import Answer, HttpServer, Request
from support.networks import Network, get, list_records, post
from support.terminal import Terminal

NEW, OLD = "science.alt.dataset", "ac.foundation.dataset"
AT = "2026-02-01T10:00:00.123456+00:00"
NDARRAY = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
CONTENT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"image": {"$ref": NDARRAY}, "label": {"type": "string"}, "score": {"type": "number"}},
    "required": ["image", "label"],
}
IMAGES = [np.arange(6, dtype="<f4").reshape(2, 3) * number for number in range(5)]
NONE = {"algorithm": "none", "digest": ""}


def compact(array: np.ndarray[Any, Any]) -> bytes:
    """An array as the earlier implementation wrote it."""
    dtype = array.dtype.str.encode()
    return bytes([len(dtype)]) + dtype + struct.pack(f"<B{array.ndim}q", array.ndim, *array.shape) + array.tobytes()


def shard() -> bytes:
    """A shard as it wrote them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, image in enumerate(IMAGES):
            packed = msgspec.msgpack.encode({"image": compact(image), "label": f"label {number}", "score": None})
            member = tarfile.TarInfo(f"{number:06d}.msgpack")
            member.size = len(packed)
            tar.addfile(member, io.BytesIO(packed))
    return out.getvalue()


SHARD = shard()
SHA = {"algorithm": "sha256", "digest": hashlib.sha256(SHARD).hexdigest()}


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def web() -> Iterator[HttpServer]:
    """Where the shard is, for HTTP and for S3."""

    def answer(request: Request) -> Answer:
        there = request.path in ("/data/a.tar", "/bucket/data/a.tar")
        return Answer(200, SHARD) if there else Answer(404)

    with HttpServer(answer) as server:
        yield server


class Publisher:
    """Software of an older era: it writes records as it sees fit, and the server keeps them."""

    def __init__(self, account: DevAccount) -> None:
        self.url, self.did = account.pds_url, account.did
        login = {"identifier": account.handle, "password": account.password}
        self.token = post(self.url, "com.atproto.server.createSession", login)["accessJwt"]

    def put(self, collection: str, record: dict[str, Any], rkey: str | None = None) -> str:
        """Write a record as JSON; its address."""
        body = {
            "repo": self.did,
            "collection": collection,
            "rkey": rkey or str(Tid.now()),
            "record": {"$type": collection, **record},
            "validate": False,
        }
        return str(post(self.url, "com.atproto.repo.putRecord", body, self.token)["uri"])

    def schema(self, body: dict[str, Any] | None = None, **members: Any) -> str:
        """A schema without an envelope."""
        flat = {"$type": f"{NEW}.schema#jsonSchemaFormat", **CONTENT, "arrayFormatVersions": {"ndarrayBytes": "1.0.0"}}
        record = {
            "name": "ImageSample",
            "version": "1.0.0",
            "schemaType": "jsonSchema",
            "schema": flat if body is None else body,
            "createdAt": AT,
            "atdataSchemaVersion": 1,
        }
        return self.put(f"{NEW}.schema", {**record, **members})

    def entry(self, schema: str, storage: dict[str, Any], **members: Any) -> str:
        """An entry, and a label of its name."""
        record = {"name": "images", "schemaRef": schema, "storage": storage, "createdAt": AT, "size": {"shards": 1}}
        uri = self.put(f"{NEW}.entry", {**record, **members})
        self.put(f"{NEW}.label", {"name": "images", "datasetUri": uri, "createdAt": AT, "version": "1.0.0"})
        return uri

    def blob(self, client: AtmosphereClient) -> dict[str, Any]:
        """The shard as a blob."""
        answer = client.account.upload(lambda: [SHARD], len(SHARD), "application/x-tar")
        blob: dict[str, Any] = answer["blob"]
        return blob


def same_arrays(dataset: Any) -> bool:
    read = list(dataset)
    pairs = zip(read, IMAGES, strict=True)
    alike = all(sample.image.dtype == image.dtype and np.array_equal(sample.image, image) for sample, image in pairs)
    return alike and [sample.label for sample in read] == [f"label {number}" for number in range(len(IMAGES))]


@pytest.mark.parametrize("stored", ["http", "http without digests", "s3", "blobs", "bare blobs", "external"])
def test_a_dataset_of_the_earlier_implementation(
    network: Network, alice: DevAccount, web: HttpServer, stored: str
) -> None:
    old, client = Publisher(alice), network.client(alice)
    url = f"{web.url}/data/a.tar"
    blob = old.blob(client) if "blobs" in stored else {}
    storage = {
        "http": {"$type": f"{NEW}.storageHttp", "shards": [{"url": url, "checksum": SHA}]},
        "http without digests": {"$type": f"{NEW}.storageHttp", "shards": [{"url": url, "checksum": NONE}]},
        "s3": {
            "$type": f"{NEW}.storageS3",
            "bucket": "bucket",
            "endpoint": web.url,
            "shards": [{"key": "data/a.tar", "checksum": SHA}],
        },
        "blobs": {"$type": f"{NEW}.storageBlobs", "blobs": [{"blob": blob, "checksum": SHA}]},
        "bare blobs": {"$type": f"{NEW}.storageBlobs", "blobs": [blob]},
        "external": {"$type": f"{NEW}.storageExternal", "urls": [f"{web.url}/data/{{a..a}}.tar"]},
    }[stored]
    metadata = {"createdBy": "the earlier implementation", "split": "train", "custom": {"n": 1}}
    uri = old.entry(old.schema(), storage, metadata=metadata)
    anyone = network.client()
    ref = f"@{alice.handle}/images@1.0.0"
    unverified = stored in ("http without digests", "external")
    if unverified:
        with pytest.raises(UnverifiedError):
            atdata.load_dataset(ref, split="train", client=anyone)
    dataset = atdata.load_dataset(ref, split="train", client=anyone, allow_unverified=unverified)
    assert same_arrays(dataset)
    entry = DatasetLoader(anyone).get(uri)
    assert entry.metadata == metadata
    assert any("metadata are an object" in form for form in entry.older_forms)
    assert any("bare blobs" in form for form in entry.older_forms) == (stored == "bare blobs")
    assert SchemaLoader(anyone).get(entry.schema_ref).older_forms == (
        "its schema has no envelope of draft and content",
    )
    # What is checked is what was published, and not what it was rewritten as.
    [served] = list_records(alice.pds_url, alice.did, f"{NEW}.entry")
    assert (str(entry.cid), entry.evidence is not None) == (served["cid"], True)
    assert entry.evidence is not None
    assert entry.evidence.verify().value["metadata"] == metadata


def test_a_dataset_in_the_collections_of_the_first_era(network: Network, alice: DevAccount, web: HttpServer) -> None:
    old, anyone = Publisher(alice), network.client()
    kind = f"{OLD}.sampleSchema"
    fields = [
        {"name": "image", "fieldType": {"$type": f"{kind}#ndarray", "dtype": "float32"}, "optional": False},
        {"name": "label", "fieldType": {"$type": f"{kind}#primitive", "primitive": "str"}, "optional": False},
    ]
    schema = old.put(kind, {"name": "ImageSample", "version": "1.0.0", "fields": fields, "createdAt": AT})
    external = {"$type": f"{OLD}.storageExternal", "urls": [f"{web.url}/data/a.tar"]}
    packed = {"$bytes": "gaFhAQ=="}  # padded, as some write it
    entry = {"name": "images", "schemaRef": schema, "storage": external, "metadata": packed, "createdAt": AT}
    uri = old.put(f"{OLD}.record", entry)
    old.put(f"{OLD}.label", {"name": "images", "datasetUri": uri, "createdAt": AT})
    code = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
    lens = {"name": "same", "sourceSchema": schema, "targetSchema": schema, "getterCode": code, "putterCode": code}
    lens_uri = old.put(f"{OLD}.lens", {**lens, "createdAt": AT})
    dataset = atdata.load_dataset(f"@{alice.handle}/images", split="train", client=anyone, allow_unverified=True)
    assert same_arrays(dataset)
    assert dataset.metadata == {"a": 1}
    [listed] = AtmosphereIndex(anyone).list_datasets(alice.did)
    assert listed.older_forms == (f"a record of {OLD}.record", "its storage is called as it once was")
    found = LensLoader(anyone).get(lens_uri)
    assert (found.name, found.older_forms) == ("same", (f"a record of {OLD}.lens",))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"$type": f"{NEW}.schema#jsonSchemaFormat", "draft": "draft-07", **CONTENT}, LexiconError),
        ({"$type": f"{NEW}.schema#jsonSchemaFormat", "properties": "none"}, LexiconError),
        ({"$type": f"{NEW}.schema#jsonSchemaFormat", "schemaBody": [1]}, LexiconError),
        ({"$type": "evil.example.schema#jsonSchemaFormat", **CONTENT}, SchemaError),
        (
            {
                "$type": f"{NEW}.schema#jsonSchemaFormat",
                **CONTENT,
                "properties": {"image": {"$ref": f"https://evil.example/{NDARRAY}"}},
            },
            SchemaError,
        ),
    ],
)
def test_a_schema_of_no_era_is_an_error_of_ours(
    network: Network, alice: DevAccount, web: HttpServer, body: dict[str, Any], error: type[Exception]
) -> None:
    old = Publisher(alice)
    storage = {"$type": f"{NEW}.storageHttp", "shards": [{"url": f"{web.url}/data/a.tar", "checksum": SHA}]}
    old.entry(old.schema(body), storage)
    with pytest.raises(error):
        atdata.load_dataset(f"@{alice.handle}/images", client=network.client())
    assert get(alice.pds_url, "com.atproto.repo.describeRepo", repo=alice.did)["did"] == alice.did


def test_show_says_what_is_of_an_older_era(
    network: Network,
    alice: DevAccount,
    web: HttpServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    old = Publisher(alice)
    storage = {"$type": f"{NEW}.storageHttp", "shards": [{"url": f"{web.url}/data/a.tar", "checksum": SHA}]}
    old.entry(old.schema(), storage)
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run("show", f"@{alice.handle}/images") == 0
    assert "of an older era: schema: its schema has no envelope of draft and content" in terminal.out
    assert "float32[2, 3]" in terminal.out
