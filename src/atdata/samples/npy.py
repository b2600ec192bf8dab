"""Arrays as bytes: `.npy` (NEP 1) written and read, the compact form of newer peers read.

The header is composed here and not by `numpy.save`, whose padding has changed between numpy versions:
equal arrays must give equal bytes on any machine. No pickle is written or read.
"""

from __future__ import annotations

import ast
import math
import re
import struct
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format

from atdata.errors import SampleError

MAGIC = b"\x93NUMPY"
MAX_HEADER = 65_536
MAX_DIMS = 32  # numpy 1 takes no more

# What a dtype string may be: byte order, kind, size, time unit. Everything else in a header is refused.
_DTYPE = re.compile(r"[<>|=]?(?:[biufcSUV?]\d{0,9}|[mM]8(?:\[\d{0,9}[A-Za-z]{1,7}(?:/\d{1,9})?\])?)")

_ORDERS = (b"<", b">", b"|")
_COMPACT = re.compile(rb"[<>|][biufcSUVmMO]\d{1,9}(?:\[\d{0,9}[A-Za-z]{1,7}\])?\0")


def encode_array(array: np.ndarray[Any, Any]) -> bytes:
    """The `.npy` bytes of an array, in Fortran order only where the array is Fortran-contiguous and not C-contiguous.

    Raises:
        SampleError: the dtype has no portable bytes (Python objects, extension types, no size).
    """
    if isinstance(array, np.ma.MaskedArray):
        raise SampleError(
            "a masked array cannot be stored with its mask", hint="Fill it, or keep the mask in a field of its own."
        )
    flags = array.flags
    in_order = flags.c_contiguous
    fortran = not in_order and flags.f_contiguous
    header, numbers = _encode_start(array.dtype, fortran, array.shape)
    if numbers and in_order:
        return b"".join((header, array.data))  # one copy less
    check_text(array)
    return header + item_bytes(array, "F" if fortran else "C")


@lru_cache(maxsize=4096)
def _encode_start(dtype: np.dtype[Any], fortran: bool, shape: tuple[int, ...]) -> tuple[bytes, bool]:
    """The header, and whether the items are plain numbers: without padding, and such that the array is a buffer."""
    header = _encode_header(_portable(dtype), fortran, _check_shape(shape))
    return header, dtype.kind in "biufc" and bool(_used_bytes(dtype).all())


def item_bytes(array: np.ndarray[Any, Any], order: Literal["C", "F"] = "C") -> bytes:
    """The items of an array, with zeros where its dtype has padding: what lies there is chance."""
    raw = array.tobytes(order)
    used = _used_bytes(array.dtype)
    return raw if used.all() else (np.frombuffer(raw, "u1").reshape(-1, used.size) * used).tobytes()


def decode_array(data: bytes | memoryview) -> np.ndarray[Any, Any]:
    """The array in `.npy` v1-v3 bytes, or in the compact form; writable, owning its memory.

    Raises:
        SampleError: the bytes are neither, end early, run on, or hold Python objects.
    """
    dtype, fortran, shape, start = read_header(data)
    count = math.prod(shape)
    if len(data) - start != count * dtype.itemsize:
        raise SampleError(
            "an array's bytes do not match its header",
            expected=f"{count * dtype.itemsize} bytes of {dtype} {list(shape)}",
            actual=f"{len(data) - start} bytes",
        )
    try:
        flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    except ValueError as error:  # a zero-sized array with dimensions numpy cannot address
        raise SampleError("an array's shape is too large for numpy", actual=list(shape)) from error
    check_text(flat)
    return array.copy(order="F" if fortran else "C")


def begins_like_array(data: bytes) -> bool:
    """True if bytes whose type nobody declared begin as an array does: `.npy`, or a dtype in the compact form."""
    return data[:6] == MAGIC or (data[1:2] in _ORDERS and _COMPACT.match(data[1 : 1 + data[0]] + b"\0") is not None)


def array_in(data: bytes) -> np.ndarray[Any, Any] | None:
    """The array that bytes are whose type nobody declared; `None` where they are none.

    They are one where they are it from the first byte to the last: a whole header, with a dtype written as numpy writes
    it, and then exactly the items it announces. In the compact form that fixes 4 bytes and the length at least, of which
    no file format begins with such.
    """
    if not begins_like_array(data):
        return None
    with suppress(SampleError):
        array = decode_array(data)
        if data[:6] == MAGIC or array.dtype.str.encode() == data[1 : 1 + data[0]]:
            return array
    return None


@lru_cache(maxsize=1024)
def _portable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype itself, once it is known that its description brings it back."""
    back = None
    if not dtype.hasobject and dtype.itemsize:
        with suppress(SampleError, ValueError):  # ValueError: fields that overlap
            back = parse_descr(_descr(dtype))
    if back is None or back != dtype:
        raise SampleError(
            f"an array of {dtype!r} cannot be stored", hint="Convert it to a numeric, bool, str, bytes or time dtype."
        )
    return dtype


def _descr(dtype: np.dtype[Any]) -> Any:
    """The text in a header for a dtype. Not `numpy.lib.format.dtype_to_descr`, which falls back to pickle."""
    return dtype.str if dtype.names is None else dtype.descr


@lru_cache(maxsize=1024)
def _used_bytes(dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A mask over the bytes of an item: 1 where one is part of a value, 0 where it is padding."""
    used = np.zeros(dtype.itemsize, "u1")
    if dtype.names is not None:
        for field, offset, *_ in (dtype.fields or {}).values():
            used[offset : offset + field.itemsize] = _used_bytes(field)
    elif dtype.subdtype is not None:
        base, shape = dtype.subdtype
        used[:] = np.tile(_used_bytes(base), math.prod(shape))
    elif issubclass(dtype.type, np.longdouble | np.clongdouble) and np.finfo(np.longdouble).nmant == 63:
        number = used.reshape(2 if dtype.kind == "c" else 1, -1)
        number[:, slice(-10, None) if dtype.byteorder == ">" else slice(10)] = 1  # x87: 80 bits in 96 or 128
    else:
        used[:] = 1
    return used


@lru_cache(maxsize=4096)
def _encode_header(dtype: np.dtype[Any], fortran: bool, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': {_descr(dtype)!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    try:
        body, version, width = text.encode("latin1"), (1, 0), 2
    except UnicodeEncodeError:
        body, version, width = text.encode("utf-8"), (3, 0), 4
    if width == 2 and len(body) > 65_000:
        version, width = (2, 0), 4
    # Data start on a multiple of 64 bytes, so that a mapped file is aligned for vector loads.
    pad = -(len(MAGIC) + 2 + width + len(body) + 1) % 64
    body += b" " * pad + b"\n"
    if len(body) > MAX_HEADER:
        raise SampleError("an array's dtype is too long for a .npy header", actual=f"{len(body)} bytes")
    return MAGIC + bytes(version) + struct.pack("<H" if width == 2 else "<I", len(body)) + body


def read_header(data: bytes | memoryview) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """The dtype, whether the order is Fortran's, the shape, and where the items begin.

    Raises:
        SampleError: the bytes are no array.
    """
    return _read_npy_header(data) if data[:6] == MAGIC else _read_compact_header(data)


def _read_npy_header(data: bytes | memoryview) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    version = tuple(data[6:8])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise SampleError("unknown version of .npy", expected="1.0, 2.0 or 3.0", actual=version)
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    start = 8 + width + length
    if length > MAX_HEADER or start > len(data):
        raise SampleError("an array's header is longer than its bytes", actual=f"{length} bytes announced")
    dtype, fortran, shape = _parse_header(bytes(data[8 + width : start]), "utf-8" if version == (3, 0) else "latin1")
    return dtype, fortran, shape, start


@lru_cache(maxsize=1024)
def _parse_header(raw: bytes, encoding: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    try:
        header = ast.literal_eval(raw.decode(encoding).strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise SampleError("an array's header is malformed") from error
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise SampleError("an array's header has the wrong entries", expected="descr, fortran_order, shape")
    fortran, shape = header["fortran_order"], header["shape"]
    if not isinstance(fortran, bool):
        raise SampleError("an array's header has the wrong entries", path="fortran_order", actual=fortran)
    return parse_descr(header["descr"]), fortran, _check_shape(shape)


def _check_shape(shape: Any) -> tuple[int, ...]:
    valid = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not valid or len(shape) > MAX_DIMS:
        raise SampleError(
            "an array's shape is invalid", expected=f"at most {MAX_DIMS} dimensions", actual=repr(shape)[:80]
        )
    return tuple(shape)


def portable_descr(dtype: np.dtype[Any]) -> Any:
    """The description of a dtype, which brings it back on any machine.

    Raises:
        SampleError: it has none.
    """
    return _descr(_portable(dtype))


def parse_descr(descr: Any, depth: int = 0) -> np.dtype[Any]:
    """The dtype of a description.

    Raises:
        SampleError: it is none that is allowed.
    """
    if not _descr_is_plain(descr, depth):
        raise SampleError(
            "an array's dtype is not allowed",
            actual=repr(descr)[:80],
            hint="Python objects and pickles are never read.",
        )
    try:
        dtype: np.dtype[Any] = npy_format.descr_to_dtype(descr)
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise SampleError("an array's dtype is unknown", actual=repr(descr)[:80]) from error
    if dtype.itemsize < 1:  # numpy 1 lets a size overflow
        raise SampleError("an array's dtype has no size", actual=repr(descr)[:80])
    return dtype


def _descr_is_plain(descr: Any, depth: int = 0) -> bool:
    """True if a header's `descr` is built from allow-listed dtype strings only."""
    if isinstance(descr, str):
        return _DTYPE.fullmatch(descr) is not None
    if isinstance(descr, tuple):  # (base, sub-array shape)
        return len(descr) == 2 and _is_shape(descr[1]) and _descr_is_plain(descr[0], depth + 1)
    if not isinstance(descr, list) or depth > 16:
        return False
    return all(
        isinstance(field, tuple)
        and len(field) in (2, 3)
        and _is_field_name(field[0])
        and _descr_is_plain(field[1], depth + 1)
        and (len(field) == 2 or _is_shape(field[2]))
        for field in descr
    )


def _is_field_name(name: Any) -> bool:
    titled = isinstance(name, tuple) and len(name) == 2 and all(isinstance(part, str) for part in name)
    return isinstance(name, str) or titled


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**31 for n in shape)


@lru_cache(maxsize=1024)
def _text_fields(dtype: np.dtype[Any]) -> bool:
    """True if any part of the dtype is numpy `str`, whose items may hold what is no Unicode."""
    item = dtype.base
    if item.names is not None:
        return any(_text_fields(item[name]) for name in item.names)
    return item.kind == "U"


def check_text(array: np.ndarray[Any, Any]) -> None:
    """Check arrays of str, also inside records: each item must be Unicode text.

    Raises:
        SampleError: one is not.
    """
    if _text_fields(array.dtype):
        _check_text(np.ascontiguousarray(array))


def _check_text(array: np.ndarray[Any, Any]) -> None:
    if array.dtype.names is not None:
        for name in array.dtype.names:
            if _text_fields(array.dtype[name]):
                _check_text(np.ascontiguousarray(array[name]))
    elif array.size:
        code = array.reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if bool(((code > 0x10FFFF) | ((code >= 0xD800) & (code < 0xE000))).any()):
            raise SampleError("an array of str contains invalid Unicode")


def _read_compact_header(data: bytes | memoryview) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """`u8 len | dtype.str ascii | u8 ndim | ndim x i64 LE`, then the items in C order."""
    try:
        after = 1 + data[0]
        text = bytes(data[1:after]).decode("ascii")
        ndim = data[after]
        start = after + 1 + 8 * ndim
        if start > len(data):
            raise IndexError
        shape = struct.unpack(f"<{ndim}q", data[after + 1 : start])
    except (IndexError, UnicodeDecodeError) as error:
        raise SampleError("bytes are not an array", expected=".npy, or the compact form") from error
    if len(text) < 2:
        raise SampleError("bytes are not an array", expected=".npy, or the compact form")
    return parse_descr(text), False, _check_shape(shape), start
