"""Copies of repositories that something else has changed: forgotten, so that they are made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from atdata.atproto.cid import Cid
from atdata.atproto.repo.diff import diff
from atdata.atproto.syntax import Did
from atdata.errors import ProofError
from atdata.replica.blocks import KnownBlocks
from atdata.replica.replica import Replica
from atdata.replica.statements import Statements, now
from atdata.replica.tables import PREFIXES
from atdata.replica.writing import Writing, against_rows

T = TypeVar("T")


def forget_damaged(writing: Writing, did: Did) -> bool:
    """Forget the copy of a repository if it is not whole; `False` if it is.

    It is whole if all nodes and records that the commit leads to are there, are what their CIDs name, and no others.
    """
    head = writing.head(did)
    if head.root is None or _is_whole(writing.sql, head.account, head.root):
        return False
    writing.purge(did, now())
    writing.sql.run("UPDATE replica_accounts SET looked_at = 0 WHERE did = ?", did)
    return True


def with_whole_copy(replica: Replica, did: Did, work: Callable[[], T], bring: Callable[[], object] = lambda: None) -> T:
    """Do something with the copy of a repository; where that was damaged, once more with a new one.

    Args:
        replica: that has the copy.
        did: whose.
        work: is done, and done again once what was damaged is forgotten.
        bring: brings a new copy, where `work` does not.
    """
    try:
        return work()
    except ProofError:
        if not replica.write(lambda writing: forget_damaged(writing, did)):
            raise
        bring()
        return work()


def _is_whole(sql: Statements, account: int, root: Cid) -> bool:
    try:
        found = diff(None, root, KnownBlocks(sql, account, {}), PREFIXES)
    except ProofError:
        return False
    rows = sql.all("SELECT cid, block FROM replica_records WHERE account = ?", account)
    blocks = [(Cid.from_bytes(cid), block) for cid, block in rows]
    matching = all(cid.codec != "dag-cbor" if block is None else cid.matches(bytes(block)) for cid, block in blocks)
    return matching and not found.missing and not against_rows(sql, account, found.operations)
