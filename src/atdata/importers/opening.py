"""The importer of a path."""

from __future__ import annotations

import os
from pathlib import Path

from atdata.errors import ShardNotFoundError, UsageError
from atdata.importers import delimited, images, npz, parquet, shards
from atdata.importers.files import Folder
from atdata.importers.imported import Imported
from atdata.loading.splits import split_of
from atdata.shards.addresses import scheme_of
from atdata.shards.braces import names_in

SUPPORTED = (
    "a folder of images (class folders or flat), a .npz or .npy file, a .csv, .tsv or .parquet file or a folder of "
    "them, .tar shards (one, brace notation, or a folder of them)"
)
_ARRAYS = {".npz": npz.open_npz, ".npy": npz.open_npy}
_KINDS = {
    "Parquet files": (parquet.SUFFIXES, parquet.open_files),
    "shards": (shards.SUFFIXES, shards.open_files),
    "tables": (delimited.SUFFIXES, delimited.open_files),
}
_FILES = {suffix: open_files for suffixes, open_files in _KINDS.values() for suffix in suffixes}
_FOLDERS = {"images": images.SUFFIXES, **{what: suffixes for what, (suffixes, _) in _KINDS.items()}}


def open_path(path: str | os.PathLike[str], type_name: str) -> Imported:
    """Read all of what is at a path, infer its sample type, and give its samples.

    Args:
        path: a file or folder, or shards in brace notation or at URLs.
        type_name: what to call the sample type.

    Raises:
        UsageError: the path is of no kind that is taken, or holds no rows.
        ShardNotFoundError: there is nothing at the path.
        MissingExtraError: reading images needs [images], reading Parquet [tables].
        SampleError: something in it cannot be read, or fits no sample type; `path` says where.
        ShardError: a shard is damaged.
        StorageError: a file may not be read.
    """
    text = os.fspath(path)
    place = Path(text)
    if place.is_dir():
        return _open_folder(place, type_name)
    if place.is_file():
        suffix = place.suffix.lower()
        if suffix in _ARRAYS:
            return _ARRAYS[suffix](place, type_name)
        if suffix in _FILES:
            return _FILES[suffix]({split_of((place.name,)): [place]}, type_name, str(place))
        raise UsageError(f"file type is not supported: {place.name}", uri=text, expected=SUPPORTED)
    if all(name.lower().endswith(shards.SUFFIXES) for name in names_in([text])):
        return shards.open_named(text, type_name)
    if scheme_of(text) != "file" or place.exists():
        raise UsageError("only shards can be read from this address", uri=text, expected=SUPPORTED)
    raise ShardNotFoundError(
        "there is no file or folder at this path", uri=text, hint="Check the path; nothing was read."
    )


def _open_folder(root: Path, type_name: str) -> Imported:
    folder = Folder.of(root)
    found = [what for what, suffixes in _FOLDERS.items() if folder.having(suffixes)]
    if len(found) > 1 and "tables" in found:
        found.remove("tables")  # beside other data they are lists of it; a note names them
    if found == ["images"]:
        return images.open_folder(folder, type_name)
    if len(found) == 1:
        suffixes, open_files = _KINDS[found[0]]
        files = folder.in_splits(suffixes)
        splits = {split: [root / path for path in paths] for split, paths in files.splits.items()}
        notes = [*folder.notes, *folder.without(suffixes, found[0]), *files.notes]
        return open_files(splits, type_name, str(root), notes)
    if found:
        raise UsageError(
            f"a folder contains both {' and '.join(found)}",
            uri=str(root),
            hint="Give the path of a file, or of a folder with one kind of files.",
        )
    single = next((path for path in folder.files if path.suffix.lower() in _ARRAYS), None)
    raise UsageError(
        "a folder contains no supported files" if folder.files else "a folder is empty",
        uri=str(root),
        expected=SUPPORTED,
        hint=f"Give the path of the file: {root / single}" if single else None,
    )
