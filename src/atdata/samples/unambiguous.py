"""Values in JSON, msgpack and CBOR that lose nothing when they are read: decoders take the last of two equal keys, and read
a number that no double can hold as infinity. Here both are errors.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

_FEW = 23  # counts that stand in the first byte of CBOR
_BREAK = 0xFF
# msgpack from 0xc0 on: bytes of the count behind the first byte, bytes behind that in any case, and what is counted.
_KINDS: dict[int, tuple[int, int, str]] = {
    **{0xC0 + at: (0, 0, "bytes") for at in range(4)},
    **{0xC4 + at: (1 << at, 0, "bytes") for at in range(3)},
    **{0xC7 + at: (1 << at, 1, "bytes") for at in range(3)},
    **dict(zip(range(0xCA, 0xD4), ((0, size, "bytes") for size in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)), strict=True)),
    **{0xD4 + at: (0, 1 + (1 << at), "bytes") for at in range(5)},
    **{0xD9 + at: (1 << at, 0, "bytes") for at in range(3)},
    0xDC: (2, 0, "array"), 0xDD: (4, 0, "array"), 0xDE: (2, 0, "map"), 0xDF: (4, 0, "map"),
}  # fmt: skip


def read_json_text(text: bytes | str) -> Any:
    """The value of JSON text, as `json.loads` gives it: `NaN` and `Infinity` are numbers there.

    Raises:
        ValueError: it is none, an object has a key twice, or a number is larger than a double can be.
    """
    return _JSON.decode(text if isinstance(text, str) else text.decode(json.detect_encoding(text), "surrogatepass"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key[:40]!r} stands twice in an object")
    return found


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is larger than a number can be")
    return value


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float)


def check_keys(data: bytes, value: Any, write: Callable[[Any], bytes], count: Callable[[bytes], int]) -> None:
    """Refuse a map of which a decoder left something out.

    Args:
        data: what was read.
        value: what it was read as.
        write: gives the bytes of a value. If they are those that were read, nothing was left out.
        count: gives the number of pairs in the maps that bytes hold, at any depth.

    Raises:
        ValueError: there is one.
    """
    try:
        same = write(value) == data
    except Exception:  # noqa: BLE001  what cannot be written is counted
        same = False
    if not same and count(data) != pairs_in(value):
        raise ValueError("a key stands twice in a map")


def pairs_in(value: Any) -> int:
    """The number of pairs in the maps of a value, at any depth."""
    found, pending = 0, [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            found += len(item)
            pending += item.values()
            pending += (key for key in item if not isinstance(key, str))
        elif isinstance(item, list | tuple | set | frozenset):
            pending += item
        elif type(item).__name__ == "CBORTag":
            pending.append(item.value)
    return found


def pairs_in_msgpack(data: bytes) -> int:
    """The number of pairs in the maps of msgpack that could be decoded."""
    found, at, left = 0, 0, 1
    while left:
        first, at, left = data[at], at + 1, left - 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0xC0:
            size, kind = (first & 0x1F, "bytes") if first >= 0xA0 else (first & 0x0F, ("map", "array")[first >= 0x90])
        else:
            width, more, kind = _KINDS[first]
            size, at = int.from_bytes(data[at : at + width], "big"), at + width + more
        at += size if kind == "bytes" else 0
        left += {"bytes": 0, "array": size, "map": 2 * size}[kind]
        found += size if kind == "map" else 0
    return found


def pairs_in_cbor(data: bytes) -> int:
    """The number of pairs in the maps of CBOR that could be decoded."""
    found, at = 0, 0
    open_items: list[tuple[int, bool]] = [(1, False)]  # how many are to come, unless a break ends them; if of a map
    while open_items:
        left, of_map = open_items[-1]
        if not left:
            open_items.pop()
            continue
        first, at = data[at], at + 1
        if first == _BREAK:
            found += (-1 - left) // 2 if of_map else 0
            open_items.pop()
            continue
        open_items[-1] = left - 1, of_map
        kind, size = first >> 5, first & 0x1F
        endless = size == 0x1F
        if _FEW < size < 0x1C:
            width = 1 << (size - _FEW - 1)
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        if kind in (2, 3) and not endless:
            at += size
        elif kind in (2, 3, 4):
            open_items.append((-1 if endless else size, False))
        elif kind == 5:
            found += 0 if endless else size
            open_items.append((-1, True) if endless else (2 * size, False))
        elif kind == 6:
            open_items.append((1, False))
    return found
