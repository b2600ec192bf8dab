"""Shards for whoever reads single samples: of remote ones with a manifest, only these are fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.reading.manifests import AT_ONCE
from atdata.dataset.reading.open_shards import KEPT, OpenShards, evict_excess
from atdata.dataset.reading.partial import PartialShard, fetch_missing
from atdata.shards.keys import Keys
from atdata.shards.opening import OpenShard

Ints: TypeAlias = NDArray[np.int64]


class RandomAccessShards(OpenShards):
    """The same shards, of which those are had in parts that can be. What a sample is does not depend on how it was had."""

    @classmethod
    def sharing(cls, shards: OpenShards) -> RandomAccessShards:
        """A copy over the same files."""
        made = cls.__new__(cls)  # a copy would be made as if pickled, and share nothing
        vars(made).update(vars(shards))
        return made

    def open(self, shard: int) -> OpenShard:
        """A shard, proved; or one of which only those samples are here that `memory` and `used` give.

        Raises:
            DigestError, ShardError: as `OpenShards.open`.
        """
        with self._files.lock:
            partial = self._partial(shard)
            return super().open(shard) if partial is None else partial.opened

    def prefetch(self, shards: Iterable[int]) -> None:
        """Begin to fetch and prove shards that will be asked for soon, but for those to be had in parts."""
        super().prefetch(shard for shard in shards if shard < len(self.refs) and not self._may_be_partial(shard))

    def fetch(self, groups: Mapping[int, Ints]) -> None:
        """Fetch samples that will be asked for next, side by side, where that takes less than whole shards.

        Raises:
            DigestError, NetworkError: as `OpenShards.fetch`.
        """
        with self._files.lock:
            some = list(groups)[:KEPT]
            unseen = (shard for shard in some if shard not in self._files.partial and self._may_be_partial(shard))
            self.manifests.load(filter(self._is_away, unseen))
            self._fetch({shard: groups[shard] for shard in some})

    def _fetch(self, groups: Mapping[int, Ints]) -> None:
        lacking: dict[PartialShard, tuple[int, Ints]] = {}
        for shard, places in groups.items():
            partial = self._partial(shard)
            wanted = np.empty(0, np.int64) if partial is None else partial.missing(places)
            if partial is None or not len(wanted):
                continue
            if partial.prefer_ranges(wanted):
                lacking[partial] = shard, wanted
            else:
                self._refuse(shard)
        if lacking:
            with ThreadPoolExecutor(AT_ONCE, "atdata-range") as pool:
                for partial in fetch_missing([(partial, wanted) for partial, (_, wanted) in lacking.items()], pool):
                    self._refuse(lacking[partial][0])

    def keys(self, shard: int) -> Keys:
        """The keys of a shard's samples, in order; of a remote shard, as its manifest says.

        Raises:
            DigestError, NetworkError, ShardError: the shard, or its manifest, is wrong or cannot be had.
        """
        with self._files.lock:
            if shard not in self._files.keys and self._is_away(shard):
                ahead = range(shard, min(shard + AT_ONCE, len(self.refs)))
                self.manifests.load(filter(self._is_away, ahead))
                if index := self.manifests.sample_index(shard):
                    return index.keys
            return super().keys(shard)

    def _ready(self, shard: int, starts: Ints) -> OpenShard:
        if partial := self._partial(shard):
            self._fetch({shard: partial.places(starts)})
        return super()._ready(shard, starts)

    def _partial(self, shard: int) -> PartialShard | None:
        """A shard to have in parts: remote, where its manifest says what they must be and its source gives them."""
        files = self._files
        if self.ranges is None or not self._may_be_partial(shard):
            return None
        if shard not in files.partial:
            index = self.manifests.sample_index(shard) if self._is_away(shard) else None
            if index is None:
                return None
            files.partial[shard] = PartialShard(self.ranges, self.refs[shard], index, self.cache.root)
            while len(files.partial) > KEPT:
                files.drop_partial(next(iter(files.partial)))
            evict_excess(files)
        files.partial.move_to_end(shard)
        return files.partial[shard]

    def _may_be_partial(self, shard: int) -> bool:
        pinned = self.ranges is not None and self.refs[shard].manifest is not None
        return pinned and shard not in self._files.refused

    def _refuse(self, shard: int) -> None:
        """Have a shard whole from now on."""
        self._files.refused.add(shard)
        self._files.drop_partial(shard)

    def _is_away(self, shard: int) -> bool:
        """True if none of a shard is on this machine."""
        files = self._files
        return shard not in files.open and shard not in files.prefetches and self.stat(shard) is None
