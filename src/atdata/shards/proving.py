"""Hashing of shards whose digest is not known, for records."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from atdata.shards.cache import ShardCache
from atdata.shards.digest import Digest
from atdata.shards.listing import stat_file
from atdata.shards.opening import OpenShard, open_shard, open_shards
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.source import FileSource
from atdata.shards.verified_files import state_of


def proved_shards(source: DataSource, refs: Iterable[ShardRef], cache: ShardCache) -> Iterator[ShardRef]:
    """The same shards with digest, size and number of samples; each is read to its end where these are not known.

    What comes out is for a record, so that `cache` should be one that revalidates.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be had.
        DigestError: one is not what its reference says.
        ShardError: one is damaged, or holds something other than samples.
    """
    for shard in open_shards(source, refs, cache):
        digest = shard.ref.digest or sha256_of(shard, cache)
        yield replace(shard.ref, digest=digest, size=shard.size, samples=len(shard.index))


def sha256_of(shard: OpenShard, cache: ShardCache) -> Digest:
    """The sha-256 of an open shard: as this machine knows it, or else computed now, and remembered."""
    looked, state = time.time_ns(), state_of(os.fstat(shard.file.fileno()))
    known = replace(cache.verified, revalidate=False).known(state)
    if not cache.revalidate and known.digest is not None and known.digest.startswith("sha256:"):
        return Digest.parse(known.digest)
    shard.file.seek(0)
    digest = Digest.of_stream(shard.file)
    shard.file.seek(0)
    if known.digest not in (None, str(digest)) and known.digest.startswith("sha256:"):
        cache.verified.forget(state)
    # Of a file that changes meanwhile, nothing is remembered.
    elif known.digest is None and known.index is not None and state_of(os.fstat(shard.file.fileno())) == state:
        cache.verified.record(state, digest, known.index, looked)
    return digest


def digest_of(source: DataSource, ref: ShardRef, cache: ShardCache) -> Digest | None:
    """The digest of a shard, as its reference says, or as this machine knows it of a file, which is read only if it does not;
    `None` of a remote shard without one.

    Raises:
        ShardNotFoundError, ShardError: the file is not there, or is damaged.
    """
    if ref.digest is not None or not isinstance(source, FileSource):
        return ref.digest
    known = cache.verified.known(state_of(stat_file(ref.url))).digest
    if known is not None:
        return Digest.parse(known)
    opened = open_shard(source, ref, cache)
    with opened.file:
        return sha256_of(opened, cache)
