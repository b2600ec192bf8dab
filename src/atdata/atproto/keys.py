"""Public and private keys on the two curves of the AT Protocol, and the signatures it accepts.

https://atproto.com/specs/cryptography. A signature is ECDSA over sha-256 in 64 bytes (r, then s), with s in the lower
half of its range: of the two signatures the mathematics allows, one, so that nobody can change a signed block's CID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from atdata.atproto.secp256k1 import fast_signer, fast_verifier
from atdata.errors import MissingExtraError, SignatureError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

Curve = Literal["k256", "p256"]

_SIGNATURE_LENGTH = 64
_SCALAR_LENGTH = 32
_DID_KEY = "did:key:"


class _CurveFacts(Struct, frozen=True):
    name: str  # as cryptography has it
    order: int
    multicodec: bytes
    legacy_type: str


_CURVES: dict[Curve, _CurveFacts] = {
    "k256": _CurveFacts(
        "SECP256K1",
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
        b"\xe7\x01",
        "EcdsaSecp256k1VerificationKey2019",
    ),
    "p256": _CurveFacts(
        "SECP256R1",
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        b"\x80\x24",
        "EcdsaSecp256r1VerificationKey2019",
    ),
}


class PublicKey(Struct, frozen=True):
    """A point on a curve; equal when the points are, whatever form they were read from.

    Attributes:
        curve: `k256` (secp256k1) or `p256` (NIST P-256).
        point: the compressed point, 33 bytes.

    Raises:
        SignatureError: the point is not on the curve, or not in a form that names it.
    """

    curve: Curve
    point: bytes

    def __post_init__(self) -> None:
        # The uncompressed form, 65 bytes, is read too and kept compressed.
        force_setattr(self, "point", _compressed(_load_public(self.curve, self.point)))

    @classmethod
    def from_did_key(cls, text: object) -> PublicKey:
        """Read `did:key:z...` (spec: Public Keys and Multibase).

        Raises:
            SignatureError: it is not a key on one of the two curves.
        """
        if not isinstance(text, str) or not text.startswith(_DID_KEY):
            raise _not_a_key(text, "did:key: and a multibase key")
        return _multikey(text.removeprefix(_DID_KEY))

    @classmethod
    def from_multibase(cls, text: object, method_type: str = "Multikey") -> PublicKey:
        """Read the `publicKeyMultibase` of a verification method of a DID document (spec: DID, Public Keys).

        Args:
            text: `z` and base58.
            method_type: the method's `type`. `Multikey` text says the curve itself; the two legacy types name it, and
                their text holds the bare point, uncompressed or compressed.

        Raises:
            SignatureError: an unknown type or curve, or no point on the curve.
        """
        if not isinstance(text, str) or not text.startswith("z"):
            raise _not_a_key(text, "z and base58")
        data = base58_decode(text[1:])
        for curve, facts in _CURVES.items():
            if method_type == facts.legacy_type:
                return cls(curve, data)
            if method_type == "Multikey" and data.startswith(facts.multicodec):
                if len(data) != len(facts.multicodec) + 33:
                    raise _not_a_key(text, "a compressed point")
                return cls(curve, data.removeprefix(facts.multicodec))
        raise _not_a_key(f"{method_type}: {text}", "a key on the curve k256 or p256")

    @property
    def multibase(self) -> str:
        """The key as a `Multikey` writes it."""
        return "z" + base58_encode(_CURVES[self.curve].multicodec + self.point)

    @property
    def did_key(self) -> str:
        """The key as `did:key:...`."""
        return _DID_KEY + self.multibase

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check that this key signed `message` (spec: ECDSA Signature Malleability).

        Raises:
            SignatureError: it did not; or the signature is not in the one accepted form: 64 bytes, not DER, low s.
        """
        r, s = self._read_signature(signature)
        der = _crypto().encode_dss_signature(r, s)
        if not _verifier(self.curve, self.point)(der, message):
            raise SignatureError(
                "the signature was not made by this key over these bytes",
                step="signature",
                expected=self.did_key,
                hint="The bytes were changed, or the key was rotated since: check against the key of that time.",
            )

    def _read_signature(self, signature: bytes) -> tuple[int, int]:
        if len(signature) != _SIGNATURE_LENGTH:
            raise SignatureError(
                "the signature has the wrong length",
                step="signature",
                expected=f"{_SIGNATURE_LENGTH} bytes, r then s",
                actual=f"{len(signature)} bytes",
            )
        r, s = int.from_bytes(signature[:_SCALAR_LENGTH]), int.from_bytes(signature[_SCALAR_LENGTH:])
        order = _CURVES[self.curve].order
        if not 0 < r < order or not 0 < s <= order // 2:
            raise SignatureError(
                "the signature is not in its canonical form",
                step="signature",
                expected="s in the lower half of its range",
                actual=signature.hex(),
            )
        return r, s


@dataclass(frozen=True, slots=True, eq=False)
class PrivateKey:
    """A signing key. It never shows its secret, and compares by identity."""

    curve: Curve
    _secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, curve: Curve = "k256") -> PrivateKey:
        """A new key from the system's randomness.

        Raises:
            UsageError: no such curve.
        """
        number: int = _crypto().ec.generate_private_key(_curve(curve)).private_numbers().private_value
        return cls(curve, number.to_bytes(_SCALAR_LENGTH))

    @classmethod
    def from_bytes(cls, curve: Curve, secret: bytes) -> PrivateKey:
        """The key whose big-endian number is `secret` (32 bytes).

        Raises:
            UsageError: no such curve, or no number a key can be.
        """
        fits = 0 < int.from_bytes(secret) < _facts(curve).order and len(secret) == _SCALAR_LENGTH
        if not fits:
            del secret  # it may be one in another form: no traceback shows it
            raise UsageError("not a private key", expected=f"{_SCALAR_LENGTH} bytes, a number below the curve's order")
        return cls(curve, bytes(secret))

    def to_bytes(self) -> bytes:
        """The secret, 32 bytes; whoever has it can sign."""
        return self._secret

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self.curve, _compressed(_load_private(self.curve, self._secret).public_key()))

    def sign(self, message: bytes) -> bytes:
        """The signature in 64 bytes with low s; deterministic (RFC 6979) where the installed library can do it."""
        der = _signer(self.curve, self._secret)(message)
        r: int
        s: int
        r, s = _crypto().decode_dss_signature(der)
        s = min(s, _CURVES[self.curve].order - s)
        return r.to_bytes(_SCALAR_LENGTH) + s.to_bytes(_SCALAR_LENGTH)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {digit: value for value, digit in enumerate(_BASE58)}
_MAX_BASE58_LENGTH = 128  # an uncompressed point has 90; the work grows with the square


def base58_encode(data: bytes) -> str:
    """Base58 with Bitcoin's alphabet (multibase `z`, without the z)."""
    number = int.from_bytes(data)
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + "".join(reversed(digits))


def base58_decode(text: str) -> bytes:
    """The bytes behind base58 text of at most 128 characters.

    Raises:
        SignatureError: other characters, or a longer text.
    """
    if len(text) > _MAX_BASE58_LENGTH or not all(digit in _BASE58_VALUES for digit in text):
        raise _not_a_key(text, "base58")
    number = 0
    for digit in text:
        number = number * 58 + _BASE58_VALUES[digit]
    return bytes(len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8)


def _facts(curve: Curve) -> _CurveFacts:
    if curve not in _CURVES:
        raise UsageError("no such curve", expected="k256 or p256", actual=curve)
    return _CURVES[curve]


@lru_cache(maxsize=1)
def _crypto() -> Any:
    """The parts of `cryptography` that are used. Only who checks or makes signatures must have it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    except ImportError as error:
        raise MissingExtraError.of("atmosphere", "Checking or making signatures") from error
    return SimpleNamespace(
        ec=ec,
        hashes=hashes,
        Encoding=Encoding,
        InvalidSignature=InvalidSignature,
        PublicFormat=PublicFormat,
        UnsupportedAlgorithm=UnsupportedAlgorithm,
        decode_dss_signature=decode_dss_signature,
        encode_dss_signature=encode_dss_signature,
    )


def _curve(curve: Curve) -> ec.EllipticCurve:
    found: ec.EllipticCurve = getattr(_crypto().ec, _facts(curve).name)()
    return found


@lru_cache(maxsize=1024)
def _multikey(text: str) -> PublicKey:
    return PublicKey.from_multibase(text)


# A service checks many signatures of few keys, and decompressing a point costs as much as half a verification.
@lru_cache(maxsize=1024)
def _load_public(curve: Curve, point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key: ec.EllipticCurvePublicKey = _crypto().ec.EllipticCurvePublicKey.from_encoded_point(_curve(curve), point)
        return key
    except ValueError:
        raise _not_a_key(point[:70].hex(), f"a point on {curve}") from None


@lru_cache(maxsize=1024)
def _verifier(curve: Curve, point: bytes) -> Callable[[bytes, bytes], bool]:
    """The function from a signature (DER) and a message to the truth of it, for a point that was checked."""
    fast = fast_verifier(point) if curve == "k256" else None
    if fast is not None:
        return fast
    key, crypto = _load_public(curve, point), _crypto()
    method = crypto.ec.ECDSA(crypto.hashes.SHA256())

    def verify(der: bytes, message: bytes) -> bool:
        try:
            key.verify(der, message, method)
        except crypto.InvalidSignature:
            return False
        return True

    return verify


# OpenSSL multiplies the number out to make a key of it, which takes longer than to sign.
@lru_cache(maxsize=16)
def _load_private(curve: Curve, secret: bytes) -> ec.EllipticCurvePrivateKey:
    key: ec.EllipticCurvePrivateKey = _crypto().ec.derive_private_key(int.from_bytes(secret), _curve(curve))
    return key


@lru_cache(maxsize=16)
def _signer(curve: Curve, secret: bytes) -> Callable[[bytes], bytes]:
    """The function from a message to its signature (DER), for a number that was checked."""
    fast = fast_signer(secret) if curve == "k256" else None
    if fast is not None:
        return fast
    key, crypto = _load_private(curve, secret), _crypto()

    def sign(message: bytes) -> bytes:
        try:
            return key.sign(message, crypto.ec.ECDSA(crypto.hashes.SHA256(), deterministic_signing=True))
        except crypto.UnsupportedAlgorithm:
            return key.sign(message, crypto.ec.ECDSA(crypto.hashes.SHA256()))

    return sign


def _compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    crypto = _crypto()
    return key.public_bytes(crypto.Encoding.X962, crypto.PublicFormat.CompressedPoint)


def _not_a_key(actual: object, expected: str) -> SignatureError:
    shown = actual[:200] if isinstance(actual, str) else type(actual).__name__
    return SignatureError("not a public key", step="key", expected=expected, actual=shown)
