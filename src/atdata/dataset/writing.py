"""Samples to shards."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from atdata.arguments import checked_type
from atdata.dataset.dataset import Dataset
from atdata.errors import SampleError, UnsizedError, UsageError
from atdata.manifest import ManifestWriter, manifest_files
from atdata.progress import counted, progress
from atdata.samples import DictSample, Field, PackableSample, fields_of
from atdata.samples.layout import Layout
from atdata.samples.table import PackedRows
from atdata.shards import FileSource, Limits, cut_shards
from atdata.shards.file_pattern import FilePattern
from atdata.shards.index import SampleMembers
from atdata.shards.sets import new_set
from atdata.shards.writer import DEFAULT_MAXSIZE, NumberedMembers, SampleRow, sample_members

T = TypeVar("T")  # no bound: type checkers do not see the base that `@packable` gives a class


def write_samples(
    samples: Iterable[T],
    path: str | os.PathLike[str],
    *,
    maxcount: int | None = None,
    maxsize: float | None = None,
    manifest: bool = False,
    layout: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Dataset[T]:
    """Write samples of one type to tar shards, and give the dataset they are.

    Equal samples give equal files. The shards appear all at once when the last is complete, and replace those of the
    same name all at once: who reads sees the old ones or the new ones. Keys are the samples' numbers.

    Args:
        samples: the samples, or anything that yields them; one at a time is held in memory.
        path: `digits-%06d.tar` for as many shards as it takes, `digits.tar` for one.
        maxcount: most samples in a shard.
        maxsize: most bytes in a shard file. A numbered path has shards of at most 1 GB where neither is given.
        manifest: whether to write a manifest beside each shard, `digits-000000.manifest.json` and `.parquet`: where
            each sample is, its digest, and the values of the fields that `ManifestField` and its defaults index.
        layout: writes each field to a file of its own, with this extension, as WebDataset does: `{"image": "jpg", "label":
            "cls"}`. Of several extensions the first is written. A field that is `None` has no file.
        overwrite: whether to replace all shards that a path with a number stands for, with their manifests.

    Raises:
        UsageError: there are no samples, or the path, or the layout, does not fit.
        ConflictError: shards of this name are there already, or another process writes them.
        MissingExtraError: manifests need the extra `tables`.
        SampleError: what is no sample, samples of several types, or a value that does not fit its field.
        LimitError: a sample is larger than a shard may be.
        StorageError: the disk is full or fails; nothing new is in sight.
    """
    checked_type(samples, Iterable, "samples", "Give a list of samples, a Dataset, or a generator.")
    total = None
    if isinstance(samples, Sized):
        with suppress(UnsizedError):
            total = len(samples)
    options: dict[str, Any] = {"maxcount": maxcount, "maxsize": maxsize, "overwrite": overwrite}
    return write_items(samples, None, total, path, manifest=manifest, layout=layout, **options)


def write_items(
    items: Iterable[T | PackedRows],
    sample_type: type[T] | None,
    total: int | None,
    path: str | os.PathLike[str],
    *,
    maxcount: int | None = None,
    maxsize: float | None = None,
    manifest: bool = False,
    layout: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Dataset[T]:
    """Write samples some of which are packed, many at once: those only where there is no manifest and no layout.

    Args:
        items: samples, and packed samples.
        sample_type: of those that are packed.
        total: how many samples there are; `None` where nobody knows.
        path: as for `write_samples`, like the others.
        maxcount: most samples in a shard.
        maxsize: most bytes in a shard file.
        manifest: whether to write manifests.
        layout: of files, one a field.
        overwrite: whether to replace shards.

    Raises:
        UsageError, ConflictError, MissingExtraError, SampleError, LimitError, StorageError: as `write_samples`.
    """
    pattern = FilePattern.of(path, limited=maxcount is not None or maxsize is not None)
    one_size = maxcount is None and maxsize is None and pattern.numbered
    limits = Limits.of(maxcount, DEFAULT_MAXSIZE if one_size else maxsize)
    files = None if layout is None else Layout.of(layout)
    with new_set(pattern, overwrite, manifest_files) as place, progress("Writing", total, "samples") as bars:
        pending = counted(items, bars, pattern.name, total, lambda item: len(item) if type(item) is PackedRows else 1)
        first = next(pending, None)
        if first is None:
            raise UsageError("there are no samples to write", hint="Give at least one: the first tells the type.")
        kind = _type_of(first, sample_type)
        observer = ManifestWriter(kind) if manifest else None
        pack = _packed if files is None else partial(_files, files, _checked_fields(files, kind))
        rows = _rows(itertools.chain([first], pending), kind, pack)
        written = list(cut_shards(rows, limits, place, observer, distinct=True))
    shards = (replace(shard, url=str(pattern.folder / Path(shard.url).name)) for shard in written)
    return Dataset(FileSource(tuple(shards)), sample_type=kind, layout=layout)


def _type_of(first: object, packed: type[T] | None) -> type[T]:
    if isinstance(first, PackedRows):
        assert packed is not None
        return packed
    if not isinstance(first, PackableSample | DictSample):
        raise _no_sample(first, 0)
    return cast("type[T]", type(first))


def _packed(_: str, sample: PackableSample | DictSample) -> bytes:
    return sample.packed


def _files(layout: Layout, fields: Mapping[str, Field], key: str, sample: Any) -> SampleMembers:
    values = sample if isinstance(sample, DictSample) else {name: getattr(sample, name) for name in fields}
    if unplaced := [name for name, value in values.items() if value is not None and name not in layout.extensions]:
        raise SampleError(
            "the layout has no file for a field",
            path=f"sample {key}.{unplaced[0]}",
            actual=", ".join(layout.extensions),
        )
    try:
        return sample_members(key, layout.files_of(values, fields))
    except SampleError as error:
        error.path = error.path if str(error.path).startswith("sample ") else f"sample {key}.{error.path}"
        raise


def _checked_fields(layout: Layout, sample_type: type) -> dict[str, Field]:
    if issubclass(sample_type, DictSample):
        return {}
    fields = fields_of(sample_type)
    layout.check(fields)
    return {field.name: field for field in fields}


def _rows(
    items: Iterable[Any], sample_type: type, pack: Callable[[str, Any], bytes]
) -> Iterator[SampleRow | NumberedMembers]:
    number = 0
    for item in items:
        if type(item) is PackedRows:
            yield NumberedMembers.of(item.data, item.ends, number)
            number += len(item)
            continue
        if type(item) is not sample_type:
            if not isinstance(item, PackableSample | DictSample):
                raise _no_sample(item, number)
            raise SampleError(
                "all samples that are written must be of one type",
                path=f"sample {number}",
                expected=sample_type.__name__,
                actual=type(item).__name__,
                hint="Write samples of each type to shards of their own.",
            )
        key = f"{number:09d}"
        yield key, pack(key, item), item
        number += 1


def _no_sample(given: object, number: int) -> SampleError:
    return SampleError(
        "only samples can be written",
        path=f"sample {number}",
        expected="an object of a class with @atdata.packable",
        actual=type(given).__name__,
        hint="Decorate the class with @atdata.packable, or make a DictSample of a dict: atdata.DictSample(given).",
    )
