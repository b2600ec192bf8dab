"""The history of a name, and the difference between two datasets."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.view import of_shards
from atdata.errors import NotFoundError
from atdata.manifest import SampleChanges, SampleDigests, sample_digests
from atdata.progress import progress
from atdata.records import Entry, Label, Retraction, Schema
from atdata.records.address import AUTHORITY
from atdata.shards import ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.opening import open_shard
from atdata.shards.ports import DataSource
from atdata.shards.rows import read_rows

_FACTS = ("description", "license", "metadata", "tags")


@dataclass(frozen=True)
class FieldChanges:
    """The changes from the fields of one schema to those of another; types, and units, as text.

    Attributes:
        added: fields that only the other has, with their types.
        removed: fields that it lacks.
        changed: fields of another type there: the type before, and after.
    """

    added: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def between(cls, one: Schema, other: Schema) -> FieldChanges:
        """The changes from one schema to another."""
        before, after = ({item.name: item.shown for item in s.sample_schema.fields} for s in (one, other))
        return cls(
            {name: kind for name, kind in after.items() if name not in before},
            {name: kind for name, kind in before.items() if name not in after},
            {name: (kind, after[name]) for name, kind in before.items() if after.get(name, kind) != kind},
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class ShardChanges:
    """The changes from the dataset before, as records say it.

    Attributes:
        added: the number of shards that were not in it.
        removed: the number of its shards that are not there any more.
        samples: how many samples more there are; `None` where one of the two does not say.
        fields: what became of the fields.
    """

    added: int
    removed: int
    samples: int | None
    fields: FieldChanges


@dataclass(frozen=True)
class HistoryItem:
    """A version of a name.

    Attributes:
        version: of the name; `None` for a label without one.
        created_at: when it was listed, as an AT Protocol datetime.
        author: the DID of the account that listed it; `None` in a local index, which has no accounts.
        notes: what is particular about it, as its label says.
        entry: what it stands for; `None` where that is gone.
        retraction: why it stands for nothing any more.
        predecessor: the version that its changes are from: the one it was made from by `append`, else the one before.
        changes: from that one; `None` for the first, and where one of the two is gone.
    """

    version: str | None
    created_at: str
    author: str | None
    notes: str | None
    entry: Entry | None = field(repr=False)
    retraction: Retraction | None = None
    predecessor: str | None = None
    changes: ShardChanges | None = None


@dataclass(frozen=True)
class DatasetDiff:
    """The difference between two datasets.

    Attributes:
        samples: what became of the samples.
        fields: what became of the fields.
        facts: what is said otherwise: some of `description`, `license`, `metadata`, `tags`.
        shards: the number of shards that are those of both.
    """

    samples: SampleChanges
    fields: FieldChanges
    facts: tuple[str, ...]
    shards: int


def history_of(
    labels: Sequence[Label], read_entry: Callable[[str], Entry], read_schema: Callable[[str], Schema]
) -> list[HistoryItem]:
    """The versions that labels of one name stand for, in their order: the newest first."""
    entries: dict[str, Entry] = {}
    for label in labels:
        with suppress(NotFoundError):
            if not label.is_retracted:
                entries.setdefault(label.dataset_uri, read_entry(label.dataset_uri))
    items: list[HistoryItem] = []
    seen: list[tuple[Label, Entry | None]] = []
    for label in reversed(labels):
        entry = entries.get(label.dataset_uri)
        before = _before(entry, seen)
        changes = None if entry is None or before is None else _changes(before[1], entry, read_schema)
        authority = label.located.authority
        items.append(
            HistoryItem(
                version=label.version,
                created_at=label.created_at,
                author=None if authority == AUTHORITY else str(authority),
                notes=label.description,
                entry=entry,
                retraction=label.retraction,
                predecessor=None if before is None else before[0].version,
                changes=changes,
            )
        )
        seen.append((label, entry))
    return items[::-1]


def _before(entry: Entry | None, seen: Sequence[tuple[Label, Entry | None]]) -> tuple[Label, Entry] | None:
    """The version that an entry was made from, else the one before it that is still there."""
    there = [(label, found) for label, found in reversed(seen) if found is not None]
    if entry is not None and entry.predecessor is not None:
        there.sort(key=lambda item: item[1].uri != entry.predecessor.uri)  # type: ignore[union-attr]  # it is not None
    return there[0] if there else None


def _changes(before: Entry, after: Entry, read_schema: Callable[[str], Schema]) -> ShardChanges:
    old, new = Counter(before.shard_keys), Counter(after.shard_keys)
    sizes = before.size.samples, after.size.samples
    fields = FieldChanges()
    if before.schema_ref != after.schema_ref:
        fields = FieldChanges.between(read_schema(before.schema_ref), read_schema(after.schema_ref))
    samples = None if sizes[0] is None or sizes[1] is None else sizes[1] - sizes[0]
    return ShardChanges((new - old).total(), (old - new).total(), samples, fields)


def difference(
    one: Dataset[Any], other: Dataset[Any], entries: Sequence[Entry], schemas: Sequence[Schema]
) -> DatasetDiff:
    """The difference between two datasets of entries, by the manifests of the shards that are not those of both.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ShardNotFoundError, NetworkError, DigestError, ShardError: a manifest, or a shard without one, cannot be had.
    """
    before, after = (Counter(str(shard.digest or shard.url) for shard in data.shards) for data in (one, other))
    shared = before & after
    left = [*_others(one, shared), *_others(other, shared)]
    count = sum((before - shared).values())
    found: list[SampleDigests] = []
    with progress("Comparing", sum(shard.size or 0 for _, shard, _ in left)) as bars:
        for source, shard, cache in left:
            bars.begin(shard.url, shard.size or 0)
            found.append(_samples(source, shard, cache))
            bars.advance(shard.size or 0)
    samples, total = SampleChanges.between(found[:count], found[count:]), entries[0].size.samples
    if shared:  # their samples are the same, and nobody looked at them
        same = None if total is None else total - len(samples.removed) - len(samples.changed)
        samples = replace(samples, same=same)
    facts = tuple(fact for fact in _FACTS if getattr(entries[0], fact) != getattr(entries[1], fact))
    return DatasetDiff(samples, FieldChanges.between(*schemas), facts, shared.total())


def _others(dataset: Dataset[Any], shared: Counter[str]) -> Iterator[tuple[DataSource, ShardRef, ShardCache]]:
    """The shards of a dataset that are not among the shared ones."""
    left = Counter(shared)
    for shard in of_shards(dataset.view).source.shards:
        key = str(shard.digest or shard.url)
        if left[key]:
            left[key] -= 1
        else:
            yield of_shards(dataset.view).source, shard, of_shards(dataset.view).table.shards.cache


def _samples(source: DataSource, shard: ShardRef, cache: ShardCache) -> SampleDigests:
    """The keys and digests of a shard's samples: by its manifest, or else by reading it."""
    found = sample_digests(source, shard, cache)
    if found is not None:
        return found
    opened = open_shard(source, replace(shard, manifest=None), cache)
    keys, digests = list[str](), bytearray()
    with opened.file:
        for key, packed in read_rows(opened.file, opened.size, shard.url):
            keys.append(key)
            digests += hashlib.sha256(packed).digest()
    return SampleDigests.of(keys, bytes(digests))
