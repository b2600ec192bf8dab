"""Every database of an index answers alike: the real ones, and the dict that says what they must answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata.local.database import Database
from atdata.local.opening import open_database
from atdata.testing import MemoryDatabase
from atdata.testing.conformance.databases import DatabaseSuite, SharedDatabaseSuite


class TestMemory(DatabaseSuite):
    @pytest.fixture
    def database(self) -> Database:
        return MemoryDatabase()


class TestSqlite(SharedDatabaseSuite):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        database = open_database(tmp_path / "folder" / "index.sqlite")
        yield database
        database.close()


class TestRedis(SharedDatabaseSuite):
    @pytest.fixture
    def database(self, redis_url: str) -> Iterator[Database]:
        database = open_database(redis_url)
        yield database
        database.close()


class TestPostgres(SharedDatabaseSuite):
    @pytest.fixture
    def database(self, postgres_url: str) -> Iterator[Database]:
        database = open_database(postgres_url)
        yield database
        database.close()
