"""Entry records: `DatasetPublisher` and `DatasetLoader`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, TypeVar, Unpack

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atmosphere.manifests import manifest_observer
from atdata.atmosphere.opening import datasets_of
from atdata.atmosphere.publishing import Packed, publish
from atdata.atmosphere.trust import GivenPolicy
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.dataset import Dataset
from atdata.dataset.stored import stored_decoder
from atdata.errors import LimitError, UsageError
from atdata.files import atomic_file, write_all
from atdata.index.publication import Publication
from atdata.index.storage import StoragePlan
from atdata.records import BlobStorage, Entry, ExternalStorage, Listing, Schema, Size
from atdata.records.facts import Facts, SaidFacts
from atdata.records.storage import TAR
from atdata.shards import Digest, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.ports import DataSource
from atdata.shards.rows import scan_rows
from atdata.shards.writer import Observer

T = TypeVar("T")


class DatasetPublisher:
    """Publishes dataset entries under the client's account.

    Each method takes `version=` for the label that `@handle/name@version` finds; a published version never changes.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self.client = client

    def publish(
        self,
        dataset: Dataset[Any],
        *,
        name: str,
        schema_uri: str | None = None,
        auto_publish_schema: bool = True,
        schema_version: str = "1.0.0",
        rkey: str | None = None,
        version: str | None = None,
        manifests: bool | None = None,
        **facts: Unpack[SaidFacts],
    ) -> AtUri:
        """Publish an entry for a dataset whose shards are at public URLs already.

        Args:
            dataset: the dataset; its URLs are published as they are.
            name: what to call it.
            schema_uri: the schema record.
            auto_publish_schema: publish the dataset's own type where no schema is given.
            schema_version: the version to publish it under.
            rkey: a record key of the caller's choice.
            version: of the name.
            manifests: whether the entry lists a manifest of each shard; see `AtmosphereIndex.insert_dataset`.
            facts: description, tags, license, metadata; see `atdata.records.facts.SaidFacts`.

        Raises:
            UsageError (ValueError): no schema is given and none may be published, or the shards are files of this
                machine.
        """
        if schema_uri is None and not auto_publish_schema:
            raise UsageError("a dataset needs a schema", hint="Give schema_uri=, or let auto_publish_schema stay True.")
        entry = AtmosphereIndex(self.client).insert_dataset(
            dataset,
            name=name,
            schema_ref=schema_uri,
            schema_version=schema_version,
            version=version,
            rkey=rkey,
            manifests=manifests,
            **facts,
        )
        return entry.located

    def publish_with_urls(
        self,
        urls: Sequence[str],
        schema_uri: str,
        *,
        name: str,
        rkey: str | None = None,
        version: str | None = None,
        **facts: Unpack[SaidFacts],
    ) -> AtUri:
        """Publish an entry for shards at URLs that nobody here has read: openly without digests.

        Who loads it must say `allow_unverified=True`.

        Args:
            urls: `https://` or `s3://`, in brace notation or not.
            schema_uri: the schema record.
            name: what to call it.
            rkey: a record key of the caller's choice.
            version: of the name.
            facts: as of `publish`.

        Raises:
            UsageError: a URL that must not be public, or that strangers cannot read.
        """
        if isinstance(urls, str) or not urls or not all(isinstance(url, str) for url in urls):
            raise UsageError("urls must be a list of URLs", path="urls", actual=repr(urls)[:80])
        storage = ExternalStorage(tuple(urls))
        shards = storage.shards(None)
        packed = Packed(StoragePlan(shards, storage, Size.of(shards)))
        return self._publish(packed, self.client.read(schema_uri, Schema), name, version, rkey, None, facts)

    def publish_with_blobs(
        self,
        blobs: Sequence[bytes],
        schema_uri: str,
        *,
        name: str,
        mime_type: str = TAR,
        rkey: str | None = None,
        version: str | None = None,
        manifests: bool | None = None,
        **facts: Unpack[SaidFacts],
    ) -> AtUri:
        """Publish an entry whose shards are given as bytes and become blobs, exactly as they are.

        Args:
            blobs: tar shards; each is read through before anything is sent.
            schema_uri: the schema record.
            name: what to call it.
            mime_type: `application/x-tar`; the lexicon knows no other.
            rkey: a record key of the caller's choice.
            version: of the name.
            manifests: whether the entry lists a manifest of each shard; see `AtmosphereIndex.insert_dataset`.
            facts: as of `publish`.

        Raises:
            ShardError, SampleError: a blob is no shard of such samples.
            LimitError: a blob is larger than the server takes.
        """
        if mime_type != TAR:
            raise UsageError("mime_type must be that of a tar file", path="mime_type", expected=TAR, actual=mime_type)
        given: Any = blobs
        if isinstance(given, bytes) or not given or not all(isinstance(blob, bytes) for blob in given):
            raise UsageError("blobs must be a list of shards as bytes", path="blobs", actual=repr(blobs)[:80])
        schema = self.client.read(schema_uri, Schema)
        observer = manifest_observer(schema.sample_type, schema, manifests)
        shards = [self._keep(blob, schema, f"blobs[{index}]", observer) for index, blob in enumerate(blobs)]
        packed = Packed.of_blobs(shards, self.client.blob_limit, manifests, {})
        return self._publish(packed, schema, name, version, rkey, manifests, facts)

    def _publish(
        self,
        packed: Packed,
        schema: Schema,
        name: str,
        version: str | None,
        rkey: str | None,
        manifests: bool | None,
        facts: SaidFacts,
    ) -> AtUri:
        key = None if rkey is None else RecordKey(rkey)
        said = Facts.of(**facts)
        publication = Publication(name=name, version=version, rkey=key, manifests=manifests, facts=said)
        return publish(self.client, publication, lambda _: packed, schema=schema).located

    def _keep(self, blob: bytes, schema: Schema, where: str, observer: Observer | None) -> ShardRef:
        """Read a shard through, and put it where an upload can be repeated from."""
        if len(blob) > self.client.blob_limit:
            raise LimitError(
                "a shard is larger than a blob may be", path=where, expected=self.client.blob_limit, actual=len(blob)
            )
        samples, digest = 0, Digest.sha256(blob)
        scratch = ShardCache(self.client.settings.cache).scratch()
        with nullcontext() if observer is None else observer(scratch) as observing:
            archive, decode = io.BytesIO(blob), stored_decoder(schema.sample_type, None)
            for stored in scan_rows(archive, len(blob), where):
                data = stored.read(archive, where)
                sample = decode(data)
                samples += 1
                if observing is not None:
                    observing.observe(stored.key, stored.offset, data, sample)
            with atomic_file(scratch) as file:
                write_all(file, blob, scratch)
            if observing is not None:
                observing.finish(ShardRef(str(scratch), digest, len(blob), samples))
        return PDSBlobStore(self.client).take(ShardRef(str(scratch), digest, len(blob), samples))


class DatasetLoader:
    """Reads dataset entries of anybody's; each is verified."""

    def __init__(self, client: AtmosphereClient) -> None:
        self.client = client

    def get(self, uri: str) -> Entry:
        """The entry at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: a link to it broke.
        """
        return self.client.read(uri, Entry)

    def list_all(self, repo: str | None = None, limit: int | None = None) -> Listing[Entry]:
        """Entries of a DID or handle, newest first; the client's own by default."""
        return self.client.records.read_all(repo, Entry, limit)

    def get_storage_type(self, uri: str) -> Literal["blobs", "external"]:
        """True if the shards are blobs of the publisher's repository, or elsewhere."""
        return "blobs" if isinstance(self.get(uri).storage, BlobStorage) else "external"

    def get_urls(self, uri: str) -> list[str]:
        """The addresses of the shards as the record gives them: brace notation is not expanded."""
        entry = self.get(uri)
        return list(entry.storage.listed) if isinstance(entry.storage, ExternalStorage) else entry.data_urls

    def get_blob_urls(self, uri: str) -> list[str]:
        """The `at://{did}/blob/{cid}` addresses of the shards; the same as the entry's `data_urls`.

        Raises:
            UsageError: the shards are not blobs.
        """
        entry = self.get(uri)
        if not isinstance(entry.storage, BlobStorage):
            raise UsageError("the shards of this entry are not blobs", actual=uri, hint="Use get_urls(uri).")
        return entry.data_urls

    def get_metadata(self, uri: str) -> dict[str, Any]:
        """The publisher's metadata, unpacked."""
        return dict(self.get(uri).metadata)

    def to_dataset(
        self,
        uri: str,
        sample_type: type[T],
        *,
        split: str | None = None,
        allow_unverified: bool = False,
        source: DataSource | None = None,
        manifests: bool = True,
        policy: GivenPolicy = None,
    ) -> Dataset[T]:
        """The dataset of an entry, every shard checked against its digest before its first sample.

        Args:
            uri: the entry.
            sample_type: what to read its samples as.
            split: one of its splits; by default all its shards.
            allow_unverified: accept shards that the record gives no digest for.
            source: a store of the caller's to read the shards from, in their order, with its own credentials.
            manifests: whether to use those that the entry lists; without them every shard is read whole.
            policy: a trust policy, or the path of its file; by default that of the settings.

        Raises:
            PolicyError: the policy refuses.
            UnverifiedError: there is a shard without a digest.
        """
        entry = self.get(uri)
        shards = entry.splits[split] if split else entry.shards
        wanted = {"": shards}
        return datasets_of(self.client, entry, sample_type, wanted, allow_unverified, source, manifests, policy)[""]
