"""Dicts of arrays as one file of safetensors: the lexicon's format of that name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np

from atdata.errors import FieldTypeError, MissingExtraError
from atdata.samples.kinds.arrays import Array
from atdata.samples.kinds.containers import DictOf
from atdata.samples.kinds.kind import OURS, Build, Derived, FieldType, Marker, Misfit, Parse, described
from atdata.samples.kinds.references import reference, references
from atdata.samples.kinds.scalars import Scalar, encode_str

FORMAT, VERSION = "safetensors", "1.0.0"
REFERENCES = references(FORMAT)

_TYPES = frozenset(
    np.dtype(name) for name in ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
)
_RESERVED = "__metadata__"


@dataclass(frozen=True)
class Safetensors(Marker):
    """The word that arrays are stored as one file of safetensors, for `Annotated[dict[str, NDArray[Any]], Safetensors()]`."""

    def apply(self, inner: FieldType, path: str) -> FieldType:
        """See `Marker`."""
        if not isinstance(inner, DictOf) or type(inner.inner) is not Array:
            raise FieldTypeError(
                "safetensors hold arrays by name", path=path, expected="dict[str, NDArray[...]]", actual=inner
            )
        return SafetensorsOf(inner.inner)


@dataclass(frozen=True)
class SafetensorsOf(Derived):
    """Arrays by name in one file, and by name in order: a file keeps no other.

    Attributes:
        inner: the kind of the arrays.
    """

    label = "safetensors"

    inner: Array

    def __str__(self) -> str:
        return f"safetensors[str, {self.inner}]"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`: only a marker says it."""
        return None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return Annotated[DictOf(self.inner).annotation(build), Safetensors()]

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("bytes")

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, dict):
            raise Misfit(str(self), described(value))
        arrays, name = {}, None
        try:
            for name, array in value.items():
                if encode_str(name) == _RESERVED:
                    raise Misfit("a name of one's own", _RESERVED)
                if not isinstance(array, np.ndarray):
                    raise Misfit(str(self.inner), described(array))
                if array.dtype not in _TYPES or not array.dtype.isnative:
                    raise Misfit("numbers of 8 to 64 bits in this machine's order of bytes", described(array))
                self.inner.check_items(array.dtype, array.shape)
                arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        except Misfit as misfit:
            raise misfit.under(f"[{name!r:.60}]") from None
        return bytes(_driver().numpy.save(arrays))

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        driver = _driver()
        try:
            arrays = driver.numpy.load(stored)
        except (driver.SafetensorError, ValueError, TypeError, KeyError) as error:
            raise Misfit(f"{self}, as bytes", str(error)[:120]) from None
        for name, array in arrays.items():
            try:
                self.inner.check_items(array.dtype, array.shape)
            except Misfit as misfit:
                raise misfit.under(f"[{name!r:.60}]") from None
        return {name: array if array.flags.writeable else array.copy() for name, array in sorted(arrays.items())}

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        said = {} if self.inner == Array() else {OURS: {"items": self.inner.write()}}
        return {"$ref": reference(FORMAT), **said}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield FORMAT, VERSION

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """The kind that a node with one of `REFERENCES` says."""
        ours = node.get(OURS)
        items = ours.get("items") if isinstance(ours, Mapping) else None
        inner = Array.read_reference(items, f"{path}.{OURS}.items") if isinstance(items, Mapping) else Array()
        return SafetensorsOf(inner if isinstance(inner, Array) else Array())

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        if not isinstance(stored, SafetensorsOf):
            raise Misfit(str(self), str(stored))
        self.inner.check_reads(stored.inner)


@lru_cache(maxsize=1)
def _driver() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError.of("safetensors", "a field of safetensors") from error
    return safetensors
