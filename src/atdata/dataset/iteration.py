"""Iteration: samples, and batches of samples. Each can be iterated any number of times."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic, Literal, TypeAlias, TypeVar

import numpy as np

from atdata.dataset.order import Order
from atdata.dataset.view import MaybeSized, View
from atdata.errors import AtdataError, LensError, SampleError, UnsizedError, UsageError
from atdata.numbers import checked_int
from atdata.samples import SampleBatch
from atdata.samples.stacking import unstack

T = TypeVar("T")
Shuffle: TypeAlias = Literal["global", "window"]

_CHUNK = 1024
_OF_SAMPLES = (SampleError, LensError, UsageError)  # errors of what is done with one sample


class Samples(MaybeSized, Generic[T]):
    """The samples of a dataset in some order, one by one. Each owns its arrays."""

    def __init__(self, view: View[T], order: Order) -> None:
        self.view, self.order = view, order

    def __iter__(self) -> Iterator[T]:
        for numbers in self.view.numbers(self.order, self._chunks()):
            try:
                batch = next(self.view.read([numbers]))
            except Exception as error:
                if isinstance(error, AtdataError) and not isinstance(error, _OF_SAMPLES):
                    raise
                for number in numbers:  # all that is before the one that is bad, or that a function refuses, is yielded
                    yield from _owned(next(self.view.read([np.array([number])])))
                raise
            yield from _owned(batch)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Positions that are read at once. In the stored order no shard is opened before its first sample is due."""
        start = 0
        while self.view.resolve_stop(start + 1) > start:
            (first,) = self.view.numbers(self.order, [(start, start + 1)])
            size = min(_CHUNK, self.view.block_size(int(first[0])))
            stop = self.view.resolve_stop(start + size, open_shards=self.order.mode != "ordered")
            yield start, stop
            start = stop

    def __len__(self) -> int:
        return len(self.view)

    def take(self, count: int) -> Iterable[T]:
        """The first `count` samples."""
        return islice(self, min(checked_int(count, "count"), sys.maxsize))


class Batches(MaybeSized, Generic[T]):
    """The samples of a dataset in some order, `batch_size` at a time; the last batch may hold fewer. A batch of
    which a filter keeps nothing is skipped.
    """

    def __init__(self, view: View[T], order: Order, batch_size: int) -> None:
        self.view, self.order, self.batch_size = view, order, checked_int(batch_size, "batch_size", 1)

    def __iter__(self) -> Iterator[SampleBatch[T]]:
        numbers = self.view.numbers(self.order, self.ranges())
        return (batch for batch in self.view.read(numbers) if len(batch))

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yields the positions `[start, stop)` of each batch."""
        if self.order.mode == "ordered":
            self.view.prefetch_first()
        start = 0
        while (stop := self.view.resolve_stop(start + self.batch_size)) > start:
            yield start, stop
            start = stop

    def __len__(self) -> int:
        if self.view.filtered:
            raise UnsizedError.of("the batches of a filtered dataset", "Count them: sum(1 for _ in batches).")
        return -(-self.view.extent // self.batch_size)


def _owned(batch: SampleBatch[T]) -> Iterator[T]:
    """The samples of a batch, none of which keeps the batch in memory."""
    if batch.rows is not None:
        return iter(batch.rows)
    columns = {
        name: [v.copy() if isinstance(v, np.ndarray) and v.base is not None else v for v in unstack(column)]
        for name, column in batch.columns.items()
    }
    return iter(SampleBatch(batch.sample_type, columns).samples)
