"""Shards at http and https URLs, and public objects of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from atdata.settings import Settings
from atdata.shards.ports import ShardRef
from atdata.transport import Transport
from atdata.transport.download import Download, read_range


@dataclass(frozen=True)
class HttpSource:
    """Shards at URLs, read without credentials.

    Attributes:
        shards: references whose `url` is http or https.
        transport: which servers may be dialled; by default only public ones, over https.
    """

    shards: tuple[ShardRef, ...]
    transport: Transport = field(default_factory=lambda: Transport.of(Settings.of()))

    @classmethod
    def from_urls(
        cls, urls: Sequence[str], allow_loopback: bool | None = None, settings: Settings | None = None
    ) -> HttpSource:
        """The shards at URLs that the caller spelled out: their servers are dialled as they are.

        Args:
            urls: http or https.
            allow_loopback: where these servers may redirect to; see `atdata.settings`.
            settings: all of them, instead.
        """
        transport = Transport.of(settings or Settings.of(allow_loopback=allow_loopback)).trusting(*urls)
        return cls(tuple(ShardRef(url) for url in urls), transport)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the shard's bytes; it resumes after a dropped connection.

        Raises:
            ShardNotFoundError: there is no such shard.
            NetworkError: it cannot be read.
        """
        return cast(BinaryIO, Download(self.transport, shard.url, offset))

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """The bytes of a shard in `[start, stop)`, by one request; `None` where the server gives no such part.

        Raises:
            NetworkError: it cannot be reached, or keeps breaking off.
        """
        return read_range(self.transport, shard.url, start, stop)
