"""Descriptions of datasets: what the values of each field are, by manifests or by reading some samples."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from atdata.dataset.iteration import Samples
from atdata.dataset.order import Order
from atdata.dataset.stored import is_whole
from atdata.dataset.view import View
from atdata.display import Card, Grid
from atdata.errors import AtdataError
from atdata.manifest import Header, manifest_beside, pinned_header
from atdata.samples import Field, PackableSample, fields_of
from atdata.samples.kinds.media import Encoded
from atdata.samples.preview import brief, values_of
from atdata.shards import FileSource

T = TypeVar("T")

_MOST_FREQUENT = 5


@dataclass(frozen=True)
class FieldDescription:
    """A summary of the values of one field.

    Attributes:
        name: of the field.
        type: what they are.
        count: samples with a value.
        missing: samples without one.
        facts: what else is known, by name: `range`, `mean`, `length`, `shape`, `most frequent`.
    """

    name: str
    type: str
    count: int
    missing: int
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """A summary of the values of each field of a dataset. It prints as a table.

    Attributes:
        title: of what.
        basis: what it was found out by.
        fields: in order.
    """

    title: str
    basis: str
    fields: tuple[FieldDescription, ...]

    def __getitem__(self, name: str) -> FieldDescription:
        """The description of one field."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def card(self) -> Card:
        """The description as people look at it."""
        rows = [
            [one.name, one.type, one.count, one.missing or "", "; ".join(f"{k} {v}" for k, v in one.facts.items())]
            for one in self.fields
        ]
        return Card(
            self.title, {"by": self.basis}, [Grid(["field", "type", "values", "missing", "what they are"], rows)]
        )

    def __repr__(self) -> str:
        return self.card.text()

    def _repr_html_(self) -> str:
        return self.card.html()


def describe(view: View[Any], title: str, limit: int) -> Description:
    """The description of the samples of a view: by the manifests of its shards where all have one, else by the first
    samples.

    Args:
        view: the samples.
        title: what to call them.
        limit: most samples to read.
    """
    headers = _headers(view)
    types = {one.name: one.shown for one in shown_fields(view)}
    read = list(itertools.islice(_values(view), limit + 1))
    some, more = read[:limit], len(read) > limit
    names = list(types) or list(dict.fromkeys(name for values in some for name in values))
    sampled = {name: _of_values(name, types.get(name), [values.get(name) for values in some]) for name in names}
    basis = f"the first {len(some):,} samples" if more else f"all {len(some):,} samples"
    if more and headers:
        known = {name for name in names if all(name in header.fields for header in headers)}
        exact = {name: _of_manifests(sampled[name], headers) for name in known}
        basis = f"the manifests of {len(headers)} shards; {', '.join(n for n in names if n not in exact)}: {basis}"
        sampled |= exact
        if len(exact) == len(names):
            basis = f"the manifests of {len(headers)} shards"
    return Description(title, basis, tuple(sampled[name] for name in names))


def shown_fields(view: View[Any]) -> tuple[Field, ...]:
    """The fields of the samples of a view; none where these have no type."""
    kind, names = view.about.declaring, view.about.names
    if not issubclass(kind, PackableSample):
        return ()
    fields = fields_of(kind)
    return fields if names is None else tuple(field for field in fields if field.name in names)


def _values(view: View[Any]) -> Iterator[Mapping[str, Any]]:
    return map(values_of, Samples(view, Order(0)))


def _headers(view: View[Any]) -> Sequence[Header]:
    """The headers of the manifests of all shards, where a view is just their samples; none where one has none."""
    if not is_whole(view):
        return ()
    found: list[Header] = []
    for shard in view.table.refs:
        own = shard
        if shard.manifest is None and shard.digest is not None and isinstance(view.source, FileSource):
            own = type(shard)(shard.url, shard.digest, shard.size, shard.samples, manifest_beside(shard))
        try:
            header = pinned_header(own, view.table.shards.cache)
        except AtdataError:
            return ()
        if header is None:
            return ()
        found.append(header)
    return found


def _of_manifests(sampled: FieldDescription, headers: Sequence[Header]) -> FieldDescription:
    parts = [header.fields[sampled.name] for header in headers]
    count = sum(part.count for part in parts)
    facts: dict[str, str] = {}
    least, most = [p.min for p in parts if p.count], [p.max for p in parts if p.count]
    if least and None not in least and None not in most:
        facts["range"] = f"{_number(min(least))} to {_number(max(most))}"  # type: ignore[type-var]
    means = [(p.mean, p.count - (p.nans or 0)) for p in parts if p.count]
    if means and all(mean is not None for mean, _ in means) and sum(n for _, n in means):
        facts["mean"] = _number(sum(mean * n for mean, n in means if mean is not None) / sum(n for _, n in means))
    if nans := sum(p.nans or 0 for p in parts):
        facts["NaN"] = f"{nans:,}"
    if all(p.counts is not None for p in parts):
        frequent = Counter[Any]()
        for part in parts:
            frequent.update(dict(part.counts or ()))
        facts |= _frequent(frequent)
    return FieldDescription(sampled.name, sampled.type, count, sum(p.nulls for p in parts), facts)


def _of_values(name: str, declared: str | None, values: Sequence[Any]) -> FieldDescription:
    there = [value for value in values if value is not None]
    kinds = " | ".join(dict.fromkeys(type(value).__name__ for value in there)) or "None"
    return FieldDescription(name, declared or kinds, len(there), len(values) - len(there), _facts(there))


def _facts(values: Sequence[Any]) -> dict[str, str]:
    if not values:
        return {}
    first = values[0]
    if all(isinstance(value, bool | np.bool_) for value in values):
        return _frequent(Counter(map(bool, values)))
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values):
        return _number_facts(values)
    if all(isinstance(value, str) for value in values):
        return {"length": _range([len(value) for value in values]), **_frequent(Counter(values))}
    if all(hasattr(value, "dtype") and hasattr(value, "shape") for value in values):  # sparse matrices have no length
        kinds = Counter(f"{value.dtype}{list(value.shape)}" for value in values)
        return {"shape": ", ".join(kind for kind, _ in kinds.most_common(3)) + (" ..." if len(kinds) > 3 else "")}
    if all(isinstance(value, Encoded) for value in values):
        kinds = Counter(value.media_type for value in values)
        return {"format": ", ".join(kinds), "bytes": _range([len(value.data) for value in values])}
    if all(hasattr(value, "__len__") for value in values):
        return {"length": _range([len(value) for value in values])}
    try:
        return {"range": f"{brief(min(values))} to {brief(max(values))}"}
    except (TypeError, ArithmeticError):  # what has no order: some of pandas', a Decimal that is no number
        return {"such as": brief(first)}


def _number_facts(values: Sequence[Any]) -> dict[str, str]:
    numbers = [value for value in values if value == value]
    facts = {"NaN": f"{len(values) - len(numbers):,}"} if len(numbers) < len(values) else {}
    if not numbers:
        return facts
    facts["range"] = f"{_number(min(numbers))} to {_number(max(numbers))}"
    mean = math.fsum(numbers) / len(numbers) if all(map(math.isfinite, numbers)) else math.nan
    if mean == mean:
        facts["mean"] = _number(mean)
    whole = all(isinstance(value, int | np.integer) for value in numbers)
    return facts | (_frequent(Counter(map(int, numbers))) if whole and len(set(numbers)) <= len(numbers) // 2 else {})


def _frequent(counts: Counter[Any]) -> dict[str, str]:
    """The values that several samples have."""
    common = [(value, count) for value, count in counts.most_common(_MOST_FREQUENT) if count > 1]
    if not common:
        return {}
    return {"most frequent": ", ".join(f"{brief(value, 20)} ({count:,})" for value, count in common)}


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{float(value):.6g}"
