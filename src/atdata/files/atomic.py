"""Atomic writing: files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from atdata.errors import AtdataError, StorageError
from atdata.files.own import discard, temporary_name


@contextmanager
def disk_errors(
    place: Path,
    what: str = "a file cannot be written",
    hint: str = "Nothing partial was left. Make room, or choose another folder.",
) -> Iterator[None]:
    """Turn an `OSError` into the typed one.

    Args:
        place: the file, or folder.
        what: what to say of it.
        hint: what to do about it.

    Raises:
        StorageError: in place of an `OSError` that is not one of ours.
    """
    try:
        yield
    except AtdataError:  # some of ours are OSErrors too
        raise
    except OSError as error:
        raise StorageError(
            f"{what}: {error.strerror}", uri=str(place), actual=f"errno {error.errno}", hint=hint
        ) from error


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(file: FileIO, data: bytes | bytearray | memoryview, place: Path) -> None:
    """Write every byte to an unbuffered file.

    Raises:
        StorageError: the disk is full or fails.
    """
    rest = memoryview(data)
    with disk_errors(place):
        while rest:
            rest = rest[file.write(rest) :]


@contextmanager
def atomic_file(place: Path) -> Iterator[FileIO]:
    """A file that appears at its place complete or not at all: temporary, fsync, rename, fsync of the folder.

    Raises:
        StorageError: the disk is full or fails. An fsync that failed is not tried again.
    """
    temporary = place.with_name(temporary_name())
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(temporary, "xb")  # unbuffered: closing after a failed write must not write again
    try:
        with file:
            yield file
            with disk_errors(place):
                os.fsync(file.fileno())
        with disk_errors(place):
            temporary.replace(place)
            sync_folder(place.parent)
    finally:
        discard(temporary)
