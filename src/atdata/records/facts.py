"""Facts about a dataset beside what makes it that dataset: said when it is listed, changed in place later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from atdata.arguments import checked_list, checked_map, maybe_text
from atdata.atproto.syntax import AtUri
from atdata.errors import NotTakenWarning, UsageError, warn
from atdata.records.content import write_content
from atdata.records.entry import SPLITS, Entry
from atdata.records.metadata import pack_metadata
from atdata.records.record import Record
from atdata.samples import PackableSample

Text: TypeAlias = str | UnsetType | None
"""A text, `None` for none, or `UNSET` where nobody says."""

RECUT_FROM = "recutFrom"
"""The key in the metadata of an entry whose shards were cut anew, of the identity of the dataset that it was."""

_OURS = (SPLITS, RECUT_FROM)  # in metadata: what reading depends on, which nobody means who clears what people say


class SaidFacts(TypedDict, total=False):
    """Facts about a dataset as arguments: each may be left out.

    Attributes:
        description: what it holds.
        tags: words to find it by.
        license: SPDX expression or URL.
        metadata: anything else, as msgpack can hold it.
    """

    description: str | None
    tags: Sequence[str] | None
    license: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True)
class Facts:
    """Facts about a dataset that is about to be listed; `None` is what nobody says."""

    description: str | None = None
    tags: tuple[str, ...] | None = None
    license: str | None = None
    metadata: Mapping[str, Any] | None = None
    content_metadata: Mapping[str, Any] | None = None
    metadata_schema_ref: AtUri | None = None

    @classmethod
    def of(
        cls,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        license: str | None = None,  # noqa: A002  the field's own word
        metadata: Mapping[str, Any] | None = None,
    ) -> Facts:
        """The facts that a caller says.

        Raises:
            UsageError: one of another type; the tags are one text, or one of them is empty, or the metadata are no map.
        """
        return cls(
            maybe_text(description, "description"),
            None if tags is None else _tags(tags),
            maybe_text(license, "license"),
            None if metadata is None else checked_map(metadata, "metadata"),
        )

    @classmethod
    def of_entry(cls, entry: Entry) -> Facts:
        """The facts that an entry says."""
        said = (entry.description, entry.tags or None, entry.license, entry.metadata or None)
        return cls(*said, entry.content_metadata, entry.metadata_schema_ref)

    def with_content(self, sample: PackableSample, publish: Callable[[type], AtUri]) -> Facts:
        """The same, with metadata of a declared type, which is published once it is known that a record can hold them.

        Raises:
            SampleError: a value does not fit the type, or is a float where it does not say so.
        """
        content = write_content(sample)
        return replace(self, content_metadata=content, metadata_schema_ref=publish(type(sample)))

    @property
    def content(self) -> dict[str, Any]:
        """The metadata of a declared type and where its schema stands, by the name of the entry's attribute."""
        return {"content_metadata": self.content_metadata, "metadata_schema_ref": self.metadata_schema_ref}

    def over(self, others: Facts) -> Facts:
        """The same, with what others say where these say nothing."""
        return replace(others, **self.said)

    @property
    def said(self) -> dict[str, Any]:
        """The facts that somebody gave, by the name of the entry's attribute."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


def changed(
    entry: Entry,
    description: Text = UNSET,
    tags: Sequence[str] | UnsetType | None = UNSET,
    license: Text = UNSET,  # noqa: A002  the field's own word
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    content: Facts | UnsetType = UNSET,
) -> Entry:
    """An entry of which something else is said; see `RecordIndex.update_dataset`. `content` are `with_content`.

    Raises:
        UsageError: one of another type; the tags are one text, or the metadata are no map.
    """
    said: dict[str, Any] = {}
    if description is not UNSET:
        said["description"] = maybe_text(description, "description")
    if tags is not UNSET:
        said["tags"] = () if tags is None else _tags(tags)
    if license is not UNSET:
        said["license"] = maybe_text(license, "license")
    if metadata is None:
        said["metadata"] = {name: entry.metadata[name] for name in _OURS if name in entry.metadata}
    elif metadata is not UNSET:
        merged = {**entry.metadata, **checked_map(metadata, "metadata")}
        said["metadata"] = {name: merged[name] for name in merged if metadata.get(name, ...) is not None}
    differing = {name: value for name, value in said.items() if not _same(getattr(entry, name), value)}
    if content is not UNSET and not _equal(Facts.of_entry(entry).content, content.content):
        differing |= content.content
    return replace(entry, **differing) if differing else entry


def warn_of_not_taken(stands: Record, said: Mapping[str, Any], hint: str) -> None:
    """Warn of what was said about a record that was listed already, and says something else."""
    lost = [name for name, value in said.items() if not _same(getattr(stands, name), value)]
    if lost:
        warn(NotTakenWarning(stands.index_keys.name, tuple(lost), hint, stands.uri))


def _tags(tags: Any) -> tuple[str, ...]:
    hint = 'Write tags=["..."].'
    if isinstance(tags, Iterator):  # they are looked at more than once
        raise UsageError("tags must be a list of texts", path="tags", actual=type(tags).__name__, hint=hint)
    found = checked_list(tags, str, "tags", hint)
    for place, tag in enumerate(found):
        if not tag.strip():
            raise UsageError("a tag has no text", path=f"tags[{place}]", actual=repr(tag), hint="Leave it out.")
    return found


def _same(stands: Any, said: Any) -> bool:
    """True if a record says what somebody says: metadata as they are once they are packed."""
    if isinstance(said, Mapping):
        said, stands = (msgspec.msgpack.decode(pack_metadata(value or {})) for value in (said, stands))
    return _equal(stands, said)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    # True is 1 in Python, and NaN nothing.
    return type(one) is type(other) and (one == other or (one != one and other != other))
