"""Arrays of numpy, as `.npy` bytes."""

from __future__ import annotations

import re
import reprlib
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from atdata.errors import FieldTypeError, SampleError, SchemaError
from atdata.samples.kinds.kind import Build, Codec, FieldType, Marker, Misfit, Parse, described, is_unicode
from atdata.samples.kinds.references import reference, references
from atdata.samples.npy import decode_array, encode_array

# numpy has several classes for one number, such as `longlong` and `int64`. Stored bytes bring back one of them.
PORTABLE: dict[type[np.generic], type[np.generic]] = {
    np.dtype(code).type: np.dtype(np.dtype(code).str).type
    for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
}

NUMBERS = {np.bool_, *PORTABLE.values()}
"""Scalar classes that say all of a dtype."""

_FORMAT, _PLAIN_VERSION, _TYPED_VERSION = "ndarrayBytes", "1.0.0", "1.1.0"
_SCALARS: dict[str, type[np.generic]] = {
    np.dtype(scalar).name: scalar
    for scalar in (
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float16, np.float32, np.float64, np.complex64, np.complex128, np.bool_),
    )
} | {"datetime64": np.datetime64, "timedelta64": np.timedelta64, "str": np.str_, "bytes": np.bytes_, "void": np.void}
_DTYPE_NAMES = {scalar: name for name, scalar in _SCALARS.items()}


@dataclass(frozen=True)
class Shape(Marker):
    """The shape of an array field, for `Annotated[NDArray[np.float32], Shape(None, 3)]`.

    `None` leaves a dimension open. `names` are shown to people and written to the schema.
    """

    dims: tuple[int | None, ...]
    names: tuple[str, ...] | None = None

    def __init__(self, *dims: int | None, names: typing.Iterable[str] | None = None) -> None:
        object.__setattr__(self, "dims", tuple(dims))
        object.__setattr__(self, "names", None if names is None else tuple(names))
        if not all(d is None or (type(d) is int and d >= 0) for d in dims):
            raise FieldTypeError("a shape takes non-negative sizes, or None for an open dimension", actual=dims)
        if self.names is not None and len(self.names) != len(self.dims):
            raise FieldTypeError("a shape needs one name per dimension", expected=len(dims), actual=len(self.names))
        given: tuple[object, ...] = self.names or ()
        if not all(isinstance(name, str) and is_unicode(name) for name in given):
            raise FieldTypeError("the names of dimensions must be texts", actual=ascii(self.names)[:80])

    def apply(self, inner: FieldType, path: str) -> FieldType:
        """See `Marker`."""
        if not isinstance(inner, Array):
            raise FieldTypeError(
                "a shape is given for a field that is not an array", path=path, expected="NDArray", actual=inner
            )
        return replace(inner, shape=self)

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """True if an array of this shape may stand in the field."""
        return len(shape) == len(self.dims) and all(d is None or d == n for d, n in zip(self.dims, shape, strict=True))

    def __str__(self) -> str:
        sizes = ["*" if d is None else str(d) for d in self.dims]
        if self.names is not None:
            sizes = [f"{name}: {size}" for name, size in zip(self.names, sizes, strict=True)]
        return "[" + ", ".join(sizes) + "]"


@dataclass(frozen=True)
class Array(FieldType):
    """A numpy array. `scalar` is the numpy scalar class its items must have, in any byte order; `None` is any."""

    scalar: type[np.generic] | None = None
    shape: Shape | None = None

    def __str__(self) -> str:
        dtype = "" if self.scalar is None else f"[{self.scalar.__name__}]"
        return f"NDArray{dtype}" + ("" if self.shape is None else f" {self.shape}")

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        if annotation is np.ndarray:
            return Array()
        if typing.get_origin(annotation) is not np.ndarray:
            return None
        args = typing.get_args(annotation)
        return Array(_scalar_class(args[1] if len(args) > 1 else Any, path), _static_shape(args[0]))

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        array: Any = np.ndarray if self.scalar is None else NDArray[self.scalar]  # type: ignore[name-defined]
        return array if self.shape is None else Annotated[array, self.shape]

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return self._encode

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return self._decode

    def _encode(self, value: Any) -> bytes:
        if not isinstance(value, np.ndarray):
            raise Misfit(str(self), described(value), hint="Pass a numpy array: np.asarray(value, dtype=...).")
        self.check_items(value.dtype, value.shape)
        try:
            return encode_array(value)
        except SampleError as error:
            raise Misfit(str(self), error.what, hint=error.hint) from None

    def _decode(self, value: Any) -> np.ndarray[Any, Any]:
        if type(value) is not bytes:
            raise Misfit(f"{self} as bytes", described(value))
        try:
            array = decode_array(value)
        except SampleError as error:
            raise Misfit(error.expected or str(self), ": ".join(filter(None, [error.what, error.actual]))) from None
        self.check_items(array.dtype, array.shape)
        return array

    def check_items(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Check that an array of this dtype and shape may stand in the field. Raises `Misfit`."""
        scalar = PORTABLE.get(dtype.type, dtype.type)
        if self.scalar is not None and not issubclass(scalar, self.scalar):
            hint = f"Convert it: array.astype(np.{self.scalar.__name__})."
            raise Misfit(str(self), f"NDArray[{dtype}] {list(shape)}", hint=hint)
        if self.shape is not None and not self.shape.fits(shape):
            raise Misfit(str(self), f"NDArray[{dtype}] {list(shape)}")

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        written: dict[str, Any] = {"$ref": reference(_FORMAT, self._version)}
        if self.scalar in _DTYPE_NAMES:
            written["dtype"] = _DTYPE_NAMES[self.scalar]
        if self.shape is not None:
            written["shape"] = list(self.shape.dims)
            if self.shape.names is not None:
                written["dimensionNames"] = list(self.shape.names)
        return written

    @property
    def _version(self) -> str:
        return _TYPED_VERSION if self.scalar in _DTYPE_NAMES or self.shape else _PLAIN_VERSION

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield _FORMAT, self._version

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """The kind that a node with one of `REFERENCES` says."""
        return Array(_read_dtype(node.get("dtype")), read_shape(node, path))

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: items of the same dtype, or of one it comprises; dimensions of the same names, if it names any."""
        alike = isinstance(stored, Array) and (
            self.scalar is None or (stored.scalar is not None and issubclass(stored.scalar, self.scalar))
        )
        if alike and self.shape is not None:
            shape = stored.shape if isinstance(stored, Array) else None
            alike = shape is not None and self.shape.fits(shape.dims) and self.shape.names in (None, shape.names)
        if not alike:
            raise Misfit(str(self), str(stored))

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`: lists in lists, of numbers of one kind in a known number of dimensions."""
        if self.scalar not in NUMBERS or self.shape is None:
            return None
        kind = pa.from_numpy_dtype(np.dtype(self.scalar))
        for _ in self.shape.dims:
            kind = pa.list_(kind)
        return kind

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return value.tolist() if self._is_known else unchanged_in_arrow(value)

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`: an array, or the lists that it became."""
        if isinstance(cell, np.ndarray) and cell.dtype != object:
            return cell
        concrete = self.scalar if self.scalar in NUMBERS else None
        array = np.array(cell.tolist() if hasattr(cell, "tolist") else cell, concrete)
        if self.shape is None or self.shape.fits(array.shape):
            return array
        sizes = [-1 if size is None else size for size in self.shape.dims]
        return array.reshape([0 if size < 0 and not array.size else size for size in sizes])

    @property
    def _is_known(self) -> bool:
        """True if the type says what its cells are."""
        return self.scalar in NUMBERS and self.shape is not None


def unchanged_in_arrow(array: NDArray[Any]) -> Any:
    """The items of an array as Arrow takes them without a change: it cuts texts at NUL, and takes 25 seconds for one."""
    if array.dtype.kind in "SU" or array.dtype == "M8[D]":
        return array.tolist()
    if array.dtype.kind in "mM" and (unit := np.datetime_data(array.dtype))[1] != 1:
        return array.astype(f"{array.dtype.kind}8[{unit[0]}]")
    return array


REFERENCES = references(_FORMAT, (_PLAIN_VERSION, _TYPED_VERSION))


def _scalar_class(dtype: Any, path: str) -> type[np.generic] | None:
    """The scalar class in `np.dtype[...]`, abstract ones (`np.floating`) included."""
    scalar = (*typing.get_args(dtype), dtype)[0]
    if scalar is Any or isinstance(scalar, TypeVar) or scalar is np.generic:
        return None
    if isinstance(scalar, type) and issubclass(scalar, np.object_):
        raise FieldTypeError(
            "an array of Python objects cannot be stored", path=path, hint="Use a numeric, bool, str or bytes dtype."
        )
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        return PORTABLE.get(scalar, scalar)
    return None  # a union of scalar classes: checked by the caller's type checker, open here


def _static_shape(shape: Any) -> Shape | None:
    """The shape in `np.ndarray[tuple[int, Literal[3]], ...]`; open where nothing is said."""
    args = typing.get_args(shape)
    if typing.get_origin(shape) is not tuple or Ellipsis in args:
        return None
    dims = []
    for arg in args:
        literal = typing.get_args(arg) if typing.get_origin(arg) is Literal else ()
        dims.append(literal[0] if len(literal) == 1 and isinstance(literal[0], int) else None)
    return Shape(*dims)


def _read_dtype(dtype: Any) -> type[np.generic] | None:
    """The scalar class a dtype annotation names; open where it names none known here."""
    text = dtype if isinstance(dtype, str) else ""
    if match := re.fullmatch(r"(datetime64|timedelta64|str|bytes|void)(?:\d{1,6}|\[[0-9A-Za-z]{1,8}\])?", text):
        return _SCALARS[match[1]]
    if re.fullmatch(r"[<>=|][iufcb]\d{1,2}", text):
        with suppress(TypeError):
            return np.dtype(text).type
    return _SCALARS.get(text)


def read_shape(node: Mapping[str, Any], path: str) -> Shape | None:
    """The shape that a node says; open where it says none."""
    dims, names = node.get("shape"), node.get("dimensionNames")
    if dims is None:
        return None
    valid = isinstance(dims, Sequence) and all(d is None or (type(d) is int and d >= 0) for d in dims)
    if not valid or isinstance(dims, str) or len(dims) > 32:
        raise SchemaError("an array field's shape is invalid", path=f"{path}.shape", actual=reprlib.repr(dims))
    named = isinstance(names, list) and len(names) == len(dims) and all(isinstance(n, str) for n in names)
    return Shape(*dims, names=names if named else None)
