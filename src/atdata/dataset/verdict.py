"""A dataset read to its end for a verdict: every byte is checked now, whatever was checked before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from atdata.dataset.reading.manifests import check_offsets
from atdata.dataset.reading.table import wrong_claim
from atdata.dataset.stored import decoded
from atdata.dataset.view import View, of_shards
from atdata.errors import DigestError, MissingExtraError
from atdata.manifest import Manifest, pinned_header, pinned_manifest
from atdata.progress import progress
from atdata.shards.cache import ShardCache
from atdata.shards.index import ShardIndex
from atdata.shards.opening import OpenShard, open_shards
from atdata.shards.rows import read_rows
from atdata.shards.tar import BLOCK
from atdata.shards.writer import Row


@dataclass(frozen=True)
class Verdict:
    """The counts of what was read and found to be valid.

    Attributes:
        shards: how many.
        bytes: of all of them.
        samples: how many.
        manifests: how many of the shards have one; each was compared with its shard.
    """

    shards: int
    bytes: int
    samples: int
    manifests: int


def read_for_verdict(view: View[Any], title: str = "") -> Verdict:
    """Read every shard of a view: compare its digest where that is known, check its headers, decode each sample, and
    compare its manifest with it. What was verified on this machine before does not count.

    Args:
        view: what to read.
        title: its name in the progress bar.

    Raises:
        ShardNotFoundError, NetworkError: a shard, or a manifest, cannot be fetched.
        DigestError: one is not what was published.
        ShardError: a shard is damaged or contradicts its manifest, or the number of samples is not the claimed one.
        SampleError: a sample is not of its type.
        UsageError: the view is of several datasets together.
    """
    view = of_shards(view)
    table = view.table
    cache = replace(table.shards.cache, revalidate=True)
    sizes = [shard.size or 0 for shard in table.refs]
    total = samples = manifests = 0
    with progress(f"Reading {title}".rstrip(), sum(sizes)) as bars:
        for number, shard in enumerate(open_shards(table.shards.source, table.refs, cache)):
            bars.begin(f"shard {number + 1} of {len(sizes)}", sizes[number])
            rows = read_rows(shard.file, shard.size, shard.ref.url)
            if shard.ref.manifest is not None:
                manifests += 1
                rows = _checked_against(_manifest(shard, cache), rows, shard)
            for _, packed, _ in decoded(view, rows, shard.ref.url):
                samples += 1
                bars.advance(BLOCK + len(packed) + -len(packed) % BLOCK)
            total += shard.size
    if table.claimed not in (None, samples):
        raise wrong_claim(table.claimed, samples)
    return Verdict(len(sizes), total, samples, manifests)


def _manifest(shard: OpenShard, cache: ShardCache) -> Manifest | None:
    """The manifest of a shard, as far as it can be read here."""
    found = replace(shard.ref, size=shard.size, samples=len(shard.index))
    pinned_header(found, cache)
    with suppress(MissingExtraError):
        return pinned_manifest(found, cache)
    return None


def _checked_against(manifest: Manifest | None, rows: Iterator[Row], shard: OpenShard) -> Iterator[Row]:
    if manifest is None:
        yield from rows
        return
    said = ShardIndex(manifest.offsets, manifest.sizes, packed=manifest.header.packed)
    check_offsets(said, shard.index, shard.ref.url)
    for (key, packed), name, digest in zip(rows, manifest.keys, manifest.digests, strict=True):
        found = hashlib.sha256(packed).digest()
        if (key, found) != (name, digest.tobytes()):
            raise DigestError(
                "a sample's key or digest is not that in its shard's manifest",
                step="manifest",
                uri=shard.ref.url,
                path=repr(key),
                expected=f"{name!r} sha256:{digest.tobytes().hex()}",
                actual=f"{key!r} sha256:{found.hex()}",
                hint="The manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
            )
        yield key, packed
