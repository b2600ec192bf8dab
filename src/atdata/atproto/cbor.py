"""Strict DAG-CBOR (DRISL): one encoding for each value, and nothing else is read.

Spec: https://dasl.ing/drisl.html, https://ipld.io/specs/codecs/dag-cbor/spec/. Because both sides are canonical,
`encode(decode(block)) == block` for every block that decodes, and a value cannot have two CIDs.

Floats are part of DRISL and so of this codec; records may not hold them, which `datamodel.check_record` says.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NoReturn, TypeAlias

from atdata.atproto.cid import Cid
from atdata.errors import DataModelError
from atdata.native import native

Value: TypeAlias = bool | int | float | str | bytes | Cid | list["Value"] | dict[str, "Value"] | None

MAX_DEPTH = 128
"""Containers within containers that are read or written; more is an attack on the stack."""

MAX_ITEMS = 1 << 16
"""Values in the containers of one block that are read or written. A byte may hold one, which takes fifty in memory."""

MAX_INTEGER = 2**64 - 1
"""The largest argument of a CBOR integer; the smallest integer is `-1 - MAX_INTEGER`."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _TRUE, _NULL, _FLOAT64 = 20, 21, 22, 27
_LINK_TAG = 42
_CONSTANTS: dict[int, bool | None] = {_FALSE: False, _TRUE: True, _NULL: None}
# A multi-byte argument must not have fitted into the next shorter form.
_SMALLEST_IN = {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}


def decode(block: bytes) -> Value:
    """The value of a whole block.

    Raises:
        DataModelError: not canonical DAG-CBOR, nested deeper than `MAX_DEPTH`, with more than `MAX_ITEMS` values, or
            followed by more bytes. `path` is the offset of the offending byte.
    """
    value, end = decode_first(block)
    if end != len(block):
        _fail(end, "bytes after the end of the value", actual=f"{len(block) - end} bytes")
    return value


def decode_first(data: bytes, offset: int = 0) -> tuple[Value, int]:
    """The value that starts at `offset`, and the offset of the byte after it.

    Raises:
        DataModelError: as `decode`, trailing bytes apart.
    """
    if native is not None:  # the same loop in C refuses whatever the one below has an error for
        found: Any = native.decode_cbor(data, offset, MAX_DEPTH, MAX_ITEMS, Cid)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return _value(data, offset, 0, _Quota())


def encode(value: object) -> bytes:
    """The one encoding of a value.

    Raises:
        DataModelError: a value DAG-CBOR has no form for: another type, an integer beyond 64 bits, a float that is not
            finite, negative zero, text with lone surrogates, nesting deeper than `MAX_DEPTH`, more than `MAX_ITEMS` values.
    """
    if native is not None:
        block: bytes | None = native.encode_cbor(value, MAX_DEPTH, MAX_ITEMS, Cid)
        if block is not None:
            return block
    out = bytearray()
    _write(out, value, 0, _Quota())
    return bytes(out)


class _Quota:
    """The values that one block may still hold."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_ITEMS

    def take(self, count: int) -> bool:
        """Take some, before any of them is made; `False` where there are not as many."""
        self.left -= count
        return self.left >= 0


def _fail(at: int, what: str, **facts: Any) -> NoReturn:
    raise DataModelError(f"not DAG-CBOR: {what}", path=f"byte {at}", **facts)


def _head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Major type, additional information, argument, and the offset after them."""
    if at >= len(data):
        _fail(at, "the block ends early")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, info, at + 1
    if info > 27:
        _fail(at, "indefinite length or reserved form", actual=f"0x{data[at]:02x}")
    size = 1 << (info - 24)
    end = at + 1 + size
    if end > len(data):
        _fail(at, "the block ends early")
    argument = int.from_bytes(data[at + 1 : end])
    if major != _SIMPLE and argument < _SMALLEST_IN[size]:
        _fail(at, "a number not in its shortest form", actual=data[at:end].hex(" "))
    return major, info, argument, end


def _value(data: bytes, at: int, depth: int, quota: _Quota) -> tuple[Value, int]:
    major, info, argument, end = _head(data, at)
    if major == _UNSIGNED:
        return argument, end
    if major == _NEGATIVE:
        return -1 - argument, end
    if major == _BYTES:
        return _string(data, at, argument, end)
    if major == _TEXT:
        return _text(data, at, argument, end)
    if major == _SIMPLE:
        return _simple(at, info, argument), end
    if major == _TAG:
        return _link(data, at, argument, end)
    if depth >= MAX_DEPTH:
        _fail(at, f"nested deeper than {MAX_DEPTH}")
    what, width = ("items", 1) if major == _ARRAY else ("entries", 2)
    if argument * width > len(data) - end:  # an item takes a byte at least
        _fail(at, "the block ends early", expected=f"{argument} {what}", actual=f"{len(data) - end} bytes")
    if not quota.take(argument):
        _fail(at, f"more than {MAX_ITEMS} values")
    return (_array if major == _ARRAY else _map)(data, argument, end, depth + 1, quota)


def _string(data: bytes, at: int, length: int, start: int) -> tuple[bytes, int]:
    if length > len(data) - start:
        _fail(at, "the block ends early", expected=f"{length} bytes", actual=f"{len(data) - start} bytes")
    return data[start : start + length], start + length


def _text(data: bytes, at: int, length: int, start: int) -> tuple[str, int]:
    raw, end = _string(data, at, length, start)
    try:
        return raw.decode("utf-8"), end
    except UnicodeDecodeError:
        _fail(at, "text that is not UTF-8")


def _simple(at: int, info: int, argument: int) -> bool | float | None:
    if info in _CONSTANTS:
        return _CONSTANTS[info]
    if info != _FLOAT64:
        _fail(at, "a simple value or a short float", expected="false, true, null or a 64-bit float")
    number: float = struct.unpack(">d", argument.to_bytes(8))[0]
    return _checked_float(number, at)


def _checked_float(number: float, at: int | None = None) -> float:
    # The sign of zero and the payload of NaN would give one number several encodings.
    if math.isfinite(number) and (number or math.copysign(1, number) > 0):
        return number
    where = None if at is None else f"byte {at}"
    raise DataModelError("not DAG-CBOR: a float that is not finite, or negative zero", actual=number, path=where)


def _link(data: bytes, at: int, tag: int, start: int) -> tuple[Cid, int]:
    if tag != _LINK_TAG:
        _fail(at, "a tag other than 42", actual=tag)
    major, _, length, body = _head(data, start)
    if major != _BYTES:
        _fail(start, "a link that is not a byte string")
    raw, end = _string(data, start, length, body)
    if raw[:1] != b"\0":
        _fail(body, "a link without its zero byte")
    try:
        return Cid.from_bytes(raw[1:]), end
    except DataModelError as error:
        error.path = f"byte {body + 1}"
        raise


def _array(data: bytes, count: int, end: int, depth: int, quota: _Quota) -> tuple[list[Value], int]:
    items = []
    for _ in range(count):
        item, end = _value(data, end, depth, quota)
        items.append(item)
    return items, end


def _map(data: bytes, count: int, end: int, depth: int, quota: _Quota) -> tuple[dict[str, Value], int]:
    entries: dict[str, Value] = {}
    previous: tuple[int, bytes] = (-1, b"")
    for _ in range(count):
        key_at = end
        major, _, length, end = _head(data, key_at)
        if major != _TEXT:
            _fail(key_at, "a map key that is not text")
        key, key_end = _text(data, key_at, length, end)
        order = (length, data[end:key_end])
        if order <= previous:
            _fail(key_at, "map keys out of order, or duplicate", actual=key)
        previous = order
        entries[key], end = _value(data, key_end, depth, quota)
    return entries, end


def _write(out: bytearray, value: object, depth: int, quota: _Quota) -> None:
    match value:
        case None:
            out.append(_SIMPLE << 5 | _NULL)
        case bool():
            out.append(_SIMPLE << 5 | (_TRUE if value else _FALSE))
        case int():
            _write_integer(out, value)
        case str():
            _write_string(out, _TEXT, _utf8(value))
        case bytes():
            _write_string(out, _BYTES, value)
        case float():
            out.append(_SIMPLE << 5 | _FLOAT64)
            out += struct.pack(">d", _checked_float(value))
        case Cid():
            _write_head(out, _TAG, _LINK_TAG)
            _write_string(out, _BYTES, b"\0" + bytes(value))
        case list() | dict():
            _write_container(out, value, depth + 1, quota)
        case _:
            raise DataModelError("no DAG-CBOR form for a value", actual=type(value).__name__)


def _write_head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    size = 1 if argument < 1 << 8 else 2 if argument < 1 << 16 else 4 if argument < 1 << 32 else 8
    out.append(major << 5 | (23 + size.bit_length()))
    out += argument.to_bytes(size)


def _write_integer(out: bytearray, value: int) -> None:
    major, argument = (_UNSIGNED, value) if value >= 0 else (_NEGATIVE, -1 - value)
    if argument > MAX_INTEGER:
        # Not shown: a number this large may take longer to print than its author took to send it.
        raise DataModelError(
            "no DAG-CBOR form for an integer", expected="at most 64 bits", actual=f"{value.bit_length()} bits"
        )
    _write_head(out, major, argument)


def _write_string(out: bytearray, major: int, raw: bytes) -> None:
    _write_head(out, major, len(raw))
    out += raw


def _write_container(out: bytearray, value: list[object] | dict[object, object], depth: int, quota: _Quota) -> None:
    if depth > MAX_DEPTH:
        raise DataModelError(f"no DAG-CBOR form for a value nested deeper than {MAX_DEPTH}")
    if not quota.take(len(value)):
        raise DataModelError(f"no DAG-CBOR form for more than {MAX_ITEMS} values")
    if isinstance(value, list):
        _write_head(out, _ARRAY, len(value))
        for item in value:
            _write(out, item, depth, quota)
        return
    _write_head(out, _MAP, len(value))
    for raw, item in sorted(((_key(key), item) for key, item in value.items()), key=_key_order):
        _write_string(out, _TEXT, raw)
        _write(out, item, depth, quota)


def _key(key: object) -> bytes:
    if not isinstance(key, str):
        raise DataModelError("no DAG-CBOR form for a map key that is not text", actual=type(key).__name__)
    return _utf8(key)


def _key_order(entry: tuple[bytes, object]) -> tuple[int, bytes]:
    return len(entry[0]), entry[0]


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataModelError("no DAG-CBOR form for text with lone surrogates", actual=ascii(text[:100])) from None
