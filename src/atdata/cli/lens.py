"""`atdata lens`: lenses on the network, and who verified them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from atdata.arguments import checked_service
from atdata.atmosphere import (
    AppViewClient,
    AtmosphereClient,
    LensLoader,
    LensPublisher,
)
from atdata.atmosphere.law_tests import lens_of, try_lens
from atdata.cli.account import logged_in
from atdata.cli.groups import CommandGroup, Commands
from atdata.cli.index import confirm, is_public, known_index
from atdata.cli.options import Whole, file_names, index_option, json_option, yes_option
from atdata.cli.output import facts, note, plural, say, say_json, table
from atdata.cli.schema import check_index, described
from atdata.cli.ways import account_of, explain
from atdata.errors import UsageError
from atdata.lens import DataLens, LawReport, Program
from atdata.lens.language.trying import try_program
from atdata.lens.laws import COUNT
from atdata.paths import checked_path
from atdata.records import CodeReference, LensRecord, Schema
from atdata.records.address import AUTHORITY, LOCAL
from atdata.schema import SampleSchema, type_of

MOST_OF_A_SERVICE = 200
"""Lenses of one service that are shown."""

_ELSEWHERE = {
    "verify": "verifications.verify",
    "repeat": "verifications.repeat",
    "verifications": "verifications.verifications",
}

app = CommandGroup("lens", Commands(_ELSEWHERE), help="Lenses on the network, and who verified them.")

uri_argument = click.argument("uri", help="The address of a lens: at://...")
samples_option = click.option(
    "--samples", type=Whole(min=1, max=1_000_000), default=COUNT, help="How many samples to generate."
)
seed_option = click.option("--seed", help="Any text: another one, other samples.")
_TYPE = "NAME, NAME@VERSION, an address, or shards."


@app.command("show")
@uri_argument
@json_option
def show(uri: str, json: bool) -> None:
    """Show a lens: what it leads between, and what does it. Nothing of it is run."""
    client = AtmosphereClient()
    lens = LensLoader(client).get(uri)
    if json:
        say_json({"uri": str(lens.located), "cid": str(lens.cid), **lens})
        return
    say_lens(client, lens)


@app.command("find")
@click.option(
    "--repo",
    multiple=True,
    help="Whose lenses: @handle, DID, or local, your own index, by default; may be given several times.",
)
@click.option("--from", "source", help="The schema they look at: at://...")
@click.option("--to", "target", help="The schema they show; needs --from.")
@click.option("--service", multiple=True, help="An AppView to ask too, https://...; may be given several times.")
@index_option
@json_option
def find(
    repo: tuple[str, ...],
    source: str | None,
    target: str | None,
    service: tuple[str, ...],
    index: str | None,
    json: bool,
) -> None:
    """Find lenses of your own index, of some accounts, or by services: all, or those between two schemas, whose ranges take these too."""
    if target is not None and source is None:
        raise UsageError("--to needs --from", path="--from", hint="Say from which schema.")
    services = [checked_service(url, "--service") for url in service]
    loader, found = LensLoader(AtmosphereClient()), list[LensRecord]()
    for who in map(account_of, repo or ([] if service else [LOCAL])):
        if who == LOCAL:
            team = known_index(index)
            found += team.list_lenses() if source is None else team.find_lenses(source, target)
        else:
            found += loader.list_all(who) if source is None else loader.find_by_schemas(source, target, who)
    for url in services:
        answers = AppViewClient(url, AtmosphereClient()).lenses(source, target)
        found += [one.record for one in islice(answers, MOST_OF_A_SERVICE)]
        for item in answers.refused:
            note(f"{url}: not shown, for it was not proven: {item.uri} ({item.error.what})")
    if json:
        say_json([{"uri": str(lens.located), "cid": str(lens.cid), **lens} for lens in found])
        return
    if not found:
        say("There is no such lens.")
        return
    for lens in found:
        say(lens.name, style="bold")
        source, target = _ends(lens)
        place = "your own index" if lens.located.authority == AUTHORITY else lens.located.authority
        facts({"in": place, "record": lens.located, "from": source, "to": target, "what": _what(lens)})


@app.command("check")
@click.argument("lens", shell_complete=file_names, help="The address of a lens, or a file with a program.")
@click.option("--from", "source", help=f"Of a file: the type it looks at. {_TYPE}")
@click.option("--to", "target", help=f"Of a file: the type it shows. {_TYPE}")
@samples_option
@seed_option
@index_option
@json_option
def check(
    lens: str, source: str | None, target: str | None, samples: int, seed: str | None, index: str | None, json: bool
) -> None:
    """Try the laws of a program on generated samples, and show what it does. A program that breaks one is exit code 1."""
    check_index(index, *filter(None, (source, target)))
    if is_public(lens):
        if source is not None or target is not None:
            raise UsageError(
                "a published lens has its types",
                path="--from, --to",
                hint="Leave both out, or name a file with a program.",
            )
        tested = try_lens(AtmosphereClient(), lens, count=samples, seed=seed)
        made, report = lens_of(AtmosphereClient(), tested.record), tested.report
    else:
        if source is None or target is None:
            raise UsageError(
                "a program needs two types", path="--from, --to", hint="Say between which: --from A --to B."
            )
        made = _program(lens, described(source, index), described(target, index))
        report = try_program(made, count=samples, seed=seed or "")
    if json:
        say_json({"steps": [step.text for step in made.steps], "losses": made.losses, **report_as_data(report)})
    else:
        say(made.explain())
        say()
        say_report(report)
    if report.verdict != "holds":
        raise click.exceptions.Exit(1)


app.add_command(explain)


@app.command("publish")
@click.argument("file", shell_complete=file_names, help="A file with a program.")
@click.option("--name", required=True, help="What to call the lens.")
@click.option("--from", "source", required=True, help="The schema it looks at: at://...")
@click.option("--to", "target", required=True, help="The schema it shows: at://...")
@click.option(
    "--source-versions", help="The versions of the source schema that it takes too, such as '>=1.0.0 <2.0.0'."
)
@click.option("--description", help="What it does, for people.")
@yes_option
@json_option
def publish(
    file: str,
    name: str,
    source: str,
    target: str,
    source_versions: str | None,
    description: str | None,
    yes: bool,
    json: bool,
) -> None:
    """Publish a program as a lens under your identity, once its laws have held."""
    reader = AtmosphereClient()
    made = _program(file, *(reader.read(uri, Schema).sample_schema for uri in (source, target)))
    report = try_program(made)
    if not json:
        say(made.explain())
        say()
        say_report(report)
    if report.verdict == "unknown":
        say("Nobody finds this lens who does not name it, as long as nothing is known of its laws.", style="yellow")
    else:
        report.raise_for_failure()
    if not yes:
        confirm(f"Publish it as {name}?", json)
    with logged_in() as account:
        uri = LensPublisher(account).publish(
            name=name,
            program=made.program,
            source_schema=source,
            target_schema=target,
            source_schema_version=source_versions,
            description=description,
        )
    if json:
        say_json({"uri": str(uri), "program": str(made.program.cid), **report_as_data(report)})
    else:
        say(f"✓ published: {uri}", style="bold green")


def _program(file: str, source: SampleSchema, target: SampleSchema) -> DataLens[Any, Any]:
    """The lens that the program in a file is between two types."""
    path = checked_path(file)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8"
        hint = "Name a file with a program as JSON."
        raise UsageError("a file with a program cannot be read", path=str(path), actual=why, hint=hint) from None
    return DataLens(Program.parse(text), type_of(source), type_of(target), name=path.stem)


def report_as_data(report: LawReport) -> dict[str, Any]:
    """The findings on laws, for `--json`."""
    found = report.counterexample
    return {
        "verdict": report.verdict,
        "laws": {law: {"tested": tally.tested, "undefined": tally.undefined} for law, tally in report.tallies.items()},
        "counterexample": None if found is None else found.as_data(),
    }


def say_report(report: LawReport) -> None:
    """Print the findings on laws."""
    rows = [[law, f"{tally.tested:,}", f"{tally.undefined:,}"] for law, tally in report.tallies.items()]
    table(["law", "tested", "not defined"], rows)
    mark, style = {"holds": ("✓", "bold green"), "fails": ("✗", "bold red"), "unknown": ("?", "bold yellow")}[
        report.verdict
    ]
    say(f"{mark} {report.verdict}", style=style)
    if report.counterexample is not None:
        say(str(report.counterexample))
    elif report.verdict == "unknown":
        say(f"It was never defined for {', '.join(report.untested)}: nothing is known of its laws.", style="yellow")


def say_lens(client: AtmosphereClient, lens: LensRecord) -> None:
    """Print what a lens is, and whose."""
    say(lens.name, style="bold")
    publisher = lens.located.authority
    source, target = _ends(lens)
    facts(
        {
            "published by": client.reader.shown_handle(client.reader.identity(publisher).did) or publisher,
            "record": lens.located,
            "cid": lens.cid,
            "from": source,
            "to": target,
            "description": lens.description,
            "what": _what(lens),
            "getter": _code(lens.getter_code),
            "putter": _code(lens.putter_code) if lens.has_putter else "none: what is seen cannot be put back",
            "published": lens.created_at,
        }
    )


def _ends(lens: LensRecord) -> list[str]:
    ends = (lens.source_schema, lens.source_schema_version), (lens.target_schema, lens.target_schema_version)
    return [f"{schema} ({versions})" if versions else str(schema) for schema, versions in ends]


def _what(lens: LensRecord) -> str:
    if lens.program is None:
        return "code"
    said = lens.program.value
    return (
        f"a program in {said['language']} {said['version']}, {plural(len(said['steps']), 'step')}: {lens.program.cid}"
    )


def _code(code: CodeReference) -> str:
    return f"{code.repository}@{code.commit}:{code.path}"
