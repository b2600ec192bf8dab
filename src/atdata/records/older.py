"""Wire forms of older eras, rewritten as today's (formats.md 3); today's lexicons then say whether they are valid.

Each rule acts on one form that was written once and that today's lexicons refuse, told by what it exactly is; all else
passes through as it came. What is older about a record is said in words for people (`Record.older_forms`). CIDs and
proofs are of the bytes that were published, never of what comes out here.
"""

from __future__ import annotations

import reprlib
from typing import Any, TypeAlias

from atdata.errors import LexiconError
from atdata.records import nsids
from atdata.records.nsids import SCHEMA

Rewritten: TypeAlias = tuple[dict[str, Any], tuple[str, ...]]
"""A wire form, and what was older about it."""

SCHEMA_FORMAT = f"{SCHEMA}#jsonSchemaFormat"
DRAFT = "draft-07"
_EPOCH = "1970-01-01T00:00:00.000Z"  # of a record that does not say when it was made: it is newer than none
_OLD = "ac.foundation.dataset."
_OLD_FORMAT = f"{_OLD}sampleSchema#jsonSchemaFormat"
_STORAGES = {
    f"{_OLD}storage{kind}": f"science.alt.dataset.storage{kind}" for kind in ("Blobs", "External", "Http", "S3")
}
_BARE_BLOBS = "science.alt.dataset.storageBlobs"
_MAX_DEPTH = 32


def of_collection(value: dict[str, Any], collection: str, today: str) -> Rewritten:
    """A record of a collection that is no longer written."""
    if collection == today or value.get("$type") != collection:
        return value, ()
    value = {"createdAt": _EPOCH, **value, "$type": today}
    if today == nsids.SCHEMA:
        value = {"schemaType": "jsonSchema", **value}
    return value, (f"a record of {collection}",)


def of_entry(value: dict[str, Any]) -> Rewritten:
    """An entry with metadata as an object, or whose storage lists bare blobs, or is named as it once was."""
    value, forms = dict(value), []
    storage = value.get("storage")
    if isinstance(storage, dict) and (today := _STORAGES.get(str(storage.get("$type")))):
        storage = value["storage"] = {**storage, "$type": today}
        forms.append("its storage is called as it once was")
    if isinstance(storage, dict) and storage.get("$type") == _BARE_BLOBS and _are_bare(storage.get("blobs")):
        value["storage"] = {**storage, "blobs": [{"blob": blob} for blob in storage["blobs"]]}
        forms.append("its storage lists bare blobs")
    if isinstance(value.get("metadata"), dict):
        from atdata.samples.codec import pack
        from atdata.samples.kinds import DictOf, Misfit, Plain

        try:
            value["metadata"] = pack(DictOf(Plain()).encoder(value["metadata"]))
        except Misfit as misfit:  # such as a link
            path = misfit.under("metadata").path
            raise LexiconError("an entry's metadata cannot be read", path=path, actual=misfit.actual) from None
        forms.append("its metadata are an object")
    return value, tuple(forms)


def _are_bare(blobs: Any) -> bool:
    return isinstance(blobs, list) and all(isinstance(blob, dict) and blob.get("$type") == "blob" for blob in blobs)


def of_schema(value: dict[str, Any]) -> Rewritten:
    """A schema whose JSON Schema stands in the record without an envelope, in `schemaBody`, or as a list of fields."""
    body = value.get("schema")
    if "schema" not in value and isinstance(value.get("schemaBody"), dict):
        value, body = _without(value, "schemaBody"), {"schemaBody": value["schemaBody"]}
    if "schema" not in value and isinstance(value.get("fields"), list):
        listed = _of_fields(value["fields"])
        return {**_without(value, "fields"), "schema": _envelope(listed, {})}, ("its schema is a list of fields",)
    if not isinstance(body, dict) or body.get("$type", SCHEMA_FORMAT) not in (SCHEMA_FORMAT, _OLD_FORMAT):
        return value, ()
    if {"draft", "content"} & body.keys():
        return value, ()
    if isinstance(body.get("schemaBody"), dict):
        return {**value, "schema": _envelope(body["schemaBody"], body)}, ("its schema is in schemaBody",)
    if isinstance(body.get("properties"), dict):
        content = _without(body, "$type", "arrayFormatVersions")
        return {**value, "schema": _envelope(content, body)}, ("its schema has no envelope of draft and content",)
    return value, ()


def _envelope(content: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    versions = {name: body[name] for name in ("arrayFormatVersions",) if name in body}
    return {"$type": SCHEMA_FORMAT, "draft": DRAFT, "content": content, **versions}


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in names}


_PRIMITIVES = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte", "contentEncoding": "base64"},
}


def _of_fields(fields: list[Any]) -> dict[str, Any]:
    """The first era's `fields: [{name, fieldType, optional}]` as JSON Schema."""
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in fields):
        raise _unreadable("a list of fields without names", "fields", fields)
    names = [item["name"] for item in fields]
    types = (_of_field_type(item.get("fieldType"), f"fields.{item['name'][:100]}", 0) for item in fields)
    required = [item["name"] for item in fields if not item.get("optional", False)]
    return {
        "type": "object",
        "properties": dict(zip(names, types, strict=True)),
        "required": required,
        "propertyOrder": names,
    }


def _of_field_type(node: Any, path: str, depth: int) -> dict[str, Any]:
    kind = str(node.get("$type", "")).rpartition("#")[2] if isinstance(node, dict) else ""
    if kind == "primitive" and (found := _PRIMITIVES.get(str(node.get("primitive")))):
        return dict(found)
    if kind == "ndarray":
        ref = "https://json-schema.alt.science/atdata-ndarray-bytes/1.1.0#/$defs/ndarray"
        return {"$ref": ref, **({"dtype": node["dtype"]} if "dtype" in node else {})}
    if kind == "array" and depth < _MAX_DEPTH:
        return {"type": "array", "items": _of_field_type(node.get("items"), f"{path}.items", depth + 1)}
    raise _unreadable("a field type of the first era", path, node)


def _unreadable(what: str, path: str, actual: object) -> LexiconError:
    return LexiconError(f"{what} cannot be read", path=path, actual=reprlib.repr(actual))
