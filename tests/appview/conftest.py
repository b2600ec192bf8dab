"""What tests of the AppView share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata.replica import Replica
from atdata.testing import Devnet
from support.ingesting import Writer, replica_at
from support.upstreams import TestedUpstream


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that holds nothing."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/appview.db"


@pytest.fixture
def replica(database: str) -> Iterator[Replica]:
    """An empty replica with the tables of ingest."""
    made = replica_at(database)
    yield made
    made.close()


@pytest.fixture
def net() -> Iterator[Devnet]:
    with Devnet(servers=2) as made:
        yield made


@pytest.fixture
def upstream() -> Iterator[TestedUpstream]:
    with TestedUpstream() as made:
        yield made


@pytest.fixture
def writer(net: Devnet, upstream: TestedUpstream) -> Writer:
    return Writer(net, upstream)
