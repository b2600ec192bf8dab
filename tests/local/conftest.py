"""The databases that an index may be in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import PostgresServer, RedisServer, emptied

BACKENDS = ("sqlite", "redis", "postgres")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A durable Redis; skipped, with the reason, where there is none."""
    pytest.importorskip("redis", reason="the driver of Redis is not installed")
    if RedisServer.program() is None:
        pytest.skip("Redis is not installed")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A durable PostgreSQL; skipped, with the reason, where there is none."""
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed")
    if PostgresServer.program() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis."""
    return emptied(redis_server.url)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty PostgreSQL database."""
    return emptied(postgres_server.url)


@pytest.fixture(params=BACKENDS)
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for an index, of each kind in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "index.sqlite")
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
