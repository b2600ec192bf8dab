"""`AtmosphereIndex`: the network as an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.manifests import beside, carried, manifest_watch
from atdata.atmosphere.publishing import blob_facts, publish
from atdata.atproto.syntax import RecordKey
from atdata.dataset import Dataset
from atdata.errors import UsageError
from atdata.index import UPDATE, RecordIndex, check_uncut
from atdata.protocols import AbstractDataStore, DataSource
from atdata.records import Entry, Size
from atdata.records.address import name_and_version
from atdata.records.facts import Facts, warn_of_not_taken
from atdata.records.record import check_named
from atdata.records.storage import storage_in
from atdata.shards import FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.proving import proved_shards


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
        digests: bool | None = None,
    ) -> Entry:
        """Publish a dataset under a name: its schema where need be, its shards to the data store, entry and label.

        Publishing the same again is no second record, and a run that was interrupted is taken up by the next. The first
        entry stands; where other facts are said of it a `NotTakenWarning` names them: `update_dataset` changes them.

        Args:
            dataset: what to publish.
            name: what to call it; `@handle/name` finds it.
            schema_ref: the schema record; by default the dataset's own type is published.
            version: of the name, such as `1.0.0`; a published version never changes. Without one a name that has
                versions gets the next patch, since it stands for its newest.
            schema_version: the version to publish its own type under.
            description: what it holds.
            tags: words to find it by.
            license: SPDX expression or URL.
            metadata: anything else, as msgpack can hold it.
            prefix: what the data store, where it names any, calls the shards; the name by default.
            rkey: a record key of the caller's choice.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.
            manifests: whether the entry lists a manifest of each shard, so that readers find and check single samples.
                By default it does if pyarrow is installed and they fit into the record, or, for shards at URLs, if each
                has one beside it that anyone can read. `True` insists, `False` leaves them out.
            digests: whether to read shards at URLs whose digest is not known, so that whoever loads them can check them;
                by default they are listed without one.

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
        check_named(name, version)
        said, key = Facts.of(description, tags, license, metadata).said, None if rkey is None else RecordKey(rkey)
        schema = self.schema_for(dataset, schema_ref, schema_version)
        uploads: Sequence[ShardRef] = ()
        files: Sequence[DataSource] = ()
        if isinstance(self.data_store, PDSBlobStore):
            watch = manifest_watch(dataset.sample_type, schema, manifests)
            uploads = self.data_store.cut(dataset, maxcount=maxcount, maxsize=maxsize, watch=watch)
            files = carried(uploads, self.records.blob_limit, manifests)
            stored = blob_facts(uploads)
        else:
            source, cache = dataset.source, ShardCache(self.records.settings.cache)
            if self.data_store is None:
                check_uncut(maxcount, maxsize)
            else:
                prefix = name if prefix is None else prefix
                urls = self.data_store.write_shards(dataset, prefix=prefix, maxcount=maxcount, maxsize=maxsize)
                source = self.data_store.create_source(urls)
            shards = list(proved_shards(source, source.shards, cache)) if digests else source.shards
            files = beside(source, shards, cache, manifests)
            stored = {"storage": storage_in(source, shards), "size": Size(shards=len(shards))}
        entry = Entry(name=name, schema_ref=schema.located, **said, **stored)
        stands = publish(
            self.records, entry, uploads=uploads, files=files, manifests=manifests, version=version, rkey=key
        )
        warn_of_not_taken(stands, said, UPDATE)
        return stands

    def get_dataset(self, ref: str) -> Entry:
        """The entry at an address, or of a name: `@handle/name[@version]`, or `name[@version]` of one's own.

        Raises:
            NotFoundError: there is none.
        """
        if ref.startswith("at://"):
            return self.records.read(ref, Entry)
        owner, _, name = ref[1:].partition("/") if ref.startswith("@") else (None, "", ref)
        return self.records.read(self.get_label(*name_and_version(name), owner).dataset_uri, Entry)
