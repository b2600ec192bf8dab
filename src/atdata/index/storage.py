"""The storage of a dataset that is inserted: planned before anything is stored, so that what is wrong is said first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.stored import is_whole, layout_of
from atdata.dataset.stores import AbstractDataStore, ShardStore, scratch_of
from atdata.dataset.view import of_shards
from atdata.errors import UsageError
from atdata.index.checks import check_splits
from atdata.index.publication import Publication
from atdata.progress import progress
from atdata.records import Size, Storage
from atdata.records.storage import storage_of
from atdata.shards import FileSource, ShardRef
from atdata.shards.addresses import file_path
from atdata.shards.cache import ShardCache
from atdata.shards.planned import PlannedShard
from atdata.shards.ports import DataSource
from atdata.shards.proving import proved_shards
from atdata.shards.urls import scheme_of
from atdata.shards.writer import Observer


@dataclass(frozen=True)
class StoragePlan:
    """The shards of a dataset where an entry will say that they are.

    Attributes:
        shards: in order.
        storage: the same as a record says it.
        size: of all of them.
        store: what `upload` sends them to; `None` where they are in place.
        planned: the shards as the store planned them.
        origins: of each the number of the dataset's shard whose samples it has; `None` where that is not known.
        layout: the extensions of the file that each field stands in; empty where samples are packed.
    """

    shards: Sequence[ShardRef]
    storage: Storage
    size: Size
    store: ShardStore | None = None
    planned: Sequence[PlannedShard] = ()
    origins: Sequence[int] | None = None
    layout: Mapping[str, str] = field(default_factory=dict)

    def upload(self) -> None:
        """Store what is not in place yet."""
        if self.store is not None:
            self.store.upload(self.planned)


@contextmanager
def planned_storage(
    dataset: Dataset[Any],
    publication: Publication,
    store: AbstractDataStore | None,
    cache: Path,
    *,
    digests: bool,
    observer: Observer | None = None,
) -> Iterator[StoragePlan]:
    """The plan of a dataset's storage; what was cut for it and not stored is removed at the end.

    A store that cannot plan (an `AbstractDataStore` that is no `ShardStore`) is written to at once.

    Args:
        dataset: what is inserted.
        publication: what is said of it.
        store: where its shards go; `None` leaves them where they are.
        cache: folder of the cache.
        digests: whether shards are read whose digest is not known; files of this machine always are.
        observer: writes the manifests of shards that are cut anew.

    Raises:
        UsageError: shards would have to be cut, and there is no store; or splits name shards that are cut anew.
        ShardError, DigestError, ShardNotFoundError, NetworkError: a shard cannot be had, or is not what it must be.
        StorageError: the disk is full or fails.
    """
    limits: dict[str, Any] = {"maxcount": publication.maxcount, "maxsize": publication.maxsize}
    prefix = publication.name if publication.prefix is None else publication.prefix
    if isinstance(store, ShardStore):
        planned = store.plan(dataset, prefix=prefix, observer=observer, **limits)
        with scratch_of(planned):
            parts = [shard.part_of for shard in planned if shard.part_of is not None]
            origins: Sequence[int] | None = parts if len(parts) == len(planned) else None
            check_splits(publication, len(dataset.shards), origins)
            shards = [replace(shard, url=_address(shard.url)) for shard in planned]
            source = store.create_source([shard.url for shard in planned])
            plan = StoragePlan(shards, storage_of(shards, source), Size.of(shards), store, planned, origins)
            yield replace(plan, layout=_layout(dataset))
        return
    if store is not None:
        source = store.create_source(store.write_shards(dataset, prefix=prefix, **limits))
    else:
        _check_in_place(dataset, publication)
        source = of_shards(dataset.view).source
        digests = digests or isinstance(source, FileSource)
    found = _proved(source, ShardCache(cache, revalidate=True)) if digests else source.shards
    kept = [replace(shard, url=_address(shard.url)) for shard in found]
    known = [shard.digest for shard in dataset.shards]
    same = store is None or (None not in known and known == [shard.digest for shard in kept])
    origins = range(len(kept)) if same and is_whole(dataset.view) else None
    check_splits(publication, len(dataset.shards), origins)
    layout = _layout(dataset) if digests or store is not None else dataset.layout or {}
    yield StoragePlan(kept, storage_of(kept, source), Size.of(kept), origins=origins, layout=layout)


def _layout(dataset: Dataset[Any]) -> dict[str, str]:
    """The layout of the samples as they are stored; empty where they are packed."""
    layout = layout_of(dataset.view)
    return {} if layout is None else layout.said()


def _check_in_place(dataset: Dataset[Any], publication: Publication) -> None:
    """Refuse to leave shards where they are that are not what is inserted."""
    if publication.is_cut:
        raise UsageError(
            "shards cannot be cut anew without a data store",
            path="maxsize" if publication.maxcount is None else "maxcount",
            hint="Give the index a store with data_store=, or leave the limit out.",
        )
    if not is_whole(dataset.view):
        raise UsageError(
            "a view of a dataset has no shards of its own",
            hint="Give the index a data store, data_store=..., and the view's samples are written to it.",
        )


def _proved(source: DataSource, cache: ShardCache) -> Iterator[ShardRef]:
    with progress("Reading shards", sum(shard.size or 0 for shard in source.shards)) as bars:
        for shard in proved_shards(source, source.shards, cache):
            bars.begin(shard.url, shard.size or 0)
            bars.advance(shard.size or 0)
            yield shard


def _address(url: str) -> str:
    """A path as a `file://` address; any other address as it is."""
    return Path(file_path(url)).absolute().as_uri() if scheme_of(url) == "file" else url
