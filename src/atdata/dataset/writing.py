"""Samples to shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from atdata.dataset.dataset import Dataset
from atdata.errors import SampleError, UsageError
from atdata.manifest import ManifestWriter, remove_manifest
from atdata.samples import DictSample, PackableSample
from atdata.shards import FileSource, Limits, cut_shards
from atdata.shards.writer import DEFAULT_MAXSIZE, SampleRow, shard_places

T = TypeVar("T", bound=PackableSample | DictSample)


def write_samples(
    samples: Iterable[T],
    path: str | os.PathLike[str],
    *,
    maxcount: int | None = None,
    maxsize: float | None = None,
    manifest: bool = False,
) -> Dataset[T]:
    """Write samples of one type to tar shards, and give the dataset they are.

    Equal samples give equal files. Each shard appears complete or not at all. Keys are the samples' numbers.

    Args:
        samples: the samples, or anything that yields them; one at a time is held in memory.
        path: `digits-%06d.tar` for as many shards as it takes, `digits.tar` for one.
        maxcount: most samples in a shard.
        maxsize: most bytes in a shard file. A numbered path has shards of at most 1 GB where neither is given.
        manifest: whether to write a manifest beside each shard, `digits-000000.manifest.json` and `.parquet`: where
            each sample is, its digest, and the values of the fields that `ManifestField` and its defaults index.

    Raises:
        UsageError: there are no samples, or the path does not fit.
        MissingExtraError: manifests need the extra `tables`.
        SampleError: samples of several types, or a value that does not fit its field.
        LimitError: a sample is larger than a shard may be.
        StorageError: the disk is full or fails.
    """
    place = shard_places(path, limited=maxcount is not None or maxsize is not None)
    numbered = place(0) != place(1)
    pending = iter(samples)
    first = next(pending, None)
    if first is None:
        raise UsageError("there are no samples to write")
    limits = Limits.of(maxcount, DEFAULT_MAXSIZE if numbered and maxcount is None and maxsize is None else maxsize)

    def fresh(index: int) -> Path:
        target = place(index)
        remove_manifest(target)  # of what was there before
        return target

    watch = ManifestWriter(type(first)) if manifest else None
    shards = tuple(cut_shards(_rows(first, pending), limits, fresh, watch))
    return Dataset.of(FileSource(shards), type(first))


def _rows(first: T, rest: Iterator[T]) -> Iterator[SampleRow]:
    yield "000000000", first.packed, first
    for number, sample in enumerate(rest, 1):
        if type(sample) is not type(first):
            raise SampleError(
                "a shard holds samples of one type",
                path=f"sample {number}",
                expected=type(first).__name__,
                actual=type(sample).__name__,
            )
        yield f"{number:09d}", sample.packed, sample
