"""A team's own index: an index in a database, and shards on disk or in S3."""

from atdata.local.disk import LocalDiskStore
from atdata.local.index import LocalIndex
from atdata.local.s3 import S3DataStore

__all__ = ["LocalDiskStore", "LocalIndex", "S3DataStore"]
