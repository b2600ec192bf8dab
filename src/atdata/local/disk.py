"""Shards in a folder of this machine, or one that several machines mount."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.stores import ShardStore
from atdata.errors import DigestError, ShardError, ShardNotFoundError
from atdata.files import atomic_file, disk_errors, sync_folder, write_all
from atdata.local.planning import Planner, check_prefix, proved_bytes
from atdata.manifest import carried_files, discard_shard, manifest_paths
from atdata.paths import checked_path
from atdata.progress import Progress, progress
from atdata.settings import Settings
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.addresses import file_path
from atdata.shards.cache import ShardCache
from atdata.shards.listing import is_file
from atdata.shards.opening import open_shard
from atdata.shards.planned import PlannedShard
from atdata.shards.writer import Observer

_NAME = re.compile(r"([0-9a-f]{64})\.tar")


class LocalDiskStore(ShardStore):
    """Keeps shards as files `{root}/{prefix}/{sha256}.tar`; those of a dataset as it was written byte for byte.

    Each appears complete or not at all, and is what its name says: its digest is computed while it is written. What is
    there already, and still is what its name says, is not written again.

    Attributes:
        root: the folder.

    Args:
        root: the folder; by default `shards` in the data folder of the settings.
        cache: the folder for what is fetched from elsewhere, and for what is known of files.
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, *, cache: str | os.PathLike[str] | None = None
    ) -> None:
        settings = Settings.of(cache=cache)
        self.root = (checked_path(root) if root else settings.data / "shards").absolute()
        self._cache = ShardCache(settings.cache)

    def plan(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str = "",
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> tuple[PlannedShard, ...]:
        """The shards that `put` would store; nothing is stored yet.

        Raises:
            UsageError, ShardNotFoundError, NetworkError, DigestError, ShardError, StorageError: as `write_shards`.
        """
        folder = self.root / check_prefix(prefix)
        return Planner(self._cache, self.root / ".scratch").plan(
            dataset,
            lambda digest: str(folder / f"{digest.hex}.tar"),
            maxcount=maxcount,
            maxsize=maxsize,
            observer=observer,
        )

    def upload(self, planned: Sequence[PlannedShard]) -> tuple[ShardRef, ...]:
        """Store what `plan` gave.

        Raises:
            ShardNotFoundError, NetworkError, DigestError, ShardError, StorageError: as `write_shards`.
        """
        with progress("Storing", sum(shard.length for shard in planned)) as bars:
            bars.begin(f"{len(planned)} shards", sum(shard.length for shard in planned))
            return tuple(self._store(shard, bars) for shard in planned)

    def read_url(self, url: str) -> str:
        """The path of a stored shard, given as a path or as `file://`, which any program of this machine can open.

        Raises:
            ShardNotFoundError: it is not there.
        """
        path = file_path(url)
        if not is_file(path):
            raise ShardNotFoundError("there is no such shard", uri=url)
        return path

    def create_source(self, urls: Sequence[str]) -> FileSource:
        """The source that reads shards from their paths, or from `file://` addresses as an index lists them; what this
        store named by content is proved by its name.
        """
        return FileSource(tuple(ShardRef(path, self._named(path)) for path in map(file_path, urls)))

    def _named(self, given: str) -> Digest | None:
        path = Path(given)
        match = _NAME.fullmatch(path.name) if path.is_relative_to(self.root) else None
        return Digest("sha256", match[1]) if match else None

    def _store(self, shard: PlannedShard, bars: Progress) -> ShardRef:
        place = Path(shard.url)
        if self._has(place, shard):
            bars.advance(shard.length)
        elif shard.scratch:
            _move(Path(shard.origin.url), place)
            bars.advance(shard.length)
        else:
            with atomic_file(place) as file, closing(proved_bytes(shard, self._cache)) as pieces:
                for piece in pieces:
                    write_all(file, piece, place)
                    bars.advance(len(piece))
        manifest = _store_manifest(shard, place)
        if shard.scratch:
            discard_shard(Path(shard.origin.url))
        return shard.stored(manifest)

    def _has(self, place: Path, shard: PlannedShard) -> bool:
        """True if a file is there and is what its name says. One that is not is replaced."""
        stored = ShardRef(str(place), shard.sha256, shard.size)
        if not place.is_file() or place.stat().st_size != shard.length:
            return False
        try:
            open_shard(FileSource((stored,)), stored, replace(self._cache, revalidate=True)).file.close()
        except (DigestError, ShardError, ShardNotFoundError):
            return False
        return True


def _move(scratch: Path, place: Path) -> None:
    """Give a complete file its name."""
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch.replace(place)
        sync_folder(place.parent)


def _store_manifest(shard: PlannedShard, place: Path) -> FileSource | None:
    """Set a shard's manifest beside it, the header last. One that is there already stays: others may have pinned it."""
    stored = []
    for file, path in zip(reversed(carried_files(shard)), reversed(manifest_paths(place)), strict=False):
        if not path.is_file():
            with atomic_file(path) as target:
                write_all(target, file, path)
        stored.append(ShardRef(str(path), Digest.sha256(file), len(file)))
        if Digest.of_file(path) != stored[-1].digest:
            return None
    return FileSource(tuple(reversed(stored))) if stored else None
