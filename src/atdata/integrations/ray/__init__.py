"""Ray: datasets as Ray Data reads and writes them, and the engine of `Dataset.map_shards(..., engine="ray")`.

Ray Train needs nothing of its own: a loader asks it for the rank (`atdata.dataset.ranks`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from atdata.dataset import Dataset
from atdata.loading import load_dataset

if TYPE_CHECKING:
    import ray.data

__all__ = ["read_dataset", "write_dataset"]

T = TypeVar("T")
RayDataset: TypeAlias = "ray.data.Dataset"


def read_dataset(
    dataset: Dataset[Any] | str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    split: str = "train",
    **options: Any,
) -> RayDataset:
    """A dataset for Ray Data: one read task a shard, in the order of the shards, with the columns of `Dataset.to_arrow`.

    Each shard is verified, as always, before its first row is given. The number of rows and bytes is estimated by what is
    known of the shards without reading them; the schema is that of the sample type.

    Args:
        dataset: a dataset or a view of one, or what `load_dataset` takes.
        columns: the fields to read, if not all.
        split: of a dataset that is loaded.
        options: for `ray.data.read_datasource`, such as `concurrency=4`.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: samples are selected, or there is no such field.
        AtdataError: as `load_dataset`. What is wrong with a shard is raised when Ray reads it.
    """
    from atdata.integrations.ray.data import read

    found = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, split=split)
    return read(found if columns is None else found.columns(*columns), options)


def write_dataset(
    dataset: RayDataset,
    path: str | os.PathLike[str],
    sample_type: type[T] | None = None,
    *,
    maxcount: int | None = None,
    maxsize: float | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Dataset[T]:
    """Write the rows of a Ray dataset to shards with digests and manifests, and give the dataset they are.

    Every write task writes shards of its own, whose names say which task: one that runs again writes the same files. All
    shards appear at once when the last task has ended, in the order of the tasks; if any fails, nothing is in sight.

    Args:
        dataset: the rows, which have a column for each field of the sample type.
        path: `out-%06d.tar`, in a folder that all machines of the cluster have.
        sample_type: of the samples; by default each row is a `DictSample`.
        maxcount: most samples in a shard.
        maxsize: most bytes in a shard file; 1 GB where neither is given. A shard never holds rows of two tasks.
        overwrite: whether to replace all shards of this name.
        options: for `Dataset.write_datasink`, such as `concurrency=4`.

    Raises:
        MissingExtraError: Ray is not installed.
        ConflictError: shards of this name are there already, or another process writes them.
        UsageError: there are no rows, or the path does not fit.
        StorageError: the disk is full or fails; nothing new is in sight.
        RayTaskError: a task failed, of whose class what is raised is too: a `SampleError` where a value does not fit.
    """
    from atdata.integrations.ray.data import ShardSink

    sink = ShardSink(path, sample_type, maxcount=maxcount, maxsize=maxsize, overwrite=overwrite)
    dataset.write_datasink(sink, **options)
    return sink.dataset()
