"""`atdata demo`: publish, find, verify, in a minute and on this machine alone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import click

from atdata.cli.output import say
from atdata.errors import AtdataError
from atdata.testing import Devnet, Teller, blob_lies

NAME = "digits"


@click.command("demo")
@click.option("--keep/--no-keep", help="Keep the network running afterwards, to try things on, until Enter.")
def demo(keep: bool) -> None:
    """Publish real data under an identity, find it by name from another process, prove it, and catch a lie.

    Everything runs on this machine: a PLC directory and a PDS with real keys and signatures, in this process.
    """
    with Devnet() as net, tempfile.TemporaryDirectory(prefix="atdata-demo-") as folder:
        alice = net.create_account("alice.test", "alices-app-password")
        say(f"A network on this machine: a PLC directory and a PDS, with an account for @{alice.handle}.", style="dim")
        home = Path(folder)
        publisher = {**net.environment, "ATDATA_DATA": str(home / "alice"), "ATDATA_CACHE": str(home / "alice-cache")}
        reader = {**net.environment, "ATDATA_DATA": str(home / "reader"), "ATDATA_CACHE": str(home / "reader-cache")}
        _heading("Alice logs in and publishes 1,797 handwritten digits")
        _run(["login", "alice.test"], publisher, password="alices-app-password")  # noqa: S106
        with as_file(files("atdata.cli") / "data" / "digits.npz") as data:
            facts = ["--license", "CC-BY-4.0", "--description", "Handwritten digits, 8 by 8 pixels", "--tag", "images"]
            _run(["publish", str(data), "--name", NAME, "--version", "1.0.0", *facts, "--yes"], publisher)
        _heading("Somebody else, in another process, finds them by name, and looks")
        _run(["show", f"@alice.test/{NAME}"], reader)
        _heading("... checks every link from the handle to the last sample, and streams an epoch")
        _run(["verify", f"@alice.test/{NAME}"], reader)
        _heading("Now the server alters one byte of one image, and a third person asks")
        teller = Teller(blob_lies(b"")[0])
        net.tell(teller)
        stranger = {**reader, "ATDATA_CACHE": str(home / "stranger-cache")}
        _run(["verify", f"@alice.test/{NAME}"], stranger, expected=1)
        net.tell(None)
        if not teller.told:
            raise AtdataError("the server has altered nothing", hint="Report this as a fault of atdata.")
        say()
        say(
            "✓ Published, found by name, proved, streamed; and one altered byte was refused before any sample left.",
            style="bold green",
        )
        if keep:
            _wait(net)


def _heading(text: str) -> None:
    say()
    say(f"── {text} ──", style="bold cyan")


def _run(arguments: list[str], settings: dict[str, str], *, expected: int = 0, password: str | None = None) -> None:
    """Run the command a person would type, in a process of its own."""
    shown = [Path(argument).name if argument.endswith(".npz") else argument for argument in arguments]
    say(f"$ atdata {shlex.join(shown)}", style="dim")
    environment = {**os.environ, **settings, **({"ATDATA_PASSWORD": password} if password else {})}
    done = subprocess.run([sys.executable, "-m", "atdata", *arguments], env=environment)
    if done.returncode != expected:
        raise AtdataError(
            "a command of the demo has failed",
            expected=f"exit {expected}",
            actual=f"exit {done.returncode}",
            hint="Its output is above.",
        )


def _wait(net: Devnet) -> None:
    say()
    say("The network stays up. In another terminal:")
    for name, value in net.environment.items():
        say(f"  export {name}={value}")
    input("Press Enter to end it. ")
