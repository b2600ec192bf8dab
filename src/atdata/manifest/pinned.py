"""Manifests that references carry: had when they are needed, from wherever they are, each file by its own digest."""

from __future__ import annotations

import threading

from atdata.errors import UnverifiedError
from atdata.manifest.header import MAX_HEADER, Header
from atdata.manifest.manifest import Manifest
from atdata.manifest.parquet import MAX_FILE
from atdata.shards import ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.ports import DataSource


def pinned_header(shard: ShardRef, cache: ShardCache) -> Header | None:
    """The header of the manifest that a reference carries, bound to the shard; `None` where it carries none.

    Raises:
        ShardNotFoundError, NetworkError: it cannot be had.
        DigestError: it is not the one that was pinned, or that of another shard.
        UnverifiedError: no digest is known of the file, or of the shard.
        ShardError: it is damaged, or its size or count is not the shard's.
    """
    if shard.manifest is None:
        return None
    file = shard.manifest.shards[0]
    header = Header.decode(_content(shard.manifest, file, MAX_HEADER, cache), file.url)
    header.bind(shard)
    return header


def pinned_manifest(shard: ShardRef, cache: ShardCache) -> Manifest | None:
    """The manifest that a reference carries, bound to the shard; `None` where it carries none, or only a header.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ShardNotFoundError, NetworkError, DigestError, UnverifiedError, ShardError: as `pinned_header`.
    """
    if shard.manifest is None or len(shard.manifest.shards) < 2:
        return None
    header, rows = shard.manifest.shards[:2]
    return Manifest.read(
        _content(shard.manifest, header, MAX_HEADER, cache),
        _content(shard.manifest, rows, MAX_FILE, cache),
        shard=shard,
        uri=rows.url,
    )


def _content(source: DataSource, file: ShardRef, most: int, cache: ShardCache) -> bytes:
    """One file, no longer than it may be whatever is said of it, kept in the cache under its digest."""
    if file.digest is None:
        raise UnverifiedError("a manifest without a digest is not pinned", step="manifest", uri=file.url)
    size = most if file.size is None else min(file.size, most)
    bounded = ShardRef(file.url, file.digest, size)
    opened = cache.open(file.digest) or cache.fetch(source, bounded, file.digest, threading.Event())
    with opened:
        return opened.read(most + 1)
