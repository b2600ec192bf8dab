"""Datasets by words and facets."""

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
