"""Things that belong to a thing: its versions, those that name it, the lenses at it and their verifications. All of it is bounded."""

from __future__ import annotations

from datetime import UTC, datetime

from atdata.appview.web.addresses import search_path
from atdata.appview.web.parts import (
    LensRow,
    More,
    Things,
    VerificationRow,
    Verifications,
    VersionList,
    VersionRow,
    Worth,
)
from atdata.appview.web.source import PageSource
from atdata.atproto.syntax import AtUri, Did
from atdata.records import Label, LensRecord, LensVerification, Trial
from atdata.records.nsids import LABEL
from atdata.replica import StoredRecord
from atdata.replica.pages import NamedRow, links_to, versions_named
from atdata.search import Condition, Question, search, written
from atdata.search.facets import FacetKind
from atdata.trust import LensVerifications, Trust

VERSIONS, ROWS, LENSES, VERIFICATIONS = 30, 10, 10, 50
"""The number of each that a page shows."""

_WORTH: dict[Trust, Worth] = {Trust.TRUSTED: "trusted", Trust.OTHER_METHOD: "unlisted", Trust.UNLISTED: "unlisted"}
_LISTED = {
    Trust.TRUSTED: "its verifier is on this service's list",
    Trust.OTHER_METHOD: "its verifier is on this service's list, for other methods",
    Trust.UNLISTED: "its verifier is not on this service's list",
}


def things_with(source: PageSource, kind: FacetKind, value: str, of: str) -> Things:
    """The things of a kind that have a facet, the newest first."""
    question = Question(conditions=(Condition(kind, (value,)), Condition(FacetKind.kind, (of,))))
    found = search(source.reading.sql, question, limit=ROWS, facets=False)
    shown = tuple(row for row in (source.row(hit.record) for hit in found.hits) if row is not None)
    left = found.total - len(shown)
    asked = f"kind:{of} {written(kind.name, value)}"
    return Things(shown, More(left, found.exact, search_path(asked)) if left > 0 else None)


def versions_of(source: PageSource, did: Did, kind: str, name: str, current: str) -> VersionList:
    """The versions of a name of an account, the newest first.

    Args:
        source: what is known.
        did: the account.
        kind: the collection of the records that have the name.
        name: theirs.
        current: the address of the thing that is shown.
    """
    found = versions_named(source.reading.sql, did, kind, name, VERSIONS + 1)
    rows = tuple(_version(source, row, kind, current) for row in found[:VERSIONS])
    return VersionList(name, rows, len(found) > VERSIONS)


def lenses_at(source: PageSource, schema: str, end: str) -> tuple[LensRow, ...]:
    """The lenses that have a schema at an end, `sourceSchema` or `targetSchema`: the first of them."""
    found = []
    for link in links_to(source.reading.sql, AtUri(schema), (end,), LENSES).links:
        lens = link.record.parse()
        if isinstance(lens, LensRecord):
            other = str(lens.target_schema if end == "sourceSchema" else lens.source_schema)
            account, named = source.account(link.record.did), source.schema_named(other)
            uri = str(link.record.uri)
            found.append(LensRow(uri, lens.name, account, named, verifications_of(source, link.record)))
    return tuple(found)


def verifications_of(source: PageSource, lens: StoredRecord) -> Verifications:
    """The verifications of a lens, those of trusted verifiers first."""
    found = LensVerifications.of(source.reading.sql, str(lens.uri), source.verifiers, VERIFICATIONS)
    rows = [_verification(source, record) for record in found.shown]
    return Verifications(tuple(row for row in rows if row is not None), found.total - len(rows))


def _version(source: PageSource, row: NamedRow, kind: str, current: str) -> VersionRow:
    date = datetime.fromtimestamp(row.sorted_at / 1_000_000, UTC).strftime("%Y-%m-%d")
    if kind != LABEL:
        return VersionRow(row.version or "", row.uri, date, row.uri == current)
    if row.target is not None:
        return VersionRow(row.version or "", row.target, date, row.target == current)
    label = source.record(row.uri, Label)
    retraction = None if label is None else label.retraction
    return VersionRow(row.version or "", row.uri, date, retracted="" if retraction is None else retraction.reason)


def _verification(source: PageSource, stored: StoredRecord) -> VerificationRow | None:
    record = stored.parse()
    if not isinstance(record, LensVerification):
        return None
    found = source.judge.standing(stored, source.verifiers)
    worth: Worth = _WORTH[found.trust] if found.counts else "discounted"
    return VerificationRow(
        publisher=source.account(stored.did),
        method=record.method,
        worth=worth,
        why=_LISTED[found.trust] if found.counts else f"{found.why}; {_LISTED[found.trust]}",
        verdict=record.verdict or ("holds" if record.holds else "something that cannot be read"),
        date=record.created_at[:10],
        uri=str(stored.uri),
        note=record.description or "",
        trial=_trial(record.trial),
    )


def _trial(trial: Trial | None) -> str:
    return (
        "" if trial is None else f"{trial.samples:,} samples of {trial.space}, seed {trial.seed}, by {trial.language}"
    )
