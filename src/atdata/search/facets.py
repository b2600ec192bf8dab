"""Facets: what a document can be filtered by and counted under, as tokens for a database and as numbers for counting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import urlsplit

from atdata.search.words import folded

MAX_VALUE = 200
"""Characters of a facet's value that anybody may choose; a longer one is cut."""
ANY = "_any"
"""The token that every document has."""


class FacetKind(IntEnum):
    """The kinds of facets; the numbers are kept in databases."""

    kind = 0
    license = 1
    family = 2
    tag = 3
    field = 4
    type = 5
    shape = 6
    publisher = 7
    samples = 8
    bytes = 9
    storage = 10
    digests = 11
    label = 12
    schema = 13
    content = 14
    labelled = 15
    labelled_by = 16


_NO_KEYS = frozenset({FacetKind.family, FacetKind.content, FacetKind.labelled_by})
KEYS = {kind: kind.name for kind in FacetKind if kind not in _NO_KEYS} | {FacetKind.bytes: "size"}
"""The key of each kind, by which questions ask for it and under which answers count it; a family is asked for as a license."""
SIZES = frozenset({FacetKind.samples, FacetKind.bytes})
COUNTED = KEYS.keys() - {FacetKind.schema}
_ADDRESSES = frozenset({FacetKind.publisher, FacetKind.schema, FacetKind.content})
_WHOLE = _ADDRESSES | {FacetKind.labelled_by}


class Facet(NamedTuple):
    """A value that a document has, of a kind."""

    kind: FacetKind
    value: str

    @classmethod
    def of(cls, kind: FacetKind, value: str) -> Facet:
        """A facet as it is kept: no longer than it may be."""
        return cls(kind, value if kind in _WHOLE else value[:MAX_VALUE])

    @property
    def token(self) -> str:
        """The token that stands for it, whatever its case: a digest, for anybody may choose the value."""
        text = self.value if self.kind in _ADDRESSES else folded(self.value)
        said = f"{int(self.kind)}:{text}".encode("utf-8", "surrogatepass")
        return f"_{blake2b(said, digest_size=10).hexdigest()}"


# --- licenses

_ID = re.compile(r"[A-Za-z0-9.+-]+")
_OPERATORS = frozenset({"AND", "OR", "WITH"})
_CREATIVE = re.compile(r"/licenses/([a-z]+(?:-[a-z]+)*)/(\d\.\d)(?:/|$)")
_ZERO = re.compile(r"/publicdomain/zero/(\d\.\d)(?:/|$)")


def licenses_in(expression: str) -> list[str]:
    """The licenses in a SPDX expression; of a URL that Creative Commons or SPDX gave one, that; else the text itself."""
    text = expression.strip()[:MAX_VALUE]
    if "://" in text:
        return [_of_url(text)]
    words = text.replace("(", " ").replace(")", " ").split()
    if not words or not all(_ID.fullmatch(word) for word in words):
        return [text] if text else []
    after_with = {at + 1 for at, word in enumerate(words) if word.upper() == "WITH"}
    found = [word for at, word in enumerate(words) if word.upper() not in _OPERATORS and at not in after_with]
    operators = len(words) - len(found) - len(after_with)
    well_formed = len(found) == operators + 1 - len(after_with)
    return list(dict.fromkeys(found)) if well_formed else [text]


def family_of(license_id: str) -> str:
    """The family of a license: its SPDX identifier up to the version, such as `CC-BY`, `GPL` or `BSD`."""
    if _ID.fullmatch(license_id) is None:
        return license_id
    head, *rest = license_id.split("-")
    kept = [head]
    for part in rest:
        if part[:1].isdigit():
            break
        kept.append(part)
    return "-".join(kept)


def _of_url(text: str) -> str:
    parts = urlsplit(text) if text.isascii() and "[" not in text else None
    host = "" if parts is None else parts.netloc.lower().removeprefix("www.")
    path = "" if parts is None else parts.path
    if host == "creativecommons.org" and (found := _CREATIVE.match(path)):
        return f"CC-{found[1].upper()}-{found[2]}"
    if host == "creativecommons.org" and (found := _ZERO.match(path)):
        return f"CC0-{found[1]}"
    if host == "spdx.org" and path.startswith("/licenses/"):
        return path.removeprefix("/licenses/").removesuffix(".html")
    return text


# --- sizes

UNKNOWN = "unknown"
_DECADES = 19
_CLASSES = tuple(f"10^{power}" for power in range(_DECADES))


def size_class(count: int | None) -> str:
    """The class of a size: the power of ten that it reaches, `0`, or `unknown`."""
    if count is None or count < 0:
        return UNKNOWN
    return "0" if count == 0 else f"10^{min(len(str(count)), _DECADES) - 1}"


def at_least(size: str) -> Iterator[str]:
    """Yields what stands for each power of ten that a class reaches: what is large is found by one token."""
    if size in _CLASSES:
        yield from (f">={reached}" for reached in _CLASSES[: _CLASSES.index(size) + 1])


def with_open_end(sizes: Sequence[str]) -> list[str]:
    """The same classes; what stands for all from one on to the last in the place of these."""
    first = next((at for at in range(len(_CLASSES)) if set(_CLASSES[at:]) <= set(sizes)), None)
    if first is None:
        return [*sizes]
    return [*(size for size in sizes if size not in _CLASSES[first:]), f">={_CLASSES[first]}"]


def size_classes(least: int, below: int | None) -> Iterator[str]:
    """Yields the classes of sizes from one power of ten to below another; `0` is below all."""
    for count in (0, *(10**power for power in range(_DECADES))):
        if least <= count and (below is None or count < below):
            yield size_class(count)
