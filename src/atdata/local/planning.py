"""The plan of a store that names shards by their content: found out before anything is stored."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.stored import is_whole, keeps_shards, packed_by_shard
from atdata.dataset.stores import discard_scratch
from atdata.errors import DigestError, UsageError
from atdata.files.own import SCRATCH, STALE, TEMPORARY, own_files, scratch_name
from atdata.manifest import discard_shard, manifest_beside
from atdata.shards import Digest, FileSource, Limits, ShardRef, cut_shards
from atdata.shards.cache import ShardCache
from atdata.shards.digest import CHUNK
from atdata.shards.opening import open_shard
from atdata.shards.planned import PlannedShard
from atdata.shards.ports import DataSource
from atdata.shards.proving import sha256_of
from atdata.shards.writer import DEFAULT_MAXSIZE, Observer, SampleRow

_MAX_NAME = 255  # bytes of one part of a path, on most disks


@dataclass(frozen=True)
class Planner:
    """Finds out what a dataset's shards will be in a store.

    A dataset as it was written keeps its shards, byte for byte. A view that selects or changes samples, and any limit,
    has them cut anew.

    Attributes:
        cache: for shards that are fetched.
        scratch: a folder for shards that are cut anew, until they are stored.
    """

    cache: ShardCache
    scratch: Path

    def plan(
        self,
        dataset: Dataset[Any],
        address: Callable[[Digest], str],
        *,
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> tuple[PlannedShard, ...]:
        """The shards in order, nothing of them stored yet.

        Args:
            dataset: what to store.
            address: of the shard with a digest.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.
            observer: writes the manifests of shards that are cut anew. Shards that are kept keep theirs.

        Raises:
            UsageError: there are no samples, or no sample fits under a limit.
            LimitError: a sample is larger than a shard may be.
            ShardNotFoundError, NetworkError, DigestError, ShardError: a shard cannot be had, or is not what it must be.
            StorageError: the disk is full or fails.
        """
        limits = Limits.of(maxcount, maxsize)
        if is_whole(dataset.view) and limits == Limits():
            found: Iterable[PlannedShard] = (
                _kept(dataset.view.source, ref, self.cache, number) for number, ref in enumerate(dataset.shards)
            )
        else:
            found = self._cut(dataset, limits, observer)
        planned: list[PlannedShard] = []
        try:
            for shard in found:
                planned.append(shard)
                planned[-1] = replace(shard, url=address(shard.sha256))
        except BaseException:
            discard_scratch(planned)
            raise
        if not planned:
            raise UsageError("a dataset without samples cannot be stored")
        return tuple(planned)

    def _cut(self, dataset: Dataset[Any], limits: Limits, observer: Observer | None) -> Iterator[PlannedShard]:
        self._sweep()
        groups: Iterator[Iterator[SampleRow]] = packed_by_shard(dataset.view)
        numbered = limits == Limits() and keeps_shards(dataset.view)
        if limits == Limits():
            limits = Limits(size=DEFAULT_MAXSIZE)
        else:
            groups = iter([itertools.chain.from_iterable(groups)])
        for number, rows in enumerate(groups):
            for shard in cut_shards(rows, limits, self._place, observer):
                if shard.samples:
                    manifest = manifest_beside(shard)
                    part_of = number if numbered else None
                    yield _planned(shard, FileSource((shard,)), shard, manifest, part_of, scratch=True)
                else:
                    discard_shard(Path(shard.url))

    def _place(self, _index: int) -> Path:
        return self.scratch / scratch_name()

    def _sweep(self) -> None:
        """Remove what processes left that were killed."""
        for form in (SCRATCH, TEMPORARY):
            for left in own_files(self.scratch.parent, (self.scratch.name,), form, age=STALE):
                with suppress(OSError):
                    left.remove()


def _planned(
    stored: ShardRef,
    source: DataSource,
    origin: ShardRef,
    manifest: DataSource | None,
    part_of: int | None,
    scratch: bool = False,
) -> PlannedShard:
    facts = (stored.url, stored.digest, stored.size, stored.samples, manifest)
    return PlannedShard(*facts, source=source, origin=origin, scratch=scratch, part_of=part_of)


def _kept(source: DataSource, ref: ShardRef, cache: ShardCache, number: int) -> PlannedShard:
    """A shard as it is now. What is said of it is believed here, as storing it proves it; what was once found out is not:
    its digest is for a record.
    """
    cache = replace(cache, revalidate=True)
    local, fetched = isinstance(source, FileSource), False
    if ref.digest is None and not local:
        fetched = True
        ref = cache.fetch_undigested(source, ref, threading.Event())
    named = ref.digest is not None and ref.digest.algorithm == "sha256"
    if named and ref.size is not None and not local and not fetched:
        return _planned(ref, source, ref, ref.manifest, number)
    # A file of this machine is read twice at most: here for a digest that nobody knows, and to be stored.
    opened = open_shard(source, replace(ref, digest=None) if local and named else ref, cache)
    with opened.file:
        digest = ref.digest if named else sha256_of(opened, cache)
    found = ShardRef(ref.url, digest, opened.size, len(opened.index))
    return _planned(found, source, found, ref.manifest or (manifest_beside(found) if local else None), number)


def proved_bytes(shard: PlannedShard, cache: ShardCache) -> Generator[bytes]:
    """The bytes of a planned shard in pieces. Only who has taken the last has what was planned.

    Raises:
        DigestError: they are other bytes; said in place of the last piece.
        ShardNotFoundError, NetworkError: it cannot be had.
    """
    if isinstance(shard.source, FileSource):
        file = shard.source.open(shard.origin)
    else:
        file = open_shard(shard.source, shard.origin, cache).file
    hasher, left = shard.sha256.hasher(), shard.length
    with file:
        while piece := file.read(CHUNK):
            hasher.update(piece)
            left -= len(piece)
            if left == 0:
                shard.sha256.check(hasher.hexdigest(), shard.origin.url)
            if left < 0:
                break
            yield piece
    if left:
        raise DigestError(
            "a shard is not as long as planned",
            step="shard digest",
            uri=shard.origin.url,
            expected=f"{shard.size} bytes",
            actual=f"{shard.length - left} bytes" if left > 0 else "more",
            hint="It was not stored. Store the dataset again once nobody writes to its files.",
        )


def check_prefix(prefix: str) -> str:
    """A prefix as a part of addresses: data, which names a place below the store and none elsewhere.

    Raises:
        UsageError: it does not.
    """
    parts = prefix.split("/") if prefix else []
    fits = prefix.isprintable() and "\\" not in prefix and all(part and part[0] != "." for part in parts)
    with suppress(UnicodeEncodeError):
        if fits and all(len(part.encode()) <= _MAX_NAME for part in parts):
            return prefix
    raise UsageError(
        "prefix must name a place below the store",
        path="prefix",
        expected="names with / between them, such as mnist/v1",
        hint="Without prefix= the name of the dataset is one; give another.",
        actual=repr(prefix)[:80],
    )
