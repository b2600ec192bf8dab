"""Smaller values of a field: what a counterexample is made of, once it is found."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atdata.samples.kinds.arrays import Array
from atdata.samples.kinds.choices import ClassLabel, EnumOf, LiteralOf
from atdata.samples.kinds.containers import DictOf, ListOf, Maybe, Plain
from atdata.samples.kinds.kind import Derived, FieldType, Misfit
from atdata.samples.kinds.moments import DateTime, Duration, Time
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.kinds.tuples import TupleOf
from atdata.samples.npy import array_in, decode_array, encode_array
from atdata.samples.space import plain, space_of
from atdata.samples.space.arrays import item_edges

_PLAIN = Plain()
_MICROSECOND = dt.timedelta(microseconds=1)
_DURATIONS = range(dt.timedelta.min // _MICROSECOND, dt.timedelta.max // _MICROSECOND + 1)
_LISTED = 256  # items of an array, of which the size counts, and not that of their bytes
_MANY = 64  # places in a text, a list or an array that are looked at one by one
_CUT = (r"\.\d+", r"[+-]\d\d:\d\d(:\d\d(\.\d+)?)?$", r"\d\d:\d\d:\d\d")


def size_of(kind: FieldType, value: Any) -> int:
    """The size of a stored value of a kind: of no boundary value is it less than of the simplest."""
    if isinstance(kind, Maybe):
        return 0 if value is None else 1 + size_of(kind.inner, value)
    if isinstance(kind, EnumOf | LiteralOf):
        values = [choice for _, choice in kind.members] if isinstance(kind, EnumOf) else [*kind.values]
        return values.index(value) if value in values else len(values)
    if isinstance(kind, ClassLabel):
        return int(value)
    if isinstance(kind, SampleOf):
        return sum(size_of(part.type, value[part.name]) for part in kind.fields if part.name in value)
    if isinstance(kind, ListOf | TupleOf):
        return 2 + sum(2 + size_of(inner, item) for inner, item in zip(_items(kind, value), value, strict=True))
    if isinstance(kind, DictOf):
        return 2 + sum(2 + _size(key) + size_of(kind.inner, item) for key, item in value.items())
    if isinstance(kind, Derived) and isinstance(value, bytes):  # whose size says nothing
        edges = space_of(kind).edges
        return edges.index(value) if value in edges else len(edges) + len(value)
    return _size(value)


def _items(kind: ListOf | TupleOf, value: Sequence[Any]) -> list[FieldType]:
    if isinstance(kind, ListOf):
        return [kind.inner] * len(value)
    return [kind.items[0]] * len(value) if kind.variadic else [*kind.items]


def _size(value: Any) -> int:
    """The size of a plain value."""
    if value is None or isinstance(value, bool):
        return 0 if value is None else 1 + value
    if isinstance(value, int):
        return 2 + 2 * value.bit_length() + (value < 0)
    if isinstance(value, float):
        return _float_size(value)
    if isinstance(value, str):
        return 2 + sum(map(_letter_size, value))
    if isinstance(value, bytes):
        return _bytes_size(value)
    if isinstance(value, list):
        return 2 + sum(2 + _size(item) for item in value)
    return 2 + sum(2 + _size(key) + _size(item) for key, item in value.items())


def _float_size(value: float) -> int:
    negative = math.copysign(1, value) < 0
    if math.isnan(value) or math.isinf(value):
        bits = int.from_bytes(struct.pack(">d", value), "big")
        return 140 + negative + 2 * (bits & ((1 << 52) - 1)).bit_count()
    fraction, exponent = math.frexp(value)
    whole = abs(int(fraction * (1 << 53)))
    bits_used = (whole // (whole & -whole)).bit_length() if whole else 0
    return 2 + negative + (3 + 2 * bits_used + abs(exponent) // 4 if whole else 0)


def _letter_size(letter: str) -> int:
    if letter in "a0":
        return 2
    return 3 if letter.isascii() and letter.isalnum() else 4 if letter.isascii() else 5 + ord(letter).bit_length() // 4


def _bytes_size(data: bytes) -> int:
    array = array_in(data)
    if array is None:
        return 2 + 2 * len(data) + _raw_size(data)
    unusual = (array.dtype.str[0] == ">") + (array.flags.f_contiguous and not array.flags.c_contiguous)
    head: int = 2 + array.dtype.itemsize.bit_length() + 4 * unusual + 2 * array.ndim + sum(array.shape) + 2 * array.size
    listed = array.dtype.kind in "iuf" and array.size <= _LISTED and array.dtype.itemsize <= 8
    return head + (sum(map(_size, array.reshape(-1).tolist())) if listed else _raw_size(array.tobytes()))


def _raw_size(raw: bytes) -> int:
    return 3 * (len(raw) - raw.count(0)) + int.from_bytes(raw, "big").bit_count()


def simpler(kind: FieldType, value: Any) -> Iterator[Any]:
    """Yields stored values of a kind that are less than one, the least boundary values first."""
    most = size_of(kind, value)
    edges = [(size_of(kind, edge), number) for number, edge in enumerate(space_of(kind).edges)]
    yield from (space_of(kind).edges[number] for size, number in sorted(edges) if size < most)
    for candidate in _parts(kind, value):
        if size_of(kind, candidate) < most:
            yield candidate


def _parts(kind: FieldType, value: Any) -> Iterator[Any]:
    if isinstance(kind, Maybe):
        yield from () if value is None else simpler(kind.inner, value)
    elif isinstance(kind, Array):
        yield from _smaller_arrays(kind, value)
    elif isinstance(kind, SampleOf):
        for part in kind.fields:
            yield from ({**value, part.name: less} for less in simpler(part.type, value[part.name]))
    elif isinstance(kind, ListOf | TupleOf):
        if isinstance(kind, ListOf) or kind.variadic:
            yield from _shorter(value)
        for place, (inner, item) in enumerate(zip(_items(kind, value), value, strict=True)):
            yield from ([*value[:place], less, *value[place + 1 :]] for less in simpler(inner, item))
    elif isinstance(kind, DictOf):
        yield from map(dict, _shorter([*value.items()]))
        for key, item in value.items():
            yield from ({**value, key: less} for less in simpler(kind.inner, item))
            others = value.keys() - {key}
            yield from ({new if k == key else k: v for k, v in value.items()} for new in "ab" if new not in others)
    elif isinstance(kind, Duration):
        whole = kind.decoder(value) // _MICROSECOND
        yield from (kind.encoder(_MICROSECOND * less) for less in _smaller_ints(whole) if less in _DURATIONS)
    elif isinstance(kind, DateTime | Time):
        yield from (re.sub(pattern, "00:00:00" if at == 2 else "", value) for at, pattern in enumerate(_CUT))
    elif type(value) in _SMALLER and space_of(kind) in (plain.PLAIN, *plain.SCALARS.values()):
        yield from _SMALLER[type(value)](value)


def _shorter(value: Any) -> Iterator[Any]:
    """Yields a sequence without some of its items: halves first."""
    size = len(value)
    step = size
    while step:
        places = range(0, size, step) if size // step <= _MANY else ()
        yield from (value[:at] + value[at + step :] for at in places)
        step //= 2


def _smaller_ints(value: int) -> Iterator[int]:
    yield from (value - (value >> bits) for bits in range(1, value.bit_length() + 1) if value > 0)
    yield from (value + (-value >> bits) for bits in range(1, value.bit_length() + 1) if value < 0)
    yield from (value - 1, value - 2, -value) if value > 0 else (value + 1, value + 2, -value)


def _smaller_floats(value: float) -> Iterator[float]:
    yield abs(value)
    if math.isfinite(value):
        fraction, exponent = math.frexp(value)
        yield from (math.ldexp(int(math.ldexp(fraction, bits)), exponent - bits) for bits in range(1, 53))
        nearer = (0, 1, exponent // 2, exponent - 1 if exponent > 0 else exponent + 1)
        yield from (math.ldexp(fraction, other) for other in nearer)


def _smaller_texts(value: str) -> Iterator[str]:
    yield from _shorter(value)
    for at in range(min(len(value), _MANY)):
        yield from (value[:at] + letter + value[at + 1 :] for letter in "a0b")


def _smaller_bytes(value: bytes) -> Iterator[bytes]:
    yield from _shorter(value)
    for at in range(min(len(value), _MANY)):
        yield value[:at] + b"\0" + value[at + 1 :]


def _smaller_plain(value: Any) -> Iterator[Any]:
    kind = ListOf(_PLAIN) if isinstance(value, list) else DictOf(_PLAIN)
    yield from _parts(kind, value)


_SMALLER: dict[type, Any] = {
    int: _smaller_ints,
    float: _smaller_floats,
    str: _smaller_texts,
    bytes: _smaller_bytes,
    list: _smaller_plain,
    dict: _smaller_plain,
}


def _smaller_arrays(kind: Array, value: bytes) -> Iterator[bytes]:
    """Yields an array with fewer items, in C's order, and with items that are zero or the least of their boundary values."""
    array = decode_array(value)
    changed = [
        array.reshape(-1)[:0],
        array.reshape(-1)[:1],
        array.reshape(-1),
        np.ascontiguousarray(array).reshape(array.shape),
    ]
    changed.append(array.astype(array.dtype.newbyteorder("<"), order="K"))
    for axis, size in enumerate(array.shape):
        parts = [slice(0), slice(size // 2), slice(size // 2, None)]
        changed += [array[(slice(None),) * axis + (part,)] for part in parts]
        changed += [np.delete(array, place, axis) for place in range(min(size, _MANY))]
    flat = array.reshape(-1, order="A")
    order: Any = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    for at in range(min(flat.size, _MANY)):
        items = [np.frombuffer(item, array.dtype)[0] for item in item_edges(array.dtype)[:3]]
        if array.dtype.kind in "iuf" and array.dtype.itemsize <= 8 and flat.size <= _LISTED:
            least = np.iinfo(array.dtype).min if array.dtype.kind in "iu" else -math.inf
            items += [less for less in _SMALLER[type(flat[at].item())](flat[at].item()) if not less < least]
        for item in items:
            other = flat.copy(order="K")
            other[at] = item
            changed.append(other.reshape(array.shape, order=order))
    for candidate in changed:
        try:
            kind.check_items(candidate.dtype, candidate.shape)
        except Misfit:
            continue
        yield encode_array(candidate)
