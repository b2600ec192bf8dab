"""`AtmosphereIndex`: the network as an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.manifests import beside, carried, manifest_watch
from atdata.atmosphere.publishing import blob_facts, publish
from atdata.dataset import Dataset
from atdata.errors import UsageError
from atdata.index import RecordIndex
from atdata.protocols import AbstractDataStore, DataSource
from atdata.records import Entry, Size
from atdata.records.storage import storage_in
from atdata.shards import FileSource, ShardRef
from atdata.shards.cache import ShardCache


class AtmosphereIndex(RecordIndex[AtmosphereClient]):
    """Datasets and schemas on the AT Protocol: one's own to write, anybody's to read; all that is read is verified.

    Args:
        client: logged in, where anything is written or one's own is listed.
        data_store: where shards go; `PDSBlobStore(client)` keeps them in the account's own repository.
    """

    def __init__(self, client: AtmosphereClient, data_store: AbstractDataStore | None = None) -> None:
        super().__init__(client, data_store)

    def insert_dataset(
        self,
        dataset: Dataset[Any],
        *,
        name: str,
        schema_ref: str | None = None,
        version: str | None = None,
        schema_version: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        license: str | None = None,  # noqa: A002  the field's own word
        metadata: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        rkey: str | None = None,
        maxcount: int | None = None,
        maxsize: float | None = None,
        manifests: bool | None = None,
        **_facts: Any,
    ) -> Entry:
        """Publish a dataset under a name: its schema where need be, its shards to the data store, entry and label.

        Publishing the same again is no second record, and a run that was interrupted is taken up by the next.

        Args:
            dataset: what to publish.
            name: what to call it; `@handle/name` finds it.
            schema_ref: the schema record; by default the dataset's own type is published.
            version: of the name, such as `1.0.0`; a published version never changes.
            schema_version: the version to publish its own type under.
            description: what it holds.
            tags: words to find it by.
            license: SPDX expression or URL.
            metadata: anything else, as msgpack can hold it.
            prefix: what the data store calls the shards.
            rkey: a record key of the caller's choice.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.
            manifests: whether the entry lists a manifest of each shard, so that readers find and check single samples.
                By default it does if pyarrow is installed and they fit into the record, or, for shards at URLs, if each
                has one beside it that anyone can read. `True` insists, `False` leaves them out.

        Raises:
            UsageError: the shards are on this machine and there is no data store.
            MissingExtraError: manifests are insisted on, and pyarrow is not installed.
            ConflictError, LimitError, NetworkError: see `atdata.atmosphere.publishing.publish`.
        """
        if self.data_store is None and isinstance(dataset.source, FileSource):
            raise UsageError(
                "the shards are files of this machine, which nobody else can read",
                actual=name,
                hint="Give the index a store: AtmosphereIndex(client, data_store=PDSBlobStore(client)).",
            )
        schema = self.schema_for(dataset, schema_ref, schema_version)
        uploads: Sequence[ShardRef] = ()
        files: Sequence[DataSource] = ()
        if isinstance(self.data_store, PDSBlobStore):
            watch = manifest_watch(dataset.sample_type, schema, manifests)
            uploads = self.data_store.cut(dataset, maxcount=maxcount, maxsize=maxsize, watch=watch)
            files = carried(uploads, self.records.blob_limit, manifests)
            stored = blob_facts(uploads)
        else:
            source = dataset.source
            if self.data_store is not None:
                urls = self.data_store.write_shards(dataset, prefix=prefix or name, maxcount=maxcount, maxsize=maxsize)
                source = self.data_store.create_source(urls)
            files = beside(source, source.shards, ShardCache(self.records.settings.cache), manifests)
            stored = {"storage": storage_in(source, source.shards), "size": Size(shards=len(source.shards))}
        entry = Entry(
            name=name,
            schema_ref=schema.located,
            description=description,
            tags=tuple(tags or ()),
            license=license,
            metadata=dict(metadata or {}),
            **stored,
        )
        return publish(
            self.records, entry, uploads=uploads, files=files, manifests=manifests, version=version, rkey=rkey
        )
