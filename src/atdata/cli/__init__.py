"""The `atdata` command: one file per verb, or per noun that has several."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

import atdata
from atdata.cli.ending import leave, run
from atdata.cli.output import note, say

VERBS = {
    "demo": "demo.demo",
    "login": "login.login",
    "logout": "login.logout",
    "import": "importing.import_",
    "publish": "publish.publish",
    "search": "search.search",
    "show": "show.show",
    "view": "view.view",
    "verify": "verify.verify",
    "promote": "promote.promote",
    "retract": "versions.retract",
    "doctor": "doctor.doctor",
    "serve": "serve.serve",
    "up": "services.up",
    "down": "services.down",
}
"""Each verb, and the function of a file beside this one. It is imported when it is asked for: `atdata search` needs no sandbox."""
NOUNS = {
    "index": ("versions.add", "versions.append", "versions.history", "versions.diff", "versions.copy"),
    "schema": (),
    "lens": ("verifications.verify", "verifications.repeat", "verifications.verifications"),
    "policy": (),
    "appview": (),
}
"""Each noun, which has a file of its own, and its verbs in other files."""


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"atdata {atdata.__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def made(words: Iterable[str]) -> typer.Typer:
    """The command line with some of its verbs and nouns."""
    line = typer.Typer(
        name="atdata",
        help="Typed datasets under your own identity, proved from the handle to the last byte.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    line.callback()(_options)
    for word in words:
        if word in VERBS:
            line.command(word)(_named(VERBS[word]))
        else:
            line.add_typer(_noun(word), name=word)
    return line


@cache
def _noun(name: str) -> typer.Typer:
    noun: typer.Typer = _named(f"{name}.app")
    for verb in NOUNS[name]:
        noun.command()(_named(verb))
    return noun


def _named(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(import_module(f"atdata.cli.{module}"), name)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'atdata.cli' has no attribute {name!r}")
    return made([*VERBS, *NOUNS])


def main() -> None:
    """Run the command line.

    Exit codes: 0 ok, 1 check failed, 2 usage, 3 network, 4 not found, 5 not allowed, 70 a fault in atdata, 130 interrupted.
    """
    warnings.showwarning = note
    _repair_environment()
    arguments = sys.argv[1:]
    as_json = any(argument.partition("=")[0] == "--json" for argument in arguments)
    first = arguments[0] if arguments else ""
    wanted = [] if first == "--version" else [first] if first in {*VERBS, *NOUNS} else [*VERBS, *NOUNS]
    leave(run(lambda: _imported(wanted)(prog_name="atdata", standalone_mode=False), as_json))


def _imported(words: Iterable[str]) -> typer.Typer:
    """The command line with some words, once all that these need is imported: of that nothing is ever garbage."""
    line = made(words)
    if not gc.isenabled():  # by `atdata.__main__`, whose process this is
        gc.freeze()
        gc.enable()
    return line


def _repair_environment() -> None:
    """Open standard streams that are closed, and unset a terminal width of 0."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123  (to the end)
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name) == "0":
            del os.environ[name]


__all__ = ["app", "main"]
