"""Columns of several shards as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.numbers import Ints
from atdata.samples.forms import Numbers
from atdata.samples.gather import Column
from atdata.samples.stacking import unstack


def join_columns(parts: list[Column], groups: list[Sequence[int] | Ints]) -> Column:
    """One column.

    Args:
        parts: its values, one part for each shard.
        groups: the rows of each part's values.
    """
    if not parts:
        return []
    if len(parts) == 1 and isinstance(groups[0], range):
        return parts[0]
    count = sum(map(len, groups))
    if all(isinstance(part, Numbers) for part in parts):
        numbers = [part for part in parts if isinstance(part, Numbers)]
        masks = [np.zeros(len(part), bool) if part.mask is None else part.mask for part in numbers]
        some = any(part.mask is not None for part in numbers)
        joined = _scattered([part.array for part in numbers], groups, count)
        return Numbers(joined, _scattered(masks, groups, count) if some else None)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({(array.dtype, array.shape[1:]) for array in arrays}) == 1:
        return _scattered(arrays, groups, count)
    whole = np.empty(count, object)
    for group, part in zip(groups, parts, strict=True):
        whole[group] = np.fromiter(_values(part), object, len(part))
    values: list[Any] = whole.tolist()
    return values


def _values(part: Column) -> list[Any]:
    return part.tolist() if isinstance(part, Numbers) else unstack(part)


def _scattered(arrays: Sequence[NDArray[Any]], groups: Sequence[Any], count: int) -> NDArray[Any]:
    whole = np.empty((count, *arrays[0].shape[1:]), arrays[0].dtype)
    for group, array in zip(groups, arrays, strict=True):
        whole[group] = array
    return whole
