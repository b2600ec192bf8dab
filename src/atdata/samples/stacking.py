"""Arrays alike side by side in one, and apart again."""

from __future__ import annotations

from typing import Any

import numpy as np

from atdata.samples.npy import MAX_DIMS


def stack(values: list[Any]) -> Any:
    """One column: an array of shape `(len(values), *item_shape)` where all items are arrays alike, else the list."""
    first = values[0] if values else None
    if not isinstance(first, np.ndarray):
        return values
    dtype, shape = first.dtype, first.shape
    alike = all(isinstance(v, np.ndarray) and v.shape == shape and v.dtype == dtype for v in values)
    if not alike or len(shape) == MAX_DIMS:
        return values
    try:
        column = np.empty((len(values), *shape), dtype)
    except ValueError:  # empty arrays, of a shape with which numpy can count no more of them
        return values
    for index, value in enumerate(values):
        column[index, ...] = value
    return column


def unstack(column: Any) -> list[Any]:
    """The items of a column, as views where it is an array."""
    return [column[index, ...] for index in range(len(column))] if isinstance(column, np.ndarray) else column
