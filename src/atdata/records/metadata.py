"""Metadata of an entry: whatever its publisher says beside, as a map in msgpack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from atdata.errors import LexiconError, LimitError

MAX_METADATA = 100_000


def pack_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Metadata as the msgpack map a record carries.

    Raises:
        SampleError: it holds what msgpack cannot; `path` names the place.
        LimitError: it is larger than the lexicon allows.
    """
    from atdata.samples.codec import pack
    from atdata.samples.kinds import DictOf, Misfit, Plain

    try:
        packed = pack(DictOf(Plain()).encoder(dict(metadata)))
    except Misfit as misfit:
        raise misfit.under("metadata").as_error("metadata that cannot be stored") from None
    if len(packed) > MAX_METADATA:
        raise LimitError(
            "metadata are too large", path="metadata", expected=f"at most {MAX_METADATA} bytes", actual=len(packed)
        )
    return packed


def read_metadata(packed: bytes | None) -> Mapping[str, Any]:
    """The metadata that a record carries.

    Raises:
        LexiconError: they are no map in msgpack.
    """
    if packed is None:
        return {}
    try:
        value = msgspec.msgpack.decode(packed)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise LexiconError("an entry's metadata cannot be read", path="metadata", actual=str(error)) from None
    if not isinstance(value, dict):
        raise LexiconError("an entry's metadata must be a map", path="metadata", actual=type(value).__name__)
    return value
