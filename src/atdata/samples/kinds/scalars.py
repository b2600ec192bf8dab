"""Text, numbers, truth values and bytes: what everything else is stored as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from atdata.samples.kinds.kind import Build, Codec, FieldType, Misfit, Parse, as_read, described

ScalarKind: TypeAlias = Literal["str", "int", "float", "bool", "bytes"]
PYTHON_TYPES: dict[ScalarKind, type] = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}
JSON_TYPES: dict[str, ScalarKind] = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}

INT_MIN, INT_MAX = -(2**63), 2**64 - 1

_NODES: dict[ScalarKind, dict[str, str]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte", "contentEncoding": "base64"},
}
_ARROW: dict[ScalarKind, str] = {
    "str": "string",
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "bytes": "binary",
}


@dataclass(frozen=True)
class Scalar(FieldType):
    """A Python `str`, `int` (64 bit), `float` (IEEE double), `bool` or `bytes`."""

    kind: ScalarKind

    def __str__(self) -> str:
        return self.kind

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        return next((Scalar(kind) for kind, found in PYTHON_TYPES.items() if annotation is found), None)

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return PYTHON_TYPES[self.kind]

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return _ENCODERS[self.kind]

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return _DECODERS[self.kind]

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return dict(_NODES[self.kind])

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: the same scalars, or some of them that a `Literal` or names of classes choose."""
        if self != as_read(stored):
            raise Misfit(str(self), str(stored))

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`."""
        return pa.type_for_alias(_ARROW[self.kind])


# Encoding accepts the numpy scalar that indexing an array gives, where nothing is lost by it.


def encode_str(value: Any) -> str:
    """Text; no lone surrogates."""
    if type(value) is str and value.isascii():
        return value
    if not isinstance(value, str):
        raise Misfit("str", described(value))
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Misfit("Unicode text", "a str with lone surrogates") from None
    return text


def encode_int(value: Any) -> int:
    """A number that msgpack has."""
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    if isinstance(value, np.integer) and value.dtype.kind != "m":  # timedelta64 calls itself an integer
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misfit("int", described(value))
    if not INT_MIN <= value <= INT_MAX:
        raise Misfit("int of 64 bits", described(value))
    return int(value)


def encode_float(value: Any) -> float:
    """A double, without loss."""
    if type(value) is float:
        return value
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, int | float | np.integer | np.floating):
        raise Misfit("float", described(value))
    try:
        with np.errstate(over="ignore"):  # of a long double: told apart below
            double = float(value)
    except OverflowError:
        raise Misfit("float of 64 bits", described(value)) from None
    if double != value and value == value:
        raise Misfit("float of 64 bits, without loss", described(value))
    return double


def encode_bool(value: Any) -> bool:
    """A truth value, and no number."""
    if not isinstance(value, bool | np.bool_):
        raise Misfit("bool", described(value))
    return bool(value)


def encode_bytes(value: Any) -> bytes:
    """Bytes, of any buffer of them."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Misfit("bytes", described(value))
    return bytes(value)


def _exactly(cls: type, name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise Misfit(name, described(value))
        return value

    return check


def _decode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if (
        type(value) is int and INT_MIN <= value <= INT_MAX and float(value) == value
    ):  # writers in other languages shorten 1.0 to 1
        return float(value)
    raise Misfit("float", described(value))


_ENCODERS: dict[ScalarKind, Codec] = {
    "str": encode_str,
    "int": encode_int,
    "float": encode_float,
    "bool": encode_bool,
    "bytes": encode_bytes,
}
_DECODERS: dict[ScalarKind, Codec] = {
    "str": _exactly(str, "str"),
    "int": _exactly(int, "int"),
    "float": _decode_float,
    "bool": _exactly(bool, "bool"),
    "bytes": _exactly(bytes, "bytes"),
}
