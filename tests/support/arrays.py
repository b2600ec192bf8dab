"""Arrays to test with: hypothesis strategies over dtypes, shapes and memory layouts, and a few that are picked by hand."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np


def identical(one: Any, other: Any) -> bool:
    """The test's own idea of bit-equal: an independent judge beside `Sample.__eq__`. What lies in padding is no part of it."""
    if not (type(one) is type(other) is np.ndarray and one.dtype == other.dtype and one.shape == other.shape):
        return False
    if one.dtype.names:
        return all(identical(one[name], other[name]) for name in one.dtype.names)
    if one.dtype.type in (np.longdouble, np.clongdouble):
        return np.array_equal(one, other, equal_nan=True)
    return one.dtype.str == other.dtype.str and one.tobytes() == other.tobytes()


def fill(array: np.ndarray, rng: np.random.Generator) -> None:
    """Write random items into an array, and nothing between them."""
    item = array.dtype
    if item.names:
        for name in item.names:
            fill(array[name], rng)
    elif item.kind == "U":
        codes = rng.integers(0, 0xD800, (array.size, item.itemsize // 4), "u4")
        array[...] = codes.view(item.newbyteorder("=")).reshape(array.shape)
    elif item.kind == "b":
        array[...] = rng.integers(0, 2, array.shape)
    elif item.type in (np.longdouble, np.clongdouble):
        array[...] = rng.normal(size=array.shape) / item.type(3)
    else:  # any bits: NaN with payloads, NaT, -0.0
        array[...] = np.frombuffer(rng.bytes(array.size * item.itemsize), item).reshape(array.shape)


@st.composite
def _arrays(draw: st.DrawFn, dtypes: st.SearchStrategy[np.dtype]) -> np.ndarray:
    dtype, shape = draw(dtypes), draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    order = draw(st.sampled_from(["C", "F", "transposed", "every other", "backwards", "column"]))
    array = np.zeros(shape, dtype, "F" if order == "F" else "C")
    fill(array, np.random.default_rng(draw(st.integers(0, 2**32))))
    if order == "transposed" or not shape:
        return array.T
    return {"every other": array[::2], "backwards": array[::-1], "column": array[..., :1]}.get(order, array)


scalar_dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
    hnp.unicode_string_dtypes(min_len=1, max_len=5),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.complex_number_dtypes(),
    st.sampled_from([np.dtype(text) for text in ("V3", "M8[7D]", ">m8[15ms]", "longdouble", ">g", "clongdouble")]),
)
dtypes = scalar_dtypes | hnp.array_dtypes(scalar_dtypes, min_size=1, allow_subarrays=True)
dtypes |= hnp.nested_dtypes(scalar_dtypes, max_leaves=4, max_itemsize=400).filter(lambda dtype: dtype.subdtype is None)

arrays = _arrays(dtypes)
"""Arrays of any dtype that a sample can hold, any shape, anywhere in memory."""
simple_arrays = _arrays(scalar_dtypes)
"""The same without structured dtypes."""

NESTED = np.dtype([("id", ">u2"), ("pose", [("at", "<f8", (2, 3)), ("when", "M8[ms]")]), ("name", "<U3")])
ALIGNED = np.dtype([("flag", "?"), ("value", "<f8"), ("tail", "i1")], align=True)

SPECIMENS: dict[str, np.ndarray] = {
    "0-d": np.array(3.5),
    "empty": np.zeros((0,), "i4"),
    "empty in one of three dimensions": np.zeros((2, 0, 3), "u1"),
    "C order": np.arange(12.0).reshape(3, 4),
    "Fortran order": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": np.arange(24, dtype="i2").reshape(2, 3, 4).transpose(2, 0, 1),
    "every other": np.arange(12)[::2],
    "backwards": np.arange(12)[::-1],
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "read-only": np.frombuffer(b"\1\2\3", "u1"),
    "big-endian": np.arange(3, dtype=">f4"),
    "bool": np.array([True, False]),
    "float16": np.array([1.5, np.nan, -np.inf], "f2"),
    "longdouble": np.array([1, 2], "longdouble") / 3,
    "complex64": np.array([1 + 2j], "c8"),
    "complex128, big-endian": np.array([1 + 2j], ">c16"),
    "clongdouble": np.array([1 + 2j], "clongdouble") / 3,
    "uint64": np.array([2**64 - 1], "u8"),
    "nan with a payload": np.frombuffer(b"\x01\x00\xc0\x7f\x00\x00\x00\x80", "<f4"),
    "datetime64": np.array(["2024-02-29", "NaT"], "M8[D]"),
    "datetime64 of 7 days": np.array([1, 2], "M8[7D]"),
    "timedelta64, big-endian": np.array([1, 2], ">m8[25us]"),
    "bytes": np.array([b"a", b"bc\0d"]),
    "str": np.array(["é", "", "a\0b", "🎈"]),
    "str, big-endian": np.array(["é", "🎈"], ">U2"),
    "void": np.array([b"ab", b"c"], "V2"),
    "structured": np.array([(1, 2.5), (3, 4.5)], [("a", "<i4"), ("b", "<f8")]),
    "structured, 0-d": np.array((1, 2.5), [("a", "<i4"), ("b", "<f8")]),
    "structured, nested": np.zeros(2, NESTED),
    "structured, aligned": np.zeros(3, ALIGNED),
    "structured, titled": np.zeros(2, [(("a title", "a"), "<i4"), ("b", "S2")]),
    "structured, with gaps": np.zeros(
        2, {"names": ["a", "b"], "formats": ["u1", "<f4"], "offsets": [2, 8], "itemsize": 16}
    ),
    "structured, one field of it": np.ones(3, [("a", "<i4"), ("b", "<f8")])["b"],
    "structured, two fields of it": np.ones(3, [("a", "<i4"), ("b", "<f8"), ("c", "i1")])[["a", "c"]],
    "structured, names that are not ASCII": np.zeros(1, [("größe", "<f4"), ("名", "<f4")]),
    "structured, one field without bytes": np.zeros(2, [("a", "<U0"), ("b", "<i4"), ("c", "S0")]),
    "32 dimensions": np.ones((1,) * 32),
}
