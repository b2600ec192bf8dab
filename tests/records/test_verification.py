"""The lensVerification record: what it says, what it may not say, and that doubt is never taken for a yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import DataModelError, LensError, UsageError
from atdata.records import CodeHash, CodeReference, LensVerification, Trial, check_outgoing

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
LENS = AtUri(f"at://{DID}/science.alt.dataset.lens/3jzfcijpj2z2a")
COMMIT = str(Cid.of_cbor(b"\xa0"))
HASH = CodeHash("sha256", "0a" * 32)
TRIAL = {"samples": 200, "seed": "7", "space": "Row:1.0.0", "language": "atdata-lens 1"}


def verification(**facts: Any) -> LensVerification:
    return LensVerification(**{"lens": LENS, "lens_commit": COMMIT, "method": "codeReview", **facts})


WHOLE = verification(
    method="automatedTest",
    code_hash=HASH,
    proof_ref=CodeReference("https://example.com/r", "0" * 40, "proofs/a.lean:lawful"),
    description="d",
    verdict="fails",
    trial=Trial.of(TRIAL),
    counterexample={"law": "GetPut", "sample": {"x": "0.1"}},
)


@pytest.mark.parametrize("record", [verification(), verification(verdict="holds"), WHOLE])
def test_records_survive_the_wire(record: LensVerification) -> None:
    value = check_outgoing(record)
    back = LensVerification.from_record(cbor.decode(cbor.encode(value)))
    assert back == record
    assert dict(back) == value
    assert back.name == str(LENS)
    assert "name" not in value
    assert LensVerification.from_record({**value, "fromTheFuture": 1})["fromTheFuture"] == 1
    assert replace(back, description="other").name == str(LENS)


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        ({"method": "signedHash"}, "code_hash"),
        ({"method": "signedHash", "code_hash": CodeHash("none", "")}, "code_hash"),
        ({"method": "vibes"}, "method"),
        ({"method": "codereview"}, "method"),
        ({"verdict": "maybe"}, "verdict"),
        ({"counterexample": {}}, "verdict"),
        ({"counterexample": {}, "verdict": "holds"}, "verdict"),
        ({"lens_commit": "HEAD"}, "lens_commit"),
    ],
)
def test_what_cannot_be_meant_is_not_written(facts: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_outgoing(verification(**facts))
    assert caught.value.path == path


def test_no_float_stands_in_a_counterexample() -> None:
    with pytest.raises(DataModelError):
        check_outgoing(verification(verdict="fails", counterexample={"x": 0.1}))


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({}, True),
        ({"verdict": "holds"}, True),
        ({"verdict": "fails"}, False),
        ({"verdict": "HOLDS"}, False),
        ({"verdict": "unsure"}, False),
        ({"verdict": ""}, False),
        ({"verdict": True}, False),
        ({"verdict": ["holds"]}, False),
        ({"verdict": None}, False),
        ({"counterexample": {}}, False),
        ({"counterexample": "x=1"}, False),
        ({"verdict": "holds", "counterexample": {"x": 1}}, False),
        ({"trial": {"samples": "many"}}, True),
        ({"trial": {**TRIAL, "more": 1}}, True),
        ({"trial": {**TRIAL, "samples": -1}}, True),
    ],
)
def test_only_what_says_nothing_else_says_that_it_holds(said: dict[str, Any], holds: bool) -> None:
    value = {**verification().to_record(), **said}
    back = LensVerification.from_record(value)
    assert back.holds is holds
    assert dict(back) == value, "kept as it came"


def test_a_signed_hash_without_the_hash_is_read_and_invalid() -> None:
    value = verification().to_record()
    assert not LensVerification.from_record({**value, "verificationMethod": "signedHash"}).is_valid
    for algorithm, digest, valid in (
        ("sha256", "0A" * 32, True),
        ("sha256", "0a" * 31, False),
        ("sha256", "0a" * 33, False),
        ("blake3", "0a" * 32, True),
        ("later", "0a" * 24, True),
        ("none", "", False),
        ("", "0a" * 32, False),
        ("later", "none", False),
    ):
        said = {"verificationMethod": "signedHash", "codeHash": {"algorithm": algorithm, "digest": digest}}
        assert LensVerification.from_record({**value, **said}).is_valid is valid, (algorithm, digest)
    later = LensVerification.from_record({**value, "verificationMethod": "laterMethod"})
    assert (later.is_valid, later.method) == (True, "laterMethod")


def test_what_it_says_is_what_it_is() -> None:
    """Words and times are not; the version, the method, the verdict and what it rests on are."""
    content = WHOLE.index_keys.content
    assert WHOLE.index_keys.target == LENS
    assert replace(WHOLE, description="x", created_at="2020-01-01T00:00:00.000Z").index_keys.content == content
    for other in (
        replace(WHOLE, lens_commit=str(Cid.of_cbor(b"\x80"))),
        replace(WHOLE, method="formalProof"),
        replace(WHOLE, verdict="holds"),
        replace(WHOLE, trial=None),
        replace(WHOLE, counterexample=None),
        replace(WHOLE, code_hash=None),
        replace(WHOLE, proof_ref=None),
    ):
        assert other.index_keys.content != content


def test_arguments_that_cannot_be_meant() -> None:
    for wrong in ({}, {"algorithm": "sha256"}, {"algorithm": "sha256", "digest": "xyz"}, "sha256:00", None):
        with pytest.raises(UsageError):
            CodeHash.of(wrong)  # type: ignore[arg-type]
    for wrong in ({}, {**TRIAL, "samples": 1.5}, {**TRIAL, "seed": 7}, "200", {**TRIAL, "samples": True}):
        with pytest.raises(UsageError):
            Trial.of(wrong)  # type: ignore[arg-type]
    assert Trial.of(Trial.of(TRIAL)) == Trial(**TRIAL)
    with pytest.raises(LensError):
        CodeReference.of({"repository": "https://example.com"}, "proof_ref")
