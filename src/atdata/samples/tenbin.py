"""Tensors in a file, as `webdataset` writes them under `.ten`: chunks of a header and of items, one pair an array.

A chunk is the magic, its length as int64, and its bytes up to a multiple of 64; a header is int64 numbers: dtype and
name as eight ASCII bytes each, the number of dimensions, and these (webdataset, `tenbin.py`). Little-endian here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.samples.npy import MAX_DIMS

_MAGIC = b"~TenBin~"
_ALIGNED = 64
_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def encode_tensors(arrays: Sequence[NDArray[Any]]) -> bytes:
    """The bytes of some arrays.

    Raises:
        SampleError: an array's dtype or number of dimensions is none that the format has.
    """
    chunks: list[bytes] = []
    for array in arrays:
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        if dtype.str[1:] not in _DTYPES or array.ndim > 9:
            raise SampleError(
                "an array cannot be stored as a tensor",
                expected=f"{', '.join(_DTYPES)}, at most 9 dimensions",
                actual=f"{array.dtype} {list(array.shape)}",
                hint="Choose another extension for the field, such as npy.",
            )
        numbers = struct.pack(f"<8s8sq{array.ndim}q", dtype.str[1:].encode(), b"", array.ndim, *array.shape)
        chunks += _chunk(numbers), _chunk(array.astype(dtype, copy=False).tobytes())
    return b"".join(chunks)


def _chunk(data: bytes) -> bytes:
    return b"".join((_MAGIC, struct.pack("<q", len(data)), data, bytes(-len(data) % _ALIGNED)))


def decode_tensors(data: bytes) -> list[NDArray[Any]]:
    """The arrays in a file; writable, owning their memory.

    Raises:
        SampleError: the bytes are no such file.
    """
    chunks = list(_chunks(data))
    if len(chunks) % 2:
        raise _malformed("a header without items")
    return [_array(header, items) for header, items in zip(chunks[::2], chunks[1::2], strict=True)]


def _chunks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        begin = at + 16
        if data[at : at + 8] != _MAGIC or begin > len(data):
            raise _malformed(f"no chunk begins at byte {at}")
        (length,) = struct.unpack("<q", data[at + 8 : begin])
        if not 0 <= length <= len(data) - begin:
            raise _malformed(f"a chunk of {length} bytes at byte {at}, of {len(data)}")
        yield data[begin : begin + length]
        at = begin + length + -length % _ALIGNED


def _array(header: bytes, items: bytes) -> NDArray[Any]:
    if len(header) < 24 or len(header) % 8:
        raise _malformed(f"a header of {len(header)} bytes")
    name, count = header[:8].rstrip(b"\0"), struct.unpack("<q", header[16:24])[0]
    if name.decode("ascii", "replace") not in _DTYPES or not 0 <= count <= min(MAX_DIMS, len(header) // 8 - 3):
        raise _malformed(f"dtype {name!r} with {count} dimensions")
    shape = struct.unpack(f"<{count}q", header[24 : 24 + 8 * count])
    dtype = np.dtype(f"<{name.decode()}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(items):
        raise _malformed(f"{len(items)} bytes for {dtype} {list(shape)}")
    try:
        return np.frombuffer(items, dtype).reshape(shape).copy()
    except ValueError as error:  # no items, and dimensions that numpy cannot count
        raise _malformed(f"{dtype} {list(shape)}") from error


def _malformed(actual: str) -> SampleError:
    return SampleError("a file of tensors is malformed", actual=actual, hint="Write it again.")
