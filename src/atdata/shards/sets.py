"""Sets of files that are written whole: all of them appear at once, and what they replace goes at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from atdata.errors import ConflictError, StorageError
from atdata.files import disk_errors, sync_folder
from atdata.files.own import TEMPORARY, temporary_name
from atdata.shards.file_pattern import FilePattern
from atdata.shards.transaction import (
    TRANSACTION,
    Lock,
    finish,
    recover,
    remove,
    remove_empty,
    staged_files,
    state_of,
    write_plan,
)

_SHOWN = 3

_State: TypeAlias = tuple[int, int, int]


_Beside: TypeAlias = Callable[[Path], Iterable[Path]]


@contextmanager
def new_set(
    pattern: FilePattern, overwrite: bool, beside: _Beside = lambda _file: ()
) -> Iterator[Callable[[int], Path]]:
    """Gives the paths to write the files of a set to. They appear in their places on leaving, all of them at once.

    Args:
        pattern: of the set. The files that are there belong to it, with what is beside them.
        overwrite: whether it may replace those.
        beside: gives the files that are beside one of the set and belong to it.

    Raises:
        ConflictError: files of the set are there, or another process writes them.
        StorageError: the disk is full or fails. Nothing partial is in sight.
    """
    folder = pattern.folder
    recover(folder)
    before = _standing(pattern, beside)
    _check(before, pattern, overwrite)
    _sweep(pattern)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _staging(folder, pattern.name) as (stage, lock):
        yield lambda index: stage / pattern(index).name
        with disk_errors(folder):
            if lock.held:
                _commit(pattern, stage, before, beside)
            else:
                _move(folder, stage, before)


@contextmanager
def _staging(folder: Path, name: str) -> Iterator[tuple[Path, Lock]]:
    """A staging folder and its lock. Another process may sweep one that is not locked yet: then there is a new one."""
    while True:
        stage = folder / temporary_name()
        with ExitStack() as stack:
            with disk_errors(stage):
                stage.mkdir()
                stack.callback(_discard, stage)
                lock = stack.enter_context(Lock(stage, name))
            if not (lock.missing or lock.busy):
                yield stage, lock
                return


def _discard(stage: Path) -> None:
    with suppress(OSError):
        remove(stage)


def _commit(pattern: FilePattern, stage: Path, before: Mapping[str, _State], beside: _Beside) -> None:
    folder = pattern.folder
    while True:
        recover(folder)
        try:
            stage.rename(folder / TRANSACTION)
            break
        except OSError as error:  # another process came first
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    try:
        sync_folder(folder)
        if _standing(pattern, beside) != before:  # which nobody else replaces now
            raise ConflictError(
                "other files were written to this path meanwhile",
                uri=str(folder / pattern.name),
                hint="Nothing was written. Choose another path, or replace them with overwrite=True.",
            )
        new = staged_files(folder / TRANSACTION)
        old = {*before, *(path.name for name in new for path in beside(folder / name))}
        standing = ((name, state_of(folder / name)) for name in sorted(old))
        write_plan(folder, {name: state for name, state in standing if state is not None}, new)
    finally:
        finish(folder)


def _move(folder: Path, stage: Path, before: Mapping[str, _State]) -> None:
    """Rename the staged files on a file system without locks, where no other is in the way."""
    if before:
        raise StorageError(
            "files cannot be replaced on a file system without locks",
            uri=str(folder),
            hint="Write the new ones to another folder.",
        )
    for name in staged_files(stage):
        (stage / name).replace(folder / name)
    sync_folder(folder)


def _standing(pattern: FilePattern, beside: _Beside) -> dict[str, _State]:
    """The files of a set that are there, and what is beside them, each with what tells it from another."""
    found: dict[str, _State] = {}
    with disk_errors(pattern.folder), suppress(FileNotFoundError), os.scandir(pattern.folder) as entries:
        for entry in entries:
            if pattern.number(entry.name) is None:
                continue
            if entry.is_dir(follow_symlinks=False):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), entry.path)
            for path in (Path(entry.path), *beside(Path(entry.path))):
                status = path.lstat()
                found[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _check(standing: Mapping[str, _State], pattern: FilePattern, overwrite: bool) -> None:
    """Refuse to add to files that are there, or to replace them unless `overwrite`."""
    there = sorted(name for name in standing if pattern.number(name) is not None)
    other = [name for name in there if pattern(pattern.number(name) or 0).name != name]
    shown = ", ".join((other or there)[:_SHOWN]) + (", ..." if len(other or there) > _SHOWN else "")
    if other:
        raise ConflictError(
            "files of this name exist with another number of digits, which a glob would join with new ones",
            uri=str(pattern.folder / pattern.name),
            actual=shown,
            hint="Remove them, use the same number of digits, or choose another name.",
        )
    if there and not overwrite:
        raise ConflictError(
            "files of this name exist already",
            uri=str(pattern.folder / pattern.name),
            actual=shown,
            hint="Replace all of them with overwrite=True, or choose another name.",
        )


def _sweep(pattern: FilePattern) -> None:
    """Remove the staging folders of writers that were killed.

    Raises:
        ConflictError: one of the same set is at work.
    """
    with disk_errors(pattern.folder), suppress(FileNotFoundError):
        for stage in pattern.folder.iterdir():
            if not TEMPORARY.fullmatch(stage.name) or stage.is_symlink() or not stage.is_dir():
                continue
            with Lock(stage) as lock:
                if lock.held:
                    _discard(stage)
                elif lock.missing:  # its writer was killed before it was locked, or will see that it has gone
                    with suppress(OSError):
                        remove_empty(stage)
                elif lock.name == pattern.name:
                    raise ConflictError(
                        "another process is writing these files",
                        uri=str(pattern.folder / pattern.name),
                        hint="Wait until it has ended, or choose another name.",
                    )
