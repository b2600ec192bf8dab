"""The shards of a dataset side by side: which sample is in which, and the ones that are open just now."""

from __future__ import annotations

import bisect
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.reading.manifests import AT_ONCE, ShardManifests
from atdata.dataset.reading.open_shards import OpenShards, Prefetch, evict_excess
from atdata.dataset.reading.partial import PartialShard, fetch_missing
from atdata.errors import LimitError, NotFoundError, ShardError
from atdata.protocols import DataSource, RangeSource
from atdata.shards.cache import ShardCache
from atdata.shards.keys import Keys, keys_of
from atdata.shards.ledger import state_of
from atdata.shards.memory import Memory, check_unchanged, map_file
from atdata.shards.opening import AHEAD, OpenShard, open_shard
from atdata.shards.scan import ShardIndex
from atdata.shards.source import FileSource, ShardRef

Ints: TypeAlias = NDArray[np.int64]

KEPT = 128
_KEYS = 1 << 28  # bytes of keys in memory
_PIECE = 1 << 16


class ShardTable:
    """The shards of a source, opened as they are needed, with the number of samples in each.

    One table serves all views of a dataset. It pickles as the source it reads, and knows nothing then.

    Args:
        source: the shards.
        cache: where fetched shards are kept.
        samples: how many samples there are as somebody says who may be wrong.
    """

    def __init__(self, source: DataSource, cache: ShardCache, samples: int | None = None) -> None:
        self.source, self.cache = source, cache
        self.refs: tuple[ShardRef, ...] = tuple(source.shards)
        self._counts: list[int | None] = [ref.samples for ref in self.refs]
        self._bounds: list[int] = [0]
        self._starts: Ints | None = None
        self._asked = False  # whether the ledger was
        self._random = False
        self._ranges = source if isinstance(source, RangeSource) else None
        self.claimed = samples
        self._promised: int | None = None  # the length that was given out on that word
        self._begin()

    def _begin(self) -> None:
        self._own_state, self._manifests = OpenShards(), ShardManifests(self.refs, self.cache)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_own_state", "_manifests")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    @property
    def _state(self) -> OpenShards:
        if self._own_state.process != os.getpid():  # forked: threads are gone, and files are the parent's to close
            self._own_state.reset()
        return self._own_state

    @property
    def _open(self) -> MutableMapping[int, OpenShard]:
        return self._state.open

    def random_access(self) -> ShardTable:
        """The same table for who picks single samples: of remote shards with a manifest only these are fetched.

        What is open is shared, and what a sample is does not depend on how it was had.
        """
        if self._random:
            return self
        if not self._asked:
            self._look_up()
        table = ShardTable.__new__(ShardTable)  # a copy would be made as if pickled, and share nothing
        vars(table).update(vars(self), _random=True)
        return table

    def __len__(self) -> int:
        """How many samples there are: as far as is known without opening a shard, else what was claimed.

        A claim that was given out and proves false is an error as soon as all shards have been looked at.

        Raises:
            ShardError: a shard that had to be looked at is damaged.
        """
        if self.claimed is None or len(self._bounds) > len(self.refs):
            return self.resolve_stop(None)
        if not self._asked:
            self._look_up()
        if None not in self._counts:
            return self.resolve_stop(None)
        self._promised = self.claimed
        return self.claimed

    def resolve_stop(self, stop: int | None, open_shards: bool = True) -> int:
        """`stop`, or the number of all samples if that is less; looks at shards as far as it must to tell.

        With `open_shards` false no shard is looked at, and the answer is the end of those that are known, at most. Where a
        manifest says how many samples a shard holds, that is enough, unless the shard is about to be read anyway.

        Raises:
            ShardError: a shard is damaged, or there are other samples than was said.
        """
        while (
            open_shards
            and (shard := len(self._bounds) - 1) < len(self.refs)
            and (stop is None or self._bounds[shard] < stop)
        ):
            if self._counts[shard] is None and not self._asked:
                self._look_up()
            count = self._counts[shard]
            if count is None and (stop is None or self._random):
                count = self._manifests.count(shard)
            if count is None:
                count = len(self.open(shard).index)
            self._counts[shard] = count
            self._bounds[shard + 1 : shard + 2] = [self._bounds[shard] + count]  # as any other thread would write it
        if self._promised not in (None, self._bounds[-1]) and len(self._bounds) > len(self.refs):
            raise ShardError(
                "there are other samples than the dataset's publisher says",
                expected=f"{self._promised} samples",
                actual=f"{self._bounds[-1]} samples",
                hint="The record's size is wrong. Its shards are what they should be; tell its publisher.",
            )
        return self._bounds[-1] if stop is None else min(stop, self._bounds[-1])

    def _look_up(self) -> None:
        """Take from the ledger what it knows of files on this machine, all at once."""
        self._asked = True
        unknown = [shard for shard, count in enumerate(self._counts) if count is None]
        files = ((shard, self._file(self.refs[shard])) for shard in unknown)
        states = {shard: state_of(file.stat()) for shard, file in files if file is not None}
        if not states:
            return
        counts = self.cache.ledger.counts(list(states.values()))
        for shard, state in states.items():
            self._counts[shard] = counts.get(state)

    def _file(self, ref: ShardRef) -> Path | None:
        """Where a shard is on this machine, if it is."""
        if isinstance(self.source, FileSource):
            return self.source.path(ref)
        path = None if ref.digest is None else self.cache.path(ref.digest)
        return path if path is not None and path.is_file() else None

    def locate(self, samples: Ints) -> tuple[Ints, Ints]:
        """The shard of each sample, and its number in it."""
        self.resolve_stop(int(samples.max(initial=-1)) + 1)
        starts = self._starts
        if starts is None or len(starts) != len(self._bounds):
            self._starts = starts = np.array(self._bounds, np.int64)
        shards = np.searchsorted(starts, samples, "right") - 1
        return shards, samples - starts[shards]

    def shard_of(self, sample: int) -> int:
        """The shard of one sample."""
        self.resolve_stop(sample + 1)
        return bisect.bisect_right(self._bounds, sample) - 1

    def place_of(self, sample: int) -> tuple[int, int]:
        """The shard of one sample, and its number in it."""
        shard = self.shard_of(sample)
        return shard, sample - self._bounds[shard]

    def end_of(self, shard: int) -> int:
        """One past the last sample of a shard in which a sample was found."""
        return self._bounds[shard + 1]

    def fingerprints(self) -> list[str]:
        """What tells each shard from others: its digest; where none is known, its size, count and some of its bytes."""
        return [self._fingerprint(shard, ref) for shard, ref in enumerate(self.refs)]

    def _fingerprint(self, shard: int, ref: ShardRef) -> str:
        if ref.digest is not None:
            return str(ref.digest)
        self.resolve_stop(None)
        known = f"{self._counts[shard]}:{ref.size}"
        if not isinstance(self.source, FileSource):
            return known
        with self.source.open(ref) as file:
            size = os.fstat(file.fileno()).st_size
            pieces = [os.pread(file.fileno(), _PIECE, max(place, 0)) for place in (0, size // 2, size - _PIECE)]
        return f"{self._counts[shard]}:{size}:{hashlib.sha256(b''.join(pieces)).hexdigest()}"

    def find(self, key: str) -> int:
        """The number of the first sample with a key. Each shard's keys are looked at once.

        Raises:
            NotFoundError: no shard holds it.
            ShardError: a shard that had to be looked at is damaged.
        """
        before = 0
        for shard in range(len(self.refs)):
            keys = self._keys(shard)
            number = keys.find(key)
            if number is not None:
                return before + number
            before += len(keys)
        raise NotFoundError("no sample has this key", path=repr(key))

    def key(self, shard: int, start: int) -> str:
        """The key of the sample that begins at an offset in a shard."""
        return self._keys(shard)[int(np.searchsorted(self.open(shard).index.starts, start))]

    def _keys(self, shard: int) -> Keys:
        state = self._state
        with state.lock:
            if shard in state.keys:
                state.keys.move_to_end(shard)
                return state.keys[shard]
            if self._random and self._is_away(shard):
                self._manifests.load(s for s in range(shard, min(shard + AT_ONCE, len(self.refs))) if self._is_away(s))
                if found := self._manifests.sample_index(shard):
                    return found.keys
            keys = state.keys[shard] = keys_of(self.open(shard))
            size = sum(some.nbytes for some in state.keys.values())
            while size > _KEYS and len(state.keys) > 1:
                size -= state.keys.popitem(last=False)[1].nbytes
            return keys

    def _is_away(self, shard: int) -> bool:
        """Whether none of a shard is on this machine."""
        state = self._state
        return shard not in self._open and shard not in state.prefetches and self._file(self.refs[shard]) is None

    def open(self, shard: int) -> OpenShard:
        """A shard, proved. For who picks samples it may be one of which only those are here that `memory` gives.

        Raises:
            DigestError: it is not the one that was published.
            ShardError: it is damaged, or has other samples than its reference or its manifest says.
        """
        state = self._state
        with state.lock:
            partial = self._partial(shard)
            if partial is not None:
                return partial.opened
            opened = self._open.get(shard)
            if opened is not None:
                state.open.move_to_end(shard)
                return opened
            coming = state.prefetches.pop(shard, None)
            try:
                opened = coming.shard.result() if coming else self._proved(shard, threading.Event())
            except LimitError:  # others have all files open that this process may
                evict_excess(state, 0)
                opened = self._proved(shard, threading.Event())
            state.drop_partial(shard)
            self._open[shard] = opened
            while len(self._open) > KEPT:
                state.drop(next(iter(self._open)))
            evict_excess(state)
            return opened

    def _proved(self, shard: int, stopped: threading.Event) -> OpenShard:
        opened = open_shard(self.source, self.refs[shard], self.cache, stopped)
        count, found = self._counts[shard], self._manifests.known(shard)
        try:
            if count is not None and count != len(opened.index):
                raise _miscounted(self.refs[shard], count, len(opened.index))
            if found is not None and not _equal(found.index, opened.index):
                raise ShardError(
                    "the samples of a shard are elsewhere than its manifest says",
                    uri=self.refs[shard].url,
                    hint="Its manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
                )
        except ShardError:
            opened.file.close()
            raise
        return opened

    def _partial(self, shard: int) -> PartialShard | None:
        """A shard to have in parts: remote, where its manifest says what they must be and its source gives them."""
        state = self._state
        if self._ranges is None or not self._may_be_partial(shard):
            return None
        if shard not in state.partial:
            found = self._manifests.sample_index(shard) if self._is_away(shard) else None
            if found is None:
                return None
            state.partial[shard] = PartialShard(self._ranges, self.refs[shard], found, self.cache.root)
            while len(state.partial) > KEPT:
                state.drop_partial(next(iter(state.partial)))
            evict_excess(state)
        state.partial.move_to_end(shard)
        return state.partial[shard]

    def _may_be_partial(self, shard: int) -> bool:
        pinned = self._random and self._ranges is not None and self.refs[shard].manifest is not None
        return pinned and shard not in self._state.refused

    def fetch_ranges(self, numbers: Ints | range) -> None:
        """Fetch samples that will be asked for next, side by side, where that takes less than whole shards.

        Raises:
            DigestError: a sample is not what its manifest says, or a manifest is not the one that was published.
            NetworkError: a source cannot be reached.
        """
        if not self._random or self._ranges is None or not len(numbers):
            return
        shards, places = self.locate(np.asarray(numbers, np.int64))
        order = np.argsort(shards, kind="stable")
        which, firsts = np.unique(shards[order], return_index=True)
        groups = dict(zip(which.tolist(), np.split(places[order], firsts[1:]), strict=True))
        state = self._state
        with state.lock:
            some = list(groups)[:KEPT]
            unseen = (shard for shard in some if shard not in state.partial and self._may_be_partial(shard))
            self._manifests.load(filter(self._is_away, unseen))
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

    def _refuse(self, shard: int) -> None:
        """Have a shard whole from now on."""
        self._state.refused.add(shard)
        self._state.drop_partial(shard)

    def prefetch(self, shards: Iterable[int]) -> None:
        """Begin to fetch and prove shards that will be asked for soon."""
        state = self._state
        with state.lock:
            wanted = [s for s in shards if s < len(self.refs) and s not in self._open and s not in state.prefetches]
            wanted = [s for s in wanted if not self._may_be_partial(s)]
            if not wanted:
                return
            pool = ThreadPoolExecutor(len(wanted), "atdata-fetch")
            for shard in wanted:
                stopped = threading.Event()
                state.prefetches[shard] = Prefetch(pool.submit(self._proved, shard, stopped), stopped)
            pool.shutdown(wait=False)

    def is_prefetching(self, sample: int) -> bool:
        """Whether the shard of a sample, or the next one that is not known, is being fetched."""
        coming = self._state.prefetches.get(bisect.bisect_right(self._bounds, sample) - 1)
        return coming is not None and not coming.shard.done()

    def prefetch_first(self) -> None:
        """Begin to prove the first shards, side by side, where they are on this machine: all will be read in order."""
        self.prefetch(s for s in range(min(AHEAD, len(self.refs))) if self._file(self.refs[s]) is not None)

    def cancel_prefetch(self) -> None:
        """Stop fetching what nobody asked for yet."""
        with self._state.lock:
            self._state.cancel_prefetch()

    def drop(self, shard: int) -> None:
        """Let go of a shard; what is mapped of it lives on while it is used."""
        with self._state.lock:
            self._state.drop(shard)

    def ready(self, shard: int, starts: Ints) -> OpenShard:
        """An open shard some samples of which are about to be touched.

        Raises:
            DigestError, NetworkError: as `fetch_ranges`.
            ShardError: the shard was cut meanwhile.
        """
        with self._state.lock:
            if partial := self._partial(shard):
                self._fetch({shard: partial.places(starts)})
            opened = self.open(shard)
            check_unchanged(opened.file, opened.size, opened.ref.url)
            return opened

    @contextmanager
    def used(self, shard: int, starts: Ints) -> Iterator[OpenShard]:
        """An open shard some samples of which are about to be read. Nobody closes it meanwhile.

        Raises:
            DigestError, NetworkError, ShardError: as `ready`.
        """
        with self._state.lock:
            yield self.ready(shard, starts)

    @contextmanager
    def descriptor(self, shard: int, starts: Ints) -> Iterator[int]:
        """The descriptor of the same."""
        with self.used(shard, starts) as opened:
            yield opened.file.fileno()

    def memory(self, shard: int, starts: Ints) -> Memory:
        """Memory over a whole shard, to touch some samples in; the same until the shard is closed.

        Raises:
            DigestError, NetworkError, ShardError: as `ready`.
        """
        state = self._state
        with state.lock:
            opened = self.ready(shard, starts)
            if shard not in state.mapped:
                state.mapped[shard] = map_file(opened.file, 0, opened.size, scattered=True)
            return state.mapped[shard]


def _equal(one: ShardIndex, other: ShardIndex) -> bool:
    return np.array_equal(one.starts, other.starts) and np.array_equal(one.sizes, other.sizes)


def _miscounted(ref: ShardRef, expected: int, actual: int) -> ShardError:
    return ShardError(
        "a shard does not hold as many samples as its reference says", uri=ref.url, expected=expected, actual=actual
    )
