"""Shards in S3 and S3-compatible stores, public or with the caller's credentials."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from atdata.errors import NetworkError, ShardError
from atdata.shards.ports import ShardRef
from atdata.shards.s3_client import Bucket, Credentials, PacedBody, S3Access, sealed
from atdata.shards.urls import check_bucket, split_s3_url
from atdata.transport.download import compressed
from atdata.transport.http import encoding_of


@dataclass(frozen=True)
class S3Source:
    """Shards at `s3://bucket/key` addresses.

    Credentials, region and endpoint come from the usual AWS chain (environment, profile, instance role)
    where they are not given. What was given goes where the source goes: also into its pickle.

    Attributes:
        shards: references whose `url` is `s3://bucket/key`.
        endpoint_url: an S3-compatible server.
        region: of the bucket.
        credentials: access key and secret key, and the session token of temporary ones.
        anonymous: read without credentials what the public may read.
    """

    shards: tuple[ShardRef, ...]
    endpoint_url: str | None = None
    region: str | None = None
    credentials: Credentials | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "credentials", sealed(self.credentials))

    @classmethod
    def from_urls(
        cls,
        urls: Sequence[str],
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        credentials: Credentials | None = None,
        anonymous: bool = False,
    ) -> S3Source:
        """The shards at some addresses `s3://bucket/key`; the other arguments are the attributes.

        Raises:
            UsageError: an address names no object.
        """
        for url in urls:
            split_s3_url(url)
        return cls(tuple(ShardRef(url) for url in urls), endpoint_url, region, credentials, anonymous)

    @classmethod
    def from_keys(cls, bucket: str, keys: Sequence[str], **access: Any) -> S3Source:
        """The shards under some keys of one bucket; the other arguments are those of `from_urls`.

        Raises:
            UsageError: the bucket or a key is no name of one.
        """
        return cls.from_urls([f"s3://{check_bucket(bucket)}/{key}" for key in keys], **access)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the shard's bytes; it resumes after a dropped connection.

        Raises:
            ShardNotFoundError: there is no such object or bucket.
            AuthError: the credentials are missing or do not allow it.
            NetworkError: the store cannot be reached.
        """
        bucket, key = self._find(shard)
        return cast(BinaryIO, ObjectStream(bucket, key, offset))

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """The bytes of a shard in `[start, stop)`, by one request; `None` where the store gives no such part.

        Raises:
            NetworkError: it keeps breaking off.
        """
        bucket, key = self._find(shard)
        return bucket.read_range(key, start, stop)

    def _find(self, shard: ShardRef) -> tuple[Bucket, str]:
        name, key = split_s3_url(shard.url)
        access = S3Access(self.endpoint_url, self.region, self.credentials, self.anonymous)
        return access.bucket(name), key


class ObjectStream(io.RawIOBase):
    """An object's body, resumed by Range after a dropped connection, as long as its ETag stays."""

    def __init__(self, bucket: Bucket, key: str, offset: int) -> None:
        self._bucket, self._key, self._position = bucket, key, offset
        self._etag: str | None = None
        self._body: PacedBody | None = None
        self._size: int | None = None
        self._budget = bucket.budget(key)
        self._begin()

    @property
    def size(self) -> int | None:
        """Bytes of the whole object, where the server says."""
        return self._size

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as comes at once; 0 at the end."""
        while True:
            try:
                piece = self._body.read(len(buffer)) if self._body else b""
            except OSError as error:
                failure = NetworkError("an S3 server keeps dropping the connection", uri=self._bucket.url(self._key))
                failure.__cause__ = error
                self._budget.failed(failure)
                self._begin()
                continue
            buffer[: len(piece)] = piece
            self._position += len(piece)
            self._budget.progressed(len(piece))
            return len(piece)

    def _begin(self) -> None:
        self._budget.begin()
        answer = self._bucket.get(self._key, self._position)
        self._body = None if answer is None else PacedBody(answer["Body"], self._budget)
        if answer is None:
            return
        self._budget.body_begins()
        if encoding := encoding_of(answer.get("ContentEncoding", "")):
            self.close()
            raise compressed(self._bucket.url(self._key), encoding)
        if self._etag not in (None, answer.get("ETag")):
            raise ShardError(
                "a shard changed while it was read", uri=self._bucket.url(self._key), hint="Load the dataset again."
            )
        self._etag = answer.get("ETag")
        if "ContentLength" in answer:
            self._size = self._position + int(answer["ContentLength"])

    def close(self) -> None:
        """Give the connection back."""
        if self._body:
            self._body.close()
        super().close()
