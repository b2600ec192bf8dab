"""Addresses of shards: the source for a path or URL that a user gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from atdata.arguments import did_you_mean
from atdata.errors import UsageError
from atdata.settings import Settings
from atdata.shards.braces import expand_braces
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.source import FileSource
from atdata.shards.transaction import State
from atdata.shards.urls import public_gs_url, scheme_of

SCHEMES = ("file", "http", "https", "s3", "gs", "at", "atdata")


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
            "the argument names no shards",
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
        raise UsageError(
            "all shards of a dataset must have the same URL scheme",
            actual=", ".join(sorted(schemes)),
            hint="Make a dataset of each.",
        )
    match schemes.pop():
        case "file":
            return FileSource(tuple(ShardRef(address) for address in addresses), dict(listed or {}))
        case "http" | "https":
            from atdata.shards.http import HttpSource

            return HttpSource.from_urls(addresses, settings=settings)
        case "gs":
            from atdata.shards.http import HttpSource

            return HttpSource.from_urls([public_gs_url(address) for address in addresses], settings=settings)
        case "s3":
            from atdata.shards.s3 import S3Source

            return S3Source.from_urls(addresses)
        case "at" | "atdata":
            raise UsageError(
                "at:// and atdata:// addresses do not name shard files",
                actual=addresses[0],
                hint="Use atdata.load_dataset(...) for a record, BlobSource.from_urls([...]) for blobs.",
            )
        case other:
            known = "Use a path, file://, http(s)://, s3:// or gs://."
            raise UsageError(f"URL scheme {other}:// is not supported", hint=did_you_mean(other, SCHEMES) or known)


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
            "a file:// URL does not name a local file",
            expected="file:///path",
            actual=given,
            hint="Write three slashes and the whole path.",
        )
    return unquote(slash + path)
