"""The tables of a search. All of them are made from a replica's records, but for `search_hidden`, which is what was said."""

from __future__ import annotations

from typing import Any

from atdata.databases import Dialect, SqlTables


def _index_words(cursor: Any, dialect: Dialect) -> None:
    """Make the index of words: what is given to it is cut into tokens already, with nothing but spaces between them."""
    if dialect.name == "sqlite":
        options = """content='', columnsize=0, prefix='2 3 4', tokenize="ascii tokenchars '_.'\""""
        cursor.execute(f"CREATE VIRTUAL TABLE search_words USING fts5 (words, marks, facets, {options})")
    else:
        cursor.execute("ALTER TABLE search_shown ADD COLUMN words tsvector NOT NULL")
        cursor.execute("CREATE INDEX search_shown_words ON search_shown USING gin (words)")


_FIRST = (
    # The words and facets of a record, under its number; none of an account that is hidden.
    """CREATE TABLE search_documents (
        id {integer} PRIMARY KEY,
        account {integer} NOT NULL,
        name {text} NOT NULL,
        tags {text} NOT NULL,
        fields {text} NOT NULL,
        body {text} NOT NULL,
        facets {text} NOT NULL
    )""",
    "CREATE INDEX search_documents_account ON search_documents (account, id)",
    # What is read of each document that a question finds, packed: its number and time, and the numbers of its facets.
    "CREATE TABLE search_shown (id {integer} PRIMARY KEY, head {text} NOT NULL, codes {text} NOT NULL)",
    "CREATE TABLE search_facets (id {number}, kind {integer} NOT NULL, value {bytes} NOT NULL, UNIQUE (kind, value))",
    "CREATE TABLE search_hidden (account {integer} PRIMARY KEY)",
    # What labels name, so that it is known when they name something else.
    "CREATE TABLE search_labels (id {integer} PRIMARY KEY, target {bytes} NOT NULL)",
    # One row, which who makes documents holds.
    "CREATE TABLE search_lock (one {integer} PRIMARY KEY)",
    "INSERT INTO search_lock VALUES (1)",
    # The last change of the replica's log that was followed, where documents are not made in its transactions.
    "CREATE TABLE search_followed (change {integer} NOT NULL)",
    "INSERT INTO search_followed VALUES (0)",
    # What is still to be done: of an account, or of the records that name a schema, or of all, those after a number.
    """CREATE TABLE search_pending (
        id {number},
        account {integer},
        target {bytes},
        after {integer} NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX search_pending_account ON search_pending (account)",
    _index_words,
)


def _forget_words(cursor: Any, dialect: Dialect) -> None:
    """Empty the index of words, of which the tokens are others from now on."""
    if dialect.name == "sqlite":
        cursor.execute("DROP TABLE search_words")
        _index_words(cursor, dialect)


_ANEW = (
    "INSERT INTO search_pending (after) SELECT 0 WHERE EXISTS (SELECT 1 FROM search_documents)",
    "DELETE FROM search_documents",
    "DELETE FROM search_shown",
    "DELETE FROM search_facets",
    _forget_words,
)
_SECOND = (
    # All documents are made anew: sizes have more tokens, and it is counted how many documents have a facet.
    *_ANEW,
    "ALTER TABLE search_facets ADD COLUMN uses {integer} NOT NULL DEFAULT 0",
    "CREATE INDEX search_facets_unused ON search_facets (id) WHERE uses <= 0",
)
_THIRD = (
    # And once more: heads have the ranks of addresses. A random number is kept for the rows of `search_shown` of each
    # group, which every change of one of them replaces.
    *_ANEW,
    "CREATE TABLE search_groups (id {integer} PRIMARY KEY, stamp {integer} NOT NULL)",
)
_FOURTH = _ANEW  # families of licenses are counted no more

TABLES = SqlTables("search", [_FIRST, _SECOND, _THIRD, _FOURTH])
