"""Numbers: of samples, and those that callers give."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import UsageError

Ints: TypeAlias = NDArray[np.int64]


def checked_int(number: Any, path: str, least: int | None = 0) -> int:
    """A number as an integer of Python's own: numpy's go into no JSON.

    Args:
        number: an integer of any kind; `True` is none.
        path: the name of the argument.
        least: the smallest that is allowed, below 2**63; with `None` any is.

    Raises:
        UsageError: it is no integer, or not in the range.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        value = operator.index(number)
    except TypeError:
        raise UsageError(
            f"{path} must be an integer", path=path, actual=repr(number)[:80], hint="Give an int."
        ) from None
    if least is not None and not least <= value < 1 << 63:
        raise UsageError(
            f"{path} must be at least {least} and below 2**63",
            path=path,
            actual=value,
            hint="Give a number in that range.",
        )
    return value
