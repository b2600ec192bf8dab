"""`atdata doctor`: find what is broken, and mend it."""

from __future__ import annotations

from typing import Any

import click

from atdata.cli.index import known_index
from atdata.cli.options import credentials_option, index_option, json_option
from atdata.cli.output import plural, say, say_json
from atdata.cli.promote import bucket_at
from atdata.doctor import Finding, examine
from atdata.errors import AtdataError


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@click.option("--deep", is_flag=True, help="Read every shard on this machine, and check its digest.")
@click.option("--store", help="s3://bucket/prefix, to look for unfinished uploads.")
@credentials_option
@click.option("--account", help="@handle or DID, to name its records on the network that cannot be read.")
@index_option
@json_option
def doctor(
    fix: bool,
    deep: bool,
    store: str | None,
    credentials: str | None,
    account: str | None,
    index: str | None,
    json: bool,
) -> None:
    """Say what is broken or left over in the index, the cache and the stores; mend it with --fix."""
    found = []
    bucket = bucket_at(store, credentials) if store else None
    for finding in examine(known_index(index), store=bucket, account=account, deep=deep):
        mended = _mended(finding) if fix and finding.mend else None
        found.append((finding, mended))
        if not json:
            _print(finding, mended)
    left = sum(mended is not True for _, mended in found)
    if json:
        say_json([_as_json(finding, mended) for finding, mended in found])
    elif not found:
        unread = "Nothing is missing or left over. No shard was read: --deep reads and hashes them all."
        say("All is well." if deep else unread, style="bold green")
    else:
        mendable = sum(finding.mend is not None and mended is None for finding, mended in found)
        say(
            f"{plural(left, 'problem')} left." + (f" --fix mends {mendable} of them." if mendable else ""), style="bold"
        )
    if left:
        raise click.exceptions.Exit(1)


def _mended(finding: Finding) -> bool:
    try:
        assert finding.mend is not None
        finding.mend()
    except (AtdataError, OSError):
        return False
    return True


def _print(finding: Finding, mended: bool | None) -> None:
    mark = {True: "✓ mended: ", False: "✗ could not be mended: ", None: "✗ "}[mended]
    say(f"{mark}{finding.what}", style="green" if mended else "bold red")
    say(f"  {finding.where}", style="dim")
    if not mended:
        say(f"  {finding.hint}")


def _as_json(finding: Finding, mended: bool | None) -> dict[str, Any]:
    return {
        "what": finding.what,
        "where": finding.where,
        "hint": finding.hint,
        "mendable": finding.mend is not None,
        "mended": bool(mended),
    }
