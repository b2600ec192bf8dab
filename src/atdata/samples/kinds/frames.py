"""Frames of pandas and polars, as Parquet files: the lexicon's `dataframe`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np

from atdata.errors import MissingExtraError
from atdata.samples.kinds.costly import Costly
from atdata.samples.kinds.kind import OURS, Build, FieldType, Misfit, Parse, described
from atdata.samples.kinds.references import reference, references

FORMAT, VERSION = "dataframe", "1.0.0"
REFERENCES = references(FORMAT)

_FROZEN = (str, bytes, bool, int, float, type(None))
_LIBRARIES = ("pandas", "polars")
_REFUSALS = (ValueError, TypeError, KeyError, OSError, NotImplementedError, ArithmeticError)


@dataclass(frozen=True)
class FrameOf(Costly):
    """A frame.

    Attributes:
        library: `pandas` or `polars`.
    """

    label = "frame"

    library: str = "pandas"

    def __str__(self) -> str:
        return f"{self.library}.DataFrame"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        named = isinstance(annotation, type) and annotation.__name__ == "DataFrame"
        library = annotation.__module__.split(".")[0] if named else ""
        return FrameOf(library) if library in _LIBRARIES else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return _library(self.library).DataFrame

    def to_bytes(self, value: Any) -> bytes:
        """See `Costly`."""
        library = _library(self.library)
        if not isinstance(value, library.DataFrame):
            raise Misfit(str(self), described(value))
        file = io.BytesIO()
        try:
            if self.library == "pandas":
                value.to_parquet(file, engine="pyarrow")
            else:
                value.write_parquet(file)
        except self._refusals as error:
            raise Misfit(f"{self} that Parquet can hold", f"{type(error).__name__}: {error}"[:120]) from None
        return file.getvalue()

    def from_bytes(self, data: bytes) -> Any:
        """See `Costly`."""
        library, file = _library(self.library), io.BytesIO(data)
        try:
            return library.read_parquet(file, **({"engine": "pyarrow"} if self.library == "pandas" else {}))
        except self._refusals as error:
            raise Misfit(f"{self}, as Parquet", f"{type(error).__name__}: {error}"[:120]) from None

    def copier(self, value: Any, pickled: bytes) -> Callable[[], Any]:
        """See `Costly`. Pandas copies faster than it unpickles, but all that its cells refer to is shared."""
        flat = self.library == "pandas" and _is_flat(value)
        return partial(_copy, value, range(len(value.columns))) if flat else super().copier(value, pickled)

    @property
    def _refusals(self) -> tuple[type[BaseException], ...]:
        if self.library == "polars":
            return (*_REFUSALS, _library("polars").exceptions.PolarsError)
        return (*_REFUSALS, importlib.import_module("pyarrow").ArrowException)

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"$ref": reference(FORMAT), OURS: {"library": self.library}}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield FORMAT, VERSION

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """The kind that a node with one of `REFERENCES` says; of pandas where it names no library, as others write them."""
        ours = node.get(OURS)
        library = ours.get("library") if isinstance(ours, Mapping) else None
        return FrameOf(library if library in _LIBRARIES else "pandas")


def _is_flat(frame: Any) -> bool:
    """True if nothing can be changed in a frame of pandas but its cells and the names of its columns."""
    if type(frame.index).__name__ != "RangeIndex" or frame.attrs:
        return False
    objects = [frame.iloc[:, at] for at, dtype in enumerate(frame.dtypes) if dtype == np.dtype("O")]
    cells = chain(frame.columns, *objects)
    return all(isinstance(kind, np.dtype) for kind in (frame.columns.dtype, *frame.dtypes)) and all(
        type(cell) in _FROZEN for cell in cells
    )


def _copy(frame: Any, places: Sequence[int]) -> Any:
    made = frame.copy()
    made.columns = frame.columns.take(places)  # which `copy` shares
    return made


@lru_cache(maxsize=2)
def _library(name: str) -> Any:
    try:
        if name == "pandas":
            importlib.import_module("pyarrow.parquet")
            import pandas as pd

            return pd
        import polars as pl
    except ImportError as error:
        raise MissingExtraError.of("frames", f"a field of frames of {name}") from error
    return pl
