"""The tables of trust."""

from __future__ import annotations

from atdata.databases import SqlTables

_FIRST = (
    # Every change of the list of trusted verifiers, in order; version 0 is the empty list. `methods` are names with
    # commas between them, none for any; it is none where the verifier was taken off the list.
    """CREATE TABLE trust_changes (
        version {integer} NOT NULL PRIMARY KEY,
        moment {integer} NOT NULL,
        did {text} NOT NULL,
        methods {text},
        why {bytes} NOT NULL
    )""",
    "CREATE INDEX trust_changes_did ON trust_changes (did, version)",
    # One row, which who changes the list holds.
    "CREATE TABLE trust_lock (one {integer} PRIMARY KEY)",
    "INSERT INTO trust_lock VALUES (1)",
)

TABLES = SqlTables("trust", [_FIRST])
