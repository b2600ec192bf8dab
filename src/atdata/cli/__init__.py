"""The `atdata` command: one file per verb, or per noun that has several."""

from __future__ import annotations

import gc
import os
import sys
import warnings

import click

import atdata
from atdata.cli.ending import USAGE, leave, run
from atdata.cli.groups import CommandGroup, Commands
from atdata.cli.output import OutputError, note, say

_COMMANDS = {
    "demo": "demo.demo",
    "login": "login.login",
    "logout": "login.logout",
    "import": "importing.import_",
    "publish": "publish.publish",
    "search": "search.search",
    "show": "show.show",
    "view": "view.view",
    "verify": "verify.verify",
    "index": "index.app",
    "schema": "schema.app",
    "lens": "lens.app",
    "policy": "policy.app",
    "promote": "promote.promote",
    "retract": "versions.retract",
    "doctor": "doctor.doctor",
    "serve": "serve.serve",
    "appview": "appview.app",
    "up": "services.up",
    "down": "services.down",
}


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        say(f"atdata {atdata.__version__}")
        context.exit()


@click.group(
    "atdata",
    cls=CommandGroup,
    commands=Commands(_COMMANDS),
    help="Typed datasets under your own identity, proved from the handle to the last byte.",
    context_settings={"max_content_width": 120, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Collect garbage again, once all that a command needs is imported: of that nothing ever is garbage."""
    if not gc.isenabled():  # by `atdata.__main__`, whose process this is
        gc.freeze()
        gc.enable()


def main() -> None:
    """Run the command line.

    Exit codes: 0 ok, 1 check failed, 2 usage, 3 network, 4 not found, 5 not allowed, 70 a fault in atdata, 130 interrupted.
    """
    warnings.showwarning = note
    _repair_environment()
    as_json = any(argument.partition("=")[0] == "--json" for argument in sys.argv[1:])
    leave(run(_invoke, as_json))


def _invoke() -> int:
    if os.environ.get("_ATDATA_COMPLETE", "").endswith(("_source", "_complete")):  # a shell asks what can stand here
        try:
            app(prog_name="atdata")
        except OSError as error:
            raise OutputError(error.strerror) from error
        except (KeyError, ValueError):  # it does not say where
            return USAGE
    try:
        with app.make_context("atdata", sys.argv[1:]) as context:
            app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _repair_environment() -> None:
    """Open standard streams that are closed, and unset a terminal width of 0."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123  (to the end)
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name) == "0":
            del os.environ[name]


__all__ = ["app", "main"]
