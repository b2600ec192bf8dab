"""The common base of all servers here: how it is started, found again, and ended."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from atdata.errors import ConflictError, NetworkError, NotFoundError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.files.own import is_ours, make_folder, remove_folder
from atdata.testing.services.process import Process

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)  # below those that systems give to clients: a restarted server finds its port free
_ATTEMPTS = 3
PATIENCE = 20.0  # seconds, for what is ended to be gone
_STARTING = 60.0  # seconds, for what is started to answer
# Nothing else of the environment: variables such as PGDATA would change what a server does.
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ")


@dataclass
class ServiceState:
    """The state of a server between two commands; kept in its folder, for its owner only."""

    port: int = 0
    user: str = ""
    secret: str = field(default="", repr=False)
    processes: tuple[Process, ...] = ()

    @classmethod
    def read(cls, path: Path) -> ServiceState:
        """The state in a file; a fresh one where there is none."""
        if not path.exists():
            return cls()
        known = json.loads(path.read_text("utf-8"))
        return cls(**{**known, "processes": tuple(Process(**process) for process in known["processes"])})


class Server(ABC):
    """A server on loopback, behind a random password, with its data and its log in one folder.

    Its state is in the folder, so that another object, in another process, finds it again: with the same port
    (where that is still free), password and data.

    Attributes:
        SERVICE: what it gives: `redis`, `postgres`, `s3`.
        PROGRAM: what gives it.
        INSTALL: how to get it.
        NOTES: what a user must know before trusting it.
        folder: where everything of it is.
    """

    SERVICE: ClassVar[str]
    PROGRAM: ClassVar[str]
    INSTALL: ClassVar[str]
    NOTES: ClassVar[str] = ""
    END: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = ServiceState.read(self._state_file)
        self._lock = -1

    @classmethod
    @abstractmethod
    def installed(cls) -> bool:
        """True if it can be started on this machine."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address, with the password where addresses of its kind have one."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Its address without the password."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a program uses it, such as `ATDATA_REDIS_URL`."""
        return {f"ATDATA_{self.SERVICE.upper()}_URL": self.url}

    @abstractmethod
    def _launch(self) -> None:
        """Write what it reads, and start its processes."""

    @abstractmethod
    def _answers(self) -> bool:
        """True if it is ready; an `OSError` says that it is not yet."""

    @property
    def log(self) -> Path:
        """The file that it logs to."""
        return self.folder / "server.log"

    @property
    def port(self) -> int:
        """The port on which it listens, on loopback only."""
        return self._state.port

    @property
    def running(self) -> bool:
        """True if all of it runs."""
        processes = self._state.processes
        return bool(processes) and all(process.running for process in processes)

    def start(self) -> None:
        """Start it, on the data that it has. Nothing is done where it runs.

        Raises:
            NotFoundError: it is not installed.
            NetworkError: it does not start.
            ConflictError: processes that are not known to be its own have its data.
        """
        if self.running:
            return
        if not self.installed():
            raise NotFoundError(f"{self.PROGRAM} is not installed", hint=self.INSTALL)
        take_folder(self.folder)
        self.stop()  # of what consists of several processes, some may be left
        for attempt in range(_ATTEMPTS):
            try:
                with self._own_data():  # whoever had the port before has let go of it too
                    if not is_free(self._state.port):
                        self._state.port = free_port()
                    self._launch()
                    self._wait()
                return
            except NetworkError:
                # Between choosing a port and listening on it, somebody else may have taken it.
                if attempt + 1 == _ATTEMPTS or is_free(self._state.port):
                    raise

    def stop(self, *, kill: bool = False) -> bool:
        """End its processes, and only those; its data stay. `True` if there were any.

        Args:
            kill: give it no time to end well (SIGKILL): a crash, as far as it can tell.
        """
        known = self._state.processes[::-1]  # what was started last leans on what was started first
        there = [_end(process, signal.SIGKILL if kill else self.END) for process in known]
        if known:
            self._state.processes = ()
            self._save()
        return any(there)

    def wipe(self) -> None:
        """Remove its data, password and log, after ending it."""
        self.stop()
        if is_ours(self.folder):
            with disk_errors(self.folder), self._own_data():
                remove_folder(self.folder)
        self._state = ServiceState()

    @contextmanager
    def _own_data(self) -> Iterator[None]:
        """Hold the folder's lock. Processes that are started meanwhile hold it too, until the last of them has ended."""
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._lock, self.folder)
            yield
        except BaseException:
            self.stop(kill=True)
            raise
        finally:
            os.close(self._lock)  # and no LOCK_UN, which would end it for the others as well
            self._lock = -1

    def _spawn(
        self, command: Sequence[object], *, environment: Mapping[str, str] | None = None, keep: tuple[int, ...] = ()
    ) -> None:
        """Start a process that stays when this one ends, and write down which it is."""
        with self._appending() as log:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
                pass_fds=(self._lock, *keep),
                **surroundings(environment),
            )
        child.returncode = 0  # it may outlive this object, which would warn: `Process.reap` waits for it, not this
        process = Process.of(child.pid)
        if process is None:
            raise self._failed("ended at once")
        self._state.processes += (process,)
        self._save()

    def _run(
        self,
        command: Sequence[object],
        *,
        environment: Mapping[str, str] | None = None,
        said: str = "",
        keep: tuple[int, ...] = (),
    ) -> str:
        """Run a program to its end; its standard output. Its standard error is in the log."""
        with self._appending() as log:
            try:
                done = subprocess.run(
                    [str(part) for part in command],
                    input=said.encode(),
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=keep,
                    timeout=120,
                    **surroundings(environment),
                )
            except (subprocess.TimeoutExpired, OSError) as error:
                raise self._failed(type(error).__name__, Path(str(command[0])).name) from error
        if done.returncode:
            raise self._failed(f"exit {done.returncode}", Path(str(command[0])).name)
        return str(done.stdout, "utf-8", "replace")

    def _wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + _STARTING
        while True:
            with suppress(OSError):
                if self._answers():
                    return
            if not self.running:
                raise self._failed("ended")
            if time.monotonic() > end:
                raise self._failed(f"no answer after {_STARTING:.0f} s")
            time.sleep(0.01)

    def _failed(self, actual: str, step: str | None = None) -> NetworkError:
        lines = self.log.read_text("utf-8", "replace").strip().splitlines() if self.log.exists() else []
        said = f"{actual}; the last it said: {lines[-1][:300]}" if lines else actual
        return NetworkError(
            f"{self.PROGRAM} does not start", step=step, uri=self.address, actual=said, hint=f"Its log is {self.log}"
        )

    def _appending(self) -> BinaryIO:
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    @property
    def _state_file(self) -> Path:
        return self.folder / "service.json"

    def _save(self) -> None:
        write_private(self._state_file, json.dumps(asdict(self._state)))


def _end(process: Process, number: signal.Signals) -> bool:
    there = process.send(number)
    if there and not process.wait(PATIENCE):
        process.send(signal.SIGKILL)
        process.wait(PATIENCE)
    process.reap()
    return there


def surroundings(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The folder, mask and environment of every program that is run here."""
    known = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"cwd": "/", "umask": 0o077, "env": {**known, **(environment or {})}}


def take_folder(folder: Path) -> None:
    """Make a folder for what is ours alone.

    Raises:
        ConflictError: somebody has something there.
        StorageError: it cannot be made.
    """
    with disk_errors(folder):
        ours = make_folder(folder)
    if not ours:
        raise ConflictError(
            "a folder exists that atdata did not make",
            uri=str(folder),
            hint="Move it elsewhere, or set ATDATA_DATA to another folder.",
        )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, complete or not at all."""
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        write_all(file, text.encode(), path)


def is_free(port: int) -> bool:
    """True if a server could listen on a port of loopback."""
    if not port:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port on which nothing listens.

    Raises:
        NetworkError: there is none.
    """
    for port in random.SystemRandom().sample(_PORTS, 1000):  # tests that seed `random` must not all get the same
        if is_free(port):
            return port
    raise NetworkError("no port is free", expected=f"one of {_PORTS.start} to {_PORTS.stop - 1} on {HOST}")


def _take(lock: int, folder: Path) -> None:
    """Lock a folder; who still has it, of what was ended before, gets some time to go."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise ConflictError(
                    "a server's data are in use by another process",
                    uri=str(folder),
                    hint="Find it with: fuser -v " + str(folder / "lock"),
                ) from error
            time.sleep(0.01)
        else:
            return
