"""Where shards come from: references, and the sources that hold them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from atdata.errors import UsageError
from atdata.protocols import DataSource
from atdata.redaction import redacted
from atdata.settings import Settings
from atdata.shards.braces import expand_braces
from atdata.shards.digest import Digest
from atdata.shards.exchange import State
from atdata.shards.listing import Listing, did_you_mean, is_file, look, open_file

SCHEMES = ("file", "http", "https", "s3", "gs", "at", "atdata")


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
    """Shards that are files on this machine.

    Attributes:
        shards: references with paths.
        listed: of those that were found in a list, the state in which they were: no other file is read in place of one.
    """

    shards: tuple[ShardRef, ...]
    listed: Mapping[str, State] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]]) -> FileSource:
        """The shards at some paths; each may use brace notation or be a glob. A file of that very name wins over both.

        Raises:
            ShardNotFoundError: there is no such file, or it is none.
        """
        listing = Listing()
        found = [path for given in paths for path in _existing(os.fspath(given), listing)]
        return cls(tuple(ShardRef(path) for path in found), listing.states)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The shard's bytes from `offset` on.

        Raises:
            ShardNotFoundError: it is not there, cannot be read, or is no file.
            ShardError: it was changed since it was listed.
            LimitError: too many files are open.
        """
        file = open_file(shard.url, self.listed.get(shard.url))
        file.seek(offset)
        return file

    def path(self, shard: ShardRef) -> Path:
        """Where a shard is.

        Raises:
            ShardNotFoundError: it is no longer there, or is no file.
        """
        look(shard.url)
        return Path(shard.url)


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


def source_at(
    addresses: Sequence[str], settings: Settings | None = None, listed: Mapping[str, State] | None = None
) -> DataSource:
    """The source of shards at addresses that are spelled out: paths of files, or URLs.

    Args:
        addresses: at least one.
        settings: by default those of the environment.
        listed: the state of files when they were listed.

    Raises:
        UsageError: they are of several kinds of place, or of one that holds no shards.
    """
    schemes = {scheme_of(address) for address in addresses}
    if len(schemes) > 1:
        raise UsageError("one dataset reads from one kind of place", actual=", ".join(sorted(schemes)))
    match schemes.pop():
        case "file":
            return FileSource(tuple(ShardRef(address) for address in addresses), dict(listed or {}))
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


def _existing(pattern: str, listing: Listing) -> list[str]:
    if is_file(pattern):
        return listing.all_of([pattern])
    paths = expand_braces(pattern)
    if not any(map(glob.has_magic, paths)):
        return listing.all_of(paths)
    return [found for path in paths for found in listing.at(path)]
