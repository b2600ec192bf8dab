"""The spaces of arrays: made of their bytes, so that no distribution of numpy's has a part in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from atdata.errors import LimitError
from atdata.samples.kinds.arrays import Array, Shape
from atdata.samples.kinds.structured import StructuredOf
from atdata.samples.npy import encode_array, parse_descr
from atdata.samples.space.chance import Chance
from atdata.samples.space.plain import float_edges
from atdata.samples.space.space import Space

MAX_BYTES, MAX_ITEM = 1 << 24, 1 << 12
"""Bytes of the smallest array of a field, and of an item. More are not made, whatever a schema asks for."""

_NUMBERS = ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1", "<c8", "<c16")
_NAMES = (*_NUMBERS, "<U3", "|S3", "<M8[us]", "<M8[D]", "<m8[ms]", "|V3")
_DTYPES = tuple(name for little in _NAMES for name in dict.fromkeys((little, little.replace("<", ">"))))
_RECORDS: tuple[Any, ...] = (
    [("a", "<i4"), ("b", "<f8")],
    [("x", ">u2"), ("at", "<f4", (2,)), ("name", "|S3"), ("in", [("flag", "|b1"), ("when", "<M8[ms]")])],
)
_FLOATS = {2: (5, 10), 4: (8, 23), 8: (11, 52)}
_TEXTS = ("", "a", "é", "e\u0301", "😀", "a\0b", "\u212b", " a ")
_LETTERS = "aAzZ09 é\u0301中😀\ud7ff\ue000\U0010ffff"
_LARGE = 1 << 20  # bytes of arrays of which few are kept
_BLOCK = 64  # different items at most: the rest repeats them
_MANY = 256  # items in dimensions that are open
_LONG, _SMALL = 300, 16  # items of a long array; bytes of an item of which one is made


def arrays(kind: Array) -> Space:
    """The space of arrays. In one whose items may be of any kind no number is of a size that other machines lack."""
    return array_space(_dtypes(kind), kind.shape)


def array_space(dtypes: tuple[np.dtype[Any], ...], shape: Shape | None) -> Space:
    """The space of arrays of some dtypes, the simplest first.

    Raises:
        LimitError: the smallest is larger than what is made.
    """
    most = max(dtype.itemsize for dtype in dtypes)
    closed = most * math.prod(size for size in (() if shape is None else shape.dims) if size is not None)
    if closed > MAX_BYTES or most > MAX_ITEM:
        raise LimitError(
            "the arrays of a field are too large to be made up",
            expected=f"at most {MAX_BYTES} bytes",
            actual=f"{dtypes[0]} {shape}",
            hint="Try what you have with real samples.",
        )

    def draw(chance: Chance) -> bytes:
        dtype = chance.pick(dtypes)
        shown = (
            _sizes(shape, lambda: chance.below(4)) if shape else tuple(chance.below(4) for _ in range(chance.below(4)))
        )
        count = math.prod(shown)
        items = [_any_item(dtype, chance) for _ in range(min(count, _BLOCK))]
        return _array(dtype, shown, items, fortran=not chance.below(4))

    edges = _edges if closed <= _LARGE else _few_edges
    return Space(tuple(dict.fromkeys(edges(dtypes, shape))), draw)


def _edges(dtypes: tuple[np.dtype[Any], ...], shape: Shape | None) -> Iterator[bytes]:
    first = dtypes[0]
    none, one, two = ((0,), (1,), (2,)) if shape is None else (_sizes(shape, lambda n=n: n) for n in range(3))
    zeros = [item_edges(first)[0]]
    yield from (_array(first, sizes, zeros) for sizes in dict.fromkeys((none, one, two)))
    if first.itemsize <= _SMALL:
        yield _array(first, (_LONG,) if shape is None else _sizes(shape, lambda: _LONG), item_edges(first)[:2])
    for item in item_edges(first)[1:]:
        yield _array(first, one, [item], repeat=False)
    for dtype in dtypes[1:]:
        yield _array(dtype, one, item_edges(dtype)[1:2], repeat=False)
    grids = ((2, 2), (2, 3)) if shape is None else (two,)
    for sizes in grids:
        yield _array(first, sizes, item_edges(first)[:2], fortran=True)
        yield _array(first, sizes, item_edges(first)[:2])
    if shape is None:
        yield from (_array(first, sizes, zeros) for sizes in ((), (0, 3), (1, 1, 1)))


def _few_edges(dtypes: tuple[np.dtype[Any], ...], shape: Shape | None) -> Iterator[bytes]:
    sizes = _sizes(shape, lambda: 1) if shape else (1,)
    yield _array(dtypes[0], sizes, item_edges(dtypes[0])[:1])
    yield _array(dtypes[0], sizes, item_edges(dtypes[0]))


def _sizes(shape: Shape, size: Any) -> tuple[int, ...]:
    """The sizes of an array: in open dimensions those that are given, as long as these make not too many items."""
    sizes, items = [], 1
    for closed in shape.dims:
        sizes.append((size() if items < _MANY else 1) if closed is None else closed)
        items *= max(1, sizes[-1]) if closed is None else 1
    return tuple(sizes)


def _array(
    dtype: np.dtype[Any], shape: tuple[int, ...], items: Iterable[bytes], *, fortran: bool = False, repeat: bool = True
) -> bytes:
    """A stored array: the items again and again, or once and then zeros."""
    size, block = math.prod(shape) * dtype.itemsize, b"".join(items)
    zero = item_edges(dtype)[0]
    filled = block if not repeat and size else block * (size // max(1, len(block)) + 1)
    raw = (filled + zero * ((size - len(filled)) // dtype.itemsize))[:size]
    flat = np.frombuffer(raw, dtype) if size else np.zeros(0, dtype)
    return encode_array(flat.reshape(shape, order="F" if fortran else "C"))


def _dtypes(kind: Array) -> tuple[np.dtype[Any], ...]:
    """The dtypes that items may have, the simplest first."""
    if isinstance(kind, StructuredOf):
        return tuple(map(parse_descr, _RECORDS)) if kind.dtype is None else (kind.dtype,)
    scalar = kind.scalar or np.generic
    found = tuple(np.dtype(name) for name in _DTYPES if issubclass(np.dtype(name).type, scalar))
    if scalar not in (np.generic, np.timedelta64):  # which numpy has below the integers
        found = tuple(dtype for dtype in found if dtype.kind != "m")
    return found or (np.dtype(scalar),)


@lru_cache(maxsize=1024)
def item_edges(dtype: np.dtype[Any]) -> tuple[bytes, ...]:
    """The boundary values of items, as their bytes, the simplest first."""
    if dtype.names is not None or dtype.subdtype is not None:
        parts = [item_edges(part) for part, *_ in _parts(dtype)]
        return tuple(
            _joined(dtype, [part[level % len(part)] for part in parts]) for level in range(max(map(len, parts)))
        )
    order, size = ("big" if dtype.str[0] == ">" else "little"), dtype.itemsize
    if dtype.kind == "f" and size in _FLOATS:
        return tuple(bits.to_bytes(size, order) for bits in float_edges(*_FLOATS[size]))  # type: ignore[arg-type]
    if dtype.kind == "c" and size // 2 in _FLOATS:
        halves = item_edges(np.dtype(f"{dtype.str[0]}f{size // 2}"))
        return tuple(one + other for one, other in _pairs(halves))
    if dtype.kind in "iumM":
        low, high = (0, (1 << 8 * size) - 1) if dtype.kind == "u" else (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)
        numbers = (0, 1, *((-1,) if low else ()), 2, high, low, high - 1, high // 2 + 1)
        return tuple(n.to_bytes(size, order, signed=low < 0) for n in dict.fromkeys(numbers))
    if dtype.kind == "U":
        return tuple(dict.fromkeys(_text(text, dtype) for text in _TEXTS))
    if dtype.kind == "b":
        return b"\0", b"\1"
    if dtype.kind in "SV":
        return tuple(dict.fromkeys(text[:size].ljust(size, b"\0") for text in (b"", b"a", b"\xff" * size, b"\0a")))
    return np.zeros(1, dtype).tobytes(), np.ones(1, dtype).tobytes()  # long doubles


def _any_item(dtype: np.dtype[Any], chance: Chance) -> bytes:
    if dtype.names is not None or dtype.subdtype is not None:
        return _joined(dtype, [_any_item(part, chance) for part, *_ in _parts(dtype)])
    long = dtype.kind in "fc" and dtype.itemsize // (1 + (dtype.kind == "c")) not in _FLOATS
    if not chance.below(4) or dtype.kind == "b" or long:
        return chance.pick(item_edges(dtype))
    if dtype.kind == "U":
        return _text("".join(chance.pick(_LETTERS) for _ in range(dtype.itemsize // 4)), dtype)
    return chance.bytes(dtype.itemsize)


def _pairs(halves: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    zero = halves[0]
    yield zero, zero
    yield from ((half, zero) for half in halves[1:])
    yield from ((zero, half) for half in halves[1:])


def _parts(dtype: np.dtype[Any]) -> list[tuple[np.dtype[Any], int]]:
    """The dtypes inside of a dtype, each with the byte where it begins."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [(base, number * base.itemsize) for number in range(math.prod(shape))]
    fields: Any = dtype.fields or {}
    return [(part, offset) for part, offset, *_ in (fields[name] for name in dtype.names or ())]


def _joined(dtype: np.dtype[Any], items: list[bytes]) -> bytes:
    raw = bytearray(dtype.itemsize)
    for (part, offset), item in zip(_parts(dtype), items, strict=True):
        raw[offset : offset + part.itemsize] = item
    return bytes(raw)


def _text(text: str, dtype: np.dtype[Any]) -> bytes:
    count = dtype.itemsize // 4
    return text[:count].ljust(count, "\0").encode("utf-32-be" if dtype.str[0] == ">" else "utf-32-le")
