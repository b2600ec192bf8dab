"""Shards that the caller names by paths, globs, folders, brace notation and URLs, and their splits."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import unquote

from atdata.errors import PassedOverWarning, ShardNotFoundError, UsageError, warn
from atdata.loading.splits import Parts, by_split, strays
from atdata.shards.addresses import file_path
from atdata.shards.braces import expand_braces
from atdata.shards.listing import COMPRESSED, SUFFIX, FileListing, is_file, is_folder, no_shard
from atdata.shards.tar import DECOMPRESS
from atdata.shards.urls import scheme_of

Pattern: TypeAlias = str | os.PathLike[str]
DataFiles: TypeAlias = Pattern | Sequence[Pattern] | Mapping[str, "Pattern | Sequence[Pattern]"]

_EXPECTED = "a path, a list of paths, or a dict of these by the name of a split"


def find_splits(ref: str, data_files: DataFiles | None, listing: FileListing) -> dict[str, list[str]]:
    """The addresses of each split's shards.

    Args:
        ref: a path, a glob, a folder, brace notation or a URL; with `data_files` the folder that these are in.
        data_files: the shards, or those of each split; without splits, names tell them.
        listing: lists files.

    Raises:
        ShardNotFoundError: nothing is there, or nothing matches, or a folder has the name of a shard.
        UsageError: an argument is malformed, or a shard is named twice.
    """
    if not ref:
        raise UsageError("the path is empty", expected="a path or a URL", hint="Use . for the current folder.")
    if data_files is None:
        return _distinct(by_split(_find(ref, "", listing)))
    folder = _folder(ref)
    if not isinstance(data_files, Mapping):
        return _distinct(by_split(_find_all(data_files, folder, "data_files", listing)))
    given: Mapping[Any, Any] = data_files
    if not given or not all(isinstance(split, str) and split.strip() for split in given):
        raise UsageError(
            "data_files must name each split", path="data_files", expected=_EXPECTED, actual=repr(given)[:80]
        )
    found = {split: _find_all(patterns, folder, f"data_files[{split!r}]", listing) for split, patterns in given.items()}
    return _distinct({split: [address for address, _ in files] for split, files in found.items()})


def _distinct(splits: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same splits, where each shard is in one of them, once."""
    known: dict[str, str] = {}
    for split, address in ((split, address) for split, addresses in splits.items() for address in addresses):
        if address in known:
            raise UsageError(
                "a shard must be in one split, once",
                uri=address,
                actual=f"twice in {split}" if known[address] == split else f"in {known[address]} and in {split}",
                hint="Name it once. Splits that overlap are loaded one by one.",
            )
        known[address] = split
    return splits


def _find_all(patterns: object, folder: str, path: str, listing: FileListing) -> Iterator[tuple[str, Parts]]:
    given = [patterns] if isinstance(patterns, str | os.PathLike) else patterns
    if not isinstance(given, Sequence) or not given or not all(isinstance(p, str | os.PathLike) for p in given):
        raise UsageError("data_files must name files", path=path, expected=_EXPECTED, actual=repr(patterns)[:80])
    for pattern in given:
        yield from _find(os.fspath(pattern), folder, listing)


def _folder(ref: str) -> str:
    """The folder that relative names in `data_files` are in."""
    if scheme_of(ref) != "file":
        return ref.rstrip("/") + "/"
    folder = file_path(ref)
    if is_file(folder):
        raise UsageError("data_files= needs a folder, and this is a file", actual=ref, hint="Name the folder it is in.")
    if not is_folder(folder):
        raise ShardNotFoundError("there is no such folder", uri=ref, hint=no_shard(folder).hint)
    return folder


def _find(pattern: str, folder: str, listing: FileListing) -> Iterator[tuple[str, Parts]]:
    """The shards that one pattern names, each with the part of its path that may tell its split.

    That is the part below the given folder, or below the fixed part of the pattern: the folders above that do not matter.
    """
    if scheme_of(pattern) != "file":
        return _at_urls(pattern, _fixed(pattern))
    if scheme_of(folder) != "file" and not pattern.lower().startswith("file://"):
        return _at_urls(folder + pattern.lstrip("/"), folder)
    path = file_path(pattern)
    if folder and not Path(path).is_absolute():
        return _on_disk(path, folder, folder, listing)
    return _on_disk(path, "", path if is_folder(path) else _fixed(path), listing)


def _on_disk(pattern: str, folder: str, base: str, listing: FileListing) -> Iterator[tuple[str, Parts]]:
    whole, above = str(Path(folder, pattern)), len(Path(base).parts)
    for name in [pattern] if is_file(whole) or is_folder(whole) else expand_braces(pattern):
        place = str(Path(folder, name))
        if is_folder(place):
            files = _in_splits(place, _shards_below(place, listing))
        else:
            try:
                files = listing.glob(place if is_file(place) else str(Path(glob.escape(folder), name)))
            except ShardNotFoundError as error:
                if error.uri == place:
                    error.uri, error.path = name, folder or None
                raise
        yield from ((file, Path(file).parts[above:]) for file in files)


def _in_splits(folder: str, files: list[str]) -> list[str]:
    """The files of a folder that are part of its data; a warning names the others."""
    above = len(Path(folder).parts)
    stray = dict.fromkeys(strays((file, Path(file).parts[above:]) for file in files))
    if stray:
        hint = "Move them into the folder of a split, or name all files with data_files=."
        warn(PassedOverWarning(tuple(stray), "in no split, where folders say splits", hint))
    return [file for file in files if file not in stray]


def _shards_below(folder: str, listing: FileListing) -> list[str]:
    """Every `.tar` file in a folder and the folders in it, in natural order. Names that begin with a dot are left out."""
    found = listing.walk(folder)
    if not found:
        compressed = listing.walk(folder, COMPRESSED)
        raise ShardNotFoundError(
            "the folder has no shards",
            uri=folder,
            expected=f"files that end in {SUFFIX}, in it or in folders in it",
            actual=f"{compressed[0]} is compressed" if compressed else None,
            hint=DECOMPRESS if compressed else "Check the path, or name the files with data_files=.",
        )
    return found


def _at_urls(pattern: str, base: str) -> Iterator[tuple[str, Parts]]:
    scheme = scheme_of(pattern)
    if "*" in _path_of(pattern, scheme) or pattern.endswith("/"):
        raise UsageError(
            "shards at a URL cannot be listed",
            expected="the address of each shard, or brace notation",
            actual=pattern,
            hint=f"Write for example {scheme}://.../train-{{000000..000009}}.tar.",
        )
    above = len(PurePosixPath(_path_of(base, scheme)).parts)
    for url in expand_braces(pattern):
        parts = PurePosixPath(_path_of(url, scheme)).parts
        yield url, tuple(unquote(part) for part in parts[min(above, len(parts) - 1) :])


def _path_of(url: str, scheme: str) -> str:
    """A URL without its query: `?` and `#` may be part of the name of an object in a bucket."""
    return url.partition("#")[0].partition("?")[0] if scheme in ("http", "https") else url


def _fixed(pattern: str) -> str:
    """The folder, as written, of all names that match a pattern."""
    first = min((pattern.find(char) for char in "*?[{" if char in pattern), default=len(pattern))
    return pattern[:first].rpartition("/")[0]
