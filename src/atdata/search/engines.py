"""The index of words, in each dialect of SQL: the same tokens, the same questions, the same answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from msgspec import Struct

from atdata.replica import Statements
from atdata.search.document import COLUMNS, Document
from atdata.search.facets import ANY
from atdata.search.packing import Numbers, read_ids
from atdata.search.question import Term
from atdata.search.words import SEPARATOR

_CACHE = 16 * 1024  # KiB of a database, for each thread that asks
_MARKED = {name: f".{name[0]}" for name in list(COLUMNS)[:-1]}
_WEIGHTS = dict(zip(COLUMNS, "ABCD", strict=True))


class TokenQuery(Struct, frozen=True):
    """A question in tokens.

    Attributes:
        terms: each must be there.
        required: of each of these one must be there.
        excluded: none may be there.
        top: the highest number of a document that is looked at.
        most: the number of documents that are looked at: of more, those with the highest numbers.
    """

    terms: tuple[Term, ...]
    required: tuple[tuple[str, ...], ...]
    excluded: tuple[str, ...]
    top: int
    most: int


class Matches(Struct, frozen=True):
    """The documents that a question finds, in the order of their numbers.

    Attributes:
        numbers: of them.
        scores: of each.
        more: whether there are others, with lower numbers.
    """

    numbers: Numbers
    scores: Numbers
    more: bool


class WordIndex(Protocol):
    """The index of words of a database."""

    def remove(self, sql: Statements, documents: Iterable[tuple[int, Document]]) -> None:
        """Forget documents, of which the words are those that were added."""

    def add(self, sql: Statements, rows: Iterable[tuple[int, str, str, Document]]) -> None:
        """Add documents, each with its number, head and codes."""

    def find(self, sql: Statements, wanted: TokenQuery) -> Matches:
        """The documents that a question finds."""


def word_index(sql: Statements) -> WordIndex:
    """The index of words for a dialect."""
    return SqliteWords() if sql.dialect.name == "sqlite" else PostgresWords()


_NONE = Matches(np.empty(0, np.int64), np.empty(0, np.int64), more=False)


class SqliteWords:
    """Words in a table of FTS5. Tokens hold letters, marks and digits, so that in quotes none is syntax.

    What is in a better field than the least is there once more, with the mark of its field: those lists are short, where
    that of a frequent word is long.
    """

    def remove(self, sql: Statements, documents: Iterable[tuple[int, Document]]) -> None:
        """See `WordIndex`."""
        gone = "INSERT INTO search_words (search_words, rowid, words, marks, facets) VALUES ('delete', ?, ?, ?, ?)"
        rows = [self._row(number, document) for number, document in documents]
        sql.run_each(gone, rows)
        sql.run_each("DELETE FROM search_shown WHERE id = ?", [row[:1] for row in rows])

    def add(self, sql: Statements, rows: Iterable[tuple[int, str, str, Document]]) -> None:
        """See `WordIndex`."""
        rows = list(rows)
        new = "INSERT INTO search_words (rowid, words, marks, facets) VALUES (?, ?, ?, ?)"
        sql.run_each(new, [self._row(number, document) for number, _, _, document in rows])
        sql.run_each("INSERT INTO search_shown (id, head, codes) VALUES (?, ?, ?)", [row[:3] for row in rows])

    def _row(self, number: int, document: Document) -> tuple[object, ...]:
        texts = {name: getattr(document, name) for name in COLUMNS}
        marked = (f"{mark}{token}" for name, mark in _MARKED.items() for token in f"{texts[name]} {SEPARATOR}".split())
        return number, f" {SEPARATOR} ".join(texts.values()), " ".join(marked), document.tokens

    def find(self, sql: Statements, wanted: TokenQuery) -> Matches:
        """See `WordIndex`."""
        match = self._match(wanted)
        sql.run(f"PRAGMA cache_size = -{_CACHE}")  # of this connection, which may have been made a moment ago
        inner = "SELECT rowid AS number FROM search_words WHERE search_words MATCH ? AND rowid <= ? ORDER BY rowid DESC"
        (ids,) = sql.first(f"SELECT group_concat(number) FROM ({inner} LIMIT ?)", match, wanted.top, wanted.most)  # noqa: S608
        if not ids:
            return _NONE
        numbers = np.sort(read_ids(ids))
        more = len(numbers) == wanted.most and sql.first(f"{inner} LIMIT 1", match, int(numbers[0]) - 1) is not None
        worth = (self._worth(sql, wanted, place, numbers) for place in range(len(wanted.terms)))
        return Matches(numbers, sum(worth, np.zeros(len(numbers), np.int64)), more)

    def _worth(self, sql: Statements, wanted: TokenQuery, place: int, numbers: Numbers) -> Numbers:
        """The worth of a term in each document that was found: that of the best field it is in."""
        *better, (_, least) = COLUMNS.items()
        worth = np.full(len(numbers), least, np.int64)
        found = "SELECT rowid AS number FROM search_words WHERE search_words MATCH ? AND rowid BETWEEN ? AND ?"
        for column, points in reversed(better):
            match = self._match(wanted, {place: column})
            (ids,) = sql.first(f"SELECT group_concat(number) FROM ({found})", match, int(numbers[0]), wanted.top)  # noqa: S608
            worth[np.searchsorted(numbers, read_ids(ids))] = points
        return worth

    def _match(self, wanted: TokenQuery, within: Mapping[int, str] = MappingProxyType({})) -> str:
        """The expression of FTS5; terms at some places only `within` a field."""
        parts = [
            _fts_term(term, _MARKED[within[place]] if place in within else "")
            for place, term in enumerate(wanted.terms)
        ]
        parts += ["(" + " OR ".join(map(_fts_quoted, tokens)) + ")" for tokens in wanted.required]
        match = " AND ".join(parts) or _fts_quoted(ANY)
        excluded = " OR ".join(map(_fts_quoted, wanted.excluded))
        return f"(({match}) NOT ({excluded}))" if excluded else f"({match})"


def _fts_quoted(token: str) -> str:
    return '"' + token.replace('"', '""') + '"'


def _fts_term(term: Term, mark: str) -> str:
    return _fts_quoted(" ".join(f"{mark}{token}" for token in term.tokens)) + " *" * term.prefix


class PostgresWords:
    """Words as a `tsvector`, of which the four weights are the four fields. Tokens are quoted, and cut by nobody else."""

    def remove(self, sql: Statements, documents: Iterable[tuple[int, Document]]) -> None:
        """See `WordIndex`."""
        sql.run_each("DELETE FROM search_shown WHERE id = ?", [(number,) for number, _ in documents])

    def add(self, sql: Statements, rows: Iterable[tuple[int, str, str, Document]]) -> None:
        """See `WordIndex`."""
        new = "INSERT INTO search_shown (id, head, codes, words) VALUES (?, ?, ?, ?::tsvector)"
        sql.run_each(new, [(number, head, codes, self._vector(document)) for number, head, codes, document in rows])

    def _vector(self, document: Document) -> str:
        """The tokens of a document with their places; no two fields are beside each other."""
        places: dict[str, list[str]] = {}
        place = 0
        for column, weight in _WEIGHTS.items():
            for word in getattr(document, column).split():
                place += 1
                if word != SEPARATOR:
                    places.setdefault(word, []).append(f"{place}{weight}")
            place += 1
        said = [f"{_ts_quoted(word)}:{','.join(found)}" for word, found in places.items()]
        return " ".join([*said, *map(_ts_quoted, document.tokens.split())])

    def find(self, sql: Statements, wanted: TokenQuery) -> Matches:
        """See `WordIndex`."""
        match = self._match(wanted)
        sql.run("SET LOCAL plan_cache_mode = force_custom_plan")  # how many a question finds is all that matters
        score, values = self._score(wanted.terms)
        where = "words @@ ?::tsquery AND id <= ?"
        (scored,) = sql.first(
            f"""SELECT string_agg(id::text || ',' || score::text, ',') FROM (
                SELECT id, {score} AS score FROM (
                    SELECT id, words FROM search_shown WHERE {where} ORDER BY id DESC LIMIT ?
                ) AS found
            ) AS scored""",  # noqa: S608
            *(*values, match, wanted.top, wanted.most),
        )
        if not scored:
            return _NONE
        pairs = read_ids(scored).reshape(-1, 2)
        pairs = pairs[np.argsort(pairs[:, 0])]
        below = f"SELECT 1 FROM search_shown WHERE {where} LIMIT 1"  # noqa: S608
        more = len(pairs) == wanted.most and sql.first(below, match, int(pairs[0, 0]) - 1) is not None
        return Matches(pairs[:, 0], pairs[:, 1], more)

    def _score(self, terms: Sequence[Term]) -> tuple[str, list[str]]:
        """The expression of a score, and its parameters."""
        *better, (_, least) = COLUMNS.items()
        parts, values = ["0"], list[str]()
        for term in terms:
            cases = " ".join(f"WHEN words @@ ?::tsquery THEN {points}" for _, points in better)
            parts.append(f"CASE {cases} ELSE {least} END")
            values += [self._term(term, _WEIGHTS[column]) for column, _ in better]
        return " + ".join(parts), values

    def _match(self, wanted: TokenQuery) -> str:
        parts = [self._term(term) for term in wanted.terms]
        parts += ["(" + " | ".join(map(_ts_quoted, tokens)) + ")" for tokens in wanted.required]
        parts += [f"!{_ts_quoted(token)}" for token in wanted.excluded]
        return " & ".join(parts or [_ts_quoted(ANY)])

    def _term(self, term: Term, weight: str = "") -> str:
        *tokens, end = term.tokens
        words = [_ts_quoted(token) + (f":{weight}" if weight else "") for token in tokens]
        mark = f"{'*' * term.prefix}{weight}"
        last = _ts_quoted(end) + (f":{mark}" if mark else "")
        return "(" + " <-> ".join([*words, last]) + ")"


def _ts_quoted(token: str) -> str:
    return "'" + token.replace("\\", "\\\\").replace("'", "''") + "'"
