"""Datasets as tables: a dict of columns, Arrow, pandas, polars, Parquet.

A column's Arrow type is what its field declares. Where the declaration leaves it open (an array without a shape,
`Any`), it is what the rows show; a row that needs a wider type starts the pass over, with that type from the first
row on. So nearly all data take one pass, and no type is a guess.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from atdata.dataset.iteration import Batches, Samples
from atdata.dataset.order import Order
from atdata.dataset.view import View
from atdata.errors import MissingExtraError, UsageError
from atdata.files import atomic_file, write_all
from atdata.numbers import checked_int
from atdata.samples import DictSample, FieldType, Maybe, Scalar, fields_of
from atdata.samples.arrow import arrow
from atdata.samples.kinds import ClassLabel, LiteralOf, bare
from atdata.samples.preview import values_of
from atdata.samples.stacking import stack, unstack
from atdata.samples.tables import ArrowColumn, ArrowTable, Target, cell_of, is_wide, typed
from atdata.shards.file_pattern import FilePattern
from atdata.shards.sets import new_set

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

T = TypeVar("T")
PandasFrame: TypeAlias = "pd.DataFrame"
PolarsFrame: TypeAlias = "pl.DataFrame"

BATCH = 256
ROW_GROUP = 1 << 26  # bytes of Arrow data after which a row group is written


class Tables(Generic[T]):
    """Samples as tables. Each method reads all of them, and raises what iteration raises."""

    @property
    def view(self) -> View[T]:
        """The view of the samples."""
        raise NotImplementedError

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        """One column for each field: an array of shape `(samples, ...)` where its values can be stacked, else a list.

        Args:
            limit: most samples to read.
        """
        types = _types(self.view)
        pieces: dict[str, list[Any]] = {}
        count = 0
        for batch in _batches(self.view, None, limit):
            length = _length(batch)
            for name in {**pieces, **batch}:
                before: list[Any] = [[None] * count] if count else []
                pieces.setdefault(name, before).append(batch.get(name, [None] * length))
            count += length
        if not count:
            return {name: [] for name in types}
        return {name: _concatenated(pieces.pop(name), types.get(name)) for name in list(pieces)}

    def to_arrow(self, limit: int | None = None) -> ArrowTable:
        """An Arrow table.

        Arrays of one shape are fixed-size lists, from two dimensions on tensors; arrays of several shapes are nested
        lists. What may be `None` is nullable, and NaT is null. Dicts of one type are maps, or lists of a `key` and a `value`
        where only the values say which type that is; other dicts are structs.

        Args:
            limit: most samples to read.

        Raises:
            MissingExtraError: pyarrow is not installed.
            SampleError: values that Arrow has no type for; `path` names the field.
        """
        return _table(_Frame(self.view, "arrow", limit=limit))

    def to_pandas(self, limit: int | None = None) -> PandasFrame:
        """A pandas frame.

        Numbers that may be `None` have pandas' nullable types. Arrays, lists, moments and whatever else is no number or text
        are objects, the values themselves.

        Args:
            limit: most samples to read.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError.of("frames", "making a pandas frame") from error

        types = _types(self.view)
        series = {}
        for name, column in self.to_dict(limit).items():
            series[name] = _series(pd, column, types.get(name))
        return pd.DataFrame(series)

    def to_polars(self, limit: int | None = None) -> PolarsFrame:
        """A polars frame. Arrays of one shape have the type `Array`, others are nested lists.

        Args:
            limit: most samples to read.

        Raises:
            MissingExtraError: polars or pyarrow is not installed.
            SampleError: values that Arrow has no type for; `path` names the field.
        """
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError.of("frames", "making a polars frame") from error

        frame: Any = pl.from_arrow(_table(_Frame(self.view, "polars", limit=limit)))
        return frame

    def to_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        sample_map: Callable[[T], Mapping[str, Any]] | None = None,
        maxcount: int | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write Parquet files with page checksums, in constant memory. The files appear all at once.

        Types are those of `to_arrow`, but arrays that may be `None` are lists of any size: not every reader of Parquet
        takes such lists of one size.

        Args:
            path: `digits.parquet`, or `digits-%06d.parquet` for several files.
            sample_map: gives the row to write for a sample. It may be called again for the same sample.
            maxcount: most rows in a file.
            overwrite: whether to replace all files that a path with a number stands for.

        Returns:
            The files, in order; a dataset without samples is one file without rows.

        Raises:
            MissingExtraError: pyarrow is not installed.
            UsageError: the path does not fit, or `sample_map` gives no mapping.
            ConflictError: files of this name are there already, or another process writes them.
            SampleError: values that Parquet has no type for; `path` names the field.
            StorageError: the disk is full or fails.
        """
        maxcount = None if maxcount is None else checked_int(maxcount, "maxcount", 1)
        pattern = FilePattern.of(path, maxcount is not None, ".parquet")
        frame = _Frame(self.view, "parquet", sample_map)
        while True:
            with suppress(_SchemaWidened), new_set(pattern, overwrite) as place:
                written = _write_files(frame, place, maxcount)
                break
        return [pattern.folder / path.name for path in written]


# Samples as columns.


def _series(pd: Any, column: Any, kind: FieldType | None) -> Any:
    """A column as pandas has it."""
    inner = None if kind is None else bare(kind)
    scalar = inner.stored if isinstance(inner, LiteralOf | ClassLabel) else inner
    if isinstance(kind, Maybe) and scalar in (Scalar("int"), Scalar("bool")):
        dtype = "boolean" if scalar == Scalar("bool") else "UInt64" if is_wide(column) else "Int64"
        return pd.Series(column, dtype=dtype)
    if isinstance(kind, Maybe) and scalar == Scalar("float"):  # NaN is a number, and not what is missing
        missing = np.array([value is None for value in column], bool)
        numbers = np.array([0.0 if value is None else value for value in column], np.float64)
        return pd.Series(pd.arrays.FloatingArray(numbers, missing))
    if isinstance(scalar, Scalar) or (isinstance(column, np.ndarray) and column.ndim == 1):
        return pd.Series(column)
    objects = np.empty(len(column), object)
    for index, value in enumerate(unstack(column)):  # one by one: numpy takes lists alike for one array
        objects[index] = value
    return pd.Series(objects, dtype=object)  # pandas would make moments of its own of some


def _types(view: View[Any]) -> dict[str, FieldType | None]:
    """The fields that are known before any sample is read, each with its type if that is declared."""
    declaring, names = view.about.declaring, view.about.names
    fields = () if issubclass(declaring, DictSample) else fields_of(declaring)
    types: dict[str, FieldType | None] = {field.name: field.type for field in fields}
    return types if names is None else {name: types.get(name) for name in names}


def _batches(
    view: View[Any], sample_map: Callable[[Any], Mapping[str, Any]] | None, limit: int | None
) -> Iterator[Mapping[str, Any]]:
    """Columns by name, some rows at a time. Rows without a type may each have other fields; what one lacks is `None`."""
    left = sys.maxsize if limit is None else checked_int(limit, "limit")
    if sample_map is None and not issubclass(view.about.declaring, DictSample):
        for batch in Batches(view, Order(0), BATCH) if left else ():
            yield batch.columns if len(batch) <= left else {name: some[:left] for name, some in batch.columns.items()}
            left -= len(batch)
            if left <= 0:
                return
        return
    rows: Iterator[Any] = iter(Samples(view, Order(0)).take(left))
    rows = map(values_of if sample_map is None else sample_map, rows)
    while some := list(itertools.islice(rows, BATCH)):
        if odd := [type(row).__name__ for row in some if not isinstance(row, Mapping)]:
            raise UsageError(
                "sample_map must return mappings", path="sample_map", actual=odd[0], hint="Return a dict of columns."
            )
        names = dict.fromkeys(name for row in some for name in row)
        yield {name: stack([cell_of(row.get(name)) for row in some]) for name in names}


def _length(columns: Mapping[str, Any]) -> int:
    return len(next(iter(columns.values()), ()))


def _concatenated(pieces: list[Any], kind: FieldType | None) -> Any:
    arrays = all(isinstance(piece, np.ndarray) for piece in pieces)
    if arrays and len({(piece.dtype, piece.shape[1:]) for piece in pieces}) == 1:
        whole = np.empty((sum(map(len, pieces)), *pieces[0].shape[1:]), pieces[0].dtype)
        return np.concatenate(pieces, out=whole)  # by itself numpy turns bytes round
    if kind is not None and isinstance(
        bare(kind), Scalar
    ):  # here an array is many numbers, elsewhere it is many arrays
        pieces = [piece.tolist() if isinstance(piece, np.ndarray) else piece for piece in pieces]
    return [value for piece in pieces for value in unstack(piece)]


# Columns as Arrow has them.


class _SchemaWidened(Exception):
    """A later row needs a wider schema than that of the tables before."""


class _Frame:
    """A dataset as Arrow tables of one schema. The types of its columns are kept from pass to pass."""

    def __init__(
        self,
        view: View[Any],
        target: Target,
        sample_map: Callable[[Any], Mapping[str, Any]] | None = None,
        limit: int | None = None,
        keeps_schema: bool = True,
    ) -> None:
        self._keeps_schema = keeps_schema
        self._view, self._target, self._sample_map, self._limit = view, target, sample_map, limit
        self._types = {} if sample_map else _types(view)
        self._columns: dict[str, ArrowColumn] = {}

    def tables(self) -> Iterator[Any]:
        """All rows, some at a time; without rows, one empty table.

        Raises:
            _SchemaWidened: the tables so far are void.
        """
        schema: Any = None
        for batch in _batches(self._view, self._sample_map, self._limit):
            self._add(batch)
            nulls = [None] * _length(batch)
            rows = [(column, batch.get(name, nulls)) for name, column in self._columns.items()]
            for column, values in rows:
                column.widen(values)
            if self._keeps_schema and schema not in (None, self._schema()):
                raise _SchemaWidened
            schema = self._schema()
            yield arrow().table([column.convert(values) for column, values in rows], schema=schema)
        if schema is None:
            yield self.declared_schema().empty_table()

    def declared_schema(self) -> Any:
        """The schema as far as it is known before any row."""
        self._add(self._types)
        return self._schema()

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._columns:
                path = name if self._sample_map else f"{self._view.sample_type.__name__}.{name}"
                self._columns[name] = ArrowColumn(path, self._types.get(name), self._target)

    def _schema(self) -> Any:
        return arrow().schema([column.field(name) for name, column in self._columns.items()])


def _table(frame: _Frame) -> Any:
    while True:
        try:
            return arrow().concat_tables(list(frame.tables()))
        except _SchemaWidened:
            continue


def arrow_tables(view: View[Any]) -> Iterator[ArrowTable]:
    """Yields Arrow tables of some rows. Where a row needs a wider type than the tables before have, those from there on have it."""
    tables = _Frame(view, "arrow", keeps_schema=False).tables()
    for _, alike in itertools.groupby(tables, key=lambda table: table.schema):
        yield from _grouped(alike)


def arrow_schema(view: View[Any]) -> Any:
    """The schema of `arrow_tables`; `None` where it takes rows to say."""
    schema = _Frame(view, "arrow").declared_schema()
    return None if not schema or any(map(arrow().types.is_null, schema.types)) else schema


# Parquet files.


def _write_files(frame: _Frame, place: Callable[[int], Path], maxcount: int | None) -> list[Path]:
    paths = []
    for number, tables in itertools.groupby(_cut(_grouped(frame.tables()), maxcount), itemgetter(0)):
        path = place(number)
        with atomic_file(path) as file:
            _write_file(_Output(file, path), (table for _, table in tables))
        paths.append(path)
    return paths


def _write_file(output: _Output, tables: Iterator[Any]) -> None:
    """One row group for each table."""
    first = next(tables)
    with typed(str(output.path)):
        writer = arrow().parquet.ParquetWriter(output, first.schema, write_page_checksum=True)
    with writer:
        for table in itertools.chain([first], tables):
            with typed(str(output.path)):
                writer.write_table(table, max(1, table.num_rows))


def _grouped(tables: Iterator[Any]) -> Iterator[Any]:
    """The same rows in tables as large as a row group."""
    pending: list[Any] = []
    size = 0
    for table in tables:
        pending.append(table)
        size += table.nbytes
        if size >= ROW_GROUP:
            yield arrow().concat_tables(pending)
            pending, size = [], 0
    if pending:
        yield arrow().concat_tables(pending)


def _cut(tables: Iterator[Any], maxcount: int | None) -> Iterator[tuple[int, Any]]:
    """The tables cut at the ends of files, each with the number of its file."""
    row = 0
    for table in tables:
        start = 0
        while start < table.num_rows:
            number, used = (0, 0) if maxcount is None else divmod(row, maxcount)
            part = table.slice(start, None if maxcount is None else maxcount - used)
            yield number, part
            start, row = start + part.num_rows, row + part.num_rows
        if row == 0:  # the one empty table of a dataset without samples
            yield 0, table


class _Output:
    """A file as pyarrow writes to one: every byte of each piece, disk errors typed."""

    closed = False

    def __init__(self, file: FileIO, path: Path) -> None:
        self.path, self._file = path, file

    def write(self, data: Any) -> None:
        """Write all of it."""
        write_all(self._file, data, self.path)

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """The file closes with its place."""
