"""Values to msgpack and back, compiled once per field type.

A sample is one msgpack map from field name to value, in field order; an array is `bin` holding `.npy` bytes.
Checks cost nothing until one fails: the failing value then climbs out as a `Misfit`, and each
container on the way adds its place to the path.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import msgspec
import numpy as np

from atdata.errors import SampleError
from atdata.samples.fields import PORTABLE, Array, DictOf, FieldType, ListOf, Maybe, Plain, Scalar
from atdata.samples.npy import decode_array, encode_array

Codec: TypeAlias = Callable[[Any], Any]

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
MAX_DEPTH = 64

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class Misfit(Exception):
    """A value that does not fit; never leaves this package."""

    def __init__(self, expected: str, actual: str, path: str = "", hint: str | None = None) -> None:
        super().__init__(expected)
        self.expected, self.actual, self.path, self.hint = expected, actual, path, hint

    def under(self, place: str) -> Misfit:
        """The same misfit, seen from the container that holds it."""
        return Misfit(self.expected, self.actual, place + self.path, self.hint)

    def as_error(self, what: str) -> SampleError:
        """The public error."""
        return SampleError(what, path=self.path, expected=self.expected, actual=self.actual, hint=self.hint)


def pack(fields: dict[str, Any]) -> bytes:
    """The msgpack bytes of values that encoders have made."""
    return _encoder.encode(fields)


def unpack(data: bytes | memoryview) -> dict[str, Any]:
    """The msgpack map in `data`: exactly one, with `str` keys.

    Raises:
        SampleError: the bytes are anything else.
    """
    try:
        value = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise SampleError("bytes are not valid msgpack", actual=f"{len(data)} bytes: {error}") from None
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise SampleError("bytes are not a sample", expected="a msgpack map with str keys", actual=_kind(value))
    return value


@cache
def encoder(field_type: FieldType) -> Codec:
    """The function from a value of this type to what msgpack can hold. It raises `Misfit`."""
    return _compile(field_type, _ENCODERS, _encode_array)


@cache
def decoder(field_type: FieldType) -> Codec:
    """The function from what msgpack holds to a value of this type. It raises `Misfit`."""
    return _compile(field_type, _DECODERS, _decode_array)


def _compile(field_type: FieldType, scalars: dict[str, Codec], array: Callable[[Array, Any], Any]) -> Codec:
    match field_type:
        case Scalar(kind):
            return scalars[kind]
        case Array():
            return lambda value: array(field_type, value)
        case Plain():
            return scalars["Any"]
        case Maybe(inner):
            code = _compile(inner, scalars, array)
            return lambda value: None if value is None else code(value)
        case ListOf(item):
            return _list_codec(str(field_type), _compile(item, scalars, array))
        case DictOf(inner):
            return _dict_codec(str(field_type), _compile(inner, scalars, array))


def _list_codec(name: str, code: Codec) -> Codec:
    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Misfit(name, _kind(value))
        index = 0
        try:
            result = []
            for index, item in enumerate(value):  # noqa: B007  the index is for the path of a misfit
                result.append(code(item))
            return result
        except Misfit as misfit:
            raise misfit.under(f"[{index}]") from None

    return convert


def _dict_codec(name: str, code: Codec) -> Codec:
    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(name, _kind(value))
        result, key = {}, None
        try:
            for key, item in value.items():
                if not isinstance(key, str):
                    raise Misfit("str keys", _kind(key))
                result[_encode_str(key)] = code(item)
            return result
        except Misfit as misfit:
            raise misfit.under(f"[{key!r:.60}]") from None

    return convert


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"NDArray[{value.dtype}] {list(value.shape)}"
    return f"{type(value).__name__} {value!r:.60}" if isinstance(value, int | float | str) else type(value).__name__


# Encoding accepts the numpy scalar that indexing an array gives, where nothing is lost by it.


def _encode_str(value: Any) -> str:
    if type(value) is str and value.isascii():
        return value
    if not isinstance(value, str):
        raise Misfit("str", _kind(value))
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Misfit("Unicode text", "a str with lone surrogates") from None
    return text


def _encode_int(value: Any) -> int:
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    if isinstance(value, np.integer) and value.dtype.kind != "m":  # timedelta64 calls itself an integer
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misfit("int", _kind(value))
    if not INT_MIN <= value <= INT_MAX:
        raise Misfit("int of 64 bits", _kind(value))
    return int(value)


def _encode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, int | float | np.integer | np.floating):
        raise Misfit("float", _kind(value))
    try:
        with np.errstate(over="ignore"):  # of a long double: told apart below
            double = float(value)
    except OverflowError:
        raise Misfit("float of 64 bits", _kind(value)) from None
    if double != value and value == value:
        raise Misfit("float of 64 bits, without loss", _kind(value))
    return double


def _encode_bool(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise Misfit("bool", _kind(value))
    return bool(value)


def _encode_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Misfit("bytes", _kind(value))
    return bytes(value)


def _encode_array(declared: Array, value: Any) -> bytes:
    if not isinstance(value, np.ndarray):
        raise Misfit(str(declared), _kind(value), hint="Pass a numpy array: np.asarray(value, dtype=...).")
    check_items(declared, value.dtype, value.shape)
    try:
        return encode_array(value)
    except SampleError as error:
        raise Misfit(str(declared), error.what, hint=error.hint) from None


def _decode_array(declared: Array, value: Any) -> np.ndarray[Any, Any]:
    if type(value) is not bytes:
        raise Misfit(f"{declared} as bytes", _kind(value))
    try:
        array = decode_array(value)
    except SampleError as error:
        raise Misfit(error.expected or str(declared), ": ".join(filter(None, [error.what, error.actual]))) from None
    check_items(declared, array.dtype, array.shape)
    return array


def check_items(declared: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check that an array of this dtype and shape may stand in the field. Raises `Misfit`."""
    scalar = PORTABLE.get(dtype.type, dtype.type)
    if declared.scalar is not None and not issubclass(scalar, declared.scalar):
        hint = f"Convert it: array.astype(np.{declared.scalar.__name__})."
        raise Misfit(str(declared), f"NDArray[{dtype}] {list(shape)}", hint=hint)
    if declared.shape is not None and not declared.shape.fits(shape):
        raise Misfit(str(declared), f"NDArray[{dtype}] {list(shape)}")


def _encode_plain(value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in (bool, float, bytes):
        return value
    if isinstance(value, np.generic) and not isinstance(value, str | bytes):
        return _encode_bool(value) if isinstance(value, np.bool_) else _encode_number(value)
    if isinstance(value, int | float | str | bytes | bytearray):
        return _encode_number(value) if isinstance(value, int | float) else _encode_text(value)
    if isinstance(value, list | dict):
        return _nested(value, _encode_plain, depth)
    hint = "Give the array a field of its own." if isinstance(value, np.ndarray) else None
    raise Misfit("None, bool, int, float, str, bytes, list or dict", _kind(value), hint=hint)


def _encode_number(value: Any) -> int | float:
    if isinstance(value, bool):
        return value
    return _encode_int(value) if isinstance(value, int | np.integer) else _encode_float(value)


def _encode_text(value: Any) -> str | bytes:
    return _encode_str(value) if isinstance(value, str) else _encode_bytes(value)


def _nested(value: Any, code: Callable[[Any, int], Any], depth: int) -> Any:
    if depth == MAX_DEPTH:
        raise Misfit(f"at most {MAX_DEPTH} lists and dicts inside each other", type(value).__name__)
    codec = _list_codec if isinstance(value, list) else _dict_codec
    return codec(type(value).__name__, lambda item: code(item, depth + 1))(value)


def _exactly(cls: type, name: str) -> Codec:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise Misfit(name, _kind(value))
        return value

    return check


def _decode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and float(value) == value:  # writers in other languages shorten 1.0 to 1
        return float(value)
    raise Misfit("float", _kind(value))


def _decode_plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list | dict):
        return _nested(value, _decode_plain, depth)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise Misfit("None, bool, int, float, str, bytes, list or dict", _kind(value))


_ENCODERS: dict[str, Codec] = {
    "str": _encode_str,
    "int": _encode_int,
    "float": _encode_float,
    "bool": _encode_bool,
    "bytes": _encode_bytes,
    "Any": _encode_plain,
}
_DECODERS: dict[str, Codec] = {
    "str": _exactly(str, "str"),
    "int": _exactly(int, "int"),
    "float": _decode_float,
    "bool": _exactly(bool, "bool"),
    "bytes": _exactly(bytes, "bytes"),
    "Any": _decode_plain,
}
