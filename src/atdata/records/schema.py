"""The schema record: one published version of a sample type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import shown
from atdata.atproto.syntax import Nsid, RecordKey, Tid
from atdata.errors import LimitError, SchemaError, UsageError
from atdata.records import nsids, older
from atdata.records.record import MAX_RECORD, IndexKeys, Record, json_size, rest_of, without_none
from atdata.records.version import is_semver

if TYPE_CHECKING:
    from atdata.samples import PackableSample
    from atdata.schema import CompatibilityMode, SampleSchema

T = TypeVar("T")

_KEY = re.compile(r"[A-Za-z0-9._~-]+")
_COMPATIBILITY = "compatibility"
_MEMBERS = (
    *("name", "version", "schemaType", "schema", "createdAt", "description", "metadata", "$atdataSchemaVersion"),
    _COMPATIBILITY,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Schema(Record):
    """One version of a sample type.

    Attributes:
        name: what people call the type.
        version: a semantic version.
        content: the JSON Schema document.
        array_formats: the version of each array format in use.
        description: what one sample is.
        metadata: licence, tags, and anything else.
        schema_type: the kind of schema; only `jsonSchema` can be decoded.
        unknown: the schema in a format that this version does not know, kept as it came; `None` for a JSON Schema.
        compatibility: the mode that later versions of the name are held to (`atdata.schema.CompatibilityMode`), as it
            came; `None` where nothing is said.
    """

    NSID: ClassVar[Nsid] = nsids.SCHEMA
    LATER: ClassVar[frozenset[str]] = frozenset({_COMPATIBILITY})

    name: str
    version: str
    content: Mapping[str, Any]
    array_formats: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    metadata: Mapping[str, Any] | None = None
    schema_type: str = "jsonSchema"
    unknown: Mapping[str, Any] | None = None
    compatibility: Any = None

    @classmethod
    def of(
        cls,
        sample_type: type,
        *,
        version: str,
        name: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        compatibility: CompatibilityMode | None = None,
    ) -> Schema:
        """The schema record of a sample type.

        Raises:
            FieldTypeError: it is no sample type.
            UsageError: the version is no semantic version, or the mode none.
            LimitError: it has names of more classes than a record can hold.
        """
        from atdata.schema import check_mode, schema_of, to_json_schema

        if not is_semver(version):
            raise UsageError("a schema's version must be a semantic version", expected="like 1.0.0", actual=version)
        model = schema_of(sample_type, name)
        content, formats = to_json_schema(model)
        schema = cls(
            name=model.name,
            version=version,
            content=content,
            array_formats=formats,
            description=description,
            metadata=metadata,
            compatibility=None if compatibility is None else check_mode(compatibility),
        )
        schema._check_names(model)
        return schema

    def _check_names(self, model: SampleSchema) -> None:
        """Refuse names of classes that no record can hold together, with the number that one can."""
        from atdata.samples.kinds import ClassLabel, bare

        over = json_size(self.to_record()) - MAX_RECORD
        fields = {part.name: kind.names for part in model.fields if isinstance(kind := bare(part.type), ClassLabel)}
        if over <= 0 or not fields:
            return
        name, names = max(fields.items(), key=lambda field: len(field[1]))
        kept = len(names)
        while over > 0 and kept:
            kept -= 1
            over -= 2 * (json_size(names[kept]) + 1)  # the properties stand twice
        raise LimitError(
            "a schema has names of more classes than a record can hold",
            path=f"{model.name}.{name}",
            expected=f"at most {kept} of these names",
            actual=f"{len(names)} names",
            hint="Declare the field as int, and keep the names in a file, or in the metadata of the dataset.",
        )

    @property
    def rkey(self) -> RecordKey:
        """The key that it is published under: `Name:version`, which makes a published version one record and immutable."""
        legal = _KEY.fullmatch(self.name) and _KEY.fullmatch(self.version)
        return RecordKey(f"{self.name}:{self.version}") if legal else Tid.now()

    @cached_property
    def identity(self) -> Cid:
        """The CID of what makes it this schema: name, version, kind and content, not when or with what words."""
        wire = self.to_record()
        return Cid.of_cbor(cbor.encode({name: wire[name] for name in ("name", "version", "schemaType", "schema")}))

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name and version."""
        wire = self.to_record()
        said = {name: wire[name] for name in ("schemaType", "schema")}
        return IndexKeys(self.name, self.version, Cid.of_cbor(cbor.encode(said)))

    @cached_property
    def sample_schema(self) -> SampleSchema:
        """The fields it describes.

        Raises:
            SchemaError: it describes what no sample can hold here.
        """
        from atdata.schema import from_json_schema

        if self.schema_type != "jsonSchema" or self.unknown is not None:
            kind = self.schema_type if self.unknown is None else shown(self.unknown["$type"])
            raise SchemaError("the schema is of an unknown kind", uri=self.uri, expected="jsonSchema", actual=kind)
        return from_json_schema(self.name, self.content)

    @property
    def sample_type(self) -> type[PackableSample]:
        """The sample type it describes; the same class for equal fields and name.

        Raises:
            SchemaError: it describes what no sample can hold here.
        """
        from atdata.schema import type_of

        return type_of(self.sample_schema)

    def type_for(self, sample_type: type[T] | None) -> type[T]:
        """The type to read samples of this schema as: the one somebody asks for, if it reads them, else its own.

        Raises:
            CompatibilityError: the type does not read what this schema describes; `path` names the field.
            FieldTypeError: it is no sample type.
            SchemaError: none was asked for, and it describes what no sample can hold here.
        """
        from atdata.schema import check_reads

        if sample_type is None:
            return self.sample_type  # type: ignore[return-value]  # then T is what is built
        try:
            described = self.sample_schema
        except SchemaError:  # so nobody but the caller can say what the samples are
            return sample_type
        check_reads(sample_type, described, self.uri)
        return sample_type

    def to_record(self) -> dict[str, Any]:
        """The wire form. The content stands twice: in `content`, and flattened for readers of the first era."""
        content = dict(self.content)
        flat = {name: content[name] for name in ("type", "properties", "required") if name in content}
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            version=self.version,
            schemaType=self.schema_type,
            schema=dict(self.unknown)
            if self.unknown is not None
            else {
                "$type": older.SCHEMA_FORMAT,
                "draft": older.DRAFT,
                "content": content,
                **({"arrayFormatVersions": dict(self.array_formats)} if self.array_formats else {}),
                **flat,
            },
            description=self.description,
            metadata=None if self.metadata is None else dict(self.metadata),
            createdAt=self.created_at,
            **{_COMPATIBILITY: self.compatibility},
            **{"$atdataSchemaVersion": 1},
            **self.extra,
        )

    @classmethod
    def _rewritten(cls, value: dict[str, Any]) -> older.Rewritten:
        return older.of_schema(value)

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        body = value["schema"]
        known = body["$type"] == older.SCHEMA_FORMAT
        return cls(
            name=value["name"],
            version=value["version"],
            content=_content(body) if known else {},
            array_formats=body.get("arrayFormatVersions", {}) if known else {},
            unknown=None if known else body,
            description=value.get("description"),
            metadata=value.get("metadata"),
            schema_type=value["schemaType"],
            compatibility=value.get(_COMPATIBILITY),
            created_at=value["createdAt"],
            extra=rest_of(value, *_MEMBERS),
        )


def _content(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema document in a record's `schema` member; what stands there flattened must say the same."""
    content: dict[str, Any] = body["content"]
    if "properties" in body and body["properties"] != content.get("properties"):
        raise SchemaError("the two forms of a schema disagree", path="schema.properties", hint="Ask its publisher.")
    return content
