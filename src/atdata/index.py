"""What every index does, over a store of records: a PDS, or a database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, RecordKey, Tid
from atdata.dataset import Dataset
from atdata.errors import ConflictError, LimitError, NotFoundError, SchemaError
from atdata.protocols import AbstractDataStore
from atdata.records import CodeReference, Entry, Label, LensRecord, Record, Schema, Version, is_semver, newest
from atdata.samples import DictSample
from atdata.samples.fields import accepts
from atdata.schema import schema_of

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=Record, covariant=True)


_NAMED = 50  # names to tell somebody who asked for one that is not there


class Named(Protocol[S]):
    """The records of one kind that have one name. Of several that qualify, each question gives the newest."""

    def newest(self) -> S | None:
        """What the name stands for (see `atdata.records.newest`)."""

    def of_version(self, version: str) -> S | None:
        """The one of a version."""

    def of_content(self, content: Cid) -> S | None:
        """The one that says this (see `atdata.records.Listed`)."""


@dataclass(frozen=True)
class NamedRecords(Generic[R]):
    """`Named`, where all the records are at hand."""

    records: Sequence[R]

    def newest(self) -> R | None:
        """The newest of all."""
        return newest(self.records)

    def of_version(self, version: str) -> R | None:
        """The newest of a version."""
        return newest(record for record in self.records if record.listed.version == version)

    def of_content(self, content: Cid) -> R | None:
        """The newest with a content."""
        return newest(record for record in self.records if record.listed.content == content)


class RecordStore(Protocol):
    """A place that keeps small records by collection and record key, and finds them by name."""

    def read(self, ref: str, kind: type[R]) -> R:
        """The record at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: it is not proven to be what was published.
        """

    def read_all(self, owner: str | None, kind: type[R], limit: int | None = None) -> list[R]:
        """The records of a kind, newest first; of the store's own account where no owner is given."""

    def named(self, owner: str | None, kind: type[R], name: str) -> Named[R]:
        """The records of a kind under a name; of the store's own account where no owner is given."""

    def create(self, record: R, rkey: RecordKey, same: Callable[[R], bool]) -> R:
        """Write a record once; where the key is taken, `same` says whether the record there is as good.

        Raises:
            ConflictError: the key is taken by other content.
        """


Store = TypeVar("Store", bound=RecordStore)


class RecordIndex(Generic[Store]):
    """Datasets and schemas listed under names, in one store of records.

    Args:
        records: where the records are.
        data_store: where shards go; without one, only datasets whose shards have public addresses can be inserted.
    """

    def __init__(self, records: Store, data_store: AbstractDataStore | None = None) -> None:
        self.records = records
        self.data_store = data_store

    def publish_schema(
        self,
        sample_type: type,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """List a sample type. The same content again is the same record; the first one stands.

        Args:
            sample_type: the type.
            name: what to call it; its own name by default.
            version: a semantic version; by default the one that has this content, else the next patch.
            description: what one sample is.
            metadata: licence, tags, and anything else.
            rkey: a record key of the caller's choice.

        Raises:
            ConflictError: the version stands for other content.
            FieldTypeError: it is no sample type.
        """
        draft = Schema.of(
            sample_type, version=version or "0.0.0", name=name, description=description, metadata=metadata
        )
        return self.put_schema(draft, version, rkey).located

    def put_schema(self, draft: Schema, version: str | None = None, rkey: str | None = None) -> Schema:
        """List a schema under a version, or find that it is listed.

        Args:
            draft: what to list; its own version counts for nothing.
            version: by default the newest that has this content, else the next patch.
            rkey: a record key of the caller's choice.

        Raises:
            ConflictError: the version, or the key, stands for other content.
        """
        planned = self.planned_schema(draft, version)
        while planned.uri is None:
            try:
                return self._create_schema(planned, RecordKey(rkey) if rkey else planned.rkey)
            except ConflictError:
                again = self.planned_schema(draft, version)
                if rkey is not None or again.version == planned.version:  # nobody was faster; it is taken
                    raise
                planned = again
        return planned

    def _create_schema(self, schema: Schema, rkey: RecordKey) -> Schema:
        return self.records.create(schema, rkey, lambda found: found.identity == schema.identity)

    def planned_schema(self, draft: Schema, version: str | None) -> Schema:
        """The listed schema of this content; where there is none the draft, under the version it would have.

        Raises:
            ConflictError: the version stands for other content.
        """
        named, content = self.records.named(None, Schema, draft.name), draft.listed.content
        if version is None:
            last = named.newest()  # first: what is listed after this look takes the next version, and is noticed
            if found := named.of_content(content):
                return found
            return replace(draft, version=next_patch(None if last is None else last.version))
        draft, taken = replace(draft, version=version), named.of_version(version)
        if taken is not None and taken.listed.content != content:
            raise ConflictError(
                f"the schema {draft.name} {version} stands for other content",
                uri=taken.uri,
                expected=str(taken.identity),
                actual=str(draft.identity),
                hint="What was published stays; give the new fields a new version.",
            )
        return taken or draft

    def get_schema(self, ref: str) -> Schema:
        """The schema at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, Schema)

    def list_schemas(self, repo: str | None = None, limit: int | None = None) -> list[Schema]:
        """Schemas, newest first; one's own unless another's are asked for."""
        return self.records.read_all(repo, Schema, limit)

    def decode_schema(self, ref: str) -> type:
        """The sample type that a schema describes.

        Raises:
            SchemaError: no sample type can be built from it.
            NotFoundError: there is none.
        """
        return self.get_schema(ref).sample_type

    @abstractmethod
    def insert_dataset(self, dataset: Dataset[Any], *, name: str, schema_ref: str | None = None, **facts: Any) -> Entry:
        """List a dataset under a name."""

    def get_dataset(self, ref: str) -> Entry:
        """The entry at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, Entry)

    def list_datasets(self, repo: str | None = None, limit: int | None = None) -> list[Entry]:
        """Entries, newest first; one's own unless another's are asked for."""
        return self.records.read_all(repo, Entry, limit)

    def list_labels(self, repo: str | None = None, limit: int | None = None) -> list[Label]:
        """Labels, newest first; one's own unless another's are asked for."""
        return self.records.read_all(repo, Label, limit)

    def get_label(self, name: str, version: str | None = None, repo: str | None = None) -> Label:
        """The label of a name: of one version, or the newest (see `atdata.records.newest`).

        Raises:
            NotFoundError: there is none; it names those there are.
        """
        named = self.records.named(repo, Label, name)
        found = named.newest() if version is None else named.of_version(version)
        if found is None:
            listed = self.list_labels(repo, _NAMED)
            versions = [str(label.version) for label in listed if label.name == name]
            known = ", ".join(dict.fromkeys(versions or [label.name for label in listed]))
            raise NotFoundError(
                f"there is no dataset {name}" + (f"@{version}" if version else ""),
                uri=repo,
                expected=f"one of: {known}"[:300] if known else None,
                hint="Check its spelling." if known else "No dataset has been published under a name.",
            )
        return found

    # --- lenses

    def publish_lens(
        self,
        *,
        name: str,
        source_schema: str,
        target_schema: str,
        getter_code: Mapping[str, Any] | CodeReference,
        putter_code: Mapping[str, Any] | CodeReference,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """List a lens whose functions are in a public repository. The same lens again is the same record.

        Args:
            name: what to call it.
            source_schema: the schema record it looks at.
            target_schema: the schema record it shows.
            getter_code: `{"repository": url, "commit": full hash, "path": "dir/file.py:function"}`.
            putter_code: likewise, the way back.
            description: what it does.
            metadata: anything else.
            rkey: a record key of the caller's choice.

        Raises:
            LensError: a code reference does not pin one function.
        """
        draft = LensRecord(
            name=name,
            source_schema=AtUri(source_schema),
            target_schema=AtUri(target_schema),
            getter_code=CodeReference.of(getter_code, "getter_code"),
            putter_code=CodeReference.of(putter_code, "putter_code"),
            description=description,
            metadata=dict(metadata or {}),
        )
        content = draft.listed.content
        if known := self.records.named(None, LensRecord, name).of_content(content):
            return known.located
        key = RecordKey(rkey) if rkey else Tid.now()
        return self.records.create(draft, key, lambda found: found.listed.content == content).located

    def get_lens(self, ref: str) -> LensRecord:
        """The lens at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, LensRecord)

    def list_lenses(self, repo: str | None = None, limit: int | None = None) -> list[LensRecord]:
        """Lenses, newest first; one's own unless another's are asked for."""
        return self.records.read_all(repo, LensRecord, limit)

    def find_lenses(
        self, source_schema: str, target_schema: str | None = None, repo: str | None = None
    ) -> list[LensRecord]:
        """Lenses between two schemas, or from one to any, newest first."""
        return [
            lens
            for lens in self.list_lenses(repo)
            if lens.source_schema == source_schema and target_schema in (None, lens.target_schema)
        ]

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
        return Schema.of(dataset.sample_type, version=version or "0.0.0")

    def schema_for(self, dataset: Dataset[Any], schema_ref: str | None, version: str | None = None) -> Schema:
        """The published schema of a dataset about to be inserted: the one given, or its own, published if need be.

        Raises:
            SchemaError: the dataset's samples are not what the given schema describes.
        """
        if schema_ref is None:
            return self.put_schema(self.draft_schema(dataset, version), version)
        schema = self.get_schema(schema_ref)
        if dataset.sample_type is not DictSample:
            _check_fits(dataset.sample_type, schema)
        return schema


def next_patch(newest_version: str | None) -> str:
    """The version after the newest one; 1.0.0 where there is none.

    Raises:
        LimitError: no version comes after it.
    """
    if newest_version is None or not is_semver(newest_version):
        return "1.0.0"
    version = Version.parse(newest_version)
    major, minor, patch = version.numbers
    after = f"{major}.{minor}.{patch + version.final}"
    if not is_semver(after):
        raise LimitError(
            "there is no patch after this version", actual=newest_version, hint="Choose a version yourself."
        )
    return after


def next_version(newest_label: Label | None) -> str | None:
    """The version of a dataset that is given none: none while its name has no versions, else the next patch.

    A name stands for its newest version, so without one of its own the dataset could never be reached by it.
    """
    return None if newest_label is None or newest_label.version is None else next_patch(newest_label.version)


def planned_label(named: Named[Label], draft: Label) -> Label:
    """The listed label of a dataset under a name; where there is none the draft, under the version it would have.

    Args:
        named: the labels of the draft's name.
        draft: for the dataset at its `dataset_uri`; without a version it gets what `next_version` says.

    Raises:
        ConflictError: the version stands for another dataset.
    """
    if draft.version is None:
        newest_label = named.newest()  # first: what is listed after this look takes the next version, and is noticed
        found, version = named.of_content(draft.listed.content), next_version(newest_label)
        if found is not None and (version is None or found.version is not None):
            return found
        return replace(draft, version=version)
    taken = named.of_version(draft.version)
    if taken is not None and taken.dataset_uri != draft.dataset_uri:
        raise ConflictError(
            f"{draft.name}@{draft.version} already stands for another dataset",
            uri=taken.uri,
            expected=taken.dataset_uri,
            actual="other shards, or another schema",
            hint="List it under a new version.",
        )
    return taken or draft


def _check_fits(sample_type: type, schema: Schema) -> None:
    declared = {field.name: field.type for field in schema.sample_schema.fields}
    for field in schema_of(sample_type).fields:
        if field.name not in declared or not accepts(declared.pop(field.name), field.type):
            raise SchemaError(
                "the samples are not what the schema describes",
                uri=schema.uri,
                path=f"{sample_type.__name__}.{field.name}",
                expected=str({f.name: str(f.type) for f in schema.sample_schema.fields}),
                actual=str(field.type),
                hint="Leave schema_ref out, and the dataset's own schema is published.",
            )
    if declared:
        raise SchemaError("the samples lack what the schema describes", uri=schema.uri, path=", ".join(declared))
