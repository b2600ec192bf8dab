"""Batches that take the place of those that a filter has emptied."""

from __future__ import annotations

from typing import Generic, TypeVar

from atdata.dataset.order import Order
from atdata.dataset.view import View
from atdata.samples import SampleBatch

T = TypeVar("T")


class Padding(Generic[T]):
    """Kept samples in place of emptied batches: those that come next in the epoch, and after its end its first ones. So
    they are the same for all workers, and after a resume.
    """

    def __init__(self, view: View[T], order: Order, batch_size: int) -> None:
        self._view, self._order, self._size = view, order, batch_size
        self._empty = range(0)  # positions of which the filter is known to keep none, up to the next kept

    def batch(self, after: int) -> SampleBatch[T] | None:
        """The next kept samples, a batch at most; `None` if the epoch has none.

        Args:
            after: the position where the emptied batch ends.
        """
        start = self._empty.stop if after in self._empty else after
        places = [(at, at + self._size) for at in range(start, after + self._view.extent, self._size)]
        for (at, _), batch in zip(places, self._view.read(self._view.numbers(self._order, places)), strict=False):
            if len(batch):
                self._empty = range(after, at)
                return batch
        return None
