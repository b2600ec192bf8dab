"""Every case of atproto-interop-tests, one test each: 820 in all, and none set aside."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata.atproto import cbor, formats
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record, from_json, to_json
from atdata.atproto.keys import PrivateKey, PublicKey, base58_decode
from atdata.atproto.lexicon import LexiconCatalog
from atdata.atproto.repo import diff, mst
from atdata.atproto.repo.node import common_prefix_length
from atdata.atproto.syntax import check_format
from atdata.errors import DataModelError, IdentifierError, LexiconError, SignatureError
from support.oracles import OWN_VECTORS, vector_lines

INTEROP = "atproto-interop"
TOTAL = 820
FORMAT_NAMES = {"atidentifier": "at-identifier", "aturi": "at-uri", "recordkey": "record-key"}
FORMATS = ("atidentifier", "aturi", "cid", "datetime", "did", "handle", "language", "nsid", "recordkey", "tid", "uri")

Case = tuple[str, Callable[[], None]]


def load(name: str) -> Any:
    path = OWN_VECTORS / INTEROP / name
    return json.loads(path.read_text("utf-8"))


def unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def syntax_cases() -> Iterator[Case]:
    for name in FORMATS:
        for verdict in ("valid", "invalid"):
            for text in vector_lines(f"{INTEROP}/syntax/{name}_syntax_{verdict}.txt"):
                yield (
                    f"{name} {verdict} {text[:60]}",
                    lambda n=name, t=text, v=verdict: check_syntax(n, t, v == "valid"),
                )
    for text in vector_lines(f"{INTEROP}/syntax/datetime_parse_invalid.txt"):
        yield f"datetime means nothing {text}", lambda t=text: check_meaningless_datetime(t)
    for text in vector_lines(f"{INTEROP}/syntax/language_parse_invalid.txt"):
        yield f"language means nothing {text}", lambda t=text: check_meaningless_language(t)


def check_syntax(name: str, text: str, valid: bool) -> None:
    format_name = FORMAT_NAMES.get(name, name)
    if valid:
        check_format(format_name, text)
        return
    with pytest.raises(IdentifierError) as caught:
        check_format(format_name, text)
    assert caught.value.hint


def check_meaningless_datetime(text: str) -> None:
    formats.check_datetime_syntax(text)
    with pytest.raises(IdentifierError):
        formats.check_datetime(text)
    with pytest.raises(IdentifierError):
        check_format("datetime", text)


def check_meaningless_language(text: str) -> None:
    check_format("language", text)
    with pytest.raises(IdentifierError):
        formats.check_language(text)


def crypto_cases() -> Iterator[Case]:
    for case in load("crypto/signature-fixtures.json"):
        yield case["comment"], lambda c=case: check_signature(c)
    for case in load("crypto/w3c_didkey_K256.json"):
        secret = bytes.fromhex(case["privateKeyBytesHex"])
        yield f"k256 {case['publicDidKey']}", lambda s=secret, c=case: check_private_key("k256", s, c["publicDidKey"])
    for case in load("crypto/w3c_didkey_P256.json"):
        secret = base58_decode(case["privateKeyBytesBase58"])
        yield f"p256 {case['publicDidKey']}", lambda s=secret, c=case: check_private_key("p256", s, c["publicDidKey"])


def check_signature(case: dict[str, Any]) -> None:
    key = PublicKey.from_did_key(case["publicKeyDid"])
    assert PublicKey.from_multibase(case["publicKeyMultibase"], case["didDocSuite"]) == key
    signature, message = unpadded(case["signatureBase64"]), unpadded(case["messageBase64"])
    if case["validSignature"]:
        key.verify(signature, message)
        return
    with pytest.raises(SignatureError):
        key.verify(signature, message)


def check_private_key(curve: Any, secret: bytes, did_key: str) -> None:
    public = PrivateKey.from_bytes(curve, secret).public
    assert public.did_key == did_key
    assert PublicKey.from_did_key(did_key) == public


def data_model_cases() -> Iterator[Case]:
    for case in load("data-model/data-model-fixtures.json"):
        yield f"fixture {case['cid']}", lambda c=case: check_data_model_fixture(c)
    for case in load("data-model/data-model-valid.json"):
        yield case["note"], lambda c=case: check_record(from_json(c["json"])) and None
    for case in load("data-model/data-model-invalid.json"):
        yield case["note"], lambda c=case: refuse_record(c["json"])


def check_data_model_fixture(case: dict[str, Any]) -> None:
    value = check_record(from_json(case["json"]))
    block = unpadded(case["cbor_base64"])
    assert cbor.encode(value) == block
    assert cbor.decode(block) == value
    assert str(Cid.of_cbor(block)) == case["cid"]
    assert to_json(value) == case["json"]


def refuse_record(obj: Any) -> None:
    with pytest.raises(DataModelError):
        check_record(from_json(obj))


def lexicon_cases() -> Iterator[Case]:
    for path in sorted((OWN_VECTORS / INTEROP / "lexicon" / "catalog").glob("*.json")):
        yield f"catalog {path.name}", lambda p=path: LexiconCatalog([json.loads(p.read_text("utf-8"))]) and None
    for case in load("lexicon/lexicon-valid.json"):
        yield f"document: {case['name']}", lambda c=case: LexiconCatalog([c["lexicon"]]) and None
    for case in load("lexicon/lexicon-invalid.json"):
        yield f"no document: {case['name']}", lambda c=case: refuse_document(c["lexicon"])
    for case in load("lexicon/record-data-valid.json"):
        yield f"record: {case['name']}", lambda c=case: check_lexicon_record(c["data"], c["rkey"])
    for case in load("lexicon/record-data-invalid.json"):
        yield f"no record: {case['name']}", lambda c=case: refuse_lexicon_record(c["data"], c["rkey"])


def catalog() -> LexiconCatalog:
    paths = sorted((OWN_VECTORS / INTEROP / "lexicon" / "catalog").glob("*.json"))
    return LexiconCatalog(json.loads(path.read_text("utf-8")) for path in paths)


def refuse_document(doc: Any) -> None:
    with pytest.raises(LexiconError) as caught:
        LexiconCatalog([doc])
    assert caught.value.path


def check_lexicon_record(data: Any, rkey: str) -> None:
    catalog().validate_record(from_json(data), "example.lexicon.record", rkey)


def refuse_lexicon_record(data: Any, rkey: str) -> None:
    # Some cases lack the one required member besides: it is supplied, so that they fail for what they are about.
    if len(data) > 1:
        data = {"integer": 1, **data}
    with pytest.raises(LexiconError) as caught:
        catalog().validate_record(from_json(data), "example.lexicon.record", rkey)
    assert caught.value.path.split(".")[0].split("[")[0] in {*data, "integer"} - {"$type"}


def tree_cases() -> Iterator[Case]:
    for case in load("mst/key_heights.json"):
        yield f"depth of {case['key']!r}", lambda c=case: check_equal(mst.key_depth(c["key"]), c["height"])
    for case in load("mst/common_prefix.json"):
        left, right = case["left"].encode(), case["right"].encode()
        yield (
            f"prefix of {left!r}, {right!r}",
            lambda a=left, b=right, c=case: check_equal(common_prefix_length(a, b), c["len"]),
        )
    for case in load("firehose/commit-proof-fixtures.json"):
        yield f"commit: {case['comment']}", lambda c=case: check_commit_proof(c)
    keys = vector_lines(f"{INTEROP}/mst/example_keys.txt")
    for key in keys:
        yield f"tree with {key}", lambda k=key: check_example_key(k, keys)


def check_equal(actual: int, expected: int) -> None:
    assert actual == expected


def check_example_key(key: str, keys: list[str]) -> None:
    """The second character of an example key is its depth."""
    assert mst.key_depth(key) == int(key[1])
    records = {other: Cid.of_raw(other.encode()) for other in keys}
    root, blocks = mst.build(records)
    assert mst.lookup(root, key, blocks) == records[key]
    # From the root's layer, 5, down to the key's own: an intermediate layer is never skipped.
    assert len(mst.proof_path(root, key, blocks)) == 6 - mst.key_depth(key)
    without, _ = mst.build({other: cid for other, cid in records.items() if other != key})
    assert diff.apply(root, [diff.Operation(key, None, records[key])], blocks).root == without


def check_commit_proof(case: dict[str, Any]) -> None:
    leaf = Cid.parse(case["leafValue"])
    keys = set(case["keys"])
    before, old = mst.build(dict.fromkeys(keys, leaf))
    after, new = mst.build(dict.fromkeys((keys | set(case["adds"])) - set(case["dels"]), leaf))
    assert (str(before), str(after)) == (case["rootBeforeCommit"], case["rootAfterCommit"])

    operations = [diff.Operation(key, leaf, None) for key in case["adds"]]
    operations += [diff.Operation(key, None, leaf) for key in case["dels"]]
    change = diff.apply(before, operations, old)
    assert change.root == after
    assert change.blocks == {cid: block for cid, block in new.items() if cid not in old}
    found = diff.diff(before, after, {**old, **new})
    assert sorted(found.operations, key=str) == sorted(operations, key=str)

    proof = diff.covering_proof(after, [operation.key for operation in operations], new)
    assert {str(cid) for cid in proof} == set(case["blocksInProof"])
    assert diff.invert(after, operations, {cid: new[cid] for cid in proof}) == before


CASES = [*syntax_cases(), *crypto_cases(), *data_model_cases(), *lexicon_cases(), *tree_cases()]


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in CASES])
def test_case(check: Callable[[], None]) -> None:
    check()


@pytest.mark.usefixtures("either_library")
def test_signatures_are_the_same_to_either_library() -> None:
    for case in load("crypto/signature-fixtures.json"):
        check_signature(case)


def test_no_case_is_left_out() -> None:
    assert len(CASES) == TOTAL
    assert f"total cases: {TOTAL}" in Path(OWN_VECTORS / INTEROP / "MANIFEST.md").read_text("utf-8")
