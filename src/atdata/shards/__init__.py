"""Shards: tar files of samples, where they come from, and how their bytes are proved."""

from atdata.shards.digest import Digest
from atdata.shards.source import FileSource, ShardRef, source_of
from atdata.shards.writer import Limits, cut_shards, write_shard

__all__ = ["Digest", "FileSource", "Limits", "ShardRef", "cut_shards", "source_of", "write_shard"]
