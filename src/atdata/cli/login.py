"""`atdata login` and `atdata logout`."""

from __future__ import annotations

import os
import sys

import click

from atdata.atmosphere import AtmosphereClient
from atdata.cli import account
from atdata.cli.options import json_option
from atdata.cli.output import say, say_json
from atdata.errors import AuthError
from atdata.redaction import Secret


@click.command("login")
@click.argument("handle", help="Your handle, such as alice.bsky.social.")
@click.option("--server", help="Your server; found through the handle by default.")
@json_option
def login(handle: str, server: str | None, json: bool) -> None:
    """Log in with an app password, asked for here (or read from ATDATA_PASSWORD, or from standard input)."""
    client = AtmosphereClient(base_url=server)
    client.login(handle, _password())
    account.save(client)
    if json:
        say_json({"did": client.did, "handle": client.handle})
    else:
        say(f"✓ logged in as {'@' + client.handle if client.handle else client.did}", style="green")
        say(f"  {client.did}")


@click.command("logout")
@json_option
def logout(json: bool) -> None:
    """Forget the login on this machine."""
    known = account.forget()
    if json:
        say_json({"forgotten": known})
    else:
        say("✓ forgotten" if known else "not logged in")


def _password() -> Secret:
    # Never an argument: every process of the machine sees those.
    if os.environ.get("ATDATA_PASSWORD"):
        return Secret(os.environ["ATDATA_PASSWORD"])
    given = Secret(_typed() if sys.stdin.isatty() else sys.stdin.readline().strip())
    if not given:
        raise AuthError("no app password was given", hint="Type it when asked, pipe it in, or set ATDATA_PASSWORD.")
    return given


def _typed() -> str:
    """The password that somebody types; nothing where the input ends."""
    try:
        return str(click.prompt("App password", hide_input=True, err=True))
    except click.Abort as end:
        if isinstance(end.__context__, EOFError):
            return ""
        raise
