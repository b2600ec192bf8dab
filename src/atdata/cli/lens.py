"""`atdata lens`: lenses on the network, and who verified them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.atmosphere import (
    AtmosphereClient,
    LensLoader,
    LensPublisher,
    VerificationLoader,
    VerificationPublisher,
)
from atdata.atmosphere.law_tests import METHOD, lens_of, publish_test, repeat_test, try_lens
from atdata.atmosphere.lens_network import LensNetwork
from atdata.atproto.syntax import AtUri
from atdata.cli.account import logged_in
from atdata.cli.index import confirm, is_public
from atdata.cli.options import Index, Json, Yes
from atdata.cli.output import facts, plural, say, say_json, table
from atdata.cli.schema import described
from atdata.errors import UsageError
from atdata.lens import DataLens, LawReport, Program
from atdata.lens.language.trying import try_program
from atdata.lens.laws import COUNT
from atdata.loading.network import find_entry
from atdata.paths import checked_path
from atdata.records import METHODS, CodeReference, LensRecord, Schema
from atdata.schema import SampleSchema, type_of

app = typer.Typer(no_args_is_help=True, help="Lenses on the network, and who verified them.")

Uri = Annotated[str, typer.Argument(help="The address of a lens: at://...")]
Samples = Annotated[int, typer.Option(help="How many samples to generate.", min=1, max=1_000_000)]
Seed = Annotated[str | None, typer.Option(help="Any text: another one, other samples.")]
_TYPE = "NAME, NAME@VERSION, an address, or shards."


@app.command()
def show(uri: Uri, json: Json = False) -> None:
    """Show a lens: what it leads between, and what does it. Nothing of it is run."""
    client = AtmosphereClient()
    lens = LensLoader(client).get(uri)
    if json:
        say_json({"uri": str(lens.located), "cid": str(lens.cid), **lens})
        return
    _show(client, lens)


@app.command()
def find(
    repo: Annotated[list[str], typer.Option(help="Whose lenses: @handle or DID; may be given several times.")],
    source: Annotated[str | None, typer.Option("--from", help="The schema they look at: at://...")] = None,
    target: Annotated[str | None, typer.Option("--to", help="The schema they show; needs --from.")] = None,
    json: Json = False,
) -> None:
    """Find lenses of some accounts: all of them, or those between two schemas, whose ranges take these too."""
    if target is not None and source is None:
        raise UsageError("--to needs --from", path="--from", hint="Say from which schema.")
    loader, found = LensLoader(AtmosphereClient()), list[LensRecord]()
    for who in map(_account, repo):
        found += loader.list_all(who) if source is None else loader.find_by_schemas(source, target, who)
    if json:
        say_json([{"uri": str(lens.located), "cid": str(lens.cid), **lens} for lens in found])
        return
    if not found:
        say("They have no such lens.")
        return
    for lens in found:
        say(lens.name, style="bold")
        source, target = _ends(lens)
        facts({"record": lens.located, "from": source, "to": target, "what": _what(lens)})


@app.command()
def check(
    lens: Annotated[str, typer.Argument(help="The address of a lens, or a file with a program.")],
    source: Annotated[str | None, typer.Option("--from", help=f"Of a file: the type it looks at. {_TYPE}")] = None,
    target: Annotated[str | None, typer.Option("--to", help=f"Of a file: the type it shows. {_TYPE}")] = None,
    samples: Samples = COUNT,
    seed: Seed = None,
    index: Index = None,
    json: Json = False,
) -> None:
    """Try the laws of a program on generated samples, and show what it does. A program that breaks one is exit code 1."""
    if is_public(lens):
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
        say_json({"steps": [step.text for step in made.steps], "losses": made.losses, **_report(report)})
    else:
        say(made.explain())
        say()
        _say_report(report)
    if report.verdict != "holds":
        raise typer.Exit(1)


@app.command()
def explain(
    ref: Annotated[str, typer.Argument(help="A dataset of the network, or the address of its schema.")],
    target: Annotated[str, typer.Option("--to", help=f"The type to see it as. {_TYPE}")],
    repo: Annotated[
        list[str] | None, typer.Option(help="Whose lenses to look at too; may be given several times.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="The file of a policy; ATDATA_POLICY by default.")] = None,
    index: Index = None,
    json: Json = False,
) -> None:
    """Show through which lenses a dataset would be seen as another type: what they lose, and which are verified."""
    client = AtmosphereClient()
    if not ref.startswith("at://") or AtUri(ref).collection != Schema.NSID:
        ref = str(find_entry(client, ref).schema_ref)
    network = LensNetwork(client, list(map(_account, repo or [])), policy)
    found = network.find(client.read(ref, Schema), type_of(described(target, index)))
    if json:
        lenses = [
            {"lens": edge.key, "name": edge.name, "losses": edge.losses, "verified": edge.verified}
            for edge in found.way.edges
        ]
        say_json({"lenses": lenses, "passed": dict(found.passed)})
        return
    rows = [
        [str(number), edge.name, "yes" if edge.verified else "no", "; ".join(edge.losses) or "nothing", edge.key]
        for number, edge in enumerate(found.way.edges, 1)
    ]
    if rows:
        table(["", "lens", "verified", "loses", "record"], rows)
    else:
        say("The types are one: no lens is needed.")
    for key, why in sorted(found.passed.items()):
        say(f"passed over {key}: {why}", style="yellow")


@app.command()
def publish(
    file: Annotated[str, typer.Argument(help="A file with a program.")],
    name: Annotated[str, typer.Option(help="What to call the lens.")],
    source: Annotated[str, typer.Option("--from", help="The schema it looks at: at://...")],
    target: Annotated[str, typer.Option("--to", help="The schema it shows: at://...")],
    source_versions: Annotated[
        str | None, typer.Option(help="The versions of the source schema that it takes too, such as '>=1.0.0 <2.0.0'.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it does, for people.")] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Publish a program as a lens under your identity, once its laws have held."""
    reader = AtmosphereClient()
    made = _program(file, *(reader.read(uri, Schema).sample_schema for uri in (source, target)))
    report = try_program(made)
    if not json:
        say(made.explain())
        say()
        _say_report(report)
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
        say_json({"uri": str(uri), "program": str(made.program.cid), **_report(report)})
    else:
        say(f"✓ published: {uri}", style="bold green")


@app.command()
def verify(
    uri: Uri,
    method: Annotated[str, typer.Option(help=f"How you verified it: {', '.join(METHODS)}.")] = METHOD,
    verdict: Annotated[str | None, typer.Option(help="holds, which is meant where nothing is said, or fails.")] = None,
    description: Annotated[str | None, typer.Option(help="What you verified.")] = None,
    code_hash: Annotated[
        str | None, typer.Option(help="The digest of the code, such as sha256:0a1b...; signedHash needs it.")
    ] = None,
    proof: Annotated[str | None, typer.Option(help="A proof, or tests: https://REPOSITORY@COMMIT:PATH.")] = None,
    samples: Samples = COUNT,
    seed: Seed = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it under your identity.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Say that you verified a lens, as its record is now: in your own repository, for everybody to read.

    By automatedTest the laws of its program are tried here and now, and the verdict is what was found.
    """
    if method == METHOD:
        if verdict is not None or code_hash is not None or proof is not None:
            raise UsageError(
                "a test finds its verdict itself", hint=f"Leave out the others, or name another --method than {METHOD}."
            )
        _verify_by_test(uri, samples, seed, description, publish, yes, json)
        return
    said: dict[str, Any] = {
        "method": method,
        "verdict": verdict,
        "description": description,
        "code_hash": None
        if code_hash is None
        else dict(zip(("algorithm", "digest"), _two(code_hash, ":"), strict=True)),
        "proof_ref": None if proof is None else _proof(proof),
    }
    client = AtmosphereClient()
    lens = LensLoader(client).get(uri)
    if not json:
        _show(client, lens)
    plan = {"lens": str(lens.located), "lensCommit": str(lens.cid), "method": method, "verdict": verdict or "holds"}
    if not publish:
        if json:
            say_json(plan)
        else:
            say("Nothing is published: that takes --publish.", style="yellow")
        return
    if not yes:
        confirm(f"Publish that this very version {plan['verdict']}, by {method}?", json)
    with logged_in() as account:
        found = VerificationPublisher(account).publish(str(lens.located), **said, lens_commit=str(lens.cid))
    if json:
        say_json({**plan, "uri": str(found)})
    else:
        say(f"✓ published: {found}", style="bold green")


def _verify_by_test(
    uri: str, samples: int, seed: str | None, description: str | None, publish: bool, yes: bool, json: bool
) -> None:
    client = AtmosphereClient()
    tested = try_lens(client, uri, count=samples, seed=seed)
    found = {"lens": str(tested.record.located), "lensCommit": str(tested.record.cid), "trial": tested.trial}
    if not json:
        _show(client, tested.record)
        say()
        _say_report(tested.report)
    if publish:
        if not yes:
            confirm(f"Publish that this very version {tested.report.verdict}?", json)
        with logged_in() as account:
            written = publish_test(account, tested, description=description)
        found["uri"] = str(written)
        if not json:
            say(f"✓ published: {written}", style="bold green")
    elif not json:
        say("Nothing is published: that takes --publish.", style="yellow")
    if json:
        say_json({**found, **_report(tested.report)})
    elif tested.report.verdict != "holds" and not publish:
        raise typer.Exit(1)


@app.command()
def repeat(
    uri: Annotated[str, typer.Argument(help="The address of a verification: at://...")], json: Json = False
) -> None:
    """Repeat the test that a verification says, on the same samples. Another verdict is exit code 1."""
    said, tested = repeat_test(AtmosphereClient(), uri)
    claimed = said.verdict or "holds"
    if json:
        say_json({"said": claimed, "trial": tested.trial, **_report(tested.report)})
    else:
        _say_report(tested.report)
        same = claimed == tested.report.verdict
        say(f"{'✓ as' if same else '✗ not as'} it was said: {claimed}", style="bold green" if same else "bold red")
    if claimed != tested.report.verdict:
        raise typer.Exit(1)


@app.command()
def verifications(
    uri: Uri,
    by: Annotated[list[str], typer.Option(help="Whose verifications: @handle or DID; may be given several times.")],
    json: Json = False,
) -> None:
    """Show who verified a lens, and which of it counts for the lens as it is now; of what does not, why."""
    report = VerificationLoader(AtmosphereClient()).of(uri, verifiers=list(map(_account, by)))
    if json:
        shown = [
            {
                "verifier": item.verifier,
                "counts": item.counts,
                "reason": item.reason,
                "why": item.why,
                "error": None if item.error is None else item.error.what,
                "uri": item.uri,
                "record": None if item.record is None else dict(item.record),
            }
            for item in report
        ]
        say_json({"lens": str(report.lens.located), "cid": str(report.lens.cid), "verifications": shown})
        return
    say(f"{report.lens.name}  {report.lens.cid}", style="bold")
    rows = []
    for item in report:
        method, at = ("", "") if item.record is None else (item.record.method, item.record.created_at[:10])
        why = item.why if item.error is None else f"{item.why}: {item.error.what}"
        rows.append(["counts" if item.counts else "does not", item.verifier, method, at, why])
    table(["", "verifier", "method", "published", "why not"], rows)
    say(f"{len(report.counting)} of {plural(len(rows), 'line')} count for this version.")


def _program(file: str, source: SampleSchema, target: SampleSchema) -> DataLens[Any, Any]:
    """The lens that the program in a file is between two types."""
    path = checked_path(file)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("a file with a program cannot be read", path=str(path), actual=error) from None
    return DataLens(Program.parse(text), type_of(source), type_of(target), name=path.stem)


def _report(report: LawReport) -> dict[str, Any]:
    found = report.counterexample
    return {
        "verdict": report.verdict,
        "laws": {law: {"tested": tally.tested, "undefined": tally.undefined} for law, tally in report.tallies.items()},
        "counterexample": None if found is None else found.as_data(),
    }


def _say_report(report: LawReport) -> None:
    rows = [[law, f"{tally.tested:,}", f"{tally.undefined:,}"] for law, tally in report.tallies.items()]
    table(["law", "tested", "not defined"], rows)
    holds = report.verdict == "holds"
    say(f"{'✓' if holds else '✗'} {report.verdict}", style="bold green" if holds else "bold red")
    if report.counterexample is not None:
        say(str(report.counterexample))
    elif not holds:
        say(f"It was never defined for {', '.join(report.untested)}: nothing is known of its laws.", style="yellow")


def _show(client: AtmosphereClient, lens: LensRecord) -> None:
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


def _proof(text: str) -> dict[str, str]:
    repository, rest = _two(text, "@", last=True)
    commit, path = _two(rest, ":")
    return {"repository": repository, "commit": commit, "path": path}


def _two(text: str, mark: str, *, last: bool = False) -> tuple[str, str]:
    before, found, after = text.rpartition(mark) if last else text.partition(mark)
    if not found:
        raise UsageError(f"a text lacks its {mark}", actual=text, hint="See: atdata lens verify --help")
    return before, after


def _account(text: str) -> str:
    return text.removeprefix("@")
