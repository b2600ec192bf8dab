"""The facts of a DID document about an account: its handles, its keys, its servers.

https://atproto.com/specs/did#did-documents. The document comes from a server; that it is the right one is for the
resolver to make sure. Here its `id` must be the DID that was asked for, and each part must be what the spec says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atdata.atproto.keys import PublicKey
from atdata.atproto.syntax import Did, Handle
from atdata.errors import IdentifierError, IdentityError, SignatureError

_HANDLE_PREFIX = "at://"
_KEY_ID = "#atproto"
_PDS = ("#atproto_pds", "AtprotoPersonalDataServer")
_LABEL_KEY_ID = "#atproto_label"
_LABELER = ("#atproto_labeler", "AtprotoLabeler")
# Scheme, host and port, and nothing that could carry credentials, a path or a query.
_ORIGIN = re.compile(r"(https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?)/?")


@dataclass(frozen=True, slots=True)
class DidDocument:
    """The parts of a DID document that the AT Protocol uses.

    Attributes:
        did: whose document it is.
        also_known_as: other names, as they stand there.
        verification_methods: the texts in each of its keys, their `id` made absolute.
        services: likewise of its services.
    """

    did: Did
    also_known_as: tuple[str, ...]
    verification_methods: tuple[Mapping[str, str], ...]
    services: tuple[Mapping[str, str], ...]

    @classmethod
    def parse(cls, obj: Any, did: str) -> DidDocument:
        """Read the parsed JSON of the document that was fetched for `did`.

        Raises:
            IdentifierError: `did` is no DID.
            IdentityError: the document is another DID's, or is not shaped like a DID document.
        """
        did = Did(did)
        if not isinstance(obj, dict):
            raise _broken(did, "is not an object", actual=type(obj).__name__)
        if obj.get("id") != did:
            raise _broken(did, "is of another DID", expected=did, actual=obj["id"] if _is_text(obj.get("id")) else "")
        names = tuple(filter(_is_text, _list(obj, "alsoKnownAs", did)))
        return cls(did, names, _entries(obj, "verificationMethod", did), _entries(obj, "service", did))

    @property
    def handles(self) -> tuple[Handle, ...]:
        """The handles it claims, the primary one first. A claim counts once the handle resolves to the DID."""
        return tuple(filter(None, map(_claimed_handle, self.also_known_as)))

    @property
    def signing_key(self) -> PublicKey:
        """The key that signs the account's repository: the first with the id `#atproto`.

        Raises:
            IdentityError: there is none, or it is no key on a curve of the protocol (`path` names the place).
        """
        return self._key(_KEY_ID, "signing key")

    @property
    def label_key(self) -> PublicKey:
        """The key that signs the account's labels: the first with the id `#atproto_label`, and no other.

        Raises:
            IdentityError: as `signing_key`.
        """
        return self._key(_LABEL_KEY_ID, "key for labels")

    @property
    def pds(self) -> str:
        """The URL of the account's server: scheme, host and port, without a slash at the end.

        Only its syntax was checked. Whether it may be dialled is for the transport to decide.

        Raises:
            IdentityError: there is none, or it is more or less than such a URL (`path` names the place).
        """
        return self._server(*_PDS)

    @property
    def labeler(self) -> str:
        """The URL of the account's labeler, as `pds`. Raises what that raises."""
        return self._server(*_LABELER)

    def _key(self, fragment: str, what: str) -> PublicKey:
        for method in self.verification_methods:
            if method["id"] == self.did + fragment and method.get("controller") == self.did:
                try:
                    return PublicKey.from_multibase(method.get("publicKeyMultibase", ""), method.get("type", ""))
                except SignatureError as error:
                    raise _broken(
                        self.did,
                        f"has an unreadable {what}",
                        path=f"verificationMethod {fragment}",
                        expected=error.expected,
                        actual=error.actual,
                    ) from error
        raise _broken(self.did, f"has no {what}", path=f"verificationMethod {fragment}")

    def _server(self, fragment: str, kind: str) -> str:
        for service in self.services:
            if service["id"] == self.did + fragment and service.get("type") == kind:
                endpoint = service.get("serviceEndpoint", "")
                match = _ORIGIN.fullmatch(endpoint)
                if match is None:
                    raise _broken(
                        self.did,
                        "has an unusable server address",
                        path=f"service {fragment}",
                        expected="http(s)://host[:port]",
                        actual=endpoint[:200],
                    )
                return match[1]
        raise _broken(self.did, "names no server", path=f"service {fragment}")


def _broken(did: str, what: str, **facts: Any) -> IdentityError:
    hint = "The account cannot be used until its owner or its server mends the document."
    return IdentityError(f"the DID document {what}", step="did", uri=did, hint=hint, **facts)


def _list(obj: dict[str, Any], name: str, did: Did) -> list[Any]:
    entries = obj.get(name, [])
    if not isinstance(entries, list):
        raise _broken(did, "is malformed", path=name, expected="a list", actual=type(entries).__name__)
    return entries


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _entries(obj: dict[str, Any], name: str, did: Did) -> tuple[Mapping[str, str], ...]:
    """The texts in each object of a list, their `id` made absolute. What else is there the protocol does not use."""
    found = []
    for entry in _list(obj, name, did):
        if isinstance(entry, dict):
            texts = {key: value for key, value in entry.items() if isinstance(value, str)}
            identifier = texts.get("id", "")
            found.append({**texts, "id": did + identifier if identifier.startswith("#") else identifier})
    return tuple(found)


def _claimed_handle(name: str) -> Handle | None:
    if not name.startswith(_HANDLE_PREFIX):
        return None
    try:
        return Handle(name.removeprefix(_HANDLE_PREFIX))
    except IdentifierError:
        return None
