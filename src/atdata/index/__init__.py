"""Indexes: what every one of them does, over a store of records: a PDS, or a database."""

from atdata.index.index import UPDATE, RecordIndex
from atdata.index.names import NamedRecords, choose_schema, next_patch, next_version, planned_label
from atdata.index.ports import AbstractIndex, Named, RecordStore

__all__ = [
    "UPDATE",
    "AbstractIndex",
    "Named",
    "NamedRecords",
    "RecordIndex",
    "RecordStore",
    "choose_schema",
    "next_patch",
    "next_version",
    "planned_label",
]
