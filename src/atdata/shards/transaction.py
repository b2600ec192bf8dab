"""Transactions on a folder: a set of files replaces another whole. Readers see the old set or the new one, no mixture.

A new set is staged in a folder of its own (`atdata.shards.sets`). When all of it is on the disk, that folder is renamed
to `.atdata-exchange`, of which a folder holds one, and the names to remove and to add are logged in it, in `plan.json`.
With the plan the transaction is decided: whoever finds it carries it out, be it this process or, after a crash, the next
reader or writer. One without a plan is rolled back, and the old set stands as it stood.

A folder that was unpacked from somebody's archive may hold a plan too. So a plan says of each file that goes, or is
replaced, its size and when it was written; a file of which it does not know that is touched by no plan.

Who works on a transaction holds a lock on the file `lock` in it, so one that nobody holds is of a process that ended.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeAlias

from atdata.errors import ConflictError, StorageError
from atdata.files import disk_errors, sync_folder
from atdata.files.own import TEMPORARY

TRANSACTION = ".atdata-exchange"
PLAN = "plan.json"
PATIENCE = 60.0
"""Seconds to wait for a process that carries out a transaction."""

State: TypeAlias = tuple[int, int]
"""The state that tells a file from one that was put in its place: its size, and when it was written, in ns."""

_LOCK = "lock"
_DRAFT = "plan.draft"
# What a transaction may move or remove, in its folder only: somebody else may have written its plan.
_NAME = re.compile(r"[^/\0]*\.(tar|parquet|manifest\.json)")
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def recover(folder: Path) -> None:
    """Ensure that no transaction is under way in a folder: wait for it, or finish that of a process that ended.

    Raises:
        StorageError: it cannot be finished.
        ConflictError: it takes too long.
    """
    deadline = None
    while in_transaction(folder):
        deadline = deadline or time.monotonic() + PATIENCE
        with _interrupted(folder), Lock(folder / TRANSACTION) as lock:
            if lock.held:
                finish(folder)
            elif lock.missing:  # all but ended
                _remove_ended(folder / TRANSACTION)
            elif time.monotonic() > deadline:
                raise ConflictError(
                    "another process is replacing the files of this folder", uri=str(folder), hint="Try again later."
                )
            else:
                time.sleep(0.01)


def in_transaction(folder: str | os.PathLike[str]) -> bool:
    """True if a transaction is under way in a folder."""
    try:
        return stat.S_ISDIR(os.lstat(f"{os.fspath(folder) or '.'}/{TRANSACTION}").st_mode)  # asked for every shard
    except (OSError, ValueError):
        return False


def write_plan(folder: Path, old: Mapping[str, State], new: Sequence[str]) -> None:
    """Decide a transaction: log the files to remove, with their state, and those to add. Its lock is held."""
    plan = folder / TRANSACTION / PLAN
    draft = plan.with_name(_DRAFT)
    with draft.open("wb") as file:
        file.write(json.dumps({"old": old, "new": list(new)}).encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(plan)
    sync_folder(plan.parent)


def finish(folder: Path) -> None:
    """Carry out a transaction that has a plan, roll back one that has none. Its lock is held.

    Raises:
        StorageError: a file in its way is not the one that was to go.
    """
    staged = folder / TRANSACTION
    if plan := _plan(staged / PLAN):
        old, new = plan
        going = [name for name in old if name not in new]
        for name in [*going, *(name for name in new if os.path.lexists(staged / name))]:
            if (stands := state_of(folder / name)) not in (None, old.get(name)):
                raise StorageError(
                    "a file is in the way of an unfinished replacement",
                    uri=str(folder / name),
                    expected=old.get(name),
                    actual=stands,
                    hint=f"Remove {TRANSACTION} in this folder to keep the files that are there, or move that file away.",
                )
        for name in going:
            (folder / name).unlink(missing_ok=True)
        for name in new:
            try:
                (staged / name).replace(folder / name)
            except FileNotFoundError:  # moved before
                os.lstat(folder / name)
        sync_folder(folder)
        (staged / PLAN).unlink()
        sync_folder(staged)
    remove(staged)
    sync_folder(folder)


def state_of(path: Path) -> State | None:
    """The state of a file, or of a link; `None` where there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _plan(path: Path) -> tuple[dict[str, State], list[str]] | None:
    """The files that go and come; `None` where nothing is decided."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        plan = json.loads(raw)
        old = {name: (int(size), int(written)) for name, (size, written) in plan["old"].items()}
        new = list(plan["new"])
        if all(isinstance(name, str) and _NAME.fullmatch(name) for name in [*old, *new]):
            return old, new
    raise StorageError(
        "the plan of an unfinished replacement is invalid", uri=str(path), hint="Remove the folder that contains it."
    )


class Lock:
    """The lock on the folder of a set or a transaction, tried once.

    Args:
        folder: what is locked.
        name: of the set, where it is begun.

    Attributes:
        held: whether it was had.
        missing: whether there is none to be had.
        busy: whether somebody else has it.
        name: of the set that whoever has it writes.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self._path, self._new = folder / _LOCK, name
        self.held = self.missing = self.busy = False
        self.name = ""

    def __enter__(self) -> Lock:
        self._file = -1
        try:
            self._file = self._opened()
            if self._new is not None:
                os.write(self._file, os.fsencode(self._new))
            self.name = os.fsdecode(os.pread(self._file, 1024, 0))
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folder may have gone meanwhile, and another have come to its name.
            self.held = os.path.samestat(os.fstat(self._file), os.lstat(self._path))
        except FileNotFoundError:
            self.missing = True
        except OSError as error:
            if error.errno not in (*_NO_LOCKS, errno.EAGAIN):
                self.__exit__()
                raise
            self.busy = error.errno == errno.EAGAIN
        return self

    def _opened(self) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        if self._new is not None:
            return os.open(self._path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            return os.open(self._path, flags | os.O_RDWR)
        except PermissionError:  # of another user's process
            return os.open(self._path, flags | os.O_RDONLY)

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)


def remove(folder: Path) -> None:
    """Remove the folder of a set or a transaction with what we wrote there, its lock last.

    Raises:
        OSError: somebody else put something there.
    """
    with suppress(FileNotFoundError):
        for path in sorted(folder.iterdir(), key=lambda path: path.name == _LOCK):
            if path.name in (_LOCK, PLAN, _DRAFT) or _NAME.fullmatch(path.name) or TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
        _remove_ended(folder)


def _remove_ended(folder: Path) -> None:
    """Remove the folder of a transaction, of which the lock is gone; that of the next one may be in its place already."""
    try:
        remove_empty(folder)
    except OSError:
        with suppress(FileNotFoundError):
            names = [path.name for path in folder.iterdir()]
            if names and _LOCK not in names:
                raise


def remove_empty(folder: Path) -> None:
    """Remove the folder of a set or a transaction that has no lock.

    Raises:
        OSError: something is in it.
    """
    with suppress(FileNotFoundError):
        folder.rmdir()


def staged_files(folder: Path) -> list[str]:
    """The files of a set that was written to a folder."""
    return sorted(path.name for path in folder.iterdir() if path.name != _LOCK)


def _interrupted(folder: Path) -> AbstractContextManager[None]:
    what = "replacing the files of this folder was interrupted, and cannot be finished"
    return disk_errors(folder, what, "Read it once as a user who may write there.")
