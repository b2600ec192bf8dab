"""Statistics of fields by the manifests of shards, as models of small plots: bars of values, and ranges shard by shard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from atdata.manifest import Aggregate, Header
from atdata.plain import plain

BARS, RANGES, FIELDS = 12, 48, 60
"""Bars of a plot, ranges of one, and fields that are shown."""
_LABEL = 60


@dataclass(frozen=True)
class Bar:
    """A value, and how many samples have it.

    Attributes:
        label: the value.
        count: samples.
        share: of the count of the longest bar, from 0 to 1.
    """

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class ShardRange:
    """The numbers in a shard, or in some that stand side by side.

    Attributes:
        first: number of the first shard, from 0.
        last: of the last one.
        low: the least, of finite ones.
        high: the greatest.
        mean: their mean, if it is known.
        box: where low, high and mean are in the range of all shards, from 0 to 1; the mean is in the middle where it is
            not known.
    """

    first: int
    last: int
    low: float
    high: float
    mean: float | None
    box: tuple[float, float, float]


@dataclass(frozen=True)
class FieldStatistics:
    """The statistics of one field by manifests.

    Attributes:
        name: of the field, made harmless.
        facts: names and texts: samples with a value, without one, the range, the mean.
        bars: its most frequent values.
        rest: how many other values there are, and samples that have one of them.
        ranges: of its numbers, by shards.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...] = ()
    rest: tuple[int, int] = (0, 0)
    ranges: tuple[ShardRange, ...] = ()


@dataclass(frozen=True)
class DatasetStatistics:
    """The statistics of a dataset by manifests.

    Attributes:
        fields: of those that all manifests know.
        shards: how many manifests were read.
        of: how many shards there are.
        samples: in the shards of which they are.
    """

    fields: tuple[FieldStatistics, ...]
    shards: int
    of: int
    samples: int


def statistics_of(headers: Sequence[Header], shards: int) -> DatasetStatistics | None:
    """The statistics of a dataset; `None` where no manifest says anything.

    Args:
        headers: of the manifests of its first shards, each bound to its shard.
        shards: how many it has.
    """
    names = [name for name in headers[0].fields if all(name in header.fields for header in headers)] if headers else []
    if not names:
        return None
    fields = tuple(_field(name, [header.fields[name] for header in headers]) for name in islice(names, FIELDS))
    return DatasetStatistics(fields, len(headers), shards, sum(header.samples for header in headers))


def _field(name: str, parts: Sequence[Aggregate]) -> FieldStatistics:
    facts = {"samples with a value": f"{sum(part.count for part in parts):,}"}
    if nulls := sum(part.nulls for part in parts):
        facts["without a value"] = f"{nulls:,}"
    if nans := sum(part.nans or 0 for part in parts):
        facts["NaN"] = f"{nans:,}"
    lows, highs = _known([part.min for part in parts if part.count]), _known([part.max for part in parts if part.count])
    if lows and highs:
        facts["range"] = f"{min(lows):.6g} to {max(highs):.6g}"
    if (mean := _mean(parts)) is not None:
        facts["mean"] = f"{mean:.6g}"
    bars, rest = _bars(parts)
    if items := _items(parts):
        facts["values"] = items
    shown = plain(name, _LABEL)
    return FieldStatistics(shown, tuple(facts.items()), bars, rest, _ranges(parts))


def _bars(parts: Sequence[Aggregate]) -> tuple[tuple[Bar, ...], tuple[int, int]]:
    if any(part.counts is None for part in parts):
        return (), (0, 0)
    counts: Counter[tuple[str, object]] = Counter()
    for part in parts:
        for value, count in part.counts or ():
            counts[type(value).__name__, value] += max(count, 0)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0][1])))
    longest = max((count for _, count in ordered), default=0) or 1
    if longest == 1 and len(ordered) > BARS:  # of values that are each another, some say nothing
        return (), (len(ordered), len(ordered))
    bars = tuple(Bar(plain(value, _LABEL) or "(empty)", count, count / longest) for (_, value), count in ordered[:BARS])
    return bars, (len(ordered[BARS:]), sum(count for _, count in ordered[BARS:]))


def _items(parts: Sequence[Aggregate]) -> str:
    if all(part.items is None for part in parts):
        return ""
    items = sorted({plain(item, _LABEL) for part in parts for item in part.items or ()})
    return ", ".join(items[:BARS]) + (f" and {len(items) - BARS:,} more" if len(items) > BARS else "")


def _ranges(parts: Sequence[Aggregate]) -> tuple[ShardRange, ...]:
    """Ranges of shards, or of groups of them, with equally many in each, where there are many."""
    each = max(1, -(-len(parts) // RANGES))
    groups = [(first, parts[first : first + each]) for first in range(0, len(parts), each)]
    found = [(first, some, _known([p.min for p in some]), _known([p.max for p in some])) for first, some in groups]
    there = [(first, some, min(lows), max(highs)) for first, some, lows, highs in found if lows and highs]
    if not there or all(part.type == "bool" for part in parts):
        return ()
    low, high = min(lo for *_, lo, _ in there), max(hi for *_, hi in there)

    def place(value: float) -> float:
        width = high / 2 - low / 2  # halves: no difference of two floats runs over
        return min(1.0, max(0.0, (value / 2 - low / 2) / width)) if width > 0 else 0.5

    ranges = []
    for first, some, least, most in there:
        mean = _mean(some)
        middle = place(least / 2 + most / 2 if mean is None else mean)
        last = first + len(some) - 1
        ranges.append(ShardRange(first, last, least, most, mean, (place(least), place(most), middle)))
    return tuple(ranges)


def _mean(parts: Sequence[Aggregate]) -> float | None:
    """The mean of all, where each that has numbers says its own."""
    weighted = [(part.mean, part.count - (part.nans or 0)) for part in parts if part.count - (part.nans or 0) > 0]
    total = sum(count for _, count in weighted)
    if not total or any(mean is None for mean, _ in weighted):
        return None
    mean = sum(_float(mean) * (count / total) for mean, count in weighted if mean is not None)
    return mean if math.isfinite(mean) else None


def _known(numbers: Sequence[int | float | None]) -> list[float]:
    found = [_float(number) for number in numbers if number is not None]
    return [number for number in found if math.isfinite(number)]


def _float(number: float) -> float:
    """A number as a float; an int may have any size."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
