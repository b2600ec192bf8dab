"""Samples as msgpack: one map from field name to value, in field order."""

from __future__ import annotations

from typing import Any

import msgspec

from atdata.errors import SampleError
from atdata.samples.kinds.kind import described

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


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
    except TypeError:
        raise SampleError("only bytes can be read as a sample", actual=type(data).__name__) from None
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise SampleError("bytes are not valid msgpack", actual=f"{len(data)} bytes: {error}") from None
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise SampleError("bytes are not a sample", expected="a msgpack map with str keys", actual=described(value))
    return value
