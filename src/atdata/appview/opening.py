"""The database of an AppView."""

from __future__ import annotations

from pathlib import Path

from atdata.appview.ingest import TABLES as INGEST_TABLES
from atdata.databases import open_connection
from atdata.replica import Replica
from atdata.replica.tables import TABLES as REPLICA_TABLES
from atdata.search import SearchIndex
from atdata.search.tables import TABLES as SEARCH_TABLES
from atdata.trust import TABLES as TRUST_TABLES

TABLES = (REPLICA_TABLES, SEARCH_TABLES, TRUST_TABLES, INGEST_TABLES)


def open_appview(where: str | Path) -> Replica:
    """The replica of an AppView, which search follows. A file that is made is its user's alone: reasons of takedowns are in it.

    Args:
        where: `sqlite:///PATH`, `postgresql://...`, or the path of a SQLite file.

    Raises:
        UsageError: no such database can be there.
    """
    return Replica(open_connection(where, TABLES, what="the database of the AppView", private=True), [SearchIndex()])
