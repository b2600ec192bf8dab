"""Shards in a bucket of S3, or of a server that speaks as S3 does."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from atdata.dataset import Dataset
from atdata.dataset.stores import ShardStore
from atdata.errors import AddressError, AuthError, NetworkError, UsageError
from atdata.local.credentials import read_credentials, sealed
from atdata.local.planning import Planner, check_prefix, proved_bytes
from atdata.manifest import carried_files, discard_shard
from atdata.progress import Progress, progress
from atdata.settings import Settings
from atdata.shards import Digest, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.planned import PlannedShard
from atdata.shards.s3 import S3Source
from atdata.shards.s3_client import PART, Bucket, S3Access, Stored, Unfinished, check_key
from atdata.shards.urls import check_bucket, configured_endpoint, split_s3_url
from atdata.shards.writer import Observer
from atdata.urls import origin_of

TAR, JSON, PARQUET = "application/x-tar", "application/json", "application/vnd.apache.parquet"
READABLE = 3600
"""Seconds for which an address of `read_url` is good."""

_SMALL_AT_ONCE, _LARGE_AT_ONCE = 4, 2
_DAY = timedelta(days=1)
_SHARD = re.compile(r"(^|/)[0-9a-f]{64}\.tar$")


class S3DataStore(ShardStore):
    """Keeps shards as objects `s3://{bucket}/{prefix}/{their prefix}/{sha256}.tar`, byte for byte as written.

    An object appears complete or not at all, and is what its name says: its digest is computed while it is sent. What
    is there already, with the right size and digest, is not sent again.

    Attributes:
        bucket: its name.
        prefix: what the keys of all its shards begin with.
        access: how the bucket is reached.

    Args:
        credentials: a mapping, or a file of `NAME=value` lines, with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
            `AWS_SESSION_TOKEN`, `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ENDPOINT_URL_S3` (or `AWS_ENDPOINT_URL`,
            or `AWS_ENDPOINT`). What is not given comes from the usual AWS chain: environment, profile, instance role.
        bucket: its name; it must be there.
        prefix: what the keys of all its shards begin with.
        endpoint_url: an S3-compatible server.
        region: of the bucket.
        cache: the folder for what is fetched from elsewhere, or cut anew.

    Raises:
        UsageError: no bucket, prefix or server can be called so, or half of a pair of keys is given.
        NotFoundError: the credentials file does not exist.
    """

    def __init__(
        self,
        credentials: Mapping[str, str] | str | os.PathLike[str] | None = None,
        *,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        credentials = sealed(credentials) if isinstance(credentials, Mapping) else credentials
        given = read_credentials(credentials)
        self.bucket, self.prefix = check_bucket(bucket), check_prefix(prefix.strip("/"))
        if endpoint_url is None:
            endpoint_url = given.endpoint_url or configured_endpoint()
        self.access = S3Access(_check_endpoint(endpoint_url), given.region if region is None else region, given.keys)
        self._cache = ShardCache(Settings.of(cache=cache).cache)

    def __repr__(self) -> str:
        if "access" not in vars(self):
            return "S3DataStore(...)"  # while it is made
        return f"S3DataStore({self._objects.url(self.prefix)!r}, endpoint_url={self.access.endpoint_url!r})"

    def plan(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str = "",
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> tuple[PlannedShard, ...]:
        """The shards that `put` would store; nothing is sent yet, and the server is not asked.

        Raises:
            UsageError, LimitError, ShardError, DigestError, ShardNotFoundError, NetworkError: as `write_shards`.
        """
        folder = "/".join(part for part in (self.prefix, check_prefix(prefix)) if part)

        def address(digest: Digest) -> str:
            name = f"{digest.hex}.tar"
            return self._objects.url(check_key(f"{folder}/{name}" if folder else name))

        planner = Planner(self._cache, self._cache.root / "scratch")
        return planner.plan(dataset, address, maxcount=maxcount, maxsize=maxsize, observer=observer)

    def upload(self, planned: Sequence[PlannedShard]) -> tuple[ShardRef, ...]:
        """Store what `plan` gave, several shards side by side.

        Raises:
            NotFoundError, AuthError, LimitError, NetworkError, ShardError, DigestError: as `write_shards`.
        """
        total = sum(shard.length for shard in planned)
        once = {shard.url: shard for shard in planned}
        with progress("Uploading", total) as bars:
            bars.begin(f"{len(planned)} shards", total)
            stored = dict(zip(once, _Upload(self._objects, self._cache, bars).all(tuple(once.values())), strict=True))
        for shard in planned:
            if shard.scratch:
                discard_shard(Path(shard.origin.url))
        return tuple(shard.stored(self._manifest(stored[shard.url])) for shard in planned)

    def _manifest(self, files: tuple[ShardRef, ...]) -> S3Source | None:
        return self._source(files) if files else None

    def read_url(self, url: str) -> str:
        """The URL at which a plain HTTP client reads a stored shard, for an hour. Whoever has it can read it.

        Raises:
            UsageError: it is no address in this bucket.
            AuthError: there are no credentials to sign it with.
        """
        return self._objects.signed_url(self._key(url), READABLE)

    def create_source(self, urls: Sequence[str]) -> S3Source:
        """The source that reads shards from their addresses; what was named by content is proved by its name.

        Raises:
            UsageError: one is no address in this bucket.
        """
        return self._source(tuple(ShardRef(url, _named(self._key(url))) for url in urls))

    def unfinished(self, older_than: timedelta = _DAY) -> list[Unfinished]:
        """The uploads of shards below the store's prefix that were begun and never finished. They take room until they
        end. What others upload there under names that no store gives is left alone.

        Args:
            older_than: leave out what was begun more recently: it may still be going on.

        Raises:
            NotFoundError, AuthError, NetworkError: they cannot be listed.
        """
        latest = datetime.now(UTC) - older_than
        begun = self._objects.unfinished(f"{self.prefix}/" if self.prefix else "")
        return [upload for upload in begun if upload.begun <= latest and _SHARD.search(upload.key)]

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """End uploads that `unfinished` gave, and free the room they take.

        Raises:
            NotFoundError, AuthError, NetworkError: one cannot be ended.
        """
        for upload in uploads:
            self._objects.abort(upload)

    @property
    def _objects(self) -> Bucket:
        return self.access.bucket(self.bucket)

    def _source(self, shards: tuple[ShardRef, ...]) -> S3Source:
        return S3Source(shards, self.access.endpoint_url, self.access.region, self.access.credentials)

    def _key(self, url: str) -> str:
        bucket, key = split_s3_url(url)
        if bucket != self.bucket:
            raise UsageError("the address is in another bucket", expected=f"s3://{self.bucket}/...", actual=url)
        return key


def _named(key: str) -> Digest | None:
    """The digest in the name of an object, where it has one."""
    name = key.rpartition("/")[2].removesuffix(".tar")
    return Digest.of_checksum({"algorithm": "sha256", "digest": name}) if key.endswith(".tar") else None


def _check_endpoint(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        origin_of(url)
    except AddressError:
        raise UsageError(
            "endpoint_url must be the address of an S3 server", expected="like https://s3.example.org"
        ) from None
    return url.rstrip("/")


class _Upload:
    """One upload of several shards."""

    def __init__(self, objects: Bucket, cache: ShardCache, bars: Progress) -> None:
        self._objects, self._cache, self._bars = objects, cache, bars
        self._stopped = threading.Event()

    def all(self, shards: Sequence[PlannedShard]) -> list[tuple[ShardRef, ...]]:
        """Store shards, small ones beside large ones, and give the files of each one's manifest there.

        After a failure no other shard is begun, and those that were are ended before it is told.
        """
        with (
            ThreadPoolExecutor(_SMALL_AT_ONCE, "atdata-small") as small,
            ThreadPoolExecutor(_LARGE_AT_ONCE, "atdata-large") as large,
        ):
            futures = [(small if shard.length <= PART else large).submit(self._store, shard) for shard in shards]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self._stopped.set()
                for future in futures:
                    future.cancel()
                raise

    def _store(self, shard: PlannedShard) -> tuple[ShardRef, ...]:
        key, there = split_s3_url(shard.url)[1], Stored(shard.length, shard.sha256.hex)
        if self._shows(key, there):
            self._bars.advance(shard.length)
        else:
            with closing(proved_bytes(shard, self._cache)) as pieces:
                if shard.length <= PART:
                    self._put(key, b"".join(self._watched(pieces)), shard.sha256, TAR)
                else:
                    stream = cast(BinaryIO, _Pieces(self._watched(pieces)))
                    self._objects.upload(key, stream, shard.length, shard.sha256, TAR)
                    if self._shows(key, there) is False:
                        raise NetworkError(
                            "S3 does not show the object that it accepted", uri=shard.url, hint="Store it again."
                        )
        return self._store_manifest(shard, key)

    def _shows(self, key: str, there: Stored) -> bool | None:
        """True if something is there as it must be; `None` where we are not told, as who may only write."""
        try:
            return self._objects.head(key) == there
        except AuthError:
            return None

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._stopped.is_set():
                raise NetworkError("uploading was stopped")
            yield piece
            self._bars.advance(len(piece))

    def _put(self, key: str, content: bytes, digest: Digest, mime_type: str) -> None:
        """Store an object under the name of its content: what is there is that, or is wrong."""
        stored = self._objects.put(key, content, digest, mime_type)
        if not stored and not self._shows(key, Stored(len(content), digest.hex)):
            self._objects.put(key, content, digest, mime_type, replacing=True)

    def _store_manifest(self, shard: PlannedShard, key: str) -> tuple[ShardRef, ...]:
        """Set a shard's manifest beside it, the header last. One that is there stays: others may have pinned it."""
        name = key.removesuffix(".tar")
        stored: list[ShardRef] = []
        names = (f"{name}.manifest.json", JSON), (f"{name}.manifest.parquet", PARQUET)
        for file, (there, mime_type) in reversed(list(zip(carried_files(shard), names, strict=False))):
            digest = Digest.sha256(file)
            ours = Stored(len(file), digest.hex)
            put = self._objects.put
            if not (self._shows(there, ours) or put(there, file, digest, mime_type) or self._shows(there, ours)):
                return ()
            stored.insert(0, ShardRef(self._objects.url(there), digest, len(file)))
        return tuple(stored)


class _Pieces:
    """Pieces as a file that is read once, from the beginning. Their errors are the reader's."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, amount: int) -> bytes:
        """Read so many bytes; fewer only at the end, as whoever sends parts needs it."""
        parts, left = [], amount
        while left and (piece := self._rest or next(self._pieces, b"")):
            parts.append(piece[:left])
            self._rest = piece[left:]
            left -= len(parts[-1])
        return b"".join(parts)
