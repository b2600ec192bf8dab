"""Shards of which only some samples are here, each checked by its own digest.

A partial shard is a sparse file as long as the shard: samples are written where they stand in it, and read as those of
a whole shard are. They are kept as long as the file is open, so nothing is fetched twice, and once more than half of a
shard was asked for it is fetched whole instead.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atdata.errors import DigestError
from atdata.files import disk_errors
from atdata.manifest import Manifest
from atdata.numbers import Ints
from atdata.shards.index import ShardIndex
from atdata.shards.keys import Keys
from atdata.shards.memory_map import map_file
from atdata.shards.opening import OpenShard
from atdata.shards.ports import RangeSource, ShardRef

MAX_PART = 1 << 23
"""Most bytes of one request, and so of one answer in memory."""


@dataclass(frozen=True, eq=False)
class SampleIndex:
    """The index of a shard's samples, by its manifest.

    Attributes:
        index: their offsets and sizes.
        keys: their keys.
        digests: the sha-256 of each, uint8 `[n, 32]`.
        size: bytes of the shard.
    """

    index: ShardIndex
    keys: Keys
    digests: NDArray[np.uint8]
    size: int

    @classmethod
    def of(cls, manifest: Manifest) -> SampleIndex:
        """The index in a manifest, without the values of fields and the memory that they are in."""
        index = ShardIndex(manifest.offsets.copy(), manifest.sizes.copy(), packed=manifest.header.packed)
        return cls(index, Keys(manifest.keys), manifest.digests.copy(), manifest.header.shard.size)

    @property
    def nbytes(self) -> int:
        """The approximate bytes that it takes in memory."""
        return 48 * len(self.index) + self.keys.nbytes


class PartialShard:
    """One shard of a source that gives ranges.

    Args:
        source: where the shard is.
        ref: the shard.
        index: of its samples, by its manifest.
        folder: for the sparse file, which has no name.

    Attributes:
        opened: the shard as if it were whole. Only samples that `fetch_missing` fetched may be touched.

    Raises:
        StorageError: the disk is full or fails.
    """

    def __init__(self, source: RangeSource, ref: ShardRef, index: SampleIndex, folder: Path) -> None:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack, disk_errors(folder):
            raw = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
            os.truncate(raw.fileno(), index.size)
            stack.pop_all()
        self.opened = OpenShard(ref, BufferedReader(raw), index.size, index.index)
        self._source, self._digests, self._folder = source, index.digests, folder
        self._present = np.zeros(len(index.index), bool)
        self._fetched = 0

    def places(self, starts: Ints) -> Ints:
        """The numbers of the samples that begin at some offsets."""
        return np.searchsorted(self.opened.index.starts, starts)

    def missing(self, places: Ints) -> Ints:
        """The samples of some that are not here, each once, in order."""
        wanted = np.unique(places)
        return wanted[~self._present[wanted]]

    def prefer_ranges(self, missing: Ints) -> bool:
        """True if no more than half of all samples' bytes will have been fetched once these are here too."""
        sizes = self.opened.index.sizes
        return 2 * (self._fetched + int(sizes[missing].sum())) <= int(sizes.sum())

    def parts(self, missing: Ints) -> list[tuple[int, int]]:
        """The byte ranges to request, as `[start, stop)`: one part for each run of samples side by side, unless that is large."""
        starts, sizes = self.opened.index.starts, self.opened.index.sizes
        parts: list[tuple[int, int]] = []
        last = -1
        for place, start, size in zip(missing.tolist(), starts[missing].tolist(), sizes[missing].tolist(), strict=True):
            if not size:
                continue
            if parts and place == last + 1 and start + size - parts[-1][0] <= MAX_PART:
                parts[-1] = parts[-1][0], start + size
            else:
                cuts = [*range(start, start + size, MAX_PART), start + size]
                parts += itertools.pairwise(cuts)
            last = place
        return parts

    def fetch(self, part: tuple[int, int]) -> bool:
        """Fetch one part; `False` where the source does not give it.

        Raises:
            NetworkError: it cannot be reached.
            StorageError: the disk is full or fails.
        """
        start, stop = part
        data = self._source.read_range(self.opened.ref, start, stop)
        if data is None or len(data) != stop - start:
            return False
        rest = memoryview(data)
        with disk_errors(self._folder):
            while rest:
                rest = rest[os.pwrite(self.opened.file.fileno(), rest, stop - len(rest)) :]
        return True

    def check(self, missing: Ints) -> None:
        """Verify samples whose parts are all fetched. Those before a wrong one count as fetched.

        Raises:
            DigestError: the digest of one is not that in the manifest.
        """
        index = self.opened.index
        for place in missing.tolist():
            start, size = int(index.starts[place]), int(index.sizes[place])
            digest = hashlib.sha256()
            if size:
                memory = map_file(self.opened.file, start, start + size)
                digest.update(memory.data[start - memory.base :][:size].data)
            if digest.digest() != self._digests[place].tobytes():
                raise DigestError(
                    "the digest of a sample is not the published one",
                    step="sample digest",
                    uri=self.opened.ref.url,
                    path=f"bytes {start} to {start + size}",
                    expected=f"sha256:{self._digests[place].tobytes().hex()}",
                    actual=f"sha256:{digest.hexdigest()}",
                    hint="The sample was not read. Fetch it again, or ask the dataset's publisher.",
                )
            self._present[place] = True
            self._fetched += size


def fetch_missing(missing: Iterable[tuple[PartialShard, Ints]], pool: Executor) -> list[PartialShard]:
    """Fetch samples of some shards in parallel, and verify them.

    Args:
        missing: shards, each with the numbers of its missing samples.
        pool: runs the requests.

    Returns:
        The shards whose source did not give all ranges.

    Raises:
        DigestError: the digest of a sample is not that in its manifest.
        NetworkError: a source cannot be reached.
        StorageError: the disk is full or fails.
    """
    asked = [(shard, places, shard.parts(places)) for shard, places in missing]
    jobs = [partial(shard.fetch, part) for shard, _, parts in asked for part in parts]
    given = iter(list(pool.map(lambda job: job(), jobs)))
    failed = []
    for shard, places, parts in asked:
        if sum(itertools.islice(given, len(parts))) == len(parts):
            shard.check(places)
        else:
            failed.append(shard)
    return failed
