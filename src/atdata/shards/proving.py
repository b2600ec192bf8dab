"""Shards read through once, so that from then on they can be checked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from atdata.protocols import DataSource
from atdata.shards.cache import ShardCache
from atdata.shards.digest import Digest
from atdata.shards.ledger import state_of
from atdata.shards.opening import OpenShard, open_shards
from atdata.shards.source import ShardRef


def proved_shards(source: DataSource, refs: Iterable[ShardRef], cache: ShardCache) -> Iterator[ShardRef]:
    """The same shards with digest, size and number of samples; each is read to its end where these are not known.

    Raises:
        ShardNotFoundError, NetworkError: a shard cannot be had.
        DigestError: one is not what its reference says.
        ShardError: one is damaged, or holds something other than samples.
    """
    for shard in open_shards(source, refs, cache):
        yield replace(shard.ref, digest=digest_of(shard, cache), size=shard.size, samples=len(shard.index))


def digest_of(shard: OpenShard, cache: ShardCache) -> Digest:
    """The digest of an open shard: as it was checked, or as this machine knows it, or else computed now."""
    if shard.ref.digest is not None:
        return shard.ref.digest
    looked, stat = time.time_ns(), os.fstat(shard.file.fileno())
    known = cache.ledger.known(state_of(stat)).digest if stat.st_nlink else None
    if known is not None:
        return Digest.parse(known)
    digest = Digest.of_stream(shard.file)
    shard.file.seek(0)
    if stat.st_nlink:
        cache.ledger.record(state_of(stat), digest, shard.index, looked)
    return digest
