"""One function for each kind of files, for who knows what a path holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from atdata.importers.images import TIFF
from atdata.importers.imported import Imported
from atdata.importers.opening import open_kind, open_pixels, stem, type_name_of
from atdata.importers.wanted import Wanted

_Path: TypeAlias = str | os.PathLike[str]


def _open(what: str, path: _Path, sample_type: type | None, schema: Mapping[str, Any] | None) -> Imported:
    return open_kind(what, path, Wanted.of(type_name_of(stem(path)), sample_type, schema))


def from_images(
    path: _Path, *, pixels: bool = False, sample_type: type | None = None, schema: Mapping[str, Any] | None = None
) -> Imported:
    """A folder of images as samples of `image`, `label` (the class that the folder around it is), `split` and `file`.

    Args:
        path: the folder.
        pixels: whether `image` is an array of pixels; by default it is an `Image`, the bytes of the file as they are.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`; an image that cannot be decoded is named.
    """
    if pixels:
        return open_pixels(path, Wanted.of(type_name_of(stem(path)), sample_type, schema))
    return _open("images", path, sample_type, schema)


def from_tiff(path: _Path, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None) -> Imported:
    """A TIFF file, or a folder of them, as samples of `image`, `label`, `split` and `file`. A stack is one array.

    `image` is `(height, width)` or `(height, width, channels)`, of several pages `(pages, height, width)`, with all bits;
    it is upright, white is the greatest number, and CMYK is RGB. Channels that are neither colours nor alpha are an error;
    smaller pictures of another page are left out.

    Args:
        path: the file or the folder.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`; pages that are not alike are an error.
    """
    return open_pixels(path, Wanted.of(type_name_of(stem(path)), sample_type, schema), TIFF)


def from_csv(path: _Path, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None) -> Imported:
    """A CSV file, or a folder of them, as samples of a field for each column. The first line names the columns.

    A column is int, float or bool where each of its cells is, else text. Text is always what stands in the file.

    Args:
        path: a file with `,`, tabs, `;` or `|` between cells, or a folder of such.
        sample_type: as for `atdata.open`; cells become what its fields are, dates and classes by name among them.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`; a cell that does not fit is named with file, line and column.
    """
    return _open("tables", path, sample_type, schema)


def from_jsonl(path: _Path, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None) -> Imported:
    """A file of JSON lines, or a folder of them, as samples of a field for each member. An object need not have all.

    Args:
        path: a file with an object a line, or a folder of such.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`.
    """
    return _open("JSON lines", path, sample_type, schema)


def from_parquet(path: _Path, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None) -> Imported:
    """A Parquet file, or a folder of them, as samples of a field for each column.

    Lists of numbers are arrays, times are arrays without dimensions, structs are dicts, decimals are text.

    Args:
        path: a file or a folder.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`.
    """
    return _open("Parquet files", path, sample_type, schema)


def from_npz(path: _Path, *, sample_type: type | None = None, schema: Mapping[str, Any] | None = None) -> Imported:
    """A `.npz` file as samples of a field for each array, one for each index of the first dimension; or a `.npy` file.

    Args:
        path: the file.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.

    Raises:
        AtdataError: as `atdata.open`.
    """
    return _open("arrays", path, sample_type, schema)
