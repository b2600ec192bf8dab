"""Indexes: what every one of them does, over a store of records: a PDS, or a database."""

from atdata.index.evolving import choose_schema, next_after
from atdata.index.index import UPDATE, RecordIndex
from atdata.index.names import (
    NamedRecords,
    check_listed,
    entry_of,
    label_in,
    next_patch,
    next_version,
    once,
    planned_label,
    retracted,
)
from atdata.index.ports import AbstractIndex, Named, RecordState, RecordStore
from atdata.index.retracting import Withdrawal

__all__ = [
    "UPDATE",
    "AbstractIndex",
    "Named",
    "NamedRecords",
    "RecordIndex",
    "RecordState",
    "RecordStore",
    "Withdrawal",
    "check_listed",
    "choose_schema",
    "entry_of",
    "label_in",
    "next_after",
    "next_patch",
    "next_version",
    "once",
    "planned_label",
    "retracted",
]
