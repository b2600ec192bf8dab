"""JSON from strangers and from disk, read in one place."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeVar, overload

import msgspec

from atdata.errors import DataModelError

T = TypeVar("T")

MAX_DEPTH = 256
"""Arrays and objects inside each other: what the data model allows, and what an answer puts around it.

Whatever is done with a value afterwards, such as writing it again, takes stack for each of them.
"""


@overload
def read_json(data: bytes | str) -> Any: ...
@overload
def read_json(data: bytes | str, kind: type[T]) -> T: ...
def read_json(data: bytes | str, kind: Any = Any) -> Any:
    """The value that JSON text stands for (RFC 8259): UTF-8, without NaN or numbers that a double cannot hold.

    Args:
        data: one value, and nothing after it; how long it may be is for the caller to say.
        kind: what it must be, a class with annotations; members that the class does not have are passed over.

    Raises:
        DataModelError: it is no JSON, nested deeper than `MAX_DEPTH`, or not of that kind.
    """
    try:
        value = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        actual = "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise DataModelError("text is not JSON of the expected form", actual=actual) from None
    opened = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
    if kind is Any and opened > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = chain.from_iterable(item.values() if isinstance(item, dict) else item for item in level)
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    raise DataModelError("text is not JSON of the expected form", expected=f"at most {MAX_DEPTH} levels")
