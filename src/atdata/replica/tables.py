"""The tables of a replica. Text of strangers is kept as bytes of UTF-8: it may hold what a database's text may not."""

from __future__ import annotations

from atdata.databases import SqlTables
from atdata.records.nsids import ENTRY, LABEL, LEGACY, LENS, LENS_VERIFICATION, SCHEMA, collections

KINDS = (ENTRY, SCHEMA, LABEL, LENS, LENS_VERIFICATION)
COLLECTIONS = tuple(sorted(str(old) for kind in KINDS for old in collections(kind)))
PREFIXES = tuple(f"{collection}/" for collection in COLLECTIONS)
"""The keys of a tree that are ours: of both eras (formats.md 2)."""

assert set(LEGACY.values()) <= set(KINDS)

_FIRST = (
    # An account, what is known of it, and the head of its repository: none before the first commit was verified.
    # `root` is none too where the nodes have to be brought anew. `behind` is the reason why the repository must be
    # compared with its own server, `marks` how often it was marked so, `next_try` when to try again;
    # `looked_at` is when its server was last asked for its newest commit, by whoever asks only now and then.
    """CREATE TABLE replica_accounts (
        id {number},
        did {text} NOT NULL UNIQUE,
        status {text} NOT NULL DEFAULT 'active',
        rev {text},
        root {bytes},
        head {bytes},
        behind {text},
        marks {integer} NOT NULL DEFAULT 0,
        tries {integer} NOT NULL DEFAULT 0,
        next_try {integer} NOT NULL DEFAULT 0,
        looked_at {integer} NOT NULL DEFAULT 0,
        CHECK ((rev IS NULL) = (head IS NULL))
    )""",
    "CREATE INDEX replica_accounts_behind ON replica_accounts (next_try) WHERE behind IS NOT NULL",
    # Nodes of the tree at the head, those that lead to records of our collections.
    """CREATE TABLE replica_nodes (
        account {integer} NOT NULL REFERENCES replica_accounts (id),
        cid {bytes} NOT NULL,
        block {bytes} NOT NULL,
        PRIMARY KEY (account, cid)
    ){by_key}""",
    # The records at the head; `rev` is of the commit that brought this version of it, moments are microseconds
    # since 1970. `sorted_at` is when it was made, as far as that can be believed.
    """CREATE TABLE replica_records (
        id {number},
        account {integer} NOT NULL REFERENCES replica_accounts (id),
        kind {text} NOT NULL,
        key {bytes} NOT NULL,
        cid {bytes} NOT NULL,
        block {bytes},
        rev {text} NOT NULL,
        first_seen {integer} NOT NULL,
        verified_at {integer} NOT NULL,
        sorted_at {integer} NOT NULL,
        validity {text} NOT NULL,
        reason {text},
        name {bytes},
        version {bytes},
        sort_key {bytes},
        content {bytes},
        target {bytes},
        UNIQUE (account, key)
    )""",
    "CREATE INDEX replica_records_cid ON replica_records (account, cid)",
    "CREATE INDEX replica_records_name ON replica_records (account, kind, name, sort_key)",
    "CREATE INDEX replica_records_sorted ON replica_records (kind, sorted_at, id)",
    "CREATE INDEX replica_records_target ON replica_records (target, kind)",
    # Who names whom.
    """CREATE TABLE replica_links (
        record {integer} NOT NULL REFERENCES replica_records (id),
        relation {text} NOT NULL,
        target {bytes} NOT NULL,
        cid {bytes},
        PRIMARY KEY (record, relation, target)
    ){by_key}""",
    "CREATE INDEX replica_links_target ON replica_links (target, relation)",
    # Every change of a record, in the order in which it was written here; `record` was its number. `hide` and `show` are
    # the actions where one is not to be shown, or again; with an empty key, of all of an account.
    """CREATE TABLE replica_changes (
        number {number},
        moment {integer} NOT NULL,
        action {text} NOT NULL,
        account {integer} NOT NULL REFERENCES replica_accounts (id),
        key {bytes} NOT NULL,
        record {integer} NOT NULL,
        cid {bytes}
    )""",
)

_SECOND = (
    # Who an account is, as it was proven last; what it was proven with. `handle` leads to the account and is named back.
    # `checked_at` is 0 where it may have changed since.
    """CREATE TABLE replica_identities (
        account {integer} NOT NULL PRIMARY KEY REFERENCES replica_accounts (id),
        key {text} NOT NULL,
        pds {text} NOT NULL,
        handle {text},
        checked_at {integer} NOT NULL,
        evidence {bytes} NOT NULL
    )""",
    "CREATE INDEX replica_identities_handle ON replica_identities (handle)",
    "CREATE INDEX replica_identities_checked ON replica_identities (checked_at)",
)

_THIRD = (
    # Records that whoever runs this shows to nobody, whatever version of them is there, since when and why.
    """CREATE TABLE replica_hidden (
        did {text} NOT NULL,
        key {bytes} NOT NULL,
        since {integer} NOT NULL,
        why {bytes} NOT NULL,
        PRIMARY KEY (did, key)
    ){by_key}""",
    "CREATE INDEX replica_records_listed ON replica_records (account, kind, sorted_at, id)",
    "CREATE INDEX replica_changes_account ON replica_changes (account)",
)

TABLES = SqlTables("replica", [_FIRST, _SECOND, _THIRD])

SHOWN = """a.status = 'active' AND NOT EXISTS
    (SELECT 1 FROM replica_hidden h WHERE h.did = a.did AND h.key = r.key)"""
"""The condition under which a record `r` of an account `a` is shown to anybody."""
