"""Having every shard before the first sample is read: `load_dataset(..., streaming=False)`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeVar

from atdata.dataset import Dataset
from atdata.progress import progress
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.opening import OpenShard, open_shards
from atdata.shards.ports import DataSource

T = TypeVar("T")


def fetched(dataset: Dataset[T], title: str, folder: Path) -> Dataset[T]:
    """The same dataset, every shard of which is on this machine and proved.

    A shard for which nobody gave a digest gets that of what came, so that nothing else is ever read in its place.

    Args:
        dataset: what to fetch.
        title: what progress calls it.
        folder: the cache.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be had.
        DigestError: a shard is not the one that was published.
        ShardError: a shard is damaged.
    """
    source, refs, cache = dataset.view.source, dataset.shards, ShardCache(folder)
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
        _Fetched(tuple(kept), source),
        sample_type=dataset.view.stored_type,
        metadata=dataset.metadata,
        entry=dataset.entry,
        cache=folder,
    )


@dataclass(frozen=True)
class _Fetched:
    """Shards that were fetched, each with the digest of what came; where the cache has lost one it is had again."""

    shards: tuple[ShardRef, ...]
    origin: DataSource

    @cached_property
    def _there(self) -> dict[ShardRef, ShardRef]:
        return dict(zip(self.shards, self.origin.shards, strict=True))

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The shard's bytes from `offset` on, from where it was fetched."""
        return self.origin.open(self._there[shard], offset)


@dataclass(frozen=True)
class _Here:
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
    with cache.open(digest) or cache.fetch(_Here((ref,), shard.file), ref, digest, threading.Event()):
        return ref
