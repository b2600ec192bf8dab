"""Real Redis and PostgreSQL servers for tests, and a fresh database of each for every test.

Where `TEST_REDIS_URL` or `TEST_POSTGRES_URL` is set, that server is used; else one that is installed, or bundled in a
wheel, is started for the session. Only those that were started here can be stopped and started again in a test.
They end with the process that started them, also where that is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from atdata.testing.services import PostgresServer, RedisServer, Server

S = TypeVar("S", bound=Server)
DATABASES = range(1, 16)  # of a Redis as it comes; 0 is where they are given out
GUARD = """
import os, sys, time
from pathlib import Path
from atdata.testing import services

kind, folder, parent = sys.argv[1:]
while os.getppid() == int(parent):
    time.sleep(0.2)
getattr(services, kind)(Path(folder)).wipe()
"""


@contextmanager
def running(server: S) -> Iterator[S]:
    """A server that runs until the block ends, or the process, or a skip with the reason."""
    if not server.installed():
        pytest.skip(f"{server.PROGRAM} is not installed: {server.INSTALL}")
    guard = [sys.executable, "-c", GUARD, type(server).__name__, str(server.folder), str(os.getpid())]
    with subprocess.Popen(
        guard, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as guarding:
        try:
            server.start()
            yield server
        finally:
            server.stop(kill=True)
            guarding.kill()


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A folder with a path that is short enough for the sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def own_redis() -> Iterator[RedisServer]:
    """A Redis of our own, or a skip with the reason."""
    with temporary("atdata-redis-") as folder, running(RedisServer(folder / "server")) as server:
        yield server


@contextmanager
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, or a skip with the reason."""
    with temporary("atdata-pg-") as folder, running(PostgresServer(folder / "server", durable=False)) as server:
        yield server


@contextmanager
def fresh_redis(url: str) -> Iterator[str]:
    """The address of an empty database of a Redis; emptied at the end."""
    number, claim = _claim(url)
    fresh = urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
    try:
        yield fresh
    finally:
        with redis_client(fresh) as client:
            client.flushdb()
        with redis_client(url) as client:
            client.delete(claim)


@contextmanager
def fresh_postgres(url: str) -> Iterator[str]:
    """The address of a new database of a PostgreSQL; dropped at the end, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    with postgres_connection(url) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with postgres_connection(url) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis_client(url: str) -> Iterator[Any]:
    """A client with nothing of atdata in between."""
    redis = pytest.importorskip("redis", reason="redis is not installed")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@contextmanager
def postgres_connection(url: str) -> Iterator[Any]:
    """A connection with nothing of atdata in between; each statement is its own transaction."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _claim(url: str) -> tuple[int, str]:
    """A database that is empty, and that no other test, in any process, gets meanwhile."""
    with redis_client(url) as client:
        for number in DATABASES:
            claim = f"atdata-test-database:{number}"
            if client.set(claim, "taken", nx=True, ex=3600):
                with redis_client(urlunsplit(urlsplit(url)._replace(path=f"/{number}"))) as other:
                    if other.dbsize() == 0:
                        return number, claim
                client.delete(claim)
    raise RuntimeError(f"no database of this Redis is empty: {urlsplit(url).hostname}")
