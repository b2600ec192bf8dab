"""The `atdata` command: one file per verb, or per noun that has several."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

import atdata
from atdata.cli import (
    appview,
    demo,
    doctor,
    importing,
    index,
    lens,
    login,
    policy,
    promote,
    publish,
    schema,
    search,
    serve,
    services,
    show,
    verifications,
    verify,
    versions,
    view,
)
from atdata.cli.ending import leave, run
from atdata.cli.output import note, say

app = typer.Typer(
    name="atdata",
    help="Typed datasets under your own identity, proved from the handle to the last byte.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"atdata {atdata.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command()(demo.demo)
app.command()(login.login)
app.command()(login.logout)
app.command("import")(importing.import_)
app.command()(publish.publish)
app.command()(search.search)
app.command()(show.show)
app.command()(view.view)
app.command()(verify.verify)
app.command()(promote.promote)
app.command()(versions.retract)
for verb in (versions.add, versions.append, versions.history, versions.diff, versions.copy):
    index.app.command()(verb)
for word in (verifications.verify, verifications.repeat, verifications.verifications):
    lens.app.command()(word)
app.add_typer(index.app, name="index")
app.add_typer(schema.app, name="schema")
app.add_typer(lens.app, name="lens")
app.add_typer(policy.app, name="policy")
app.command()(doctor.doctor)
app.command()(serve.serve)
app.add_typer(appview.app, name="appview")
app.command()(services.up)
app.command()(services.down)


def main() -> None:
    """Run the command line.

    Exit codes: 0 ok, 1 check failed, 2 usage, 3 network, 4 not found, 5 not allowed, 70 a fault in atdata, 130 interrupted.
    """
    warnings.showwarning = note
    _repair_environment()
    as_json = any(argument.partition("=")[0] == "--json" for argument in sys.argv[1:])
    leave(run(lambda: app(prog_name="atdata", standalone_mode=False), as_json))


def _repair_environment() -> None:
    """Open standard streams that are closed, and unset a terminal width of 0."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123  (to the end)
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name) == "0":
            del os.environ[name]


__all__ = ["app", "main"]
