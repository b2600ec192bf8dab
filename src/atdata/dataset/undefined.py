"""Samples of which a lens has no view, told one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from atdata.arguments import checked_type
from atdata.dataset.dataset import Dataset
from atdata.dataset.iteration import Batches
from atdata.dataset.order import Order
from atdata.dataset.transforms import Undefined
from atdata.dataset.view import View
from atdata.errors import NoHomeError

_AT_ONCE = 1024


def undefined_samples(dataset: Dataset[Any]) -> Iterator[NoHomeError]:
    """Yields the error for each sample of which the lens of a dataset has no view, in the stored order: `uri` is its shard, `path`
    begins with its key and its place there. Reads all samples, and does not mind what a filter leaves out.

    Args:
        dataset: as `as_type` shows it, whether it skips such samples or not.

    Raises:
        ArgumentTypeError: it is no dataset.
        ShardError, DigestError, SampleError: as iteration.
    """
    view = checked_type(dataset, Dataset, "dataset", "Give a dataset: data.as_type(MyType).").view
    skipping, raising, order = _through_lens(view, "skip"), _through_lens(view, "raise"), Order(0)
    for numbers in skipping.numbers(order, Batches(skipping, order, _AT_ONCE).ranges()):
        _, kept = next(skipping.parts([numbers]))
        for number in () if kept is None else np.delete(np.asarray(numbers, np.int64), kept):
            try:
                next(raising.read([np.array([number])]))
            except NoHomeError as error:
                yield error


def _through_lens(view: View[Any], undefined: Undefined) -> View[Any]:
    """The view without what comes after its lenses."""
    return view.each(
        lambda part: replace(
            part,
            sample_type=part.stored_type if part.lens is None else part.lens.view_type,
            fields=None,
            transforms=(),
            undefined=undefined,
        )
    )
