"""Records by words and facets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from atdata.appview.xrpc.asking import AskedQuery
from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.records.nsids import ENTRY
from atdata.search import Condition, Question, search
from atdata.search.facets import FacetKind


def search_datasets(asked: AskedQuery) -> dict[str, Any]:
    """The datasets that words, tags, a schema and an account are true of, ranked."""
    params, repo = asked.params, asked.repo()
    with requested():
        question = Question.parse(params.get("q", ""))
        conditions = [Condition(FacetKind.tag, (tag,)) for tag in params.get("tags", ())]
        if "schemaRef" in params:
            conditions.append(Condition(FacetKind.schema, (str(asked.address(params["schemaRef"])),)))
        if repo is not None:
            conditions.append(Condition(FacetKind.publisher, (repo,)))
        conditions.append(Condition(FacetKind.kind, ("dataset",)))
        question = replace(question, conditions=(*question.conditions, *conditions))
        place = {"limit": params["limit"], "cursor": params.get("cursor")}
        found = search(asked.reading.sql, question, **place, facets=params.get("facets", False))
    records = [hit.record for hit in found.hits if hit.record.kind == ENTRY]
    if len(records) != len(found.hits):
        raise QueryFailure("ServiceUnavailable", "the tables of the search are being made anew", 503)
    answer = {"entries": asked.views.all(records), "hitsTotal": found.total, "exact": found.exact}
    if params.get("facets", False):
        answer["facets"] = [
            {"key": key, "values": [{"value": counted.value, "count": counted.count} for counted in values]}
            for key, values in found.facets.items()
        ]
    return answer if found.cursor is None else {**answer, "cursor": found.cursor}


def search_records(asked: AskedQuery) -> dict[str, Any]:
    """The datasets, schemas and lenses that a question finds, ranked, as a search without a service has them."""
    params = asked.params
    counting, cursor = params.get("facets", False), params.get("cursor")
    with requested():
        question = Question.parse(params.get("q", ""))
        found = search(asked.reading.sql, question, limit=params["limit"], cursor=cursor, facets=counting)
    records = asked.views.all(hit.record for hit in found.hits)
    answer: dict[str, Any] = {"records": records, "hitsTotal": found.total, "exact": found.exact}
    if counting:
        answer["facets"] = [
            {"kind": kind, "values": [{"value": one.value, "count": one.count} for one in values]}
            for kind, values in found.facets.items()
        ]
    return answer if found.cursor is None else {**answer, "cursor": found.cursor}
