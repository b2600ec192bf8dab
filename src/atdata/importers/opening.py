"""The importer of a path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atdata.arguments import path_text
from atdata.errors import ShardNotFoundError, UsageError
from atdata.importers import cells, delimited, images, jsonl, npz, parquet, shards
from atdata.importers.files import Folder, is_folder
from atdata.importers.imported import Imported
from atdata.importers.wanted import Wanted
from atdata.loading.splits import split_of
from atdata.shards.braces import names_in
from atdata.shards.urls import scheme_of

SUPPORTED = (
    "a folder of images (class folders or flat), a .tif, .npz, .npy or .h5ad file, a .csv, .tsv, .jsonl or .parquet file or a folder "
    "of them, .tar shards (one, brace notation, or a folder of them)"
)
_ARRAYS = {".npz": npz.open_npz, ".npy": npz.open_npy}
_SINGLE: dict[str, Callable[[Path, Wanted], Imported]] = {**_ARRAYS, ".h5ad": cells.open_h5ad}
_KINDS = {
    "Parquet files": (parquet.SUFFIXES, parquet.open_files),
    "shards": (shards.SUFFIXES, shards.open_files),
    "JSON lines": (jsonl.SUFFIXES, jsonl.open_files),
    "tables": (delimited.SUFFIXES, delimited.open_files),
}
_FILES = {suffix: open_files for suffixes, open_files in _KINDS.values() for suffix in suffixes}
_FOLDERS = {"images": images.SUFFIXES, **{what: suffixes for what, (suffixes, _) in _KINDS.items()}}


def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    sample_type: type | None = None,
    schema: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Imported:
    """The contents of a path as typed samples: a folder of images, a TIFF file, CSV, JSON lines, Parquet, `.npz`, `.h5ad`, or shards.

    Every row is looked at once: the type is inferred from all of them, and what can be no sample is an error here.

    Args:
        path: a file or folder, or shards in brace notation or at URLs.
        sample_type: a class with `@packable` in place of the inferred type; its fields are called as columns are.
        schema: the annotations of some columns, `{"zip": str}`; those of others are inferred.
        name: what to call the inferred type; by default as the file is called.

    Raises:
        UsageError: the path is of no kind that is taken, holds no rows, or has no column for a field.
        ShardNotFoundError: there is nothing at the path.
        MissingExtraError: reading images needs [images], reading Parquet [tables].
        SampleError: something in it cannot be read, or fits no sample type; `path` says where.
        FieldTypeError: `sample_type` is none, or an annotation in `schema` is none of a field.
        ShardError: a shard is damaged.
        StorageError: a file may not be read.
    """
    return open_wanted(path, Wanted.of(name or type_name_of(stem(path)), sample_type, schema))


def open_path(path: str | os.PathLike[str], type_name: str) -> Imported:
    """The contents of a path as samples of an inferred type with a name; see `open`."""
    return open_wanted(path, Wanted(type_name))


def type_name_of(name: str) -> str:
    """A type name from a dataset's name: `my-digits` is `MyDigits`."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    return joined if joined and not joined[0].isdigit() else f"Sample{joined}"


def stem(path: str | os.PathLike[str]) -> str:
    """The name of a file or folder, without what follows a dot, and without the numbers of shards."""
    name = Path(os.path.abspath(path_text(path))).name.partition(".")[0].partition("{")[0]  # noqa: PTH100  (links stay)
    return re.sub(r"[-_%\d]+\Z", "", name) or name


def open_wanted(path: str | os.PathLike[str], wanted: Wanted) -> Imported:
    """The contents of a path as samples of a type that is wanted; see `open`."""
    text = path_text(path)
    place = Path(text)
    if is_folder(place):
        return _open_folder(place, wanted)
    if place.is_file():
        suffix = place.suffix.lower()
        if suffix in _SINGLE:
            return _SINGLE[suffix](place, wanted)
        if suffix in images.TIFF:
            return open_pixels(place, wanted, images.TIFF)
        if suffix in _FILES:
            return _FILES[suffix]({split_of((place.name,)): [place]}, wanted, str(place))
        raise UsageError(f"file type is not supported: {place.name}", uri=text, expected=SUPPORTED)
    if all(name.lower().endswith(shards.SUFFIXES) for name in names_in([text])):
        return shards.open_named(text, wanted)
    if scheme_of(text) != "file" or place.exists():
        raise UsageError("only shards can be read from this address", uri=text, expected=SUPPORTED)
    raise ShardNotFoundError(
        "there is no file or folder at this path", uri=text, hint="Check the path; nothing was read."
    )


def _open_folder(root: Path, wanted: Wanted) -> Imported:
    folder = Folder.of(root)
    found = [what for what, suffixes in _FOLDERS.items() if folder.having(suffixes)]
    if len(found) > 1 and "tables" in found:
        found.remove("tables")  # beside other data they are lists of it; a note names them
    if found == ["images"]:
        return images.open_folder(folder, wanted)
    if len(found) == 1:
        return _open_files(folder, found[0], wanted)
    if found:
        raise UsageError(
            f"a folder contains both {' and '.join(found)}",
            uri=str(root),
            hint="Give the path of a file, or of a folder with one kind of files.",
        )
    single = next((path for path in folder.files if path.suffix.lower() in _SINGLE), None)
    raise UsageError(
        "a folder contains no supported files" if folder.files else "a folder is empty",
        uri=str(root),
        expected=SUPPORTED,
        actual=folder.left_out,
        hint=f"Give the path of the file: {root / single}" if single else None,
    )


def _open_files(folder: Folder, what: str, wanted: Wanted) -> Imported:
    """The files of one kind in a folder."""
    suffixes, open_files = _KINDS[what]
    files = folder.in_splits(suffixes)
    splits = {split: [folder.root / path for path in paths] for split, paths in files.splits.items()}
    notes = [*folder.notes, *folder.without(suffixes, what), *files.notes]
    return open_files(splits, wanted, str(folder.root), notes)


def open_pixels(path: str | os.PathLike[str], wanted: Wanted, suffixes: Sequence[str] = images.SUFFIXES) -> Imported:
    """The images of a folder, or one, as pixels."""
    place = Path(path_text(path))
    folder = Folder.of(place) if is_folder(place) else Folder(place.parent, (Path(place.name),), ())
    if not folder.having(suffixes):
        raise UsageError("there are no images", uri=str(place), expected=", ".join(suffixes), actual=folder.left_out)
    return images.open_folder(folder, wanted, pixels=True, suffixes=suffixes)


def open_kind(what: str, path: str | os.PathLike[str], wanted: Wanted) -> Imported:
    """The contents of a path, taken for one kind of files, whatever a file's name ends in and whatever else is in a folder."""
    place = Path(path_text(path))
    if is_folder(place):
        folder = Folder.of(place)
        suffixes = _FOLDERS.get(what, tuple(_ARRAYS))
        if not folder.having(suffixes):
            expected = ", ".join(suffixes)
            raise UsageError(f"a folder contains no {what}", uri=str(place), expected=expected, actual=folder.left_out)
        if what == "images":
            return images.open_folder(folder, wanted)
        return _open_files(folder, what, wanted)
    if what not in _KINDS or not place.is_file():
        return open_wanted(path, wanted)
    return _KINDS[what][1]({split_of((place.name,)): [place]}, wanted, str(place))
