"""The manifests that shards carry, fetched as they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from atdata.dataset.reading.partial import SampleIndex
from atdata.errors import MissingExtraError, NetworkError, ShardNotFoundError
from atdata.manifest import pinned_header, pinned_manifest
from atdata.shards.cache import ShardCache
from atdata.shards.ports import ShardRef

T = TypeVar("T")

AT_ONCE = 8
"""Requests at a time, for manifests and for samples."""

_KEPT = 1 << 28  # bytes of indexes in memory


class ShardManifests:
    """The manifests of a table's shards, as far as they are looked at.

    A manifest that cannot be had costs time and nothing else: shards are then read whole. One that is wrong is refused.
    Listings are asked for by one thread at a time.
    """

    def __init__(self, refs: Sequence[ShardRef], cache: ShardCache) -> None:
        self._refs, self._cache = refs, cache
        self._counts: dict[int, int] = {}
        self._indexes: OrderedDict[int, SampleIndex] = OrderedDict()
        self._unknown: set[int] = set()  # of these there is no more to know
        self._had = True  # whether manifests can be

    def count(self, shard: int) -> int | None:
        """The number of samples in a shard; looks at some headers after it too, the more of them the further it got.

        Raises:
            DigestError, UnverifiedError, ShardError: its manifest is wrong, or is that of another shard.
        """
        if shard not in self._counts:
            stop = min(shard + min(AT_ONCE, 1 + len(self._counts)), len(self._refs))
            some = [s for s in range(shard, stop) if s not in self._counts]
            found = self._each(self._header_count, some)
            self._counts.update((s, count) for s, count in found.items() if count is not None)
        return self._counts.get(shard)

    def load(self, shards: Iterable[int]) -> None:
        """Have the indexes of some shards, side by side.

        Raises:
            DigestError, UnverifiedError, ShardError: as `count`.
        """
        wanted = [shard for shard in shards if shard not in self._indexes and shard not in self._unknown]
        for shard, index in self._each(self._read, wanted).items():
            if index is None:
                self._unknown.add(shard)
            else:
                self._indexes[shard] = index
        held = sum(index.nbytes for index in self._indexes.values())
        while held > _KEPT and len(self._indexes) > AT_ONCE:
            held -= self._indexes.popitem(last=False)[1].nbytes

    def sample_index(self, shard: int) -> SampleIndex | None:
        """The index of a shard's samples, by its manifest.

        Raises:
            DigestError, UnverifiedError, ShardError: as `count`.
        """
        self.load([shard])
        if shard in self._indexes:
            self._indexes.move_to_end(shard)
        return self._indexes.get(shard)

    def known(self, shard: int) -> SampleIndex | None:
        """The same, if it was looked at already."""
        return self._indexes.get(shard)

    def _header_count(self, shard: int) -> int | None:
        header = pinned_header(self._refs[shard], self._cache)
        return None if header is None else header.samples

    def _read(self, shard: int) -> SampleIndex | None:
        with suppress(MissingExtraError):
            manifest = pinned_manifest(self._refs[shard], self._cache)
            return None if manifest is None else SampleIndex.of(manifest)
        return None

    def _each(self, look: Callable[[int], T], shards: Sequence[int]) -> dict[int, T]:
        pinned = [shard for shard in shards if self._refs[shard].manifest is not None]
        if not pinned or not self._had:
            return {}
        try:
            with ThreadPoolExecutor(min(AT_ONCE, len(pinned)), "atdata-manifest") as pool:
                return dict(zip(pinned, pool.map(look, pinned), strict=True))
        except (ShardNotFoundError, NetworkError):
            self._had = False
            return {}
