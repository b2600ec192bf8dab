"""Tables in memory: of Arrow, pandas, polars, and datasets of Hugging Face. They come to us: none of these is imported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atdata.errors import SampleError, UsageError
from atdata.importers.arrow import import_batches
from atdata.importers.files import Snapshot, reading
from atdata.importers.imported import Imported
from atdata.importers.pandas_columns import pandas_table
from atdata.importers.wanted import Wanted
from atdata.loading.splits import TRAIN, canonical
from atdata.samples import Array, ClassLabel, FieldType, ListOf, Shape
from atdata.samples.arrow import arrow
from atdata.samples.kinds.media import AudioOf, ImageOf, VideoOf

_ROWS = 256  # at once
_MEDIA: dict[str, type[FieldType]] = {"Image": ImageOf, "Audio": AudioOf, "Video": VideoOf}


def from_arrow(
    table: Any, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None, name: str = "Row"
) -> Imported:
    """An Arrow table as samples of a field for each column.

    Lists of numbers are arrays, times are arrays without dimensions, structs are dicts, decimals are text. A column of a
    dictionary of texts holds classes with names.

    Args:
        table: a `pyarrow.Table` or `RecordBatch`.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.
        name: what to call the inferred type.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SampleError: a column is of a type that no field can be, or a value does not fit its field.
        UsageError: it is no table, has no rows, or has no column for a field.
    """
    pa = arrow()
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise UsageError("this is no Arrow table", expected="a pyarrow.Table", actual=type(table).__name__)
    return _tables(Wanted.of(name, sample_type, schema), table, "table (Arrow)", _dictionaries(table))


def from_pandas(
    frame: Any, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None, name: str = "Row"
) -> Imported:
    """A pandas frame as samples of a field for each column. An index that is no mere numbering is a column too.

    Categories that are texts are classes with names; NaN is `None`, as pandas means it.

    Args:
        frame: a `pandas.DataFrame`.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.
        name: what to call the inferred type.

    Raises:
        AtdataError: as `from_arrow`.
    """
    arrow()
    if not all(hasattr(frame, each) for each in ("columns", "dtypes", "index")):
        raise UsageError("this is no frame of pandas", expected="a pandas.DataFrame", actual=type(frame).__name__)
    wanted = Wanted.of(name, sample_type, schema)
    table, held, kinds = pandas_table(frame, wanted)
    return _tables(wanted, table, "table (pandas)", {**_dictionaries(table), **kinds}, held)


def from_polars(
    frame: Any, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None, name: str = "Row"
) -> Imported:
    """A polars frame as samples of a field for each column. An `Enum` or `Categorical` holds classes with names.

    Args:
        frame: a `polars.DataFrame`, or a `LazyFrame`, which is collected.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.
        name: what to call the inferred type.

    Raises:
        AtdataError: as `from_arrow`.
    """
    frame = frame.collect() if hasattr(frame, "collect") else frame
    if not hasattr(frame, "to_arrow") or not hasattr(frame, "columns"):
        what = "only a frame of Polars can be taken"
        raise UsageError(what, path="frame", expected="a DataFrame or LazyFrame", actual=type(frame).__name__)
    if objects := [column for column, kind in frame.schema.items() if str(kind) == "Object"]:
        raise _no_type("Object", objects[0], "polars gives of it the addresses in memory")
    try:
        table = frame.to_arrow()
    except arrow().ArrowException as error:
        column = next(each for each in frame.columns if not _has_arrow(frame[each]))
        raise _no_type(str(frame.schema[column]), column, str(error)[:160]) from error
    return _tables(Wanted.of(name, sample_type, schema), table, "table (polars)", _dictionaries(table))


def from_huggingface(
    dataset: Any, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None, name: str = "Row"
) -> Imported:
    """A dataset of Hugging Face as samples, and its splits.

    Its features say what fields are: `ClassLabel` has its names, `Image`, `Audio` and `Video` are the bytes as they are,
    `Array2D` and the like are arrays of that shape and dtype, sequences of numbers are arrays. A class of -1, as Hugging
    Face says that there is none, is `None`.

    Args:
        dataset: a `datasets.Dataset`, `IterableDataset`, or a dict of them by split.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.
        name: what to call the inferred type.

    Raises:
        AtdataError: as `from_arrow`.
    """
    parts = dict(dataset) if isinstance(dataset, Mapping) else {_split_of(dataset): dataset}
    if not parts or not all(hasattr(part, "with_format") for part in parts.values()):
        raise UsageError("this is no dataset of Hugging Face", actual=type(dataset).__name__)
    features = dict(next(iter(parts.values())).features or {})
    kinds = {column: kind for column, feature in features.items() if (kind := _kind_of(feature)) is not None}
    media = [column for column, feature in features.items() if type(feature).__name__ in _MEDIA]
    wanted = Wanted.of(name, sample_type, schema)
    classes = [column for column, kind in kinds.items() if isinstance(kind, ClassLabel) and not wanted.declares(column)]
    reads = {
        canonical(str(split)): partial(_read_rows, part, str(split), media, classes) for split, part in parts.items()
    }
    return import_batches(
        "dataset (Hugging Face)",
        wanted,
        reads,
        uri="Dataset",
        files=Snapshot.of([]),
        kinds=kinds,
    )


def _has_arrow(series: Any) -> bool:
    try:
        series.to_arrow()
    except arrow().ArrowException:
        return False
    return True


def _no_type(kind: str, column: str, actual: str) -> SampleError:
    """The error for a column of polars that no other library takes."""
    hint = "Convert the column, frame.cast(...), or drop it."
    return SampleError(f"a column of {kind} is not supported", uri="DataFrame", path=column, actual=actual, hint=hint)


def _tables(
    wanted: Wanted,
    table: Any,
    what: str,
    kinds: Mapping[str, FieldType],
    held: Mapping[str, Sequence[Any]] | None = None,
) -> Imported:
    pa = arrow()
    repeated = [each for each in table.column_names if table.column_names.count(each) > 1]
    if repeated:
        raise SampleError("a table has two columns of one name", uri=what, path=repeated[0], hint="Rename one of them.")
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise SampleError("a table is malformed", uri=what, actual=str(error)[:200]) from error

    def read() -> Iterator[tuple[str, Any]]:
        start = 0
        for batch in table.to_batches(_ROWS):
            yield f"row {start + 1} and after", batch
            start += len(batch)
        if not start:
            yield "no rows", pa.RecordBatch.from_pylist([], table.schema)

    return import_batches(what, wanted, {TRAIN: read}, uri=what, files=Snapshot.of([]), kinds=kinds, held=held)


def _dictionaries(table: Any) -> dict[str, FieldType]:
    """The columns whose values are out of a few texts, as classes with names."""
    is_, found = arrow().types, dict[str, FieldType]()
    for number, column in enumerate(table.column_names):
        kind = table.schema.field(number).type
        if is_.is_dictionary(kind) and (is_.is_string(kind.value_type) or is_.is_large_string(kind.value_type)):
            chunks = table.column(number).unify_dictionaries().chunks if table.num_rows else []
            names = chunks[0].dictionary.to_pylist() if chunks else []
            if names and all(names) and len(set(names)) == len(names):
                found[column] = ClassLabel(names)
    return found


def _split_of(dataset: Any) -> str:
    """The split that a dataset says it is: `train[:10]` is of `train`."""
    said = str(getattr(dataset, "split", None) or TRAIN)
    return canonical(said.partition("[")[0].partition("+")[0])


def _kind_of(feature: Any) -> FieldType | None:
    """The kind of field that a feature says; `None` where its Arrow type says it."""
    match type(feature).__name__:
        case "ClassLabel" if feature.names:
            return ClassLabel(feature.names)
        case "Image" | "Audio" | "Video" as media:
            return _MEDIA[media]()
        case "Array2D" | "Array3D" | "Array4D" | "Array5D":
            return Array(np.dtype(feature.dtype).type, Shape(*feature.shape))
        case "List" | "Sequence" | "LargeList" if (inner := _kind_of(feature.feature)) is not None:
            return ListOf(inner)
    return None


def _read_rows(dataset: Any, split: str, media: list[str], classes: list[str]) -> Iterator[tuple[str, Any]]:
    pa, start = arrow(), 0
    typed = dataset.features is not None
    for table in dataset.with_format("arrow").iter(batch_size=_ROWS) if typed else _untyped(dataset, split):
        for column in media:
            table = _embedded(table, column)
        for column in classes:
            numbers = table.column(column)
            known = pa.compute.if_else(pa.compute.equal(numbers, -1), pa.scalar(None, numbers.type), numbers)
            table = table.set_column(table.column_names.index(column), column, known)
        for batch in table.to_batches():
            yield f"{split}, row {start + 1} and after", batch
            start += len(batch)
    if not start and typed:
        yield split, pa.RecordBatch.from_pylist([], dataset.features.arrow_schema)


def _untyped(dataset: Any, split: str) -> Iterator[Any]:
    """Tables of the rows of a stream that says no features: a row need not have every member, nor a value for it."""
    pa, rows, number = arrow(), iter(dataset), 1
    while some := list(itertools.islice(rows, _ROWS)):
        columns = {}
        for name in dict.fromkeys(name for row in some for name in row):
            try:
                columns[name] = pa.array([row.get(name) for row in some])
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise SampleError(
                    "a column of a stream has no one type",
                    uri="Dataset",
                    path=f"{split}, row {number} and after, {name}",
                    actual=str(error).splitlines()[0][:200],
                    hint="Give the stream its features: IterableDataset.from_generator(..., features=...).",
                ) from error
        yield pa.table(columns)
        number += len(some)


def _embedded(table: Any, column: str) -> Any:
    """A table in which each picture stands as its bytes, where it may be the path of a file."""
    cells = table.column(column).to_pylist()
    if all(cell is None or cell.get("bytes") is not None for cell in cells):
        return table
    load: Callable[[Any], Any] = lambda cell: (  # noqa: E731
        cell if cell is None or cell.get("bytes") is not None else {**cell, "bytes": _bytes_at(cell.get("path"))}
    )
    kind = table.schema.field(column).type
    array = arrow().array(list(map(load, cells)), getattr(kind, "storage_type", kind))
    return table.set_column(table.column_names.index(column), column, array)


def _bytes_at(path: Any) -> bytes | None:
    if path is None:
        return None
    with reading(Path(path)):
        return Path(path).read_bytes()
