"""Memory that is used again."""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]

_POOLED = 1 << 20  # bytes; less than that is had from malloc


class BufferPool:
    """Memory of columns that nobody looks at any more: filling it again is much faster than having new pages."""

    def __init__(self) -> None:
        self._blocks: deque[Bytes] = deque(maxlen=4)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array, uninitialized."""
        size = math.prod(shape) * dtype.itemsize
        if size < _POOLED:
            return np.empty(shape, dtype)
        for block in self._blocks:
            if len(block) == size and sys.getrefcount(block) == _IDLE:  # no array lies in it
                return block.view(dtype).reshape(shape)
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1].view(dtype).reshape(shape)


def _references_of_an_idle_block() -> int:
    """How many references one has while the pool looks at it; Python versions count differently."""
    for block in deque([np.empty(1, np.uint8)]):
        return sys.getrefcount(block)
    raise AssertionError


_IDLE = _references_of_an_idle_block()
