"""What every index does, over a store of records: a PDS, or a database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from atdata.atproto.syntax import AtUri, RecordKey
from atdata.dataset import Dataset
from atdata.errors import ConflictError, NotFoundError, SchemaError
from atdata.protocols import AbstractDataStore
from atdata.records import Entry, Label, Record, Schema, Version, is_semver, newest
from atdata.samples import DictSample
from atdata.samples.fields import accepts
from atdata.schema import schema_of

R = TypeVar("R", bound=Record)


class RecordStore(Protocol):
    """A place that keeps small records by collection and record key."""

    def read(self, ref: str, kind: type[R]) -> R:
        """The record at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: it is not proven to be what was published.
        """

    def read_all(self, owner: str | None, kind: type[R], limit: int | None = None) -> list[R]:
        """The records of a kind, newest first; of the store's own account where no owner is given."""

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
        listed = [schema for schema in self.records.read_all(None, Schema) if schema.name == draft.name]
        same = [schema for schema in listed if schema.content == draft.content and version in (None, schema.version)]
        if same:
            return max(same, key=lambda schema: Version.parse(schema.version)).located
        if version is None:
            draft = Schema.of(
                sample_type, version=next_patch(listed), name=name, description=description, metadata=metadata
            )
        taken = next((schema for schema in listed if schema.version == draft.version), None)
        if taken is not None:
            raise ConflictError(
                f"the schema {draft.name} {draft.version} stands for other content",
                uri=taken.uri,
                expected=str(taken.identity),
                actual=str(draft.identity),
                hint="What was published stays; give the new fields a new version.",
            )
        key = RecordKey(rkey) if rkey else draft.rkey
        return self.records.create(draft, key, lambda found: found.identity == draft.identity).located

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
        labels = self.list_labels(repo)
        named = [label for label in labels if label.name == name]
        found = newest(label for label in named if version in (None, label.version))
        if found is None:
            known = (
                ", ".join(str(label.version) for label in named)
                if named
                else ", ".join({label.name for label in labels})
            )
            raise NotFoundError(
                f"there is no dataset {name}" + (f"@{version}" if version else ""),
                uri=repo,
                expected=f"one of: {known}"[:300] if known else None,
                hint="Check its spelling." if known else "This account has published no dataset under a name.",
            )
        return found

    def schema_for(self, dataset: Dataset[Any], schema_ref: str | None, version: str | None = None) -> Schema:
        """The published schema of a dataset about to be inserted: the one given, or its own, published if need be.

        Raises:
            SchemaError: the dataset's samples are not what the given schema describes.
        """
        if schema_ref is None:
            if dataset.sample_type is DictSample:
                raise SchemaError(
                    "a dataset without a type has no schema", hint="Open it as atdata.Dataset[YourType](...)."
                )
            return self.get_schema(self.publish_schema(dataset.sample_type, version=version))
        schema = self.get_schema(schema_ref)
        if dataset.sample_type is not DictSample:
            _check_fits(dataset.sample_type, schema)
        return schema


def next_patch(schemas: Sequence[Schema]) -> str:
    """The version after the newest of some schemas; 1.0.0 where there is none."""
    versions = [Version.parse(schema.version) for schema in schemas if is_semver(schema.version)]
    if not versions:
        return "1.0.0"
    newest_version = max(versions)
    major, minor, patch = newest_version.numbers
    return f"{major}.{minor}.{patch + newest_version.final}"


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
