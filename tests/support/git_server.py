"""A git server over https (`git http-backend`), and repositories in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.rawhttp import Request, Script, answer


def git(folder: Path, *arguments: str) -> str:
    """What git prints, with none of the user's configuration."""
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"},
    )
    return done.stdout.strip()


def make_repository(folder: Path, files: dict[str, str]) -> str:
    """Make a repository with one commit of some files; its hash."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    git(folder, "config", "uploadpack.allowFilter", "true")
    return commit(folder, files)


def commit(folder: Path, files: dict[str, str]) -> str:
    """Commit some files; the hash of the commit."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "files")
    return git(folder, "rev-parse", "HEAD")


def backend(root: Path) -> Script:
    """The answers of git's own server for the repositories in a folder."""

    def script(request: Request) -> bytes:
        path, _, query = request.target.partition("?")
        said = {
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(["git", "http-backend"], input=request.body, env=said, capture_output=True, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin1").split("\r\n") if ": " in line)
        return answer(int(fields.get("Status", "200").split()[0]), body, content_type=fields.get("Content-Type"))

    return script
