"""The login that the command line keeps between commands: one file, readable by its owner only."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.net.session import Session
from atdata.errors import AuthError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.redaction import Secret
from atdata.settings import Settings


def session_file() -> Path:
    """The file that the login is kept in."""
    return Settings.of().data / "session"


def save(client: AtmosphereClient) -> None:
    """Keep the login of a client."""
    path = session_file()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        write_all(file, client.export_session().encode(), path)


def forget() -> bool:
    """Forget the login; whether there was one.

    Raises:
        UsageError: the file in its place is no login.
    """
    path = session_file()
    if not path.exists():
        return False
    Session.parse(path.read_text("utf-8", "replace"))
    path.unlink()
    return True


@contextmanager
def logged_in() -> Generator[AtmosphereClient]:
    """A client with the kept login. Tokens that were refreshed meanwhile are kept too.

    Raises:
        AuthError: there is no login.
    """
    path = session_file()
    if not path.exists():
        raise AuthError("not logged in", hint="Run: atdata login your.handle")
    client = AtmosphereClient()
    kept = Secret(path.read_bytes().decode("utf-8", "replace"))  # what is no text is no session, and is said to be none
    client.login_with_session(kept)
    try:
        yield client
    finally:
        if client.export_session() != kept.strip():
            save(client)
