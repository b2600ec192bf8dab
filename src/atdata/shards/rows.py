"""The samples in a shard: one `{key}.msgpack` member each, every key once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from atdata.errors import ShardError
from atdata.shards.tar import Member, read_members, scan_members
from atdata.shards.writer import Row

EXTENSION = "msgpack"


def read_rows(file: BinaryIO, size: int, uri: str) -> Iterator[Row]:
    """Keys and packed samples, in order.

    Raises:
        TruncatedShardError: the end of the shard is missing.
        ShardError: it is damaged, or holds something other than samples.
    """
    seen: set[str] = set()
    for member, data in read_members(file, size, uri):
        _check(member, seen, uri)
        yield member.key, data


def scan_rows(file: BinaryIO, size: int, uri: str) -> Iterator[Member]:
    """The offsets of samples, by the headers alone.

    Raises:
        ShardError: as `read_rows`.
    """
    seen: set[str] = set()
    for member in scan_members(file, size, uri):
        _check(member, seen, uri)
        yield member


def _check(member: Member, seen: set[str], uri: str) -> None:
    key = member.key
    if member.extension != EXTENSION:
        raise ShardError(
            "a shard contains a file that is not a sample",
            uri=uri,
            path=member.name,
            expected="{key}.msgpack",
            hint="Write samples with atdata.write_samples, or sink.write({**sample.as_wds, '__key__': key}).",
        )
    if key in seen:
        raise ShardError(
            "a shard contains a key twice", uri=uri, path=member.name, hint="Write it again with unique keys."
        )
    seen.add(key)
