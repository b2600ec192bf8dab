"""The ports under one name. Each stands beside what it is a port of."""

from atdata.dataset.entry import IndexEntry
from atdata.dataset.stores import AbstractDataStore, ShardStore
from atdata.index import AbstractIndex
from atdata.shards.ports import DataSource, RangeSource

__all__ = ["AbstractDataStore", "AbstractIndex", "DataSource", "IndexEntry", "RangeSource", "ShardStore"]
