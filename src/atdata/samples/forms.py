"""The forms that columns have beside arrays and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Numbers:
    """A column of numbers or truth values, kept as an array until a list is asked for.

    Attributes:
        array: int64, float64 or bool `(n,)`.
    """

    __slots__ = ("array",)

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, some: slice | NDArray[np.int64]) -> Numbers:
        return Numbers(self.array[some])
