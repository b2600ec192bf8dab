"""What may be public: each planting in each field is refused, by name and without its value; harmless texts pass."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import random
import traceback
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import UsageError
from atdata.records import (
    Blob,
    BlobStorage,
    CodeReference,
    Entry,
    ExternalStorage,
    HttpStorage,
    Label,
    LensRecord,
    LensVerification,
    Record,
    S3Storage,
    Schema,
    ShardManifest,
    Trial,
)
from atdata.records.public import check_public
from atdata.records.public.hosts import Reach, reach
from atdata.settings import Settings
from atdata.shards import Digest, ShardRef
from support import plantings

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SCHEMA, ENTRY = (AtUri(f"at://{DID}/science.alt.dataset.{key}") for key in ("schema/Row:1.0.0", "entry/3jzfcijpj2z2a"))
DIGEST, BLOB = Digest.sha256(b"shard"), Blob(Cid.of_raw(b"shard"), size=5)
CONTENT = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}


def entry(**facts: Any) -> Entry:
    return Entry(**{"name": "rows", "schema_ref": SCHEMA, "storage": BlobStorage((BLOB,)), **facts})


def label(**facts: Any) -> Label:
    return Label(**{"name": "rows", "dataset_uri": ENTRY, **facts})


def schema(**facts: Any) -> Schema:
    return Schema(**{"name": "Row", "version": "1.0.0", "content": CONTENT, **facts})


def code(**facts: Any) -> CodeReference:
    return CodeReference(**{"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f", **facts})


def lens(**facts: Any) -> LensRecord:
    codes = {"getter_code": code(), "putter_code": code()}
    return LensRecord(**{"name": "l", "source_schema": SCHEMA, "target_schema": SCHEMA, **codes, **facts})


def verification(**facts: Any) -> LensVerification:
    lens = AtUri(f"at://{DID}/science.alt.dataset.lens/3jzfcijpj2z2a")
    said = {"lens": lens, "lens_commit": str(Cid.of_cbor(b"\xa0")), "method": "automatedTest", "verdict": "fails"}
    return LensVerification(**{**said, **facts})


def http(url: str) -> Entry:
    return entry(storage=HttpStorage((ShardRef("https://example.com/a.tar", DIGEST), ShardRef(url, DIGEST))))


def s3(**facts: Any) -> Entry:
    return entry(storage=S3Storage(**{"bucket": "b", "listed": (ShardRef("s3://b/a.tar", DIGEST),), **facts}))


MANIFEST = Blob(Cid.of_raw(b"{}"), "application/json", 2)
# Every field that is free text: its path, and a record with a text in it.
TEXTS: dict[str, Callable[[str], Record]] = {
    "name": lambda text: entry(name=text),
    "description": lambda text: entry(description=text),
    "tags[1]": lambda text: entry(tags=("a", text)),
    "license": lambda text: entry(license=text),
    "metadata.note": lambda text: entry(metadata={"note": text}),
    "metadata.list[1].deep[0].note": lambda text: entry(metadata={"list": [1, {"deep": [{"note": text}]}]}),
    "metadata.(name 1)": lambda text: entry(metadata={"a": 1, text: 2}),
    "metadata.packed": lambda text: entry(metadata={"packed": text.encode()}),
    "metadata.packed.note": lambda text: entry(metadata={"packed": msgspec.msgpack.encode({"note": text})}),
    "metadata.json": lambda text: entry(metadata={"json": json.dumps({"a": [text]})}),
    "metadata.wide": lambda text: entry(metadata={"wide": f"a longer text: {text} and so on".encode("utf-16-le")}),
    "metadata.noise": lambda text: entry(
        metadata={"noise": b"\xff\x00\x01" + b"text here: " + text.encode() + b" end\xfe"}
    ),
    "metadata.base64": lambda text: entry(metadata={"base64": b64encode(f"a text: {text}".encode()).decode()}),
    "metadata.hex": lambda text: entry(metadata={"hex": f"a text: {text}".encode().hex()}),
    "fromTheFuture.note": lambda text: entry(extra={"fromTheFuture": {"note": text}}),
    "fromTheFuture.bytes": lambda text: entry(extra={"fromTheFuture": {"bytes": text.encode()}}),
    "manifests[0].note": lambda text: entry(manifests=(ShardManifest(MANIFEST, extra={"note": text}),)),
    "storage.region": lambda text: s3(region=text),
    "storage.shards[0].key": lambda text: s3(listed=(ShardRef(f"s3://b/{text}", DIGEST),)),
    "label: name": lambda text: label(name=text),
    "label: version": lambda text: label(version=text),
    "label: description": lambda text: label(description=text),
    "lens: name": lambda text: lens(name=text),
    "lens: description": lambda text: lens(description=text),
    "lens: language": lambda text: lens(language=text),
    "lens: metadata.note": lambda text: lens(metadata={"note": text}),
    "getterCode.path": lambda text: lens(getter_code=code(path=text)),
    "putterCode.branch": lambda text: lens(putter_code=code(branch=text)),
    "verification: description": lambda text: verification(description=text),
    "proofRef.path": lambda text: verification(proof_ref=code(path=text)),
    "trial.space": lambda text: verification(trial=Trial(1, "1", text, "x")),
    "counterexample.sample.note": lambda text: verification(counterexample={"sample": {"note": text}}),
    "schema: name": lambda text: schema(name=text),
    "schema: version": lambda text: schema(version=text),
    "schema: description": lambda text: schema(description=text),
    "schema: metadata.note": lambda text: schema(metadata={"note": text}),
    "schema.content.properties.x.description": lambda text: schema(
        content={**CONTENT, "properties": {"x": {"type": "string", "description": text}}}
    ),
    "schema.content.properties.(name 0)": lambda text: schema(content={"properties": {text: {"type": "string"}}}),
    "schema: arrayFormatVersions": lambda text: schema(array_formats={"ndarrayBytes": text}),
}
# Every field that is an address.
ADDRESSES: dict[str, Callable[[str], Record]] = {
    "storage.shards[1].url": http,
    "storage.urls[1]": lambda url: entry(storage=ExternalStorage(("https://example.com/a.tar", url))),
    "storage.endpoint": lambda url: s3(endpoint=url),
    "getterCode.repository": lambda url: lens(getter_code=code(repository=url)),
    "proofRef.repository": lambda url: verification(proof_ref=code(repository=url)),
    "putterCode.repository": lambda url: lens(putter_code=code(repository=url)),
}
PATH_IS_ELSEWHERE = {"schema: arrayFormatVersions": "schema.arrayFormatVersions.ndarrayBytes"}


def refusal(record: Record, **allowed: Any) -> UsageError | None:
    try:
        check_public(record, Settings(**allowed))
    except UsageError as error:
        return error
    return None


def shown(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), repr(error.args), *traceback.format_exception(error)])


def share(texts: list[str], path: str) -> list[str]:
    """All texts for the field that is searched the plainest; a quarter of them, another one each time, for the others."""
    number = list(TEXTS).index(path)
    return texts if path == "description" else texts[number % 4 :: 4]


@pytest.mark.parametrize("path", TEXTS)
def test_what_is_planted_in_a_text_is_refused(path: str) -> None:
    checked = 0
    for text in share(plantings.in_texts(), path):
        error = refusal(TEXTS[path](text))
        assert error is not None, text
        assert PATH_IS_ELSEWHERE.get(path, path.rpartition(": ")[2]) in str(error.path), (text, error.path)
        assert error.actual == "(not shown)"
        assert error.hint
        assert text not in shown(error)
        assert plantings.PASSWORD not in shown(error)
        checked += 1
    assert checked > 90


@pytest.mark.parametrize("path", ADDRESSES)
def test_what_is_planted_in_an_address_is_refused(path: str) -> None:
    for url in plantings.in_addresses():
        if path == "storage.endpoint" and not url:
            continue  # a bucket without an endpoint
        error = refusal(ADDRESSES[path](url))
        assert error is not None, url
        assert error.path == path, url
        assert not url.strip() or url not in shown(error)


def test_the_table_is_as_long_as_promised() -> None:
    in_texts = sum(len(share(plantings.in_texts(), path)) for path in TEXTS)
    assert in_texts + len(plantings.in_addresses()) * len(ADDRESSES) > 4_000
    assert len(set(plantings.HARMLESS)) >= 200


@pytest.mark.parametrize("path", TEXTS)
def test_harmless_texts_pass(path: str) -> None:
    harmless = share(plantings.HARMLESS, path)
    if path == "storage.shards[0].key":  # a key is what a URL ends in
        harmless = [text for text in harmless if "://" not in text and not text.startswith("/")]
    refused = [(text, str(error)) for text in harmless if (error := refusal(TEXTS[path](text)))]
    assert refused == []


HARMLESS_ADDRESSES = [
    "https://example.com/a.tar",
    "https://example.com:8443/a/b%20c.tar",
    "HTTPS://Example.COM/a.tar",
    "https://example.com./a.tar",
    "https://8.8.8.8/a.tar",
    "https://[2606:4700::1111]/a.tar",
    "https://b.s3.eu-west-1.amazonaws.com/a/b-{000..009}.tar",
    "https://xn--bcher-kva.example.com/a.tar",
    "https://ec2-54-85-1-2.compute-1.amazonaws.com/a.tar",
]


@pytest.mark.parametrize("url", HARMLESS_ADDRESSES)
@pytest.mark.parametrize("path", ADDRESSES)
def test_addresses_that_strangers_reach_pass(path: str, url: str) -> None:
    check_public(ADDRESSES[path](url))


def test_each_field_takes_its_own_schemes() -> None:
    for url in ("s3://bucket/a-{000..009}.tar", "gs://bucket/a.tar"):
        check_public(entry(storage=ExternalStorage((url,))))
        assert refusal(http(url))
        assert refusal(lens(getter_code=code(repository=url)))
    check_public(lens(getter_code=code(repository=str(ENTRY))))
    assert refusal(lens(getter_code=code(repository="at://atdata.local/science.alt.dataset.entry/3jzfcijpj2z2a")))
    assert refusal(lens(getter_code=code(repository="at://not a did/x")))
    assert refusal(http(str(ENTRY)))
    assert refusal(s3(bucket="10.0.0.5", listed=(ShardRef("s3://10.0.0.5/a", DIGEST),)))


@pytest.mark.parametrize("host", plantings.LOOPBACK_HOSTS)
def test_this_machine_is_named_by_who_allows_it(host: str) -> None:
    for scheme, path in itertools.product(("http", "https"), ADDRESSES):
        record = ADDRESSES[path](f"{scheme}://{host}:9000/a.tar")
        assert refusal(record)
        check_public(record, Settings(allow_loopback=True))
    text = entry(description=f"See http://{host}:9000/a.tar for more.")
    assert refusal(text)
    check_public(text, Settings(allow_loopback=True))


@pytest.mark.parametrize("host", [*plantings.PRIVATE_HOSTS, *plantings.ODD_LOOPBACK])
def test_nothing_makes_a_private_host_public(host: str) -> None:
    if reach(host) is not Reach.LOOPBACK:
        assert refusal(http(f"https://{host}/a.tar"), allow_loopback=True)


def test_a_parameter_is_allowed_by_name_and_secrets_never() -> None:
    url = "https://example.com/a.tar?download=true"
    for record in (http(url), entry(description=f"at {url}")):
        assert refusal(record)
        check_public(record, Settings(public_query=("download",)))
    assert refusal(http(f"{url}&other=1"), public_query=("download",))
    assert refusal(http("https://example.com/a.tar?download=ghp_" + "a1B2" * 9), public_query=("download",))
    signed = "https://example.com/a.tar?X-Amz-Signature=abc"
    assert refusal(http(signed), public_query=("X-Amz-Signature",)), "presigned: never, whoever allows it"


def test_a_password_is_found_by_the_name_it_has() -> None:
    for name in ("password", "db_password", "API-Key", "secretKey", "access_token"):
        for record in (entry(metadata={name: "correct horse"}), schema(metadata={"login": {name: "correct horse"}})):
            error = refusal(record)
            assert error is not None
            assert str(error.path).endswith(name)
            assert "correct horse" not in shown(error)
    check_public(schema(content={"properties": {"password": {"type": "string"}, "token": {"type": "integer"}}}))
    check_public(entry(metadata={"password": None, "secret": "", "api_key": "<your key>", "token": "the"}))


def test_what_cannot_be_searched_is_refused() -> None:
    deep: Any = "x"
    for _ in range(60):
        deep = [deep]
    assert refusal(entry(extra={"deep": deep}))
    packed: bytes = msgspec.msgpack.encode({"note": "https://bob:pw@example.com"})
    for _ in range(20):
        packed = msgspec.msgpack.encode({"in": packed})
    assert refusal(entry(metadata={"packed": packed}))
    assert refusal(entry(metadata={"json": "[" * 5000 + "]" * 5000}))
    assert refusal(entry(metadata={"packed": b"\x91" * 5000 + b"\x01"}))
    assert refusal(entry(extra={"odd": object()}))
    again = plantings.SECRETS[0]
    for _ in range(12):
        again = again.replace("%", "%25") if "%" in again else "".join(f"%{ord(char):02x}" for char in again)
    assert refusal(entry(description=again))
    alphabets = (b64encode, urlsafe_b64encode)
    for encode in alphabets:
        twice = encode(encode(b"a key follows: " + plantings.SECRETS[0].encode())).decode()
        assert refusal(entry(description=f"data {twice} data"))
    assert refusal(
        entry(metadata={"ext": msgspec.msgpack.encode(msgspec.msgpack.Ext(5, plantings.SECRETS[1].encode()))})
    )


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_what_is_compressed_is_searched_or_refused(pack: Any) -> None:
    for secret in (*plantings.SECRETS[:6], plantings.PATHS[6], f"https://bob:{plantings.PASSWORD}@db.example.com/"):
        packed = pack(f"a text: {secret}\n".encode() * 3)
        for value in (packed, packed[:-1], b64encode(packed).decode(), msgspec.msgpack.encode({"in": pack(packed)})):
            assert refusal(entry(metadata={"packed": value}))
    check_public(entry(metadata={"packed": pack(b"a harmless text, over and over\n" * 500)}))
    error = refusal(entry(metadata={"packed": pack(b" " * (1 << 20) + plantings.SECRETS[0].encode())}))
    assert "too large" in str(error)


@given(st.binary(max_size=2000), st.sampled_from(plantings.SECRETS))
def test_a_secret_is_found_in_any_noise(noise: bytes, secret: str) -> None:
    half = len(noise) // 2
    content = noise[:half] + b"\n a text: " + secret.encode() + b"\n" + noise[half:]
    assert refusal(entry(metadata={"blob": content}))


def test_noise_alone_is_no_secret() -> None:
    chance = random.Random(7)
    refused = sum(refusal(entry(metadata={"thumbnail": chance.randbytes(8_000)})) is not None for _ in range(60))
    text = sum(refusal(entry(description=b64encode(chance.randbytes(1_000)).decode())) is not None for _ in range(60))
    hexes = sum(refusal(entry(description=chance.randbytes(32).hex())) is not None for _ in range(60))
    assert (refused, text, hexes) == (0, 0, 0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", Reach.PUBLIC),
        ("EXAMPLE.com.", Reach.PUBLIC),
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("localhost", Reach.LOOPBACK),
        ("[::1]", Reach.LOOPBACK),
        ("127.9.9.9", Reach.LOOPBACK),
        ("[8.8.8.8]", Reach.PRIVATE),
        ("", Reach.PRIVATE),
        (".", Reach.PRIVATE),
        ("com", Reach.PRIVATE),
        ("a" * 64 + ".com", Reach.PRIVATE),
        ("[2606:4700::1111%eth0]", Reach.PRIVATE),
    ],
)
def test_who_reaches_a_host(host: str, expected: Reach) -> None:
    assert reach(host) is expected
