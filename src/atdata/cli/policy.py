"""`atdata policy`: the verdict of a trust policy, without reading a shard."""

from __future__ import annotations

import click

from atdata.atmosphere import AtmosphereClient, check_policy
from atdata.cli.groups import CommandGroup
from atdata.cli.index import is_public
from atdata.cli.options import file_names, index_option, json_option
from atdata.cli.output import facts, say, say_json, table
from atdata.cli.ways import (
    TYPE,
    accounts,
    allowed_code,
    as_data,
    code_option,
    named_type,
    repo_option,
    searched_index,
    way_table,
)
from atdata.errors import PolicyError, UsageError
from atdata.loading.network import choose_way, find_entry
from atdata.loading.references import LoadRequest
from atdata.policy import PolicyVerdict
from atdata.records import Schema

app = CommandGroup("policy", help="What a trust policy says of a dataset.")


@app.command("check")
@click.argument("ref", help="@handle/name[@version], or at://...")
@click.option("--policy", shell_complete=file_names, help="The file of the policy; ATDATA_POLICY by default.")
@click.option("--type", "named", help=f"The type to read it as: the lenses on the way are judged too. {TYPE}")
@repo_option
@code_option
@index_option
@json_option
def check(
    ref: str,
    policy: str | None,
    named: str | None,
    repo: tuple[str, ...],
    allow_code: tuple[str, ...],
    index: str | None,
    json: bool,
) -> None:
    """Judge a dataset by a policy, now: every fact that was used, and every one that could not be had.

    A refusal ends with a non-zero exit.
    """
    if not is_public(ref):
        raise UsageError(
            "a policy is about datasets of the network",
            expected="@handle/name, or at://...",
            actual=ref,
            hint="Name a published dataset.",
        )
    if named is None and (unused := repo or allow_code or index):
        option = "--repo" if unused is repo else "--allow-code" if unused is allow_code else "--index"
        raise UsageError(
            f"{option} is about lenses, and none are needed without --type", path=option, hint="Add --type."
        )
    client = AtmosphereClient()
    entry, way = find_entry(client, ref), None
    if named is not None:
        wanted = LoadRequest(
            named_type(named, index, "--type"),
            policy=policy,
            lenses=accounts(client, repo),
            allow_code=allowed_code(allow_code),
            index=searched_index(index),
        )
        way = choose_way(client, client.read(entry.schema_ref, Schema), wanted)
    try:
        through, own = ((), None) if way is None else (way.through, way.own)
        verdict = check_policy(client, entry, policy, through, own)
    except PolicyError as refused:
        verdict = refused.verdict
    if verdict is None:
        raise UsageError("no policy is given", hint="Name its file with --policy, or in ATDATA_POLICY.")
    found = None if way is None else way.found
    if json:
        say_json({**_as_json(verdict), **({} if found is None else as_data(found))})
    else:
        if found is not None and found.way.edges:
            table(*way_table(client, found))
            say()
        _show(verdict)
    if not verdict.allowed:
        raise click.exceptions.Exit(1)


def _show(verdict: PolicyVerdict) -> None:
    card = verdict.card()
    for grid in card.grids:
        table(grid.columns, [[str(cell) for cell in row] for row in grid.rows])
    say()
    facts(card.known)
    say("✓ allowed" if verdict.allowed else "✗ refused", style="bold green" if verdict.allowed else "bold red")


def _as_json(verdict: PolicyVerdict) -> dict[str, object]:
    return {
        "policy": verdict.policy,
        "record": str(verdict.uri),
        "cid": str(verdict.cid),
        "judged": verdict.at.isoformat(),
        "allowed": verdict.allowed,
        "findings": [vars(finding) for finding in verdict.findings],
    }
