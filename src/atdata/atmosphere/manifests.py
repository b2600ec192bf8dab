"""Manifests on their way into an entry: written with the shards that are cut here, found beside those elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atdata.errors import (
    DigestError,
    LimitError,
    MissingExtraError,
    NetworkError,
    ShardError,
    ShardNotFoundError,
    UnverifiedError,
    UsageError,
)
from atdata.manifest import ManifestWriter, manifest_paths, proved_files
from atdata.manifest.parquet import require_parquet
from atdata.records import Blob, Schema, ShardManifest
from atdata.records.manifests import JSON, PARQUET
from atdata.shards import FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.http import HttpSource
from atdata.shards.ports import DataSource
from atdata.shards.rows import scan_rows
from atdata.shards.writer import Observer, ShardObserver

_AT_ONCE = 8


def wanted(manifests: bool | None) -> bool:
    """The decision to have manifests: as is said, and where nothing is said if they can be made here.

    Raises:
        MissingExtraError: they are asked for, and pyarrow is not installed.
    """
    try:
        if manifests is not False:
            require_parquet()
    except MissingExtraError:
        if manifests:
            raise
        return False
    return manifests is not False


def manifest_observer(sample_type: type, schema: Schema, manifests: bool | None) -> Observer | None:
    """The observer that writes the manifests of shards that are cut, if they are wanted.

    Args:
        sample_type: the type of the samples.
        schema: its record; each manifest names it.
        manifests: `True` insists; otherwise a shard too large for one goes without.

    Raises:
        MissingExtraError: as `wanted`.
    """
    if not wanted(manifests):
        return None
    writer = ManifestWriter(sample_type, schema_uri=schema.located, schema_cid=schema.cid)
    return writer if manifests else _IfItFits(writer)


@dataclass(frozen=True)
class _IfItFits:
    """Leaves out the manifest of a shard that is too large for one."""

    writer: ManifestWriter

    @contextmanager
    def __call__(self, shard: Path) -> Iterator[ShardObserver]:
        with self.writer(shard) as observing:
            yield _Lenient(observing)


class _Lenient:
    def __init__(self, inner: ShardObserver) -> None:
        self._inner = inner
        self.observe = inner.observe

    def finish(self, shard: ShardRef) -> None:
        with suppress(LimitError):
            self._inner.finish(shard)


def build_manifest(shard: ShardRef, decode: Callable[[bytes], Any], observer: Observer, cache: ShardCache) -> ShardRef:
    """A shard of this machine that carries its manifest, which is written by reading it; it stays as it is.

    Raises:
        ShardError, SampleError: it is no shard of such samples.
        LimitError: a manifest is insisted on, and the shard is too large for one.
    """
    scratch = cache.scratch()
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with Path(shard.url).open("rb") as file, observer(scratch) as observing:
        for stored in scan_rows(file, shard.size or 0, shard.url):
            data = stored.read(file, shard.url)
            observing.observe(stored.key, stored.offset, data, decode(data))
        observing.finish(replace(shard, url=str(scratch)))
    files = [path for path in manifest_paths(scratch) if path.is_file()]
    return replace(shard, manifest=FileSource(tuple(cache.add_file(path) for path in files)) if files else None)


def attached_manifests(shards: Sequence[ShardRef], limit: int, manifests: bool | None) -> tuple[DataSource, ...]:
    """The manifests that shards of this machine carry, in their order; none where one lacks it, or it is no blob.

    Args:
        shards: as `PDSBlobStore.cut` gives them.
        limit: bytes that a blob may have.
        manifests: `True` insists.

    Raises:
        LimitError: a manifest is insisted on that is larger than a blob may be.
    """
    found = tuple(shard.manifest for shard in shards if shard.manifest is not None)
    sizes = [file.size or 0 for manifest in found for file in manifest.shards]
    if max(sizes, default=0) > limit:
        if manifests:
            raise LimitError("a manifest is larger than a blob may be", expected=limit, actual=max(sizes))
        return ()
    return found if len(found) == len(shards) else ()


def find_manifests(
    source: DataSource, shards: Sequence[ShardRef], cache: ShardCache, manifests: bool | None
) -> tuple[DataSource, ...]:
    """The manifests of shards that stay where they are: those that references carry, else those that stand beside.

    All or none: each must be there, and be that of its shard by the shard's digest. A manifest holds values of samples,
    so where nobody insists only those count that anyone can read: shards in a bucket may be private.

    Args:
        source: where the shards are.
        shards: in order.
        cache: keeps the files until they are published.
        manifests: `True` insists.

    Raises:
        UsageError, ShardNotFoundError, DigestError, UnverifiedError, ShardError, NetworkError: one that is insisted on
            is not there, or is not that of its shard.
        MissingExtraError: as `wanted`.
    """
    if not wanted(manifests) or not shards or not (manifests or isinstance(source, HttpSource)):
        return ()
    try:
        first = _found(source, shards[0], cache)  # most have none: one question is enough then
        with ThreadPoolExecutor(_AT_ONCE, "atdata-manifest") as pool:
            return first, *pool.map(lambda shard: _found(source, shard, cache), shards[1:])
    except (UsageError, ShardNotFoundError, DigestError, UnverifiedError, ShardError, NetworkError):
        if manifests:
            raise
        return ()


def _found(source: DataSource, shard: ShardRef, cache: ShardCache) -> DataSource:
    header, rows = proved_files(source, shard)
    return FileSource((cache.add_bytes(header), cache.add_bytes(rows)))


def manifest_facts(files: Sequence[DataSource]) -> dict[str, Any]:
    """The facts of an entry about manifests whose files are on this machine."""
    pairs = ([_blob(file, kind) for file, kind in zip(f.shards, (JSON, PARQUET), strict=True)] for f in files)
    return {"manifests": tuple(ShardManifest(header, rows) for header, rows in pairs)}


def _blob(file: ShardRef, kind: str) -> Blob:
    if file.digest is None:
        raise AssertionError("a file of this machine has a digest")
    return Blob(file.digest.cid, kind, file.size)
