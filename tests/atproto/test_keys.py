"""Keys and signatures. The foreign ones are in the interop vectors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.atproto.keys import PrivateKey, PublicKey, base58_decode, base58_encode
from atdata.errors import SignatureError, UsageError

CURVES = ["k256", "p256"]
SECRET = bytes(range(1, 33))
LEGACY = {"k256": "EcdsaSecp256k1VerificationKey2019", "p256": "EcdsaSecp256r1VerificationKey2019"}
ORDERS = {
    "k256": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}


@pytest.fixture(params=CURVES)
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return PrivateKey.from_bytes(request.param, SECRET)


@pytest.mark.usefixtures("either_library")
def test_what_a_key_signs_its_public_key_verifies(key: PrivateKey) -> None:
    for message in (b"", b"commit", bytes(10_000)):
        signature = key.sign(message)
        assert len(signature) == 64
        key.public.verify(signature, message)


@pytest.mark.usefixtures("either_library")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(CURVES), st.binary(max_size=40), st.integers(0, 511))
def test_a_changed_signature_is_refused(curve: Any, message: bytes, bit: int) -> None:
    key = PrivateKey.from_bytes(curve, SECRET)
    signature = bytearray(key.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        key.public.verify(bytes(signature), message)
    with pytest.raises(SignatureError):
        key.public.verify(key.sign(message), message + b"x")


@pytest.mark.parametrize("r", [1, 2, ORDERS["k256"] - 1, ORDERS["k256"], 2**256 - 1, 0])
@pytest.mark.parametrize("s", [1, ORDERS["k256"] // 2, ORDERS["k256"] // 2 + 1, 0])
@pytest.mark.usefixtures("either_library")
def test_numbers_at_the_edge_are_no_signature(r: int, s: int) -> None:
    with pytest.raises(SignatureError) as caught:
        PrivateKey.from_bytes("k256", SECRET).public.verify(r.to_bytes(32) + s.to_bytes(32), b"commit")
    in_range = 0 < r < ORDERS["k256"] and 0 < s <= ORDERS["k256"] // 2
    assert ("was not made by this key" in caught.value.what) == in_range


@pytest.mark.usefixtures("either_library")
def test_the_other_signature_is_refused(key: PrivateKey) -> None:
    signature = key.sign(b"commit")
    r, s = signature[:32], int.from_bytes(signature[32:])
    assert s <= ORDERS[key.curve] // 2
    with pytest.raises(SignatureError, match="canonical"):
        key.public.verify(r + (ORDERS[key.curve] - s).to_bytes(32), b"commit")


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65), bytes(64), b"\xff" * 64, bytes(32) + b"\1" * 32])
def test_what_cannot_be_a_signature_is_refused(key: PrivateKey, signature: bytes) -> None:
    with pytest.raises(SignatureError):
        key.public.verify(signature, b"commit")


def test_der_is_refused(key: PrivateKey) -> None:
    curve = {"k256": ec.SECP256K1(), "p256": ec.SECP256R1()}[key.curve]
    der = ec.derive_private_key(int.from_bytes(SECRET), curve).sign(b"commit", ec.ECDSA(hashes.SHA256()))
    assert decode_dss_signature(der)
    with pytest.raises(SignatureError, match="length"):
        key.public.verify(der, b"commit")


@pytest.mark.usefixtures("either_library")
def test_signing_is_deterministic(key: PrivateKey) -> None:
    assert key.sign(b"commit") == key.sign(b"commit")


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize(
    ("secret", "r", "s"),
    [
        (
            1,
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8",
            "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        ),
        (
            ORDERS["k256"] - 1,
            "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0",
            "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        ),
    ],
)
def test_signatures_that_others_have_published(secret: int, r: str, s: str) -> None:
    """Bitcoin's vectors for RFC 6979 on secp256k1, with s in its lower half."""
    assert PrivateKey.from_bytes("k256", secret.to_bytes(32)).sign(b"Satoshi Nakamoto").hex() == r + s


def test_the_signature_of_rfc_6979() -> None:
    """A.2.5, SHA-256, message "sample", with s in its lower half."""
    key = PrivateKey.from_bytes(
        "p256", bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
    )
    r, s = key.sign(b"sample")[:32], int.from_bytes(key.sign(b"sample")[32:])
    assert r.hex().upper() == "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    assert s in {n := 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8, ORDERS["p256"] - n}


def test_every_form_of_a_public_key_names_the_same_key(key: PrivateKey) -> None:
    public = key.public
    curve = {"k256": ec.SECP256K1(), "p256": ec.SECP256R1()}[key.curve]
    point = ec.EllipticCurvePublicKey.from_encoded_point(curve, public.point)
    uncompressed = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert PublicKey.from_did_key(public.did_key) == public
    assert PublicKey.from_multibase(public.multibase) == public
    for form in (public.point, uncompressed):
        assert PublicKey.from_multibase("z" + base58_encode(form), LEGACY[key.curve]) == public
    assert PublicKey(key.curve, uncompressed) == public
    assert pickle.loads(pickle.dumps(public)) == copy.deepcopy(public) == public
    assert len({public, PublicKey.from_did_key(public.did_key)}) == 1


def test_the_example_of_the_specification() -> None:
    legacy = "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR"
    assert (
        PublicKey.from_multibase(legacy, LEGACY["k256"]).multibase
        == "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
    )


K256 = PrivateKey.from_bytes("k256", SECRET).public


@pytest.mark.parametrize(
    ("text", "method_type"),
    [
        ("", "Multikey"),
        (None, "Multikey"),
        (7, "Multikey"),
        ("z", "Multikey"),
        ("z0OIl", "Multikey"),
        ("z" + "1" * 100_000, "Multikey"),
        (K256.multibase[1:], "Multikey"),
        (K256.multibase[:-1], "Multikey"),
        ("m" + K256.multibase[1:], "Multikey"),
        ("z" + base58_encode(b"\xe7\x01" + b"\x02" + b"\xff" * 32), "Multikey"),  # not on the curve
        ("z" + base58_encode(b"\xed\x01" + bytes(32)), "Multikey"),  # Ed25519
        ("z" + base58_encode(K256.point), "Multikey"),
        ("z" + base58_encode(K256.point), "Ed25519VerificationKey2020"),
        ("z" + base58_encode(K256.point), LEGACY["p256"]),
        (K256.multibase, LEGACY["k256"]),
    ],
)
def test_what_is_no_key_is_refused(text: Any, method_type: str) -> None:
    with pytest.raises(SignatureError) as caught:
        PublicKey.from_multibase(text, method_type)
    assert caught.value.step == "key"


def test_a_multikey_holds_a_compressed_point() -> None:
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), K256.point)
    uncompressed = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(SignatureError):
        PublicKey.from_multibase("z" + base58_encode(b"\xe7\x01" + uncompressed))


@pytest.mark.parametrize("text", [None, "", "did:key:", K256.multibase, "did:web:example.com"])
def test_what_is_no_did_key_is_refused(text: Any) -> None:
    with pytest.raises(SignatureError):
        PublicKey.from_did_key(text)


@given(st.binary(max_size=70))
def test_base58_is_read_as_it_was_written(data: bytes) -> None:
    assert base58_decode(base58_encode(data)) == data


def test_a_private_key_never_shows(key: PrivateKey) -> None:
    for text in (repr(key), str(key), f"{key}"):
        assert SECRET.hex() not in text
        assert str(SECRET)[2:-1] not in text
    assert "curve" in repr(key)


def test_a_generated_key_is_new_and_can_be_kept() -> None:
    for curve in CURVES:
        key, other = PrivateKey.generate(curve), PrivateKey.generate(curve)
        assert key.public != other.public
        assert PrivateKey.from_bytes(curve, key.to_bytes()).public == key.public


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31) + b"", b"\xff" * 32, bytes(32) + b"\1"])
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    for curve in CURVES:
        with pytest.raises(UsageError) as caught:
            PrivateKey.from_bytes(curve, secret)
        assert secret.hex() not in str(caught.value) or not secret


def test_other_curves_are_refused() -> None:
    with pytest.raises(UsageError):
        PrivateKey.generate("ed25519")
    with pytest.raises(UsageError):
        PrivateKey.from_bytes("ed25519", SECRET)
