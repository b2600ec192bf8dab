"""Fields as JSON Schema draft-07, and back (formats.md 3).

What is written avoids everything an AT Protocol record cannot hold (floats), and says in `propertyOrder` what
a canonical encoding of the record forgets: the order of the fields.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from atdata.errors import SchemaError
from atdata.samples import Array, DictOf, Field, FieldType, ListOf, Maybe, Plain, Scalar, Shape
from atdata.samples.fields import ScalarKind
from atdata.schema.model import SampleSchema

DRAFT = "draft-07"
_META = "http://json-schema.org/draft-07/schema#"
_HOSTS = ("https://json-schema.alt.science/", "https://alt.science/schemas/")
_NDARRAY = "atdata-ndarray-bytes"
_PLAIN_VERSION, _TYPED_VERSION = "1.0.0", "1.1.0"

# `$ref` is matched whole: a stranger's text never selects a format by resembling one.
_ARRAY_REFS = {
    f"{host}{_NDARRAY}/{version}#/$defs/ndarray" for host in _HOSTS for version in (_PLAIN_VERSION, _TYPED_VERSION)
}
_OTHER_FORMATS = {
    "atdata-sparse-bytes/1.0.0#/$defs/sparse": "sparseBytes",
    "atdata-structured-bytes/1.0.0#/$defs/structured": "structuredBytes",
    "atdata-arrow-tensor/1.0.0#/$defs/tensor": "arrowTensor",
    "atdata-safetensors/1.0.0#/$defs/safetensors": "safetensors",
    "atdata-dataframe/1.0.0#/$defs/dataframe": "dataframe",
}
_OTHER_REFS = {f"{host}{tail}": name for host in _HOSTS for tail, name in _OTHER_FORMATS.items()}

_BYTES = {"type": "string", "format": "byte", "contentEncoding": "base64"}
_TYPES: dict[ScalarKind, dict[str, str]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": _BYTES,
}
_KINDS: dict[str, ScalarKind] = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}

_SCALARS: dict[str, type[np.generic]] = {
    np.dtype(scalar).name: scalar
    for scalar in (
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
        *(np.float16, np.float32, np.float64, np.complex64, np.complex128, np.bool_),
    )
} | {"datetime64": np.datetime64, "timedelta64": np.timedelta64, "str": np.str_, "bytes": np.bytes_, "void": np.void}
_DTYPE_NAMES = {scalar: name for name, scalar in _SCALARS.items()}

_MAX_DEPTH = 32


def to_json_schema(schema: SampleSchema) -> tuple[dict[str, Any], dict[str, str]]:
    """The JSON Schema of a sample type, and the versions of the array formats it uses."""
    properties = {field.name: _write(_bare(field.type)) for field in schema.fields}
    versions = {"ndarrayBytes": max(v)} if (v := {v for f in schema.fields for v in _versions(f.type)}) else {}
    content = {
        "$schema": _META,
        "title": schema.name,
        "type": "object",
        "properties": properties,
        "required": [field.name for field in schema.fields if not isinstance(field.type, Maybe)],
        "propertyOrder": [field.name for field in schema.fields],
    }
    return content, versions


def from_json_schema(name: str, content: Mapping[str, Any]) -> SampleSchema:
    """The sample type that a JSON Schema describes.

    Raises:
        SchemaError: a field is of a kind that no sample can hold here; `path` names it.
    """
    properties = content.get("properties")
    if not isinstance(properties, Mapping) or not all(isinstance(key, str) for key in properties):
        raise SchemaError("a schema has no properties", path="properties", actual=_show(properties))
    required = _names(content.get("required"), properties)
    ordered = _names(content.get("propertyOrder"), properties) or required
    fields = []
    for key in [*ordered, *(key for key in properties if key not in ordered)]:
        field_type = _read(properties[key], f"properties.{key}", 0)
        optional = key not in required and not isinstance(field_type, Maybe)
        fields.append(Field(key, Maybe(field_type) if optional else field_type))
    return SampleSchema(name, tuple(fields))


def _bare(field_type: FieldType) -> FieldType:
    """The field type without `None`: at the top, leaving a field out of `required` says that."""
    return field_type.inner if isinstance(field_type, Maybe) else field_type


def _versions(field_type: FieldType) -> set[str]:
    match field_type:
        case Array(scalar, shape):
            return {_TYPED_VERSION if scalar in _DTYPE_NAMES or shape else _PLAIN_VERSION}
        case ListOf(inner) | DictOf(inner) | Maybe(inner):
            return _versions(inner)
    return set()


def _write(field_type: FieldType) -> dict[str, Any]:
    match field_type:
        case Scalar(kind):
            return dict(_TYPES[kind])
        case Array():
            return _write_array(field_type)
        case ListOf(item):
            return {"type": "array"} if isinstance(item, Plain) else {"type": "array", "items": _write(item)}
        case DictOf(value):
            return (
                {"type": "object"}
                if isinstance(value, Plain)
                else {"type": "object", "additionalProperties": _write(value)}
            )
        case Maybe(inner):
            return {"anyOf": [_write(inner), {"type": "null"}]}
        case Plain():
            return {}


def _write_array(array: Array) -> dict[str, Any]:
    version = max(_versions(array))
    written: dict[str, Any] = {"$ref": f"{_HOSTS[0]}{_NDARRAY}/{version}#/$defs/ndarray"}
    if array.scalar in _DTYPE_NAMES:
        written["dtype"] = _DTYPE_NAMES[array.scalar]
    if array.shape is not None:
        written["shape"] = list(array.shape.dims)
        if array.shape.names is not None:
            written["dimensionNames"] = list(array.shape.names)
    return written


def _read(node: Any, path: str, depth: int) -> FieldType:
    if not isinstance(node, Mapping) or depth > _MAX_DEPTH:
        raise SchemaError("a schema is malformed", path=path, actual=_show(node))
    if "$ref" in node:
        return _read_reference(node, path)
    if "anyOf" in node or "oneOf" in node:
        return _read_choice(node, path, depth)
    kind = node.get("type")
    if isinstance(kind, list):  # ["string", "null"]
        return _read_choice({"anyOf": [{**node, "type": one} for one in kind]}, path, depth)
    if kind == "string" and (node.get("format") == "byte" or node.get("contentEncoding") == "base64"):
        return Scalar("bytes")
    if kind in _KINDS:
        return Scalar(_KINDS[kind])
    if kind == "array":
        return ListOf(_read(node["items"], f"{path}.items", depth + 1) if "items" in node else Plain())
    if kind == "object":
        inner = node.get("additionalProperties")
        return DictOf(
            _read(inner, f"{path}.additionalProperties", depth + 1) if isinstance(inner, Mapping) else Plain()
        )
    if kind is None:
        return Plain()
    raise SchemaError("a field's type is unknown", path=path, actual=_show(kind))


def _read_reference(node: Mapping[str, Any], path: str) -> FieldType:
    ref = node["$ref"]
    if ref in _ARRAY_REFS:
        return Array(_read_dtype(node.get("dtype")), _read_shape(node, path))
    if ref in _OTHER_REFS:
        raise SchemaError(
            f"a field's format {_OTHER_REFS[ref]} is not supported yet",
            path=path,
            hint="Read the dataset without a type: Dataset[atdata.DictSample].",
        )
    raise SchemaError("a $ref is unknown", path=path, actual=_show(ref))


def _read_choice(node: Mapping[str, Any], path: str, depth: int) -> FieldType:
    options = node.get("anyOf", node.get("oneOf"))
    rest = [o for o in options if o != {"type": "null"}] if isinstance(options, list) else []
    if not isinstance(options, list) or len(rest) != 1 or len(options) > 2:
        raise SchemaError(
            "a field has several types", path=path, expected="one type, or one type and null", actual=_show(node)
        )
    if isinstance(rest[0], Mapping) and rest[0].get("type") == "null":
        raise SchemaError("a field is always null", path=path)
    inner = _read(rest[0], path, depth + 1)
    return inner if len(options) == 1 or isinstance(inner, Maybe) else Maybe(inner)


def _read_dtype(dtype: Any) -> type[np.generic] | None:
    """The scalar class a dtype annotation names; open where it names none known here."""
    text = dtype if isinstance(dtype, str) else ""
    if match := re.fullmatch(r"(datetime64|timedelta64|str|bytes|void)(?:\d{1,6}|\[[0-9A-Za-z]{1,8}\])?", text):
        return _SCALARS[match[1]]
    if re.fullmatch(r"[<>=|][iufcb]\d{1,2}", text):
        with suppress(TypeError):
            return np.dtype(text).type
    return _SCALARS.get(text)


def _read_shape(node: Mapping[str, Any], path: str) -> Shape | None:
    dims, names = node.get("shape"), node.get("dimensionNames")
    if dims is None:
        return None
    valid = isinstance(dims, Sequence) and all(d is None or (type(d) is int and d >= 0) for d in dims)
    if not valid or isinstance(dims, str) or len(dims) > 32:
        raise SchemaError("an array field's shape is invalid", path=f"{path}.shape", actual=_show(dims))
    named = isinstance(names, list) and len(names) == len(dims) and all(isinstance(n, str) for n in names)
    return Shape(*dims, names=names if named else None)


def _names(value: Any, properties: Mapping[str, Any]) -> list[str]:
    """A list of property names, each once; empty where it is none."""
    if not isinstance(value, list):
        return []
    return list(dict.fromkeys(name for name in value if isinstance(name, str) and name in properties))


def _show(value: Any) -> str:
    return reprlib.repr(value)  # bounded in depth and length: a stranger made the value
