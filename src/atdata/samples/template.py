"""Templates: the bytes that all samples of one writer have in common: the map header, each key, each array header.

A template is learned from one sample; that others have it is for `columns` to prove. The tokens are those of the
msgpack specification (github.com/msgpack/msgpack, spec.md).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.samples.kinds import Array, Derived, Maybe, Scalar, ScalarKind
from atdata.samples.kinds.field import Field
from atdata.samples.npy import MAX_DIMS, MAX_HEADER, read_header


class Unlike(Exception):
    """Samples of no template that is decoded in bulk."""


@dataclass(frozen=True)
class Skipped:
    """A value that is not wanted; what no field declares must still be text where it says so."""

    before: bytes
    declared: bool


@dataclass(frozen=True)
class Scalars:
    """A field of numbers, truth values, text or bytes."""

    before: bytes
    name: str
    kind: ScalarKind
    optional: bool


@dataclass(frozen=True)
class Stack:
    """The stored form of the first sample's array: behind this header, as these items."""

    header: bytes
    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes of its items."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Arrays:
    """A field of arrays; all that are stored like the first can be stacked."""

    before: bytes
    name: str
    declared: Array
    optional: bool
    first: Stack | None


Part: TypeAlias = Skipped | Scalars | Arrays


@dataclass(frozen=True)
class Template:
    """The parts of each sample, from its first byte to its last.

    Attributes:
        parts: values in order, each with the bytes before it that all samples share.
        after: bytes after the last value.
        missing: wanted fields that samples of this template do not have.
    """

    parts: tuple[Part, ...]
    after: bytes
    missing: tuple[str, ...]


def learn(sample: memoryview, fields: Mapping[str, Field], wanted: Collection[str]) -> Template:
    """The template of one sample.

    Args:
        sample: its bytes.
        fields: what its type declares, by name.
        wanted: the fields to decode.

    Raises:
        Unlike: it is not decoded in bulk.
        IndexError, ValueError, Misfit: the same; it is damaged, or not of this type.
    """
    count, at = _map_header(sample)
    before, parts, names = 0, list[Part](), set[str]()
    for _ in range(count):
        name, at = _key(sample, at)
        if name in names or at > len(sample):
            raise Unlike
        names.add(name)
        shared = bytes(sample[before:at])
        field = fields.get(name)
        if field is None or name not in wanted:
            parts.append(Skipped(shared, field is not None))
        else:
            parts.append(_part(field, shared, sample[at:]))
        before = at = at + _extent(sample, at)
    if at != len(sample):
        raise Unlike
    missing = tuple(name for name in wanted if name not in names)
    if any(fields[name].required for name in missing):
        raise Unlike
    return Template(tuple(parts), bytes(sample[before:at]), missing)


def _part(field: Field, before: bytes, value: memoryview) -> Part:
    optional = isinstance(field.type, Maybe)
    inner = field.type.inner if isinstance(field.type, Maybe) else field.type
    inner = inner.stored if isinstance(inner, Derived) else inner
    if isinstance(inner, Scalar):
        return Scalars(before, field.name, inner.kind, optional)
    if isinstance(inner, Array):
        return Arrays(before, field.name, inner, optional, _stack(inner, value))
    raise Unlike


def _stack(declared: Array, value: memoryview) -> Stack | None:
    head = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(value[0])
    if head is None:
        return None
    length, packed = int.from_bytes(value[1 : 1 + head], "big"), value[1 + head :]
    dtype, fortran, shape, begin = read_header(bytes(packed[: min(length, 2 * MAX_HEADER)]))
    if len(shape) >= MAX_DIMS:  # one dimension more, and numpy has no name for it
        return None
    stack = Stack(bytes(value[: 1 + head + begin]), dtype, fortran, shape)
    if length - begin != stack.length:
        raise Unlike
    declared.check_items(dtype, shape)
    return stack


def _map_header(sample: memoryview) -> tuple[int, int]:
    """The number of values, and the offset of the first key."""
    if sample[0] >> 4 == 8:
        return sample[0] & 15, 1
    if sample[0] == 0xDE:
        return int.from_bytes(sample[1:3], "big"), 3
    raise Unlike


def _key(sample: memoryview, at: int) -> tuple[str, int]:
    """The key at a place, and where its value is."""
    if sample[at] >> 5 == 5:
        start, length = at + 1, sample[at] & 31
    elif sample[at] == 0xD9:
        start, length = at + 2, sample[at + 1]
    else:
        raise Unlike
    return str(sample[start : start + length], "utf-8"), start + length


def _extent(sample: memoryview, at: int) -> int:
    """The number of bytes that a value takes."""
    token = sample[at]
    head = int(HEAD[token])
    length = int.from_bytes(sample[at + 1 : at + 1 + head], "big") if head else int(BODY[token])
    if not KINDS[None][token] or at + 1 + head + length > len(sample):
        raise Unlike
    return 1 + head + length


def table(default: int, *ranges: tuple[int, int, int]) -> NDArray[np.int64]:
    """A number for each token: `(first, last, value)`."""
    values = np.full(256, default, np.int64)
    for first, last, value in ranges:
        values[first : last + 1] = value
    return values


# By token: bytes of the length that follows it; then bytes of the payload, but for what the length says.
HEAD = table(0, (0xC4, 0xC4, 1), (0xC5, 0xC5, 2), (0xC6, 0xC6, 4), (0xD9, 0xD9, 1), (0xDA, 0xDA, 2), (0xDB, 0xDB, 4))
BODY = table(
    0,
    *((0xA0 + n, 0xA0 + n, n) for n in range(32)),
    *((token, token, 1) for token in (0xCC, 0xD0)),
    *((token, token, 2) for token in (0xCD, 0xD1)),
    *((token, token, 4) for token in (0xCA, 0xCE, 0xD2)),
    *((token, token, 8) for token in (0xCB, 0xCF, 0xD3)),
)
NIL, TRUE, UINT64 = 0xC0, 0xC3, 0xCF
KINDS: dict[ScalarKind | None, NDArray[np.int64]] = {
    None: table(1, (0x80, 0x9F, 0), (0xC1, 0xC1, 0), (0xC7, 0xC9, 0), (0xD4, 0xD8, 0), (0xDC, 0xDF, 0)),
    "str": table(0, (0xA0, 0xBF, 1), (0xD9, 0xDB, 1)),
    "bytes": table(0, (0xC4, 0xC6, 1)),
    "int": table(0, (0x00, 0x7F, 1), (0xCC, 0xD3, 1), (0xE0, 0xFF, 1)),
    "float": table(0, (0xCB, 0xCB, 1)),
    "bool": table(0, (0xC2, 0xC3, 1)),
}
