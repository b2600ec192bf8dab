"""The storage union of the entry record: the places of its shards, as shard references."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import BlobUri
from atdata.errors import DigestError, LexiconError, NotFoundError, UsageError
from atdata.shards import Digest, ShardRef
from atdata.shards.ports import DataSource
from atdata.shards.urls import configured_endpoint, public_gs_url, public_url, scheme_of, split_s3_url

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


class Storage(ABC):
    """The places of an entry's shards, as its record says them.

    Attributes:
        KIND: the `$type` of its wire form.
        listed: what it lists one by one: blobs, shards or URLs.
        endpoint: the S3-compatible server, where one is named.
        region: of its buckets, where one is named.
    """

    KIND: ClassVar[str]
    listed: Sequence[Any] = ()
    endpoint: str | None = None
    region: str | None = None

    @abstractmethod
    def to_record(self) -> dict[str, Any]:
        """The wire form."""

    @abstractmethod
    def shards(self, did: str | None, /) -> tuple[ShardRef, ...]:
        """The shards, in order.

        Args:
            did: the publisher's, who has the blobs.

        Raises:
            NotFoundError: they are blobs, and nobody's.
            LexiconError, LimitError: the record does not say which they are.
        """

    @classmethod
    @abstractmethod
    def _read(cls, value: dict[str, Any]) -> Storage:
        """The storage of a wire form that is valid today.

        Raises:
            LexiconError: it is malformed: the lexicon says nothing about the kind that it deprecates.
        """

    def first(self, count: int) -> Self:
        """The same storage with only the first of what it lists."""
        return replace(self, listed=self.listed[:count])  # type: ignore[type-var]

    def joined(self, other: Storage) -> Self:
        """The same storage with what another lists after its own.

        Raises:
            UsageError: the other's shards are in places of another kind, which one record cannot name together.
        """
        places = [
            (type(one), {scheme_of(shard.url) for shard in one.shards("did:web:nowhere.invalid")}, one.first(0))
            for one in (self, other)
        ]
        if places[0] != places[1]:
            raise UsageError(
                "one entry cannot name shards in places of several kinds",
                path="storage",
                expected=f"shards as those before: {self.KIND.rpartition('.')[2]} {', '.join(sorted(places[0][1]))}",
                actual=f"{other.KIND.rpartition('.')[2]} {', '.join(sorted(places[1][1]))}",
                hint="Copy the new shards to where the others are: give the index that data store.",
            )
        return replace(self, listed=(*self.listed, *other.listed))  # type: ignore[type-var]

    def public(self, shard: ShardRef) -> ShardRef:
        """A shard where anyone reads it, without credentials."""
        match scheme_of(shard.url):
            case "s3":
                return replace(shard, url=public_url(*split_s3_url(shard.url), self.endpoint, self.region))
            case "gs":
                return replace(shard, url=public_gs_url(shard.url))
        return shard


@dataclass(frozen=True)
class BlobStorage(Storage):
    """Shards kept as blobs in the publisher's repository."""

    KIND = "science.alt.dataset.storageBlobs"
    listed: tuple[Blob, ...]

    def to_record(self) -> dict[str, Any]:
        """See `Storage`."""
        blobs = [{"blob": b.to_record(), "checksum": Digest.of_cid(b.cid).checksum} for b in self.listed]
        return {"$type": self.KIND, "blobs": blobs}

    def shards(self, did: str | None, /) -> tuple[ShardRef, ...]:
        """The shards, at `at://{did}/blob/{cid}`."""
        if did is None:
            raise NotFoundError(
                "the blobs of an entry have no address before it is published", hint="Publish it first."
            )
        return tuple(ShardRef(str(BlobUri.of(did, b.cid)), Digest.of_cid(b.cid), b.size) for b in self.listed)

    @classmethod
    def _read(cls, value: dict[str, Any]) -> BlobStorage:
        return cls(tuple(_read_blob(item, f"storage.blobs[{n}]") for n, item in enumerate(_list(value, "blobs"))))


@dataclass(frozen=True)
class HttpStorage(Storage):
    """Shards at http or https URLs, each with what is known of it."""

    KIND = "science.alt.dataset.storageHttp"
    listed: tuple[ShardRef, ...]

    def to_record(self) -> dict[str, Any]:
        """See `Storage`."""
        return {
            "$type": self.KIND,
            "shards": [{"url": shard.url, "checksum": _checksum(shard)} for shard in self.listed],
        }

    def shards(self, _did: str | None, /) -> tuple[ShardRef, ...]:
        """See `Storage`."""
        return self.listed

    @classmethod
    def _read(cls, value: dict[str, Any]) -> HttpStorage:
        return cls(tuple(_read_shard(item, "url", "") for item in _list(value, "shards")))


@dataclass(frozen=True)
class S3Storage(Storage):
    """Shards in one bucket. Their references have `s3://bucket/key` as URL."""

    KIND = "science.alt.dataset.storageS3"
    bucket: str
    listed: tuple[ShardRef, ...]
    region: str | None = None
    endpoint: str | None = None

    def to_record(self) -> dict[str, Any]:
        """See `Storage`."""
        prefix = f"s3://{self.bucket}/"
        place = {name: item for name, item in (("region", self.region), ("endpoint", self.endpoint)) if item}
        shards = [{"key": shard.url.removeprefix(prefix), "checksum": _checksum(shard)} for shard in self.listed]
        return {"$type": self.KIND, "bucket": self.bucket, **place, "shards": shards}

    def shards(self, _did: str | None, /) -> tuple[ShardRef, ...]:
        """See `Storage`."""
        return self.listed

    @classmethod
    def _read(cls, value: dict[str, Any]) -> S3Storage:
        bucket = value["bucket"]
        listed = tuple(_read_shard(item, "key", f"s3://{bucket}/") for item in _list(value, "shards"))
        return cls(bucket, listed, value.get("region"), value.get("endpoint"))


@dataclass(frozen=True)
class ExternalStorage(Storage):
    """URLs as somebody gave them, in brace notation or not; nothing about their bytes is known."""

    KIND = "science.alt.dataset.storageExternal"
    listed: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """See `Storage`."""
        return {"$type": self.KIND, "urls": list(self.listed)}

    def shards(self, _did: str | None, /) -> tuple[ShardRef, ...]:
        """The shards the URLs stand for.

        Raises:
            LimitError: they are more than a record may name.
        """
        from atdata.shards.braces import MAX_LISTED, names_in

        return tuple(ShardRef(url) for url in names_in(self.listed, MAX_LISTED))

    @classmethod
    def _read(cls, value: dict[str, Any]) -> ExternalStorage:
        urls = _list(value, "urls")
        if not all(isinstance(url, str) for url in urls):
            raise _unreadable("a list of URLs", "storage.urls", urls)
        return cls(tuple(urls))


@dataclass(frozen=True)
class UnknownStorage(Storage):
    """A kind of storage that this version does not know; kept as it came."""

    KIND = "unknown"
    value: Mapping[str, Any]

    def to_record(self) -> dict[str, Any]:
        """See `Storage`."""
        return dict(self.value)

    def shards(self, _did: str | None, /) -> tuple[ShardRef, ...]:
        """Refuse: none can be named.

        Raises:
            LexiconError: always; it names the kind.
        """
        raise LexiconError(
            "the shards are stored in a way that this version does not know",
            path="storage.$type",
            actual=str(self.value.get("$type"))[:200],
            hint="A newer version of atdata may read it.",
        )

    @classmethod
    def _read(cls, value: dict[str, Any]) -> UnknownStorage:
        return cls(value)


_KINDS: dict[str, type[Storage]] = {kind.KIND: kind for kind in (BlobStorage, HttpStorage, S3Storage, ExternalStorage)}


def read_storage(value: dict[str, Any]) -> Storage:
    """The storage of an entry that is valid today.

    Raises:
        LexiconError: it is of a known kind but malformed.
    """
    return _KINDS.get(value["$type"], UnknownStorage)._read(value)


Opener: TypeAlias = Callable[[tuple[ShardRef, ...]], DataSource]
"""Makes the source of shards at addresses of one kind."""


def open_storage(storage: Storage, shards: Sequence[ShardRef], openers: Mapping[str, Opener]) -> DataSource:
    """The source of some shards of a storage.

    A record never selects a credential (promises.md 4): shards at addresses for which the caller gives no opener are
    read where anyone reads them.

    Args:
        storage: that they are in.
        shards: some of them.
        openers: for each scheme of addresses that may be read.

    Raises:
        UsageError: they are in places of several kinds, or of one that may not be read.
    """
    placed = tuple(shard if scheme_of(shard.url) in openers else storage.public(shard) for shard in shards)
    schemes = {scheme_of(shard.url) for shard in placed} or set(openers)
    kinds = {openers.get(scheme) for scheme in schemes}
    opener = kinds.pop() if len(kinds) == 1 or not placed else None
    if opener is None:
        raise UsageError(
            "the shards are in places of several kinds, or of one that cannot be read here",
            expected=" or ".join(f"{scheme}://" for scheme in openers),
            actual=", ".join(f"{scheme}://" for scheme in sorted(schemes))[:200],
        )
    return opener(placed)


def storage_of(shards: Sequence[ShardRef], source: DataSource | None = None) -> Storage:
    """The storage that says the most about some shards: with digests where every shard has one.

    Args:
        shards: at addresses.
        source: reads them; it knows on which server they are.
    """
    shards = tuple(shards)
    schemes = {scheme_of(shard.url) for shard in shards}
    if all(shard.digest for shard in shards):
        if schemes == {"at"}:
            return BlobStorage(tuple(Blob(shard.digest.cid, size=shard.size) for shard in shards if shard.digest))
        if schemes <= {"http", "https"} or (len(schemes) == 1 and not schemes & {"s3", "gs"}):
            return HttpStorage(shards)
        buckets = {split_s3_url(shard.url)[0] for shard in shards if schemes == {"s3"}}
        if len(buckets) == 1:
            from atdata.shards.s3 import S3Source

            place = (
                (source.region, source.endpoint_url or configured_endpoint()) if isinstance(source, S3Source) else ()
            )
            return S3Storage(buckets.pop(), shards, *place)
    return ExternalStorage(tuple(shard.url for shard in shards))


def check_digests(storage: Storage) -> None:
    """Refuse to write a placeholder where readers look for a digest.

    Raises:
        DigestError: a shard has none.
    """
    for shard in storage.listed if isinstance(storage, HttpStorage | S3Storage) else ():
        if shard.digest is None:
            raise DigestError(
                "a shard without a digest cannot stand in this record", uri=shard.url, step="shard digest"
            )


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
            "a blob's checksum is not that of its CID",
            step="shard digest",
            path=path,
            expected=Digest.of_cid(blob.cid),
            actual=digest,
        )
    return blob


def _read_shard(item: dict[str, Any], name: str, prefix: str) -> ShardRef:
    return ShardRef(prefix + item[name], Digest.of_checksum(item.get("checksum")))


def _unreadable(what: str, path: str, actual: object) -> LexiconError:
    return LexiconError(f"{what} cannot be read", path=path, actual=reprlib.repr(actual))


def _checksum(shard: ShardRef) -> dict[str, str]:
    return shard.digest.checksum if shard.digest else dict(PLACEHOLDER)
