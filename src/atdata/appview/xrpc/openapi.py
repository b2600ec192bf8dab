"""A description of the methods in OpenAPI, made from their lexicons, for tools that know nothing of lexicons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

_KEPT = ("description", "default", "enum", "const", "minimum", "maximum", "maxLength", "minLength", "format")
_ERROR: Schema = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
}


def openapi_of(lexicons: Iterable[Mapping[str, Any]], title: str, version: str) -> Schema:
    """The description, in OpenAPI 3.1, of the queries and procedures among some lexicons.

    It says no more than JSON Schema can: lengths of text are in characters there, in lexicons in bytes of UTF-8.

    Args:
        lexicons: documents, which refer to each other.
        title: of the service.
        version: of the service.
    """
    paths: Schema = {}
    schemas: Schema = {"error": _ERROR}
    for lexicon in sorted(lexicons, key=lambda each: str(each["id"])):
        nsid = str(lexicon["id"])
        for name, definition in lexicon["defs"].items():
            kind = definition["type"]
            if kind in ("query", "procedure"):
                paths[f"/xrpc/{nsid}"] = {"get" if kind == "query" else "post": _operation(nsid, definition)}
            elif kind not in ("subscription", "permission-set"):
                schemas[_named(nsid, f"#{name}")] = _schema(nsid, definition)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(nsid: str, definition: Mapping[str, Any]) -> Schema:
    refused = {"description": "An error.", "content": _json({"$ref": "#/components/schemas/error"})}
    answer: Schema = {"description": "The answer."}
    if "schema" in definition.get("output", {}):
        answer["content"] = _json(_schema(nsid, definition["output"]["schema"]))
    found: Schema = {
        "operationId": nsid,
        "description": definition.get("description", ""),
        "responses": {"200": answer, "4XX": refused, "5XX": refused},
    }
    params = definition.get("parameters", {})
    required = params.get("required", ())
    if params:
        found["parameters"] = [
            {"name": name, "in": "query", "required": name in required, "schema": _schema(nsid, value)}
            for name, value in params["properties"].items()
        ]
    if "input" in definition:
        found["requestBody"] = {"required": True, "content": _json(_schema(nsid, definition["input"]["schema"]))}
    return found


def _schema(nsid: str, definition: Mapping[str, Any]) -> Schema:
    """The JSON Schema of a type of lexicons."""
    said: Schema = {name: definition[name] for name in _KEPT if name in definition}
    match definition["type"]:
        case "record":
            return _schema(nsid, definition["record"])
        case "object":
            nullable = definition.get("nullable", ())
            members = {
                name: {"anyOf": [_schema(nsid, value), {"type": "null"}]} if name in nullable else _schema(nsid, value)
                for name, value in definition.get("properties", {}).items()
            }
            return {**said, "type": "object", "properties": members, "required": list(definition.get("required", ()))}
        case "array":
            bounds = {"minItems": definition.get("minLength"), "maxItems": definition.get("maxLength")}
            said = {name: value for name, value in said.items() if name not in ("minLength", "maxLength")}
            said |= {name: value for name, value in bounds.items() if value is not None}
            return {**said, "type": "array", "items": _schema(nsid, definition["items"])}
        case "ref":
            return {"$ref": f"#/components/schemas/{_named(nsid, definition['ref'])}"}
        case "union":
            refs = [{"$ref": f"#/components/schemas/{_named(nsid, ref)}"} for ref in definition["refs"]]
            return {**said, "anyOf": refs if definition.get("closed") else [*refs, {"type": "object"}]}
        case "string" | "integer" | "boolean" as name:
            return {**said, "type": name}
        case "token":
            return {**said, "type": "string"}
        case "bytes":
            return {"type": "object", "required": ["$bytes"], "properties": {"$bytes": {"type": "string"}}}
        case "cid-link":
            return {"type": "object", "required": ["$link"], "properties": {"$link": {"type": "string"}}}
        case _:  # blobs, and what is unknown
            return {"type": "object"}


def _named(nsid: str, reference: str) -> str:
    """The name of what a lexicon refers to."""
    lexicon, _, name = reference.partition("#")
    return f"{lexicon or nsid}.{name or 'main'}"


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
