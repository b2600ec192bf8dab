"""The signed commit: the object that makes a search tree an account's repository.

https://atproto.com/specs/repository#commit-objects, format version 3.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import shown
from atdata.atproto.keys import PrivateKey, PublicKey
from atdata.atproto.syntax import Did, Tid
from atdata.errors import DataModelError, IdentifierError, ProofError

VERSION = 3

_FIELDS = {"did", "version", "data", "rev", "prev", "sig"}


class Commit(Struct, frozen=True):
    """A state of a repository, as its account signed it.

    Attributes:
        did: whose repository it is.
        rev: its revision, greater than all before it.
        data: the root of its search tree.
        prev: an earlier commit; unused in this version.
        sig: the signature, 64 bytes; empty while unsigned.
    """

    did: Did
    rev: Tid
    data: Cid
    prev: Cid | None = None
    sig: bytes = b""

    @classmethod
    def decode(cls, block: bytes) -> Commit:
        """Read a commit's block. The signature is not checked: see `verify`.

        Raises:
            ProofError: not a commit of version 3, with `step` "commit". A field more would be one that the signature
                covers and we do not understand, and is refused.
        """
        try:
            value = cbor.decode(block)
        except DataModelError as error:
            raise _malformed(error.what, path=error.path) from error
        match value:
            case {
                "did": str(did),
                "version": int(version),
                "data": Cid() as data,
                "rev": str(rev),
                "prev": None | Cid() as prev,
                "sig": bytes(sig),
                **rest,
            } if not rest:
                pass
            case _:
                raise _malformed("other fields than it must have", expected=", ".join(sorted(_FIELDS)))
        if version != VERSION:
            raise _malformed("an unknown version", expected=VERSION, actual=shown(version))
        if data.codec != "dag-cbor" or (prev and prev.codec != "dag-cbor"):
            raise _malformed("a link to a block that is not DAG-CBOR")
        try:
            return cls(Did(did), Tid(rev), data, prev, sig)
        except IdentifierError as error:
            raise _malformed(error.what, actual=shown(error.actual)) from error

    @classmethod
    def sign(cls, key: PrivateKey, did: Did, rev: Tid, data: Cid) -> Commit:
        """A new, signed commit."""
        unsigned = cls(did, rev, data)
        return replace(unsigned, sig=key.sign(unsigned._unsigned()))

    def verify(self, key: PublicKey) -> None:
        """Check that the account signed it, given the signing key that the account had at the time.

        Raises:
            SignatureError: it did not.
        """
        key.verify(self.sig, self._unsigned())

    def encode(self) -> bytes:
        """The commit's block; for a commit that was read, the very bytes."""
        return cbor.encode({**self._fields(), "sig": self.sig})

    @property
    def cid(self) -> Cid:
        """The CID of its block."""
        return Cid.of_cbor(self.encode())

    def _unsigned(self) -> bytes:
        return cbor.encode(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {"did": self.did, "version": VERSION, "data": self.data, "rev": self.rev, "prev": self.prev}


def _malformed(what: str, **facts: Any) -> ProofError:
    return ProofError(f"not a commit: {what}", step="commit", **facts)
