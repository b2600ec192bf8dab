"""Complements: what a view lacks of its sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from atdata.errors import LensError, SampleError
from atdata.samples.codec import pack, unpack


@dataclass(frozen=True)
class Complement:
    """All that a view of one sample lacks of it: with the view it is the sample again.

    Attributes:
        view: the sha-256 of the view, packed, in hex.
        source: the sha-256 of the sample, packed, in hex.
        values: the fields that do not follow from the view, packed.
    """

    view: str
    source: str
    values: bytes

    def to_bytes(self) -> bytes:
        """The complement as msgpack."""
        return pack({"view": self.view, "source": self.source, "values": self.values})

    @classmethod
    def from_bytes(cls, data: bytes) -> Complement:
        """The complement in msgpack.

        Raises:
            SampleError: the bytes are none.
        """
        stored = unpack(data)
        types = {name: type(value).__name__ for name, value in stored.items()}
        if types != {"view": "str", "source": "str", "values": "bytes"}:
            raise SampleError("bytes are no complement of a sample", expected="view, source, values", actual=types)
        return cls(**stored)

    def check_view(self, digest: str) -> None:
        """Check that a view is the one it was made with.

        Raises:
            LensError: it is another.
        """
        self._check("view", self.view, digest)

    def check_source(self, digest: str) -> None:
        """Check that a sample is the one it was made of.

        Raises:
            LensError: it is another.
        """
        self._check("sample", self.source, digest)

    @staticmethod
    def _check(what: str, expected: str, actual: str) -> None:
        if expected != actual:
            raise LensError(
                f"a complement is that of another {what}",
                expected=f"sha256 {expected}",
                actual=f"sha256 {actual}" if actual else "one that lacks fields",
                hint="Keep each complement with its view: lens.complement(sample) makes that of a sample.",
            )


def digest_of(sample: Any) -> str:
    """The sha-256 of a sample, packed, in hex."""
    return hashlib.sha256(sample.packed).hexdigest()
