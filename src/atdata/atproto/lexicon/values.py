"""Checking values against the types of lexicons.

https://atproto.com/specs/lexicon#field-type-definitions. Values are those of the data model: links are `Cid`, bytes
are `bytes`. Members that a type does not have are let through, since a lexicon may have grown them.

The checks follow the depth of the value, which the data model's own rules bound (`datamodel.check_record`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from atdata.atproto.cbor import Value
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import KINDS, Place, is_blob, kind_of, shown
from atdata.atproto.lexicon.document import Definition
from atdata.atproto.lexicon.graphemes import grapheme_count
from atdata.atproto.syntax import check_format
from atdata.errors import IdentifierError, LexiconError

Definitions: TypeAlias = Mapping[str, Definition]


def check_value(value: Value, spec: Definition, here: Place, definitions: Definitions) -> None:
    """Check a value that stands at `here` against a type.

    Raises:
        LexiconError: it does not fit, or a reference leads to no definition; `path` names the place.
    """
    check = _CHECKS.get(spec["type"])
    if check is None:
        raise _wrong("a type has no values", here, actual=spec["type"])
    check(value, spec, here, definitions)


def _wrong(what: str, here: Place, **facts: Any) -> LexiconError:
    return LexiconError(what, path=str(here) or None, **facts)


def _typed(value: Any, kind: type, here: Place) -> Any:
    # To Python True is an integer, to a lexicon it is not.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong("a value has the wrong type", here, expected=KINDS[kind], actual=kind_of(value))
    return value


def _check_within(what: str, number: Any, low: int | None, high: int | None, here: Place) -> None:
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
        raise _wrong(f"{what} out of range", here, expected=" and ".join(bounds), actual=number)


def _check_length(length: int, spec: Definition, here: Place) -> None:
    _check_within("a length", length, spec.get("minLength"), spec.get("maxLength"), here)


def _check_among(value: bool | int | str, spec: Definition, here: Place) -> None:
    if "const" in spec and value != spec["const"]:
        raise _wrong("a value is not the constant", here, expected=spec["const"], actual=shown(value))
    if "enum" in spec and value not in spec["enum"]:
        raise _wrong(
            "a value is not in the enum", here, expected=", ".join(map(str, spec["enum"])), actual=shown(value)
        )


def _check_boolean(value: Value, spec: Definition, here: Place, _: Definitions) -> None:
    _check_among(_typed(value, bool, here), spec, here)


def _check_integer(value: Value, spec: Definition, here: Place, _: Definitions) -> None:
    _check_among(_typed(value, int, here), spec, here)
    _check_within("an integer", value, spec.get("minimum"), spec.get("maximum"), here)


def _check_bytes(value: Value, spec: Definition, here: Place, _: Definitions) -> None:
    _check_length(len(_typed(value, bytes, here)), spec, here)


def _check_link(value: Value, _spec: Definition, here: Place, _: Definitions) -> None:
    _typed(value, Cid, here)


def _check_unknown(value: Value, _spec: Definition, here: Place, _: Definitions) -> None:
    if _typed(value, dict, here).get("$type") == "blob":
        raise _wrong("a blob stands in place of an object", here)


def _check_string(value: Value, spec: Definition, here: Place, _: Definitions) -> None:
    text: str = _typed(value, str, here)
    _check_among(text, spec, here)
    if "minLength" in spec or "maxLength" in spec:
        _check_length(len(text) if text.isascii() else len(text.encode("utf-8")), spec, here)
    if "minGraphemes" in spec or "maxGraphemes" in spec:
        _check_within("graphemes", grapheme_count(text), spec.get("minGraphemes"), spec.get("maxGraphemes"), here)
    if "format" in spec:
        try:
            check_format(spec["format"], text)
        except IdentifierError as error:
            raise _wrong(error.what, here, expected=spec["format"], actual=error.actual, hint=error.hint) from error


def _check_blob(value: Value, spec: Definition, here: Place, _: Definitions) -> None:
    if not isinstance(value, dict) or not is_blob(value):
        raise _wrong("a value has the wrong type", here, expected="blob", actual=kind_of(value))
    mime, size = value["mimeType"], value["size"]
    accept = spec.get("accept", ["*/*"])
    if not any(_accepts(pattern, mime) for pattern in accept):
        raise _wrong("a blob's type is not accepted", here, expected=", ".join(accept), actual=shown(mime))
    if isinstance(size, int) and size > spec.get("maxSize", size):
        raise _wrong("a blob is too large", here, expected=f"at most {spec['maxSize']} bytes", actual=size)


def _accepts(pattern: str, mime: Any) -> bool:
    return pattern in ("*/*", mime) or (pattern.endswith("/*") and str(mime).startswith(pattern[:-1]))


def _check_array(value: Value, spec: Definition, here: Place, definitions: Definitions) -> None:
    items: list[Value] = _typed(value, list, here)
    _check_length(len(items), spec, here)
    for index, item in enumerate(items):
        check_value(item, spec["items"], here / index, definitions)


def _check_object(value: Value, spec: Definition, here: Place, definitions: Definitions) -> None:
    members: dict[str, Value] = _typed(value, dict, here)
    for name in spec.get("required", ()):
        if name not in members:
            raise _wrong("a required member is missing", here / name)
    for name, inner in spec["properties"].items():
        if name not in members or (members[name] is None and name in spec.get("nullable", ())):
            continue
        check_value(members[name], inner, here / name, definitions)


def _check_ref(value: Value, spec: Definition, here: Place, definitions: Definitions) -> None:
    _check_defined(value, spec["ref"], here, definitions)


def _check_defined(value: Value, ref: str, here: Place, definitions: Definitions) -> None:
    definition = definitions.get(ref)
    if definition is None:
        raise _wrong(
            "a reference leads to an unknown lexicon", here, expected=ref, hint="Add that lexicon to the catalog."
        )
    # An object need not name its type where only one can be, but must not name another. A record always names it.
    if definition["type"] == "record" or (definition["type"] == "object" and "$type" in _typed(value, dict, here)):
        check_type(value, ref, here)
    check_value(value, definition["record"] if definition["type"] == "record" else definition, here, definitions)


def check_type(value: Value, expected: str, here: Place) -> None:
    """Check that a value is an object that names its type.

    Raises:
        LexiconError: it does not.
    """
    actual = _typed(value, dict, here).get("$type")
    if actual != expected:
        raise _wrong("$type is not the expected one", here / "$type", expected=expected, actual=shown(actual))


def _check_union(value: Value, spec: Definition, here: Place, definitions: Definitions) -> None:
    name = _typed(value, dict, here).get("$type")
    if not isinstance(name, str) or not name or name.endswith("#main"):
        # 'x#main' would pass an open union unchecked, as a type nobody knows, although it means 'x'.
        raise _wrong(
            "a member of a union does not name its type",
            here / "$type",
            expected="an NSID without #main",
            actual=shown(name),
        )
    if name in spec["refs"] and (name in definitions or spec.get("closed")):
        _check_defined(value, name, here, definitions)
    elif spec.get("closed"):
        raise _wrong(
            "$type is not in the closed union", here / "$type", expected=", ".join(spec["refs"]), actual=shown(name)
        )


_CHECKS: dict[str, Callable[[Value, Definition, Place, Definitions], None]] = {
    "boolean": _check_boolean,
    "integer": _check_integer,
    "string": _check_string,
    "bytes": _check_bytes,
    "cid-link": _check_link,
    "blob": _check_blob,
    "array": _check_array,
    "object": _check_object,
    "params": _check_object,
    "unknown": _check_unknown,
    "ref": _check_ref,
    "union": _check_union,
}
