"""The page of what a question finds, and the questions that lead on from it."""

from __future__ import annotations

from collections.abc import Iterable

from atdata.appview.web.addresses import search_path
from atdata.appview.web.service_pages import FacetGroup, FacetLink, SearchPage
from atdata.appview.web.source import PageSource
from atdata.errors import UsageError
from atdata.search import MAX_TEXT, FacetCount, Piece, Question, SearchAnswer, pieces_of, search, written
from atdata.trust import verifiers_at

ROWS = 20

_GROUPS = {
    "kind": "Kind",
    "license": "License",
    "tag": "Tag",
    "type": "Type of field",
    "samples": "Samples",
    "size": "Size",
    "storage": "Storage",
    "digests": "Shards with digests",
    "labelled": "Labelled",
    "publisher": "Publisher",
    "field": "Field",
    "shape": "Shape of arrays",
    "label": "Name given",
}
"""The keys of facets that are shown, in this order."""
_OPEN = frozenset({"kind", "license", "tag", "samples", "digests"})
_UNITS = ("", "k", "M", "G", "T", "P", "E")


def search_page(source: PageSource, text: str, cursor: str | None) -> SearchPage:
    """A page of what a question finds, or of what is wrong with it."""
    try:
        question = Question.parse(text)
        sql = source.reading.sql
        found = search(sql, question, limit=ROWS, cursor=cursor, trusted=[verifiers_at(sql)])
    except UsageError as error:
        said = f"{error.what[0].upper()}{error.what[1:]}."
        hint = f"Expected: {error.expected}." if error.expected else ""
        return SearchPage(question=text[: MAX_TEXT + 1], problem=said, hint=hint)
    pieces = pieces_of(text)
    rows = tuple(row for row in (source.row(hit.record) for hit in found.hits) if row is not None)
    return SearchPage(
        question=text,
        rows=rows,
        total=found.total,
        exact=found.exact,
        chosen=tuple(_chosen(source, pieces)),
        facets=tuple(_groups(source, pieces, found)),
        following=None if found.cursor is None else search_path(text, found.cursor),
        first=None if cursor is None else search_path(text),
    )


def _chosen(source: PageSource, pieces: list[Piece]) -> list[FacetLink]:
    """The conditions of a question, each with the question without it."""
    return [
        FacetLink(
            _words(source, piece), None, search_path(_joined(other for other in pieces if other is not piece)), True
        )
        for piece in pieces
        if piece.key
    ]


def _groups(source: PageSource, pieces: list[Piece], found: SearchAnswer) -> list[FacetGroup]:
    groups = []
    for key, title in _GROUPS.items():
        counts = found.facets.get(key, ())
        values = tuple(_value(source, pieces, key, count) for count in counts)
        if values and (len(values) > 1 or any(value.active for value in values) or values[0].count != found.total):
            shut = key not in _OPEN and not any(value.active for value in values)
            groups.append(FacetGroup(title, values, shut))
    return groups


def _value(source: PageSource, pieces: list[Piece], key: str, count: FacetCount) -> FacetLink:
    active = [piece for piece in pieces if piece.key == key and piece.present and piece.values == (count.value,)]
    label = _label(source, key, count.value)
    if active:
        text = _joined(piece for piece in pieces if piece not in active)
        return FacetLink(label, count.count, search_path(text), True)
    said = written(key, count.value)
    text = "" if said is None else _joined([*pieces, Piece(said)])
    return FacetLink(label, count.count, search_path(text) if 0 < len(text) <= MAX_TEXT else None)


def _joined(pieces: Iterable[Piece]) -> str:
    return " ".join(piece.text for piece in pieces)


def _words(source: PageSource, piece: Piece) -> str:
    values = ", ".join(_label(source, piece.key, value) for value in piece.values[:5])
    return f"{'' if piece.present else 'not '}{piece.key}: {values}"


def _label(source: PageSource, key: str, value: str) -> str:
    """A value as people read it."""
    if key in ("samples", "size") and value.startswith("10^") and value[3:].isdecimal() and len(value) <= 5:
        return _decade(int(value[3:]), "B" if key == "size" else "")
    if key == "publisher" and (account := source.account_named(value)) is not None:
        return account.shown
    return value


def _decade(power: int, unit: str) -> str:
    """The numbers of a class of sizes: `1k to 10k`."""
    ends = [f"{10 ** (n % 3)}{'' if n < 3 else _UNITS[min(n // 3, 6)]}{unit}" for n in (power, power + 1)]
    return " to ".join(ends)
