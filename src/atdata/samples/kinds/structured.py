"""Structured arrays of numpy: the lexicon's `structuredBytes`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import FieldTypeError, SampleError
from atdata.samples.kinds.arrays import Array, read_shape
from atdata.samples.kinds.kind import OURS, Build, FieldType, Marker, Misfit, Parse, malformed
from atdata.samples.kinds.references import reference, references
from atdata.samples.npy import parse_descr, portable_descr

FORMAT, VERSION = "structuredBytes", "1.0.0"
REFERENCES = references(FORMAT)


@dataclass(frozen=True)
class Dtype(Marker):
    """The fields of a structured array, for `Annotated[NDArray[np.void], Dtype([("x", "<f4"), ("at", "<i8", (3,))])]`.

    Args:
        dtype: as numpy takes it; without one, the arrays of a field may have any fields.

    Attributes:
        fields: name, type and, for arrays in a field, shape of each; `None` for any.
    """

    fields: tuple[Any, ...] | None

    def __init__(self, dtype: Any = None) -> None:
        fields = None
        if dtype is not None:
            try:
                fields = _frozen(portable_descr(np.dtype(dtype)))
                json.dumps(fields, ensure_ascii=False).encode()  # names may be no Unicode, which is a ValueError
            except (SampleError, TypeError, ValueError) as error:
                raise FieldTypeError("a structured array has no such fields", actual=str(error)[:120]) from error
            if not isinstance(fields, tuple):
                raise FieldTypeError(
                    "a dtype has no fields", actual=dtype, hint="Use NDArray[np.float32] and the like."
                )
        object.__setattr__(self, "fields", fields)

    def apply(self, inner: FieldType, path: str) -> FieldType:
        """See `Marker`."""
        if not isinstance(inner, Array) or inner.scalar is not np.void:
            raise FieldTypeError(
                "fields are given for what is no structured array", path=path, expected="NDArray[np.void]", actual=inner
            )
        return StructuredOf(np.void, inner.shape, self.fields)


@dataclass(frozen=True)
class StructuredOf(Array):
    """A structured array.

    Attributes:
        fields: as in `Dtype`.
    """

    fields: tuple[Any, ...] | None = None

    def __str__(self) -> str:
        names = "" if self.fields is None else f" ({', '.join(str(field[0]) for field in self.fields)})"
        return f"{Array.__str__(self)}{names}"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`: only a marker says it."""
        return None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        marker = Dtype(None if self.fields is None else _thawed(self.fields))
        said = [marker] if self.shape is None else [self.shape, marker]
        return Annotated[(NDArray[np.void], *said)]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of its items; `None` where that may be any."""
        return None if self.fields is None else _dtype(self.fields)

    def check_items(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """See `Array`."""
        super().check_items(dtype, shape)
        if dtype.names is None or self.dtype not in (None, dtype):
            raise Misfit(str(self), f"NDArray[{dtype}] {list(shape)}")

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        written: dict[str, Any] = {"$ref": reference(FORMAT)}
        if self.shape is not None:
            written |= {"shape": list(self.shape.dims)}
            written |= {} if self.shape.names is None else {"dimensionNames": list(self.shape.names)}
        return written if self.fields is None else {**written, OURS: {"dtype": _listed(self.fields)}}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield FORMAT, VERSION

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """See `Array`."""
        ours = node.get(OURS)
        dtype = ours.get("dtype") if isinstance(ours, Mapping) else None
        fields = None
        if dtype is not None:
            try:
                fields = Dtype(parse_descr(_thawed(dtype))).fields
            except (SampleError, FieldTypeError, TypeError, ValueError, RecursionError):
                raise malformed(f"{path}.atdata.dtype", "the fields of a structured array") from None
        return StructuredOf(np.void, read_shape(node, path), fields)

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        super().check_reads(stored)
        if not isinstance(stored, StructuredOf) or self.fields not in (None, stored.fields):
            raise Misfit(_detailed(self), _detailed(stored))

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`: what is stored."""
        return pa.binary()

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return self.encoder(value)

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`."""
        return cell if isinstance(cell, np.ndarray) else self.decoder(cell)


def _detailed(kind: FieldType) -> str:
    """A kind with all that is known of its fields: two may have the same names."""
    return f"{kind} {kind.fields}" if isinstance(kind, StructuredOf) and kind.fields is not None else str(kind)


@lru_cache(maxsize=1024)
def _dtype(fields: tuple[Any, ...]) -> np.dtype[Any]:
    return parse_descr(_thawed(fields))


def _frozen(descr: Any) -> Any:
    """A description of a dtype as tuples in each other."""
    return tuple(map(_frozen, descr)) if isinstance(descr, list | tuple) else descr


def _listed(descr: Any) -> Any:
    """The same as lists, for JSON."""
    return [_listed(part) for part in descr] if isinstance(descr, tuple) else descr


def _thawed(descr: Any) -> Any:
    """The same as numpy has it: a list of tuples."""
    if not isinstance(descr, list | tuple):
        return descr
    if all(isinstance(part, list | tuple) for part in descr):
        return [_field(part) for part in descr]
    return tuple(descr)


def _field(part: Any) -> tuple[Any, ...]:
    name, kind, *shape = part
    title = tuple(name) if isinstance(name, list | tuple) else name
    return (title, _thawed(kind), *map(tuple, shape))
