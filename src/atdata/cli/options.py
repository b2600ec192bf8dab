"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Index = Annotated[
    str | None,
    typer.Option("--index", help="redis://, postgresql://, sqlite:/// or a file; ATDATA_INDEX_URL by default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Ref = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or @local/NAME.")]
Description = Annotated[str | None, typer.Option(help="What it holds.")]
License = Annotated[str | None, typer.Option(help="SPDX expression or URL, such as CC-BY-4.0.")]
Tags = Annotated[list[str] | None, typer.Option(help="A word to find it by; may be given several times.")]
Credentials = Annotated[
    str | None, typer.Option(help="A file of AWS_... lines for the bucket; the usual AWS settings by default.")
]
Prefix = Annotated[str, typer.Argument(help="Only names that begin with this.")]
Limit = Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=1_000_000)]
