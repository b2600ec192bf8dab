"""Shards for random access: of remote ones with a manifest, only the samples asked for are fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from atdata.dataset.reading.manifests import MAX_REQUESTS
from atdata.dataset.reading.open_shards import MAX_OPEN, OpenShards, evict_excess
from atdata.dataset.reading.partial import PartialShard, fetch_missing
from atdata.numbers import Ints
from atdata.shards.keys import Keys
from atdata.shards.opening import OpenShard


class RandomAccessShards(OpenShards):
    """The same shards, of which remote ones are fetched in parts where possible. Samples are the same either way."""

    @classmethod
    def sharing(cls, shards: OpenShards) -> RandomAccessShards:
        """A copy over the same files."""
        made = cls.__new__(cls)  # copy() would go through __getstate__, and share nothing
        vars(made).update(vars(shards))
        return made

    def open(self, shard: int) -> OpenShard:
        """A verified shard; or one of which only those samples are here that `memory` and `used` give."""
        with self._files.lock:
            partial = self._partial(shard)
            return super().open(shard) if partial is None else partial.opened

    def prefetch(self, shards: Iterable[int]) -> None:
        """Begin to fetch and verify shards that will be read soon, but for those that are fetched in parts."""
        super().prefetch(shard for shard in shards if shard < len(self.refs) and not self._may_be_partial(shard))

    def fetch(self, groups: Mapping[int, Ints]) -> None:
        """Fetch samples that will be read next, in parallel, where that takes less than whole shards.

        Args:
            groups: the numbers of samples in each shard, int64 `[n]`.

        Raises:
            DigestError: a sample is not what its manifest says, or a manifest is not the one that was published.
            NetworkError: a source cannot be reached.
        """
        with self._files.lock:
            some = list(groups)[:MAX_OPEN]
            unseen = (shard for shard in some if shard not in self._files.partial and self._may_be_partial(shard))
            self.manifests.load(filter(self._is_remote, unseen))
            self._fetch({shard: groups[shard] for shard in some})

    def _fetch(self, groups: Mapping[int, Ints]) -> None:
        missing: dict[PartialShard, tuple[int, Ints]] = {}
        for shard, places in groups.items():
            partial = self._partial(shard)
            wanted = np.empty(0, np.int64) if partial is None else partial.missing(places)
            if partial is None or not len(wanted):
                continue
            if partial.prefer_ranges(wanted):
                missing[partial] = shard, wanted
            else:
                self._fetch_whole(shard)
        if missing:
            with ThreadPoolExecutor(MAX_REQUESTS, "atdata-range") as pool:
                for partial in fetch_missing([(partial, wanted) for partial, (_, wanted) in missing.items()], pool):
                    self._fetch_whole(missing[partial][0])

    def keys(self, shard: int) -> Keys:
        """The keys of a shard's samples, in order; of a remote shard, as its manifest says.

        Raises:
            DigestError, NetworkError, ShardError: the shard, or its manifest, is wrong or cannot be fetched.
        """
        with self._files.lock:
            if shard not in self._files.keys and self._is_remote(shard):
                following = range(shard, min(shard + MAX_REQUESTS, len(self.refs)))
                self.manifests.load(filter(self._is_remote, following))
                if index := self.manifests.sample_index(shard):
                    return index.keys
            return super().keys(shard)

    def _ready(self, shard: int, starts: Ints) -> OpenShard:
        if partial := self._partial(shard):
            self._fetch({shard: partial.places(starts)})
        return super()._ready(shard, starts)

    def _partial(self, shard: int) -> PartialShard | None:
        """A shard to fetch in parts: remote, with a manifest, in a source that gives byte ranges."""
        files = self._files
        if self.ranges is None or not self._may_be_partial(shard):
            return None
        if shard not in files.partial:
            index = self.manifests.sample_index(shard) if self._is_remote(shard) else None
            if index is None:
                return None
            files.partial[shard] = PartialShard(self.ranges, self.refs[shard], index, self.cache.root)
            while len(files.partial) > MAX_OPEN:
                files.drop_partial(next(iter(files.partial)))
            evict_excess(files)
        files.partial.move_to_end(shard)
        return files.partial[shard]

    def _may_be_partial(self, shard: int) -> bool:
        pinned = self.ranges is not None and self.refs[shard].manifest is not None
        return pinned and shard not in self._files.whole

    def _fetch_whole(self, shard: int) -> None:
        """Fetch a shard whole from now on."""
        self._files.whole.add(shard)
        self._files.drop_partial(shard)

    def _is_remote(self, shard: int) -> bool:
        """True if none of a shard is on this machine."""
        files = self._files
        return shard not in files.open and shard not in files.prefetches and self.stat(shard) is None
