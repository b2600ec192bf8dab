"""Importing of arrays: `.npz`, and `.npy` with one row per item. Rows are streamed, nothing is unpickled.

What a file's headers announce is compared with the bytes that are there before any memory is taken for it.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from atdata.errors import SampleError, UsageError
from atdata.importers.bounds import Bounds
from atdata.importers.files import Snapshot, decoding, passed_over
from atdata.importers.imported import Imported
from atdata.importers.rows import import_mappings
from atdata.importers.wanted import Wanted
from atdata.loading.splits import split_of
from atdata.samples.npy import decode_array, encode_array

CHUNK = 1 << 16
_COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others are unpacked whole, however little is read of them
_NAME = "data"  # of the one column of a .npy file without fields


@dataclass(frozen=True)
class StoredArray:
    """An array in a file: what its header says.

    Attributes:
        start: where its items begin.
        whole: whether it can only be read at once: Fortran order, or a header that numpy reads in private.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    whole: bool


def open_npz(path: Path, wanted: Wanted) -> Imported:
    """Each array of a `.npz` as a column, each index of the first dimension as a row.

    Of 1-d arrays the rows are bool, int, float, str or bytes; of others, and of 1-d arrays of what Python has no
    scalar for (times, complex, structured), the rows are arrays.

    Raises:
        SampleError: it cannot be read, holds Python objects, or its headers lie.
        UsageError: its arrays have no rows, or not the same number of rows.
    """
    files = Snapshot.of([path])
    bounds = Bounds(path, path.stat().st_size)
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if not info.is_dir()}
        others = [name for name, info in members.items() if info.filename == name]
        if len(members) < sum(not info.is_dir() for info in archive.infolist()):
            raise SampleError(
                "an .npz file has two arrays of one name", uri=str(path), hint="Save it again with other names."
            )
        arrays = {}
        for name in members.keys() - set(others):
            if members[name].compress_type not in _COMPRESSED:
                raise SampleError(
                    "an array's compression is not supported",
                    uri=str(path),
                    path=name,
                    hint="Write it with numpy.savez_compressed.",
                )
            with archive.open(members[name]) as file:
                arrays[name] = _look(file, members[name].file_size, name, bounds)
        bounds.check_total(sum(members[name].file_size for name in arrays), "its arrays")
    arrays = {name: arrays[name] for name in members if name in arrays}
    count = _count(arrays, str(path))

    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        with _readable(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
            opened = [stack.enter_context(archive.open(members[name])) for name in arrays]
            columns = [_rows(file, array) for file, array in zip(opened, arrays.values(), strict=True)]
            for number in range(count):
                yield f"row {number}", {name: next(rows) for name, rows in zip(arrays, columns, strict=True)}
            for file in opened:
                _finish(file)

    notes = passed_over(others, "no arrays")
    return import_mappings(
        "arrays (.npz)", wanted, {split_of((path.name,)): read}, uri=str(path), files=files, notes=notes
    )


def open_npy(path: Path, wanted: Wanted) -> Imported:
    """Each item of a `.npy` as a row, with a column for each field of its dtype, or one called `data`.

    Raises:
        SampleError, UsageError: as `open_npz`.
    """
    files = Snapshot.of([path])
    with _readable(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        array = _look(file, size, _NAME, Bounds(path, size))
    fields = array.dtype.names if len(array.shape) == 1 else None
    _count({_NAME: array}, str(path))

    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        with _readable(path), path.open("rb") as file:
            records = itertools.chain.from_iterable(_records(block, fields) for block in _blocks(file, array))
            for number, record in enumerate(records):
                yield f"row {number}", dict(zip(fields or (_NAME,), record, strict=True))

    return import_mappings("arrays (.npy)", wanted, {split_of((path.name,)): read}, uri=str(path), files=files)


def _readable(path: Path) -> AbstractContextManager[None]:
    damage = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)
    return decoding(path, "a file of arrays is malformed", damage, "Save it again.")


def _look(file: IO[bytes], size: int, name: str, bounds: Bounds) -> StoredArray:
    """Read an array's header, and compare it with the bytes that its file says it has."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2
            version = npy_format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                bounds.check_held(size, name)
                return _look_whole(file, version, name)
            read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, fortran, dtype = read_header(file)
    except ValueError as error:
        raise SampleError("an array's header is malformed", path=name, actual=f"{error}"[:200]) from error
    if dtype.hasobject:
        raise SampleError(
            "an array of Python objects is never read",
            path=name,
            hint="Save it with a numeric, bool or str dtype: array.astype(...).",
        )
    announced = file.tell() + math.prod(shape) * dtype.itemsize
    if announced != size or any(length < 0 for length in shape):
        raise SampleError(
            "an array's header does not match its bytes", path=name, expected=f"{size} bytes", actual=announced
        )
    whole = fortran and len(shape) > 1
    bounds.check_held(announced if whole else math.prod(shape[1:]) * dtype.itemsize, name)
    return StoredArray(name, dtype, shape, file.tell(), whole)


def _look_whole(file: IO[bytes], version: tuple[int, int], name: str) -> StoredArray:
    array = decode_array(npy_format.magic(*version) + file.read())
    return StoredArray(name, array.dtype, array.shape, 0, whole=True)


def _count(arrays: Mapping[str, StoredArray], uri: str) -> int:
    """The number of rows that all arrays have.

    Raises:
        UsageError: they do not have the same number, or none.
    """
    if not arrays:
        raise UsageError("an .npz file has no arrays", uri=uri)
    for name, array in arrays.items():
        if not array.shape:
            raise UsageError(
                f"{name!r} is a single value and has no rows",
                uri=uri,
                path=name,
                hint="Save only arrays that have one item per row; what holds for all rows belongs in the metadata.",
            )
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(
            "arrays have different numbers of rows",
            uri=uri,
            actual=", ".join(f"{name}: {length}" for name, length in lengths.items()),
            hint="Save one file for each group of arrays that belong together, such as one for each split.",
        )
    if not any(array.dtype.itemsize * math.prod(array.shape) for array in arrays.values()):
        raise UsageError("there are no samples", uri=uri, actual="arrays without items")
    return next(iter(lengths.values()))


def _rows(file: IO[bytes], array: StoredArray) -> Iterator[Any]:
    try:
        for block in _blocks(file, array):
            yield from _values(block)
    except SampleError as error:
        error.path = error.path or array.name
        raise


def _blocks(file: IO[bytes], array: StoredArray) -> Iterator[np.ndarray[Any, Any]]:
    """A stored array in pieces of some rows, each with memory of its own."""
    if array.whole:
        yield decode_array(file.read())
        return
    _read_exactly(file, array.start)
    length, *row = array.shape
    size = array.dtype.itemsize * math.prod(row)
    most = max(1, CHUNK // max(size, 1))
    for start in range(0, length, most):
        count = min(most, length - start)
        data = bytearray(_read_exactly(file, count * size))
        yield np.ndarray((count, *row), array.dtype, data)


def _records(block: np.ndarray[Any, Any], fields: tuple[str, ...] | None) -> Iterator[tuple[Any, ...]]:
    columns = [block[name] for name in fields] if fields else [block]
    return zip(*map(_values, columns), strict=True)


def _values(block: np.ndarray[Any, Any]) -> Sequence[Any]:
    """The rows of a block: Python scalars where Python has them, else arrays."""
    kind, size = block.dtype.kind, block.dtype.itemsize
    if block.ndim == 1 and (kind in "biuUS" or (kind == "f" and size <= 8)):
        if kind == "U":
            encode_array(block)  # refuses what is no Unicode; numpy itself stumbles over it
        return list(block.tolist())
    return [block[index, ...] for index in range(len(block))]


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise SampleError("an array ends before its last row", expected=f"{size} bytes", actual=f"{len(data)} bytes")
    return data


def _finish(file: IO[bytes]) -> None:
    """Read to the end, where `zipfile` checks the sum over all bytes."""
    if file.read(1):
        raise SampleError("an array has bytes after its last row")
