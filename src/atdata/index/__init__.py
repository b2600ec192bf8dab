"""Indexes: what every one of them does, over a store of records: a PDS, or a database."""

from typing import TYPE_CHECKING

from atdata.lazy import attach

if TYPE_CHECKING:
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

# Who reads records needs neither datasets nor what is decided about them: each comes when it is asked for.
__getattr__ = attach(
    __name__,
    {
        "atdata.index.evolving": (
            "choose_schema",
            "next_after",
        ),
        "atdata.index.index": (
            "UPDATE",
            "RecordIndex",
        ),
        "atdata.index.names": (
            "NamedRecords",
            "check_listed",
            "entry_of",
            "label_in",
            "next_patch",
            "next_version",
            "once",
            "planned_label",
            "retracted",
        ),
        "atdata.index.ports": (
            "AbstractIndex",
            "Named",
            "RecordState",
            "RecordStore",
        ),
        "atdata.index.retracting": ("Withdrawal",),
    },
)

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


def __dir__() -> list[str]:
    return __all__
