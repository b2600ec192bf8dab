"""`LocalIndex`: a team's datasets, in a database of its own."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from atdata.arguments import checked_text, checked_type
from atdata.atproto.syntax import Tid
from atdata.dataset import Dataset, DatasetDict
from atdata.dataset.stores import AbstractDataStore
from atdata.display import Card, Grid
from atdata.errors import ConflictError, NotFoundError, UnverifiedError, UsageError
from atdata.index import UPDATE, RecordIndex, choose_schema, planned_label
from atdata.index.appending import Sending, StoredShards
from atdata.index.lenses import takes
from atdata.index.publication import Publication
from atdata.index.storage import planned_storage
from atdata.local.copying import CopiedRecords, copy_records
from atdata.local.database import Database, TakenError
from atdata.local.opening import open_database
from atdata.local.records import LocalRecords, check_owner
from atdata.local.redis import RedisClient, RedisDatabase
from atdata.local.sources import check_places, source_of_entry
from atdata.local.verifications import LocalVerifications
from atdata.records import Entry, Label, LensRecord, Listing, Record, Schema
from atdata.records.address import named_locally
from atdata.records.facts import warn_of_not_taken
from atdata.redaction import secret_address
from atdata.settings import Settings
from atdata.shards import ShardRef

if TYPE_CHECKING:
    import typing_extensions

    T = typing_extensions.TypeVar("T", default=Any)  # the type that a schema describes, where none is said
else:
    T = TypeVar("T")
R = TypeVar("R", bound=Record)

_SHOWN = 20  # datasets in a notebook


class LocalIndex(RecordIndex[LocalRecords], LocalVerifications):
    """Datasets, schemas, labels, lenses and their verifications in a database: a SQLite file, Redis, or PostgreSQL.

    Args:
        where: `redis://...`, `rediss://...`, `unix://...`, `postgresql://...`, `sqlite:///...` or the path of a file.
            By default what `ATDATA_INDEX_URL` says, else a SQLite file in the data folder.
        redis: a connected client, in place of a URL.
        data_store: where shards go; without one they stay where they are.
        settings: arguments of `atdata.settings.Settings.of`.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | None = None,
        *,
        redis: RedisClient | None = None,
        data_store: AbstractDataStore | None = None,
        **settings: Any,
    ) -> None:
        where = secret_address(where)
        self.settings = Settings.of(**settings)
        if redis is not None and where is not None:
            raise UsageError("an index can only be in one place", expected="a URL, or redis=", actual="both")
        if redis is not None:
            database: Database = RedisDatabase(redis)
        else:
            if where is None:
                where = self.settings.index_url or self.settings.index_file
            database = open_database(where)
        super().__init__(LocalRecords(database), data_store)

    # --- schemas

    def get_schema(self, ref: str) -> Schema:
        """The schema at an address: of this index, `atdata://local/schema/Name[@version]`, or `Name[@version]`.

        Raises:
            NotFoundError: there is none.
        """
        return self._read(ref, Schema)

    # --- datasets

    def _insert(self, dataset: Dataset[Any], publication: Publication) -> Entry:
        _refuse_manifests(publication)
        self._schema_for(dataset, publication)  # what is wrong is said before anything is read, or stored
        digests = publication.digests is not False
        with planned_storage(dataset, publication, self.data_store, self.settings.cache, digests=digests) as storage:
            check_places(storage.shards)
            while True:
                schema, last = self._schema_for(dataset, publication)
                plan = self._plan(
                    schema, publication.entry(schema, storage.storage, storage.size, storage.layout), publication
                )
                for record in plan.fresh:
                    self._check_key(record)
                if plan.entry.data_urls == [shard.url for shard in storage.shards]:  # else it is listed elsewhere
                    storage.upload()
                with suppress(TakenError):  # somebody was faster; what they wrote is found now
                    self.records.put(plan.fresh, last if plan.fresh and plan.fresh[0] is schema else None)
                    break
        warn_of_not_taken(plan.entry, publication.facts.said, UPDATE)
        return plan.entry

    def _put_schema(self, draft: Schema) -> Schema:
        return self.put_schema(draft)

    @contextmanager
    def _sending(self, dataset: Dataset[Any], publication: Publication, schema: Schema) -> Iterator[Sending]:  # noqa: ARG002
        _refuse_manifests(publication)
        with planned_storage(dataset, publication, self.data_store, self.settings.cache, digests=True) as plan:
            check_places(plan.shards)
            stored = StoredShards(plan.shards, plan.storage, layout=plan.layout)

            def send(_again: bool) -> StoredShards:
                plan.upload()
                return stored

            yield Sending(stored, send)

    def _check_key(self, record: Record) -> None:
        """Refuse a key that is another's, by that one's own choice: no trying again would help.

        Raises:
            ConflictError: it is.
        """
        with suppress(NotFoundError):
            there = self.records.read(record.located, type(record))
            if there.index_keys[:2] != record.index_keys[:2] or (
                isinstance(record, Entry) and there.index_keys != record.index_keys
            ):
                kind, named = record.NSID.name, " ".join(filter(None, record.index_keys[:2]))
                raise ConflictError(
                    f"the key of the {kind} {named} is taken by another",
                    uri=there.uri,
                    actual=" ".join(filter(None, there.index_keys[:2])),
                    hint="Choose another rkey=, or leave it out."
                    if isinstance(record, Entry)
                    else "Publish it under a key of your own: publish_schema(..., rkey=...), and pass its schema_ref.",
                )

    def add_entry(self, dataset: Dataset[Any], *, name: str, **facts: Any) -> Entry:
        """List a dataset whose shards stay where they are; see `insert_dataset`."""
        index = copy.copy(self)
        index.data_store = None
        return index.insert_dataset(dataset, name=name, **facts)

    def _schema_for(self, dataset: Dataset[Any], publication: Publication) -> tuple[Schema, Schema | None]:
        """The schema of a dataset about to be inserted, where it is, or where it will be; and the one it comes after then."""
        if publication.schema_ref is not None:
            return self.schema_for(dataset, publication.schema_ref), None
        version = publication.schema_version
        draft = self.draft_schema(dataset, version)
        named = self.records.named(None, Schema, draft.name)
        last = named.newest()  # first: who lists one after this look is noticed
        planned = choose_schema(named, draft, version)
        return self.records.placed(planned, planned.rkey), last

    def _plan(self, schema: Schema, draft: Entry, publication: Publication) -> _Plan:
        """The records to write, and the entry that will stand."""
        known = self.records.named(None, Entry, draft.name).of_content(draft.index_keys.content)
        entry = known or self.records.placed(draft, publication.rkey or Tid.now())
        fresh: list[Record] = [] if known else [entry]
        if self.records.named(None, Schema, schema.name).of_version(schema.version) is None:
            fresh.insert(0, schema)
        label = self._planned_label(Label(name=entry.name, dataset_uri=entry.located, version=publication.version))
        return _Plan(entry, fresh if label.uri else [*fresh, self.records.placed(label, Tid.now())])

    def _planned_label(self, draft: Label) -> Label:
        return planned_label(self.records.named(None, Label, draft.name), draft)

    def get_dataset(self, ref: str) -> Entry:
        """The entry at an address, or of a name: `@local/name[@version]` or `name[@version]`.

        Raises:
            NotFoundError: there is none.
        """
        return self._read(ref, Entry)

    def get_entry(self, cid: str) -> Entry:
        """The entry whose record has a CID.

        Raises:
            NotFoundError: there is none.
        """
        found = self.records.of_cid(Entry, str(cid))
        if found is None:
            raise NotFoundError("the index has no entry with this CID", actual=cid)
        return found

    @property
    def entries(self) -> Iterator[Entry]:
        """Every entry, newest first; a few at a time are in memory."""
        return self.records.each(Entry)

    # --- lenses

    def get_lens(self, ref: str) -> LensRecord:
        """The lens at an address, or the newest of a name.

        Raises:
            NotFoundError: there is none.
        """
        return self._read(ref, LensRecord)

    def find_lenses(
        self, source_schema: str, target_schema: str | None = None, repo: str | None = None
    ) -> list[LensRecord]:
        """Lenses between two schemas, or from one to any, newest first; then those whose ranges take their versions.

        Raises:
            NotFoundError: there is no such schema.
        """
        check_owner(repo)
        target = None if target_schema is None else self.get_schema(target_schema).located
        source, read = self.get_schema(source_schema), cache(self.get_schema)
        versions = [found for found in self.records.named(None, Schema, source.name).all() if found.uri != source.uri]
        return [
            lens
            for schema in (source, *versions)
            for lens in self.records.referring(schema, LensRecord)
            if takes(lens.source_schema, lens.source_schema_version, source.located, read)
            and (target is None or takes(lens.target_schema, lens.target_schema_version, target, read))
        ]

    def copy_to(self, other: LocalIndex) -> CopiedRecords:
        """Copy everything that this index lists into another one; shards stay where they are.

        What is there already is not written again, so the same call once more goes on where one that was killed has
        stopped. Where both say something about the same, this index is right; but a version that either has retracted is
        retracted there, and the entry that only such versions stand for is taken out. Nothing else is deleted there.

        Raises:
            ConflictError: a version, or a record key, stands for something else there.
            UsageError: the other one is no index in a database.
            NetworkError, StorageError, AuthError: a database cannot be read or written.
        """
        checked_type(other, LocalIndex, "other", "Open it: LocalIndex(where).")
        return copy_records(self.records.database, other.records.database)

    def remove_schema(self, ref: str) -> Schema:
        """Take a schema out of the index.

        Raises:
            NotFoundError: there is none.
            ConflictError: an entry uses it.
        """
        schema = self.get_schema(ref)
        self.records.delete([schema])
        return schema

    # --- reading

    def load(
        self,
        name: str,
        version: str | None = None,
        *,
        sample_type: type[T] | None = None,
        allow_unverified: bool = False,
    ) -> DatasetDict[T]:
        """See `RecordIndex.load`."""
        address = checked_text(name, "name").startswith("at://")
        entry = self.get_dataset(name) if address else self.get_entry_by_name(name, version)
        return self.open(entry, sample_type, allow_unverified=allow_unverified)

    def open(
        self, entry: Entry, sample_type: type[T] | None = None, *, allow_unverified: bool = False
    ) -> DatasetDict[T]:
        """The datasets of an entry, by split; see `load`."""
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        unknown = next((shard for shard in entry.shards if shard.digest is None), None)
        if unknown is not None and not allow_unverified:
            raise UnverifiedError(
                "a shard was listed without a digest, so nothing can prove its bytes",
                step="shard digest",
                uri=unknown.url,
                hint="Pass allow_unverified=True to read it all the same.",
            )
        kind = self.get_schema(entry.schema_ref).type_for(sample_type)
        return DatasetDict({split: self._dataset(entry, shards, kind) for split, shards in entry.splits.items()})

    def dataset(self, entry: Entry) -> Dataset[Any]:
        """See `RecordIndex.dataset`."""
        checked_type(entry, Entry, "entry", "Get it with index.get_dataset(ref).")
        return self._dataset(entry, entry.shards, self.get_schema(entry.schema_ref).sample_type)

    def _dataset(self, entry: Entry, shards: Sequence[ShardRef], kind: type[Any]) -> Dataset[Any]:
        return Dataset(
            source_of_entry(entry, shards, self.data_store),
            sample_type=kind,
            layout=entry.layout_for(kind),
            metadata=entry.metadata,
            entry=entry,
            cache=self.settings.cache,
            samples=entry.size.samples if tuple(shards) == entry.shards else None,
        )

    # --- addresses

    def _read(self, ref: str, kind: type[R]) -> R:
        if checked_text(ref, "ref", "Give a name, or an address.").startswith("at://"):
            return self.records.read(ref, kind)
        name, version = named_locally(ref, _WORDS[kind])
        if kind is Entry:
            return cast(R, self.get_entry_by_name(name, version))
        named = self.records.named(None, kind, name)
        found = named.newest() if version is None else named.of_version(version)
        if found is None:
            what = f"{kind.NSID.name} {name}" + (f"@{version}" if version else "")
            raise NotFoundError(f"the index has no {what}", hint="Publish it first, or check its spelling.")
        return found

    def _listed(self, repo: str | None, kind: type[R], limit: int | None, prefix: str) -> Listing[R]:
        check_owner(repo)
        return self.records.under(kind, prefix, limit) if prefix else self.records.read_all(repo, kind, limit)

    def _repr_html_(self) -> str:
        listed = self.list_datasets(limit=_SHOWN + 1)
        rows = [
            [entry.name, entry.size.samples, len(entry.storage.listed), entry.created_at] for entry in listed[:_SHOWN]
        ]
        notes = ["and more: list_datasets()"] if len(listed) > _SHOWN else []
        return Card(repr(self), {}, [Grid(["dataset", "samples", "shards", "listed"], rows)], notes).html()

    def __repr__(self) -> str:
        records = vars(self).get("records")  # none while it is made: then an error may be on its way
        return f"LocalIndex({records.database!r})" if records else "LocalIndex(...)"


_WORDS: dict[type[Record], tuple[str, ...]] = {
    Entry: ("dataset",),
    LensRecord: ("lens",),
    Schema: ("schema", "sampleSchema"),
}
"""The words of addresses for records of a kind."""


class _Plan(NamedTuple):
    """The records to write, in the order in which one refers to the other, and the entry that stands then."""

    entry: Entry
    fresh: list[Record]


def _refuse_manifests(publication: Publication) -> None:
    if publication.manifests:
        raise UsageError(
            "an entry of a local index cannot list manifests",
            path="manifests",
            hint="Leave it out: readers find the manifests that lie beside shards. Published entries list them.",
        )
