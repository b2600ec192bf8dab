"""Sources that give no more bytes, and for no longer, than a preview may take, whatever their servers do."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, cast

from atdata.errors import NetworkError
from atdata.shards import ShardRef
from atdata.shards.ports import DataSource, RangeSource


class FetchMeter:
    """The bytes and the time that are left for one preview. Threads may share it.

    Args:
        most: bytes.
        seconds: from now on.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._lock, self.left, self.most = threading.Lock(), most, most
        self._seconds, self._until = seconds, time.monotonic() + seconds

    def allow(self, count: int | None, uri: str) -> None:
        """Check that so many bytes may be asked for, before they are.

        Raises:
            NetworkError: they may not, or time is over.
        """
        if count is not None and count > self.left:
            raise NetworkError(
                "a preview may not fetch so many bytes",
                uri=uri,
                expected=f"at most {self.left:,} bytes" + (" more" if self.left < self.most else ""),
                actual=f"{count:,}",
            )
        self.spend(0, uri)

    def spend(self, count: int, uri: str) -> None:
        """Count bytes that came.

        Raises:
            NetworkError: they are too many, or came too late.
        """
        with self._lock:
            self.left -= count
        if self.left < 0:
            raise NetworkError("a preview may not fetch so many bytes", uri=uri, expected=f"at most {self.most:,}")
        if time.monotonic() > self._until:
            raise NetworkError("fetching for a preview takes too long", uri=uri, expected=f"{self._seconds:g} seconds")


@dataclass(frozen=True)
class MeteredSource:
    """A source by a meter.

    Attributes:
        inner: the source.
        meter: of all that is fetched for one preview.
        shards: the references, with metered manifests.
    """

    inner: DataSource
    meter: FetchMeter
    shards: tuple[ShardRef, ...] = field(default=())

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """See `DataSource`."""
        self.meter.allow(None if shard.size is None else shard.size - offset, shard.url)
        stream = _MeteredStream(self.inner.open(shard, offset), self.meter, shard.url)
        return cast(BinaryIO, io.BufferedReader(stream, 1 << 18))


@dataclass(frozen=True)
class MeteredRanges(MeteredSource):
    """A source that gives ranges, by a meter."""

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """See `RangeSource`."""
        self.meter.allow(stop - start, shard.url)
        found = cast(RangeSource, self.inner).read_range(shard, start, stop)
        self.meter.spend(len(found or b""), shard.url)
        return found


def metered(source: DataSource, shards: tuple[ShardRef, ...], meter: FetchMeter) -> MeteredSource:
    """A source, and the manifests of its shards, by a meter."""
    of = MeteredRanges if isinstance(source, RangeSource) else MeteredSource
    refs = tuple(
        shard if shard.manifest is None else replace(shard, manifest=metered(shard.manifest, (), meter))
        for shard in shards or source.shards
    )
    return of(source, meter, refs)


class _MeteredStream(io.RawIOBase):
    def __init__(self, inner: BinaryIO, meter: FetchMeter, uri: str) -> None:
        self._inner, self._meter, self._uri = inner, meter, uri

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self._meter.spend(len(data), self._uri)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._inner.close()
