"""The types a field can have, and their Python annotations.

The small algebra below is the only type language in atdata: annotations are read into it, schema records are
read into it and written from it, codecs are compiled from it. Nothing evaluates type expressions from text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union

import numpy as np

from atdata.errors import FieldTypeError

ScalarKind: TypeAlias = Literal["str", "int", "float", "bool", "bytes"]
PYTHON_TYPES: dict[ScalarKind, type] = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}


_ALIAS: Any = getattr(typing, "TypeAliasType", ())  # there from Python 3.12 on

# numpy has several classes for one number, such as `longlong` and `int64`. Stored bytes bring back one of them.
PORTABLE: dict[type[np.generic], type[np.generic]] = {
    np.dtype(code).type: np.dtype(np.dtype(code).str).type
    for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
}


@dataclass(frozen=True)
class Shape:
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

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """True if an array of this shape may stand in the field."""
        return len(shape) == len(self.dims) and all(d is None or d == n for d, n in zip(self.dims, shape, strict=True))

    def __str__(self) -> str:
        return "[" + ", ".join("*" if d is None else str(d) for d in self.dims) + "]"


@dataclass(frozen=True)
class Scalar:
    """A Python `str`, `int` (64 bit), `float` (IEEE double), `bool` or `bytes`."""

    kind: ScalarKind

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Array:
    """A numpy array. `scalar` is the numpy scalar class its items must have, in any byte order; `None` is any."""

    scalar: type[np.generic] | None = None
    shape: Shape | None = None

    def __str__(self) -> str:
        dtype = "" if self.scalar is None else f"[{self.scalar.__name__}]"
        return f"NDArray{dtype}" + ("" if self.shape is None else f" {self.shape}")


@dataclass(frozen=True)
class ListOf:
    """A list with items of one type."""

    item: FieldType

    def __str__(self) -> str:
        return f"list[{self.item}]"


@dataclass(frozen=True)
class DictOf:
    """A dict from `str` to values of one type."""

    value: FieldType

    def __str__(self) -> str:
        return "dict" if isinstance(self.value, Plain) else f"dict[str, {self.value}]"


@dataclass(frozen=True)
class Plain:
    """Any value made of None, bool, int, float, str, bytes, list and dict with `str` keys."""

    def __str__(self) -> str:
        return "Any"


@dataclass(frozen=True)
class Maybe:
    """A value that may be `None`."""

    inner: FieldType

    def __str__(self) -> str:
        return f"{self.inner} | None"


FieldType: TypeAlias = Scalar | Array | ListOf | DictOf | Plain | Maybe


@dataclass(frozen=True)
class Field:
    """One field of a sample type."""

    name: str
    type: FieldType
    default: Callable[[], Any] | None = None

    @property
    def required(self) -> bool:
        """True if stored samples must carry the field: it has no default and may not be `None`."""
        return not isinstance(self.type, Maybe) and self.default is None

    def missing(self) -> Any:
        """The value of a field that a stored sample does not carry."""
        return None if self.default is None else self.default()


def accepts(wide: FieldType, narrow: FieldType) -> bool:
    """True if every value of the type `narrow` is a value of the type `wide`."""
    if wide == narrow:
        return True
    match wide, narrow:
        case Maybe(inner), Maybe(other):
            return accepts(inner, other)
        case Maybe(inner), _:
            return accepts(inner, narrow)
        case Array(scalar, shape), Array(other_scalar, other_shape):
            fits = scalar is None or (other_scalar is not None and issubclass(other_scalar, scalar))
            return fits and (shape is None or (other_shape is not None and shape.fits(other_shape.dims)))
        case (ListOf(inner), ListOf(other)) | (DictOf(inner), DictOf(other)):
            return accepts(inner, other)
        case Plain(), ListOf(inner) | DictOf(inner) | Maybe(inner):
            return accepts(wide, inner)
        case Plain(), Scalar():
            return True
    return False


def parse_annotation(annotation: Any, path: str) -> FieldType:
    """The field type that a resolved annotation stands for.

    Raises:
        FieldTypeError: no sample can hold such a field; `path` names it.
    """
    annotation = meaning(annotation)
    for kind, cls in PYTHON_TYPES.items():
        if annotation is cls:
            return Scalar(kind)
    if annotation is Any:
        return Plain()
    if annotation is np.ndarray:
        return Array()
    if annotation is dict:
        return DictOf(Plain())
    if annotation is list:
        return ListOf(Plain())
    return _parse_generic(annotation, path)


def meaning(annotation: Any) -> Any:
    """The type that an alias made by a `type` statement (PEP 695) stands for. From Python 3.12 on, numpy's `NDArray` is one."""
    alias, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if not isinstance(alias, _ALIAS):
        return annotation
    value: Any = alias.__value__
    if args:
        given = dict(zip(alias.__type_params__, args, strict=True))
        value = value[tuple(given[parameter] for parameter in value.__parameters__)]
    return meaning(value)


def _parse_generic(annotation: Any, path: str) -> FieldType:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = parse_annotation(args[0], path)
        shapes = [extra for extra in args[1:] if isinstance(extra, Shape)]
        if not shapes:
            return inner
        return _with_shape(inner, shapes[-1], path)
    if origin is Union or origin is types.UnionType:
        members = [arg for arg in args if arg is not type(None)]
        if len(members) == 1 and len(args) == 2:
            inner = parse_annotation(members[0], path)
            return inner if isinstance(inner, Maybe) else Maybe(inner)
    if origin in (list, dict) and not args:  # typing.List, typing.Dict
        return parse_annotation(origin, path)
    if origin is list and len(args) == 1:
        return ListOf(parse_annotation(args[0], f"{path}[]"))
    if origin is dict and len(args) == 2 and args[0] is str:
        return DictOf(parse_annotation(args[1], f"{path}[]"))
    if origin is np.ndarray:
        return Array(_scalar_class(args[1] if len(args) > 1 else Any, path), _static_shape(args[0]))
    raise FieldTypeError(
        f"field type {_name(annotation)} is not supported",
        path=path,
        actual=_name(annotation),
        hint=_way_out(annotation),
    )


def _with_shape(inner: FieldType, shape: Shape, path: str) -> FieldType:
    if isinstance(inner, Maybe):
        return Maybe(_with_shape(inner.inner, shape, path))
    if not isinstance(inner, Array):
        raise FieldTypeError(
            "a shape is given for a field that is not an array", path=path, expected="NDArray", actual=inner
        )
    return Array(inner.scalar, shape)


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


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _way_out(annotation: Any) -> str:
    origin = typing.get_origin(annotation) or annotation
    if origin in (tuple, set, frozenset):
        return "Use list[...]."
    if origin is Literal:
        return "Use str or int."
    return "Use str, int, float, bool, bytes, list[T], dict[str, T], NDArray[...], or one of them | None."
