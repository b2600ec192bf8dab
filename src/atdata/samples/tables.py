"""Columns as Arrow has them: the type of each, and its values some rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from atdata.errors import SampleError
from atdata.samples.arrow import arrow
from atdata.samples.kinds import Array, Derived, DictOf, FieldType, ListOf, Maybe, Misfit, Plain, Scalar, bare
from atdata.samples.kinds.arrays import NUMBERS, unchanged_in_arrow
from atdata.samples.kinds.media import Encoded
from atdata.samples.packable import PackableSample, fields_of
from atdata.samples.stacking import unstack

if TYPE_CHECKING:
    import pyarrow as pa

ArrowTable: TypeAlias = "pa.Table"

INT64_MAX = 2**63 - 1


Target: TypeAlias = Literal["arrow", "parquet", "polars"]
"""The taker of the columns: polars takes no tensors, Parquet no lists of fixed size that may be null (pyarrow < 23)."""


class ArrowColumn:
    """One column. Its type only ever grows wider."""

    def __init__(self, path: str, declared: FieldType | None, target: Target) -> None:
        self._path, self._declared, self._target = path, None if declared is None else bare(declared), target
        self._nullable = isinstance(declared, Maybe | Plain)
        self._untyped = declared is None
        self._cells = self._declared is not None and not _is_core(self._declared)
        tensors = target != "polars"
        with typed(path):
            self._stored = None if self._declared is None else _declared_kind(self._declared, tensors)
        self._fits = isinstance(self._declared, Derived) and type(self._declared).fitted is not Derived.fitted
        self._kind = None if self._fits else self._stored
        self._open = self._kind is None and not self._fits

    def field(self, name: str) -> Any:
        """The column as the schema has it."""
        kind = self._arrays.type if self._arrays else self._plain
        # A moment in an array may be NaT, which Arrow has as null.
        moments = arrow().types.is_temporal(kind) and not isinstance(self._declared, Derived)
        nullable = self._nullable or arrow().types.is_null(kind) or moments
        return arrow().field(name, kind, nullable)

    @property
    def _arrays(self) -> _Arrays | None:
        if not isinstance(self._kind, _Arrays):
            return None
        return (
            replace(self._kind, shape=None)
            if self._target == "parquet" and self._nullable and self._kind.ndim
            else self._kind
        )

    @property
    def _plain(self) -> Any:
        if self._kind is not None:
            return self._kind
        return self._stored if self._fits else arrow().null()

    def widen(self, values: Any) -> None:
        """Widen the type for some rows.

        Raises:
            SampleError: no type holds them and those before.
        """
        if self._untyped and isinstance(values, list) and any(value is None for value in values):
            self._nullable = True
        if self._declared == Scalar("int"):
            self._kind = arrow().uint64() if is_wide(values) else self._kind
        elif self._fits and isinstance(self._declared, Derived):
            if any(value is not None for value in values):
                found = self._declared.fitted(arrow(), values) or self._stored
                self._kind = found if self._kind in (None, found) else self._stored
        elif self._open:
            with typed(self._path):
                found = _kind_of(self._as_cells(values), self._target != "polars")
                if found is not None:
                    self._kind = found if self._kind is None else _joined(self._kind, found)

    def convert(self, values: Any) -> Any:
        """Some rows as an Arrow array.

        Raises:
            SampleError: a value that does not fit.
        """
        with typed(self._path):
            if self._arrays:
                return self._arrays.convert(values)
            as_they_are = self._fits and self._plain != self._stored
            return arrow().array(values if as_they_are else self._as_cells(values), self._plain)

    def _as_cells(self, values: Any) -> Any:
        kind = self._declared
        if not self._cells or kind is None:
            return values
        return [None if value is None else kind.to_cell(value) for value in unstack(values)]


@dataclass(frozen=True)
class _Arrays:
    """The form that the arrays of a column share: the Arrow type of their items, how many dimensions, and their shape if one.

    `tensors` says whether Arrow's tensor type is wanted; without it, lists of fixed size hold such lists.
    """

    item: Any
    ndim: int
    shape: tuple[int, ...] | None
    tensors: bool

    @property
    def type(self) -> Any:
        """The Arrow type of the column."""
        if self._is_tensor:
            return arrow().fixed_shape_tensor(self.item, self.shape)
        kind = self.item
        for size in reversed(self._sizes or (-1,) * self.ndim):
            kind = arrow().list_(kind, size)
        return kind

    def convert(self, values: Any) -> Any:
        """The arrays of some rows, `None` where there is none, as an Arrow array."""
        pa, absent = arrow(), np.zeros(len(values), bool)
        if isinstance(values, list):
            absent[:] = [value is None for value in values]
            if absent.all():
                return pa.nulls(len(values), self.type)
            given = next(value for value in values if value is not None)
            blank = np.zeros(self.shape or (0,) * self.ndim, given.dtype)
            values = [blank if value is None else value for value in values]
        if self._sizes is None:
            return self._ragged(unstack(values), absent)
        items = np.stack(values) if isinstance(values, list) else values
        if self.ndim == 0:
            return self._items(items, absent)
        array = self._items(items.reshape(-1))
        for level, size in reversed([*enumerate(self._sizes)]):
            mask = pa.array(absent) if level == 0 and absent.any() else None
            array = pa.FixedSizeListArray.from_arrays(array, size, mask=mask)
        return pa.ExtensionArray.from_storage(self.type, array) if self._is_tensor else array

    def _ragged(self, values: list[Any], absent: Any) -> Any:
        """Lists in lists. On each level, a row of shape (2, 3) is first one list of 2, then 2 lists of 3."""
        pa = arrow()
        array = self._items(np.concatenate([value.reshape(-1) for value in values]))
        for level in reversed(range(self.ndim)):
            sizes = [value.shape[level] for value in values for _ in range(math.prod(value.shape[:level]))]
            offsets = pa.array(np.concatenate([[0], np.cumsum(sizes, dtype="i8")]), pa.int32())
            mask = pa.array(absent) if level == 0 and absent.any() else None
            array = pa.ListArray.from_arrays(offsets, array, mask=mask)
        return array

    def _items(self, items: Any, absent: Any = None) -> Any:
        """Numbers, times or texts side by side, in this machine's byte order, as Arrow wants them; NaT is null."""
        if items.dtype.kind in "mM":
            absent = np.isnat(items) if absent is None else np.isnat(items) | absent
        native = items.astype(items.dtype.newbyteorder("="), copy=False)
        return arrow().array(unchanged_in_arrow(native), self.item, mask=absent)

    @property
    def _sizes(self) -> tuple[int, ...] | None:
        """The sizes of fixed-size lists in each other, outermost first; `None` for lists of any size."""
        if self.shape is None or 0 in self.shape:  # Parquet has no lists of the fixed size 0
            return None
        return (math.prod(self.shape),) if self._is_tensor else self.shape

    @property
    def _is_tensor(self) -> bool:
        is_ = arrow().types
        number = is_.is_integer(self.item) or is_.is_floating(self.item)
        return self.tensors and self.ndim > 1 and bool(self.shape) and 0 not in (self.shape or ()) and number


def _declared_kind(declared: FieldType, tensors: bool) -> Any:
    """The type that a declaration says by itself: an Arrow type or `_Arrays`; `None` where it takes rows to say."""
    pa = arrow()
    if type(declared) is not Array:
        return declared.arrow(pa)
    if declared.scalar not in NUMBERS or declared.shape is None:
        return None
    dims = declared.shape.dims
    known = tuple(size for size in dims if size is not None)
    shape = known if len(known) == len(dims) else None
    return _Arrays(pa.from_numpy_dtype(np.dtype(declared.scalar)), len(dims), shape, tensors)


def _is_core(kind: FieldType) -> bool:
    """True if Arrow takes the values of a kind as they are."""
    if isinstance(kind, Maybe | ListOf | DictOf):
        return type(kind.inner) is not Array and _is_core(kind.inner)
    return isinstance(kind, Scalar | Plain) or type(kind) is Array


def _kind_of(values: Any, tensors: bool) -> Any:
    """The type of some values, as `_declared_kind`; `None` where all are `None`."""
    pa = arrow()
    arrays = [values[:1, ...]] if isinstance(values, np.ndarray) else [v for v in values if isinstance(v, np.ndarray)]
    if not arrays:
        kind = pa.array(values).type
        return None if kind == pa.null() else kind
    if not isinstance(values, np.ndarray) and len(arrays) < sum(value is not None for value in values):
        raise _Unfit("arrays and other values")
    shapes = {values.shape[1:]} if isinstance(values, np.ndarray) else {value.shape for value in arrays}
    items = [pa.from_numpy_dtype(dtype) for dtype in {array.dtype.newbyteorder("=") for array in arrays}]
    kinds = [_Arrays(items[0], len(shape), shape, tensors) for shape in shapes]
    return reduce(_joined, kinds + [_Arrays(item, kinds[0].ndim, None, tensors) for item in items[1:]])


def _joined(one: Any, other: Any) -> Any:
    """The type that holds the values of both."""
    pa = arrow()
    if one == other:
        return one
    if isinstance(one, _Arrays) and isinstance(other, _Arrays):
        if (one.item, one.ndim) != (other.item, other.ndim):
            raise _Unfit(f"arrays of {one.item} in {one.ndim} dimensions, and of {other.item} in {other.ndim}")
        return replace(one, shape=None)
    if isinstance(one, _Arrays) or isinstance(other, _Arrays):
        raise _Unfit("arrays and other values")
    if {one, other} == {pa.int64(), pa.uint64()}:
        return pa.uint64()
    schemas = [pa.schema([("", kind)]) for kind in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


class _Unfit(Exception):
    """Values that no Arrow type holds together."""


@contextmanager
def typed(path: str) -> Iterator[None]:
    """Turns errors of Arrow into `SampleError`s."""
    try:
        yield
    except (_Unfit, Misfit, arrow().ArrowException, OverflowError, TypeError, UnicodeError) as error:
        raise SampleError(
            "no Arrow type holds all values of the field",
            path=path,
            actual=str(error).splitlines()[0][:160],
            hint="Use to_dict, or give to_parquet a sample_map that converts them.",
        ) from error


def table_of(sample_type: type[Any], columns: Mapping[str, Any]) -> ArrowTable:
    """The table of the columns of a batch: types as of `Dataset.to_arrow`, and where a declaration leaves one open, as these rows have it.

    Raises:
        MissingExtraError: pyarrow is not installed.
        SampleError: values that Arrow has no type for; `path` names the field.
    """
    untyped = not issubclass(sample_type, PackableSample)
    kinds = {} if untyped else {field.name: field.type for field in fields_of(sample_type)}
    fields, arrays = [], []
    for name, values in columns.items():
        column = ArrowColumn(f"{sample_type.__name__}.{name}", kinds.get(name), "arrow")
        values = list(map(cell_of, values)) if untyped and isinstance(values, list) else values
        column.widen(values)
        arrays.append(column.convert(values))
        fields.append(column.field(name))
    return arrow().table(arrays, schema=arrow().schema(fields))


def cell_of(value: Any) -> Any:
    """A value that no field declares, as a table has it."""
    return value.data if isinstance(value, Encoded) else value


def is_wide(column: Any) -> bool:
    """True if a column of ints has one that int64 does not hold."""
    if isinstance(column, np.ndarray):
        return bool(column.dtype.kind == "u" and column.size and column.max() > INT64_MAX)
    return any(value is not None and value > INT64_MAX for value in column)
