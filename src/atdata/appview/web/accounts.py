"""The page of an account, and the pages of the service itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from atdata.appview.web.pages import AccountPage
from atdata.appview.web.service_pages import AboutPage, HomePage, UpstreamRow
from atdata.appview.web.source import KINDS, PageSource, moment_words
from atdata.appview.web.things import things_with
from atdata.appview.xrpc.health import ServiceHealth
from atdata.atproto.syntax import Did
from atdata.records.nsids import ENTRY
from atdata.redaction import redacted
from atdata.replica import KeptIdentity, Reading
from atdata.replica.pages import counts_of, page_of
from atdata.replica.tables import SHOWN
from atdata.search.facets import FacetKind

_MOST, _NEWEST, _UPSTREAMS, _VERIFIERS = 10_000, 12, 50, 200
_PLURALS = {
    name: f"{name[:-1]}ies" if name.endswith("y") else f"{name}{'es' if name == 'lens' else 's'}"
    for name in KINDS.values()
}


def account_page(source: PageSource, did: Did) -> AccountPage | None:
    """The page of an account; `None` where nothing is shown of it."""
    head = source.reading.account(did).head()
    row = source.reading.sql.first("SELECT status FROM replica_accounts WHERE did = ?", did)
    if head is None or row is None or row[0] != "active":
        return None
    counts = counts_of(source.reading.sql, did, list(KINDS), _MOST + 1)
    kept = KeptIdentity.of_account(source.reading, did)
    return AccountPage(
        account=source.account(did),
        rev=str(head.rev),
        server="" if kept is None else kept.pds,
        checked=moment_words(kept.checked_at) if kept is not None and kept.checked_at else "",
        counts=tuple((_PLURALS[KINDS[kind]], min(count, _MOST), count > _MOST) for kind, count in counts.items()),
        datasets=things_with(source, FacetKind.publisher, str(did), "dataset"),
        schemas=things_with(source, FacetKind.publisher, str(did), "schema"),
        lenses=things_with(source, FacetKind.publisher, str(did), "lens"),
    )


@dataclass
class LiveCounts:
    """The numbers of records that are shown, counted anew when they are old: the more records, the less often.

    What the operator decided is counted at once.
    """

    _found: tuple[tuple[str, int], ...] = ()
    _until: float = 0.0
    _decided: tuple[int, ...] = ()

    def of(self, reading: Reading) -> tuple[tuple[str, int], ...]:
        """The numbers, by kind."""
        began, decided = time.monotonic(), tuple(reading.sql.first(_DECIDED))
        if began < self._until and decided == self._decided:
            return self._found
        self._decided = decided
        rows = dict(reading.sql.all(_COUNT))
        self._found = tuple((_PLURALS[name], int(rows.get(kind, 0))) for kind, name in KINDS.items())
        taken = time.monotonic() - began
        self._until = began + max(2.0, 100 * taken)
        return self._found


_COUNT = f"""SELECT r.kind, count(*) FROM replica_records r JOIN replica_accounts a ON a.id = r.account
    WHERE {SHOWN} AND r.validity <> 'invalid' GROUP BY r.kind"""  # noqa: S608  ours


_DECIDED = """SELECT count(*), COALESCE(max(since), 0), (SELECT count(*) FROM replica_hidden),
    (SELECT COALESCE(max(since), 0) FROM replica_hidden) FROM ingest_decisions"""
"""Numbers that are others once the operator has decided something."""


def home_page(source: PageSource, counts: tuple[tuple[str, int], ...]) -> HomePage:
    """The first page."""
    newest = page_of(source.reading.sql, str(ENTRY), _NEWEST).records
    rows = tuple(row for row in map(source.row, newest) if row is not None)
    return HomePage(counts=counts[:3], newest=rows)


def about_page(source: PageSource, counts: tuple[tuple[str, int], ...], did: str, contact: str) -> AboutPage:
    """The page of what the service is."""
    from atdata import __version__

    sql = source.reading.sql
    state = ServiceHealth.of(source.reading)
    followed = sql.all("SELECT url, cursor, event_at FROM ingest_upstreams ORDER BY id LIMIT ?", _UPSTREAMS)
    accounts, hidden = sql.first(
        "SELECT count(*), count(CASE WHEN status <> 'active' THEN 1 END) FROM replica_accounts WHERE head IS NOT NULL"
    )
    return AboutPage(
        did=did,
        version=__version__,
        contact=contact,
        counts=counts,
        accounts=int(accounts) - int(hidden),
        hidden=int(hidden),
        behind=state.behind,
        lag="" if state.lag is None else _lag(state.lag),
        last_change=moment_words(state.last_change) if state.last_change else "",
        upstreams=tuple(
            UpstreamRow(redacted(url), "" if cursor is None else f"{cursor:,}", moment_words(event) if event else "")
            for url, cursor, event in followed
        ),
        verifiers=tuple(
            (source.account(one.did), _day(one.since), ", ".join(one.methods) or "all", one.why)
            for one in sorted(source.verifiers.verifiers.values(), key=lambda one: (one.since, one.did))[:_VERIFIERS]
        ),
        verifiers_version=source.verifiers.version or 0,
        following=state.following,
        now=moment_words(state.moment),
    )


def _day(microseconds: int) -> str:
    return moment_words(microseconds)[:10] if microseconds else ""


def _lag(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return f"{seconds:.1f} seconds"
