"""Transforms of a batch between its bytes and its reader: a lens, a map, a filter."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from atdata.arguments import checked_call, checked_type
from atdata.errors import LensError, NoHomeError, UsageError
from atdata.lens import Lens
from atdata.numbers import Ints
from atdata.samples import DictSample, PackableSample, SampleBatch

Undefined: TypeAlias = Literal["raise", "skip"]

Part: TypeAlias = "tuple[SampleBatch[Any], Ints | None]"
"""A batch; and where its samples stand among those that it was made of, if some of them were left out."""


class Transform(Protocol):
    """One batch to another. `str` names what it does, the same in every process and run."""

    def apply(self, batch: SampleBatch[Any]) -> Part:
        """The batch that comes of one."""


def applied(transforms: Iterable[Transform], batch: SampleBatch[Any]) -> Part:
    """The batch that comes of one by several transforms, one after the other."""
    kept: Ints | None = None
    for transform in transforms:
        batch, places = transform.apply(batch)
        if places is not None:
            kept = places if kept is None else kept[places]
    return batch, kept


@dataclass(frozen=True)
class ApplyLens:
    """A lens, or a choice of fields, on stored samples.

    Attributes:
        lens: to the type of the view.
        fields: names of the fields to keep.
        undefined: what is done about samples of which the lens has no view.
    """

    lens: Lens[Any, Any] | None
    fields: tuple[str, ...] | None
    undefined: Undefined = "raise"

    def __str__(self) -> str:
        parts = [] if self.lens is None else [f"as_type({self.lens.view_type.__name__}) by {self.lens}"]
        parts += ["undefined skipped"] if self.undefined == "skip" else []
        return ", ".join([*parts, f"columns({', '.join(self.fields)})"] if self.fields is not None else parts)

    def apply(self, batch: SampleBatch[Any]) -> Part:
        """The batch through the lens, or with the chosen fields."""
        places: Ints | None = None
        if self.lens is not None:
            try:
                batch = _seen(self.lens, batch)
            except NoHomeError:
                if self.undefined == "raise":
                    raise
                places = np.array(list(_defined(self.lens, batch)), np.int64)
                batch = _seen(self.lens, some_of(batch, places))
        if self.fields is not None:
            none = [None] * len(batch)  # samples without a type may lack a field
            columns = {name: batch.stored.get(name, none) for name in self.fields}
            batch = SampleBatch(DictSample, columns, declared=batch.declared)
        return batch, places


def _seen(lens: Lens[Any, Any], batch: SampleBatch[Any]) -> SampleBatch[Any]:
    """The batch through a lens, by columns where the lens maps them."""
    if len(batch) and batch.rows is None and lens.reads() is not None:
        return SampleBatch(lens.view_type, lens.map_columns(batch.stored, len(batch)))
    return SampleBatch.of(lens.view_type, views_of(lens, batch.samples))


def _defined(lens: Lens[Any, Any], batch: SampleBatch[Any], first: int = 0) -> Iterable[int]:
    """The places of the samples that a lens has a view of; where most have one, few calls tell.

    Args:
        lens: the lens.
        batch: some samples in a row.
        first: the place of the first of them.
    """
    try:
        _seen(lens, batch)
        return range(first, first + len(batch))
    except NoHomeError:
        if len(batch) == 1:
            return ()
    half = len(batch) // 2
    parts = some_of(batch, np.arange(half)), some_of(batch, np.arange(half, len(batch)))
    return itertools.chain(_defined(lens, parts[0], first), _defined(lens, parts[1], first + half))


def views_of(lens: Lens[Any, Any], samples: Iterable[Any]) -> list[Any]:
    """The views of some samples.

    Raises:
        LensError: one is no sample of the view's type.
    """
    get, kind = lens.get, lens.view_type
    views = [get(sample) for sample in samples]  # `map` would end, without a word, where a getter raises StopIteration
    if {*map(type, views)} - {kind}:
        wanted = Mapping if issubclass(kind, DictSample) else kind
        for view in views:
            if not isinstance(view, wanted):
                raise LensError(
                    f"the lens {lens.name} gives another type than it says",
                    expected=kind.__name__,
                    actual=type(view).__name__,
                    hint="Let its getter return a sample of that type, or raise NoHomeError where there is none.",
                )
    return views


@dataclass(frozen=True)
class Map:
    """The results of a function for each sample."""

    function: Callable[[Any], Any]
    sample_type: type[Any]

    def __str__(self) -> str:
        return f"map({function_name(self.function)})"

    @classmethod
    def of(cls, function: Callable[[Any], Any], sample_type: type[Any] | None) -> Map:
        """The transform, with the type of its results."""
        checked_call(function, "function", "Give a function of a sample.")
        if sample_type is not None:
            checked_type(sample_type, type, "sample_type", "Give the class of what the function returns.")
        if sample_type is None:
            with suppress(NameError, TypeError, AttributeError):
                sample_type = typing.get_type_hints(function).get("return")
        known = isinstance(sample_type, type) and issubclass(sample_type, PackableSample)
        return cls(function, sample_type if known and sample_type is not None else DictSample)

    def apply(self, batch: SampleBatch[Any]) -> Part:
        """The batch of the results."""
        rows = [self.function(sample) for sample in batch.samples]  # as in `views_of`
        for row in rows:
            if self.sample_type is not DictSample and not isinstance(row, self.sample_type):
                raise UsageError(
                    "the function given to map returns another type than it says",
                    expected=self.sample_type.__name__,
                    actual=type(row).__name__,
                    hint="Annotate the type that it returns, or pass sample_type=.",
                )
        kinds = set(map(type, rows))
        kind = kinds.pop() if len(kinds) == 1 else object
        return SampleBatch.of(kind if issubclass(kind, PackableSample) else self.sample_type, rows), None


@dataclass(frozen=True)
class Filter:
    """The samples for which a function is true."""

    keep: Callable[[Any], bool]

    def __str__(self) -> str:
        return f"filter({function_name(self.keep)})"

    def apply(self, batch: SampleBatch[Any]) -> Part:
        """The kept samples of the batch."""
        kept = [index for index, sample in enumerate(batch.samples) if self.keep(sample)]
        places = np.array(kept, np.int64)
        return some_of(batch, places), places


def some_of(batch: SampleBatch[Any], places: Ints) -> SampleBatch[Any]:
    """The samples at some places of a batch, in order."""
    if len(places) == len(batch):
        return batch
    kept = places.tolist()
    if batch.rows is not None:
        return SampleBatch.of(batch.sample_type, [batch.rows[index] for index in kept])
    columns = {
        name: [column[i] for i in kept] if isinstance(column, list) else column[places]
        for name, column in batch.stored.items()
    }
    return SampleBatch(batch.sample_type, columns, declared=batch.declared)


def function_name(function: Callable[..., Any]) -> str:
    """The name of a function in its module; the module itself may be `__main__` here and another name elsewhere."""
    function = getattr(function, "func", function)  # of a functools.partial
    return str(getattr(function, "__qualname__", type(function).__qualname__))
