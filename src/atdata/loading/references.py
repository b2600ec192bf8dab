"""References: text that names a dataset and not its shards, and the caller's own index. Nothing here is of the network."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from atdata.atproto.syntax import AtUri, parse_identifier, without_marks
from atdata.dataset import DatasetDict
from atdata.errors import IdentifierError, UsageError
from atdata.policy import Policy
from atdata.records import Address
from atdata.records.address import AUTHORITY, LOCAL, SCHEMES, name_and_version
from atdata.settings import Settings
from atdata.shards.listing import is_file, is_folder
from atdata.shards.ports import DataSource
from atdata.shards.urls import scheme_of

if TYPE_CHECKING:
    from atdata.atmosphere import AllowedCode
    from atdata.local import LocalIndex

_PROFILE = re.compile(r"https?://[^/?#]+/profile/([^/?#]+)/?")  # as the applications of the network show accounts
_PROFILE_RECORD = "app.bsky.actor.profile"
_READ_WITH = {
    "schema": "An index's get_schema and decode_schema read one; on the network, SchemaLoader of atdata.atmosphere.",
    "lens": "On the network, LensLoader of atdata.atmosphere reads one.",
}


@runtime_checkable
class NameIndex(Protocol):
    """An index of the caller's own, such as `atdata.local.LocalIndex`, that finds datasets by their names."""

    def load(
        self,
        name: str,
        version: str | None = None,
        *,
        sample_type: type[Any] | None = None,
        allow_unverified: bool = False,
    ) -> DatasetDict[Any]:
        """The splits of a dataset.

        Args:
            name: of the dataset.
            version: by default the highest.
            sample_type: the type of the samples; by default that of its schema.
            allow_unverified: accept shards without a digest.

        Raises:
            NotFoundError: there is no such name, or no such version.
        """


@dataclass(frozen=True)
class LoadRequest:
    """The arguments of `load_dataset` about the dataset that a reference names."""

    sample_type: type[Any] | None
    split: str | None = None
    allow_unverified: bool = False
    source: DataSource | None = None
    manifests: bool = True
    policy: Policy | str | os.PathLike[str] | None = None
    lenses: tuple[str, ...] = ()
    allow_code: tuple[AllowedCode, ...] = ()
    index: object = None


def cleaned(text: str) -> str:
    """A reference without the spaces and direction marks around it that were pasted with it; a path as it is."""
    plain = without_marks(text)
    return plain if is_reference(plain) else text


def is_reference(text: str) -> bool:
    """True if text names a dataset, or an account, and not shards: its first characters say so."""
    return text.startswith(("@", "at://", *SCHEMES)) or _PROFILE.fullmatch(text) is not None


def may_be_name(text: str) -> bool:
    """True if text that is no reference may be a plain name: no URL, pattern or `.tar`, and nothing is at such a path."""
    written_as_path = scheme_of(text) != "file" or set(text) & set("*?[{") or text.endswith(".tar")
    return not written_as_path and not is_file(text) and not is_folder(text)


def suggested_reference(text: str) -> str | None:
    """A hint, where text that matched no shards only lacks the `@` of a name."""
    owner, _, name = text.partition("/")
    with suppress(IdentifierError):
        if name and may_be_name(text) and not is_folder(owner) and (owner == LOCAL or parse_identifier(owner)):
            return f"Did you mean {'@' + text!r}?"
    return None


def _account_error(ref: str, owner: str) -> UsageError:
    """The error for the address of an account where that of a dataset is wanted."""
    return UsageError(
        "the reference is the address of an account, not of a dataset",
        expected="@handle/name or @handle/name@version",
        actual=ref,
        hint=f"Load a dataset of it as '@{owner}/name'. AtmosphereIndex(AtmosphereClient()).list_datasets({owner!r}) lists them.",
    )


def load_named(name: str, version: str | None, wanted: LoadRequest, settings: Settings) -> DatasetDict[Any]:
    """A dataset of the caller's own index; by default of the one in the settings.

    Raises:
        NotFoundError: there is none of that name.
        CompatibilityError: the type that is asked for does not read its samples.
    """
    if wanted.source is not None:
        raise UsageError("source= needs an entry on the network", hint="Leave it out: the index knows its shards.")
    index = _default_index(settings) if wanted.index is None else wanted.index
    if not isinstance(index, NameIndex):
        hint = "Give an index with a method load, such as atdata.local.LocalIndex."
        raise UsageError("index has no method load", path="index", actual=type(index).__name__, hint=hint)
    return index.load(name, version, sample_type=wanted.sample_type, allow_unverified=wanted.allow_unverified)


def own_index(index: object, settings: Settings) -> LocalIndex | None:
    """The index of the caller's own in which lenses are looked for: the one that is given, else that of the settings, if
    there is one.
    """
    from atdata.local import LocalIndex  # only here: other ways of loading need no index

    if index is not None:
        return index if isinstance(index, LocalIndex) else None
    return _default_index(settings) if settings.index_url or settings.index_file.exists() else None


def _default_index(settings: Settings) -> LocalIndex:
    from atdata.local import LocalIndex

    return LocalIndex(cache=settings.cache, data=settings.data, index_url=settings.index_url)


def parts_of(ref: str) -> tuple[str, str, str | None]:
    """Owner (`local` is the caller), name and version in `@owner/name[@version]`, or in an address.

    Raises:
        IdentifierError: it is malformed.
        UsageError: it names no dataset.
    """
    if profile := _PROFILE.fullmatch(ref):
        raise _account_error(ref, profile[1])
    if ref.startswith("at://"):
        uri = AtUri(ref.rstrip("/"))
        if uri.rkey is None or uri.collection == _PROFILE_RECORD:
            raise _account_error(ref, uri.authority)
        return (LOCAL if uri.authority == AUTHORITY else uri.authority), ref, None
    if ref.startswith(SCHEMES):
        address = Address.parse(ref)
        if address.kind != "dataset":
            kind = "schema" if address.is_schema else address.kind
            raise UsageError(
                f"the reference is the address of a {kind}, not of a dataset",
                expected="atdata://{owner}/dataset/{name}",
                actual=ref,
                hint=_READ_WITH[kind],
            )
        return address.owner, address.name, address.version
    owner, _, name = ref.removeprefix("@").partition("/")
    owner, (name, version) = owner.strip(), name_and_version(name)
    if not owner or not name:
        raise UsageError(
            "the reference names no dataset",
            expected="@handle/name, @handle/name@version, or either with local for the handle",
            actual=ref,
            hint="Write the name of the dataset after the handle.",
        )
    return owner, name, version
