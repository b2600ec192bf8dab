"""Replicas with a search, in each database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atdata.databases import open_connection
from atdata.replica import Replica
from atdata.replica.tables import TABLES as REPLICA
from atdata.search import SearchIndex
from atdata.search.tables import TABLES as SEARCH

_TABLES = [
    *(f"replica_{name}" for name in ("changes", "links", "records", "nodes", "accounts")),
    *(f"search_{name}" for name in ("documents", "shown", "facets", "hidden", "labels", "pending")),
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def searched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    """Makes replicas with a search, that hold nothing."""
    count, url, made = itertools.count(), "", list[Replica]()
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")

    def make() -> Replica:
        where = url or tmp_path / f"{next(count)}.db"
        made.append(Replica(open_connection(where, [REPLICA, SEARCH], durable=False), [SearchIndex()]))
        if url:
            tables = ", ".join(_TABLES)
            made[-1].write(lambda writing: writing.sql.run(f"TRUNCATE {tables} RESTART IDENTITY"))
        return made[-1]

    yield make
    for replica in made:
        replica.close()
