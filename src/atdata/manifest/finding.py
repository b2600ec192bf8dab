"""Manifests of shards, found and proved: carried by a reference, each file pinned by its digest, or beside the shard."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from atdata.errors import DigestError, NetworkError, ShardError, ShardNotFoundError, UnverifiedError, UsageError
from atdata.manifest.files import manifest_paths, manifest_urls, read_file
from atdata.manifest.header import MAX_HEADER, Header
from atdata.manifest.manifest import Manifest
from atdata.manifest.pages import MAX_FILE, damaged
from atdata.manifest.parquet import SampleDigests
from atdata.shards import Digest, FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.listing import is_named
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
    header = Header.decode(_pinned(shard.manifest, file, MAX_HEADER, cache), file.url)
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
        _pinned(shard.manifest, header, MAX_HEADER, cache),
        _pinned(shard.manifest, rows, MAX_FILE, cache),
        shard=shard,
        uri=rows.url,
    )


def _pinned(source: DataSource, file: ShardRef, most: int, cache: ShardCache) -> bytes:
    """One file, no longer than it may be whatever is said of it, kept in the cache under its digest."""
    if file.digest is None:
        raise UnverifiedError("a manifest has no digest to check it against", step="manifest", uri=file.url)
    size = most if file.size is None else min(file.size, most)
    bounded = ShardRef(file.url, file.digest, size)
    opened = cache.open(file.digest) or cache.fetch(source, bounded, file.digest, threading.Event())
    with opened:
        return opened.read(most + 1)


def proved_files(source: DataSource, shard: ShardRef) -> tuple[bytes, bytes]:
    """Header and rows of the manifest that a reference carries, or else of the one beside the shard.

    Args:
        source: where the shard is.
        shard: with its digest; its manifest must be bound to it.

    Raises:
        MissingExtraError: pyarrow is not installed.
        UsageError: the shard has no digest, or a name beside which there is none.
        ShardNotFoundError, NetworkError, DigestError, UnverifiedError, ShardError: as `pinned_header`.
    """
    if shard.digest is None or not shard.url.endswith(".tar"):
        raise UsageError(
            "no manifest can be found of this shard", expected="a known digest, a name in .tar", actual=shard.url
        )
    files = tuple(map(ShardRef, manifest_urls(shard.url)))
    if shard.manifest is not None:
        source, files = shard.manifest, (shard.manifest.shards[0], shard.manifest.shards[-1])
    header, rows = (read_file(source, file, most) for file, most in zip(files, (MAX_HEADER, MAX_FILE), strict=True))
    Manifest.read(header, rows, shard=shard, uri=files[0].url)
    return header, rows


def sample_digests(source: DataSource, shard: ShardRef, cache: ShardCache) -> SampleDigests | None:
    """The keys and digests of a shard's samples, by the manifest that its reference carries, or else by the one beside it;
    `None` where there is none. Nothing else of it is decoded.

    Raises:
        MissingExtraError: pyarrow is not installed.
        NetworkError, DigestError, UnverifiedError, ShardError: as `pinned_header`.
    """
    if shard.manifest is not None and len(shard.manifest.shards) > 1:
        files = shard.manifest.shards[:2]
        header, rows = (_pinned(shard.manifest, *of, cache) for of in zip(files, (MAX_HEADER, MAX_FILE), strict=True))
    elif shard.manifest is not None or shard.digest is None or not shard.url.endswith(".tar"):
        return None
    else:
        files = tuple(map(ShardRef, manifest_urls(shard.url)))
        try:
            header, rows = (read_file(source, *of) for of in zip(files, (MAX_HEADER, MAX_FILE), strict=True))
        except ShardNotFoundError:
            return None
    read = Header.decode(header, files[0].url)
    read.bind(shard)
    read.rows.digest.check(Digest.sha256(rows).hex, files[1].url)
    found = SampleDigests.decode(rows, files[1].url)
    if len(found.keys) != read.samples:
        raise damaged(files[1].url, f"{len(found.keys)} rows", f"{read.samples} samples")
    return found


def carried_files(shard: ShardRef) -> list[bytes]:
    """Header and rows of the manifest that a reference carries; nothing where it has none, or they cannot be had now."""
    if shard.manifest is None or len(shard.manifest.shards) != 2:
        return []
    with suppress(ShardNotFoundError, NetworkError, DigestError):
        limits = zip(shard.manifest.shards, (MAX_HEADER, MAX_FILE), strict=True)
        return [read_file(shard.manifest, file, most) for file, most in limits]
    return []


def manifest_beside(shard: ShardRef) -> FileSource | None:
    """The manifest beside a shard of this machine, if it is that of this shard."""
    paths = [str(path) for path in manifest_paths(Path(shard.url))]
    if not all(map(is_named, paths)):
        return None
    header, rows = map(ShardRef, paths)
    try:
        raw = read_file(FileSource((header, rows)), header, MAX_HEADER)
        read = Header.decode(raw, header.url)
        read.bind(shard)
    except (ShardError, ShardNotFoundError, DigestError, UnverifiedError):
        return None
    files = ShardRef(header.url, Digest.sha256(raw), len(raw)), ShardRef(rows.url, read.rows.digest, read.rows.size)
    return FileSource(files)
