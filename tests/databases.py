"""Redis and PostgreSQL servers that a test may kill and start again: what they said is done must be there after it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any


class DatabaseServer:
    """A server of our own, on a socket in a folder of its own; its data outlive `kill` and `start`."""

    url: str

    def __init__(self, *options: str) -> None:
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="atdata-db-"))
        self.folder.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DatabaseServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it on the data that are there, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self.folder)
        _wait_for(self._ping, self.process, self.folder / "log")

    def kill(self) -> None:
        """End it at once, and all that it started."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _ping(self) -> None: ...


class RedisServer(DatabaseServer):
    """Redis, which writes each change to disk before it answers."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.url = f"unix://{self.folder}/socket"

    @staticmethod
    def program() -> str | None:
        return shutil.which("redis-server") or shutil.which("valkey-server")

    def _command(self) -> list[str]:
        program = self.program()
        assert program is not None
        files = ["--port", "0", "--unixsocket", f"{self.folder}/socket", "--dir", str(self.folder)]
        return [program, *files, "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self.options]

    def _ping(self) -> None:
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.ping()


class PostgresServer(DatabaseServer):
    """PostgreSQL, as it comes: a commit is on disk before it answers."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.url = f"postgresql://postgres@/postgres?host={self.folder}"
        self._as: list[str] = []
        if os.getuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        made = [*self._as, str(self._bin() / "initdb"), "-D", f"{self.folder}/data", "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [*made, "--no-sync", "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd=self.folder
        )

    @staticmethod
    def program() -> str | None:
        found = shutil.which("postgres")
        return found or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)), None)

    def _bin(self) -> Path:
        program = self.program()
        assert program is not None
        return Path(program).parent

    def _command(self) -> list[str]:
        places = ["-D", f"{self.folder}/data", "-k", str(self.folder), "-c", "listen_addresses="]
        return [*self._as, str(self._bin() / "postgres"), *places, "-c", "max_connections=60", *self.options]

    def _ping(self) -> None:
        import psycopg

        psycopg.connect(self.url).close()


def _wait_for(ping: Callable[[], None], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            return ping()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(log.read_text(errors="replace")[-2000:]) from error
            time.sleep(0.02)


def emptied(url: str) -> str:
    """The same server, with nothing of ours in it."""
    if url.startswith("postgres"):
        import psycopg

        with psycopg.connect(url, autocommit=True) as db:
            db.execute("DROP TABLE IF EXISTS atdata_records, atdata_format")
    else:
        import redis

        with redis.Redis.from_url(url) as client:
            client.flushall()
    return url


def nobody_else(work: Callable[[], Any]) -> Any:
    """Do something without the rights of root."""
    if os.geteuid() != 0:
        return work()
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        return work()
    finally:
        os.seteuid(0)
