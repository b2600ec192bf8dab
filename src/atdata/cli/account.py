"""The login of the command line: one file, readable by its owner only."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.net.session import Session
from atdata.cli.ending import write_private
from atdata.errors import AuthError
from atdata.files import disk_errors
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
    write_private(path, client.export_session())


def forget() -> bool:
    """Remove the login; `False` if there was none.

    Raises:
        UsageError: the file in its place is not a login.
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
    kept = Secret(
        path.read_bytes().decode("utf-8", "replace")
    )  # other bytes are no session, which login_with_session reports
    client.login_with_session(kept)
    try:
        yield client
    finally:
        if client.export_session() != kept.strip():
            save(client)
