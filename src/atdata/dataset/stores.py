"""The ports of data stores: places that a dataset is written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from atdata.dataset.dataset import Dataset
from atdata.manifest import discard_shard
from atdata.shards.planned import PlannedShard
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.writer import Observer


@runtime_checkable
class AbstractDataStore(Protocol):
    """A place that shards can be written to."""

    def write_shards(
        self, dataset: Dataset[Any], *, prefix: str, maxcount: int | None = None, maxsize: float | None = None
    ) -> Sequence[str]:
        """Store a dataset's samples as shards, and give their addresses in order.

        Args:
            dataset: the samples to store.
            prefix: the name of the dataset in listings; addresses may not depend on it.
            maxcount: most samples in a shard.
            maxsize: most bytes in a shard.
        """

    def read_url(self, url: str) -> str:
        """The URL from which a plain HTTP client, or a local program, reads a stored shard."""

    def create_source(self, urls: Sequence[str]) -> DataSource:
        """The source that reads shards back from the addresses `write_shards` gave."""


@runtime_checkable
class ShardStore(AbstractDataStore, Protocol):
    """A data store that names shards by their content, so that addresses are known before anything is stored."""

    def plan(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> Sequence[PlannedShard]:
        """The shards that `write_shards` would store, with address, digest and size; nothing is stored yet.

        The arguments are those of `write_shards`; `observer` writes the manifests of shards that are cut anew.
        """

    def upload(self, planned: Sequence[PlannedShard]) -> Sequence[ShardRef]:
        """Store what `plan` gave, and give references to it there. What is there already is not sent again."""

    def write_shards(
        self, dataset: Dataset[Any], *, prefix: str = "", maxcount: int | None = None, maxsize: float | None = None
    ) -> list[str]:
        """See `AbstractDataStore`. What a view selects or changes, and what is limited, is cut anew.

        Raises:
            UsageError: the prefix names no place in the store, or there are no samples.
            ShardNotFoundError, DigestError, ShardError: a shard cannot be fetched, or is not the published one.
            LimitError: a sample, a name or a shard is larger than the store takes.
            StorageError: the disk is full or fails; nothing partial is left.
            NotFoundError, AuthError, NetworkError, LexiconError: the server cannot be reached, or refuses.
        """
        return [shard.url for shard in self.put(dataset, prefix=prefix, maxcount=maxcount, maxsize=maxsize)]

    def put(
        self,
        dataset: Dataset[Any],
        *,
        prefix: str = "",
        maxcount: int | None = None,
        maxsize: float | None = None,
        observer: Observer | None = None,
    ) -> Sequence[ShardRef]:
        """`write_shards`, with digest, size, samples and manifest of each shard in place of its mere address.

        The arguments are those of `plan`, and the errors those of `write_shards`.
        """
        planned = self.plan(dataset, prefix=prefix, maxcount=maxcount, maxsize=maxsize, observer=observer)
        with scratch_of(planned):
            return self.upload(planned)


@contextmanager
def scratch_of(planned: Sequence[PlannedShard]) -> Iterator[None]:
    """Removes at the end what was cut for storing and not stored."""
    try:
        yield
    finally:
        discard_scratch(planned)


def discard_scratch(planned: Sequence[PlannedShard]) -> None:
    """Remove what was cut for storing."""
    for shard in planned:
        if shard.scratch:
            discard_shard(Path(shard.origin.url))
