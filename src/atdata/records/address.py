"""`atdata://` addresses: what an index lists, by whose index, kind, name and version (formats.md 4)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn, Self
from urllib.parse import quote, unquote_to_bytes

from atdata.arguments import did_you_mean
from atdata.atproto.syntax import Handle, parse_identifier
from atdata.errors import IdentifierError, NotFoundError, UsageError
from atdata.records.version import is_semver

LOCAL = "local"
"""The owner that stands for the caller's own index."""

AUTHORITY = Handle("atdata.local")
"""The authority of records in such an index. No account can ever have it: `.local` is nobody's domain."""

KINDS = ("schema", "sampleSchema", "dataset", "lens")
SCHEMES = ("atdata://", "local://")

_FORM = "atdata://{local, handle or DID}/{schema, dataset or lens}/{name}[@{version}]"
_MAX_NAME = 200
_MAX_TEXT = 8192
_MODERN = re.compile(r"atdata://([^/?#]+)/([^/?#]+)/([^/?#@]+)(?:@([^/?#@]+))?")
_LEGACY = re.compile(r"local://schemas/([^/?#@]+)@([^/?#@]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Address:
    """The address of what an index lists under a name: `atdata://{owner}/{kind}/{name}[@{version}]`.

    Attributes:
        owner: `local` for the caller's own index, else a handle or a DID.
        kind: `dataset`, `lens` or `schema`; `sampleSchema`, the other word for a schema, stays as it was written.
        name: any text; what an address cannot hold is percent-encoded in its text, and only there.
        version: a semantic version; `None` stands for the highest there is.

    Raises:
        IdentifierError: a part is not what it must be.
    """

    owner: str
    kind: str
    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        if self.owner != LOCAL:
            parse_identifier(self.owner)
        if self.kind not in KINDS:
            hint = did_you_mean(self.kind, KINDS)
            _refuse("an address of a kind that there is not", self.kind, ", ".join(KINDS), hint)
        if not 0 < len(self.name) <= _MAX_NAME or self.name in (".", "..") or not _is_text(self.name):
            _refuse("a name that an address cannot have", self.name, f"1 to {_MAX_NAME} characters, none for control")
        if self.version is not None and not is_semver(self.version):
            _refuse("an address with a version that is none", self.version, "a semantic version, such as 1.0.0")

    @property
    def is_local(self) -> bool:
        """True if it is in the caller's own index."""
        return self.owner == LOCAL

    @property
    def is_schema(self) -> bool:
        """True if it is a schema's, by either word for one."""
        return self.kind in ("schema", "sampleSchema")

    @classmethod
    def parse(cls, text: object) -> Self:
        """The address that text is; also the older `local://schemas/{module.Class}@{version}`, whose name is the class.

        Raises:
            IdentifierError: it is none.
        """
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            _refuse("text that is no address of atdata", text, _FORM)
        if match := _LEGACY.fullmatch(text):
            return cls(LOCAL, "schema", _decoded(match[1]).rpartition(".")[2], match[2])
        match = _MODERN.fullmatch(text)
        if match is None:
            _refuse("text that is no address of atdata", text, _FORM, "In a name write %40 for @ and %2F for /.")
        return cls(match[1], match[2], _decoded(match[3]), match[4])

    def __str__(self) -> str:
        version = "" if self.version is None else f"@{self.version}"
        return f"atdata://{self.owner}/{self.kind}/{quote(self.name, safe='')}{version}"


def name_and_version(text: str) -> tuple[str, str | None]:
    """Name and version in `name[@version]`.

    Raises:
        UsageError: the version is an empty text.
    """
    name, at, version = text.partition("@")
    if at and not version:
        raise UsageError(
            "version must not be empty",
            expected="name@version, or the name alone for the newest",
            actual=repr(text)[:200],
        )
    return name, version or None


def named_locally(ref: str, kinds: Collection[str] = ("dataset",)) -> tuple[str, str | None]:
    """Name and version in a reference to what an index of one's own lists: `[@local/]name[@version]`, or an address.

    Raises:
        UsageError: the version is an empty text.
        NotFoundError: it is an address of something else.
        IdentifierError: it is none.
    """
    if not ref.startswith(SCHEMES):
        return name_and_version(ref.removeprefix(f"@{LOCAL}/"))
    address = Address.parse(ref)
    if not address.is_local or address.kind not in kinds:
        raise NotFoundError(f"the address names no {next(iter(kinds))} of this index", uri=ref)
    return address.name, address.version


def named_publicly(ref: str) -> tuple[str | None, str, str | None]:
    """Owner, name and version in a reference to a dataset on the network: `@handle/name[@version]`, or an address; of
    `name[@version]`, which is one's own, no owner.

    Raises:
        UsageError: the version is an empty text.
        NotFoundError: it is an address of something else.
        IdentifierError: it is none.
    """
    if ref.startswith(SCHEMES):
        address = Address.parse(ref)
        if address.is_local or address.kind != "dataset":
            raise NotFoundError("the address names no dataset of the network", uri=ref)
        return address.owner, address.name, address.version
    owner, _, rest = ref[1:].partition("/") if ref.startswith("@") else (None, "", ref)
    return owner, *name_and_version(rest)


def _decoded(name: str) -> str:
    try:
        return unquote_to_bytes(name).decode("utf-8")
    except UnicodeError:
        _refuse("a name that is no UTF-8", name, "percent-encoded UTF-8")


def _is_text(name: str) -> bool:
    """True if a name can be written anywhere: no control characters, and no halves of characters."""
    return not _CONTROL.search(name) and not any("\ud800" <= char <= "\udfff" for char in name)


def _refuse(what: str, given: object, expected: str, hint: str | None = None) -> NoReturn:
    """Raise the error for text that is no address."""
    raise IdentifierError(what, expected=expected, actual=repr(given)[:200], hint=hint or f"An address reads {_FORM}.")
