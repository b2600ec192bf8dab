"""A dataset read to its end for a verdict: every byte is looked at now, and nothing found out before is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atdata.dataset.stored import decoder
from atdata.dataset.view import View
from atdata.errors import DigestError, MissingExtraError, ShardError
from atdata.manifest import Manifest, pinned_header, pinned_manifest
from atdata.progress import progress
from atdata.shards.cache import ShardCache
from atdata.shards.opening import OpenShard, open_shards
from atdata.shards.rows import read_rows
from atdata.shards.tar import BLOCK
from atdata.shards.writer import Row


@dataclass(frozen=True)
class Verdict:
    """The account of what was read, and found to be as it must be.

    Attributes:
        shards: how many.
        bytes: of all of them.
        samples: how many.
        manifests: how many of the shards carry one; each was held against its shard.
    """

    shards: int
    bytes: int
    samples: int
    manifests: int


def read_for_verdict(view: View[Any], title: str = "") -> Verdict:
    """Read every shard of a view: hash it where its digest is known, prove its headers, decode each sample, and hold
    the manifest that it carries against it. What this machine remembers of earlier checks counts for nothing.

    Args:
        view: what to read.
        title: what progress calls it.

    Raises:
        ShardNotFoundError, NetworkError: a shard, or a manifest, cannot be had.
        DigestError: one is not what was published.
        ShardError: a shard is damaged, or is not as its manifest says; there are other samples than was said.
        SampleError: a sample is not of its type.
    """
    table, decode = view.table, decoder(view)
    cache = replace(table.shards.cache, afresh=True)
    sizes = [shard.size or 0 for shard in table.refs]
    total = samples = manifests = 0
    with progress(f"Reading {title}".rstrip(), sum(sizes)) as bars:
        for number, shard in enumerate(open_shards(table.shards.source, table.refs, cache)):
            bars.begin(f"shard {number + 1} of {len(sizes)}", sizes[number])
            rows = read_rows(shard.file, shard.size, shard.ref.url)
            if shard.ref.manifest is not None:
                manifests += 1
                rows = _held_against(_manifest(shard, cache), rows, shard)
            for _, packed in rows:
                decode(packed)
                samples += 1
                bars.advance(BLOCK + len(packed) + -len(packed) % BLOCK)
            total += shard.size
    if table.claimed not in (None, samples):
        raise ShardError(
            "there are other samples than the dataset's publisher says",
            expected=f"{table.claimed} samples",
            actual=f"{samples} samples",
            hint="The record's size is wrong. Its shards are what they should be; tell its publisher.",
        )
    return Verdict(len(sizes), total, samples, manifests)


def _manifest(shard: OpenShard, cache: ShardCache) -> Manifest | None:
    """The manifest that a shard carries, as far as it can be read here."""
    found = replace(shard.ref, size=shard.size, samples=len(shard.index))
    pinned_header(found, cache)
    with suppress(MissingExtraError):
        return pinned_manifest(found, cache)
    return None


def _held_against(manifest: Manifest | None, rows: Iterator[Row], shard: OpenShard) -> Iterator[Row]:
    if manifest is None:
        yield from rows
        return
    places = (manifest.offsets, shard.index.starts), (manifest.sizes, shard.index.sizes)
    if not all(np.array_equal(said, found) for said, found in places):
        raise ShardError(
            "the samples of a shard are elsewhere than its manifest says",
            uri=shard.ref.url,
            hint="Its manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
        )
    for (key, packed), said, digest in zip(rows, manifest.keys, manifest.digests, strict=True):
        found = hashlib.sha256(packed).digest()
        if (key, found) != (said, digest.tobytes()):
            raise DigestError(
                "a sample is not the one that its shard's manifest names",
                step="manifest",
                uri=shard.ref.url,
                path=repr(key),
                expected=f"{said!r} sha256:{digest.tobytes().hex()}",
                actual=f"{key!r} sha256:{found.hex()}",
                hint="Its manifest is wrong; load the dataset with manifests=False, and tell its publisher.",
            )
        yield key, packed
