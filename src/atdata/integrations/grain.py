"""Datasets for grain: a source of samples by number, and a loader as one of its iterators, with its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from atdata.dataset import Dataset
from atdata.errors import MissingExtraError
from atdata.samples.forms import Ragged
from atdata.samples.numeric import forms_of

if TYPE_CHECKING:
    import grain

IterDataset: TypeAlias = "grain.IterDataset"


class Source:
    """A random access source of grain: each sample is a dict, with the columns of `SampleBatch.to_torch` as numpy has them.

    Args:
        dataset: a dataset or a view of one. It pickles, so grain's own workers may have it.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict[str, Any]:
        batch = self.dataset[[int(number)]]
        return {name: _row(form) for name, form in forms_of(batch.declared, batch.stored).items()}

    def __repr__(self) -> str:
        return f"Source({self.dataset!r})"


def _row(form: Any) -> Any:
    """The only row of a column."""
    return form[0] if isinstance(form, np.ndarray | list | Ragged) else form


def batches(loader: Any) -> IterDataset:
    """A `grain.IterDataset` of the batches of a loader, made with `format="jax"` or without: each pass is its next epoch.

    The state of its iterator is that of the loader, so it suits any number of ranks. Give it no `mp_prefetch`: a loader
    reads with threads.

    Args:
        loader: of `Dataset.loader`.

    Raises:
        MissingExtraError: grain is not installed.
    """
    made: IterDataset = _classes()(loader)
    return made


@lru_cache(maxsize=1)
def _classes() -> Any:
    try:
        import grain
    except ImportError as error:
        raise MissingExtraError.of("grain", "an iterator of grain") from error

    class LoaderIterator(grain.DatasetIterator):  # type: ignore[misc]
        def __init__(self, loader: Any) -> None:
            super().__init__()
            self._loader = loader
            self._batches: Iterator[Any] | None = None

        def __next__(self) -> Any:
            if self._batches is None:
                self._batches = iter(self._loader)
            return next(self._batches)

        def get_state(self) -> dict[str, Any]:
            state: dict[str, Any] = self._loader.state_dict()
            return state

        def set_state(self, state: dict[str, Any]) -> None:
            self._loader.load_state_dict(state)
            self._batches = None

    class LoaderBatches(grain.IterDataset):  # type: ignore[misc]
        def __init__(self, loader: Any) -> None:
            super().__init__()
            self._loader = loader

        def __iter__(self) -> LoaderIterator:
            return LoaderIterator(self._loader)

    return LoaderBatches
