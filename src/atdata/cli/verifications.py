"""`atdata lens verify`, `repeat`, `verifications`: the word of those who looked into a lens."""

from __future__ import annotations

from typing import Any

import click

from atdata.atmosphere import AtmosphereClient, LensLoader, VerificationLoader, VerificationPublisher
from atdata.atmosphere.law_tests import METHOD, check_known, publish_test, repeat_test, try_lens
from atdata.cli.account import logged_in
from atdata.cli.index import confirm
from atdata.cli.lens import report_as_data, say_lens, say_report, seed_option, uri_argument
from atdata.cli.options import Whole, json_option, yes_option
from atdata.cli.output import plural, say, say_json, table
from atdata.cli.ways import account_of
from atdata.errors import UsageError
from atdata.index.verifications import Discount, VerificationReport, drafted
from atdata.lens.laws import COUNT
from atdata.records import METHODS


@click.command("verify")
@uri_argument
@click.option("--method", default=METHOD, help=f"How you verified it: {', '.join(METHODS)}.")
@click.option("--verdict", help="holds, which is meant where nothing is said, or fails.")
@click.option("--description", help="What you verified.")
@click.option("--code-hash", help="The digest of the code, such as sha256:0a1b...; signedHash needs it.")
@click.option("--proof", help="A proof, or tests: https://REPOSITORY@COMMIT:PATH.")
@click.option(
    "--samples",
    type=Whole(min=1, max=1_000_000),
    help=f"How many samples a test generates; {COUNT} by default.",
)
@seed_option
@click.option("--publish", is_flag=True, help="Publish it under your identity.")
@yes_option
@json_option
def verify(
    uri: str,
    method: str,
    verdict: str | None,
    description: str | None,
    code_hash: str | None,
    proof: str | None,
    samples: int | None,
    seed: str | None,
    publish: bool,
    yes: bool,
    json: bool,
) -> None:
    """Say that you verified a lens, as its record is now: in your own repository, for everybody to read.

    By automatedTest the laws of its program are tried here and now, and the verdict is what was found.
    """
    if method == METHOD:
        if verdict is not None or code_hash is not None or proof is not None:
            raise UsageError(
                "a test finds its verdict itself", hint=f"Leave out the others, or name another --method than {METHOD}."
            )
        _verify_by_test(uri, COUNT if samples is None else samples, seed, description, publish, yes, json)
        return
    if samples is not None or seed is not None:
        raise UsageError(
            f"{method} generates no samples",
            path="--samples, --seed",
            hint=f"Leave them out, or name --method {METHOD}.",
        )
    said: dict[str, Any] = {
        "method": method,
        "verdict": verdict,
        "description": description,
        "code_hash": None
        if code_hash is None
        else dict(zip(("algorithm", "digest"), _two(code_hash, ":", "--code-hash"), strict=True)),
        "proof_ref": None if proof is None else _proof(proof),
    }
    client = AtmosphereClient()
    lens = LensLoader(client).get(uri)
    draft = drafted(lens, **said)
    if not json:
        say_lens(client, lens)
    plan = {"lens": draft["lens"], "lensCommit": draft["lensCommit"], "method": method, "verdict": verdict or "holds"}
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
    known = tested.report.verdict != "unknown"
    if known:
        drafted(tested.record, **tested.said, description=description)
    found = {"lens": str(tested.record.located), "lensCommit": str(tested.record.cid), "trial": tested.trial}
    if not json:
        say_lens(client, tested.record)
        say()
        say_report(tested.report)
    if publish:
        check_known(tested)
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
        say_json({**found, **report_as_data(tested.report)})
    elif tested.report.verdict != "holds" and not publish:
        raise click.exceptions.Exit(1)


@click.command("repeat")
@click.argument("uri", help="The address of a verification: at://...")
@json_option
def repeat(uri: str, json: bool) -> None:
    """Repeat the test that a verification says, on the same samples. Another verdict is exit code 1."""
    said, tested = repeat_test(AtmosphereClient(), uri)
    claimed = said.verdict or "holds"
    if json:
        say_json({"said": claimed, "trial": tested.trial, **report_as_data(tested.report)})
    else:
        say_report(tested.report)
        same = claimed == tested.report.verdict
        say(f"{'✓ as' if same else '✗ not as'} it was said: {claimed}", style="bold green" if same else "bold red")
    if claimed != tested.report.verdict:
        raise click.exceptions.Exit(1)


@click.command("verifications")
@uri_argument
@click.option(
    "--by", multiple=True, required=True, help="Whose verifications: @handle or DID; may be given several times."
)
@json_option
def verifications(uri: str, by: tuple[str, ...], json: bool) -> None:
    """Show who verified a lens, and which of it counts for the lens as it is now; of what does not, why.

    Where what somebody says cannot be proven, that is exit code 1.
    """
    report = VerificationLoader(AtmosphereClient()).of(uri, verifiers=list(map(account_of, by)))
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
    else:
        _say_verifications(report)
    if any(item.reason is Discount.UNPROVEN for item in report):
        raise click.exceptions.Exit(1)


def _say_verifications(report: VerificationReport) -> None:
    say(f"{report.lens.name}  {report.lens.cid}", style="bold")
    rows = []
    for item in report:
        method, at = ("", "") if item.record is None else (item.record.method, item.record.created_at[:10])
        why = item.why if item.error is None else f"{item.why}: {item.error.what}"
        rows.append(["counts" if item.counts else "does not", item.verifier, method, at, why])
    table(["", "verifier", "method", "published", "why not"], rows)
    say(f"{len(report.counting)} of {plural(len(rows), 'line')} count for this version.")


def _proof(text: str) -> dict[str, str]:
    repository, rest = _two(text, "@", "--proof", last=True)
    commit, path = _two(rest, ":", "--proof")
    return {"repository": repository, "commit": commit, "path": path}


def _two(text: str, mark: str, option: str, *, last: bool = False) -> tuple[str, str]:
    before, found, after = text.rpartition(mark) if last else text.partition(mark)
    if not found:
        raise UsageError(f"{option} lacks its {mark}", path=option, actual=text, hint="See: atdata lens verify --help")
    return before, after
