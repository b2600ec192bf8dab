"""Answers: what a question finds, ranked, counted by facets, page by page.

The rank of a record is its score, then its time, the newest first, then a digest of its address. A term is worth as much as the best
field it is in (`COLUMNS`); the score is the sum. All of that is known of up to 10,000 records that a question finds; of
more, the 10,000 that came last are looked at, and the answer says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import UsageError
from atdata.replica import Statements, StoredRecord
from atdata.replica.reading import fitting, numbered
from atdata.search.columns import DocumentFacts, facts_of
from atdata.search.engines import TokenQuery, word_index
from atdata.search.facets import KEYS, Facet, FacetKind
from atdata.search.packing import Codes, Numbers, count_codes
from atdata.search.question import Question
from atdata.search.reaching import Way, content_of, ways_to
from atdata.trust import VerifierList

MOST = 10_000
"""Records that are ranked and counted."""
MAX_PAGE = 100

_VALUES, _TIED = 20, 500  # of a facet: that are counted out; that are tied at the end
_MAX_NUMBER = 2**62
_MAX_CURSOR = 200
_CHUNK = 500


class FacetCount(Struct, frozen=True):
    """A value of a facet, and how many of the records that were found have it."""

    value: str
    count: int


class Hit(Struct, frozen=True):
    """A record that was found.

    Attributes:
        record: it.
        score: of it.
        way: the lenses through which it can be seen as the schema that was asked for, where one was.
    """

    record: StoredRecord
    score: int
    way: Way | None = None


class SearchAnswer(Struct, frozen=True):
    """A page of what a question finds.

    Attributes:
        hits: in their order.
        total: how many records were looked at, on all pages.
        exact: whether these are all that the question finds; else they are those that came last.
        facets: by the keys of questions, the values that most have.
        cursor: leads to the next page; `None` at the end.
    """

    hits: tuple[Hit, ...] = ()
    total: int = 0
    exact: bool = True
    facets: Mapping[str, tuple[FacetCount, ...]] = field(default_factory=dict)
    cursor: str | None = None


class _Place(NamedTuple):
    """The place of the last record of a page, and the highest number that its walk looks at."""

    top: int
    score: int
    time: int
    rank: int

    @property
    def cursor(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(list(self)).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> _Place:
        try:
            if len(cursor) > _MAX_CURSOR:
                raise ValueError
            place = cls(*json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)))
            if not all(type(n) is int and abs(n) < _MAX_NUMBER for n in place):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise UsageError(
                "a cursor is none that was given out", actual=cursor[:100], hint="Begin with the first page."
            ) from None
        return place


Compatible = Callable[[Statements, AtUri], Sequence[Cid]]
"""The content identities of schemas of which a schema's type reads the samples."""


def same_content(sql: Statements, schema: AtUri) -> Sequence[Cid]:
    """The content identity of a schema that the replica holds; none where it holds it not."""
    content = content_of(sql, str(schema))
    return [] if content is None else [content]


def search(
    sql: Statements,
    question: Question,
    *,
    limit: int = 25,
    cursor: str | None = None,
    facets: bool = True,
    compatible: Compatible = same_content,
    trusted: Sequence[VerifierList] = (),
) -> SearchAnswer:
    """A page of what a question finds, of one state of a replica.

    A walk from page to page by cursors gives each record once that is there all the while and does not change,
    whatever is written meanwhile; records that came later are not among them.

    Args:
        sql: in a transaction.
        question: what is asked.
        limit: records on a page, at most 100.
        cursor: of the page before.
        facets: whether they are counted.
        compatible: what is compatible with a schema that is asked for.
        trusted: whose verifications make a lens one through which a schema is reached.

    Raises:
        UsageError: the cursor is none, or the limit.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError("a page cannot have so many records", expected=f"1 to {MAX_PAGE}", actual=limit)
    place = None if cursor is None else _Place.of(cursor)
    if question.void:
        return SearchAnswer()
    top = place.top if place else sql.first("SELECT coalesce(max(id), 0) FROM search_shown")[0]
    required = [condition.tokens for condition in question.conditions if condition.present]
    if question.compatible is not None:
        contents = [Facet(FacetKind.content, str(cid)).token for cid in compatible(sql, question.compatible)]
        if not contents:
            return SearchAnswer()
        required.append(tuple(contents))
    ways: Mapping[Cid, Way] = {}
    if question.reaches is not None:
        ways = ways_to(sql, question.reaches, trusted)
        if not ways:
            return SearchAnswer()
        required.append(tuple(Facet(FacetKind.content, str(content)).token for content in ways))
    excluded = [token for condition in question.conditions if not condition.present for token in condition.tokens]
    wanted = TokenQuery(question.terms, tuple(required), (*excluded, *_hidden(sql)), top, MOST)
    found = word_index(sql).find(sql, wanted)
    facts = facts_of(sql, found.numbers)
    scores = found.scores[np.searchsorted(found.numbers, facts.numbers)]
    hits, last = _page(sql, facts, scores, limit, place, top)
    if ways:
        hits = _with_ways(sql, hits, ways)
    counted = _counts(sql, facts.codes) if facets else {}
    return SearchAnswer(hits, len(facts.numbers), not found.more, counted, last)


def _with_ways(sql: Statements, hits: Sequence[Hit], ways: Mapping[Cid, Way]) -> tuple[Hit, ...]:
    """Records that were found, each with the lenses through which the schema that was asked for is reached."""
    known = {str(content): way for content, way in ways.items()}
    marks = ", ".join("?" * len(hits)) or "NULL"
    found = f"SELECT id, facets FROM search_documents WHERE id IN ({marks})"  # noqa: S608
    rows = sql.all(found, *(hit.record.number for hit in hits))
    contents = {
        number: value for number, facets in rows for kind, value in json.loads(facets) if kind == FacetKind.content
    }
    return tuple(replace(hit, way=known.get(contents.get(hit.record.number, ""))) for hit in hits)


def _hidden(sql: Statements) -> list[str]:
    """The tokens of accounts that are hidden and of which documents are still there."""
    found = """SELECT a.did FROM search_pending p JOIN search_hidden h ON h.account = p.account
        JOIN replica_accounts a ON a.id = h.account ORDER BY a.id"""
    return list(dict.fromkeys(Facet(FacetKind.publisher, did).token for (did,) in sql.all(found)))


def _page(
    sql: Statements, facts: DocumentFacts, scores: Numbers, limit: int, place: _Place | None, top: int
) -> tuple[tuple[Hit, ...], str | None]:
    """The records of a page, and the cursor to the next."""
    order = np.lexsort((facts.ranks, -facts.times, -scores))
    if place:
        lower, tied = scores < place.score, scores == place.score
        older, as_old = facts.times < place.time, facts.times == place.time
        order = order[(lower | tied & (older | as_old & (facts.ranks > place.rank)))[order]]
    numbers = fitting(sql, facts.numbers[order[:limit]].tolist())
    kept = order[: len(numbers)]
    score_of = dict(zip(numbers, scores[kept].tolist(), strict=True))
    hits = tuple(Hit(record, score_of[record.number]) for record in numbered(sql, numbers))
    if len(order) == len(kept):
        return hits, None
    last = kept[-1]
    return hits, _Place(top, int(scores[last]), int(facts.times[last]), int(facts.ranks[last])).cursor


def _counts(sql: Statements, codes: Codes) -> dict[str, tuple[FacetCount, ...]]:
    """The values of each kind that most records have; those tied at the end in the order of their text, as far as they fit."""
    numbers, kinds, counts = count_codes(codes)
    wanted: dict[int, int] = {}
    for kind in np.flatnonzero(np.bincount(kinds)).tolist():
        ours, many = numbers[kinds == kind], counts[kinds == kind]
        order = np.argsort(-many, kind="stable")
        ours, many = ours[order], many[order]
        if len(many) > _VALUES:
            least = many[_VALUES - 1]
            tied = int(np.count_nonzero(many == least))
            kept = many >= least if tied <= _TIED else many > least
            ours, many = ours[kept], many[kept]
        wanted |= dict(zip(ours.tolist(), many.tolist(), strict=True))
    said: dict[str, list[FacetCount]] = {}
    listed = list(wanted)
    for some in (listed[at : at + _CHUNK] for at in range(0, len(listed), _CHUNK)):
        marks = ", ".join("?" * len(some))
        for number, kind, value in sql.all(f"SELECT id, kind, value FROM search_facets WHERE id IN ({marks})", *some):  # noqa: S608
            text = bytes(value).decode("utf-8", "surrogatepass")
            said.setdefault(KEYS[FacetKind(kind)], []).append(FacetCount(text, wanted[number]))
    order_of = [(name, sorted(values, key=lambda f: (-f.count, f.value))[:_VALUES]) for name, values in said.items()]
    return {name: tuple(values) for name, values in sorted(order_of)}
