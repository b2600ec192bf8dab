"""Sparse matrices of scipy, as `scipy.sparse.save_npz` stores them: the lexicon's `sparseBytes`."""

from __future__ import annotations

import io
import typing
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from atdata.errors import MissingExtraError, SampleError
from atdata.samples.kinds.costly import Costly
from atdata.samples.kinds.kind import OURS, Build, FieldType, Misfit, Parse, described, unfit
from atdata.samples.kinds.references import reference, references
from atdata.samples.npy import decode_array, encode_array

FORMAT, VERSION = "sparseBytes", "1.0.0"
REFERENCES = references(FORMAT)
MAX_SIZE = 1 << 30
"""Bytes of the arrays of a compressed matrix: more are not made of what a stranger sent."""

_MEMBERS = {
    "csr": ("indices", "indptr"),
    "csc": ("indices", "indptr"),
    "bsr": ("indices", "indptr"),
    "coo": ("row", "col"),
    "dia": ("offsets",),
}
_ANY = ("sparray", "spmatrix")
_NAMES = (*_ANY, *(f"{form}_{kind}" for form in _MEMBERS for kind in ("array", "matrix")))
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError, OSError)


@dataclass(frozen=True)
class SparseOf(Costly):
    """A sparse matrix.

    Attributes:
        name: of the class in `scipy.sparse`; `sparray` and `spmatrix` are of any format.
    """

    label = "sparse"

    name: str = "sparray"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        found = typing.get_origin(annotation) or annotation
        if not isinstance(found, type) or not found.__module__.startswith("scipy.sparse"):
            return None
        if found.__name__ not in _NAMES:
            raise unfit(annotation, path, "Use scipy.sparse.csr_array.")
        return SparseOf(found.__name__)

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return getattr(_scipy(), self.name)

    def to_bytes(self, value: Any) -> bytes:
        """See `Costly`."""
        return _archive(self._members(value))

    def state(self, value: Any) -> bytes:
        """See `Costly`: the members of the archive, each of which says how long it is."""
        return b"".join(content for _, content in self._members(value))

    def _members(self, value: Any) -> tuple[tuple[str, bytes], ...]:
        name = type(value).__name__
        if not type(value).__module__.startswith("scipy.sparse") or name not in _NAMES or not self._takes(name):
            raise Misfit(self.name, described(value), hint=f"Convert it: scipy.sparse.{self._one}(value).")
        if value.ndim != 2:
            raise Misfit(f"{self.name} of 2 dimensions", f"{name} of {value.ndim}")
        form, kind = value.format, _IS_ARRAY if name.endswith("array") else ()
        try:
            places = [_member(part, getattr(value, part)) for part in _MEMBERS[form]]
            return (*places, *_head(form, value.shape), _member("data", value.data), *kind)
        except SampleError as error:
            raise Misfit(self.name, error.what, hint=error.hint) from None

    def from_bytes(self, data: bytes) -> Any:
        """See `Costly`."""
        scipy = _scipy()
        try:
            parts = _read(data)
            form = bytes(parts["format"].item()).decode("ascii")
            name = f"{form}_{'array' if bool(parts.get('_is_array', False)) else 'matrix'}"
            if form not in _MEMBERS or not self._takes(name):
                raise Misfit(self.name, f"a stored {name:.40}")
            return _built(getattr(scipy, name), form, parts)
        except (*_DAMAGE, SampleError, ValueError, TypeError, IndexError, OverflowError, AttributeError) as error:
            raise Misfit(f"{self.name}, as bytes of save_npz", f"{type(error).__name__}: {error}"[:120]) from None

    def _takes(self, name: str) -> bool:
        return name == self.name or (self.name in _ANY and name.endswith("matrix") == (self.name == "spmatrix"))

    @property
    def _one(self) -> str:
        return {"sparray": "csr_array", "spmatrix": "csr_matrix"}.get(self.name, self.name)

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"$ref": reference(FORMAT), OURS: {"class": self.name}}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield FORMAT, VERSION

    @classmethod
    def read_reference(cls, node: Mapping[str, Any], path: str) -> FieldType:
        """The kind that a node with one of `REFERENCES` says; matrices where it names no class, as others write them."""
        ours = node.get(OURS)
        name = ours.get("class") if isinstance(ours, Mapping) else None
        return SparseOf(name if name in _NAMES else "spmatrix")

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        if not isinstance(stored, SparseOf) or not self._takes(stored.name):
            raise Misfit(str(self), str(stored))


def stacked(name: str, matrices: Sequence[Any]) -> Any:
    """Sparse matrices below each other, as one `csr_array`.

    Raises:
        MissingExtraError: scipy is not installed.
        SampleError: one is none, or they differ in their number of columns; `path` names it.
    """
    scipy = _scipy()
    for number, matrix in enumerate(matrices):
        if not scipy.issparse(matrix) or matrix.shape[1] != matrices[0].shape[1]:
            raise SampleError(
                "the values of a field cannot be one sparse matrix",
                path=f"{name}[{number}]",
                expected="sparse matrices of one number of columns",
                actual=f"{type(matrix).__name__} {list(getattr(matrix, 'shape', ()))}",
            )
    return scipy.csr_array(scipy.vstack(matrices, format="csr")) if len(matrices) else scipy.csr_array((0, 0))


def _member(name: str, array: Any) -> tuple[str, bytes]:
    return f"{name}.npy", encode_array(np.asarray(array))


_IS_ARRAY = (_member("_is_array", True),)


@lru_cache(maxsize=256)
def _head(form: str, shape: tuple[int, ...]) -> tuple[tuple[str, bytes], ...]:
    return _member("format", form.encode()), _member("shape", np.array(shape, "<i8"))


def _archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An archive as numpy writes it, the same on every machine: nothing is compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            archive.writestr(member, content)
    return file.getvalue()


def _read(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > 10 or sum(member.file_size for member in members) > max(MAX_SIZE, len(data)):
            raise ValueError("larger than what is read")
        return {member.filename.removesuffix(".npy"): decode_array(archive.read(member)) for member in members}


def _built(kind: Any, form: str, parts: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    shape = tuple(int(size) for size in parts["shape"])
    data, places = parts["data"], [parts[name] for name in _MEMBERS[form]]
    if len(shape) != 2 or any(place.dtype.kind not in "iu" for place in places):
        raise ValueError("not two dimensions, or places that are no numbers")
    given = (data, tuple(places)) if form == "coo" else (data, *places)
    matrix = kind(given, shape=shape)
    if form in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)  # what points outside would be read there
        matrix.indices, matrix.indptr = places  # of the integers that they were
    elif form == "coo":
        matrix.row, matrix.col = places
    else:
        (matrix.offsets,) = places
    matrix.data = data
    return matrix


@lru_cache(maxsize=1)
def _scipy() -> Any:
    try:
        import scipy.sparse
    except ImportError as error:
        raise MissingExtraError.of("sparse", "a field of sparse matrices") from error
    return scipy.sparse
