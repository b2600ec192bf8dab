"""Fixtures that every test may use."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from atdata.atproto import keys
from atdata.native import native
from atdata.testing import DevAccount
from atdata.testing.services import PostgresServer, RedisServer
from support import MANY
from support.networks import Devnet, Network, RealNet, fresh_handle, unavailable
from support.s3_servers import S3Server, running_server
from support.services import fresh_postgres, fresh_redis, own_postgres, own_redis

# Several tests run at a time, each with processes of its own: in these, threads for linear algebra only wait for cores.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# A machine under load is no finding.
settings.register_profile(
    "atdata", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100 if MANY else 40
)
settings.register_profile("fast", settings.get_profile("atdata"), max_examples=20)
settings.load_profile("fast" if os.environ.get("ATDATA_TEST_FAST") else "atdata")


_numbers = count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder. Pytest's own looks among those of all tests for a name that is free."""
    name = re.sub(r"\W", "_", request.node.name, flags=re.ASCII)[:30]
    return tmp_path_factory.mktemp(f"{name}-{next(_numbers)}", numbered=False)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the caches, logins and settings of the person who runs it, nor of another test."""
    for name in (
        "ATDATA_PLC_URL",
        "ATDATA_RESOLVER_URL",
        "ATDATA_APPVIEW_URL",
        "ATDATA_ALLOW_LOOPBACK",
        "ATDATA_INDEX_URL",
        "ATDATA_POLICY",
        "ATDATA_PUBLIC_QUERY",
        "ATDATA_LENS_INTERPRETER",
    ):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.mktemp(f"home-{next(_numbers)}", numbered=False)
    monkeypatch.setenv("ATDATA_CACHE", str(home / "cache"))
    monkeypatch.setenv("ATDATA_DATA", str(home / "data"))


@pytest.fixture(scope="module", params=["native", pytest.param("python", marks=pytest.mark.slow)])
def either_form(request: pytest.FixtureRequest) -> Iterator[None]:
    """The loops of `_native*.c` and their forms in Python, or numpy, in turn: each test holds for both."""
    if request.param == "native":
        if native is None:
            pytest.skip("atdata/_native.c is not compiled here")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for user in ("samples.blocks", "shards.scan", "atproto.cbor", "atproto.repo.node"):
            patch.setattr(f"atdata.{user}.native", None)
        yield


@pytest.fixture(params=["openssl", "libsecp256k1"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The libraries that sign and verify on k256 in turn: both do the same."""
    if request.param == "openssl":
        monkeypatch.setattr("atdata.atproto.keys.fast_verifier", lambda _: None)
        monkeypatch.setattr("atdata.atproto.keys.fast_signer", lambda _: None)
    elif not find_spec("coincurve"):
        pytest.skip("coincurve is not installed here")
    for made in (keys._verifier, keys._signer):
        made.cache_clear()
    yield
    for made in (keys._verifier, keys._signer):
        made.cache_clear()


@pytest.fixture
def many_files() -> Iterator[None]:
    """More files are open than `select(2)` has numbers for, as a trainer's process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if wanted < 2048:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        yield
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def served(pytestconfig: pytest.Config) -> None:
    """Asked for by whatever starts a real server: a test that needs one gets the marker `served` by it.

    Pytest does not see what a fixture asks for while it runs. So a parameter for which it asks for a server has the
    marker itself; one that lacks it fails here.
    """
    assert not pytestconfig.getoption("--fast"), "a test that needs a real server lacks the marker `served`"


@pytest.fixture(scope="session")
def devnet() -> Iterator[Devnet]:
    """One Devnet for all tests; each makes accounts of its own."""
    with Devnet(servers=2) as net:
        yield net


@pytest.fixture(scope="session")
def realnet(served: None) -> Iterator[RealNet]:
    """Two real PDSes on one real PLC directory; skipped, with the reason, where they cannot run."""
    if reason := unavailable():
        pytest.skip(reason)
    with RealNet(servers=2) as net:
        yield net


@pytest.fixture(params=["devnet", pytest.param("pds", marks=pytest.mark.served)])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Both networks in turn: what is promised holds on the fake and on the real one."""
    net: Network = request.getfixturevalue("devnet" if request.param == "devnet" else "realnet")
    yield net
    net.tell(None)
    for server in (net.plc_server, *net.pds_servers):
        server.before = None


@pytest.fixture
def alice(network: Network) -> DevAccount:
    """A fresh account on the first server."""
    return network.create_account(fresh_handle())


@pytest.fixture
def bob(network: Network) -> DevAccount:
    """A fresh account on the second server."""
    return network.create_account(fresh_handle(), server=1)


@pytest.fixture(scope="session")
def session_redis(served: None) -> Iterator[RedisServer]:
    """A Redis for the tests of this process."""
    with own_redis() as server:
        yield server


@pytest.fixture(scope="session")
def session_postgres(served: None) -> Iterator[PostgresServer]:
    """A PostgreSQL for the tests of this process."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def redis_server(session_redis: RedisServer) -> RedisServer:
    """A Redis that runs, and that a test may stop, kill and start again; other tests use it later."""
    session_redis.start()
    return session_redis


@pytest.fixture
def postgres_server(session_postgres: PostgresServer) -> PostgresServer:
    """A PostgreSQL that runs, and that a test may stop, kill and start again; other tests use it later."""
    session_postgres.start()
    return session_postgres


@pytest.fixture
def redis_url(served: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of a Redis, which no other test has."""
    url = os.environ.get("TEST_REDIS_URL") or request.getfixturevalue("redis_server").url
    with fresh_redis(url) as fresh:
        yield fresh


@pytest.fixture
def postgres_url(served: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database of a PostgreSQL, which no other test has."""
    url = os.environ.get("TEST_POSTGRES_URL") or request.getfixturevalue("postgres_server").url
    with fresh_postgres(url) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def s3_server(served: None) -> Iterator[S3Server]:
    """An S3 server for the tests of this process."""
    with running_server() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """A bucket that no other test has, and that only its account reads."""
    with s3_server.new_bucket() as name:
        yield name


@pytest.fixture
def public_bucket(s3_server: S3Server) -> Iterator[str]:
    """A bucket that no other test has, and that anybody may read from."""
    with s3_server.new_public_bucket() as name:
        yield name


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where only certain skips are allowed (a CI run), any other one fails the run."""
    allowed = os.environ.get("ATDATA_TEST_ALLOWED_SKIPS")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not allowed or reporter is None or hasattr(session.config, "workerinput"):
        return
    reasons = {
        str(report.longrepr[2]) for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)
    }
    unexpected = [reason for reason in reasons if not re.search(allowed, reason)]
    if unexpected:
        reporter.write_line(f"unexpected skips: {unexpected}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
