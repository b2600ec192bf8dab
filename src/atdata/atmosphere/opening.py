"""The datasets of entries on the network: their shards as anyone reads them, with the manifests that entries list.

Here alone does an entry become something that reads bytes, so it is here that the trust policy in force has its say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from atdata.atmosphere.blobs import BlobSource, public_openers
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.trust import GivenPolicy, check_policy
from atdata.dataset import Dataset
from atdata.errors import LexiconError, UnverifiedError, UsageError
from atdata.index.lenses import OwnLenses
from atdata.records import Entry, LensRecord, Schema
from atdata.records.storage import open_storage
from atdata.shards import ShardRef
from atdata.shards.ports import DataSource, RangeSource

T = TypeVar("T")


def datasets_of(
    client: AtmosphereClient,
    entry: Entry,
    sample_type: type[T],
    splits: Mapping[str, Sequence[ShardRef]],
    allow_unverified: bool = False,
    source: DataSource | None = None,
    manifests: bool = True,
    policy: GivenPolicy = None,
    through: Sequence[Schema | LensRecord] = (),
    own: OwnLenses | None = None,
) -> dict[str, Dataset[T]]:
    """Some shards of a verified entry as datasets, once the trust policy in force allows it.

    Manifests that the entry lists are looked at when they are needed. A list of what are no manifests is left alone:
    the shards are then read whole.

    Args:
        client: to read with.
        entry: the entry.
        sample_type: what to read its samples as.
        splits: the shards of each dataset.
        allow_unverified: accept shards without a digest.
        source: where they are, with the caller's own credentials.
        manifests: whether to use those that the entry lists.
        policy: a trust policy, or its file; by default that of the settings.
        through: the records that samples are read through, as they were read from the network: the entry's schema, and
            the lenses on the way from it to the type that is wanted.
        own: one's own index, if there is one: lenses may be of it, and verified in it.

    Raises:
        PolicyError: the policy refuses.
        UnverifiedError: there is a shard without a digest, and that was not allowed.
    """
    check_policy(client, entry, policy, through, own)
    return {
        name: _dataset_of(client, entry, sample_type, shards, allow_unverified, source, manifests)
        for name, shards in splits.items()
    }


def _dataset_of(
    client: AtmosphereClient,
    entry: Entry,
    sample_type: type[T],
    shards: Sequence[ShardRef],
    allow_unverified: bool,
    source: DataSource | None,
    manifests: bool,
) -> Dataset[T]:
    unknown = next((shard for shard in shards if shard.digest is None), None)
    if unknown is not None and not allow_unverified:
        raise UnverifiedError(
            "the publisher gave no digest for a shard, so nothing can prove its bytes",
            step="shard digest",
            uri=unknown.url,
            expected="a digest in the record",
            actual="none",
            hint="Pass allow_unverified=True to read it all the same.",
        )
    return Dataset(
        _source(client, entry, _pinned(client, entry, shards) if manifests else shards, source),
        sample_type=sample_type,
        layout=entry.layout_for(sample_type),
        metadata=entry.metadata,
        entry=entry,
        cache=client.settings.cache,
        samples=entry.size.samples if tuple(shards) == entry.shards else None,
    )


def _pinned(client: AtmosphereClient, entry: Entry, shards: Sequence[ShardRef]) -> Sequence[ShardRef]:
    """Shards that carry their manifests, which are on their publisher's own server, wherever the shards are."""
    try:
        pinned = entry.pinned
    except LexiconError:
        return shards
    of = dict(zip(entry.shards, pinned, strict=False))
    return [
        replace(shard, manifest=BlobSource(of[shard], client.settings, client.trusted_origins))
        if shard in of
        else shard
        for shard in shards
    ]


def _source(client: AtmosphereClient, entry: Entry, shards: Sequence[ShardRef], given: DataSource | None) -> DataSource:
    """The source of an entry's shards: at the caller's own store, or as anyone reads them."""
    if given is not None:
        return (_CheckedRanges if isinstance(given, RangeSource) else _Checked)(given, tuple(shards))
    return open_storage(entry.storage, shards, public_openers(client))


class _Checked:
    """The caller's own store, held to the digests of the record."""

    def __init__(self, inner: DataSource, shards: tuple[ShardRef, ...]) -> None:
        if len(inner.shards) != len(shards):
            raise UsageError(
                "source must have as many shards as the entry", expected=len(shards), actual=len(inner.shards)
            )
        self._inner, self.shards = inner, shards
        self._there = dict(zip(shards, inner.shards, strict=True))

    def open(self, shard: ShardRef, offset: int = 0) -> Any:
        return self._inner.open(self._there[shard], offset)


class _CheckedRanges(_Checked):
    """The same, where it gives ranges."""

    _inner: RangeSource

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        return self._inner.read_range(self._there[shard], start, stop)
