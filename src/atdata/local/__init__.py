"""What a lab or company runs: an index in a database, and shards on disk or in S3."""

from atdata.local.index import LocalIndex

__all__ = ["LocalIndex"]
