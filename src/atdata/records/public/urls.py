"""Addresses as they may stand in a public record: parsed strictly, and allowed part by part."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from atdata.atproto.syntax import AtUri
from atdata.errors import IdentifierError
from atdata.records.public.hosts import Reach, reach

HARMLESS = frozenset({"id", "v", "page"})
"""Parameters that an address in free text may have."""

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.IGNORECASE | re.DOTALL)
_PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[^:@\[\]]+)(?::(\d{1,5}))?", re.IGNORECASE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{0,221}", re.IGNORECASE)
_SEPARATOR = re.compile("&amp;|[&;]")
_FRAGMENT = re.compile(r"/[\w/$.~-]*|[\w.:~%()-]{0,200}")  # a JSON pointer, or the name of a section
_TOKEN = re.compile(r"(?=[A-Za-z]*\d)(?=[A-Z0-9]*[a-z])(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{12,}")
_BUCKETS = ("s3", "gs")

LOCAL_HINT = "Put the data where the public can read it; ATDATA_ALLOW_LOOPBACK=1 allows this machine's own addresses."
CREDENTIALS_HINT = "A record is public for ever: remove them, and change them if others have seen them."


@dataclass(frozen=True)
class Allowed:
    """The exceptions that a caller allows.

    Attributes:
        loopback: addresses on this machine, over http too.
        parameters: names that a query may have, in storage addresses too.
    """

    loopback: bool = False
    parameters: frozenset[str] = frozenset()

    def takes(self, host: str) -> bool:
        """True if a host may be named."""
        found = reach(host)
        return found is Reach.PUBLIC or (found is Reach.LOOPBACK and self.loopback)


@dataclass(frozen=True)
class Fault:
    """The fault of a text that would be public. Nothing of the text is in it."""

    what: str
    hint: str = "A record is public for ever. Remove it."


@dataclass(frozen=True)
class Url:
    """The parts of a URL, as written."""

    scheme: str
    place: str
    path: str
    query: str | None
    fragment: str | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The URL that a text is; `None` where it is none."""
        found = _URL.fullmatch(text)
        return None if found is None else cls(found[1].lower(), *found.groups()[1:])

    @property
    def host(self) -> str | None:
        """The host; `None` where the place is none and a port."""
        found = _PLACE.fullmatch(self.place)
        return found[1] if found and int(found[2] or 0) < 1 << 16 else None

    @property
    def parameters(self) -> Iterator[tuple[str, str]]:
        """Names and values of the query, and of what follows `;` in the path or stands in the fragment like a query."""
        parts = [self.query or "", *self.path.split(";")[1:]]
        if self.fragment and "=" in self.fragment:
            parts.append(self.fragment)
        for part in parts:
            for pair in filter(None, _SEPARATOR.split(part)):
                name, _, value = pair.partition("=")
                yield name, value


def field_fault(text: str, schemes: tuple[str, ...], allowed: Allowed) -> Fault | None:
    """The fault of an address in a record's field.

    Args:
        text: the field's value.
        schemes: those that the field takes.
        allowed: by the caller.
    """
    url = Url.parse(text)
    if url is None or not re.fullmatch(r"[!-~]+", text) or "\\" in text:
        return Fault(
            "a path of this machine, or no URL at all, where strangers need an address",
            "Give the index a store: AtmosphereIndex(client, data_store=PDSBlobStore(client)).",
        )
    if "@" in url.place:
        return Fault("a record would publish a URL with credentials", CREDENTIALS_HINT)
    if url.scheme == "at" and "at" in schemes:
        return _at_fault(text)
    if url.fragment is not None:
        return Fault("a record would publish a URL with a fragment", "Remove it: servers never see one.")
    refused = [name for name, _ in url.parameters if name not in allowed.parameters]
    if url.query == "" or refused:
        return Fault(
            "a record would publish a URL with parameters, as presigned ones have",
            "Remove them, or name those that are harmless: AtmosphereClient(public_query=...), ATDATA_PUBLIC_QUERY.",
        )
    if url.scheme in _BUCKETS and url.scheme in schemes:
        fits = _BUCKET.fullmatch(url.place) and reach(url.place) is not Reach.LOOPBACK and not _is_number(url.place)
        return None if fits else Fault("an address whose bucket is none", "It reads s3://bucket/key.")
    host = url.host
    if host is None or not allowed.takes(host):
        return Fault("an address that strangers cannot reach", LOCAL_HINT)
    local = allowed.loopback and reach(host) is Reach.LOOPBACK
    if url.scheme not in schemes and not (local and url.scheme == "http" and "https" in schemes):
        return Fault(
            "an address of plain http://, or of another kind that strangers do not read from",
            f"Use {' or '.join(schemes)}.",
        )
    return None


def text_fault(url: Url, allowed: Allowed) -> Fault | None:
    """The fault of a URL in free text."""
    if "@" in url.place:
        return Fault("a record would publish a URL with credentials", CREDENTIALS_HINT)
    for name, _ in url.parameters:
        if name not in HARMLESS | allowed.parameters:
            return Fault(
                "a record would publish a URL with parameters, as presigned ones have",
                f"Remove them: in a text only {', '.join(sorted(HARMLESS))} are harmless.",
            )
    if (
        url.fragment
        and "=" not in url.fragment
        and (_TOKEN.search(url.fragment) or not _FRAGMENT.fullmatch(url.fragment))
    ):
        return Fault("a record would publish a URL whose fragment may be a key", "Remove the fragment.")
    if url.scheme in ("at", "atdata") or (url.scheme in (*_BUCKETS, "hf", "doi") and _BUCKET.fullmatch(url.place)):
        return None  # their places are no hosts; addresses of a local index are found by their text
    host = url.host
    if host is None or not allowed.takes(host):
        return Fault("a record would publish an address that strangers cannot reach", LOCAL_HINT)
    return None


def _at_fault(text: str) -> Fault | None:
    try:
        AtUri(text)
    except IdentifierError:
        return Fault("an address of no record", "It reads at://did/collection/record-key.")
    return None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[\d.]+|0x[0-9a-f.x]+", text, re.IGNORECASE) is not None
