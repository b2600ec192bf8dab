"""Reading lexicon documents: the language's own rules.

https://atproto.com/specs/lexicon. A checked document stays what it was, parsed JSON, with its references made
absolute. Members that the language does not have are ignored (`pattern`, for one), as it asks of its readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from atdata.atproto.datamodel import Place, from_json, shown
from atdata.atproto.syntax import FORMATS, Nsid, RecordKey
from atdata.errors import DataModelError, IdentifierError, LexiconError

Definition: TypeAlias = dict[str, Any]
"""A type, checked, in the form of its JSON."""

_Kind: TypeAlias = Callable[[Any], bool]


def _only(kind: type) -> _Kind:
    return lambda value: type(value) is kind  # to Python True is an integer, to a lexicon it is not


def _list_of(fits: _Kind) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _format(value: Any) -> bool:
    return isinstance(value, str) and value in FORMATS


_text, _integer, _boolean, _object = map(_only, (str, int, bool, dict))
_texts, _integers, _objects = map(_list_of, (_text, _integer, _object))
_LENGTH: dict[str, _Kind] = {"minLength": _size, "maxLength": _size}

_MEMBERS: dict[str, dict[str, _Kind]] = {
    "boolean": {"default": _boolean, "const": _boolean},
    "integer": {"minimum": _integer, "maximum": _integer, "enum": _integers, "default": _integer, "const": _integer},
    "string": {
        "format": _format,
        **_LENGTH,
        "minGraphemes": _size,
        "maxGraphemes": _size,
        "knownValues": _texts,
        "enum": _texts,
        "default": _text,
        "const": _text,
    },
    "bytes": _LENGTH,
    "cid-link": {},
    "blob": {"accept": _texts, "maxSize": _size},
    "array": {"items": _object, **_LENGTH},
    "object": {"properties": _object, "required": _texts, "nullable": _texts},
    "params": {"properties": _object, "required": _texts},
    "token": {},
    "ref": {"ref": _text},
    "union": {"refs": _texts, "closed": _boolean},
    "unknown": {},
    "record": {"key": _text, "record": _object},
    "query": {"parameters": _object, "output": _object, "errors": _objects},
    "procedure": {"parameters": _object, "input": _object, "output": _object, "errors": _objects},
    "subscription": {"parameters": _object, "message": _object, "errors": _objects},
    "permission-set": {"permissions": _objects},
    "permission": {"resource": _text},
}
_REQUIRED = {
    "array": {"items"},
    "object": {"properties"},
    "ref": {"ref"},
    "union": {"refs"},
    "record": {"key", "record"},
    "subscription": {"message"},
    "permission-set": {"permissions"},
    "permission": {"resource"},
}
_PRIMARY = frozenset({"record", "query", "procedure", "subscription", "permission-set"})
_CONCRETE = frozenset({"boolean", "integer", "string", "bytes", "cid-link", "blob", "array", "object"})
_NAMED = _CONCRETE | {"token"}
_FIELD = _CONCRETE | {"ref", "union", "unknown"}
_SCALAR = frozenset({"boolean", "integer", "string"})
_PARAMETER = _SCALAR | {"array"}
_BODY = frozenset({"object", "ref", "union"})
_BODIES = {"input": _BODY, "output": _BODY, "message": frozenset({"union"})}

_RECORD_KEY_TYPE = re.compile(r"tid|nsid|any|literal:(.+)")


def read_document(doc: Any) -> tuple[Nsid, dict[str, Definition]]:
    """The id and the definitions of a lexicon document (parsed JSON), which is copied.

    The definitions go by their absolute names: `nsid` for the main one, `nsid#name` for the others.

    Raises:
        LexiconError: it breaks the rules of the language; `path` names the place.
    """
    try:
        copy: Any = from_json(doc)
    except DataModelError as error:
        raise _wrong(error.what, path=error.path, actual=error.actual) from error
    here = Place()
    if not isinstance(copy, dict) or copy.get("lexicon") != 1 or isinstance(copy["lexicon"], bool):
        raise _wrong("not of version 1", path="lexicon")
    try:
        lexicon = Nsid(copy.get("id"))
    except IdentifierError as error:
        raise _wrong(error.what, path="id", actual=error.actual, hint=error.hint) from error
    defs = copy.get("defs")
    if not isinstance(defs, dict) or not defs:
        raise _wrong("no definitions", path="defs")
    for name, definition in defs.items():
        place = here / "defs" / name
        if not name or "#" in name:
            raise _wrong("not the name of a definition", path=str(place))
        _Reader(lexicon).check(definition, place, _NAMED | _PRIMARY if name == "main" else _NAMED)
    return lexicon, {_absolute(lexicon, name): definition for name, definition in defs.items()}


def _wrong(what: str, **facts: Any) -> LexiconError:
    return LexiconError(f"not a lexicon: {what}", **facts)


def _absolute(lexicon: str, name: str) -> str:
    return lexicon if name in ("", "main") else f"{lexicon}#{name}"


class _Reader:
    """Checks the types of one document, and makes its references absolute."""

    def __init__(self, lexicon: Nsid) -> None:
        self._lexicon = lexicon

    def check(self, spec: Any, here: Place, allowed: frozenset[str]) -> None:
        """Check a type that must be one of the `allowed`."""
        kind = spec.get("type") if isinstance(spec, dict) else None
        if not isinstance(kind, str) or kind not in allowed:
            raise _wrong("a type is not allowed here", path=str(here / "type"), actual=shown(kind))
        for name in sorted(_REQUIRED.get(kind, set()) - set(spec)):
            raise _wrong("a required member is missing", path=str(here / name))
        for name, fits in _MEMBERS[kind].items():
            if name in spec and not fits(spec[name]):
                raise _wrong("a member has an invalid value", path=str(here / name), actual=shown(spec[name]))
        self._check_inner(kind, spec, here, allowed)

    def _check_inner(self, kind: str, spec: Definition, here: Place, allowed: frozenset[str]) -> None:
        match kind:
            case "integer" | "string" | "bytes" | "array":
                _check_bounds(kind, spec, here)
                if kind == "array":
                    self.check(spec["items"], here / "items", _SCALAR if allowed == _PARAMETER else _FIELD)
            case "object" | "params":
                self._check_properties(spec, here, _FIELD if kind == "object" else _PARAMETER)
            case "ref":
                spec["ref"] = self._reference(spec["ref"], here / "ref")
            case "union":
                self._check_union(spec, here)
            case "record":
                _check_record_key_type(spec["key"], here / "key")
                self.check(spec["record"], here / "record", frozenset({"object"}))
            case "query" | "procedure" | "subscription":
                self._check_method(kind, spec, here)
            case "permission-set":
                for index, permission in enumerate(spec["permissions"]):
                    self.check(permission, here / "permissions" / index, frozenset({"permission"}))

    def _check_properties(self, spec: Definition, here: Place, allowed: frozenset[str]) -> None:
        properties = spec.setdefault("properties", {})
        for name, inner in properties.items():
            self.check(inner, here / "properties" / name, allowed)
        for name in spec.get("required", []):
            if name not in properties:
                raise _wrong("a required property is not defined", path=str(here / "required"), actual=shown(name))

    def _check_union(self, spec: Definition, here: Place) -> None:
        spec["refs"] = [self._reference(ref, here / "refs" / index) for index, ref in enumerate(spec["refs"])]
        if spec.get("closed") and not spec["refs"]:
            raise _wrong("a closed union has no members", path=str(here))

    def _check_method(self, kind: str, spec: Definition, here: Place) -> None:
        if "parameters" in spec:
            self.check(spec["parameters"], here / "parameters", frozenset({"params"}))
        # What the kind of method does not have, an input of a query say, is a member like any unknown one.
        for name in (name for name in _BODIES if name in _MEMBERS[kind] and name in spec):
            if name != "message" and not _text(spec[name].get("encoding")):
                raise _wrong("a body does not name its encoding", path=str(here / name / "encoding"))
            if "schema" in spec[name]:
                self.check(spec[name]["schema"], here / name / "schema", _BODIES[name])
        for index, error in enumerate(spec.get("errors", [])):
            if not _text(error.get("name")):
                raise _wrong("an error has no name", path=str(here / "errors" / index))

    def _reference(self, text: str, here: Place) -> str:
        lexicon, _, name = text.partition("#")
        try:
            return _absolute(Nsid(lexicon or self._lexicon), name)
        except IdentifierError as error:
            raise _wrong("not a reference", path=str(here), actual=shown(text), hint=error.hint) from error


def _check_bounds(kind: str, spec: Definition, here: Place) -> None:
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minGraphemes", "maxGraphemes")):
        if {low, high} <= spec.keys() & _MEMBERS[kind].keys() and spec[low] > spec[high]:
            raise _wrong(
                "bounds contradict each other", path=str(here / low), expected=f"at most {spec[high]}", actual=spec[low]
            )
    if "const" in spec and "default" in spec:
        raise _wrong("both a constant and a default", path=str(here))


def _check_record_key_type(text: str, here: Place) -> None:
    match = _RECORD_KEY_TYPE.fullmatch(text)
    if match is None:
        raise _wrong(
            "the type of record keys is unknown",
            path=str(here),
            expected="tid, nsid, any or literal:...",
            actual=shown(text),
        )
    if match[1]:
        try:
            RecordKey(match[1])
        except IdentifierError as error:
            raise _wrong(error.what, path=str(here), actual=error.actual, hint=error.hint) from error
