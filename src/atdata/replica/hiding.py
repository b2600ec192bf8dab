"""Records that whoever runs a replica shows to nobody, whatever version of them is there, or will be."""

from __future__ import annotations

from atdata.atproto.syntax import Did
from atdata.replica.writing import Writing


def hide_record(writing: Writing, did: Did, key: str, why: str, now: int) -> None:
    """Hide a record, whether it is there yet or not.

    Args:
        writing: the transaction.
        did: the account.
        key: `collection/rkey`.
        why: in words.
        now: in microseconds since 1970.
    """
    writing.head(did)  # locked: a record that somebody is writing is there afterwards
    writing.sql.run("DELETE FROM replica_hidden WHERE did = ? AND key = ?", did, key.encode())
    insert = "INSERT INTO replica_hidden (did, key, since, why) VALUES (?, ?, ?, ?)"
    writing.sql.run(insert, did, key.encode(), now, why.encode("utf-8", "replace"))
    writing.turn(did, key, "hide", now)


def show_record(writing: Writing, did: Did, key: str, now: int) -> bool:
    """Show a record again; `False` where it was not hidden."""
    writing.head(did)
    gone = "DELETE FROM replica_hidden WHERE did = ? AND key = ?"
    if not writing.sql.run(gone, did, key.encode()).rowcount:
        return False
    writing.turn(did, key, "show", now)
    return True
