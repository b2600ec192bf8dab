"""Shards that are already there: their samples' type is inferred from every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from atdata.dataset import Dataset
from atdata.errors import SampleError
from atdata.importers.files import Folder, Snapshot
from atdata.importers.imported import Imported, import_mappings
from atdata.protocols import DataSource
from atdata.samples import DictSample
from atdata.shards import FileSource, ShardRef, source_of

SUFFIXES = (".tar",)


def open_file(path: Path, type_name: str) -> Imported:
    """The samples of one shard."""
    return _open(_files([path]), type_name, str(path))


def open_folder(folder: Folder, type_name: str) -> Imported:
    """The samples of a folder's shards, in the order of their names."""
    source = _files([folder.root / name for name in folder.having(SUFFIXES)])
    return _open(source, type_name, str(folder.root), [*folder.notes, *folder.without(SUFFIXES, "shards")])


def open_named(name: str, type_name: str) -> Imported:
    """The samples of shards in brace notation, or at a URL.

    Raises:
        ShardNotFoundError: one is not there.
    """
    return _open(source_of(name), type_name, name)


def _files(paths: Sequence[Path]) -> FileSource:
    return FileSource(tuple(ShardRef(str(path)) for path in paths))


def _open(source: DataSource, type_name: str, uri: str, notes: Sequence[str] = ()) -> Imported:
    dataset: Dataset[DictSample] = Dataset(source)

    def read() -> Iterator[tuple[str, DictSample]]:
        for shard, rows in zip(dataset.shards, dataset.rows_by_shard(), strict=True):
            for key, packed in rows:
                yield f"sample {key} of {shard}", _decode(packed, key, shard)

    files = Snapshot.of([source.path(shard) for shard in source.shards] if isinstance(source, FileSource) else [])
    return import_mappings("shards", type_name, read, uri=uri, files=files, notes=notes)


def _decode(packed: bytes, key: str, shard: ShardRef) -> DictSample:
    try:
        return DictSample.from_bytes(packed)
    except SampleError as error:
        path = f"sample {key}, {error.path}" if error.path else f"sample {key}"
        raise SampleError(
            error.what, uri=shard.url, path=path, expected=error.expected, actual=error.actual, hint=error.hint
        ) from error
