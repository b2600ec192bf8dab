"""Where shards come from: references, and the sources that hold them."""

from __future__ import annotations

import difflib
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import unquote

from atdata.errors import ShardNotFoundError, UsageError
from atdata.protocols import DataSource
from atdata.redaction import redacted
from atdata.settings import Settings
from atdata.shards.braces import expand_braces
from atdata.shards.digest import Digest

SCHEMES = ("file", "http", "https", "s3", "gs", "at", "atdata")
_LOOKED_AT = 1000  # names in a folder, for the one that was meant


@dataclass(frozen=True)
class ShardRef:
    """One shard, with what is known about it. A fact that is not known is `None`.

    Attributes:
        url: path or URL.
        digest: what its bytes must hash to.
        size: bytes.
        samples: how many it holds.
        manifest: where its manifest is: the header, and the rows where there are any, each with its digest. It is no
            part of what makes two references equal.
    """

    url: str
    digest: Digest | None = None
    size: int | None = None
    samples: int | None = None
    manifest: DataSource | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        known = {"digest": self.digest, "size": self.size, "samples": self.samples}
        facts = "".join(f", {name}={fact!r}" for name, fact in known.items())
        return f"ShardRef(url={redacted(self.url)!r}{facts})"


@dataclass(frozen=True)
class FileSource:
    """Shards that are files on this machine."""

    shards: tuple[ShardRef, ...]

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]]) -> FileSource:
        """The shards at some paths; each may use brace notation or be a glob. A file of that very name wins over both.

        Raises:
            ShardNotFoundError: there is no such file.
        """
        return cls(tuple(ShardRef(path) for given in paths for path in _existing(os.fspath(given))))

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The shard's bytes from `offset` on."""
        file = self.path(shard).open("rb")
        file.seek(offset)
        return file

    def path(self, shard: ShardRef) -> Path:
        """Where a shard is.

        Raises:
            ShardNotFoundError: it is no longer there.
        """
        path = Path(shard.url)
        if not path.is_file():
            raise ShardNotFoundError("there is no such shard", uri=shard.url)
        return path


def source_of(where: Any) -> DataSource:
    """The source that a path, a URL, brace notation, a list of these, or a source stands for.

    Raises:
        UsageError: it stands for none.
        ShardNotFoundError: a path names no file.
    """
    if isinstance(where, str | os.PathLike):
        where = [where]
    if isinstance(where, DataSource):
        return where
    if not isinstance(where, Sequence) or not where or not all(isinstance(w, str | os.PathLike) for w in where):
        raise UsageError(
            "nothing here names shards",
            expected="a path, a URL, brace notation, a list of them, or a source",
            actual=repr(where)[:80],
        )
    given = [os.fspath(each) for each in where]
    if all(scheme_of(each) == "file" for each in given):
        return FileSource.of([file_path(each) for each in given])
    return source_at(expand_braces(*given))


def source_at(addresses: Sequence[str], settings: Settings | None = None) -> DataSource:
    """The source of shards at addresses that are spelled out: paths of files, or URLs.

    Args:
        addresses: at least one.
        settings: by default those of the environment.

    Raises:
        UsageError: they are of several kinds of place, or of one that holds no shards.
    """
    schemes = {scheme_of(address) for address in addresses}
    if len(schemes) > 1:
        raise UsageError("one dataset reads from one kind of place", actual=", ".join(sorted(schemes)))
    match schemes.pop():
        case "file":
            return FileSource(tuple(ShardRef(address) for address in addresses))
        case "http" | "https":
            from atdata.shards.http import HttpSource

            return HttpSource.from_urls(addresses, settings=settings)
        case "gs":
            from atdata.shards.http import HttpSource, public_gs_url

            return HttpSource.from_urls([public_gs_url(address) for address in addresses], settings=settings)
        case "s3":
            from atdata.shards.s3 import S3Source

            return S3Source.from_urls(addresses)
        case "at" | "atdata":
            raise UsageError(
                "an at:// or atdata:// address needs the network layer",
                actual=addresses[0],
                hint="Use atdata.load_dataset(...) for a record, BlobSource.from_urls([...]) for blobs.",
            )
        case other:
            known = "Use a path, file://, http(s)://, s3:// or gs://."
            raise UsageError(f"no shards can be read from {other}://", hint=did_you_mean(other, SCHEMES) or known)


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; `file` for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", url)
    return match[1].lower() if match else "file"


def file_path(given: str) -> str:
    """The path that a path, or a `file://` URL, names; the URL's is percent-decoded.

    Raises:
        UsageError: the URL names another machine.
    """
    if not given.lower().startswith("file://"):
        return given
    host, slash, path = given[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise UsageError(
            "a file:// URL that names no file of this machine",
            expected="file:///path",
            actual=given,
            hint="Write three slashes and the whole path.",
        )
    return unquote(slash + path)


def files_at(path: str) -> list[str]:
    """The file at a path, or those that a glob matches, in natural order; `**` also matches folders in folders.

    A glob that does not say how names end, such as `data/*`, matches shards only: what ends in `.tar`.

    Raises:
        ShardNotFoundError: there is none.
    """
    if is_file(path):
        return [path]
    found = filter(is_file, glob.glob(path, recursive=True)) if glob.has_magic(path) else ()
    ends = ".tar" if path.endswith("*") else ""
    files = sorted((file for file in found if file.endswith(ends)), key=natural)
    if not files:
        raise no_shard(path)
    return files


Natural: TypeAlias = tuple[list[list[str | int]], str]


def natural(path: str) -> Natural:
    """The key that sorts paths as people count: folder by folder, `data-2.tar` before `data-10.tar`."""
    parts = [re.split(r"([0-9]+)", part) for part in Path(path).parts]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(part)] for part in parts], path


def is_file(path: str) -> bool:
    """Whether there is a file at a path; no text is too strange to ask."""
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def is_folder(path: str) -> bool:
    """Whether there is a folder at a path; no text is too strange to ask."""
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


def did_you_mean(given: str, known: Sequence[str]) -> str | None:
    """A question about the name that was meant, where one is close to what was given."""
    close = difflib.get_close_matches(given, known, 1, 0.75)
    return f"Did you mean {close[0]!r}?" if close and close[0] != given else None


def _existing(pattern: str) -> Iterator[str]:
    if is_file(pattern):
        yield pattern
        return
    for path in expand_braces(pattern):
        yield from files_at(path)
