"""`AtmosphereIndex`: the network as an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from atdata.arguments import checked_text, checked_type
from atdata.atmosphere.client import AtmosphereClient, checked_client
from atdata.atmosphere.manifests import find_manifests, manifest_observer
from atdata.atmosphere.opening import datasets_of
from atdata.atmosphere.publishing import Packed, publish, sending
from atdata.atmosphere.records import AccountRecords
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import RecordKey
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.stores import AbstractDataStore
from atdata.dataset.view import of_shards
from atdata.errors import UsageError
from atdata.index import RecordIndex, choose_schema, entry_of, once
from atdata.index.appending import Sending
from atdata.index.deciding import Decision
from atdata.index.publication import Publication
from atdata.index.storage import planned_storage
from atdata.records import BlobStorage, Entry, LensRecord, Record, Schema
from atdata.records.address import named_publicly
from atdata.shards import FileSource
from atdata.shards.cache import ShardCache

if TYPE_CHECKING:
    import typing_extensions

    T = typing_extensions.TypeVar("T", default=Any)  # the type that a schema describes, where none is said
else:
    T = TypeVar("T")
R = TypeVar("R", bound=Record)


class AtmosphereIndex(RecordIndex[AccountRecords]):
    """Datasets and schemas on the AT Protocol: one's own to write, anybody's to read; all that is read is verified.

    Args:
        client: logged in, where anything is written or one's own is listed.
        data_store: where shards go; `PDSBlobStore(client)` keeps them in the account's own repository.
    """

    def __init__(self, client: AtmosphereClient, data_store: AbstractDataStore | None = None) -> None:
        super().__init__(checked_client(client).records, data_store)
        self.client, self.settings = client, client.settings

    def _insert(self, dataset: Dataset[Any], publication: Publication) -> Entry:
        self._check_reachable(dataset, publication)
        version, choose = publication.schema_version, None
        if publication.schema_ref is None:
            draft = self.draft_schema(dataset, version)
            choose = partial(choose_schema, draft=draft, version=version)
        else:
            draft = self.schema_for(dataset, publication.schema_ref)
        with ExitStack() as plans:
            pack = partial(self._packed, dataset, publication, plans)
            return publish(self.client, publication, pack, schema=draft, choose=choose)

    def _check_reachable(self, dataset: Dataset[Any], publication: Publication) -> None:
        if self.data_store is None and isinstance(of_shards(dataset.view).source, FileSource):
            raise UsageError(
                "the shards are files of this machine, which nobody else can read",
                actual=publication.name,
                hint="Give the index a store: AtmosphereIndex(client, data_store=PDSBlobStore(client)).",
            )

    def _packed(self, dataset: Dataset[Any], publication: Publication, plans: ExitStack, schema: Schema) -> Packed:
        store, manifests, cache = self.data_store, publication.manifests, self.client.settings.cache
        observer = None if store is None else manifest_observer(dataset.sample_type, schema, manifests)
        digests = bool(publication.digests)
        plan = plans.enter_context(
            planned_storage(dataset, publication, store, cache, digests=digests, observer=observer)
        )
        if isinstance(plan.storage, BlobStorage):
            blobs = [shard.origin for shard in plan.planned]
            return Packed.of_blobs(blobs, self.client.blob_limit, manifests, plan.layout)

        source = (
            of_shards(dataset.view).source
            if store is None
            else store.create_source([shard.url for shard in plan.shards])
        )
        return Packed(plan, lambda: find_manifests(source, plan.shards, ShardCache(cache), manifests))

    def _put_schema(self, draft: Schema) -> Schema:
        return self.put_schema(draft)

    @contextmanager
    def _sending(self, dataset: Dataset[Any], publication: Publication, schema: Schema) -> Iterator[Sending]:
        self._check_reachable(dataset, publication)
        with ExitStack() as plans:
            packed = self._packed(dataset, publication, plans, schema)
            yield plans.enter_context(sending(self.client, publication, schema, packed))

    def get_dataset(self, ref: str) -> Entry:
        """The entry at an address, or of a name: `@handle/name[@version]`, or `name[@version]` of one's own.

        `atdata://handle/dataset/name[@version]` is such an address too.

        Raises:
            NotFoundError: there is none.
        """
        if checked_text(ref, "ref", "Give a name, or an address.").startswith("at://"):
            return self.records.read(ref, Entry)
        owner, name, version = named_publicly(ref)
        return entry_of(partial(self.get_label, name, version, owner), partial(self.records.read, kind=Entry))

    def load(
        self,
        name: str,
        version: str | None = None,
        *,
        sample_type: type[T] | None = None,
        allow_unverified: bool = False,
    ) -> DatasetDict[T]:
        """See `RecordIndex.load`; the name is one's own, `@handle/name`, or the address of an entry."""
        address = checked_text(name, "name").startswith("at://") or version is None
        entry = self.get_dataset(name if address else f"{name}@{version}")
        return self.open(entry, sample_type, allow_unverified=allow_unverified)

    def open(
        self, entry: Entry, sample_type: type[T] | None = None, *, allow_unverified: bool = False
    ) -> DatasetDict[T]:
        """The datasets of an entry, by split; see `load`."""
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        schema = self.client.read(entry.schema_ref, Schema)
        kind = schema.type_for(sample_type)
        return DatasetDict(datasets_of(self.client, entry, kind, entry.splits, allow_unverified, through=[schema]))

    def dataset(self, entry: Entry) -> Dataset[Any]:
        """See `RecordIndex.dataset`."""
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        schema = self.client.read(entry.schema_ref, Schema)
        whole = {"": entry.shards}
        return datasets_of(self.client, entry, schema.sample_type, whole, allow_unverified=True, through=[schema])[""]

    def _put_lens(self, draft: LensRecord, rkey: RecordKey) -> LensRecord:
        def decide(state: State) -> Decision[LensRecord]:
            known = state.named(LensRecord, draft.name).of_content(draft.index_keys.content)
            return once(state, known or draft, rkey)

        return self.records.transact([LensRecord], decide)
