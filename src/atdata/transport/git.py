"""One file of one commit of a repository that anybody has, by `git`, over https and nothing else.

Git gets a configuration that is ours alone, no credentials, no hooks, filters or submodules, and a way to one server
(`atdata.transport.tunnel`). Nothing is checked out: the file is read from git's own store.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from atdata.errors import LimitError, NetworkError, NotFoundError
from atdata.settings import Settings
from atdata.transport.tunnel import Tunnel

MOST_FILE = 1 << 20
MOST_FETCHED = 1 << 26
_MOST_AT_ONCE = "128m"
_SHOWN = 500


def read_committed_file(repository: str, commit: str, path: str, settings: Settings) -> bytes:
    """The bytes of a file in a commit.

    Args:
        repository: its https URL.
        commit: its full hash.
        path: from the root of the repository.
        settings: what may be dialled, and for how long one waits.

    Raises:
        AddressError: the repository is not https, or at an address that must not be dialled.
        LimitError: what comes, or the file, is too large.
        NetworkError: git is not here, or the commit cannot be fetched.
        NotFoundError: there is no such file in the commit.
    """
    with tempfile.TemporaryDirectory(prefix="atdata-git-") as folder:
        git = _Git(Path(folder), repository, settings.patience)
        git.run({}, "init", "--quiet", "--bare", "--template=", str(git.store))
        with Tunnel(repository, allow_loopback=settings.allow_loopback, most=MOST_FETCHED) as tunnel:
            try:
                git.run(
                    _network(tunnel.url, settings),
                    *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"),
                    *(f"--filter=blob:limit={MOST_FILE + 1}", "--", repository, commit),
                )
            except NetworkError as error:
                raise (tunnel.refused or error) from None
        return _read(git, f"{commit}:{path}")


def _read(git: _Git, name: str) -> bytes:
    """The file that a name of git's stands for, out of its store: nothing more is fetched."""
    try:
        kind = git.run({}, "cat-file", "--batch-check", sent=f"{name}\n".encode()).split()
    except NetworkError:  # the file was left out, for its size, or no path is one
        kind = []
    if len(kind) != 3 or kind[1] != b"blob":
        hint = f"Look at its path in the commit; a file of more than {MOST_FILE} bytes is not fetched."
        raise NotFoundError("there is no such file", uri=git.repository, path=name, hint=hint)
    if int(kind[2]) > MOST_FILE:
        raise LimitError("a file is too large", uri=git.repository, path=name, expected=f"at most {MOST_FILE} bytes")
    return git.run({}, "cat-file", "blob", kind[0].decode("ascii"))


class _Git:
    """The program `git` on a store of its own, with nothing of the user's or the system's configuration."""

    def __init__(self, folder: Path, repository: str, patience: float) -> None:
        program = shutil.which("git")
        if program is None:
            raise NetworkError("git is not installed", hint="Install it: git 2.32 or newer.")
        self.program, self.store, self.repository, self._patience = program, folder / "store", repository, patience
        nothing = folder / "home"
        nothing.mkdir()
        self._environment = {
            "PATH": str(Path(program).parent),
            "HOME": str(nothing),
            "XDG_CONFIG_HOME": str(nothing),
            "LC_ALL": "C",
            "GIT_DIR": str(self.store),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOC_LIMIT": _MOST_AT_ONCE,
        }

    def run(self, more: Mapping[str, str], *arguments: str, sent: bytes = b"") -> bytes:
        """The bytes that a command prints.

        Raises:
            NetworkError: it fails, or takes too long.
        """
        with subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **more},
            cwd="/",
            start_new_session=True,
        ) as process:
            try:
                printed, said = process.communicate(sent, self._patience)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # those that it started, too
                if isinstance(error, subprocess.TimeoutExpired):
                    raise NetworkError(
                        "git took too long", uri=self.repository, hint="ATDATA_PATIENCE= gives it more."
                    ) from None
                raise
        if process.returncode:
            text = said.decode("utf-8", "replace").strip()[-_SHOWN:]
            raise NetworkError(
                f"git {arguments[0]} failed", uri=self.repository, actual=text or f"status {process.returncode}"
            )
        return printed


def _network(proxy: str, settings: Settings) -> dict[str, str]:
    """The environment of a command that may reach one server, by one protocol, through one proxy."""
    import ssl

    said = {
        "protocol.version": "2",
        "protocol.allow": "never",
        "protocol.https.allow": "always",
        "http.proxy": proxy,
        "http.proxyAuthMethod": "basic",
        "http.followRedirects": "false",
        "http.sslVerify": "true",
        "http.lowSpeedLimit": str(int(settings.least_rate) or 1),
        "http.lowSpeedTime": str(int(settings.patience / 5) or 1),
        "credential.helper": "",
        "transfer.bundleURI": "false",
        "fetch.unpackLimit": "1",
        "core.bigFileThreshold": "1m",
        "core.fsmonitor": "false",
        "core.hooksPath": os.devnull,
        "pack.threads": "1",
        "gc.auto": "0",
        "maintenance.auto": "false",
    }
    if trusted := ssl.get_default_verify_paths().cafile:  # SSL_CERT_FILE, as for our own connections
        said["http.sslCAInfo"] = trusted
    numbered = {f"GIT_CONFIG_KEY_{number}": name for number, name in enumerate(said)}
    numbered |= {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(said.values())}
    return {"GIT_ALLOW_PROTOCOL": "https", "GIT_CONFIG_COUNT": str(len(said)), **numbered}
