"""Previews of datasets that are at hand: files of this machine, or what was loaded and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.view import View
from atdata.errors import AtdataError, LensError, SampleError
from atdata.manifest import Header, header_beside, manifest_beside, pinned_header
from atdata.plain import plain
from atdata.preview.shown import Preview, PreviewLimits, ShownSample
from atdata.preview.statistics import DatasetStatistics, statistics_of
from atdata.preview.values import SampleShower
from atdata.records import Size
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.ports import DataSource

MANIFESTS = 64
"""Manifests that are read for statistics, those of the first shards."""
_MOST_FILES, _SCANNED = 10_000, 1 << 32  # shards, and bytes of them, whose samples are counted
_WHY = 400  # characters
_HASHED = 1 << 28  # bytes of shards of this machine whose digest nobody said


def preview_of(dataset: Dataset[Any], first: int = 0, limits: PreviewLimits | None = None) -> Preview:
    """Some samples of a dataset, from a number on. What cannot be read is said in its place, and raises nothing.

    Args:
        dataset: which.
        first: number of the first sample.
        limits: what may be looked at, and shown.
    """
    limits, shown = limits or PreviewLimits(), list[ShownSample]()
    try:
        stop = dataset.view.resolve_stop(first + limits.samples + 1)
        for sample in _shown(dataset, first, min(stop, first + limits.samples), SampleShower(limits)):
            shown.append(sample)
        return Preview(tuple(shown), more=stop > first + limits.samples)
    except AtdataError as error:
        return Preview(tuple(shown), why=why(error))


def why(error: AtdataError) -> str:
    """An error as a page says it, without addresses: they may be of the place where this runs."""
    facts = [f"{name} {value}" for name, value in (("expected", error.expected), ("found", error.actual)) if value]
    return plain("; ".join([error.what, *facts]) + (f". {error.hint}" if error.hint else ""), _WHY)


def _shown(dataset: Dataset[Any], first: int, stop: int, shower: SampleShower) -> Iterator[ShownSample]:
    """Yields samples: all are read at once, and one by one where one of them is bad."""
    if first >= stop:
        return
    try:
        samples = dataset[first:stop].samples
    except (SampleError, LensError):
        for number in range(first, stop):
            try:
                yield shower.show(number, dataset[number])
            except (SampleError, LensError) as error:
                yield ShownSample(number, why=why(error))
        return
    yield from (shower.show(number, sample) for number, sample in enumerate(samples, first))


def statistics_of_dataset(dataset: Dataset[Any]) -> DatasetStatistics | None:
    """The statistics of a dataset by the manifests of its first shards; `None` where one of these has none that can be had now."""
    view: View[Any] = dataset.view
    headers = list[Header]()
    for table in view.about.tables:
        for shard in table.refs[: MANIFESTS - len(headers)]:
            header = _header(table.shards.source, shard, table.shards.cache)
            if header is None:
                return None
            headers.append(header)
    return statistics_of(headers, len(view.about.shards))


def size_of(dataset: Dataset[Any]) -> Size:
    """The size of a dataset as far as it can be told soon: of files of this machine that are not too large to go through."""
    tables, shards = dataset.view.about.tables, dataset.shards
    if not all(isinstance(table.shards.source, FileSource) for table in tables) or len(shards) > _MOST_FILES:
        return Size.of(shards)
    try:
        total = sum(Path(shard.url).stat().st_size for shard in shards)
        return Size(len(dataset) if total <= _SCANNED else None, total, len(shards))
    except (AtdataError, OSError):
        return Size(shards=len(shards))


def _header(source: DataSource, shard: ShardRef, cache: ShardCache) -> Header | None:
    with suppress(AtdataError, OSError):
        if shard.manifest is None and isinstance(source, FileSource):
            if header_beside(Path(shard.url)) is None:
                return None
            if shard.digest is None and Path(shard.url).stat().st_size <= _HASHED // MANIFESTS:
                shard = replace(shard, digest=Digest.of_file(Path(shard.url)))
            shard = replace(shard, manifest=manifest_beside(shard))
        return pinned_header(shard, cache)
    return None
