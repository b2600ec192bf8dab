"""`atdata search`: datasets, schemas and lenses in repositories that one names, found on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.syntax import Did
from atdata.cli.options import Json
from atdata.cli.output import fitting, line, note, plural, say, say_json, size, table
from atdata.discovery import FRESH, BroughtRepository, Discovery
from atdata.records import Entry, Record
from atdata.search import Hit, SearchAnswer

_COLUMNS = ("name", "kind", "by", "license", "size", "description", "address")
_FACETS = 5


def search(
    question: Annotated[
        list[str] | None,
        typer.Argument(help='Words; beginnings, as in spec*; "phrases"; and conditions, as in license:MIT, -tag:raw.'),
    ] = None,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", help="Whose repository to look into too; may be given several times.")
    ] = None,
    fresh: Annotated[
        float, typer.Option(help="Seconds for which a repository that was looked into is taken as it was.", min=0)
    ] = FRESH,
    limit: Annotated[int, typer.Option(help="How many to show.", min=1, max=100)] = 25,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    json: Json = False,
) -> None:
    """Search the repositories you name, and those you have looked into before: every record found was verified here.

    No service is asked. `atdata search --help` has the words; docs/search.md what they mean.
    """
    found = Discovery(AtmosphereClient())
    brought = found.bring(repo or (), fresh)
    if brought and all(item.error is not None for item in brought):
        raise brought[0].error  # type: ignore[misc]  # there is one
    for item in brought:
        if item.error is not None:
            note(f"{item.repo}: {item.error.what}; what is known of it is from before")
    answer = found.search(" ".join(question or ()), limit=limit, cursor=cursor)
    if json:
        say_json(_as_data(found, answer, brought))
        return
    _show(found, answer)


def _show(found: Discovery, answer: SearchAnswer) -> None:
    if not answer.hits:
        say("Nothing was found. Name repositories to look into with --repo @handle, or ask for less.")
        return
    rows = [tuple(str(cell) for cell in _row(found, hit).values()) for hit in answer.hits]
    shown = fitting(_COLUMNS, rows)
    table(_COLUMNS[:shown], [row[:shown] for row in rows], title=_total(answer))
    for kind, counts in answer.facets.items():
        if len(counts) > 1:
            say(f"{kind}: " + ", ".join(f"{item.value} ({item.count})" for item in counts[:_FACETS]), "dim")
    if answer.cursor is not None:
        say(f"More: --cursor {answer.cursor}", "dim")


def _total(answer: SearchAnswer) -> str:
    return plural(answer.total, "record") + ("" if answer.exact else " that came last; there are more")


def _row(found: Discovery, hit: Hit) -> dict[str, Any]:
    record, stored = hit.record.parse(), hit.record
    handle = found.handle(Did(stored.did))
    entry = record if isinstance(record, Entry) else None
    return {
        "name": record.name if isinstance(record, Record) else "",
        "kind": stored.kind.rpartition(".")[2],
        "by": f"@{handle}" if handle else stored.did,
        "license": (entry and entry.license) or "",
        "size": size(entry.size.bytes) if entry and entry.size.bytes is not None else "",
        "description": line(getattr(record, "description", None) or "").plain,
        "address": str(stored.uri),
    }


def _as_data(found: Discovery, answer: SearchAnswer, brought: list[BroughtRepository]) -> dict[str, Any]:
    return {
        "total": answer.total,
        "exact": answer.exact,
        "hits": [
            {"uri": str(hit.record.uri), "cid": str(hit.record.cid), "rev": hit.record.rev, "score": hit.score}
            | {name: value for name, value in _row(found, hit).items() if name != "address"}
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
