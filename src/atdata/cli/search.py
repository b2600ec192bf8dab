"""`atdata search`: datasets, schemas and lenses, found on this machine in repositories that one names, or by services."""

from __future__ import annotations

from typing import Any

import click

from atdata.arguments import checked_service
from atdata.atmosphere import AtmosphereClient
from atdata.cli.found import COLUMNS, cells, described_row, show_facets
from atdata.cli.options import Number, Whole, json_option
from atdata.cli.output import fitting, note, plural, say, say_json, table
from atdata.discovery import FRESH, BroughtRepository, Discovery
from atdata.errors import UsageError
from atdata.search import Hit, ReachingLens, SearchAnswer


@click.command("search")
@click.argument(
    "question", nargs=-1, help='Words; beginnings, as in spec*; "phrases"; and conditions, as in license:MIT, -tag:raw.'
)
@click.option("--repo", multiple=True, help="Whose repository to look into too; may be given several times.")
@click.option(
    "--fresh",
    type=Number(min=0),
    default=FRESH,
    help="Seconds for which a repository that was looked into is taken as it was.",
)
@click.option(
    "--service",
    multiple=True,
    help="An AppView to ask instead, https://...; may be given several times. ATDATA_APPVIEW_URL.",
)
@click.option(
    "--verifier",
    multiple=True,
    help="A DID whose verification of a lens counts for reaches:; may be given several times; else those of your policy do, or of the service asked.",
)
@click.option("--limit", type=Whole(min=1, max=100), default=25, help="How many to show.")
@click.option("--cursor", help="Where the page before ended.")
@json_option
def search(
    question: tuple[str, ...],
    repo: tuple[str, ...],
    fresh: float,
    service: tuple[str, ...],
    verifier: tuple[str, ...],
    limit: int,
    cursor: str | None,
    json: bool,
) -> None:
    """Search the repositories you name, and those you have looked into before; or ask services. Every record that is shown
    was verified here.

    No service is asked unless one is named, or set. docs/search.md says what words and conditions mean.
    """
    if service and repo:
        hint = "Leave one out: a service does not look into repositories because you name them."
        raise UsageError("--service and --repo are two ways to search", path="--service, --repo", hint=hint)
    client = AtmosphereClient()
    services = [checked_service(url, "--service") for url in service] or ([] if repo else client.settings.appview_urls)
    if services:
        from atdata.cli.search_services import ask_services  # whoever asks none need not wait for its start

        ask_services(client, services, " ".join(question), limit, cursor, verifier or None, json)
        return
    found = Discovery(client)
    brought = found.bring(repo, fresh)
    if brought and all(item.error is not None for item in brought):
        raise brought[0].error  # type: ignore[misc]  # there is one
    for item in brought:
        if item.error is not None:
            why = f"{item.error.what}: {item.error.actual}" if item.error.actual else item.error.what
            known = "what is known of it is from before" if item.known else "nothing is known of it"
            note(f"{item.repo}: {why}; {known}")
    answer = found.search(" ".join(question), limit=limit, cursor=cursor, verifiers=verifier or None)
    if json:
        say_json(_as_data(found, answer, brought))
        return
    _show(found, answer)


def _show(found: Discovery, answer: SearchAnswer) -> None:
    if not answer.hits:
        say("Nothing was found. Name repositories to look into with --repo @handle, or ask for less.")
        return
    rows = [cells(_row(found, hit)) for hit in answer.hits]
    shown = fitting(COLUMNS, rows)
    table(COLUMNS[:shown], [row[:shown] for row in rows], title=_total(answer))
    for hit in answer.hits:
        for lens in hit.way or ():
            by = ", ".join(f"{did} by {method}" for did, method in lens.verifiers)
            say(f"{hit.record.uri}: through {lens.uri}, verified by {by}", "dim")
    show_facets({kind: [(item.value, item.count) for item in counts] for kind, counts in answer.facets.items()})
    if answer.cursor is not None:
        say(f"More: --cursor {answer.cursor}", "dim")


def _total(answer: SearchAnswer) -> str:
    return plural(answer.total, "record") + ("" if answer.exact else " that came last; there are more")


def _row(found: Discovery, hit: Hit) -> dict[str, Any]:
    stored = hit.record
    return described_row(stored.parse(), stored.kind, stored.did, found.handle(stored.did), stored.uri)


def _lens(lens: ReachingLens) -> dict[str, Any]:
    verifiers = [{"did": did, "method": method} for did, method in lens.verifiers]
    return {"lens": str(lens.uri), "cid": str(lens.cid), "verifiers": verifiers}


def _as_data(found: Discovery, answer: SearchAnswer, brought: list[BroughtRepository]) -> dict[str, Any]:
    return {
        "total": answer.total,
        "exact": answer.exact,
        "hits": [
            {"uri": str(hit.record.uri), "cid": str(hit.record.cid), "rev": hit.record.rev, "score": hit.score}
            | {name: value for name, value in _row(found, hit).items() if name != "address"}
            | ({} if hit.way is None else {"way": [_lens(lens) for lens in hit.way]})
            for hit in answer.hits
        ],
        "facets": {
            kind: [{"value": item.value, "count": item.count} for item in counts]
            for kind, counts in answer.facets.items()
        },
        "cursor": answer.cursor,
        "repositories": [
            {"repo": item.repo, "did": item.did, "error": None if item.error is None else item.error.what}
            for item in brought
        ],
    }
