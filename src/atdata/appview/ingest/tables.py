"""The tables of ingest: where each upstream was read to, what it said of accounts, what was refused, who ingests."""

from __future__ import annotations

from atdata.databases import SqlTables

_FIRST = (
    # A stream of events. `cursor` is the number of the last event of which all is durable, none before the first.
    # `rewinds` is raised where an operator moves the cursor. At `sweep_at` all repositories are to be compared with their
    # servers, as events may have been lost; `swept_at` is when that was last. `listed_at`: when its accounts were listed.
    """CREATE TABLE ingest_upstreams (
        id {number},
        url {text} NOT NULL UNIQUE,
        cursor {integer},
        rewinds {integer} NOT NULL DEFAULT 0,
        event_at {integer} NOT NULL DEFAULT 0,
        sweep_at {integer},
        swept_at {integer} NOT NULL DEFAULT 0,
        listed_at {integer} NOT NULL DEFAULT 0
    )""",
    # How far the accounts that an upstream lists were read; `collection` is empty for all accounts of a PDS.
    """CREATE TABLE ingest_listings (
        upstream {integer} NOT NULL REFERENCES ingest_upstreams (id),
        collection {text} NOT NULL,
        cursor {bytes} NOT NULL,
        PRIMARY KEY (upstream, collection)
    ){by_key}""",
    # What an upstream said last of an account, and the number of that event. `hides` is the state in which the account
    # is hidden for it, until the account's own server was asked.
    """CREATE TABLE ingest_statements (
        did {text} NOT NULL,
        upstream {integer} NOT NULL REFERENCES ingest_upstreams (id),
        seq {integer} NOT NULL,
        status {text} NOT NULL,
        hides {text},
        PRIMARY KEY (did, upstream)
    ){by_key}""",
    # The state of an account by the word of its own server.
    """CREATE TABLE ingest_hosting (
        did {text} NOT NULL PRIMARY KEY,
        status {text} NOT NULL,
        asked_at {integer} NOT NULL
    ){by_key}""",
    # What the operator here decided: `takedown` hides an account, `block` keeps nothing of it.
    """CREATE TABLE ingest_decisions (
        did {text} NOT NULL PRIMARY KEY,
        decision {text} NOT NULL,
        since {integer} NOT NULL,
        why {bytes} NOT NULL
    ){by_key}""",
    # What could not be taken, the newest of it. `head` begins the frame.
    """CREATE TABLE ingest_rejected (
        number {number},
        moment {integer} NOT NULL,
        upstream {integer},
        seq {integer},
        did {bytes},
        what {text} NOT NULL,
        reason {bytes} NOT NULL,
        head {bytes} NOT NULL
    )""",
    # Who ingests, and until when unless that is renewed.
    """CREATE TABLE ingest_lease (
        id {integer} NOT NULL PRIMARY KEY,
        holder {text} NOT NULL,
        ends_at {integer} NOT NULL
    )""",
)

TABLES = SqlTables("ingest", [_FIRST])
