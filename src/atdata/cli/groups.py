"""Groups of commands, each of which is imported when it is asked for: `atdata search` needs no sandbox."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

_WHOLE = 1000  # characters


class Commands(UserDict[str, Any]):
    """Commands by their names.

    Args:
        places: of each the file beside this one and the name in it, such as `versions.append`.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places
        super().__init__(dict.fromkeys(places))

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            file, _, attribute = self._places[name].partition(".")
            self.data[name] = getattr(import_module(f"atdata.cli.{file}"), attribute)
        return self.data[name]


class CommandGroup(click.Group):
    """Commands, listed in the order in which they are given, with the first sentence of each."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named. An error of its options, which click leaves without one, is given its place."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if error.ctx is None and (name := ctx.invoked_subcommand) is not None:
                error.ctx = click.Context(self.commands[name], ctx, name)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names of the commands."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands; click's own cuts sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(_WHOLE)) for name, each in self.commands.items()])
