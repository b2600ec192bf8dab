"""Options that several commands have."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import click

from atdata.errors import UsageError
from atdata.settings import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"


class Number(click.FloatRange):
    """A number within bounds. NaN, which click takes for one, lies within none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that somebody typed."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def file_names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Completion by the shell itself, with names of files: of an argument that may be a path."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begun, type="file")]


index_option = click.option(
    "--index", help="redis://, postgresql://, sqlite:/// or a file; ATDATA_INDEX_URL by default."
)
json_option = click.option("--json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
ref_argument = click.argument("ref", help="NAME, NAME@VERSION, or @local/NAME.")
description_option = click.option("--description", help="What it holds.")
license_option = click.option("--license", help="SPDX expression or URL, such as CC-BY-4.0.")
tag_option = click.option("--tag", multiple=True, help="A word to find it by; may be given several times.")
credentials_option = click.option(
    "--credentials",
    shell_complete=file_names,
    help="A file of AWS_... lines for the bucket; the usual AWS settings by default.",
)
type_option = click.option("--type", "type_name", help="What to call the sample type.")
split_option = click.option("--split", help="Which split; the first by default.")
unverified_option = click.option(
    "--allow-unverified/--no-allow-unverified", help="Read shards for which the publisher gave no digest."
)
prefix_argument = click.argument("prefix", default="", help="Only names that begin with this.")
limit_option = click.option("--limit", type=Whole(min=1, max=1_000_000), default=50, help="How many, the newest first.")

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def kept_at(database: str | None) -> str:
    """The address of an AppView's database: the one that is given, or a file of the user's own."""
    return str(Settings.of().data / "appview.sqlite") if database is None else database


def bytes_in(text: str, option: str) -> int:
    """The number of bytes that a text says, such as `32MB`.

    Raises:
        UsageError: it says none.
    """
    found = re.fullmatch(r"([0-9]{1,12}) ?(|B|kB|MB|GB)", text.strip())
    if found is None:
        raise UsageError("not a number of bytes", path=option, expected="like 32MB, 500kB or 0", actual=text)
    return int(found[1]) * _UNITS[found[2]]
