"""Parquet: one file, or a folder of them that is one table. Read batch by batch with `pyarrow`, page checksums on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from atdata.errors import SampleError
from atdata.importers.arrow import import_batches
from atdata.importers.bounds import Bounds, row_groups, rows_at_once
from atdata.importers.files import Snapshot, decoding
from atdata.importers.imported import Imported
from atdata.importers.wanted import Wanted
from atdata.samples.arrow import arrow

SUFFIXES = (".parquet",)
BATCH = 128
_ROW = 64  # bytes that a row counts for at least
_ENOUGH, _FULL = 1 << 13, 1 << 20  # rows, and bytes, of batches that are joined


def open_files(splits: Mapping[str, Sequence[Path]], wanted: Wanted, uri: str, notes: Sequence[str] = ()) -> Imported:
    """The rows of files, split after split.

    Lists of numbers are arrays, times are arrays without dimensions, structs are dicts, decimals are text.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SampleError: a file is damaged, or a column is of a type that no field can be, or has no one type in all files.
    """
    paths_of = [path for paths in splits.values() for path in paths]
    decided = list(notes)
    if any("=" in part for path in paths_of for part in path.relative_to(uri).parts[:-1]):
        decided.append("the names of folders (key=value) are not read as columns")
    reads = {split: partial(_read, paths) for split, paths in splits.items()}
    files = Snapshot.of(paths_of)
    return import_batches("table (Parquet)", wanted, reads, uri=uri, files=files, notes=decided)


def _read(paths: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        with _table(path) as table:
            _check_names(table.schema_arrow, path)
            empty = True
            for batch in _joined(_batches(table, path)):
                batch.validate(full=True)
                empty = False
                yield str(path), batch
            if empty:
                yield str(path), arrow().RecordBatch.from_pylist([], table.schema_arrow)


def _check_names(schema: Any, path: Path) -> None:
    if len(set(schema.names)) < len(schema.names):
        raise SampleError(
            "a table has two columns of one name",
            uri=str(path),
            actual=", ".join(schema.names)[:80],
            hint="Rename one of them.",
        )


def _joined(batches: Iterator[Any]) -> Iterator[Any]:
    """The same rows, small batches as one: where rows might have been long, few are decoded together."""
    held: list[Any] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= _ENOUGH or size >= _FULL:
            yield from arrow().Table.from_batches(held).combine_chunks().to_batches()
            held, rows, size = [], 0, 0
    if held:
        yield from arrow().Table.from_batches(held).combine_chunks().to_batches()


def _batches(table: Any, path: Path) -> Iterator[Any]:
    """The rows of a file, as many at once as memory should hold.

    Raises:
        LimitError: a row is too large for that, or all of them are far larger than the file.
    """
    bounds, metadata, total = Bounds(path, path.stat().st_size), table.metadata, 0
    bounds.check_total(metadata.num_rows * _ROW, "its rows")
    width, groups = sum(map(_slots, table.schema_arrow.types)), row_groups(bounds)
    for group in range(len(groups)):
        rows = rows_at_once(metadata.schema, group, groups, width, bounds, BATCH)
        for batch in table.iter_batches(rows, row_groups=[group], use_threads=False):  # nothing is decoded ahead
            total += batch.nbytes
            bounds.check_total(total, f"row group {group}")
            yield batch


def _slots(kind: Any) -> int:
    """Bytes, about, that a row of a type has where it holds nothing: lists of one size have their places all the same."""
    is_ = arrow().types
    if isinstance(kind, arrow().BaseExtensionType):
        return _slots(kind.storage_type)
    if is_.is_fixed_size_list(kind):
        return int(kind.list_size) * max(_slots(kind.value_type), 1)
    if is_.is_struct(kind):
        return sum(_slots(part.type) for part in kind)
    return kind.bit_width // 8 if is_.is_primitive(kind) or is_.is_fixed_size_binary(kind) else 0


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    """An open Parquet file; what goes wrong in it is typed."""
    pa = arrow()
    damage = (pa.ArrowException, OSError, ValueError, OverflowError)
    with (
        decoding(path, "a Parquet file is malformed", damage, "Write it again."),
        pa.parquet.ParquetFile(path, page_checksum_verification=True, **_footer_limits(path)) as table,
    ):
        yield table


def _footer_limits(path: Path) -> dict[str, int]:
    """Limits on what a footer may claim: none of its texts and lists has more bytes, or items, than the file."""
    size = max(path.stat().st_size, 1)
    return {"thrift_string_size_limit": min(size, 100_000_000), "thrift_container_size_limit": min(size, 1_000_000)}
