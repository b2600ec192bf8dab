"""The storage union of the entry record: the places of its shards, as shard references."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import BlobUri
from atdata.errors import DigestError, LexiconError, NotFoundError
from atdata.shards import Digest, ShardRef
from atdata.shards.addresses import scheme_of
from atdata.shards.braces import MAX_LISTED, names_in
from atdata.shards.ports import DataSource
from atdata.shards.s3 import S3Source, configured_endpoint, public_url

_ID = "science.alt.dataset.storage"
BLOBS, HTTP, S3, EXTERNAL = f"{_ID}Blobs", f"{_ID}Http", f"{_ID}S3", f"{_ID}External"
TAR = "application/x-tar"
PLACEHOLDER = {"algorithm": "none", "digest": ""}
"""The text that other writers put where a digest is not known; it is read, and never written."""


@dataclass(frozen=True)
class Blob:
    """A blob reference as a PDS gives it; it is sent back verbatim.

    Attributes:
        cid: of the bytes.
        mime_type: as the PDS sniffed it.
        size: bytes; `None` where that is not known.
    """

    cid: Cid
    mime_type: str = TAR
    size: int | None = None

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {"$type": "blob", "ref": self.cid, "mimeType": self.mime_type, "size": self.size}

    @classmethod
    def from_record(cls, value: Any, path: str) -> Blob:
        """Read a blob reference.

        Raises:
            LexiconError: it is none.
        """
        if isinstance(value, dict) and isinstance(value.get("ref"), Cid):
            return cls(value["ref"], str(value.get("mimeType", TAR)), value.get("size"))
        raise _unreadable("a blob", path, value)


@dataclass(frozen=True)
class BlobStorage:
    """Shards kept as blobs in the publisher's repository."""

    blobs: tuple[Blob, ...]

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "$type": BLOBS,
            "blobs": [{"blob": b.to_record(), "checksum": Digest.of_cid(b.cid).checksum} for b in self.blobs],
        }

    def shards(self, did: str | None) -> tuple[ShardRef, ...]:
        """The shards, at `at://{did}/blob/{cid}`."""
        if did is None:
            raise NotFoundError("blobs of an entry that is nowhere yet", hint="Publish it first.")
        return tuple(ShardRef(str(BlobUri.of(did, b.cid)), Digest.of_cid(b.cid), b.size) for b in self.blobs)


@dataclass(frozen=True)
class HttpStorage:
    """Shards at http or https URLs, each with what is known of it."""

    listed: tuple[ShardRef, ...]

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {"$type": HTTP, "shards": [{"url": shard.url, "checksum": _checksum(shard)} for shard in self.listed]}

    def shards(self, _did: str | None) -> tuple[ShardRef, ...]:
        """The shards."""
        return self.listed


@dataclass(frozen=True)
class S3Storage:
    """Shards in one bucket. Their references have `s3://bucket/key` as URL."""

    bucket: str
    listed: tuple[ShardRef, ...]
    region: str | None = None
    endpoint: str | None = None

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        prefix = f"s3://{self.bucket}/"
        place = {name: item for name, item in (("region", self.region), ("endpoint", self.endpoint)) if item}
        shards = [{"key": shard.url.removeprefix(prefix), "checksum": _checksum(shard)} for shard in self.listed]
        return {"$type": S3, "bucket": self.bucket, **place, "shards": shards}

    def shards(self, _did: str | None) -> tuple[ShardRef, ...]:
        """The shards."""
        return self.listed

    def public_shards(self) -> tuple[ShardRef, ...]:
        """The shards where anyone reads them, without credentials."""
        prefix = f"s3://{self.bucket}/"
        return tuple(
            ShardRef(
                public_url(self.bucket, s.url.removeprefix(prefix), self.endpoint, self.region),
                s.digest,
                s.size,
                s.samples,
            )
            for s in self.listed
        )


@dataclass(frozen=True)
class ExternalStorage:
    """URLs as somebody gave them, in brace notation or not; nothing about their bytes is known."""

    urls: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {"$type": EXTERNAL, "urls": list(self.urls)}

    def shards(self, _did: str | None) -> tuple[ShardRef, ...]:
        """The shards the URLs stand for.

        Raises:
            LimitError: they are more than a record may name.
        """
        return tuple(ShardRef(url) for url in names_in(self.urls, MAX_LISTED))


@dataclass(frozen=True)
class UnknownStorage:
    """A kind of storage that this version does not know; kept as it came."""

    value: Mapping[str, Any]

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return dict(self.value)

    def shards(self, _did: str | None) -> tuple[ShardRef, ...]:
        """Refuse: none can be named.

        Raises:
            LexiconError: always; it names the kind.
        """
        raise LexiconError(
            "shards stored in a way this version does not know",
            path="storage.$type",
            actual=str(self.value.get("$type"))[:200],
            hint="A newer version of atdata may read it.",
        )


Storage: TypeAlias = BlobStorage | HttpStorage | S3Storage | ExternalStorage | UnknownStorage


def read_storage(value: Any) -> Storage:
    """The storage of an entry that is valid today.

    Raises:
        LexiconError: it is of a known kind but malformed: the lexicon says nothing about the kind that it deprecates.
    """
    match value["$type"]:
        case "science.alt.dataset.storageBlobs":
            return BlobStorage(
                tuple(_read_blob(item, f"storage.blobs[{i}]") for i, item in enumerate(_list(value, "blobs")))
            )
        case "science.alt.dataset.storageHttp":
            return HttpStorage(tuple(_read_shard(item, "url", "") for item in _list(value, "shards")))
        case "science.alt.dataset.storageS3":
            bucket = value["bucket"]
            listed = tuple(_read_shard(item, "key", f"s3://{bucket}/") for item in _list(value, "shards"))
            return S3Storage(bucket, listed, value.get("region"), value.get("endpoint"))
        case "science.alt.dataset.storageExternal":
            urls = _list(value, "urls")
            if not all(isinstance(url, str) for url in urls):
                raise _unreadable("a list of URLs", "storage.urls", urls)
            return ExternalStorage(tuple(urls))
    return UnknownStorage(value)


def storage_of(shards: Sequence[ShardRef], region: str | None = None, endpoint: str | None = None) -> Storage:
    """The storage that says the most about some shards at URLs: with digests where every shard has one."""
    schemes = {scheme_of(shard.url) for shard in shards}
    buckets = {shard.url.split("/", 3)[2] for shard in shards if scheme_of(shard.url) == "s3"}
    if all(shard.digest for shard in shards):
        if schemes <= {"http", "https"} or schemes == {"file"}:
            return HttpStorage(tuple(shards))
        if schemes == {"s3"} and len(buckets) == 1:
            return S3Storage(buckets.pop(), tuple(shards), region, endpoint)
    return ExternalStorage(tuple(shard.url for shard in shards))


def storage_in(source: DataSource, shards: Sequence[ShardRef]) -> Storage:
    """The storage that says where some shards of a source are, and on which server."""
    if isinstance(source, S3Source):
        return storage_of(shards, source.region, source.endpoint_url or configured_endpoint())
    return storage_of(shards)


def listed(storage: Storage) -> tuple[Any, ...]:
    """The items that a storage lists one by one: blobs, shards or URLs."""
    match storage:
        case BlobStorage(items) | ExternalStorage(items) | HttpStorage(items) | S3Storage(listed=items):
            return items
    return ()


def check_digests(storage: Storage) -> None:
    """Refuse to write a placeholder where readers look for a digest.

    Raises:
        DigestError: a shard has none.
    """
    if isinstance(storage, HttpStorage | S3Storage):
        for shard in storage.listed:
            if shard.digest is None:
                raise DigestError(
                    "a shard without a digest cannot stand in this record", uri=shard.url, step="shard digest"
                )


def first_listed(storage: Storage, count: int) -> Storage:
    """The same storage with only the first of what it lists."""
    match storage:
        case BlobStorage(items):
            return BlobStorage(items[:count])
        case ExternalStorage(items):
            return ExternalStorage(items[:count])
        case HttpStorage(shards):
            return HttpStorage(shards[:count])
        case S3Storage(listed=shards):
            return replace(storage, listed=shards[:count])
    return storage


def _list(value: dict[str, Any], name: str) -> list[Any]:
    items = value.get(name)
    if not isinstance(items, list) or not items:
        raise _unreadable("a storage without shards", f"storage.{name}", items)
    return items


def _read_blob(item: Any, path: str) -> Blob:
    blob = Blob.from_record(item["blob"], f"{path}.blob")
    digest = Digest.of_checksum(item.get("checksum"))
    if digest is not None and digest.algorithm == "sha256" and digest != Digest.of_cid(blob.cid):
        raise DigestError(
            "a blob whose checksum is not that of its CID",
            step="shard digest",
            path=path,
            expected=Digest.of_cid(blob.cid),
            actual=digest,
        )
    return blob


def _read_shard(item: dict[str, Any], name: str, prefix: str) -> ShardRef:
    return ShardRef(prefix + item[name], Digest.of_checksum(item.get("checksum")))


def _unreadable(what: str, path: str, actual: object) -> LexiconError:
    return LexiconError(f"{what} that cannot be read", path=path, actual=reprlib.repr(actual))


def _checksum(shard: ShardRef) -> dict[str, str]:
    return shard.digest.checksum if shard.digest else dict(PLACEHOLDER)
