"""The client of S3: connections, requests, and the errors that servers' refusals become."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, Self, TypeAlias

from atdata.errors import (
    AtdataError,
    AuthError,
    LimitError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ShardNotFoundError,
    UsageError,
    bare,
)
from atdata.redaction import Secret, revealed
from atdata.settings import Settings
from atdata.shards.digest import Digest
from atdata.transport.budget import HEADERS, TRIES, Budget
from atdata.transport.http import encoding_of
from atdata.urls import origin_of

Credentials: TypeAlias = tuple[str, ...]
"""Access key and secret key, and the session token where there is one; they are kept as secrets."""

PART = 8 << 20
"""Bytes of a part; what is no longer than one is sent by one request."""

_PARTS_AT_ONCE = 4
_MAX_PARTS = 10_000
_MAX_KEY = 1024
_LEAST, _MOST, _AT_ONCE = 1 << 8, 1 << 18, 0.1  # bytes of a piece of a body, and seconds in which one comes fast
_SHA256 = "sha256"  # the name of an object's metadata

_ABSENT = ("NoSuchKey", "NoSuchBucket", "404")
_CONDITION = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NotImplemented", "501")
_UNKNOWN = ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired")
_REFUSED = ("AccessDenied", "AllAccessDisabled", "AccountProblem", "AuthorizationHeaderMalformed", "InvalidSecurity")
_LATE = ("RequestExpired", "RequestTimeTooSkewed")
# A question has no body to say why; 400 is how it is told of a token that has expired.
_FORBIDDEN = frozenset((*_UNKNOWN, *_REFUSED, *_LATE, "400", "401", "403"))


@dataclass(frozen=True)
class Stored:
    """An object as its server describes it: bytes, and the sha-256 that whoever stored it wrote down, as hex."""

    size: int
    sha256: str | None


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that was begun and not finished. It takes space, and nobody sees it."""

    key: str
    id: str
    begun: datetime


@dataclass(frozen=True)
class S3Access:
    """Access to S3. It pickles: clients are made where they are used.

    Attributes:
        endpoint_url: an S3-compatible server; AWS where there is none.
        region: of the buckets.
        credentials: as `Credentials`; the usual AWS chain where they are not given.
        anonymous: read without credentials what the public may read.
    """

    endpoint_url: str | None = None
    region: str | None = None
    credentials: Credentials | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "credentials", sealed(self.credentials))

    def bucket(self, name: str) -> Bucket:
        """A bucket."""
        return Bucket(self, name)


@dataclass(frozen=True)
class Bucket:
    """The objects of one bucket."""

    access: S3Access
    name: str

    def url(self, key: str) -> str:
        """The name of an object."""
        return f"s3://{self.name}/{key}"

    def get(self, key: str, offset: int = 0) -> Any:
        """The answer with an object's body from `offset` on; `None` where nothing is left there.

        Raises:
            ShardNotFoundError: there is no such object or bucket.
            AuthError: the credentials are missing, or do not allow it.
            NetworkError: the server cannot be reached.
        """
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        with _Typed(self.url(key), "reading a shard", ShardNotFoundError, passing=("InvalidRange",) if offset else ()):
            return self._client.get_object(Bucket=self.name, Key=key, **ranged)
        return None

    def budget(self, key: str) -> Budget:
        """The budget of reading an object."""
        settings = Settings.of()
        return Budget(self.url(key), settings.patience, settings.least_rate)

    def read_range(self, key: str, start: int, stop: int) -> bytes | None:
        """The bytes of an object in `[start, stop)`, by one request; `None` where the server gives no such part.

        Raises:
            NetworkError: it keeps breaking off.
        """
        client = self._client  # says what to install where there is no driver
        from botocore.exceptions import BotoCoreError, ClientError

        budget = self.budget(key)
        while True:
            budget.begin()
            try:
                answer = client.get_object(Bucket=self.name, Key=key, Range=f"bytes={start}-{stop - 1}")
            except (ClientError, BotoCoreError, UnicodeError):
                return None  # why, reading all of it will say
            budget.body_begins()
            with closing(PacedBody(answer["Body"], budget)) as body:
                sent = str(answer.get("ContentRange", ""))
                if encoding_of(answer.get("ContentEncoding", "")) or not sent.startswith(f"bytes {start}-{stop - 1}/"):
                    return None
                try:
                    part = b"".join(_pieces(body, stop - start))
                    if len(part) == stop - start:
                        return part
                    raise OSError("the body ended early")
                except OSError as error:
                    failure = NetworkError("an S3 server keeps dropping the connection", uri=self.url(key))
                    failure.__cause__ = bare(error)
            budget.failed(failure)

    def head(self, key: str) -> Stored | None:
        """The object under a key; `None` where there is none.

        Raises:
            AuthError: who asks may not know.
            NetworkError: the server cannot be reached.
        """
        with _Typed(self.url(key), "asking for an object", passing=("404", "NoSuchKey")):
            answer = self._client.head_object(Bucket=self.name, Key=key)
            return Stored(int(answer["ContentLength"]), answer.get("Metadata", {}).get(_SHA256))
        return None

    def put(self, key: str, content: bytes, digest: Digest, mime_type: str, *, replacing: bool = False) -> bool:
        """Store a small object, at once and whole, and say whether it was stored.

        Args:
            key: its name.
            content: its bytes.
            digest: their sha-256, which is written down with them.
            mime_type: of what it holds.
            replacing: whether it takes the place of what is there; else that stays, and the answer is `False`.

        Raises:
            NotFoundError: there is no such bucket.
            AuthError, NetworkError, LimitError: it is not taken.
        """
        condition = {} if replacing else {"IfNoneMatch": "*"}
        about: dict[str, Any] = {"Metadata": {_SHA256: digest.hex}, "ContentType": mime_type, **condition}
        with _Typed(self.url(key), "storing an object", passing=() if replacing else _CONDITION) as told:
            self._client.put_object(Bucket=self.name, Key=key, Body=content, **about)
            return True
        if told.code in ("NotImplemented", "501"):  # a server that knows no conditions
            return self.put(key, content, digest, mime_type, replacing=True)
        return False

    def upload(self, key: str, stream: BinaryIO, size: int, digest: Digest, mime_type: str) -> None:
        """Store a large object in parts, a few of them in memory. It is visible whole or not at all.

        Args:
            key: its name; what is there is replaced.
            stream: its bytes, read in order. An error that it raises is given on, and nothing is stored.
            size: how many they are.
            digest: their sha-256, which is written down with them.
            mime_type: of what it holds.

        Raises:
            NotFoundError, AuthError, NetworkError, LimitError: as `put`.
        """
        about = {"Metadata": {_SHA256: digest.hex}, "ContentType": mime_type}
        try:
            with _Typed(self.url(key), "storing an object"):
                self._client.upload_fileobj(stream, self.name, key, ExtraArgs=about, Config=_transfer(size))
        except NetworkError:
            # The last answer may have been lost, not what it answered.
            with suppress(AtdataError):
                if self.head(key) == Stored(size, digest.hex):
                    return
            raise

    def signed_url(self, key: str, seconds: int) -> str:
        """The URL at which a plain HTTP client reads an object, for a while.

        Raises:
            AuthError: there are no credentials to sign with.
        """
        with _Typed(self.url(key), "signing an address"):
            wanted = {"Bucket": self.name, "Key": key}
            return str(self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds))
        raise AssertionError("it returns or raises")

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """The uploads below a prefix that were begun and not finished.

        Raises:
            NotFoundError, AuthError, NetworkError: they cannot be listed.
        """
        with _Typed(self.url(prefix), "listing uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=prefix)
            for page in pages:
                for upload in page.get("Uploads", ()):
                    yield Unfinished(upload["Key"], upload["UploadId"], upload["Initiated"])

    def abort(self, upload: Unfinished) -> None:
        """Abort an upload, and free the space it takes. One that is gone already is no error.

        Raises:
            NotFoundError, AuthError, NetworkError: it cannot be ended.
        """
        with _Typed(self.url(upload.key), "ending an upload", passing=("NoSuchUpload", "404")):
            self._client.abort_multipart_upload(Bucket=self.name, Key=upload.key, UploadId=upload.id)

    @property
    def _client(self) -> Any:
        return _client(os.getpid(), self.access, Settings.of().patience)


def sealed(credentials: Credentials | None) -> tuple[Secret, ...] | None:
    """Credentials as secrets."""
    return None if credentials is None else tuple(map(Secret, credentials))


@lru_cache(maxsize=32)
def _client(_pid: int, access: S3Access, patience: float) -> Any:
    """One client for each process: connections do not survive a fork."""
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingExtraError.of("s3", "Reading and writing s3://") from error
    key, secret, token = (*(access.credentials or ()), None, None, None)[:3]
    endpoint = access.endpoint_url
    if endpoint:
        origin_of(endpoint)  # a typed error, where the driver has another
    config = Config(
        s3={"addressing_style": "path" if endpoint else "auto"},
        signature_version=UNSIGNED if access.anonymous else "s3v4",
        retries={"mode": "standard", "max_attempts": TRIES},
        connect_timeout=min(10, patience / 10),
        read_timeout=patience / 10,
        max_pool_connections=32,
        # Checksums in trailers are what only AWS itself and the newest other servers understand.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=access.region,
            aws_access_key_id=revealed(key),
            aws_secret_access_key=revealed(secret),
            aws_session_token=revealed(token),
            config=config,
        )
        # A dict of its own, for just this purpose, but without a public name.
        client._endpoint.http_session._pool_classes_by_scheme.update(_pools(patience / 5))
        return client
    except ValueError as error:
        raise UsageError("the name of an S3 region is invalid", actual=repr(access.region)[:80]) from bare(error)
    except BotoCoreError as error:
        raise _failure(error, endpoint or "s3://", "reaching S3") from bare(error)


def _pools(patience: float) -> dict[str, Any]:
    """The driver's pools, of connections that wait for the head of an answer only so long.

    The driver itself bounds each wait for another byte, and neither their number nor what comes before an answer.
    """
    from botocore import awsrequest

    class Bounded:
        sock: socket.socket

        def _consume_headers(self, stream: BinaryIO) -> None:
            left = HEADERS
            while (line := stream.readline(left)) not in (b"\r\n", b"\n"):
                left -= len(line)
                if not line or left <= 0:
                    raise ConnectionError("headers without an end")

        def getresponse(self, *args: Any, **options: Any) -> Any:
            late = threading.Event()
            given_up = threading.Timer(patience, _shut, [self.sock, late])
            given_up.daemon = True
            given_up.start()
            try:
                answer = super().getresponse(*args, **options)  # type: ignore[misc]
                if late.is_set():  # http.client takes the end of a connection for that of the headers
                    answer.close()
                    raise ConnectionError("headers without an end")
                return answer
            finally:
                given_up.cancel()

    class PlainConnection(Bounded, awsrequest.AWSHTTPConnection):  # type: ignore[misc]
        pass

    class Secured(Bounded, awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
        pass

    plain = type("Pool", (awsrequest.AWSHTTPConnectionPool,), {"ConnectionCls": PlainConnection})
    secured = type("Pool", (awsrequest.AWSHTTPSConnectionPool,), {"ConnectionCls": Secured})
    return {"http": plain, "https": secured}


def _shut(opened: socket.socket | None, said: threading.Event) -> None:
    said.set()
    if opened is not None:
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)


def _transfer(size: int) -> Any:
    from boto3.s3.transfer import TransferConfig

    part = max(PART, -(-size // _MAX_PARTS))
    config = TransferConfig(
        multipart_threshold=PART,
        multipart_chunksize=part,
        max_concurrency=_PARTS_AT_ONCE,
        preferred_transfer_client="classic",
    )
    config.max_in_memory_upload_chunks = _PARTS_AT_ONCE
    return config


@dataclass
class _Typed:
    """Turns what the driver raises into our errors.

    What the server refuses with one of the codes `passing` is no error; `code` then says which it was.
    """

    uri: str
    doing: str
    missing: Callable[..., AtdataError] = NotFoundError
    passing: tuple[str, ...] = ()
    code: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> bool:
        if error is None or isinstance(error, AtdataError):
            return False
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            self.code = str(error.response.get("Error", {}).get("Code", ""))
            if self.code in self.passing:
                return True
            raise _refusal(self.code, self.uri, self.doing, self.missing) from bare(error)
        if isinstance(error, UnicodeError):  # as from the driver, which has no error of its own
            raise UsageError("the name of an S3 bucket or key is invalid", uri=self.uri, step=self.doing) from bare(
                error
            )
        if isinstance(error, BotoCoreError):
            raise _failure(error, self.uri, self.doing) from bare(error)
        return False


def _failure(error: Exception, uri: str, doing: str) -> AtdataError:
    """The error for a request without a response."""
    from botocore.exceptions import (
        CredentialRetrievalError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass them."
        return AuthError("no credentials for S3", uri=uri, step=doing, hint=hint)
    if isinstance(error, ParamValidationError):
        return UsageError("the name of an S3 bucket or key is invalid", uri=uri, step=doing)
    actual = type(error).__name__
    return NetworkError(
        "an S3 server cannot be reached", uri=uri, step=doing, actual=actual, hint="Check the endpoint and the network."
    )


def _refusal(code: str, uri: str, doing: str, missing: Callable[..., AtdataError]) -> AtdataError:
    if code in _ABSENT:
        what = "there is no such bucket" if code == "NoSuchBucket" else "there is no such shard"
        hint = "Create the bucket, or check its name and the endpoint." if code == "NoSuchBucket" else None
        return missing(what, uri=uri, step=doing, actual=code, hint=hint)
    if code in _FORBIDDEN:
        hint = "Check the credentials, whether they have expired, and what they may do in this bucket."
        return AuthError(f"S3 does not allow {doing}", uri=uri, actual=code, hint=hint)
    if code in ("EntityTooLarge", "KeyTooLongError", "QuotaExceeded"):
        return LimitError("an S3 server refuses an object of this size or name", uri=uri, step=doing, actual=code)
    return NetworkError("an S3 server refused a request", uri=uri, step=doing, actual=code, hint="Try again later.")


def check_key(key: str) -> str:
    """The key itself, if it is not too long for S3.

    Raises:
        LimitError: it is longer.
    """
    length = len(key.encode())
    if length > _MAX_KEY:
        raise LimitError("the key of an S3 object is too long", path=key[:80], expected=_MAX_KEY, actual=length)
    return key


class PacedBody:
    """An answer's body, read on a budget. The driver waits for the whole of each piece; so they grow as they come fast.

    Args:
        body: the driver's stream.
        budget: what it may take.
    """

    def __init__(self, body: Any, budget: Budget) -> None:
        self._body, self._budget, self._piece = body, budget, _LEAST

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many; none at the end.

        Raises:
            OSError: it broke off, or comes too slowly.
        """
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        before = self._budget.left
        try:
            with self._budget:
                piece: bytes = self._body.read(min(count, self._piece))
        except (HTTPClientError, IncompleteReadError) as error:
            raise OSError("a body broke off") from error
        fast = before - self._budget.left < _AT_ONCE
        self._piece = min(2 * self._piece, _MOST) if fast else max(self._piece // 2, _LEAST)
        self._budget.body_received(len(piece))
        self._budget.received(len(piece))
        if piece and self._budget.left <= 0:
            raise OSError("a server is too slow")
        return piece

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()


def _pieces(body: PacedBody, count: int) -> Iterator[bytes]:
    while count and (piece := body.read(count)):
        count -= len(piece)
        yield piece
