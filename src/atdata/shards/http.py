"""Shards at http and https URLs, and public objects of Google Cloud Storage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from atdata.errors import UsageError
from atdata.settings import Settings
from atdata.shards.ports import ShardRef
from atdata.shards.s3 import public_url
from atdata.transport import Transport
from atdata.transport.download import Download, read_range

GOOGLE = "https://storage.googleapis.com"


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


def public_gs_url(url: str) -> str:
    """The URL at which anyone, without credentials, reads a public object of Google Cloud Storage.

    An emulator takes Google's place where `STORAGE_EMULATOR_HOST` names one, as for Google's own libraries.

    Raises:
        UsageError: the address is not `gs://bucket/key`.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise UsageError("a gs:// URL does not name an object", expected="gs://bucket/key", actual=url)
    server = os.environ.get("STORAGE_EMULATOR_HOST") or GOOGLE
    return public_url(bucket, key, server if "://" in server else f"http://{server}")
