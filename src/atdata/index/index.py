"""An index over a store of records."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from atdata.arguments import checked_text
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.dataset import Dataset
from atdata.errors import ConflictError, NotFoundError, SchemaError, UsageError
from atdata.index.checks import check_first, check_fits
from atdata.index.deciding import Decision
from atdata.index.evolving import choose_schema
from atdata.index.lenses import LensIndex
from atdata.index.names import once
from atdata.index.ports import RecordState, RecordStore
from atdata.index.publication import Publication
from atdata.index.versions import VersionedIndex
from atdata.records import Entry, Label, Listing, Record, Schema
from atdata.records.facts import Facts, Text, changed, warn_of_not_taken
from atdata.records.record import check_named, newest_first
from atdata.samples import DictSample, PackableSample
from atdata.schema import CompatibilityMode

R = TypeVar("R", bound=Record)
Store = TypeVar("Store", bound=RecordStore)

UPDATE = "index.update_dataset(ref, description=..., ...) changes it, or `atdata index update`."
"""The way to change facts that were not taken."""

_PATIENCE = 60.0  # seconds for a change that others come before
_ANEW = "What is published stays; a new version may say something else."


class RecordIndex(VersionedIndex[Store], LensIndex[Store]):
    """Datasets, schemas and lenses listed under names, in one store of records.

    Args:
        records: where the records are.
        data_store: where shards go; without one, only datasets whose shards have public addresses can be inserted.
    """

    def publish_schema(
        self,
        sample_type: type,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
        compat: CompatibilityMode | None = None,
    ) -> AtUri:
        """List a sample type. The same content again is the same record; the first one stands.

        Args:
            sample_type: the type.
            name: what to call it; its own name by default.
            version: a semantic version; by default the one that has this content, else the one that follows the newest by
                what has changed (`SchemaComparison.step`): a patch, a minor or a major version.
            description: what one sample is.
            metadata: licence, tags, and anything else.
            rkey: a record key of the caller's choice.
            compat: the readers that this version must not break, and later ones neither: the record keeps it for them. By
                default what the version before it keeps. While one is kept, `version` may not say less than has changed.

        Raises:
            ConflictError: the version stands for other content.
            CompatibilityError: it would break readers that `compat` protects; `path` names the field.
            UsageError: the version says less than has changed; there is no such mode.
            FieldTypeError: it is no sample type.
        """
        drafted = "0.0.0" if version is None else version
        check_named("?" if name is None else name, version)
        draft = Schema.of(
            sample_type, version=drafted, name=name, description=description, metadata=metadata, compatibility=compat
        )
        stands = self.put_schema(draft, version, rkey)
        said = Facts.of(description, metadata=metadata).said | ({} if compat is None else {"compatibility": compat})
        warn_of_not_taken(stands, said, _ANEW)
        return stands.located

    def put_schema(self, draft: Schema, version: str | None = None, rkey: str | None = None) -> Schema:
        """List a schema under a version, or find that it is listed; decided on the state that is written to.

        Args:
            draft: what to list; its own version counts for nothing.
            version: as for `publish_schema`.
            rkey: a record key of the caller's choice.

        Raises:
            ConflictError: the version, or the key, stands for other content.
            CompatibilityError, UsageError: as for `publish_schema`.
        """

        def decide(state: RecordState) -> Decision[Schema]:
            named = state.named(Schema, draft.name)
            while True:
                last = named.newest()  # first: who lists one after this look is noticed
                schema = choose_schema(named, draft, version)
                try:
                    return once(state, schema, schema.rkey if rkey is None else RecordKey(rkey), last)
                except ConflictError:
                    again = choose_schema(named, draft, version)
                    if again.uri is None and again.version == schema.version:  # nobody was faster; the key is taken
                        raise

        return self.records.transact([Schema], decide)

    def get_schema(self, ref: str) -> Schema:
        """The schema at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, Schema)

    def list_schemas(self, repo: str | None = None, limit: int | None = None, *, prefix: str = "") -> Listing[Schema]:
        """Schemas, newest first, of one's own unless another's are asked for.

        With `prefix` those whose names begin with it, by name, in a name the highest version first. What is malformed
        is passed over, and in `malformed`.
        """
        return self._listed(repo, Schema, limit, prefix)

    def decode_schema(self, ref: str) -> type:
        """The sample type that a schema describes.

        Raises:
            SchemaError: no sample type can be built from it.
            NotFoundError: there is none.
        """
        return self.get_schema(ref).sample_type

    def _listed(self, repo: str | None, kind: type[R], limit: int | None, prefix: str) -> Listing[R]:
        if not prefix:
            return self.records.read_all(repo, kind, limit)
        checked_text(prefix, "prefix")
        named: dict[str, list[R]] = {}
        listing = self.records.read_all(repo, kind)
        for record in listing:
            if record.name.startswith(prefix):
                named.setdefault(record.name, []).append(record)
        records = [record for name in sorted(named) for record in newest_first(named[name])]
        return Listing(records[:limit], [bad for bad in listing.malformed if (bad.name or "").startswith(prefix)])

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
        content_metadata: PackableSample | None = None,
        prefix: str | None = None,
        rkey: str | None = None,
        maxcount: int | None = None,
        maxsize: float | None = None,
        manifests: bool | None = None,
        digests: bool | None = None,
    ) -> Entry:
        """List a dataset under a name: its shards go to the data store first, if there is one.

        Schema, entry and label appear together. The same again is no second entry, and on the network a run that was
        interrupted is taken up by the next. The first entry stands; where other facts are said of it a `NotTakenWarning`
        names them: `update_dataset` changes them.

        Args:
            dataset: what to list.
            name: what to call it; `@local/name` finds it in one's own index, `@handle/name` on the network.
            schema_ref: the schema; by default the dataset's own type, published if need be. Of a dataset without a type
                the first sample is read: it must be what the schema describes.
            version: of the name, such as `1.0.0`; what a version stands for never changes. Without one a name that
                has versions gets the next patch, since it stands for its newest.
            schema_version: the version to publish its own type under.
            description: what it holds.
            tags: words to find it by.
            license: SPDX expression or URL.
            metadata: anything else, as msgpack can hold it.
            content_metadata: metadata of a declared type, such as the settings of an instrument; the type is published.
            prefix: what the data store, where it names any, calls the shards; the name by default.
            rkey: a record key of the caller's choice.
            maxcount: most samples in a stored shard.
            maxsize: most bytes in a stored shard.
            manifests: whether the entry lists a manifest of each shard, so that readers find and check single samples.
                On the network it does by default if pyarrow is installed and they fit into the record, or, for shards at
                URLs, if each has one beside it that anyone can read; `True` insists, `False` leaves them out. An entry
                of a local index lists none: readers find those beside shards.
            digests: whether to read shards whose digest is not known, so that whoever loads them can check them. By
                default a local index does; on the network shards at URLs are then listed without one.

        Raises:
            ConflictError: the version of the name, or the record key, stands for another dataset.
            UsageError: an argument cannot be meant; shards that only this machine has, and no data store.
            SchemaError, SampleError: the samples are not what the schema describes.
            ShardError, DigestError: a shard is damaged, or not the one it should be.
            MissingExtraError: manifests are insisted on, and pyarrow is not installed.
            LimitError, NetworkError, ContentionError: on the network: see `atdata.atmosphere.publishing.publish`.
        """
        if not isinstance(dataset, Dataset):
            raise UsageError(
                "only a Dataset can be inserted",
                path="dataset",
                actual=type(dataset).__name__,
                hint="Of load_dataset(...) take one split, or all with metadata={'splits': ...}; of paths Dataset[T](paths).",
            )
        facts = Facts.of(description, tags, license, metadata)
        if content_metadata is not None:
            facts = facts.with_content(content_metadata, self.publish_schema)
        publication = Publication(
            name=name,
            version=version,
            schema_ref=schema_ref,
            schema_version=schema_version,
            facts=facts,
            prefix=prefix,
            rkey=None if rkey is None else RecordKey(rkey),
            maxcount=maxcount,
            maxsize=maxsize,
            manifests=manifests,
            digests=digests,
        )
        if schema_ref is not None and dataset.sample_type is DictSample:
            check_first(dataset, self.get_schema(schema_ref))
        return self._insert(dataset, publication)

    @abstractmethod
    def _insert(self, dataset: Dataset[Any], publication: Publication) -> Entry:
        """List a dataset, or find that it is listed; the entry that stands."""

    def update_dataset(
        self,
        ref: str,
        *,
        description: Text = UNSET,
        tags: Sequence[str] | UnsetType | None = UNSET,
        license: Text = UNSET,  # noqa: A002  the field's own word
        metadata: Mapping[str, Any] | UnsetType | None = UNSET,
        content_metadata: PackableSample | UnsetType | None = UNSET,
    ) -> Entry:
        """Say something else about a dataset that is listed. What is not given stays; `None` clears.

        The entry keeps its address, its shards and its labels: it stays the dataset it is. What others change meanwhile
        is not lost: each change is made to the entry as it is then.

        Args:
            ref: as `get_dataset` takes it.
            description: what it holds.
            tags: words to find it by, all of them.
            license: SPDX expression or URL.
            metadata: members to set; one that is `None` is taken out, others stay. `None` takes all out, but for what
                atdata reads itself: `splits`, and `recutFrom`.
            content_metadata: metadata of a declared type, in place of those there are; the type is published.

        Returns:
            The entry as it is now.

        Raises:
            NotFoundError: there is none.
            UsageError: it is not one's own, or the facts cannot be meant, or must not be public.
            SampleError, FieldTypeError: the content metadata are no sample, or hold what no record can.
            LexiconError, LimitError: the record would break a rule, or be too large.
            ConflictError: it is changed by others all the time; nothing was written.
        """
        entry, content = self.get_dataset(ref), Facts()
        if content_metadata is not UNSET and content_metadata is not None:
            content = content.with_content(content_metadata, self.publish_schema)
        given = UNSET if content_metadata is UNSET else content
        deadline = time.monotonic() + _PATIENCE
        while True:
            said = changed(entry, description, tags, license, metadata, given)
            if said is entry:
                return entry
            try:
                return self.records.swap(said, entry)
            except ConflictError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0, 0.1))  # noqa: S311  so that two do not keep step
            try:
                entry = self.records.read(entry.located, Entry)  # a name may stand for another dataset meanwhile
            except NotFoundError:  # or that one was retracted
                entry = self.get_dataset(ref)

    def get_dataset(self, ref: str) -> Entry:
        """The entry at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, Entry)

    def list_datasets(self, repo: str | None = None, limit: int | None = None, *, prefix: str = "") -> Listing[Entry]:
        """Entries, newest first, of one's own unless another's are asked for; with `prefix` as `list_schemas`."""
        return self._listed(repo, Entry, limit, prefix)

    def list_labels(self, repo: str | None = None, limit: int | None = None, *, prefix: str = "") -> Listing[Label]:
        """Labels, newest first, of one's own unless another's are asked for; with `prefix` as `list_schemas`."""
        return self._listed(repo, Label, limit, prefix)

    # --- what inserting needs

    def draft_schema(self, dataset: Dataset[Any], version: str | None = None) -> Schema:
        """The schema of a dataset's own type, as it would be published.

        Raises:
            SchemaError: it has no type.
        """
        if dataset.sample_type is DictSample:
            raise SchemaError(
                "a dataset without a type has no schema", hint="Open it as atdata.Dataset[YourType](...)."
            )
        return Schema.of(dataset.sample_type, version="0.0.0" if version is None else version)

    def schema_for(self, dataset: Dataset[Any], schema_ref: str | None, version: str | None = None) -> Schema:
        """The published schema of a dataset about to be inserted: the one given, or its own, published if need be.

        Raises:
            SchemaError: the dataset's samples are not what the given schema describes.
        """
        if schema_ref is None:
            return self.put_schema(self.draft_schema(dataset, version), version)
        schema = self.get_schema(schema_ref)
        if dataset.sample_type is not DictSample:
            check_fits(dataset.sample_type, schema)
        return schema
