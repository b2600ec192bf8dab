"""Shards: tar files of samples, their sources, and the verification of their bytes."""

from typing import TYPE_CHECKING

from atdata.lazy import attach
from atdata.shards.digest import Digest
from atdata.shards.ports import DataSource, RangeSource, ShardRef

if TYPE_CHECKING:
    from atdata.shards.addresses import source_of
    from atdata.shards.source import FileSource
    from atdata.shards.writer import Limits, cut_shards, write_shard

# A program that only names shards needs nothing of reading and writing: each comes when it is asked for.
__getattr__ = attach(
    __name__,
    {
        "atdata.shards.addresses": ("source_of",),
        "atdata.shards.source": ("FileSource",),
        "atdata.shards.writer": ("Limits", "cut_shards", "write_shard"),
    },
)

__all__ = [
    "DataSource",
    "Digest",
    "FileSource",
    "Limits",
    "RangeSource",
    "ShardRef",
    "cut_shards",
    "source_of",
    "write_shard",
]


def __dir__() -> list[str]:
    return __all__
