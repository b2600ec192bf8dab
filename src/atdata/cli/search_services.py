"""A search by services: what one answers is shown as far as it was proven here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from atdata.atmosphere import AppViewClient, AtmosphereClient, RefusedRecord, ServicePage, ServiceRecord
from atdata.atproto.syntax import AtUri
from atdata.cli.found import COLUMNS, cells, described_row, show_facets
from atdata.cli.output import fitting, note, plural, say, say_json, table
from atdata.errors import AtdataError, IdentifierError, UsageError
from atdata.records import Record


@dataclass(frozen=True)
class _Said:
    """The answer of one service: a page, or an error."""

    url: str
    page: ServicePage[Record] = field(default_factory=ServicePage)
    error: AtdataError | None = None


def ask_services(
    client: AtmosphereClient,
    urls: Sequence[str],
    question: str,
    limit: int,
    cursor: str | None,
    verifiers: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Ask services a question, and show what they found.

    Raises:
        UsageError: the question, or an option, cannot be meant.
        AtdataError: no service gave a usable answer.
    """
    if cursor is not None and len(urls) > 1:
        raise UsageError("a cursor is of one service", path="--cursor", hint="Name that service alone with --service.")
    said = [_asked(client, url, question, limit, cursor, verifiers) for url in urls]
    if all(one.error is not None for one in said):
        raise said[0].error  # type: ignore[misc]  # there is one
    records: dict[AtUri, ServiceRecord[Record]] = {}
    for one in said:
        for found in one.page.records:
            records.setdefault(found.record.located, found)
    refused = sum(len(one.page.refused) for one in said)
    if as_json:
        say_json(_as_data(said, [*records.values()]))
    else:
        _tell(said, [*records.values()], refused)
    if refused and not records:
        raise click.exceptions.Exit(1)


def _tell(said: Sequence[_Said], records: Sequence[ServiceRecord[Record]], refused: int) -> None:
    for one in said:
        if one.error is not None:
            note(f"{one.url}: {one.error.what}")
        for item in one.page.refused:
            note(f"{one.url}: not shown, for it was not proven: {item.uri} ({_why(item)})")
    if refused and not records:
        say(f"Of {plural(refused, 'record')} that the service found, none was proven.")
    else:
        _show(said, records)


def _asked(
    client: AtmosphereClient,
    url: str,
    question: str,
    limit: int,
    cursor: str | None,
    verifiers: Sequence[str] | None,
) -> _Said:
    try:
        answers = AppViewClient(url, client).search(question, limit=limit, cursor=cursor, verifiers=verifiers)
        return _Said(url, next(answers.pages()))
    except (UsageError, IdentifierError):
        raise
    except AtdataError as error:
        return _Said(url, error=error)


def _show(said: Sequence[_Said], records: Sequence[ServiceRecord[Record]]) -> None:
    if not records:
        say(
            "Nothing was found, by the word of the service. Ask for less, or another one, or name repositories with --repo."
        )
        return
    columns = (*COLUMNS[:-1], "proven at", COLUMNS[-1])
    rows = [cells(_row(found)) for found in records]
    shown = fitting(columns, rows)
    table(columns[:shown], [row[:shown] for row in rows], title=plural(len(records), "record"))
    for one in said:
        if one.error is None:
            count = plural(len(one.page.records), "record")
            say(f"{one.url}: {count}, each proven to be in its account's repository at the revision shown.", "dim")
            show_facets(one.page.facets)
            if one.page.total is not None:
                say(f"In all {one.page.total:,}, in this order, by the word of the service.", "dim")
        if one.page.cursor is not None:
            say(f"More: --service {shlex.quote(one.url)} --cursor {shlex.quote(one.page.cursor)}", "dim")


def _row(found: ServiceRecord[Record]) -> dict[str, Any]:
    record = found.record
    row = described_row(record, str(record.NSID), str(record.located.authority), found.handle, record.located)
    address = row.pop("address")
    return {**row, "rev": str(found.rev), "address": address}


def _why(item: RefusedRecord) -> str:
    return f"{item.error.step}: {item.error.what}" if item.error.step else item.error.what


def _as_data(said: Sequence[_Said], records: Sequence[ServiceRecord[Record]]) -> dict[str, Any]:
    alone = said[0].page if len(said) == 1 else ServicePage[Record]()
    return {
        "total": alone.total if len(said) == 1 else len(records),
        "exact": all(one.page.exact for one in said),
        "hits": [
            {"uri": str(one.record.uri), "cid": str(one.record.cid), "rev": str(one.rev), "confirmed": one.confirmed}
            | {name: value for name, value in _row(one).items() if name not in ("address", "rev")}
            for one in records
        ],
        "facets": {
            kind: [{"value": value, "count": count} for value, count in counts] for kind, counts in alone.facets.items()
        },
        "cursor": alone.cursor,
        "services": [
            {
                "url": one.url,
                "total": one.page.total,
                "cursor": one.page.cursor,
                "error": None if one.error is None else one.error.what,
                "refused": [
                    {"uri": each.uri, "step": each.error.step, "error": each.error.what} for each in one.page.refused
                ],
            }
            for one in said
        ],
    }
