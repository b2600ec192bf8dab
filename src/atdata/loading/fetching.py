"""All shards fetched before the first sample is read: `load_dataset(..., streaming=False)`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeVar

from atdata.dataset import Dataset
from atdata.dataset.view import of_shards
from atdata.progress import progress
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.opening import OpenShard, open_shards
from atdata.shards.ports import DataSource

T = TypeVar("T")


def fetch_all(dataset: Dataset[T], title: str, folder: Path) -> Dataset[T]:
    """The same dataset, with every shard on this machine and verified.

    A shard without a digest gets that of the bytes that were fetched, so that no others are ever read in its place.

    Args:
        dataset: the dataset to fetch.
        title: its name in the progress bar.
        folder: the cache.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be fetched.
        DigestError: a shard is not the one that was published.
        ShardError: a shard is damaged.
    """
    source, refs, cache = of_shards(dataset.view).source, dataset.shards, ShardCache(folder)
    on_disk = isinstance(source, FileSource)
    sizes = [source.path(ref).stat().st_size if isinstance(source, FileSource) else ref.size or 0 for ref in refs]
    kept: list[ShardRef] = []
    with progress(f"Fetching {title}", sum(sizes)) as bars:
        for shard in open_shards(source, refs, cache):
            bars.begin(f"shard {len(kept) + 1} of {len(refs)}", shard.size)
            kept.append(shard.ref if on_disk or shard.ref.digest else _keep(shard, cache))
            bars.advance(shard.size)
    if kept == list(refs):
        return dataset
    return Dataset(
        _FetchedSource(tuple(kept), source),
        sample_type=of_shards(dataset.view).stored_type,
        layout=dataset.layout,
        metadata=dataset.metadata,
        entry=dataset.entry,
        cache=folder,
    )


@dataclass(frozen=True)
class _FetchedSource:
    """Shards that were fetched, with the digests of their bytes; one that the cache has lost is fetched again."""

    shards: tuple[ShardRef, ...]
    origin: DataSource

    @cached_property
    def _originals(self) -> dict[ShardRef, ShardRef]:
        return dict(zip(self.shards, self.origin.shards, strict=True))

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The shard's bytes from `offset` on, from its origin."""
        return self.origin.open(self._originals[shard], offset)


@dataclass(frozen=True)
class _OpenFile:
    """One shard that is an open file."""

    shards: tuple[ShardRef, ...]
    file: BinaryIO

    def open(self, _shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The file, from `offset` on."""
        self.file.seek(offset)
        return self.file


def _keep(shard: OpenShard, cache: ShardCache) -> ShardRef:
    """Put a shard without a digest into the cache, under that of its bytes."""
    digest = Digest.of_stream(shard.file)
    ref = replace(shard.ref, digest=digest, size=shard.size, samples=len(shard.index))
    with cache.open(digest) or cache.fetch(_OpenFile((ref,), shard.file), ref, digest, threading.Event()):
        return ref
