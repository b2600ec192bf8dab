"""Fields as JSON Schema draft-07, and back (formats.md 3).

What is written avoids everything an AT Protocol record cannot hold (floats), and says in `propertyOrder` what
a canonical encoding of the record forgets: the order of the fields. What JSON Schema has no word for stands in the
member `atdata` of a node, beside what other readers take.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from atdata.errors import SchemaError
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, Plain, Scalar
from atdata.samples.fields import MAX_LEVELS
from atdata.samples.kinds import LABELS, REFERENCES
from atdata.samples.kinds.kind import OURS
from atdata.samples.kinds.nested import read_fields, write_fields
from atdata.samples.kinds.scalars import JSON_TYPES
from atdata.schema.model import SampleSchema

Read: TypeAlias = Callable[[Any, str], FieldType]
"""Reads a node inside of another."""

_META = "http://json-schema.org/draft-07/schema#"


def to_json_schema(schema: SampleSchema) -> tuple[dict[str, Any], dict[str, str]]:
    """The JSON Schema of a sample type, and the versions of the array formats it uses."""
    versions = dict(sorted(pair for field in schema.fields for pair in field.type.formats()))  # of each, the highest
    return {"$schema": _META, "title": schema.name, **write_fields(schema.fields)}, versions


def from_json_schema(name: str, content: Mapping[str, Any]) -> SampleSchema:
    """The sample type that a JSON Schema describes.

    Raises:
        SchemaError: a field is of a kind that no sample can hold here; `path` names it.
    """
    return SampleSchema(name, read_fields(content, "", lambda node, path: _read(node, path, 0)))


def _read(node: Any, path: str, depth: int) -> FieldType:
    if depth > MAX_LEVELS:
        raise SchemaError("a schema is nested too deeply", path=path, expected=f"at most {MAX_LEVELS} levels")
    if not isinstance(node, Mapping):
        raise SchemaError("a schema is malformed", path=path, actual=_show(node))
    ours = node.get(OURS)
    label = ours.get("type") if isinstance(ours, Mapping) else None
    if "$ref" in node or not isinstance(ours, Mapping) or not isinstance(label, str) or label not in LABELS:
        return _read_plain(
            node, path, lambda part, place: _read(part, place, depth + 1)
        )  # of later kinds, what is stored
    plain = _read_plain(
        node, path, lambda *_: Plain()
    )  # what is inside is read once, or a deep one would take for ever
    kind: Any = LABELS[label].read(node, ours, path, lambda part, place: _read(part, place, depth + 1))
    if not _is_stored_as(kind.stored, plain):
        raise SchemaError(
            "a field's kind contradicts its type", path=path, expected=f"{kind.stored}, for {label}", actual=plain
        )
    found: FieldType = kind
    return found


def _is_stored_as(stored: FieldType, plain: FieldType) -> bool:
    """True if readers who do not know a kind take a node for what is stored."""
    if isinstance(stored, Array):
        return isinstance(plain, Array)
    return type(stored) is type(plain) and (not isinstance(stored, Scalar) or stored == plain)


def _read_plain(node: Mapping[str, Any], path: str, read: Read) -> FieldType:
    """The kind of a node as JSON Schema has it."""
    if "$ref" in node:
        return _read_reference(node, path)
    if "anyOf" in node or "oneOf" in node:
        return _read_choice(node, path, read)
    kind = node.get("type")
    if isinstance(kind, list):  # ["string", "null"]
        return _read_choice({"anyOf": [{**node, "type": one} for one in kind]}, path, read)
    if kind == "string" and (node.get("format") == "byte" or node.get("contentEncoding") == "base64"):
        return Scalar("bytes")
    if isinstance(kind, str) and kind in JSON_TYPES:
        return Scalar(JSON_TYPES[kind])
    if kind == "array":
        return ListOf(read(node["items"], f"{path}.items") if "items" in node else Plain())
    if kind == "object":
        inner = node.get("additionalProperties")
        known = isinstance(inner, Mapping)
        return DictOf(read(inner, f"{path}.additionalProperties") if known else Plain())
    if kind is None:
        return Plain()
    raise SchemaError("a field's type is unknown", path=path, actual=_show(kind))


def _read_reference(node: Mapping[str, Any], path: str) -> FieldType:
    ref = node["$ref"]
    if isinstance(ref, str) and ref in REFERENCES:
        found: FieldType = REFERENCES[ref].read_reference(node, path)
        return found
    raise SchemaError("a $ref is unknown", path=path, actual=_show(ref))


def _read_choice(node: Mapping[str, Any], path: str, read: Read) -> FieldType:
    options = node.get("anyOf", node.get("oneOf"))
    rest = [o for o in options if o != {"type": "null"}] if isinstance(options, list) else []
    if not isinstance(options, list) or len(rest) != 1 or len(options) > 2:
        raise SchemaError(
            "a field has several types", path=path, expected="one type, or one type and null", actual=_show(node)
        )
    if isinstance(rest[0], Mapping) and rest[0].get("type") == "null":
        raise SchemaError("a field is always null", path=path)
    inner = read(rest[0], path)
    return inner if len(options) == 1 or isinstance(inner, Maybe) else Maybe(inner)


def _show(value: Any) -> str:
    return reprlib.repr(value)  # bounded in depth and length: a stranger made the value
