"""WebDataset shards, whose samples are one file a field: the sample type and the layout out of what is in the first."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atdata.arguments import path_text
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.view import of_shards
from atdata.errors import SampleError, UsageError
from atdata.files import atomic_file
from atdata.importers import guesses
from atdata.importers.declaration import declaration
from atdata.importers.files import Snapshot
from atdata.importers.imported import Imported
from atdata.importers.rows import field_names
from atdata.importers.wanted import Wanted
from atdata.loading.files import find_splits
from atdata.plain import plain
from atdata.samples import Array, DictOf, Field, FieldType, ListOf, Maybe, Scalar
from atdata.samples.formats import GZIP, PICKLE, format_of
from atdata.samples.kinds.media import AudioOf, ImageOf, VideoOf
from atdata.samples.layout import file_reader, natural_type
from atdata.schema import SampleSchema, type_of
from atdata.settings import Settings
from atdata.shards import FileSource, Limits, ShardRef, cut_shards
from atdata.shards.addresses import source_at
from atdata.shards.cache import ShardCache
from atdata.shards.digest import CHUNK
from atdata.shards.index import Members
from atdata.shards.listing import FileListing
from atdata.shards.opening import open_shards
from atdata.shards.ports import DataSource
from atdata.shards.rows import read_rows

SHARDS, SAMPLES = 4, 64  # that are looked at
_MEDIA: dict[str, FieldType] = {"image": ImageOf(), "audio": AudioOf(), "video": VideoOf()}
_NAMES = {"cls": "label", "class": "label", "txt": "text", "json": "meta", "jsn": "meta", "npy": "array"}


@dataclass(frozen=True, repr=False)
class Inference:
    """The sample type and the layout of WebDataset shards, as their first samples tell. Printed, it is Python source.

    Attributes:
        sample_type: the inferred type.
        layout: the extensions of the file that each field stands in, as `Dataset(..., layout=)` takes it.
        notes: what it was not sure of, for people.
        samples: how many samples it looked at by their headers.
        shards: how many shards these are in.
        read: of how many it looked at what is in the files.
    """

    sample_type: type[Any]
    layout: Mapping[str, str]
    notes: tuple[str, ...]
    samples: int
    shards: int
    read: int
    _sources: Mapping[str, DataSource]

    @property
    def declaration(self) -> str:
        """The sample type as Python source, to paste and change."""
        return declaration(self.sample_type)

    def dataset(self) -> Dataset[Any] | DatasetDict[Any]:
        """The shards as samples of the type, read in place; where there are splits, each of them."""
        found = self._by_split()
        return next(iter(found.values())) if len(found) == 1 else DatasetDict(found)

    def _by_split(self) -> dict[str, Dataset[Any]]:
        options: dict[str, Any] = {"sample_type": self.sample_type, "layout": self.layout}
        return {split: Dataset(source, **options) for split, source in self._sources.items()}

    def __repr__(self) -> str:
        looked = f"# of {self.samples} samples in {self.shards} shards, {self.read} of them read"
        layout = f"layout = {dict(self.layout)!r}"
        notes = [f"# {plain(note)}" for note in self.notes]
        return "\n".join([looked, *notes, self.declaration, "", "", layout])


def infer(path: str | os.PathLike[str], *, name: str | None = None) -> Inference:
    """The sample type and the layout of WebDataset shards, by the first samples of the first shards.

    A field is a file that samples have: pictures in whatever format are one, unless a sample has two of them; what some
    samples lack may be `None`. What is in a file decides what its extension leaves open.

    Args:
        path: a shard, brace notation, a folder or a URL, as `load_dataset` takes it.
        name: what to call the type.

    Raises:
        UsageError: each sample is one file of msgpack, or there are none.
        ShardNotFoundError: there is nothing at the path.
        ShardError: a shard is damaged.
    """
    text = path_text(path)
    listing = FileListing()
    found = find_splits(text, None, listing)
    return look(
        {split: source_at(shards, listed=listing.states) for split, shards in found.items()}, name or "Sample", text
    )


def from_webdataset(
    path: str | os.PathLike[str],
    *,
    sample_type: type | None = None,
    layout: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Imported:
    """WebDataset shards as samples; to read them in place needs no import: `Dataset[T](path, layout=)`.

    Args:
        path: as for `infer`.
        sample_type: a class with `@packable` in place of the inferred type.
        layout: the extensions of the file that each field stands in; inferred, or implied by the type's fields.
        name: what to call the inferred type.

    Raises:
        AtdataError: as `infer`, and as `Dataset` for a layout that does not fit.
    """
    text = path_text(path)
    listing = FileListing()
    found = find_splits(text, None, listing)
    sources = {split: source_at(shards, listed=listing.states) for split, shards in found.items()}
    return open_sources(sources, Wanted.of(name or "Sample", sample_type, None), text, layout=layout)


def open_sources(
    sources: Mapping[str, DataSource],
    wanted: Wanted,
    uri: str,
    notes: Sequence[str] = (),
    layout: Mapping[str, str] | None = None,
) -> Imported:
    """The samples of such shards, in splits."""
    found, kind = list(notes), wanted.sample_type
    if kind is None:
        inferred = look(sources, wanted.name, uri)
        kind, layout = inferred.sample_type, layout or inferred.layout
        found += inferred.notes
    datasets = {split: Dataset(source, sample_type=kind, layout=layout) for split, source in sources.items()}
    local = [source for source in sources.values() if isinstance(source, FileSource)]
    files = Snapshot.of([source.path(shard) for source in local for shard in source.shards])

    def read(split: str) -> Any:
        files.check()
        return iter(datasets[split])

    def stored(split: str, folder: Path, limits: Limits) -> FileSource:
        files.check()
        return _stored(sources[split], folder / split, limits)

    counts = {split: len(dataset) for split, dataset in datasets.items()}
    return Imported(kind, read, counts, "shards of one file a field", tuple(found), layout, stored)


def _stored(source: DataSource, folder: Path, limits: Limits) -> FileSource:
    """The shards of a source as files of this machine: those that are elsewhere, or too large, are written to a folder."""
    shards, places = list[ShardRef](), map("{:06d}.tar".format, itertools.count())
    folder.mkdir(parents=True, exist_ok=True)
    for opened in open_shards(source, source.shards, ShardCache(Settings.of().cache)):
        samples = len(opened.index)
        known = replace(opened.ref, size=opened.size, samples=samples)
        if not samples:
            continue
        if samples > (limits.count or samples) or opened.size > (limits.size or opened.size):
            rows = read_rows(opened.file, opened.size, opened.ref.url)
            shards += cut_shards(rows, limits, lambda _: folder / next(places))
        elif isinstance(source, FileSource):
            shards.append(known)
        else:
            place = folder / next(places)
            with atomic_file(place) as file:
                shutil.copyfileobj(opened.file, file, CHUNK)
            shards.append(replace(known, url=str(place)))
    return FileSource(tuple(shards), source.listed if isinstance(source, FileSource) else {})


def is_members(source: DataSource) -> bool:
    """True if the samples of some shards are one file a field, as the first tells."""
    dataset: Dataset[Any] = Dataset(source)
    return bool(dataset.shards) and not of_shards(dataset.view).table.shards.open(0).index.packed


def look(sources: Mapping[str, DataSource], name: str, uri: str) -> Inference:
    """The inference from shards, in splits; see `infer`."""
    indexes, raw = list[Members](), list[dict[str, bytes]]()
    for source in sources.values():
        dataset: Dataset[Any] = Dataset(source)
        table = of_shards(dataset.view).table
        for number in range(min(SHARDS, len(table.refs))):
            index = table.shards.open(number).index
            if index.members is None and len(index):
                raise UsageError(
                    "each sample of these shards is one file of msgpack, and needs no layout",
                    uri=uri,
                    hint="Read them with atdata.load_dataset(path), or atdata.open(path) for their inferred type.",
                )
            if index.members is not None:
                indexes.append(index.members)
        if indexes:
            raw += _contents(
                source, sorted({each for index in indexes for each in index.extensions}), SAMPLES - len(raw)
            )
    samples = sum(len(index.first) - 1 for index in indexes)
    if not samples:
        raise UsageError("there are no samples in these shards", uri=uri)
    fields, files, notes = _fields(indexes, samples, raw)
    sample_type = type_of(SampleSchema(name, tuple(fields)))
    return Inference(sample_type, files, tuple(notes), samples, len(indexes), len(raw), dict(sources))


def _contents(source: DataSource, extensions: Sequence[str], most: int) -> list[dict[str, bytes]]:
    """The files of the first samples, as bytes, by extension."""
    parts = [(f"f{number}", each) for number, each in enumerate(extensions) if not each.endswith(GZIP)]
    parts += [
        (f"f{number}", each)
        for number, each in enumerate(extensions)
        if each.endswith(GZIP) and each[:-3] not in extensions
    ]
    kind = type_of(SampleSchema("Files", tuple(Field(name, Maybe(Scalar("bytes"))) for name, _ in parts)))
    dataset: Dataset[Any] = Dataset(source, sample_type=kind, layout=dict(parts))
    return [
        {each.removesuffix(GZIP): value for name, each in parts if (value := getattr(sample, name)) is not None}
        for sample in itertools.islice(dataset, max(most, 0))
    ]


def _fields(
    indexes: Sequence[Members], samples: int, raw: Sequence[Mapping[str, bytes]]
) -> tuple[list[Field], dict[str, str], list[str]]:
    """The fields, the files they stand in, and what was not sure."""
    found = list(dict.fromkeys(each.removesuffix(GZIP) for index in indexes for each in index.extensions))
    pickles = [each for each in found if format_of(each) is PICKLE]
    notes = [
        f"{each}: left out, for a pickle may run any code; declare a field of bytes to have it" for each in pickles
    ]
    groups, divided = _groups([each for each in found if each not in pickles], indexes)
    notes += divided
    fields, files = list[Field](), dict[str, str]()
    for name, extensions in zip(_names(groups), groups, strict=True):
        kind, doubts = _kind(extensions, raw)
        notes += [f"{name}: {doubt}" for doubt in doubts]
        count = sum(_count(index, extensions) for index in indexes)
        if count < samples:
            notes.append(f"{name}: {count} of {samples} samples have it, so it is optional")
            kind = Maybe(kind)
        fields.append(Field(name, kind))
        files[name] = "|".join(extensions)
    return fields, files, notes


def _count(index: Members, extensions: Sequence[str]) -> int:
    """The number of samples that have one of some files."""
    return int(np.count_nonzero(_found(index, extensions) != -1))


def _found(index: Members, extensions: Iterable[str]) -> Any:
    wanted = [each + zipped for each in extensions for zipped in ("", GZIP)]
    return index.find(np.arange(len(index.first) - 1), {"": wanted})[""]


def _groups(found: Sequence[str], indexes: Sequence[Members]) -> tuple[list[list[str]], list[str]]:
    """The extensions that are one field: pictures, sound or film in several formats, where no sample has two."""
    families: dict[tuple[str, str], list[str]] = {}
    for each in found:
        prefix, _, last = each.rpartition(".")
        media = next((name for name, kind in _MEDIA.items() if last in kind.extensions), each)
        families.setdefault((prefix, media), []).append(each)
    groups, notes = list[list[str]](), list[str]()
    for extensions in families.values():
        if len(extensions) > 1 and any(bool((_found(index, extensions) == -2).any()) for index in indexes):
            notes.append(f"{' and '.join(extensions)}: a sample has both, so each is a field")
            groups += [[each] for each in extensions]
        else:
            groups.append(extensions)
    return groups, notes


def _names(groups: Sequence[Sequence[str]]) -> list[str]:
    """A name for each field: what stands before the last dot, or what its files are, or their extension."""
    wanted = []
    for extensions in groups:
        prefix, _, last = extensions[0].rpartition(".")
        media = next((name for name, kind in _MEDIA.items() if last in kind.extensions), last)
        wanted.append(prefix or _NAMES.get(last, media))
    twice = {name for name in wanted if wanted.count(name) > 1}
    given = [extensions[0] if name in twice else name for name, extensions in zip(wanted, groups, strict=True)]
    return field_names(given)


def _kind(extensions: Sequence[str], raw: Sequence[Mapping[str, bytes]]) -> tuple[FieldType, list[str]]:
    """The kind of field for some files, by their extension, and by what is in them where that leaves it open."""
    natural = natural_type(extensions[0])
    seen = [sample[each] for sample in raw for each in extensions if each in sample]
    if natural == Scalar("bytes"):
        return natural, [f"nothing is known of {extensions[0]}, so it is bytes as they are"]
    if natural in _MEDIA.values():
        wrong = [data for data in seen if not natural.python.of(data).media_type.startswith(f"{natural.label}/")]  # type: ignore[attr-defined]
        return natural, [f"{len(wrong)} of {len(seen)} do not begin like one"] if wrong else []
    try:
        values = [file_reader(extensions[0], natural)(data) for data in seen]
    except SampleError as error:
        return Scalar("bytes"), [f"bytes, for {error.what}: {error.actual}"]
    if isinstance(natural, Scalar | DictOf | ListOf):
        return natural, []
    column = guesses.InferredColumn()
    for number, value in enumerate(values):
        column.add(guesses.guess_of(value), partial(str, number))
    if column.clash is not None:
        first, _, second, _ = column.clash
        doubt = [f"{first.core} in some samples, {second.core} in others"]
        return natural, doubt
    kind = guesses.settle(column.guess)
    if isinstance(kind, Array) and kind.shape is not None and len(values) < 2:
        return Array(kind.scalar), []
    return kind, []
