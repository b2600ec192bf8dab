"""Records by their addresses, and pages of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from atdata.appview.xrpc.asking import AskedQuery
from atdata.appview.xrpc.cursors import cursor_of, place_of
from atdata.appview.xrpc.failures import QueryFailure
from atdata.appview.xrpc.trusting import TrustViews, lens_views
from atdata.appview.xrpc.views import View
from atdata.records.nsids import ENTRY, LABEL, LENS, LENS_VERIFICATION, SCHEMA
from atdata.replica import StoredRecord
from atdata.replica.pages import links_to, page_of

Views: TypeAlias = Callable[[list[StoredRecord]], list[View]]

RELATIONS = ("dataset", "lens", "metadataSchema", "predecessor", "schema", "sourceSchema", "targetSchema")
"""The relations of a record to one that it names (`RecordLink`), in order."""
MAX_ASKED = 8_000_000
"""Bytes of the records that are asked for by their addresses at once."""


def get_entry(asked: AskedQuery) -> dict[str, Any]:
    """A dataset."""
    return {"entry": asked.views.one(asked.get(asked.params["uri"], ENTRY))}


def get_lens(asked: AskedQuery) -> dict[str, Any]:
    """A lens, with its verifications."""
    (view,) = lens_views(asked, [asked.get(asked.params["uri"], LENS)], alone=True)
    return {"lens": view}


def get_schema(asked: AskedQuery) -> dict[str, Any]:
    """A schema."""
    return asked.views.one(asked.get(asked.params["uri"], SCHEMA))


def get_entries(asked: AskedQuery) -> dict[str, Any]:
    """Datasets in the order asked, each once, those that are not there left out."""
    found, left = list[StoredRecord](), MAX_ASKED
    for uri in dict.fromkeys(asked.params["uris"]):
        record = asked.find(uri, ENTRY)
        if record is not None:
            found.append(record)
            left -= len(record.block or b"")
        if left < 0:
            raise QueryFailure("InvalidRequest", f"the datasets have more than {MAX_ASKED} bytes: ask for fewer")
    return {"entries": asked.views.all(found)}


def list_entries(asked: AskedQuery) -> dict[str, Any]:
    """Datasets, of all accounts or one."""
    return _listed(asked, "listEntries", "entries", ENTRY, schemaRef="schema")


def list_schemas(asked: AskedQuery) -> dict[str, Any]:
    """Schemas."""
    return _listed(asked, "listSchemas", "schemas", SCHEMA)


def list_lenses(asked: AskedQuery) -> dict[str, Any]:
    """Lenses; where both schemas are given, both must hold."""
    return _listed(
        asked,
        "listLenses",
        "lenses",
        LENS,
        partial(lens_views, asked),
        sourceSchema="sourceSchema",
        targetSchema="targetSchema",
    )


def search_lenses(asked: AskedQuery) -> dict[str, Any]:
    """Lenses, as `list_lenses`."""
    return _listed(
        asked,
        "searchLenses",
        "lenses",
        LENS,
        partial(lens_views, asked),
        sourceSchema="sourceSchema",
        targetSchema="targetSchema",
    )


def list_labels(asked: AskedQuery) -> dict[str, Any]:
    """Labels, of all entries or one."""
    return _listed(asked, "listLabels", "labels", LABEL, entry="dataset")


def list_verifications(asked: AskedQuery) -> dict[str, Any]:
    """Verifications of lenses, each with what it is worth now."""
    trust = TrustViews(asked)

    def views(records: list[StoredRecord]) -> list[View]:
        shown = zip(records, asked.views.all(records), strict=True)
        return [{**view, **trust.members(record)} for record, view in shown]

    answer = _listed(asked, "listVerifications", "verifications", LENS_VERIFICATION, views, lens="lens")
    return {**answer, "trust": trust.said}


def list_backlinks(asked: AskedQuery) -> dict[str, Any]:
    """The records that name another."""
    relation, limit = asked.params.get("relation"), asked.params["limit"]
    number, last = place_of("listBacklinks", asked.params.get("cursor"), 2) or (0, -1)
    target, relations = asked.address(asked.params["uri"]), RELATIONS if relation is None else (relation,)
    after = (number, RELATIONS[last] if 0 <= last < len(RELATIONS) else "")
    page = links_to(asked.reading.sql, target, relations, limit, after)
    shown = [
        {"relation": link.relation, **({} if link.cid is None else {"cid": link.cid}), "record": view}
        for link, view in zip(page.links, asked.views.all(link.record for link in page.links), strict=True)
    ]
    if page.last is None:
        return {"backlinks": shown}
    place = (page.last[0], RELATIONS.index(page.last[1]))
    return {"backlinks": shown, "cursor": cursor_of("listBacklinks", place)}


def _listed(
    asked: AskedQuery, method: str, member: str, kind: str, views: Views | None = None, **naming: str
) -> dict[str, Any]:
    """A page of a kind; each parameter of `naming`, where it is given, is what they must name by a relation."""
    place = place_of(method, asked.params.get("cursor"), 2)
    named = {naming[name]: str(asked.address(asked.params[name])) for name in naming if name in asked.params}
    before = None if place is None else (place[0], place[1])
    repo = asked.repo()
    page = page_of(asked.reading.sql, kind, asked.params["limit"], before, did=repo, naming=named)
    answer: dict[str, Any] = {member: (views or asked.views.all)(page.records)}
    return answer if page.last is None else {**answer, "cursor": cursor_of(method, page.last)}
