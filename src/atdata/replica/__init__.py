"""Verified copies of repositories, in a database: what is known of an account is proven, and proven again when asked.

A copy holds, of each repository, the newest signed commit that was verified, the nodes of its tree that lead to records
of our collections, and those records. It moves from one signed commit to the next (`writing.py`), and only so; what it
is asked for is found by derived columns and links (`columns.py`), which can be made again from the records.
"""

from __future__ import annotations

from atdata.replica.columns import blobs_of
from atdata.replica.copying import ReplicaCopy
from atdata.replica.identities import KeptIdentity, doubt_identity, keep_identity
from atdata.replica.pages import Backlink
from atdata.replica.reading import AccountReading, Reading
from atdata.replica.replica import Replica, open_replica
from atdata.replica.statements import Statements, now
from atdata.replica.stored import StoredRecord
from atdata.replica.writing import Derivation, Moved, RecordChange, Writing, many_wait

__all__ = [
    "AccountReading",
    "Backlink",
    "Derivation",
    "KeptIdentity",
    "Moved",
    "Reading",
    "RecordChange",
    "Replica",
    "ReplicaCopy",
    "Statements",
    "StoredRecord",
    "Writing",
    "blobs_of",
    "doubt_identity",
    "keep_identity",
    "many_wait",
    "now",
    "open_replica",
]
