"""The AT Protocol data model: its JSON form, and what a record may hold.

https://atproto.com/specs/data-model. In JSON a link is `{"$link": cid}` and a byte string `{"$bytes": base64}`; in
memory they are `Cid` and `bytes`, as `cbor.decode` gives them.
"""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from atdata.atproto.cbor import MAX_DEPTH, MAX_INTEGER, Value
from atdata.atproto.cid import Cid
from atdata.errors import DataModelError, IdentifierError

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer JSON carries safely between implementations."""

KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "string",
    bytes: "bytes",
    Cid: "link",
    list: "array",
    dict: "map",
}
"""The data model's words for the types that hold its values."""

_JSON_FORMS = ("$link", "$bytes")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class Place(NamedTuple):
    """A place in a value. Its text (`a.b[3]`) is only made for an error: the names, and their length, are a stranger's."""

    parent: Place | None = None
    name: str | int = ""

    def __truediv__(self, name: str | int) -> Place:
        return Place(self, name)

    def __str__(self) -> str:
        names: list[str] = []
        here = self
        while here.parent is not None:
            names.append(f"[{here.name}]" if isinstance(here.name, int) else f".{here.name[:100]}")
            here = here.parent
        return "".join(reversed(names)).removeprefix(".")


def from_json(obj: Any) -> Value:
    """The value behind parsed JSON (what `json.loads` gives).

    A float that is a whole number becomes an integer, since JSON has one kind of number. Base64 is read with and
    without padding.

    Raises:
        DataModelError: a fraction, malformed `$link` or `$bytes`, text with lone surrogates, an integer beyond 64
            bits, nesting deeper than `cbor.MAX_DEPTH`. `path` names the place (`a.b[3]`).
    """
    return _read(obj, Place(), 0)


def to_json(value: Value) -> Any:
    """The JSON form of a value, ready for `json.dumps`; bytes are written without padding.

    Raises:
        DataModelError: a float, nesting deeper than `cbor.MAX_DEPTH`, or something that is no value of the data model.
    """
    return _write(value, Place(), 0)


def check_record(value: object) -> dict[str, Value]:
    """The value itself, once it is known to be a map that keeps the rules of the data model at every depth.

    No floats; integers within 53 bits (the spec's recommendation, which servers enforce); `$type` a non-empty string;
    `$type: blob` only on a well-formed blob; `$link` and `$bytes` never as names in a map, where JSON would read
    something else. Lexicons demand more: see `lexicon.LexiconCatalog`.

    Raises:
        DataModelError: with `path` naming the place.
    """
    if not isinstance(value, dict):
        raise DataModelError("not a record", expected="a map", actual=kind_of(value))
    _check(value, Place(), 0)
    return value


def is_blob(value: object) -> bool:
    """True if a value is a well-formed reference to a blob (spec: `blob` type)."""
    if not isinstance(value, dict) or value.get("$type") != "blob":
        return False
    mime, size = value.get("mimeType"), value.get("size")
    return isinstance(value.get("ref"), Cid) and isinstance(mime, str) and mime != "" and type(size) is int and size > 0


def kind_of(value: object) -> str:
    """The data model's word for the kind of a value, for messages."""
    return KINDS.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """A short form of a stranger's value for messages; its `repr` may be endless, deep, or slow to make."""
    if isinstance(value, str):
        return ascii(value[:100])
    if isinstance(value, int) and value.bit_length() <= 64:
        return str(value)
    return kind_of(value)


def _wrong(what: str, here: Place, **facts: Any) -> DataModelError:
    return DataModelError(what, path=str(here) or None, **facts)


def _deeper(depth: int, here: Place) -> int:
    if depth >= MAX_DEPTH:
        raise _wrong(f"nested deeper than {MAX_DEPTH}", here)
    return depth + 1


def _check_text(text: object, here: Place) -> None:
    if not isinstance(text, str):
        raise _wrong("a name that is not text", here, actual=kind_of(text), hint="Names in a map are text.")
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        hint = "Half of a surrogate pair is no character: write whole ones."
        raise _wrong("text with lone surrogates", here, actual=ascii(text[:100]), hint=hint) from None


def _check_integer(number: int, limit: int, here: Place) -> None:
    if not -limit <= number <= limit:
        # Its digits are not shown: printing a huge integer takes quadratic time.
        raise _wrong("integer out of range", here, expected=f"at most {limit}", actual=f"{number.bit_length()} bits")


def _read(obj: Any, here: Place, depth: int) -> Value:
    match obj:
        case None | bool():
            return obj
        case int():
            _check_integer(obj, MAX_INTEGER, here)
            return obj
        case float() if obj.is_integer() and abs(obj) <= MAX_SAFE_INTEGER:
            return int(obj)
        case str():
            _check_text(obj, here)
            return obj
        case list():
            depth = _deeper(depth, here)
            return [_read(item, here / index, depth) for index, item in enumerate(obj)]
        case {"$link": _}:
            return _read_link(obj, here)
        case {"$bytes": _}:
            return _read_bytes(obj, here)
        case dict():
            return _read_map(obj, here, _deeper(depth, here))
        case _:
            raise _wrong("not in the data model", here, actual=kind_of(obj))


def _read_map(obj: dict[Any, Any], here: Place, depth: int) -> dict[str, Value]:
    values = {}
    for name, item in obj.items():
        _check_text(name, here)
        values[name] = _read(item, here / name, depth)
    return values


def _read_link(obj: dict[str, Any], here: Place) -> Cid:
    if len(obj) > 1:
        raise _wrong("a link with other members", here)
    try:
        return Cid.parse(obj["$link"])
    except IdentifierError as error:
        raise _wrong("a link that is not a CID", here, actual=error.actual, hint=error.hint) from error


def _read_bytes(obj: dict[str, Any], here: Place) -> bytes:
    text = obj["$bytes"]
    if len(obj) > 1:
        raise _wrong("bytes with other members", here)
    if not isinstance(text, str) or not _BASE64.fullmatch(text):
        raise _wrong("bytes that are not base64", here, actual=shown(text))
    digits = text.rstrip("=")
    padded = digits + "=" * (-len(digits) % 4)
    if len(digits) % 4 == 1 or text not in (digits, padded):
        raise _wrong("base64 of an impossible length", here, actual=f"{len(text)} characters")
    return base64.b64decode(padded)


def _write(value: object, here: Place, depth: int) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return {"$bytes": base64.b64encode(value).decode("ascii").rstrip("=")}
        case Cid():
            return {"$link": str(value)}
        case list():
            depth = _deeper(depth, here)
            return [_write(item, here / index, depth) for index, item in enumerate(value)]
        case dict():
            depth = _deeper(depth, here)
            return {name: _write(item, here / name, depth) for name, item in value.items()}
        case _:
            raise _wrong("not in the data model", here, actual=kind_of(value))


def _check(value: object, here: Place, depth: int) -> None:
    match value:
        case str():  # the most frequent first
            _check_text(value, here)
        case dict():
            _check_map(value, here, _deeper(depth, here))
        case list():
            depth = _deeper(depth, here)
            for index, item in enumerate(value):
                _check(item, here / index, depth)
        case None | bool() | bytes() | Cid():
            return
        case int():
            _check_integer(value, MAX_SAFE_INTEGER, here)
        case float():
            raise _wrong(
                "a float", here, actual=value, hint="Records hold no floats: use a string, bytes, or scaled integers."
            )
        case _:
            hint = "Records hold text, integers, booleans, bytes, CIDs, and lists and maps of them."
            raise _wrong("not in the data model", here, actual=kind_of(value), hint=hint)


def _check_map(value: dict[Any, Any], here: Place, depth: int) -> None:
    for name, item in value.items():
        _check_text(name, here)
        if name in _JSON_FORMS:
            raise _wrong("a reserved name in a map", here / name, hint="In memory links are Cid and bytes are bytes.")
        _check(item, here / name, depth)
    kind = value.get("$type", "map")
    if not isinstance(kind, str) or not kind:
        raise _wrong("$type is not a non-empty string", here / "$type", actual=shown(kind))
    if kind == "blob" and not is_blob(value):
        raise _wrong("a malformed blob", here, expected="ref: link, mimeType: string, size: positive integer")
