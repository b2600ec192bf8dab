"""The database behind the address of an index."""

from __future__ import annotations

import os
import re

from atdata.arguments import path_text
from atdata.databases import open_connection
from atdata.errors import UsageError
from atdata.local.database import Database
from atdata.local.redis import RedisDatabase
from atdata.local.sql import TABLES, SqlDatabase
from atdata.redaction import Secret, secret_address
from atdata.shards.urls import scheme_of

_CONNECTION = re.compile(
    r"(?i)(?:^|[\s;])(?:host|hostaddr|user|user id|password|dbname|port|service|server)\s*=|^[^/\\:]*:[^/\\]*@"
    r"|^(?:redis|rediss|postgres|postgresql):"
)


_WHAT = "the index"  # as errors call it


def _no_file(where: str) -> str:
    """An address as a secret, a path as it is. What else connects to a server is no path: a password would be in its name.

    Raises:
        UsageError: it is neither.
    """
    if "://" not in where and _CONNECTION.search(where):
        raise UsageError(
            "an index's address must be a URL or a path",
            expected="redis://, rediss://, unix://, postgresql://, sqlite:/// or a path",
            hint="Write it as a URL. A file of such a name is Path(...).",
        )
    return secret_address(where)


def open_database(where: str | os.PathLike[str]) -> Database:
    """The database at an address.

    Raises:
        UsageError: no index can be there.
    """
    where = _no_file(where) if isinstance(where, str) else path_text(where, "where")
    if not where:
        raise UsageError("an index's address must not be empty", hint="Leave it out for the one by default.")
    match scheme_of(where):
        case "redis" | "rediss" | "unix":
            return RedisDatabase(Secret(where))
        case "postgresql" | "postgres" | "sqlite" | "file":
            return SqlDatabase(open_connection(where, [TABLES], what=_WHAT))
        case other:
            raise UsageError(
                f"an index cannot be kept at {other}://",
                expected="redis://, rediss://, unix://, postgresql://, sqlite:/// or a path",
                hint="See LocalIndex.",
            )
