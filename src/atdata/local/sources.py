"""The sources of the shards of a local index's entries, and the places that these may be in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from atdata.dataset.stores import AbstractDataStore
from atdata.errors import UsageError
from atdata.records import Entry
from atdata.records.storage import Opener, open_storage
from atdata.shards import FileSource, ShardRef
from atdata.shards.addresses import SCHEMES, file_path, source_at
from atdata.shards.http import HttpSource
from atdata.shards.ports import DataSource
from atdata.shards.s3 import S3Source
from atdata.shards.urls import configured_endpoint, scheme_of

_SCHEMES = frozenset(SCHEMES) - {"at", "atdata"}


def check_places(shards: Iterable[ShardRef]) -> None:
    """Refuse shards in places that an entry of a local index cannot name.

    Raises:
        UsageError: one is.
    """
    kinds = {scheme_of(shard.url) for shard in shards}
    if not kinds <= _SCHEMES:
        raise UsageError(
            f"shards at {' and '.join(sorted(kinds))}:// cannot be listed by a local index",
            hint="Give it a data store on disk or in S3 to copy them to: LocalIndex(data_store=...).",
        )


def source_of_entry(entry: Entry, shards: Sequence[ShardRef], store: AbstractDataStore | None) -> DataSource:
    """The source of some shards of an entry.

    The caller's credentials go only where the caller has said: to the bucket of the index's own store, or to S3 as the
    environment sets it up. What a row of a shared index says never sends them elsewhere (promises.md 4).

    Raises:
        UsageError: the entry says something that no index of ours writes.
    """
    openers: dict[str, Opener] = dict.fromkeys(_SCHEMES - {"s3", "gs"}, _by_address_book)
    openers |= {"file": _files, "http": HttpSource, "https": HttpSource}
    storage = entry.storage
    own = _own_bucket(store, shards) if store is not None else None
    if own is not None and own.endpoint_url == storage.endpoint:
        openers["s3"] = lambda found: replace(own, shards=found)
    elif storage.endpoint in (None, configured_endpoint()):
        openers["s3"] = lambda found: S3Source(found, storage.endpoint, storage.region)
    return open_storage(storage, shards, openers)


def _by_address_book(shards: tuple[ShardRef, ...]) -> DataSource:
    source: Any = source_at([shard.url for shard in shards])
    return cast(DataSource, replace(source, shards=shards))


def _files(shards: tuple[ShardRef, ...]) -> FileSource:
    return FileSource(tuple(replace(shard, url=file_path(shard.url)) for shard in shards))


def _own_bucket(store: AbstractDataStore, shards: Sequence[ShardRef]) -> S3Source | None:
    """The source of shards in the bucket of a store; `None` where they are elsewhere."""
    with suppress(UsageError):
        own = store.create_source([shard.url for shard in shards])
        return own if isinstance(own, S3Source) else None
    return None
