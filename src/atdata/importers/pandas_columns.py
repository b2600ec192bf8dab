"""Frames of pandas as Arrow tables. Columns of Python's objects are taken as they are, where Arrow would change them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from atdata.errors import SampleError
from atdata.importers import guesses
from atdata.importers.wanted import Wanted
from atdata.samples import FieldType, Maybe, Plain, Scalar
from atdata.samples.arrow import arrow
from atdata.samples.kinds.kind import same

_INDEX = "__index_level_0__"  # as Arrow calls the index of a frame that has no name


def pandas_table(frame: Any, wanted: Wanted) -> tuple[Any, dict[str, list[Any]], dict[str, FieldType]]:
    """The table of a frame, the columns whose values are not in it but beside it, and what kinds of fields these are.

    Beside it are the objects of columns that the caller declares, and those that Arrow would change: dicts get the members
    of each other, decimals as many digits as any, moments lose that they have no offset.

    Raises:
        SampleError: a column has no one type, or two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise SampleError(
            "a frame has two columns of one name", uri="DataFrame", path=repeated[0], hint="Rename one of them."
        )
    held: dict[str, list[Any]] = {}
    kinds: dict[str, FieldType] = {}
    rest = frame.copy(deep=False)
    for label, name in zip(frame.columns, names, strict=True):
        series, declared = frame[label], wanted.fields[name].type if wanted.declares(name) else None
        if declared is not None and (
            series.dtype == object or (declared == Scalar("float") and series.dtype.kind == "f")
        ):
            held[name] = [_missing_as_none(value, declared) for value in series]
        elif series.dtype == object:
            values = [_missing_as_none(value, Maybe(Plain())) for value in series]
            found = _texts(values) or _changed(name, series, values)
            if found is not None:
                held[name], kinds[name] = found
        if name in held:
            rest[label] = None
    table = _converted(rest)
    taken, index = set(table.column_names), "index"
    while index in taken:
        index = f"{index}_"
    return table.rename_columns([index if each == _INDEX else each for each in table.column_names]), held, kinds


def _missing_as_none(value: Any, kind: FieldType) -> Any:
    """The value; `None` for what pandas has where there is none, unless the field takes just that."""
    missing = type(value).__name__ in ("NAType", "NaTType")
    nan = isinstance(value, float | np.floating) and value != value and isinstance(kind, Maybe)
    return None if missing or nan else value


def _texts(values: Sequence[Any]) -> tuple[list[Any], FieldType] | None:
    """The texts of decimals, and their kind; `None` for other values."""
    given = [value for value in values if value is not None]
    if not given or not all(isinstance(value, Decimal) for value in given):
        return None
    return [None if value is None else str(value) for value in values], Scalar("str")


def _changed(name: str, series: Any, values: list[Any]) -> tuple[list[Any], FieldType] | None:
    """The values that Arrow does not give back as they were, and the kind of field that takes them.

    Raises:
        SampleError: there is none.
    """
    array, is_ = _array(name, series), arrow().types
    if is_.is_string(array.type) or is_.is_boolean(array.type) or is_.is_binary(array.type):
        return None  # Arrow makes these of nothing else
    cells = array.to_pylist()
    differing = [value for value, cell in zip(values, cells, strict=True) if not _alike(value, cell)]
    if not differing:
        return None
    column = guesses.InferredColumn()
    try:
        for number, value in enumerate(values):
            column.add(guesses.guess_of(value), partial("row {}".format, number + 1))
    except SampleError as error:
        raise _of_no_type(name, f"{type(differing[0]).__name__} {differing[0]!r:.100} would become another") from error
    if column.clash is not None:
        raise guesses.clash_error("DataFrame", name, column.clash)
    kind = guesses.settle(column.guess)
    return values, kind.inner if isinstance(kind, Maybe) else kind


def _alike(value: Any, cell: Any) -> bool:
    """True if Arrow gives back what it was given: sets, tuples and arrays as lists."""
    if isinstance(value, list | tuple | set | frozenset | np.ndarray) and isinstance(cell, list):
        items = list(value)
        return len(items) == len(cell) and all(map(_alike, items, cell))
    if isinstance(value, dict) and isinstance(cell, dict):
        return value.keys() == cell.keys() and all(_alike(value[key], cell[key]) for key in value)
    if isinstance(value, np.datetime64 | np.timedelta64 | np.generic) or type(value).__module__ == "uuid":
        return True
    return same(value, cell)


def _converted(frame: Any) -> Any:
    pa = arrow()
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError) as error:
        for label in frame.columns:
            _array(str(label), frame[label])
        raise _of_no_type("", _said(error)) from error


def _array(name: str, series: Any) -> Any:
    pa = arrow()
    try:
        array = pa.array(series, from_pandas=True)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _of_no_type(name, _said(error)) from error


def _said(error: Exception) -> str:
    return str(error.args[0] if error.args else error)[:200]


def _of_no_type(name: str, actual: str) -> SampleError:
    return SampleError(
        "a frame has a column of no one type",
        uri="DataFrame",
        path=name,
        actual=actual,
        hint="Convert the column, frame.astype(...), drop it, or say what it is: schema={...}.",
    )
