"""`atdata up` and `atdata down`: Redis, PostgreSQL and S3 on this machine, to try a team's index on."""

from __future__ import annotations

import shlex
from typing import Any

import click
from rich.text import Text

from atdata.cli.options import json_option
from atdata.cli.output import facts, say, say_json, table
from atdata.settings import Settings
from atdata.testing.services import Home, Status

NOTHING_RUNS, SOMETHING_FAILED = 4, 1
_STYLES = {"started": "green", "already running": "green", "failed": "bold red", "not installed": "yellow"}

services_argument = click.argument("services", nargs=-1, help="Which of redis, postgres, s3; all by default.")


@click.command("up")
@services_argument
@json_option
def up(services: tuple[str, ...], json: bool) -> None:
    """Start Redis, PostgreSQL and S3 where they are installed, for nobody but you, on this machine only.

    They stay until `atdata down`. Passwords are in a file that only you can read; what is printed has none.
    """
    home = _home()
    found = home.up(services)
    if json:
        known = sorted(home.environment())
        env_file = home.variables if known else None
        say_json({"services": [_as_json(status) for status in found], "env_file": env_file, "variables": known})
    else:
        _print(home, found)
    if any(status.state == "failed" for status in found):
        raise click.exceptions.Exit(SOMETHING_FAILED)
    if not any(status.running for status in found):
        raise click.exceptions.Exit(NOTHING_RUNS)


@click.command("down")
@services_argument
@click.option("--wipe/--no-wipe", help="Remove their data, passwords and logs as well.")
@json_option
def down(services: tuple[str, ...], wipe: bool, json: bool) -> None:
    """End what `atdata up` started, and nothing else. The data stay, unless you say --wipe."""
    found = _home().down(services, wipe=wipe)
    if json:
        say_json({"services": [_as_json(status) for status in found]})
        return
    table(["service", "state"], [[status.service, status.state] for status in found])


def _home() -> Home:
    return Home(Settings.of().data / "services")


def _print(home: Home, found: list[Status]) -> None:
    rows = [
        [status.service, Text(status.state, _STYLES.get(status.state, "")), status.address or ""] for status in found
    ]
    table(["service", "state", "address"], rows)
    for status in found:
        _explain(status)
    facts({f"log of {status.service}": status.log for status in found if status.log})
    variables = home.environment()
    if variables:
        say()
        say("To use them:", style="bold")
        say(f"  . {shlex.quote(str(home.variables))}")
        say(f"  which exports {', '.join(variables)}", style="dim")


def _explain(status: Status) -> None:
    """Print what the table has no room for."""
    if status.state == "not installed":
        say(f"{status.service}: to install it, {status.note}", style="yellow")
    elif status.error is not None:
        say(f"✗ {status.service}: {status.error}", style="red")
    elif status.note:
        say(f"! {status.service}: {status.program} {status.note}", style="bold red")


def _as_json(status: Status) -> dict[str, Any]:
    known = {
        "service": status.service,
        "state": status.state,
        "program": status.program,
        "address": status.address,
        "log": status.log,
        "note": status.note or None,
        "error": str(status.error) if status.error else None,
    }
    return {name: value for name, value in known.items() if value is not None}
