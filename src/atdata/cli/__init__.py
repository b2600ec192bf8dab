"""The `atdata` command: one file per verb, or per noun that has several."""

from __future__ import annotations

import sys
import warnings

import typer

from atdata.cli import demo, doctor, index, login, promote, publish, schema, services, show, verify
from atdata.cli.output import exit_code, explain, note
from atdata.errors import AtdataError

app = typer.Typer(
    name="atdata",
    help="Typed datasets under your own identity, proved from the handle to the last byte.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(login.login)
app.command()(login.logout)
app.command()(publish.publish)
app.command()(show.show)
app.command()(verify.verify)
app.command()(promote.promote)
app.add_typer(index.app, name="index")
app.add_typer(schema.app, name="schema")
app.command()(doctor.doctor)
app.command()(services.up)
app.command()(services.down)


def main() -> None:
    """Run the command line. Exit codes: 0 ok, 1 check failed, 2 usage, 3 network, 4 not found, 5 not let in."""
    warnings.showwarning = note
    try:
        app()
    except AtdataError as error:
        explain(error, as_json="--json" in sys.argv)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["app", "main"]
