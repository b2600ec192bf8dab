"""The samples in a shard: one `{key}.msgpack` member each, or one member a field; every key once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from atdata.shards.grouping import grouped, index_of, is_packed
from atdata.shards.index import SampleMembers, ShardIndex
from atdata.shards.member_scan import scan_in_bulk
from atdata.shards.scan import scan_packed
from atdata.shards.tar import Member, cut_off, scan_members
from atdata.shards.writer import Row


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample's key, and where its bytes are in a shard."""

    key: str
    offset: int
    size: int
    packed: bool

    @classmethod
    def of(cls, group: list[Member]) -> StoredSample:
        """The sample that some members are."""
        first, last = group[0], group[-1]
        packed = is_packed(group)
        offset = first.offset if packed else first.head
        return cls(first.key, offset, last.offset + last.size - offset, packed)

    def read(self, file: BinaryIO, uri: str) -> bytes:
        """Its bytes; of one that is several files, as `SampleMembers`.

        Raises:
            TruncatedShardError: the file was cut meanwhile.
        """
        file.seek(self.offset)
        data = file.read(self.size)
        if len(data) != self.size:
            raise cut_off(uri, self.offset + len(data))
        return data if self.packed else SampleMembers(data)


def scan_shard(file: BinaryIO, size: int, uri: str) -> ShardIndex:
    """Prove a shard from its first header to its end, and give where its samples are.

    Raises:
        TruncatedShardError: the end of the shard is missing.
        ShardError: it is damaged, or holds something other than samples.
    """
    for scan in (scan_packed, scan_in_bulk):
        if (found := scan(file, size)) is not None:
            return found
    file.seek(0)
    return index_of(list(grouped(scan_members(file, size, uri), uri)), uri)


def scan_rows(file: BinaryIO, size: int, uri: str) -> Iterator[StoredSample]:
    """Yields the keys and offsets of samples, by the headers alone.

    Raises:
        TruncatedShardError: the end of the shard is missing.
        ShardError: it is damaged, or holds something other than samples.
    """
    return map(StoredSample.of, grouped(scan_members(file, size, uri), uri))


def read_rows(file: BinaryIO, size: int, uri: str) -> Iterator[Row]:
    """Yields keys and the bytes of samples, in order; see `StoredSample.read`.

    Raises:
        ShardError: as `scan_rows`.
    """
    return ((sample.key, sample.read(file, uri)) for sample in scan_rows(file, size, uri))
