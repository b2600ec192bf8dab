"""What iteration gives: samples, and batches of samples. Each can be iterated any number of times."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from atdata.errors import SampleError, UsageError
from atdata.samples import SampleBatch

if TYPE_CHECKING:
    from atdata.dataset.dataset import Dataset

T = TypeVar("T")


class Samples(Generic[T]):
    """The samples of a dataset, one by one."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[T]:
        decode = self.dataset.decode
        for shard, rows in zip(self.dataset.shards, self.dataset.rows_by_shard(), strict=True):
            for key, packed in rows:
                try:
                    sample = decode(packed)
                except SampleError as error:
                    error.uri, error.path = shard.url, f"{key}: {error.path or ''}".rstrip(": ")
                    raise
                yield sample

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, count: int) -> Iterable[T]:
        """The first `count` samples."""
        if count < 0:
            raise UsageError("a number of samples is not negative", path="count", actual=count)
        return itertools.islice(self, count)


class Batches(Generic[T]):
    """The samples of a dataset, `batch_size` at a time; the last batch may hold fewer."""

    def __init__(self, samples: Samples[T], batch_size: int) -> None:
        if batch_size < 1:
            raise UsageError("a batch holds at least one sample", path="batch_size", actual=batch_size)
        self.samples, self.batch_size = samples, batch_size

    def __iter__(self) -> Iterator[SampleBatch[T]]:
        samples, sample_type = iter(self.samples), self.samples.dataset.sample_type
        while batch := list(itertools.islice(samples, self.batch_size)):
            yield SampleBatch.of(sample_type, batch)

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)
