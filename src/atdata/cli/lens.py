"""`atdata lens`: lenses on the network, and who verified them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.atmosphere import AtmosphereClient, LensLoader, VerificationLoader, VerificationPublisher
from atdata.cli.account import logged_in
from atdata.cli.index import confirm
from atdata.cli.options import Json, Yes
from atdata.cli.output import facts, plural, say, say_json, table
from atdata.errors import UsageError
from atdata.records import METHODS, CodeReference, LensRecord

app = typer.Typer(no_args_is_help=True, help="Lenses on the network, and who verified them.")

Uri = Annotated[str, typer.Argument(help="The address of a lens: at://...")]


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
def verify(
    uri: Uri,
    method: Annotated[str, typer.Option(help=f"How you verified it: {', '.join(METHODS)}.")],
    verdict: Annotated[str | None, typer.Option(help="holds, which is meant where nothing is said, or fails.")] = None,
    description: Annotated[str | None, typer.Option(help="What you verified.")] = None,
    code_hash: Annotated[
        str | None, typer.Option(help="The digest of the code, such as sha256:0a1b...; signedHash needs it.")
    ] = None,
    proof: Annotated[str | None, typer.Option(help="A proof, or tests: https://REPOSITORY@COMMIT:PATH.")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it under your identity.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Say that you verified a lens, as its record is now: in your own repository, for everybody to read."""
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
