"""Records by words and facets."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from atdata.appview.xrpc.asking import AskedQuery
from atdata.appview.xrpc.failures import QueryFailure, requested
from atdata.appview.xrpc.trusting import TrustViews
from atdata.records.nsids import ENTRY
from atdata.search import Condition, Question, ReachingLens, search
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
    return _answered(asked, question, "entries")


def search_records(asked: AskedQuery) -> dict[str, Any]:
    """The datasets, schemas and lenses that a question finds, ranked, as a search without a service has them."""
    with requested():
        question = Question.parse(asked.params.get("q", ""))
    return _answered(asked, question, "records")


def _answered(asked: AskedQuery, question: Question, member: str) -> dict[str, Any]:
    """A page of what a question finds."""
    params, trust = asked.params, TrustViews(asked)
    limit, cursor, counting = params["limit"], params.get("cursor"), params.get("facets", False)
    sql, trusted = asked.reading.sql, [trust.used]
    with requested():
        found = search(sql, question, limit=limit, cursor=cursor, facets=counting, trusted=trusted)
    if member == "entries" and any(hit.record.kind != ENTRY for hit in found.hits):
        raise QueryFailure("ServiceUnavailable", "the tables of the search are being made anew", 503)
    views = asked.views.all(hit.record for hit in found.hits)
    answer: dict[str, Any] = {member: views, "hitsTotal": found.total, "exact": found.exact}
    if question.reaches is not None:
        answer["trust"] = trust.said
        for view, hit in zip(views, found.hits, strict=True):
            view["way"] = [_lens(lens) for lens in hit.way or ()]
    if counting:
        answer["facets"] = [
            {"kind": kind, "values": [{"value": one.value, "count": one.count} for one in values]}
            for kind, values in found.facets.items()
        ]
    return answer if found.cursor is None else {**answer, "cursor": found.cursor}


def _lens(lens: ReachingLens) -> dict[str, Any]:
    verifiers = [{"did": did, "method": method} for did, method in lens.verifiers]
    return {"lens": str(lens.uri), "cid": str(lens.cid), "verifiers": verifiers}
