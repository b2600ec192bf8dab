"""Shards in S3 and S3-compatible stores, read over `boto3` with the caller's credentials."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from atdata.errors import AuthError, MissingExtraError, NetworkError, ShardError, ShardNotFoundError, UsageError
from atdata.shards.source import ShardRef
from atdata.transport.http import TRIES, backoff


@dataclass(frozen=True)
class S3Source:
    """Shards at `s3://bucket/key` addresses.

    Credentials, region and endpoint come from the usual AWS chain (environment, profile, instance role)
    where they are not given.
    """

    shards: tuple[ShardRef, ...]
    endpoint_url: str | None = None
    region: str | None = None
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def from_urls(
        cls,
        urls: Sequence[str],
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> S3Source:
        """The shards at some addresses.

        Args:
            urls: `s3://bucket/key`.
            endpoint_url: an S3-compatible server.
            region: of the bucket.
            credentials: access key and secret key.
        """
        for url in urls:
            split_s3_url(url)
        return cls(tuple(ShardRef(url) for url in urls), endpoint_url, region, credentials)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the shard's bytes; it goes on by itself after a cut.

        Raises:
            ShardNotFoundError: there is no such object or bucket.
            AuthError: the credentials are missing or do not allow it.
            NetworkError: the store cannot be reached.
        """
        client = _client(os.getpid(), self.endpoint_url, self.region, self.credentials)
        return cast(BinaryIO, _ObjectStream(client, shard.url, offset))

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """The bytes of a shard in `[start, stop)`, by one request; `None` where the store gives no such part.

        Raises:
            NetworkError: it keeps breaking off.
        """
        client = _client(os.getpid(), self.endpoint_url, self.region, self.credentials)
        return _read_range(client, shard.url, start, stop)


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` address.

    Raises:
        UsageError: it has none.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise UsageError("an address that names no S3 object", expected="s3://bucket/key", actual=url)
    return bucket, key


def public_url(bucket: str, key: str, endpoint: str | None = None, region: str | None = None) -> str:
    """Where anyone, without credentials, reads a public object.

    With an endpoint the bucket is part of the path, as every S3-compatible server takes it.

    Raises:
        UsageError: the bucket's name cannot be one.
    """
    if not bucket or not all(c.isascii() and (c.isalnum() or c in ".-_") for c in bucket):
        raise UsageError("a bucket cannot have this name", actual=repr(bucket)[:80])
    path = quote(key, safe="/~")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    host = f"s3.{region}.amazonaws.com" if region and region.replace("-", "").isalnum() else "s3.amazonaws.com"
    # A dot in the bucket breaks the certificate of the virtual-host form.
    return f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"


@lru_cache(maxsize=32)
def _client(_pid: int, endpoint_url: str | None, region: str | None, credentials: tuple[str, str] | None) -> Any:
    """One client for each process: connections do not survive a fork."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtraError.of("s3", "Reading s3:// with credentials") from error
    access, secret = credentials or (None, None)
    style = "path" if endpoint_url and urlsplit(endpoint_url).hostname else "auto"
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": style},
            retries={"mode": "standard", "max_attempts": TRIES},
            connect_timeout=10,
            read_timeout=30,
        ),
    )


def _read_range(client: Any, url: str, start: int, stop: int) -> bytes | None:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = split_s3_url(url)
    failure: Exception = OSError()
    for attempt in range(TRIES):
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
        except (ClientError, BotoCoreError):
            return None  # why, reading all of it will say
        with closing(answer["Body"]) as body:
            if not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-{stop - 1}/"):
                return None
            try:
                part: bytes = body.read(stop - start)
            except (BotoCoreError, OSError) as error:
                failure = error
            else:
                if len(part) == stop - start:
                    return part
        time.sleep(backoff(attempt))
    raise NetworkError("an S3 server keeps breaking off", uri=url) from failure


class _ObjectStream(io.RawIOBase):
    """An object's body, taken up again by Range after a cut, as long as its ETag stays."""

    def __init__(self, client: Any, url: str, offset: int) -> None:
        self._client, self._url, self._position = client, url, offset
        self._etag: str | None = None
        self._body: Any = self._get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ReadTimeoutError

        failure: Exception = OSError()
        for attempt in range(TRIES):
            try:
                piece = self._body.read(len(buffer)) if self._body else b""
            except (HTTPClientError, IncompleteReadError, ReadTimeoutError, OSError) as error:
                failure = error
                time.sleep(backoff(attempt))
                self._body = self._get()
                continue
            buffer[: len(piece)] = piece
            self._position += len(piece)
            return len(piece)
        raise NetworkError("an S3 server keeps breaking off", uri=self._url) from failure

    def _get(self) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        bucket, key = split_s3_url(self._url)
        ranged = {"Range": f"bytes={self._position}-"} if self._position else {}
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **ranged)
        except NoCredentialsError as error:
            raise AuthError(
                "no credentials for S3",
                uri=self._url,
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass them.",
            ) from error
        except ClientError as error:
            return self._refuse(error)
        except BotoCoreError as error:
            raise NetworkError("an S3 server cannot be reached", uri=self._url, actual=type(error).__name__) from error
        if self._etag not in (None, answer.get("ETag")):
            raise ShardError("a shard changed while it was read", uri=self._url)
        self._etag = answer.get("ETag")
        return answer["Body"]

    def _refuse(self, error: Any) -> None:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "InvalidRange" and self._position:
            return  # nothing is left after the offset
        if code in ("NoSuchKey", "NoSuchBucket", "404"):
            raise ShardNotFoundError("there is no such shard", uri=self._url, actual=code) from error
        if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
            raise AuthError("S3 does not allow reading a shard", uri=self._url, actual=code) from error
        raise NetworkError("an S3 server refuses a shard", uri=self._url, actual=code) from error

    def close(self) -> None:
        if self._body:
            self._body.close()
        super().close()
