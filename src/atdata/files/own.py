"""Files of atdata's own: their names, and the only ways in which they are removed.

A folder that we write to may be somebody's, with anything else in it. So a file is removed only where its name has a
form that nobody else gives, and only where it is: what sweeps goes down from a folder through folders, never through a
link.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STALE = 86_400.0
"""Seconds after which nobody writes a file any more that has not been touched since."""

_TOKEN = "[0-9a-f]{16}"  # noqa: S105  a pattern
TEMPORARY = re.compile(rf"\.atdata-{_TOKEN}\.tmp")
SCRATCH = re.compile(rf"atdata-{_TOKEN}(\.(tar|manifest\.json|manifest\.parquet|sqlite)|\.sqlite-journal)")
_FORMS = (TEMPORARY, SCRATCH)
_WORK = ".atdata-{}.work"
_TAG = ".atdata-folder"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def temporary_name() -> str:
    """The name of a file until it is complete."""
    return f".atdata-{os.urandom(8).hex()}.tmp"


def scratch_name(suffix: str = ".tar", of: str | None = None) -> str:
    """The name of a file that is written for a while.

    Args:
        suffix: how it ends.
        of: what several processes call the file by; its name is the same for all of them.
    """
    token = os.urandom(8).hex() if of is None else hashlib.sha256(of.encode()).hexdigest()[:16]
    return f"atdata-{token}{suffix}"


def work_name(of: str) -> str:
    """The name of a folder for what is written over several runs, in a folder that may be somebody's.

    Args:
        of: the name of what is written.
    """
    return _WORK.format(hashlib.sha256(of.encode()).hexdigest()[:16])


def discard(path: Path) -> None:
    """Remove a file under a name that `temporary_name` or `scratch_name` gave; one that is gone already is no error.

    Raises:
        ValueError: no name of ours.
        OSError: it cannot be removed.
    """
    if not any(form.fullmatch(path.name) for form in _FORMS):
        raise ValueError(f"not a file of ours: {path}")
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class OwnFile:
    """A file of atdata's own.

    Attributes:
        root: the folder that was searched; it may be reached through links.
        parts: the folders below it.
        name: of the file.
        size: bytes.
        changed: when it was written last, in seconds.
    """

    root: Path
    parts: tuple[str, ...]
    name: str
    size: int = 0
    changed: float = 0.0

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.root.joinpath(*self.parts, self.name)

    def remove(self) -> None:
        """Remove it, if it is still where it was found, and nothing on the way there has become a link.

        Raises:
            OSError: it cannot be removed.
        """
        with _opened(self.root, self.parts) as folder:
            os.unlink(self.name, dir_fd=folder)  # of a link that took its place, the link


def own_files(
    root: Path, folders: Sequence[str | re.Pattern[str]], name: re.Pattern[str], *, deep: bool = False, age: float = 0
) -> Iterator[OwnFile]:
    """The files of ours below a folder: regular files, in folders that are no links.

    Args:
        root: the folder.
        folders: the names, or the forms of the names, of the folders from there on, one below the other.
        name: the form of the files' names.
        deep: whether to look in all folders below as well.
        age: seconds since they were written, at least.
    """
    with suppress(OSError), _opened(root, ()) as opened:
        yield from _below(opened, root, (), tuple(folders), name, deep, time.time() - age)


def _below(
    opened: int,
    root: Path,
    parts: tuple[str, ...],
    folders: tuple[str | re.Pattern[str], ...],
    name: re.Pattern[str],
    deep: bool,
    before: float,
) -> Iterator[OwnFile]:
    for entry in _entries(opened):
        with suppress(OSError):  # others write and remove meanwhile
            found = os.stat(entry, dir_fd=opened, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                if not (deep if not folders else _fits(entry, folders[0])):
                    continue
                inner = os.open(entry, _FOLDER, dir_fd=opened)
                try:
                    yield from _below(inner, root, (*parts, entry), folders[1:], name, deep, before)
                finally:
                    os.close(inner)
            elif not folders and stat.S_ISREG(found.st_mode) and name.fullmatch(entry) and found.st_mtime <= before:
                yield OwnFile(root, parts, entry, found.st_size, found.st_mtime)


def _entries(opened: int) -> list[str]:
    with suppress(OSError):
        return os.listdir(opened)
    return []


def _fits(name: str, form: str | re.Pattern[str]) -> bool:
    return name == form if isinstance(form, str) else form.fullmatch(name) is not None


@contextmanager
def _opened(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """A folder below another, reached from there without a link."""
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            inner = os.open(part, _FOLDER, dir_fd=opened)
            os.close(opened)
            opened = inner
        yield opened
    finally:
        os.close(opened)


def make_folder(folder: Path) -> bool:
    """Make a folder that is ours with all that will be in it, for its owner only; one that was made so stays.

    Returns:
        Whether it is. A folder that was there already, with anything in it, is somebody's.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not folder.is_symlink() and not any(folder.iterdir()):
        (folder / _TAG).touch(mode=0o600)
    if not is_ours(folder):  # another process may have made it so meanwhile
        return False
    folder.chmod(0o700)
    return True


def is_ours(folder: Path) -> bool:
    """True if `make_folder` made a folder, and it is no link."""
    return not folder.is_symlink() and (folder / _TAG).is_file() and not (folder / _TAG).is_symlink()


def remove_folder(folder: Path, *names: str) -> None:
    """Remove a folder that `make_folder` made, and all that is in it; links in it go, what they lead to stays.

    Args:
        folder: the folder.
        names: where given, only these folders in it are removed; those that are not there are no error.

    Raises:
        ValueError: somebody else made it.
        OSError: something in it cannot be removed.
    """
    import shutil  # it brings what compresses

    if not is_ours(folder):
        raise ValueError(f"not a folder of ours: {folder}")
    if not names:
        shutil.rmtree(folder)
    for name in names:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder / name)
