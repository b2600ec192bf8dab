"""The services of one person on one machine: which run, where, and how a program uses them."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atdata.errors import AtdataError, UsageError
from atdata.files import disk_errors
from atdata.testing.services.postgres import PostgresServer
from atdata.testing.services.redis import RedisServer
from atdata.testing.services.s3 import CephServer, MotoServer
from atdata.testing.services.server import Server, take_folder, write_private

# For each service what gives it, the best first.
KINDS: dict[str, tuple[type[Server], ...]] = {
    "redis": (RedisServer,),
    "postgres": (PostgresServer,),
    "s3": (CephServer, MotoServer),
}


@dataclass(frozen=True)
class Status:
    """The status of a service.

    Attributes:
        service: `redis`, `postgres`, `s3`.
        state: where it stands now, and whether it did so before.
        program: what gives it, where anything does.
        address: where, without a password.
        log: what it says.
        note: what a user must know, or do.
        error: why it failed.
    """

    service: str
    state: Literal["started", "already running", "not installed", "failed", "stopped", "not running", "wiped"]
    program: str | None = None
    address: str | None = None
    log: Path | None = None
    note: str = ""
    error: AtdataError | None = None

    @property
    def running(self) -> bool:
        """True if it can be used."""
        return self.state in ("started", "already running")


class Home:
    """A folder in which each service has one of its own, and the file with the variables that programs need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def variables(self) -> Path:
        """Shell lines that set what a program needs to use what runs; its owner's only, as passwords are in it."""
        return self.folder / "services.env"

    def up(self, services: Sequence[str] = ()) -> list[Status]:
        """Start some services, or all; what runs already stays as it is.

        Raises:
            UsageError: the name of a service is unknown.
            ConflictError: somebody has something in its folder.
        """
        names = _named(services)
        with self._locked():
            found = [self._start(service) for service in names]
            self._write_variables()
        return found

    def down(self, services: Sequence[str] = (), *, wipe: bool = False) -> list[Status]:
        """End some services, or all; only processes that were started here. Their data stay.

        Args:
            services: which.
            wipe: remove their data as well.

        Raises:
            UsageError: the name of a service is unknown.
        """
        names = _named(services)
        if not self.folder.exists():
            return [Status(service, "not running") for service in names]
        with self._locked():
            found = [self._stop(service, wipe) for service in names]
            self._write_variables()
        return found

    def servers(self, service: str) -> list[Server]:
        """The servers that may give a service, the best first."""
        return [kind(self.folder / kind.PROGRAM.lower()) for kind in KINDS[service]]

    def environment(self) -> dict[str, str]:
        """The variables with which a program uses what runs."""
        known: dict[str, str] = {}
        for server in (server for service in KINDS for server in self.servers(service) if server.running):
            known |= server.environment
        index = known.get("ATDATA_POSTGRES_URL") or known.get("ATDATA_REDIS_URL")
        return {**({"ATDATA_INDEX_URL": index} if index else {}), **known}

    def _start(self, service: str) -> Status:
        servers = self.servers(service)
        if running := next((server for server in servers if server.running), None):
            return _status(running, "already running")
        server = next((server for server in servers if server.installed()), None)
        if server is None:
            return Status(service, "not installed", note=servers[0].INSTALL)
        try:
            server.start()
        except AtdataError as error:
            return Status(service, "failed", server.PROGRAM, None, server.log, error.what, error)
        return _status(server, "started")

    def _stop(self, service: str, wipe: bool) -> Status:
        servers = self.servers(service)
        ended = [server for server in servers if server.stop()]
        if wipe:
            for server in servers:
                server.wipe()
            return Status(service, "wiped")
        return Status(service, "stopped", ended[0].PROGRAM) if ended else Status(service, "not running")

    def _write_variables(self) -> None:
        """Write the variables of what runs; no file where nothing does."""
        known = self.environment()
        if not known:
            self.variables.unlink(missing_ok=True)
            return
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in known.items()]
        write_private(self.variables, "".join(lines))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the folder: one command at a time."""
        take_folder(self.folder)
        with disk_errors(self.folder):
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _status(server: Server, state: Literal["started", "already running"]) -> Status:
    return Status(server.SERVICE, state, server.PROGRAM, server.address, server.log, server.NOTES)


def _named(services: Sequence[str]) -> list[str]:
    for service in services:
        if service not in KINDS:
            raise UsageError("the name of a service is unknown", expected=" ".join(KINDS), actual=service)
    return [service for service in KINDS if service in services or not services]
