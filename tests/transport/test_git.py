"""One file of one commit, over https, from the one server that was named, and nothing of the user's given away."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atdata.errors import AddressError, AtdataError, LimitError, NetworkError, NotFoundError
from atdata.settings import Settings
from atdata.transport import git as fetching
from atdata.transport.git import read_committed_file
from atdata.transport.tunnel import Tunnel
from support.git_server import backend, commit, git, make_repository
from support.rawhttp import RawServer, Request, answer, certificate

FILE = "def get(x):\n    return x\n"
SETTINGS = Settings(allow_loopback=True, patience=60)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


@pytest.fixture(autouse=True)
def trusted(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "git" / "lenses"
    return folder, make_repository(folder, {"lenses/vision.py": FILE, "README.md": "x"})


@pytest.fixture
def server(repository: tuple[Path, str], tls: tuple[ssl.SSLContext, Path]) -> Iterator[RawServer]:
    with RawServer(backend(repository[0].parent), tls=tls[0]) as opened:
        yield opened


def url(server: RawServer, name: str = "lenses/.git") -> str:
    return f"https://127.0.0.1:{server.port}/{name}"


def test_a_file_is_read(server: RawServer, repository: tuple[Path, str]) -> None:
    folder, first = repository
    second = commit(folder, {"lenses/vision.py": FILE + "# later\n"})
    assert read_committed_file(url(server), first, "lenses/vision.py", SETTINGS) == FILE.encode()
    assert read_committed_file(url(server), second, "lenses/vision.py", SETTINGS) == (FILE + "# later\n").encode()
    assert {request.headers.get("authorization") for request in server.requests} == {None}
    assert {request.headers.get("cookie") for request in server.requests} == {None}


@pytest.mark.usefixtures("many_files")
def test_a_file_is_read_where_many_others_are_open(server: RawServer, repository: tuple[Path, str]) -> None:
    assert read_committed_file(url(server), repository[1], "lenses/vision.py", SETTINGS) == FILE.encode()


def test_a_server_without_filters_serves_too(server: RawServer, repository: tuple[Path, str]) -> None:
    git(repository[0], "config", "uploadpack.allowFilter", "false")
    assert read_committed_file(url(server), repository[1], "lenses/vision.py", SETTINGS) == FILE.encode()


@pytest.mark.parametrize("path", ["lenses/other.py", "lenses", "vision.py", "../vision.py", "/etc/passwd", ""])
def test_a_file_that_is_not_there(server: RawServer, repository: tuple[Path, str], path: str) -> None:
    with pytest.raises(NotFoundError):
        read_committed_file(url(server), repository[1], path, SETTINGS)


def test_a_link_is_not_followed(server: RawServer, repository: tuple[Path, str]) -> None:
    folder = repository[0]
    (folder / "link.py").symlink_to("/etc/passwd")
    (folder / "linked").symlink_to("lenses")
    changed = commit(folder, {})
    assert read_committed_file(url(server), changed, "link.py", SETTINGS) == b"/etc/passwd"  # which has another digest
    with pytest.raises(NotFoundError):
        read_committed_file(url(server), changed, "linked/vision.py", SETTINGS)


@pytest.mark.parametrize("filters", ["true", "false"])
def test_a_large_file_is_refused(server: RawServer, repository: tuple[Path, str], filters: str) -> None:
    folder = repository[0]
    git(folder, "config", "uploadpack.allowFilter", filters)
    large = commit(folder, {"large.py": "#" * (fetching.MOST_FILE + 2), "just.py": "#" * fetching.MOST_FILE})
    with pytest.raises((LimitError, NotFoundError)):
        read_committed_file(url(server), large, "large.py", SETTINGS)
    assert len(read_committed_file(url(server), large, "just.py", SETTINGS)) == fetching.MOST_FILE


def test_a_commit_that_is_not_there(server: RawServer) -> None:
    with pytest.raises(NetworkError, match="git fetch failed"):
        read_committed_file(url(server), "0123456789" * 4, "lenses/vision.py", SETTINGS)


def test_a_repository_that_is_not_there(server: RawServer, repository: tuple[Path, str]) -> None:
    with pytest.raises(NetworkError, match="git fetch failed"):
        read_committed_file(url(server, "other"), repository[1], "lenses/vision.py", SETTINGS)


@pytest.mark.parametrize(
    "repository_url",
    [
        "http://127.0.0.1/x",
        "file:///x",
        "/x",
        "ext::sh -c id",
        "git://localhost/x",
        "ssh://localhost/x",
        "git@host:x",
        "-u",
        "",
    ],
)
def test_nothing_but_https_is_spoken(repository_url: str) -> None:
    with pytest.raises(AddressError):
        read_committed_file(repository_url, "0" * 40, "x.py", SETTINGS)


def test_this_machine_is_asked_only_where_that_is_allowed(server: RawServer, repository: tuple[Path, str]) -> None:
    with pytest.raises(AddressError, match="not public"):
        read_committed_file(url(server), repository[1], "lenses/vision.py", replace(SETTINGS, allow_loopback=False))
    assert server.connections == 0


def test_a_server_that_nobody_vouches_for(
    server: RawServer, repository: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    with pytest.raises(NetworkError, match="git fetch failed"):
        read_committed_file(url(server), repository[1], "lenses/vision.py", SETTINGS)
    assert server.requests == []


@pytest.mark.parametrize("target", ["http", "https", "file:///etc/passwd", "ext::sh -c id", "/lenses/.git/info/refs"])
def test_a_redirect_leads_nowhere(tls: tuple[ssl.SSLContext, Path], target: str) -> None:
    with RawServer(lambda _: answer(404), tls=tls[0] if target == "https" else None) as other:
        there = f"{target}://127.0.0.1:{other.port}/x" if target.startswith("http") else target
        with RawServer(lambda _: answer(302, b"", location=there), tls=tls[0]) as server:
            with pytest.raises(AtdataError):
                read_committed_file(url(server), "0" * 40, "x.py", SETTINGS)
            assert len(server.requests) == 1
        assert other.connections == 0


def test_nobody_is_asked_for_a_password(
    tls: tuple[ssl.SSLContext, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "ask"
    program.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
    program.chmod(0o755)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(program))
    monkeypatch.setenv("HOME", str(tmp_path))
    with RawServer(lambda _: answer(401, b"", www_authenticate='Basic realm="x"'), tls=tls[0]) as server:
        with pytest.raises(NetworkError):
            read_committed_file(url(server), "0" * 40, "x.py", SETTINGS)
        assert {request.headers.get("authorization") for request in server.requests} == {None}
    assert not asked.exists()


def test_the_users_configuration_is_not_read(
    server: RawServer, repository: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    configuration = f"""
        [url "ext::touch {ran} "]
            insteadOf = https://127.0.0.1
        [credential]
            helper = "!touch {ran}"
        [core]
            hooksPath = {tmp_path}
            fsmonitor = "touch {ran}"
            gitProxy = "touch {ran}"
        [protocol "ext"]
            allow = always
        [http]
            extraHeader = "X-Secret: hunter2"
            proxy = http://127.0.0.1:1
        [init]
            templateDir = {tmp_path}
    """
    (tmp_path / ".gitconfig").write_text(configuration)
    said = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "url.ext::sh.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://",
        "GIT_CONFIG_PARAMETERS": "'protocol.ext.allow=always'",
        "GIT_TEMPLATE_DIR": str(tmp_path),
        "GIT_TRACE_CURL": str(tmp_path / "trace"),
        "GIT_PROXY_COMMAND": f"touch {ran}",
        "GIT_DIR": str(tmp_path),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_OBJECT_DIRECTORY": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "LD_PRELOAD_CANARY": "1",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for hook in ("reference-transaction", "post-checkout", "post-merge"):
        (tmp_path / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tmp_path / hook).chmod(0o755)
    assert read_committed_file(url(server), repository[1], "lenses/vision.py", SETTINGS) == FILE.encode()
    assert not ran.exists()
    assert not (tmp_path / "trace").exists()
    assert {request.headers.get("x-secret") for request in server.requests} == {None}


def test_nothing_of_a_repository_is_run(server: RawServer, repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, ran = repository[0], tmp_path / "ran"
    changed = commit(
        folder,
        {
            ".gitattributes": "*.py filter=lfs diff=lfs ident text eol=crlf\n",
            ".lfsconfig": "[lfs]\n\turl = https://127.0.0.1:1/\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::touch {ran}\n\tupdate = !touch {ran}\n',
            "lenses/vision.py": "# $Id$\n",
        },
    )
    assert read_committed_file(url(server), changed, "lenses/vision.py", SETTINGS) == b"# $Id$\n"
    assert not ran.exists()


def endless(_: Request) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\r\n001e# service=git-upload-pack\n0000"
    while True:
        yield b"0fff" + b"x" * 4091


def test_what_comes_is_bounded(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_FETCHED", 1 << 20)
    with RawServer(endless, tls=tls[0]) as server, pytest.raises(LimitError, match="sends too much"):
        read_committed_file(url(server), "0" * 40, "x.py", SETTINGS)


def test_a_large_pack_is_bounded(
    server: RawServer, repository: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository[0], "config", "uploadpack.allowFilter", "false")
    (repository[0] / "noise").write_bytes(os.urandom(1 << 21))
    large = commit(repository[0], {})
    monkeypatch.setattr(fetching, "MOST_FETCHED", 1 << 20)
    with pytest.raises(LimitError, match="sends too much"):
        read_committed_file(url(server), large, "lenses/vision.py", SETTINGS)


def test_a_server_that_says_nothing_is_left(tls: tuple[ssl.SSLContext, Path]) -> None:
    with RawServer(lambda _: [b"HTTP/1.1 200 OK\r\n", 30.0], tls=tls[0]) as server, pytest.raises(NetworkError):
        read_committed_file(url(server), "0" * 40, "x.py", replace(SETTINGS, patience=2))


FETCHING = """
import sys
from atdata.settings import Settings
from atdata.transport.git import read_committed_file
read_committed_file(sys.argv[1], "0" * 40, "x.py", Settings(allow_loopback=True))
"""


def programs(text: str) -> list[int]:
    """The processes that run with some text among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no process can be looked for in /proc")
def test_git_ends_with_whoever_started_it(tls: tuple[ssl.SSLContext, Path], tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(_: Request) -> Iterator[bytes | float]:
        asked.set()
        yield 120.0

    with RawServer(silent, tls=tls[0]) as server:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
        with subprocess.Popen([sys.executable, "-c", FETCHING, url(server)], env=environment) as parent:
            assert asked.wait(60)
            assert len(programs(url(server))) > 1
            parent.kill()
        for _ in range(1000):
            if not programs(url(server)):
                return
            time.sleep(0.02)
        raise AssertionError(f"git is left: {programs(url(server))}")


@pytest.mark.parametrize("body", [b"", b"hello", b"0000", b"\xff\x00" * 50, b"001e# service=git-upload-pack\n0000"])
def test_what_is_no_git_is_an_error(tls: tuple[ssl.SSLContext, Path], body: bytes) -> None:
    def script(_: Request) -> bytes:
        return answer(200, body, content_type="application/x-git-upload-pack-advertisement")

    with RawServer(script, tls=tls[0]) as server, pytest.raises(NetworkError):
        read_committed_file(url(server), "0" * 40, "x.py", SETTINGS)


def test_without_git_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match="git is not installed"):
        read_committed_file("https://localhost/x", "0" * 40, "x.py", SETTINGS)


def test_only_git_is_started(server: RawServer, repository: tuple[Path, str]) -> None:
    started: list[Any] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "exec", "import"):
            started.append((event, arguments[0] if event != "subprocess.Popen" else arguments[1][:2]))

    read_committed_file(url(server), repository[1], "README.md", SETTINGS)  # what is imported once, is now
    sys.addaudithook(watch)
    read_committed_file(url(server), repository[1], "lenses/vision.py", SETTINGS)
    watching = False
    ours = [
        arguments for event, arguments in started if event == "subprocess.Popen" and "http-backend" not in arguments
    ]
    assert [Path(program).name for program, _ in ours] == ["git"] * 4
    assert [verb for _, verb in ours] == ["init", "fetch", "cat-file", "cat-file"]
    assert {event for event, _ in started} == {"subprocess.Popen"}


# -- the tunnel


def asked(tunnel: Tunnel, target: str, password: str | None = None) -> bytes:
    host, port = tunnel.url.rpartition("@")[2].split(":")
    given = tunnel.url.removeprefix("http://").rpartition("@")[0] if password is None else password
    with socket.create_connection((host, int(port)), 10) as client:
        token = base64.b64encode(given.encode()).decode()
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n".encode())
        return client.recv(100).split(b"\r\n")[0]


def test_the_tunnel_leads_to_one_server_and_for_one_program() -> None:
    with RawServer(lambda _: answer(200)) as server, RawServer(lambda _: answer(200)) as other:
        with Tunnel(f"https://127.0.0.1:{server.port}/x", allow_loopback=True, most=1000) as tunnel:
            assert asked(tunnel, f"127.0.0.1:{server.port}") == b"HTTP/1.1 200 Connected"
            assert asked(tunnel, f"127.0.0.1:{server.port}", "git:guess") == b"HTTP/1.1 407 Unknown"
            assert tunnel.refused is None
            assert asked(tunnel, f"127.0.0.1:{other.port}") == b"HTTP/1.1 403 Elsewhere"
            assert isinstance(tunnel.refused, AddressError)
        assert other.connections == 0
        with pytest.raises(OSError, match="refused"):
            asked(tunnel, f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "localhost", "nowhere.invalid"])
def test_the_tunnel_leads_to_public_addresses_only(host: str) -> None:
    with Tunnel(f"https://{host}/x", allow_loopback=False, most=1000) as tunnel:
        assert asked(tunnel, f"{host}:443") == b"HTTP/1.1 502 Refused"
        assert isinstance(tunnel.refused, AddressError)
