"""Where shards come from: references, and the sources that hold them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from atdata.errors import ShardNotFoundError, UsageError
from atdata.protocols import DataSource
from atdata.shards.braces import expand_braces
from atdata.shards.digest import Digest


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


@dataclass(frozen=True)
class FileSource:
    """Shards that are files on this machine."""

    shards: tuple[ShardRef, ...]

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]]) -> FileSource:
        """The shards at some paths; each may use brace notation or be a glob.

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
    schemes = {scheme_of(os.fspath(given)) for given in where}
    if len(schemes) > 1:
        raise UsageError("one dataset reads from one kind of place", actual=", ".join(sorted(schemes)))
    urls = expand_braces(*map(os.fspath, where))
    match schemes.pop():
        case "file":
            return FileSource.of([_plain_path(url) for url in urls])
        case "http" | "https":
            from atdata.shards.http import HttpSource

            return HttpSource.from_urls(urls)
        case "s3":
            from atdata.shards.s3 import S3Source

            return S3Source.from_urls(urls)
        case "at":
            raise UsageError(
                "an at:// address needs the network layer",
                actual=urls[0],
                hint="Use atdata.load_dataset(...) for a record, BlobSource.from_urls([...]) for blobs.",
            )
        case other:
            raise UsageError(f"no shards can be read from {other}://", hint="Use a path, file://, http(s):// or s3://.")


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; `file` for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", url)
    return match[1].lower() if match else "file"


def _plain_path(url: str) -> str:
    return url[len("file://") :] if url.lower().startswith("file://") else url


def _existing(pattern: str) -> Iterator[str]:
    for path in expand_braces(pattern):
        if Path(path).is_file():
            yield path
            continue
        found = sorted(glob.glob(path)) if glob.has_magic(path) else []
        if not found:
            raise ShardNotFoundError("there is no such shard", uri=path, hint="Check the path; nothing was read.")
        yield from found
