"""Importing of shards: the type is inferred from every sample in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from atdata.dataset import Dataset
from atdata.dataset.stored import rows_by_shard
from atdata.errors import SampleError
from atdata.importers import members
from atdata.importers.files import Snapshot
from atdata.importers.imported import Imported
from atdata.importers.rows import import_mappings
from atdata.importers.wanted import Wanted
from atdata.loading.files import find_splits
from atdata.samples import DictSample
from atdata.samples.npy import begins_like_array
from atdata.shards import FileSource, ShardRef
from atdata.shards.addresses import source_at
from atdata.shards.listing import FileListing
from atdata.shards.ports import DataSource

SUFFIXES = (".tar",)


def open_files(splits: Mapping[str, Sequence[Path]], wanted: Wanted, uri: str, notes: Sequence[str] = ()) -> Imported:
    """The samples of shards, split after split."""
    return _open({split: _files(paths) for split, paths in splits.items()}, wanted, uri, notes)


def open_named(name: str, wanted: Wanted) -> Imported:
    """The samples of shards in brace notation, or at a URL.

    Raises:
        ShardNotFoundError: one is not there.
    """
    listing = FileListing()
    found = find_splits(name, None, listing)
    return _open({split: source_at(shards, listed=listing.states) for split, shards in found.items()}, wanted, name)


def _files(paths: Sequence[Path]) -> FileSource:
    listing = FileListing()
    found = listing.existing([str(path) for path in paths])
    return FileSource(tuple(map(ShardRef, found)), listing.states)


def _open(sources: Mapping[str, DataSource], wanted: Wanted, uri: str, notes: Sequence[str] = ()) -> Imported:
    first = next(iter(sources.values()))
    if members.is_members(first):
        return members.open_sources(sources, wanted, uri, notes)
    local = [source for source in sources.values() if isinstance(source, FileSource)]
    files = Snapshot.of([source.path(shard) for source in local for shard in source.shards])
    reads = {split: partial(_read, source) for split, source in sources.items()}
    return import_mappings("shards", wanted, reads, uri=uri, files=files, notes=notes)


def _read(source: DataSource) -> Iterator[tuple[str, DictSample]]:
    dataset: Dataset[DictSample] = Dataset(source)
    for shard, rows in zip(dataset.shards, rows_by_shard(dataset.view), strict=True):
        for key, packed in rows:
            yield f"sample {key} of {shard}", _decode(packed, key, shard)


def _decode(packed: bytes, key: str, shard: ShardRef) -> DictSample:
    try:
        sample = DictSample.from_bytes(packed)
        for name, value in sample.items():
            _check_bytes(value, name)
        return sample
    except SampleError as error:
        path = f"sample {key}, {error.path}" if error.path else f"sample {key}"
        raise SampleError(
            error.what, uri=shard.url, path=path, expected=error.expected, actual=error.actual, hint=error.hint
        ) from error


def _check_bytes(value: object, path: str) -> None:
    """Refuse bytes that begin like an array: of a damaged one, or of one inside a list, the type would be lost.

    Raises:
        SampleError: there are such; `path` names them.
    """
    if isinstance(value, bytes) and begins_like_array(value):
        raise SampleError(
            "bytes begin like an array but cannot be read as one",
            path=path,
            actual=f"{len(value)} bytes",
            hint="If that is right, declare the sample type, and publish the shards with it from Python.",
        )
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        _check_bytes(item, f"{path}[{key!r:.60}]")
