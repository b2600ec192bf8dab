"""The table of a dataset's shards: which sample is in which."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np

from atdata.dataset.reading.open_shards import OpenShards
from atdata.dataset.reading.random_access import RandomAccessShards
from atdata.errors import AtdataError, DigestError, NotFoundError, ShardError, UnverifiedError
from atdata.numbers import Ints
from atdata.shards.cache import ShardCache
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.source import FileSource
from atdata.shards.verified_files import state_of

_PIECE = 1 << 16


class ShardTable:
    """The shards of a source side by side, with the number of samples in each as far as it is known.

    One table serves all views of a dataset. It pickles as the source it reads.

    Args:
        source: the shards.
        cache: where fetched shards are kept.
        samples: the number of samples that the publisher claims, who may be wrong.
        refs: the only shards of the source, if not all.

    Attributes:
        refs: the shards, in order.
        claimed: `samples`.
        shards: the shards to open.
    """

    def __init__(
        self,
        source: DataSource,
        cache: ShardCache,
        samples: int | None = None,
        refs: Iterable[ShardRef] | None = None,
    ) -> None:
        self.refs: tuple[ShardRef, ...] = tuple(source.shards if refs is None else refs)
        self._counts: list[int | None] = [ref.samples for ref in self.refs]
        self._bounds: list[int] = [0]
        self._starts: Ints | None = None
        self._looked_up = False  # whether the counts of verified files were
        self.claimed = samples
        self._reported: int | None = None  # the claim, once it was reported as the length
        self.shards = OpenShards(source, self.refs, cache, self._counts)

    @property
    def gives_ranges(self) -> bool:
        """True if single samples are read, from a source that gives byte ranges."""
        return isinstance(self.shards, RandomAccessShards) and self.shards.ranges is not None

    def random_access(self) -> ShardTable:
        """The same table for reading single samples: of remote shards with a manifest only these are fetched."""
        if isinstance(self.shards, RandomAccessShards):
            return self
        if not self._looked_up:
            self._look_up()
        table = ShardTable.__new__(ShardTable)
        vars(table).update(vars(self), shards=RandomAccessShards.sharing(self.shards))
        return table

    def __len__(self) -> int:
        """The number of samples: as far as is known without opening a shard, else what was claimed.

        A claim that was reported and is wrong is an error as soon as all shards have been opened.

        Raises:
            ShardError: a shard that had to be opened is damaged.
        """
        if self.claimed is None or len(self._bounds) > len(self.refs):
            return self.resolve_stop(None)
        if not self._looked_up:
            self._look_up()
        if None not in self._counts:
            return self.resolve_stop(None)
        self._reported = self.claimed
        return self.claimed

    def resolve_stop(self, stop: int | None, open_shards: bool = True) -> int:
        """`stop`, or the number of all samples if that is less; opens no more shards than that takes.

        With `open_shards` false none is opened, and the answer is the end of those that are known, at most. A manifest's
        number of samples is enough, unless the shard is about to be read anyway.

        Raises:
            ShardError: a shard is damaged, or the reported number of samples is wrong.
        """
        while (
            open_shards
            and (shard := len(self._bounds) - 1) < len(self.refs)
            and (stop is None or self._bounds[shard] < stop)
        ):
            if self._counts[shard] is None and not self._looked_up:
                self._look_up()
            count = self._counts[shard]
            if count is None and (stop is None or isinstance(self.shards, RandomAccessShards)):
                count = self.shards.manifests.count(shard)
            if count is None:
                count = len(self.shards.open(shard).index)
            self._counts[shard] = count
            self._bounds[shard + 1 : shard + 2] = [self._bounds[shard] + count]  # as any other thread would write it
        if self._reported not in (None, self._bounds[-1]) and len(self._bounds) > len(self.refs):
            raise wrong_claim(self._reported, self._bounds[-1])
        return self._bounds[-1] if stop is None else min(stop, self._bounds[-1])

    def _look_up(self) -> None:
        """Take the counts of files on this machine that are verified already, all at once."""
        self._looked_up = True
        unknown = [shard for shard, count in enumerate(self._counts) if count is None]
        found = [(shard, self.shards.stat(shard)) for shard in unknown]
        states = {shard: state_of(status) for shard, status in found if status is not None}
        if not states:
            return
        counts = self.shards.cache.verified.counts(list(states.values()))
        for shard, state in states.items():
            self._counts[shard] = counts.get(state)

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

    def is_prefetching(self, sample: int) -> bool:
        """True while the shard of a sample, or the next one that is not known, is being fetched."""
        return self.shards.is_prefetching(bisect.bisect_right(self._bounds, sample) - 1)

    def span_of(self, shard: int) -> tuple[int, int]:
        """The numbers `[start, stop)` of the samples in a shard in which a sample was found."""
        return self._bounds[shard], self._bounds[shard + 1]

    def fingerprints(self) -> list[str]:
        """The fingerprint of each shard: its digest; where none is known, its size, count and some of its bytes."""
        return [self._fingerprint(shard, ref) for shard, ref in enumerate(self.refs)]

    def _fingerprint(self, shard: int, ref: ShardRef) -> str:
        if ref.digest is not None:
            return str(ref.digest)
        self.resolve_stop(None)
        known = f"{self._counts[shard]}:{ref.size}"
        if not isinstance(self.shards.source, FileSource):
            return known
        with self.shards.source.open(ref) as file:
            size = os.fstat(file.fileno()).st_size
            pieces = [os.pread(file.fileno(), _PIECE, max(place, 0)) for place in (0, size // 2, size - _PIECE)]
        return f"{self._counts[shard]}:{size}:{hashlib.sha256(b''.join(pieces)).hexdigest()}"

    def with_ranges(self, numbers: Ints | range) -> Ints | range:
        """The same numbers of samples, once those are fetched that `RandomAccessShards.fetch` does."""
        if len(numbers) and isinstance(self.shards, RandomAccessShards):
            self.shards.fetch({shard: places for shard, _, places in self.groups(np.asarray(numbers, np.int64))})
        return numbers

    def groups(self, samples: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Yields each shard of some samples, where among them its samples are, and their numbers in it."""
        shards, places = self.locate(samples)
        if (shards == shards[0]).all():
            yield int(shards[0]), np.arange(len(samples)), places
            return
        order = np.argsort(shards, kind="stable")
        cuts = [0, *(np.flatnonzero(np.diff(shards[order])) + 1).tolist(), len(order)]
        for start, stop in itertools.pairwise(cuts):
            group = order[start:stop]
            yield int(shards[group[0]]), group, places[group]

    def find(self, key: str) -> int:
        """The number of the first sample with a key. Each shard's keys are read once.

        Raises:
            NotFoundError: no shard holds it.
            ShardError: a shard that had to be opened is damaged.
        """
        before = 0
        for shard in range(len(self.refs)):
            keys = self.shards.keys(shard)
            number = keys.find(key)
            if number is not None:
                return before + number
            before += len(keys)
        raise NotFoundError("no sample has this key", path=repr(key), hint="Keys are text, such as '000000012'.")

    def key(self, shard: int, start: int) -> str:
        """The key of the sample that begins at an offset in a shard."""
        return self.shards.keys(shard)[int(np.searchsorted(self.shards.open(shard).index.starts, start))]


def known_counts(table: ShardTable) -> list[int | None]:
    """The number of samples in each shard, where its reference, this machine or its manifest tells it without its bytes."""
    if not table._looked_up:
        table._look_up()
    counts = list(table._counts)
    for shard, count in enumerate(counts):
        with suppress(ShardError, DigestError, UnverifiedError):  # what is wrong is said when the shard is read
            counts[shard] = table.shards.manifests.count(shard) if count is None else count
    return counts


def place_of(table: ShardTable, sample: int) -> tuple[str, str | None, int]:
    """The address of the shard that a sample is in, its key, and its place there; no key where that cannot be had."""
    shard = table.shard_of(sample)
    place = sample - table.span_of(shard)[0]
    with suppress(AtdataError):
        return table.refs[shard].url, table.shards.keys(shard)[place], place
    return table.refs[shard].url, None, place


def wrong_claim(claimed: int | None, actual: int) -> ShardError:
    """The error for a number of samples that is not the one its publisher claims."""
    return ShardError(
        "the dataset has other samples than its publisher says",
        expected=f"{claimed} samples",
        actual=f"{actual} samples",
        hint="The record's size is wrong. Its shards are what they should be; tell its publisher.",
    )
