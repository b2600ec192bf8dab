"""Shards as blobs of a PDS: written with `PDSBlobStore`, read with `BlobSource`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.evidence import reader_of
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import BlobUri
from atdata.dataset import Dataset
from atdata.dataset.stored import is_whole, keeps_shards, packed_by_shard, stored_decoder
from atdata.dataset.stores import ShardStore
from atdata.dataset.view import of_shards
from atdata.errors import LexiconError, LimitError, ShardNotFoundError, UsageError, XrpcError
from atdata.files import atomic_file, write_all
from atdata.manifest import discard_shard, manifest_paths
from atdata.progress import Progress, progress
from atdata.records import Blob
from atdata.records.storage import TAR, Opener
from atdata.settings import Settings
from atdata.shards import Digest, FileSource, Limits, ShardRef, cut_shards
from atdata.shards.cache import ShardCache
from atdata.shards.digest import CHUNK
from atdata.shards.http import HttpSource
from atdata.shards.index import SampleMembers
from atdata.shards.planned import PlannedShard
from atdata.shards.rows import scan_rows
from atdata.shards.writer import Observer, SampleRow
from atdata.transport.download import Download


@dataclass(frozen=True)
class BlobSource:
    """Shards that are blobs on their owners' servers. Each is verified by its CID.

    Attributes:
        shards: references whose `url` is `at://{did}/blob/{cid}`.
        settings: how owners are found.
        trusted_origins: servers that the caller spelled out.
    """

    shards: tuple[ShardRef, ...]
    settings: Settings = field(default_factory=Settings.of)
    trusted_origins: frozenset[str] = frozenset()

    @classmethod
    def from_refs(cls, refs: Iterable[Mapping[str, str]], **settings: Any) -> Self:
        """The blobs `{"did": ..., "cid": ...}`.

        Args:
            refs: in order.
            settings: arguments of `Settings.of`.

        Raises:
            IdentifierError: a DID or CID is none.
        """
        return cls.from_urls([BlobUri.of(ref["did"], ref["cid"]) for ref in refs], Settings.of(**settings))

    @classmethod
    def from_urls(
        cls, urls: Iterable[str], settings: Settings | None = None, trusted_origins: frozenset[str] = frozenset()
    ) -> Self:
        """The blobs at `at://{did}/blob/{cid}` addresses.

        Raises:
            IdentifierError: an address is none.
        """
        uris = [BlobUri(url) for url in urls]
        shards = tuple(ShardRef(str(uri), Digest.of_cid(Cid.parse(uri.cid))) for uri in uris)
        return cls(shards, settings or Settings.of(), trusted_origins)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the blob's bytes from `offset` on, from its owner's own server.

        Raises:
            ShardNotFoundError: the server does not give it out.
            IdentityError: its owner cannot be found.
            NetworkError: the server cannot be reached.
        """
        uri = BlobUri(shard.url)
        reader = reader_of(self.settings, self.trusted_origins)
        url = blob_url(reader.identity(uri.did).pds, uri)
        try:
            return cast(BinaryIO, Download(reader.transport, url, offset))
        except (XrpcError, ShardNotFoundError) as error:
            if isinstance(error, XrpcError) and error.status != 400:
                raise
            raise ShardNotFoundError(
                "its owner's server does not give out this blob",
                uri=uri,
                actual=error.what,
                hint="No record names it yet, or no longer: a server keeps a blob only while a record of its owner does.",
            ) from error


def blob_url(server: str, uri: BlobUri) -> str:
    """The URL at which plain HTTP reads a blob."""
    return f"{server}/xrpc/com.atproto.sync.getBlob?did={uri.did}&cid={uri.cid}"


class PDSBlobStore(ShardStore):
    """Keeps shards as blobs of the account's own repository.

    A server gives out a blob only while a record names it; until then what was written here is read from the cache
    of this machine.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self.client = client
        self._cache = ShardCache(client.settings.cache)

    def plan(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str = "",  # noqa: ARG002  a blob's address is its content alone
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> list[PlannedShard]:
        """Write a dataset's samples to the cache as shards that the server takes; see `ShardStore`.

        Samples are packed anew, so equal samples give equal shards whoever wrote them first. Shards whose samples are one
        file a field are taken as they are, unless they are too large.
        """
        limit = self.client.blob_limit
        limits = Limits.of(maxcount, limit if maxsize is None else min(maxsize, limit))
        groups: Iterator[Iterator[SampleRow]] = packed_by_shard(dataset.view)
        numbered = (maxcount, maxsize) == (None, None) and keeps_shards(dataset.view)
        if maxcount is not None or maxsize is not None:
            groups = iter([itertools.chain.from_iterable(groups)])
        shards: list[PlannedShard] = []
        whole = numbered and is_whole(dataset.view)
        for number, rows in enumerate(groups):
            if whole and (first := next(rows, None)) is not None:
                rows = itertools.chain([first], rows)
                in_files = isinstance(first[1], SampleMembers)
                if in_files and (kept := self._whole(dataset, number, limit, observer)) is not None:
                    shards.append(self._planned(kept, number))
                    continue
            for shard in cut_shards(rows, limits, lambda _: self._cache.scratch(), observer):
                if shard.samples:
                    shards.append(self._planned(self.take(shard), number if numbered else None))
                else:
                    discard_shard(Path(shard.url))
        if not shards:
            raise UsageError("a dataset without samples cannot be published")
        return shards

    def upload(self, planned: Sequence[PlannedShard]) -> list[ShardRef]:
        """Upload what `plan` gave.

        Raises:
            LimitError: one is larger than a blob may be.
            LexiconError: the server takes one for another kind of file.
            NetworkError: the server does not take one.
        """
        with progress("Uploading", sum(shard.length for shard in planned)) as bars:
            for number, shard in enumerate(planned, 1):
                self.send(shard.origin, TAR, bars, f"shard {number} of {len(planned)}")
        return [shard.stored(None) for shard in planned]

    def send(self, shard: ShardRef, mime_type: str, bars: Progress, title: str, *, insist: bool = True) -> Blob:
        """Upload the file of one shard that `plan` gave, or of its manifest.

        Args:
            shard: the file.
            mime_type: what it is.
            bars: are told how far it is.
            title: what they call it.
            insist: whether the server, which looks for itself, must take it for that.

        Raises:
            LimitError: it is larger than a blob may be.
            LexiconError: the server takes it for another kind of file.
            NetworkError: the server does not take it.
        """
        size, path = shard.size or 0, Path(shard.url)
        if size > self.client.blob_limit:
            raise LimitError(
                "a shard is larger than a blob may be", uri=shard.url, expected=self.client.blob_limit, actual=size
            )
        bars.begin(title, size)
        blob = self.client.upload(partial(_pieces, path, bars), _digest(shard).cid, size, mime_type)
        return check_taken(blob, mime_type, shard.url) if insist else blob

    def _whole(self, dataset: Dataset[Any], number: int, limit: int, observer: Observer | None) -> ShardRef | None:
        """A shard of a dataset as it is, in the cache; `None` where it is too large for a blob."""
        view, scratch = of_shards(dataset.view), self._cache.scratch()
        opened = view.table.shards.open(number)
        if opened.size > limit:
            return None
        decode, where = stored_decoder(view.stored_type, view.layout), opened.ref.url
        opened.file.seek(0)
        with atomic_file(scratch) as file:
            while piece := opened.file.read(CHUNK):
                write_all(file, piece, scratch)
        size = scratch.stat().st_size
        copied = ShardRef(str(scratch), Digest.of_file(scratch), size)
        with scratch.open("rb") as file, nullcontext() if observer is None else observer(scratch) as observing:
            samples = 0
            for stored in scan_rows(file, size, where):
                data = stored.read(file, where)
                sample = decode(data)
                samples += 1
                if observing is not None:
                    observing.observe(stored.key, stored.offset, data, sample)
            copied = replace(copied, samples=samples)
            if observing is not None:
                observing.finish(copied)
        return self.take(copied)

    def _planned(self, kept: ShardRef, part_of: int | None) -> PlannedShard:
        facts = str(self.address(kept)), kept.digest, kept.size, kept.samples, kept.manifest
        return PlannedShard(*facts, source=FileSource((kept,)), origin=kept, part_of=part_of)

    def address(self, shard: ShardRef) -> BlobUri:
        """The address of a shard in the account's repository."""
        return BlobUri.of(self.client.did, _digest(shard).cid)

    def read_url(self, url: str) -> str:
        """The URL at which plain HTTP reads the blob at an `at://{did}/blob/{cid}` address."""
        uri = BlobUri(url)
        return blob_url(self.client.reader.identity(uri.did).pds, uri)

    def create_source(self, urls: Sequence[str]) -> BlobSource:
        """The source that reads shards from the addresses `write_shards` gave, or an entry lists."""
        return BlobSource.from_urls(urls, self.client.settings, self.client.trusted_origins)

    def take(self, shard: ShardRef) -> ShardRef:
        """Move a fresh shard, and the manifest beside it, to their places in the cache; the reference carries it."""
        path, digest = Path(shard.url), _digest(shard)
        beside = [file for file in manifest_paths(path) if file.is_file()]
        manifest = FileSource(tuple(self._cache.add_file(file) for file in beside)) if beside else None
        self._cache.add(path, digest)
        return ShardRef(str(self._cache.path(digest)), digest, shard.size, shard.samples, manifest)


def public_openers(client: AtmosphereClient) -> dict[str, Opener]:
    """The openers of shards as anyone reads them, for `open_storage`: no credentials."""
    http = partial(HttpSource, transport=client.reader.transport)
    blobs = partial(BlobSource, settings=client.settings, trusted_origins=client.trusted_origins)
    return {"https": http, "http": http, "at": blobs}


def check_taken(blob: Blob, mime_type: str, uri: str) -> Blob:
    """A blob that the server takes for what it is: of another no record can name it (pds-facts.md, Blobs).

    Raises:
        LexiconError: it takes it for something else.
    """
    if blob.mime_type == mime_type:
        return blob
    raise LexiconError(
        "the server detects a type of file that no record may name",
        uri=uri,
        expected=mime_type,
        actual=blob.mime_type,
        hint="It goes by the first bytes: of a shard the key of the first sample, so change that (BM is a bitmap)."
        if mime_type == TAR
        else "Leave manifests= to its default: then those are published that the server takes.",
    )


def _digest(shard: ShardRef) -> Digest:
    if shard.digest is None:
        raise UsageError("a shard without a digest cannot become a blob", actual=shard.url)
    return shard.digest


def _pieces(path: Path, bars: Progress) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
            bars.advance(len(piece))
