"""The manifests of shards, fetched as they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np

from atdata.dataset.reading.partial import SampleIndex
from atdata.errors import MissingExtraError, NetworkError, ShardError, ShardNotFoundError
from atdata.manifest import pinned_header, pinned_manifest
from atdata.shards.cache import ShardCache
from atdata.shards.index import ShardIndex
from atdata.shards.ports import ShardRef

T = TypeVar("T")

MAX_REQUESTS = 8
"""Most requests at a time, for manifests and for samples."""

_MAX_INDEX_BYTES = 1 << 28


class ShardManifests:
    """The manifests of a table's shards.

    Where a manifest cannot be fetched, shards are read whole. One that is wrong is refused. Indexes are loaded by one thread
    at a time.
    """

    def __init__(self, refs: Sequence[ShardRef], cache: ShardCache) -> None:
        self._refs, self._cache = refs, cache
        self._counts: dict[int, int] = {}
        self._indexes: OrderedDict[int, SampleIndex] = OrderedDict()
        self._without_index: set[int] = set()  # shards of which no index can be loaded
        self._available = True  # False once a fetch has failed

    def count(self, shard: int) -> int | None:
        """The number of samples in a shard; reads the headers of manifests after it too, the more the further it got.

        Raises:
            DigestError, UnverifiedError, ShardError: its manifest is wrong, or is that of another shard.
        """
        if shard not in self._counts:
            stop = min(shard + min(MAX_REQUESTS, 1 + len(self._counts)), len(self._refs))
            some = [s for s in range(shard, stop) if s not in self._counts]
            found = self._each(self._header_count, some)
            self._counts.update((s, count) for s, count in found.items() if count is not None)
        return self._counts.get(shard)

    def load(self, shards: Iterable[int]) -> None:
        """Load the indexes of some shards, in parallel."""
        wanted = [shard for shard in shards if shard not in self._indexes and shard not in self._without_index]
        for shard, index in self._each(self._read, wanted).items():
            if index is None:
                self._without_index.add(shard)
            else:
                self._indexes[shard] = index
        size = sum(index.nbytes for index in self._indexes.values())
        while size > _MAX_INDEX_BYTES and len(self._indexes) > MAX_REQUESTS:
            size -= self._indexes.popitem(last=False)[1].nbytes

    def sample_index(self, shard: int) -> SampleIndex | None:
        """The index of a shard's samples, by its manifest."""
        self.load([shard])
        if shard in self._indexes:
            self._indexes.move_to_end(shard)
        return self._indexes.get(shard)

    def cached_index(self, shard: int) -> SampleIndex | None:
        """The index of a shard's samples, if it was loaded already."""
        return self._indexes.get(shard)

    def _header_count(self, shard: int) -> int | None:
        header = pinned_header(self._refs[shard], self._cache)
        return None if header is None else header.samples

    def _read(self, shard: int) -> SampleIndex | None:
        with suppress(MissingExtraError):
            manifest = pinned_manifest(self._refs[shard], self._cache)
            return None if manifest is None else SampleIndex.of(manifest)
        return None

    def _each(self, read: Callable[[int], T], shards: Sequence[int]) -> dict[int, T]:
        pinned = [shard for shard in shards if self._refs[shard].manifest is not None]
        if not pinned or not self._available:
            return {}
        try:
            with ThreadPoolExecutor(min(MAX_REQUESTS, len(pinned)), "atdata-manifest") as pool:
                return dict(zip(pinned, pool.map(read, pinned), strict=True))
        except (ShardNotFoundError, NetworkError):
            self._available = False
            return {}


def check_offsets(manifest: ShardIndex, shard: ShardIndex, url: str) -> None:
    """Checks that the samples of a shard are where its manifest has them.

    Raises:
        ShardError: they are not.
    """
    same = np.array_equal(manifest.starts, shard.starts) and np.array_equal(manifest.sizes, shard.sizes)
    if not same or manifest.packed != shard.packed:
        raise ShardError(
            "the samples of the shard are elsewhere than its manifest says",
            uri=url,
            hint="The manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
        )
