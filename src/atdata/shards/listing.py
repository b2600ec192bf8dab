"""Listing and opening of local files: those that a path, a glob or a folder names. What is named is read, or it
is an error: a link to nothing, a file that may not be read and a folder of that name are never passed over.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from atdata.arguments import did_you_mean
from atdata.errors import AtdataError, ConflictError, LimitError, ShardError, ShardNotFoundError, StorageError
from atdata.shards.transaction import TRANSACTION, State, in_transaction, recover

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar.lz4")
_LOOKED_AT = 1000  # names in a folder, for the one that was meant
_TRIES = 100
_ANNEX = "/annex/objects/"
_ESCAPED = re.compile(r"\[([*?[])\]")  # as glob.escape writes them
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

Natural: TypeAlias = tuple[list[list[str | int]], str]


class FileListing:
    """Files as they were when they were listed, all at one time as far as transactions go.

    Attributes:
        states: of each file.
    """

    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def glob(self, path: str) -> list[str]:
        """The file at a path, or those that a glob matches, in natural order; `**` also matches folders in folders.

        A glob that does not say how names end, such as `data/*`, matches shards only: what ends in `.tar`.

        Raises:
            ShardNotFoundError: there is none, or what has such a name is no file.
        """
        if is_file(path) or not glob.has_magic(path):
            return self.existing([path])
        ending, pattern = SUFFIX if path.endswith("*") else "", f"{path}/*" if path.endswith("**") else path

        def matching() -> list[str]:
            names = _matching(pattern)
            return [name for name in names if name.endswith(ending) and (name.endswith(SUFFIX) or not is_folder(name))]

        with _whole(path):
            files = self._steady(matching, lambda: map(_parent, _matching(_in(_parent(pattern), TRANSACTION))))
        if not files:
            raise no_shard(path)
        return sorted(files, key=natural)

    def existing(self, paths: list[str]) -> list[str]:
        """The files at some paths, each of which must be there.

        Raises:
            ShardNotFoundError: one is not there, or is no file.
        """
        folders = set(map(_parent, paths))
        return self._steady(lambda: paths, lambda: folders)

    def walk(self, folder: str, suffixes: Sequence[str] = (SUFFIX,)) -> list[str]:
        """The files with such names in a folder and the folders in it, in natural order; links are followed.

        Names that begin with a dot are left out.

        Raises:
            ShardNotFoundError: what has such a name is no file.
            StorageError: a folder may not be read.
        """
        found: list[str] = []
        with _whole(folder):
            for place in _folders(folder):
                found += self._steady(partial(_names, place, suffixes), lambda: [place])  # noqa: B023  (called here)
        return sorted(found, key=natural)

    def _steady(self, names: Callable[[], list[str]], folders: Callable[[], Iterable[str]]) -> list[str]:
        """Names as they stand while no transaction is under way, the state of each noted.

        Were one carried out meanwhile, either the names would differ, or some states be of files that are gone, which
        shows when they are opened.
        """
        for _ in range(_TRIES):
            for folder in folders():
                recover(Path(folder))
            found = names()
            self.states.update((name, _state(stat_file(name))) for name in sorted(found))
            if names() == found and not any(map(in_transaction, folders())):
                return found
        raise ConflictError("files changed while they were listed", hint="Try again when nothing writes there.")


def _parent(path: str) -> str:
    head, slash, _ = path.rpartition("/")
    return head or slash


def _in(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name


@contextmanager
def _whole(where: str) -> Iterator[None]:
    """Turn an `OSError` of listing a folder into the typed one."""
    try:
        yield
    except OSError as error:
        if isinstance(error, AtdataError):
            raise
        raise StorageError(
            f"a folder cannot be listed: {error.strerror}",
            uri=where,
            path=error.filename,
            hint="Check that you may read it. Without it, shards would be missing.",
        ) from error


def _matching(pattern: str) -> list[str]:
    """The files that a glob matches. The module `glob` passes over folders that it may not list, and follows a link that leads
    back up as often as the system lets it.
    """
    places, parts = ["/" if pattern.startswith("/") else ""], [part for part in pattern.split("/") if part]
    for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        places = [found for place in places for found in _children(place, part, inner=left > 0)]
    return list(dict.fromkeys(places))


def _children(place: str, part: str, inner: bool) -> list[str]:
    """The entries of a folder that match one part of a glob; none where it is not there."""
    try:
        if part == "**":
            Path(place).stat()
            return [each if place else each.removeprefix("./").removeprefix(".") for each in _folders(place or ".")]
        if not glob.has_magic(_ESCAPED.sub("", part)):
            path = _in(place, _ESCAPED.sub(r"\1", part))
            os.lstat(path)
            return [path]
        with os.scandir(place or ".") as entries:
            return [
                _in(place, each.name)
                for each in entries
                if _is_like(each.name, part) and (not inner or _is_folder(each))
            ]
    except OSError as error:
        if error.errno in _ABSENT and not isinstance(error, AtdataError):
            return []
        raise
    except ValueError:  # a NUL
        return []


def _is_like(name: str, part: str) -> bool:
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def _folders(folder: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """A folder and the folders in it."""
    status = Path(folder).stat()
    here = status.st_dev, status.st_ino
    if here in above:
        return  # a link led back up, and would for ever
    yield folder
    with os.scandir(folder) as entries:
        inner = sorted(entry.path for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    for path in inner:
        yield from _folders(path, above | {here})


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """True if an entry is a folder. A link to nothing that may have been to one is an error."""
    try:
        if entry.is_dir():
            return True
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself is one to nothing
            raise
    place = Path(entry.path)
    if entry.is_symlink() and not place.suffix and not place.exists() and _ANNEX not in str(place.readlink()):
        stat_file(entry.path)
    return False


def _names(folder: str, suffixes: Sequence[str]) -> list[str]:
    ends = tuple(suffixes)
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if entry.name.endswith(ends) and not entry.name.startswith(".")]


def stat_file(path: str) -> os.stat_result:
    """The status of a file.

    Raises:
        ShardNotFoundError: there is none, or no file.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:
        raise _no_file(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise _no_regular_file(path, status)
    return status


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns


def _no_regular_file(path: str, status: os.stat_result) -> ShardNotFoundError:
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
    hint = "It is a folder; atdata.load_dataset(...) reads one." if stat.S_ISDIR(status.st_mode) else "Remove it."
    return ShardNotFoundError("path is not a regular file", uri=path, actual=what, hint=hint)


def open_file(path: str, listed: State | None = None) -> BinaryIO:
    """A file, opened to be read. A transaction under way in its folder is waited for.

    Args:
        path: of the file.
        listed: its state when it was listed.

    Raises:
        ShardNotFoundError: it is not there, cannot be read, or is no file.
        ShardError: it was changed since it was listed.
        LimitError: this process has too many files open.
    """
    folder = _parent(path)
    if in_transaction(folder):
        recover(Path(folder))
    try:
        # A pipe that nobody writes to would be waited for. On files the flag says nothing.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _no_file(path, error) from None
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _no_regular_file(path, status)
        if listed not in (None, _state(status)):
            raise ShardError("a shard was changed since it was listed", uri=path, hint="Load the dataset again.")
    except BaseException:
        file.close()
        raise
    return file


def _no_file(path: str, error: Exception) -> ShardNotFoundError | LimitError:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.EMFILE, errno.ENFILE):
        return LimitError(
            "too many files are open", uri=path, hint="Close what you need no longer, or allow more: ulimit -n 4096."
        )
    if code == errno.ENOENT and Path(path).is_symlink():
        target = str(Path(path).readlink())
        hint = "Fetch its content: git annex get." if _ANNEX in target else "Restore its target, or remove it."
        return ShardNotFoundError("a symbolic link is broken", uri=path, actual=target, hint=hint)
    if code in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, None):
        return no_shard(path)
    hint = "Check that you may read it. It is never passed over: samples would be missing."
    return ShardNotFoundError(f"a file cannot be opened: {os.strerror(code)}", uri=path, hint=hint)


def natural(path: str) -> Natural:
    """The key that sorts paths as people count: folder by folder, `data-2.tar` before `data-10.tar`."""
    parts = [re.split(r"([0-9]+)", part) for part in Path(path).parts]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(part)] for part in parts], path


def is_file(path: str) -> bool:
    """True if there is a file at a path; no text is too strange to ask."""
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def is_named(path: str) -> bool:
    """True if there is a file of a name.

    Raises:
        ShardNotFoundError: there is something else, such as a link to nothing.
    """
    if not os.path.lexists(path):
        return False
    stat_file(path)
    return True


def is_folder(path: str) -> bool:
    """True if there is a folder at a path; no text is too strange to ask."""
    with suppress(OSError, ValueError):
        return Path(path).is_dir()
    return False


def no_shard(path: str) -> ShardNotFoundError:
    """The error for a path or a glob that leads to no file; it looks for the name that was meant."""
    place, near = Path(path), list[str]()
    with suppress(OSError, ValueError):
        near = [each.name for each in itertools.islice(place.parent.iterdir(), _LOOKED_AT)]
    hint = did_you_mean(place.name, near) or "Check the path; nothing was read."
    if is_folder(path):
        hint = "It is a folder; atdata.load_dataset(...) reads one."
    return ShardNotFoundError("there is no such shard", uri=path, hint=hint)
