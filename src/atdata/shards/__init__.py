"""Shards: tar files of samples, their sources, and the verification of their bytes."""

from atdata.shards.addresses import source_of
from atdata.shards.digest import Digest
from atdata.shards.ports import DataSource, RangeSource, ShardRef
from atdata.shards.source import FileSource
from atdata.shards.writer import Limits, cut_shards, write_shard

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
