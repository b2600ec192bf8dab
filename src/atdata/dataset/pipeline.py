"""What iteration gives: samples, and batches of samples. Each can be iterated any number of times."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.order import Order, counted
from atdata.errors import SampleError, UnsizedError
from atdata.samples import SampleBatch
from atdata.samples.batch import unstack

if TYPE_CHECKING:
    from atdata.dataset.dataset import Dataset

T = TypeVar("T")
Ints: TypeAlias = NDArray[np.int64]
Shuffle: TypeAlias = Literal["global", "window"]

_CHUNK = 1024


class Countable:
    """What has a length, unless only reading can tell. `bool` is true of what may hold something."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __bool__(self) -> bool:
        try:
            return len(self) > 0
        except UnsizedError:
            return True


class Samples(Countable, Generic[T]):
    """The samples of a dataset in some order, one by one. Each owns its arrays."""

    def __init__(self, dataset: Dataset[T], order: Order) -> None:
        self.dataset, self.order = dataset, order

    def __iter__(self) -> Iterator[T]:
        view = self.dataset
        for numbers in view.numbers(self.order, self._chunks()):
            try:
                batch = next(view.read([numbers]))
            except SampleError:
                for number in numbers:  # all that is before the bad one is given out
                    yield from _owned(next(view.read([np.array([number])])))
                raise
            yield from _owned(batch)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Positions that are read at once. In the stored order no shard is opened before its first sample's turn."""
        start = 0
        while self.dataset.reach(start + 1) > start:
            (first,) = self.dataset.numbers(self.order, [(start, start + 1)])
            size = min(_CHUNK, self.dataset.room(int(first[0])))
            stop = self.dataset.reach(start + size, self.order.mode != "ordered")
            yield start, stop
            start = stop

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, count: int) -> Iterable[T]:
        """The first `count` samples."""
        return islice(self, min(counted(count, "count"), sys.maxsize))


class Batches(Countable, Generic[T]):
    """The samples of a dataset in some order, `batch_size` at a time; the last batch may hold fewer. Of a batch a filter
    leaves what it keeps, and where that is nothing the batch is passed over.
    """

    def __init__(self, dataset: Dataset[T], order: Order, batch_size: int) -> None:
        self.dataset, self.order, self.batch_size = dataset, order, counted(batch_size, "batch_size", 1)

    def __iter__(self) -> Iterator[SampleBatch[T]]:
        view = self.dataset
        return (batch for batch in view.read(view.numbers(self.order, self._steps())) if len(batch))

    def _steps(self) -> Iterator[tuple[int, int]]:
        if self.order.mode == "ordered":
            self.dataset.begin()
        yield from steps(self.dataset, self.batch_size)

    def __len__(self) -> int:
        if self.dataset.filtered:
            raise UnsizedError.of("the batches of a filtered dataset", "Count them: sum(1 for _ in batches).")
        return -(-self.dataset.extent // self.batch_size)


def steps(view: Dataset[Any], size: int) -> Iterator[tuple[int, int]]:
    """Positions `[start, stop)`, `size` at a time, from the first to the last."""
    start = 0
    while (stop := view.reach(start + size)) > start:
        yield start, stop
        start = stop


def _owned(batch: SampleBatch[T]) -> Iterator[T]:
    """The samples of a batch, none of which keeps the batch in memory."""
    if batch.rows is not None:
        return iter(batch.rows)
    columns = {name: [_own(value) for value in unstack(column)] for name, column in batch.columns.items()}
    return iter(SampleBatch(batch.sample_type, columns).samples)


def _own(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) and value.base is not None else value
