"""The columns of a batch as libraries of numbers take them: each as one array, where it can be one.

Which columns there are follows from the declared type, not from the values, wherever the type says enough: programs are
compiled for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import SampleError, UsageError
from atdata.samples import jax, torch
from atdata.samples.forms import DTYPES, Numbers, Ragged, numbers_of, ragged
from atdata.samples.kinds import Array, ClassLabel, FieldType, ListOf, LiteralOf, Maybe, Plain, Scalar, TupleOf, bare
from atdata.samples.kinds.scalars import PYTHON_TYPES

Form: TypeAlias = "NDArray[Any] | Ragged | list[Any] | Any"
"""A column: an array `(n, ...)`, `Ragged`, a `csr_array`, or a list of what is none of these."""

Make: TypeAlias = Callable[..., Any]

MASK = "_mask"
"""The end of the name of a mask, true where a value is missing."""

_TEXT = {Scalar("str"), Scalar("bytes")}
NUMBERS = "biufc"
"""The kinds of dtypes of numbers and truth values."""


def forms_of(sample_type: type[Any], columns: Mapping[str, Any]) -> dict[str, Form]:
    """Each column of a batch. One of numbers or arrays that may be `None` is two: the values, zero where there is none,
    and beside them a mask, `{name}_mask`.

    Args:
        sample_type: of the samples.
        columns: as a batch stores them.

    Raises:
        UsageError: a field has the name of a mask.
    """
    found: dict[str, Form] = {}
    kinds = _kinds(sample_type)  # type: ignore[arg-type]  # mypy takes no class for hashable
    for name, column in columns.items():
        for suffix, form in _forms(name, column, kinds.get(name)):
            if suffix and name + suffix in columns:
                raise UsageError(
                    "a field has the name of the mask of another",
                    path=name + suffix,
                    hint=f"Leave one of them out, dataset.columns(...), or take batch.masked_array({name!r}).",
                )
            found[name + suffix] = form
    return found


def arrays_of(sample_type: type[Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns in `forms_of` that are one array of numbers or truth values; of another library, too."""
    found = forms_of(sample_type, columns)
    return {
        name: form
        for name, form in found.items()
        if (form.dtype.kind in NUMBERS if isinstance(form, np.ndarray) else not isinstance(form, list | Ragged))
        and not is_sparse(form)
    }


def to_torch(columns: Mapping[str, Form], device: Any = None, non_blocking: bool = False) -> dict[str, Any]:
    """See `SampleBatch.to_torch`."""
    found = {name: _through(torch.tensor, torch.nested, torch.sparse, name, form) for name, form in columns.items()}
    if device is None:
        return found
    return {name: torch.moved(value, device, non_blocking) for name, value in found.items()}


def to_jax(columns: Mapping[str, Form]) -> dict[str, Any]:
    """See `SampleBatch.to_jax`."""
    return {name: _through(jax.array, jax.ragged, jax.sparse, name, form) for name, form in columns.items()}


def _through(array: Make, ragged: Make, sparse: Make, name: str, form: Form) -> Any:
    """A form as the makers of one library make it."""
    if isinstance(form, np.ndarray):
        return array(name, form)
    if isinstance(form, Ragged):
        return ragged(name, form.values, form.offsets)
    return sparse(name, form) if is_sparse(form) else form


def is_sparse(form: Form) -> bool:
    """True of a sparse matrix."""
    return type(form).__module__.startswith("scipy.sparse")


@lru_cache(maxsize=256)
def _kinds(sample_type: type[Any]) -> Mapping[str, FieldType]:
    """The declared kinds of the fields; of samples without a type, none."""
    from atdata.samples.packable import PackableSample, fields_of

    return {f.name: f.type for f in fields_of(sample_type)} if issubclass(sample_type, PackableSample) else {}


def _forms(name: str, column: Any, kind: FieldType | None) -> Iterator[tuple[str, Form]]:
    """The array of a column, and its mask."""
    inner = None if kind is None else _stored(kind)
    optional = isinstance(kind, Maybe)
    values: Form = column
    mask: Any = None
    if isinstance(column, Numbers):
        values, mask = column.array, column.mask
        optional |= kind is None and mask is not None and bool(mask.any())
    elif isinstance(column, list) and inner not in _TEXT:
        values, mask = _of_list(name, column, inner)
    yield "", values
    if (optional or mask is not None) and isinstance(values, np.ndarray) and values.dtype.kind in NUMBERS:
        yield MASK, np.zeros(len(values), bool) if mask is None else mask


def _of_list(name: str, column: list[Any], kind: FieldType | None) -> tuple[Form, Any]:
    """A list as a form, and the mask where some values are `None`."""
    given = [value for value in column if value is not None]
    absent = None if len(given) == len(column) else np.array([value is None for value in column], bool)
    first = given[0] if given else None
    if type(first) in (int, float, bool) or (not given and isinstance(kind, Scalar)):
        with suppress(SampleError):
            return numbers_of(name, column, _dtype(kind)).array, absent
    elif isinstance(first, np.ndarray) or (not given and isinstance(kind, Array)):
        return _of_arrays(name, column, first, kind, absent)
    elif absent is None and (isinstance(kind, ListOf | TupleOf) or type(first) in (list, tuple)):
        with suppress(SampleError):
            return _ragged(name, column, kind), None
    elif absent is None and is_sparse(first):
        from atdata.samples.kinds.sparse import stacked

        with suppress(SampleError):
            return stacked(name, column), None
    return column, None


def _of_arrays(name: str, column: list[Any], first: Any, kind: FieldType | None, absent: Any) -> tuple[Form, Any]:
    """Arrays that were not stacked: some are missing, or they are of several lengths."""
    if absent is None and column:
        with suppress(SampleError):
            return _ragged(name, column, kind), None
        return column, None
    shape = kind.shape.dims if isinstance(kind, Array) and kind.shape else ()
    if first is None and isinstance(kind, Array) and kind.scalar and kind.shape and None not in shape:
        return np.zeros((len(column), *shape), kind.scalar), absent  # type: ignore[arg-type]
    if not column:
        return _ragged(name, column, kind), None
    alike = all(v is None or (isinstance(v, np.ndarray) and _look(v) == _look(first)) for v in column)
    if first is None or not alike:
        return column, None
    values = np.zeros((len(column), *first.shape), first.dtype)
    for row, value in zip(values, column, strict=True) if first.ndim else ():
        if value is not None:
            row[...] = value
    if not first.ndim:
        values[~absent] = [value.item() for value in column if value is not None]
    return values, absent


def masked_of(sample_type: type[Any], name: str, column: Any) -> Numbers:
    """A column of numbers that may be `None`. Raises as `numbers_of`."""
    if isinstance(column, Numbers):
        return column
    kind = _kinds(sample_type).get(name)  # type: ignore[arg-type]
    return numbers_of(name, column, None if kind is None else _dtype(_stored(kind)))


def ragged_of(sample_type: type[Any], name: str, column: Any) -> Ragged:
    """A column of values of several lengths. Raises as `ragged`."""
    kind = _kinds(sample_type).get(name)  # type: ignore[arg-type]
    return _ragged(name, column, None if kind is None else _stored(kind))


def _ragged(name: str, column: Any, kind: FieldType | None) -> Ragged:
    """The ragged form of a column of a kind, whose items have a dtype though there be none."""
    empty: NDArray[Any] | None = None
    if isinstance(kind, Array) and kind.scalar:
        dims = kind.shape.dims[1:] if kind.shape else ()
        empty = np.empty((0, *(size or 0 for size in dims)), kind.scalar)
    elif isinstance(kind, ListOf) or (isinstance(kind, TupleOf) and kind.variadic):
        item = _stored(kind.inner if isinstance(kind, ListOf) else kind.items[0])
        if not isinstance(item, Plain):
            dtype = _dtype(item)
            if dtype is None:
                expected = "an array of one dimension at least, or a list of numbers"
                raise SampleError("the items of a field are no numbers", path=name, expected=expected, actual=str(kind))
            empty = np.empty(0, dtype)
    return ragged(name, column, empty)


def _stored(kind: FieldType) -> FieldType:
    """The kind of what is not `None`; of a choice of numbers or texts, that of these."""
    inner = bare(kind)
    return inner.stored if isinstance(inner, LiteralOf | ClassLabel) else inner


def _dtype(kind: FieldType | None) -> str | None:
    """The dtype of a column of numbers of a kind; `None` where it is none of numbers."""
    return DTYPES.get(PYTHON_TYPES[kind.kind]) if isinstance(kind, Scalar) else None


def _look(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.dtype, array.shape
