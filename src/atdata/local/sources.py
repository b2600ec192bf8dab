"""The storage of an entry's shards: as it is written into the index, and as it is read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from atdata.dataset import Dataset
from atdata.dataset.stored import is_whole
from atdata.dataset.stores import AbstractDataStore, ShardStore
from atdata.errors import UsageError
from atdata.index.publication import Publication
from atdata.progress import progress
from atdata.records import Entry, S3Storage, Storage
from atdata.records.storage import storage_in
from atdata.shards import FileSource, ShardRef
from atdata.shards.addresses import scheme_of
from atdata.shards.cache import ShardCache
from atdata.shards.http import HttpSource
from atdata.shards.ports import DataSource
from atdata.shards.proving import proved_shards
from atdata.shards.s3 import S3Source, configured_endpoint, split_s3_url


class Stored(NamedTuple):
    """The shards of a dataset where they stay, and the same as a record says it."""

    shards: tuple[ShardRef, ...]
    storage: Storage


def kept_where_they_are(dataset: Dataset[Any], cache: Path, digests: bool) -> Stored:
    """The shards of a dataset in their own places.

    Args:
        dataset: as it was written: a view of it has no shards.
        cache: folder of the cache.
        digests: whether to read those through whose digest is not known.

    Raises:
        UsageError: it is a view, or its shards are nowhere that an index can name.
        ShardError, DigestError: a shard is damaged, or not the one it should be.
    """
    source = dataset.view.source
    if not is_whole(dataset.view):
        raise UsageError(
            "a view of a dataset has no shards of its own",
            hint="Give the index a data store, and the view's samples are written to it: LocalIndex(data_store=...).",
        )
    if isinstance(source, FileSource) or digests:
        with progress("Reading shards", sum(shard.size or 0 for shard in source.shards)) as bars:
            shards = []
            for shard in proved_shards(source, source.shards, ShardCache(cache, afresh=True)):
                bars.begin(shard.url, shard.size or 0)
                bars.advance(shard.size or 0)
                shards.append(shard)
    else:
        shards = list(source.shards)
    return stored_as(source, shards)


def put_into(store: AbstractDataStore, dataset: Dataset[Any], publication: Publication, cache: Path) -> Stored:
    """The shards of a dataset, copied to a store."""
    limits: dict[str, Any] = {"maxcount": publication.maxcount, "maxsize": publication.maxsize}
    if isinstance(store, ShardStore):
        shards = store.put(dataset, prefix=publication.stored_as, **limits)
        return stored_as(store.create_source([shard.url for shard in shards]), shards)
    source = store.create_source(store.write_shards(dataset, prefix=publication.stored_as, **limits))
    return stored_as(source, list(proved_shards(source, source.shards, ShardCache(cache, afresh=True))))


def stored_as(source: DataSource, shards: Sequence[ShardRef]) -> Stored:
    """The storage of shards, as a record says it.

    Raises:
        UsageError: it has no way to say it.
    """
    shards = tuple(replace(shard, url=_address(shard.url)) for shard in shards)
    kinds = {scheme_of(shard.url) for shard in shards}
    if not kinds <= {"file", "http", "https", "s3", "gs"}:
        raise UsageError(
            f"shards at {' and '.join(sorted(kinds))}:// are not of this index's world",
            hint="Give the index a data store to copy them to: LocalIndex(data_store=...).",
        )
    return Stored(shards, storage_in(source, shards))


def source_of_entry(entry: Entry, shards: Sequence[ShardRef], store: AbstractDataStore | None) -> DataSource:
    """The source of some shards of an entry.

    The caller's credentials go only where the caller has said: to the bucket of the index's own store, or to S3 as the
    environment sets it up. What a row of a shared index says never sends them elsewhere (promises.md 4).

    Raises:
        UsageError: the entry says something that no index of ours writes.
    """
    storage = entry.storage
    if isinstance(storage, S3Storage):
        own = store.create_source([shard.url for shard in shards]) if store is not None else None
        if isinstance(own, S3Source) and own.endpoint_url == storage.endpoint and _buckets(own) == {storage.bucket}:
            return replace(own, shards=tuple(shards))
        if storage.endpoint in (None, configured_endpoint()):
            return S3Source(tuple(shards), storage.endpoint, storage.region)
        public = dict(zip(storage.listed, storage.public_shards(), strict=True))
        return HttpSource(tuple(public[shard] for shard in shards))
    match {scheme_of(shard.url) for shard in shards}:
        case kinds if kinds <= {"file"}:
            return FileSource(tuple(replace(shard, url=_path(shard.url)) for shard in shards))
        case kinds if kinds <= {"http", "https"}:
            return HttpSource(tuple(shards))
        case kinds if kinds <= {"s3"}:
            return S3Source(tuple(shards))
        case kinds:
            raise UsageError("shards in places of several kinds, or of one that is not known", actual=sorted(kinds))


def _buckets(source: S3Source) -> set[str]:
    return {split_s3_url(shard.url)[0] for shard in source.shards}


def _address(url: str) -> str:
    """A path as a `file://` address; any other address as it is."""
    if "://" in url and scheme_of(url) != "file":
        return url
    return Path(_path(url)).absolute().as_uri()


def _path(url: str) -> str:
    if not url.lower().startswith("file://"):
        return url
    try:
        return unquote(urlsplit(url).path)
    except ValueError as error:
        raise UsageError("an address that is no URL", expected="file:///folder/name.tar", actual=url[:200]) from error
