"""The files that a path names, and typed errors of reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from atdata.errors import AtdataError, ConflictError, SampleError, ShardNotFoundError
from atdata.files import disk_errors
from atdata.loading.splits import TRAIN, by_split, named_split, strays
from atdata.shards.listing import stat_file
from atdata.shards.transaction import in_transaction, recover

_SHOWN = 5


def reading(path: Path) -> AbstractContextManager[None]:
    """Turn an `OSError` into the typed one."""
    hint = "Nothing was written. Check that it is there, and that you may read it."
    return disk_errors(path, "a file cannot be read", hint)


def is_folder(path: Path) -> bool:
    """True for a folder.

    Raises:
        StorageError: no file can have such a path, or the folders above may not be looked into.
    """
    with reading(path):
        return path.is_dir()


@contextmanager
def decoding(path: Path, what: str, damage: tuple[type[Exception], ...], hint: str) -> Iterator[None]:
    """Turn what a decoder raises on damaged files into the typed error.

    Args:
        path: the file.
        what: what to say of it.
        damage: what the decoder raises; once the file could be opened, that may be an `OSError` too.
        hint: what to do about it.
    """
    with reading(path):
        path.open("rb").close()
    try:
        yield
    except AtdataError as error:
        error.uri = error.uri or str(path)
        raise
    except damage as error:
        actual = f"{type(error).__name__}: {error}"[:200]
        raise SampleError(what, uri=str(path), actual=actual, hint=hint) from error


@dataclass(frozen=True)
class Snapshot:
    """The state of files when they were read first: they are read twice, and must be the same both times."""

    stamps: tuple[tuple[Path, int, int], ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Snapshot:
        """The files as they are now.

        Raises:
            StorageError: one is not there, or may not be read.
        """
        return cls(tuple((path, *_stamp(path)) for path in paths))

    def check(self) -> None:
        """Check that nothing has changed.

        Raises:
            ConflictError: a file has.
            StorageError: a file is gone.
        """
        for path, *stamp in self.stamps:
            if list(_stamp(path)) != stamp:
                raise ConflictError(
                    "a file has changed since its rows were counted",
                    uri=str(path),
                    hint="Open it again when nothing writes to it any more.",
                )


def _stamp(path: Path) -> tuple[int, int]:
    if path.is_symlink() and not path.exists():
        raise ShardNotFoundError(
            "a symbolic link is broken", uri=str(path), hint="Fetch its target (git annex get), or remove it."
        )
    with reading(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Folder:
    """A folder's files, at any depth.

    Attributes:
        root: the folder.
        files: paths relative to it, sorted; nothing hidden, no links that lead out of it, but to the content that
            git-annex keeps in the repository around it: who writes a folder that others import names no files of theirs.
        notes: what was left out, for people.
    """

    root: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Folder:
        """The files that are there now.

        Raises:
            StorageError: a folder may not be read.
        """
        hidden: list[str] = []
        links: list[str] = []
        files: list[Path] = []

        def refuse(error: OSError) -> None:
            raise error

        with reading(root):
            homes = _homes(root.resolve())
            for place, folders, names in os.walk(root, onerror=refuse):
                here = Path(place)
                if in_transaction(here):  # then its files are about to be others
                    recover(here)
                    return cls.of(root)
                hidden += [_text(here / name, root) for name in (*folders, *names) if name.startswith(".")]
                folders[:] = [name for name in folders if not name.startswith(".")]
                links += [_text(here / name, root) for name in folders if (here / name).is_symlink()]
                for path in (here / name for name in names if not name.startswith(".")):
                    if path.is_symlink() and path.exists() and not any(map(path.resolve().is_relative_to, homes)):
                        links.append(_text(path, root))
                    else:  # what is no file, or a link to nothing, is an error where it would be read
                        files.append(path.relative_to(root))
        notes = [
            *passed_over(hidden, "hidden"),
            *passed_over(sorted(links), "links that lead out of the folder, or to folders"),
        ]
        return cls(root, tuple(sorted(files, key=Path.as_posix)), tuple(notes))

    @property
    def left_out(self) -> str | None:
        """The notes as one text, for errors."""
        return "; ".join(self.notes) or None

    def having(self, suffixes: Sequence[str]) -> tuple[Path, ...]:
        """The files whose names end in one of some suffixes, in any case of letters.

        Raises:
            ShardNotFoundError: one is no file, but a link to nothing or something else.
        """
        found = tuple(path for path in self.files if path.suffix.lower() in suffixes)
        for path in found:
            stat_file(str(self.root / path))
        return found

    def in_splits(self, suffixes: Sequence[str], *, folders_only: bool = False) -> FilesInSplits:
        """Files by their split, as loading tells it (`atdata.loading.splits`), each split in the order of `files`.

        Where folders say splits, a file that is in no folder at all and says none is no part of the data.

        Args:
            suffixes: as for `having`.
            folders_only: whether the names of files say nothing; then folders say something only where all do.
        """
        found = [(path, (*path.parts[:-1], "") if folders_only else path.parts) for path in self.having(suffixes)]
        if folders_only:
            told = {path.parent.as_posix(): named_split(parts) is not None for path, parts in found if len(parts) > 1}
            if not all(told.values()):
                saying, silent = ([name for name, says in told.items() if says is kind] for kind in (True, False))
                note = (
                    f"taken for classes, not for splits: {some(saying)}; of the other folders {some(silent)} say none"
                )
                return FilesInSplits({TRAIN: [path for path, _ in found]}, (note,) if saying else ())
        stray = dict.fromkeys(strays(found))
        notes = tuple(passed_over([path.as_posix() for path in stray], "in no split"))
        return FilesInSplits(by_split(file for file in found if file[0] not in stray), notes)

    def without(self, suffixes: Sequence[str], what: str) -> list[str]:
        """A note about the other files, which are no `what`."""
        others = [path.as_posix() for path in self.files if path.suffix.lower() not in suffixes]
        return passed_over(others, f"no {what}")


def _homes(folder: Path) -> list[Path]:
    """The folders that links in a folder may lead to: itself, and where git-annex keeps content in its repository."""
    repository = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder)
    return [folder, (repository / ".git/annex/objects").resolve()]


class FilesInSplits(NamedTuple):
    """Files by the split they are of, and what was left out, for people."""

    splits: dict[str, list[Path]]
    notes: tuple[str, ...]


def passed_over(names: Sequence[str], why: str) -> list[str]:
    """A note about files that were skipped, if any were."""
    return [f"passed over {len(names)} ({why}): {some(names)}"] if names else []


def some(names: Sequence[object], show: Callable[[object], str] = str) -> str:
    """The first of some names, and how many there are more."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(show, names[:_SHOWN])) + more


def _text(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
