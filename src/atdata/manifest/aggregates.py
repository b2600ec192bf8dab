"""Aggregates of all values of a field, gathered a batch of rows at a time.

All of it is a bound on what is in the shard: a fact that is left out (`None`) leaves open what is there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from atdata.manifest.field import Indexed

MAX_VALUES = 256
MAX_TEXT = 256

Value: TypeAlias = bool | int | str


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Aggregates of a field's values in one shard.

    Attributes:
        kind: `numeric`, `categorical` or `set`.
        type: what a value, or an item of a set, is: `int`, `float`, `bool` or `str`.
        count: samples that have a value.
        nulls: samples that have none.
        nans: values that are no number; the other facts leave them out.
        min: the least number, where it is finite.
        max: the greatest.
        mean: their mean.
        counts: each value with how many samples have it, where there are few values.
        items: each item of any of the sets, where there are few.
    """

    kind: str
    type: str
    count: int
    nulls: int
    nans: int | None = None
    min: int | float | None = None
    max: int | float | None = None
    mean: int | float | None = None
    counts: tuple[tuple[Value, int], ...] | None = None
    items: tuple[Value, ...] | None = None


class Gathering(Protocol):
    """The gathering of a field's values for an `Aggregate`."""

    def add(self, values: Sequence[Any]) -> None:
        """Take in some values; `None` are left out before."""

    def facts(self) -> dict[str, Any]:
        """The aggregates beyond the counts."""


def gathering(field: Indexed) -> Gathering:
    """An empty gathering of a field's values."""
    if field.kind == "numeric":
        return _Floats() if field.type == "float" else _Ints()
    return _Values() if field.kind == "categorical" else _Items()


class _Ints:
    """Ints, and bools as 0 and 1: exact whatever their size."""

    def __init__(self) -> None:
        self.count = self.sum = 0
        self.min: int | None = None
        self.max: int | None = None

    def add(self, values: Sequence[Any]) -> None:
        if values:
            least, most = int(min(values)), int(max(values))
            self.min = least if self.min is None else min(least, self.min)
            self.max = most if self.max is None else max(most, self.max)
            self.sum += sum(values)
            self.count += len(values)

    def facts(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "mean": self.sum / self.count if self.count else None}


class _Floats:
    """Floats. The mean is of the exact sum of each batch, so that it is the same on every machine."""

    def __init__(self) -> None:
        self.count = self.nans = 0
        self.sum = 0.0
        self.min, self.max = math.inf, -math.inf

    def add(self, values: Sequence[Any]) -> None:
        numbers = np.array(values, np.float64)
        nans = int(np.count_nonzero(np.isnan(numbers)))
        if nans:
            numbers = numbers[~np.isnan(numbers)]
        self.nans += nans
        if len(numbers):
            self.count += len(numbers)
            self.min = min(self.min, float(numbers.min()))
            self.max = max(self.max, float(numbers.max()))
            try:
                self.sum += math.fsum(numbers.tolist())
            except (OverflowError, ValueError):  # beyond a float; both infinities
                self.sum = math.nan

    def facts(self) -> dict[str, Any]:
        mean = self.sum / self.count if self.count else math.nan
        finite = {"min": self.min, "max": self.max, "mean": mean}  # JSON has no other numbers
        return {"nans": self.nans, **{name: value if math.isfinite(value) else None for name, value in finite.items()}}


class _Values:
    """The count of each value, as long as the values are few and short."""

    def __init__(self) -> None:
        self.counter: Counter[Any] | None = Counter()

    def add(self, values: Sequence[Any]) -> None:
        if self.counter is not None:
            self.counter.update(values)
            if not _few(self.counter):
                self.counter = None

    def facts(self) -> dict[str, Any]:
        return {"counts": None if self.counter is None else tuple(sorted(self.counter.items()))}


class _Items:
    """The items that occur in any of the lists, as long as they are few and short."""

    def __init__(self) -> None:
        self.seen: set[Any] | None = set()

    def add(self, values: Sequence[Any]) -> None:
        if self.seen is not None:
            self.seen.update(*values)
            if not _few(self.seen):
                self.seen = None

    def facts(self) -> dict[str, Any]:
        return {"items": None if self.seen is None else tuple(sorted(self.seen))}


def _few(values: Counter[Any] | set[Any]) -> bool:
    return len(values) <= MAX_VALUES and not any(isinstance(text, str) and len(text) > MAX_TEXT for text in values)
