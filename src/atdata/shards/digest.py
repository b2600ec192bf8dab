"""Digests of bytes, as records give them and as shards are hashed to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from atdata.atproto.cid import Cid
from atdata.errors import DigestError

CHUNK = 1 << 20
_PIECE = 1 << 22  # hashed at a time: between two pieces a thread waits for its turn, which others may hold long

# Hash algorithms a record may name, with the length of their hex digest. `hashlib` is never asked for any other.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128, "blake2b": 128}
_PLACEHOLDERS = ("", "none")


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Digest:
    """An algorithm and its lower-case hex digest."""

    algorithm: str
    hex: str

    @classmethod
    def sha256(cls, data: bytes | memoryview) -> Digest:
        """The sha-256 of some bytes."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def of_cid(cls, cid: Cid) -> Digest:
        """The sha-256 inside a raw CID: the digest of the blob it names."""
        return cls("sha256", cid.digest.hex())

    @classmethod
    def of_checksum(cls, checksum: Mapping[str, Any] | None) -> Digest | None:
        """The digest in a record's `shardChecksum` (formats.md 3); `None` for a placeholder or an unknown algorithm.

        Both mean that nothing can be checked; neither is ever taken for verified.
        """
        if not checksum:
            return None
        algorithm = str(checksum.get("algorithm", "")).lower().replace("-", "")
        digest = str(checksum.get("digest", "")).lower()
        if algorithm in _PLACEHOLDERS or digest in _PLACEHOLDERS:
            return None
        if not re.fullmatch(r"[0-9a-f]+", digest) or len(digest) != ALGORITHMS.get(algorithm):
            return None
        return cls(algorithm, digest)

    @classmethod
    def of_file(cls, path: str | Path, algorithm: str = "sha256") -> Digest:
        """The digest of a whole file."""
        with Path(path).open("rb") as file:
            return cls.of_stream(file, algorithm)

    @classmethod
    def of_stream(cls, file: BinaryIO, algorithm: str = "sha256") -> Digest:
        """The digest of what is left in a stream."""
        hasher, buffer = hashlib.new(algorithm), memoryview(bytearray(_PIECE))
        while count := cast(BufferedReader, file).readinto(buffer):
            hasher.update(buffer[:count])
        return cls(algorithm, hasher.hexdigest())

    @property
    def checksum(self) -> dict[str, str]:
        """The digest as records have it: `{"algorithm": ..., "digest": ...}`."""
        return {"algorithm": self.algorithm, "digest": self.hex}

    @property
    def cid(self) -> Cid:
        """The raw CID of the same bytes.

        Raises:
            DigestError: the digest is not a sha-256.
        """
        if self.algorithm != "sha256":
            raise DigestError("only a sha-256 digest has a CID", step="shard digest", actual=self.algorithm)
        return Cid.from_digest("raw", bytes.fromhex(self.hex))

    def hasher(self) -> _Hash:
        """A fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=True)

    def check(self, actual_hex: str, uri: str) -> None:
        """Compare with the digest of the bytes that came.

        Raises:
            DigestError: they are other bytes.
        """
        if actual_hex != self.hex:
            raise DigestError(
                "a shard's bytes are not the bytes that were published",
                step="shard digest",
                uri=uri,
                expected=self,
                actual=f"{self.algorithm}:{actual_hex}",
                hint="Nothing of it was read. Fetch it again, or ask its publisher.",
            )

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that `str` made text of."""
        algorithm, _, digest = text.partition(":")
        return cls(algorithm, digest)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
