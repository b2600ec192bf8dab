"""New versions of a dataset that keep all shards of the one before, and add some (decision 31)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atdata.atproto.syntax import AtUri, Tid
from atdata.dataset import Dataset, write_samples
from atdata.dataset.view import ShardView
from atdata.errors import (
    ConflictError,
    MissingExtraError,
    NotFoundError,
    NotTakenWarning,
    RetractedError,
    SchemaError,
    UsageError,
    warn,
)
from atdata.index.checks import check_first, takes
from atdata.index.deciding import Decision, Write
from atdata.index.names import label_in, next_minor, retracted
from atdata.index.ports import RecordState
from atdata.manifest import require_parquet
from atdata.records import Entry, Label, Predecessor, Schema, ShardManifest, Size, Storage, Version
from atdata.records.entry import SPLITS, shard_key
from atdata.records.facts import RECUT_FROM
from atdata.records.record import now
from atdata.samples import DictSample
from atdata.schema import schema_of
from atdata.shards import ShardRef

_TRAIN = "train"


@dataclass(frozen=True)
class StoredShards:
    """Shards where an entry will say that they are, as a record says it.

    Attributes:
        shards: in order.
        storage: the same, as a record says it.
        manifests: theirs; none where there are none.
        layout: the extensions of the file that each field stands in; empty where samples are packed.
    """

    shards: Sequence[ShardRef]
    storage: Storage
    manifests: tuple[ShardManifest, ...] = ()
    layout: Mapping[str, str] = field(default_factory=dict)

    def without(self, known: frozenset[str]) -> StoredShards:
        """The same without those that are known by digest."""
        kept = [n for n, shard in enumerate(self.shards) if shard_key(shard) not in known]
        if len(kept) == len(self.shards):
            return self
        return StoredShards(
            [self.shards[n] for n in kept],
            replace(self.storage, listed=tuple(self.storage.listed[n] for n in kept)),  # type: ignore[type-var]
            tuple(self.manifests[n] for n in kept) if self.manifests else (),
            self.layout,
        )


@dataclass(frozen=True)
class Sending:
    """Shards that are about to be stored.

    Attributes:
        planned: as they will be.
        send: stores what is not in place yet; with `True` also what a server took before and may have dropped since.
    """

    planned: StoredShards
    send: Callable[[bool], StoredShards]

    def without_manifests(self) -> Sending:
        """The same shards, for an entry that lists no manifests."""
        return Sending(replace(self.planned, manifests=()), lambda again: replace(self.send(again), manifests=()))


@dataclass(frozen=True, kw_only=True)
class Addition:
    """The arguments of `append`, once it is known what there is to add.

    Attributes:
        name: of the dataset.
        stored: the new shards.
        schema: what the samples of the new version are.
        base_schema: the schema that this was found out for.
        identities: the identity of an entry (`Entry.identity`).
        split: that the new shards are of.
        version: of the new version.
        notes: what is particular about it.
    """

    name: str
    stored: StoredShards
    schema: Schema
    base_schema: AtUri
    identities: Callable[[Entry], Any] = field(repr=False)
    split: str | None = None
    version: str | None = None
    notes: str | None = None


def appended(state: RecordState, addition: Addition) -> Decision[Entry | None]:
    """The writes of a version with new shards after all of the newest one; `None` where that has another schema by now.

    Shards that it has already are not added once more.

    Raises:
        NotFoundError: there is no such dataset of one's own.
        RetractedError: all its versions were retracted.
        ConflictError: the version is taken, or was retracted.
        UsageError: the version comes before that of the dataset, the split cannot be told, or the shards are in places
            that one entry cannot name.
    """
    named = state.named(Label, addition.name)
    last = named.last()  # first: what is listed after this look takes the next version, and is noticed
    label = last if last is None or not last.is_retracted else named.newest()
    if label is None and last is not None:
        raise retracted(last, RetractedError, last=True)
    base = None if label is None else state.get(label.dataset_uri, Entry)
    if label is None or base is None:
        raise NotFoundError(
            f"there is no dataset {addition.name} of one's own to append to", hint="Insert it first: insert_dataset."
        )
    if base.schema_ref not in (addition.base_schema, addition.schema.uri):
        return Decision(None)
    fresh = addition.stored.without(frozenset(base.shard_keys))
    if not fresh.shards:
        return _found(state, base, label, addition)
    version = next_minor(last.version if last else None) if addition.version is None else addition.version
    if addition.version is not None and (taken := named.of_version(version)) and not taken.is_retracted:
        raise ConflictError(
            f"{addition.name}@{version} already stands for another dataset",
            uri=taken.uri,
            actual="other shards",
            hint="Append under a new version, or without version= under the next.",
        )
    _check_after(label, version)
    entry = _extended(base, fresh, addition)
    known = state.named(Entry, entry.name).of_content(entry.index_keys.content)
    stands = known or state.place(entry, Tid.now())
    if addition.version is None:  # not looked for: whoever is faster takes it, and then all this is decided again
        draft = Label(name=addition.name, dataset_uri=stands.located, version=version, description=addition.notes)
        labelled = [Write.create(state.place(draft, Tid.now()))]
    else:
        labelled = [*label_in(state, stands, addition.name, version, addition.notes).writes]
    return Decision(stands, [*([] if known else [Write.create(stands)]), *labelled], after=last)


def _found(state: RecordState, base: Entry, label: Label, addition: Addition) -> Decision[Entry | None]:
    """The decision where nothing is new: a version that is asked for is there already, or one more label."""
    if addition.version in (None, label.version):
        return Decision(base)
    there = state.named(Label, addition.name).of_version(addition.version)
    earlier = None if there is None or there.is_retracted else state.get(there.dataset_uri, Entry)
    if earlier is not None and not addition.stored.without(frozenset(earlier.shard_keys)).shards:
        return Decision(earlier)
    if there is None:
        _check_after(label, addition.version)
    return Decision(base, label_in(state, base, addition.name, addition.version, addition.notes).writes)


def warn_of_not_appended(
    entry: Entry, labels: Sequence[Label], new: StoredShards, split: str | None, notes: str | None
) -> None:
    """Warn of what is said of shards that a dataset has already, and is not so."""
    lost = []
    if split is not None and new.without(frozenset(map(shard_key, entry.splits.get(split, ())))).shards:
        lost.append("split")
    if notes is not None and notes not in [label.description for label in labels]:
        lost.append("notes")
    if lost:
        hint = "A version stays as it is; append something else, or retract it and list another."
        warn(NotTakenWarning(entry.name, tuple(lost), hint, entry.uri))


def _check_after(label: Label, version: str) -> None:
    if label.version is not None and Version.parse(version) <= Version.parse(label.version):
        raise UsageError(
            "a version with more comes after the one before",
            path="version",
            expected=f"a semantic version after {label.version}",
            actual=version,
        )


def _extended(base: Entry, fresh: StoredShards, addition: Addition) -> Entry:
    """The entry of a dataset with more shards; facts stay as they are, but for what they say of the shards."""
    both = base.storage.joined(fresh.storage)
    if base.layout and fresh.layout and base.layout != fresh.layout:
        raise UsageError(
            "the new shards have another layout than those of the dataset",
            path="new",
            expected=base.layout,
            actual=fresh.layout,
            hint="Append paths of shards with the same extensions, or samples.",
        )
    whole = bool(base.manifests and fresh.manifests)
    metadata = {name: value for name, value in base.metadata.items() if name != RECUT_FROM}
    if (splits := _splits(base, len(fresh.shards), addition.split)) is not None:
        metadata[SPLITS] = splits
    return replace(
        base,
        schema_ref=addition.schema.located,
        storage=both,
        size=_sum(base.size, Size.of(fresh.shards)),
        metadata=metadata,
        layout=base.layout or fresh.layout,
        manifests=(*base.manifests, *fresh.manifests) if whole else (),
        predecessor=Predecessor(addition.identities(base), base.located),
        created_at=now(),
        uri=None,
        cid=None,
        evidence=None,
        older_forms=(),
    )


def _splits(base: Entry, count: int, split: str | None) -> dict[str, list[int]] | None:
    """The numbers of the shards of each split; `None` where all are in the one that nobody needs to name."""
    declared: Mapping[str, Sequence[int]] | None = base.metadata.get(SPLITS)
    old = len(base.shard_keys)
    new = list(range(old, old + count))
    if declared is None:
        return None if split in (None, _TRAIN) else {_TRAIN: list(range(old)), str(split): new}
    if split is None:
        split = _TRAIN if _TRAIN in declared else next(iter(declared)) if len(declared) == 1 else None
    if split is None:
        raise UsageError(
            "the dataset has splits, and nobody says which one the new shards are of",
            path="split",
            expected=", ".join(map(str, declared))[:200],
            hint="Give split=; one that there is not is made.",
        )
    return {**{name: list(numbers) for name, numbers in declared.items()}, split: [*declared.get(split, ()), *new]}


def _sum(one: Size, other: Size) -> Size:
    def total(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a + b

    return Size(*map(total, (one.samples, one.bytes, one.shards), (other.samples, other.bytes, other.shards)))


def as_dataset(new: Any, scratch: Path) -> Dataset[Any]:
    """The dataset of what somebody appends: itself, the shards at paths or addresses, or samples, written to a folder.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(new, Dataset):
        return new
    if paths := paths_of(new):
        return Dataset(paths)
    if isinstance(new, Mapping) or not isinstance(new, Iterable):
        raise UsageError(
            "only shards or samples can be appended",
            path="new",
            expected="a Dataset, paths of shards, or samples",
            actual=type(new).__name__,
        )
    manifest = False
    with suppress(MissingExtraError):
        require_parquet()
        manifest = True
    return write_samples(new, scratch / "%06d.tar", manifest=manifest)


def paths_of(new: object) -> list[str]:
    """The paths and addresses of shards that are somewhere; none where somebody appends something else."""
    items = [new] if isinstance(new, str | os.PathLike) else new if isinstance(new, list | tuple) else []
    return [os.fspath(item) for item in items] if all(isinstance(item, str | os.PathLike) for item in items) else []


def as_stored(dataset: Dataset[Any], base: Schema, layout: Mapping[str, str]) -> Dataset[Any]:
    """Samples whose type nobody said, as those of a dataset with a schema, in the files that its layout names.

    Raises:
        SampleError: the first is no such sample.
        UsageError: the layout does not fit.
    """
    view = dataset.view
    if view.sample_type is not DictSample:
        return dataset
    if isinstance(view, ShardView) and view.fields is None and not view.transforms:
        dataset = dataset.as_type(base.sample_type, layout=None if view.layout else layout or None)
    check_first(dataset, base)
    return dataset


def check_adds(dataset: Dataset[Any], base: Schema) -> bool:
    """Refuse samples that do not go with those of a dataset; `True` if they have fields that those lack.

    A field that only some have must be optional: samples are read as having none.

    Raises:
        SchemaError: they do not.
    """
    if dataset.sample_type is DictSample:
        return False
    given = {item.name: item for item in schema_of(dataset.sample_type).fields}
    declared = {item.name: item for item in base.sample_schema.fields}
    for name, item in given.items():
        if name not in declared and item.required:
            raise _unfit(base, name, "a field that older samples lack must be optional", str(item.type))
        if name in declared and not takes(declared[name], item):
            raise _unfit(base, name, "the samples are not what the dataset holds", item.shown)
    more = given.keys() - declared.keys()
    for name, item in declared.items():
        if name not in given and (more or item.required):
            raise _unfit(base, name, "the samples lack a field of those before", "no such field")
    return bool(more)


def _unfit(base: Schema, name: str, what: str, actual: str) -> SchemaError:
    declared = {item.name: item.shown for item in base.sample_schema.fields}
    return SchemaError(
        what,
        uri=base.uri,
        path=name,
        expected=declared.get(name, "T | None"),
        actual=actual,
        hint="Append samples of the dataset's own type, or of one that only adds optional fields.",
    )
