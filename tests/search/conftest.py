"""Replicas with a search, in each database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atdata.databases import open_connection
from atdata.replica import Replica
from atdata.replica.statements import Statements
from atdata.replica.tables import TABLES as REPLICA
from atdata.search import SearchIndex
from atdata.search.tables import TABLES as SEARCH
from atdata.trust import TABLES as TRUST


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few documents be many row groups, some of them read whole and others not."""
    for name, value in (("ROWS", 4), ("_WORTH_READING", 2), ("_READ_WHOLE", 2)):
        monkeypatch.setattr(f"atdata.search.columns.{name}", value)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def searched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    """Makes replicas with a search, that hold nothing."""
    count, url, made = itertools.count(), "", list[Replica]()
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")

    def new() -> Replica:
        where = url or tmp_path / f"{next(count)}.db"
        made.append(Replica(open_connection(where, [REPLICA, TRUST, SEARCH], durable=False), [SearchIndex()]))
        return made[-1]

    def make() -> Replica:
        if not (url and made):
            return new()
        made[0].write(lambda writing: writing.sql.run(f"TRUNCATE {_all_tables(writing.sql)} RESTART IDENTITY"))
        return made[0]

    yield make
    for replica in made:
        replica.close()


def _all_tables(sql: Statements) -> str:
    named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND right(tablename, 7) <> '_format'"
    return ", ".join(name for (name,) in sql.all(named))
