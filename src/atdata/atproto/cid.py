"""Content identifiers in the one form the AT Protocol blesses: CIDv1, raw or DAG-CBOR, sha-256.

https://atproto.com/specs/data-model#link-and-cid-formats, https://dasl.ing/cid.html
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from atdata.errors import DataModelError, IdentifierError

Codec = Literal["raw", "dag-cbor"]

_CODES: dict[Codec, int] = {"raw": 0x55, "dag-cbor": 0x71}
_CODECS: dict[int, Codec] = {code: codec for codec, code in _CODES.items()}
_SHA256 = b"\x12\x20"  # multihash: sha2-256, 32 bytes
_BINARY_LENGTH = 36
_TEXT = re.compile(r"b[a-z2-7]{58}")
_HINT = "A CID here is version 1, raw or dag-cbor, sha-256, written as 'b' and 58 characters of lower-case base32."


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Cid:
    """A content identifier; equal, hashed and ordered by its bytes.

    Every field is pinned, so two CIDs are equal exactly when the bytes they name are: a CID can serve as a digest.

    Raises:
        DataModelError: the bytes are not a blessed CID.
    """

    _binary: bytes

    def __post_init__(self) -> None:
        data = self._binary
        well_formed = len(data) == _BINARY_LENGTH and data[0] == 1 and data[1] in _CODECS and data[2:4] == _SHA256
        if not well_formed:
            raise DataModelError("not a CID", expected="01 (55|71) 12 20 and 32 bytes", actual=data[:40].hex(" "))

    @classmethod
    def parse(cls, text: object) -> Cid:
        """The CID in base32 text, in exactly the form that `str` writes.

        Raises:
            IdentifierError: any other text, also that of a valid CID outside the blessed form.
        """
        if not isinstance(text, str) or not _TEXT.fullmatch(text):
            raise IdentifierError(
                "not a CID", actual=text[:100] if isinstance(text, str) else type(text).__name__, hint=_HINT
            )
        # 58 characters carry 290 bits, 2 more than a CID has. Comparing the round trip refuses any that are set.
        try:
            cid = cls(base64.b32decode(text[1:].upper() + "=" * 6))
        except DataModelError as error:
            raise IdentifierError("not a CID", actual=text, hint=_HINT) from error
        if str(cid) != text:
            raise IdentifierError("not a CID in canonical form", expected=str(cid), actual=text, hint=_HINT)
        return cid

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """The CID in its 36-byte binary form.

        Raises:
            DataModelError: the bytes are not a blessed CID.
        """
        return cls(bytes(data))

    @classmethod
    def from_digest(cls, codec: Codec, digest: bytes) -> Cid:
        """The CID of content whose sha-256 digest (32 bytes) is known.

        Raises:
            DataModelError: the digest is not 32 bytes long, or the codec is not a blessed one.
        """
        if codec not in _CODECS.values():
            raise DataModelError("unknown codec", expected=" or ".join(_CODES), actual=codec)
        return cls(bytes((1, _CODES[codec])) + _SHA256 + digest)

    @classmethod
    def of_raw(cls, data: bytes) -> Cid:
        """The CID of bytes as they are: a blob, a shard."""
        return cls.from_digest("raw", hashlib.sha256(data).digest())

    @classmethod
    def of_cbor(cls, block: bytes) -> Cid:
        """The CID of an encoded DAG-CBOR block: a record, a tree node, a commit."""
        return cls.from_digest("dag-cbor", hashlib.sha256(block).digest())

    @property
    def codec(self) -> Codec:
        """The codec of the bytes: `raw` (a blob) or `dag-cbor` (a block of the data model)."""
        return _CODECS[self._binary[1]]

    @property
    def digest(self) -> bytes:
        """The sha-256 digest of the content, 32 bytes."""
        return self._binary[4:]

    def matches(self, content: bytes) -> bool:
        """True if this is the CID of `content`."""
        return hashlib.sha256(content).digest() == self.digest

    def to_bytes(self) -> bytes:
        """The 36-byte binary form."""
        return self._binary

    def __eq__(self, other: object) -> bool:
        return self._binary == other._binary if isinstance(other, Cid) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._binary)

    def __bytes__(self) -> bytes:
        return self._binary

    def __str__(self) -> str:
        return "b" + base64.b32encode(self._binary).decode("ascii").rstrip("=").lower()

    def __repr__(self) -> str:
        return f"Cid({str(self)!r})"
