"""The schema record: one published version of a sample type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import Nsid, RecordKey, Tid
from atdata.errors import SchemaError, UsageError
from atdata.records import nsids
from atdata.records.record import Listed, Record, old_form, rest_of, without_none
from atdata.records.version import is_semver
from atdata.samples import PackableSample
from atdata.schema import SampleSchema, from_json_schema, schema_of, to_json_schema, type_of
from atdata.schema.jsonschema import DRAFT

_FORMAT = "science.alt.dataset.schema#jsonSchemaFormat"
_KEY = re.compile(r"[A-Za-z0-9._~-]+")
_MEMBERS = ("name", "version", "schemaType", "schema", "createdAt", "description", "metadata", "$atdataSchemaVersion")


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
    """

    NSID: ClassVar[Nsid] = nsids.SCHEMA

    name: str
    version: str
    content: Mapping[str, Any]
    array_formats: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    metadata: Mapping[str, Any] | None = None
    schema_type: str = "jsonSchema"

    @classmethod
    def of(
        cls,
        sample_type: type,
        *,
        version: str,
        name: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Schema:
        """The schema record of a sample type.

        Raises:
            FieldTypeError: it is no sample type.
            UsageError: the version is no semantic version.
        """
        if not is_semver(version):
            raise UsageError("a version that is no semantic version", expected="like 1.0.0", actual=version)
        model = schema_of(sample_type, name)
        content, formats = to_json_schema(model)
        return cls(
            name=model.name,
            version=version,
            content=content,
            array_formats=formats,
            description=description,
            metadata=metadata,
        )

    @property
    def rkey(self) -> RecordKey:
        """Where it is published: `Name:version`, which makes a published version one record and immutable."""
        legal = _KEY.fullmatch(self.name) and _KEY.fullmatch(self.version)
        return RecordKey(f"{self.name}:{self.version}") if legal else Tid.now()

    @cached_property
    def identity(self) -> Cid:
        """The CID of what makes it this schema: name, version, kind and content, not when or with what words."""
        wire = self.to_record()
        return Cid.of_cbor(cbor.encode({name: wire[name] for name in ("name", "version", "schemaType", "schema")}))

    @property
    def listed(self) -> Listed:
        """Under its name and version."""
        wire = self.to_record()
        said = {name: wire[name] for name in ("schemaType", "schema")}
        return Listed(self.name, self.version, Cid.of_cbor(cbor.encode(said)))

    @cached_property
    def sample_schema(self) -> SampleSchema:
        """The fields it describes.

        Raises:
            SchemaError: it describes what no sample can hold here.
        """
        if self.schema_type != "jsonSchema":
            raise SchemaError(
                "a schema of an unknown kind", uri=self.uri, expected="jsonSchema", actual=self.schema_type
            )
        return from_json_schema(self.name, self.content)

    @property
    def sample_type(self) -> type[PackableSample]:
        """The sample type it describes; the same class for equal fields and name.

        Raises:
            SchemaError: it describes what no sample can hold here.
        """
        return type_of(self.sample_schema)

    def to_record(self) -> dict[str, Any]:
        """The wire form. The content stands twice: in `content`, and flattened for readers of the first era."""
        content = dict(self.content)
        flat = {name: content[name] for name in ("type", "properties", "required") if name in content}
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            version=self.version,
            schemaType=self.schema_type,
            schema={
                "$type": _FORMAT,
                "draft": DRAFT,
                "content": content,
                **({"arrayFormatVersions": dict(self.array_formats)} if self.array_formats else {}),
                **flat,
            },
            description=self.description,
            metadata=None if self.metadata is None else dict(self.metadata),
            createdAt=self.created_at,
            **{"$atdataSchemaVersion": 1},
            **self.extra,
        )

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        body = value.get("schema", value.get("schemaBody"))
        content = _content(body) if isinstance(body, dict) else _from_field_list(value)
        formats = body.get("arrayFormatVersions") if isinstance(body, dict) else None
        if not isinstance(value.get("name"), str) or not isinstance(value.get("version"), str):
            raise old_form("a schema without name or version", "name", value.get("name"))
        return cls(
            name=value["name"],
            version=value["version"],
            content=content,
            array_formats=formats if isinstance(formats, dict) else {},
            description=value.get("description"),
            metadata=value.get("metadata"),
            schema_type=str(value.get("schemaType", "jsonSchema")),
            created_at=str(value.get("createdAt", "1970-01-01T00:00:00.000Z")),
            extra=rest_of(value, *_MEMBERS, "schemaBody", "fields"),
        )


def _content(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema document in a record's `schema` member, in the forms of three eras (formats.md 3)."""
    content = body.get("content", body.get("schemaBody"))
    flat = {name: body[name] for name in ("type", "properties", "required") if name in body}
    if isinstance(content, dict):
        if "properties" in flat and flat["properties"] != content.get("properties"):
            raise SchemaError("a schema whose two forms disagree", path="schema.properties", hint="Ask its publisher.")
        return content
    return {name: item for name, item in body.items() if name not in ("$type", "draft", "arrayFormatVersions")}


_PRIMITIVES = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte", "contentEncoding": "base64"},
}


def _from_field_list(value: dict[str, Any]) -> dict[str, Any]:
    """The first era's `fields: [{name, fieldType, optional}]` as JSON Schema."""
    listed = value.get("fields")
    if not isinstance(listed, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in listed
    ):
        raise old_form("a schema without fields", "fields", listed)
    names = [item["name"] for item in listed]
    return {
        "type": "object",
        "properties": {
            item["name"]: _from_field_type(item.get("fieldType"), f"fields.{item['name']}", 0) for item in listed
        },
        "required": [item["name"] for item in listed if not item.get("optional", False)],
        "propertyOrder": names,
    }


def _from_field_type(node: Any, path: str, depth: int) -> dict[str, Any]:
    kind = str(node.get("$type", "")).rpartition("#")[2] if isinstance(node, dict) else ""
    if kind == "primitive" and (found := _PRIMITIVES.get(str(node.get("primitive")))):
        return dict(found)
    if kind == "ndarray":
        ref = "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray"
        return {"$ref": ref, **({"dtype": node["dtype"]} if "dtype" in node else {})}
    if kind == "array" and depth < 32:
        return {"type": "array", "items": _from_field_type(node.get("items"), f"{path}.items", depth + 1)}
    raise old_form("a field type of the first era", path, node)
