"""The source and the sink of Ray Data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from atdata.dataset import Dataset
from atdata.dataset.reading.table import known_counts
from atdata.dataset.tables.frames import arrow_schema, arrow_tables
from atdata.dataset.view import located, of_shards, shard_view
from atdata.errors import MissingExtraError, UsageError
from atdata.files import disk_errors
from atdata.files.own import work_name
from atdata.manifest import ManifestWriter, link_shard, manifest_files
from atdata.samples import DictSample, PackableSample
from atdata.samples.rows import from_rows
from atdata.shards import FileSource, Limits, ShardRef, cut_shards
from atdata.shards.file_pattern import FilePattern
from atdata.shards.sets import new_set
from atdata.shards.transaction import remove
from atdata.shards.writer import DEFAULT_MAXSIZE, SampleRow

try:
    import pyarrow as pa
    import ray.data
    from ray.data.block import BlockAccessor, BlockMetadata
    from ray.data.datasource import Datasink, Datasource, ReadTask
    from ray.data.extensions import ArrowTensorArray
except ImportError as error:
    raise MissingExtraError.of("ray", "reading and writing with Ray Data") from error


def read(dataset: Dataset[Any], options: dict[str, Any]) -> Any:
    """The Ray dataset of a dataset: see `atdata.integrations.ray.read_dataset`."""
    return ray.data.read_datasource(ShardSource(dataset), **options)


class ShardSource(Datasource):  # type: ignore[misc]
    """The shards of a dataset as Ray Data reads them.

    Args:
        dataset: what is read.

    Raises:
        UsageError: samples are selected.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        super().__init__()
        view = of_shards(dataset.view)
        if view.selection is not None:
            raise UsageError(
                "Ray reads all samples of each shard",
                hint="Leave take, skip and select out; use limit() or filter() of the Ray dataset.",
            )
        self._view = located(view)

    def get_name(self) -> str:
        """The name in progress bars and statistics."""
        return "Atdata"

    def estimate_inmemory_data_size(self) -> int | None:
        """The bytes of all shards, where they are known."""
        sizes = [size for _, size in self._estimates()]
        known = [size for size in sizes if size is not None]
        return sum(known) * len(sizes) // len(known) if known else None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[Any]:
        """One task a shard, whatever parallelism Ray would have: a shard is verified whole."""
        schema = arrow_schema(self._view)
        known = None if schema is None else _with_tensors(schema.empty_table()).schema
        held = ray.put(self._view)
        tasks = []
        for shard, (ref, (rows, size)) in enumerate(zip(self._view.table.refs, self._estimates(), strict=True)):
            facts = BlockMetadata(num_rows=rows, size_bytes=size, input_files=(ref.url,), exec_stats=None)
            tasks.append(ReadTask(partial(_read_shard, held, shard), facts, known, per_task_row_limit))
        return tasks

    def _estimates(self) -> list[tuple[int | None, int | None]]:
        """Rows and bytes of each shard, as far as is known without reading it."""
        table = self._view.table
        counts = [None] * len(table.refs) if self._view.filtered else known_counts(table)
        sizes = [ref.size for ref in table.refs]
        for shard, size in enumerate(sizes):
            status = table.shards.stat(shard) if size is None else None
            sizes[shard] = size if status is None else status.st_size
        return list(zip(counts, sizes, strict=True))


def _read_shard(held: Any, shard: int) -> Iterator[Any]:
    return map(_with_tensors, arrow_tables(shard_view(ray.get(held), shard)))


def _with_tensors(table: Any) -> Any:
    """A table whose columns of arrays of one length are tensors of Ray's, so that batches of them are arrays too."""
    for number, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = column.type
        number_like = pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type)
        if number_like and not column.null_count and not pa.types.is_temporal(kind.value_type):
            items = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            tensors = ArrowTensorArray.from_numpy(items.reshape(-1, kind.list_size))
            table = table.set_column(number, name, tensors)
    return table


class ShardSink(Datasink):  # type: ignore[misc]
    """The shards that Ray Data writes: see `atdata.integrations.ray.write_dataset`, which is to be preferred.

    Args:
        path: as for `write_dataset`, like the others.
        sample_type: of the samples.
        maxcount: most samples in a shard.
        maxsize: most bytes in a shard file.
        overwrite: whether to replace all shards of this name.

    Raises:
        UsageError: the path does not fit.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_type: type[Any] | None = None,
        *,
        maxcount: int | None = None,
        maxsize: float | None = None,
        overwrite: bool = False,
    ) -> None:
        self._pattern = FilePattern.of(path, limited=True)
        self._limits = Limits.of(maxcount, DEFAULT_MAXSIZE if maxcount is None and maxsize is None else maxsize)
        self._sample_type: type[Any] = sample_type or DictSample
        self._overwrite = overwrite
        self._written = self._pattern.folder.absolute() / work_name(f"{self._pattern.name} of tasks")
        self._set: ExitStack | None = None
        self._place: Callable[[int], Path] | None = None
        self._shards: tuple[ShardRef, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:  # the set stays in the process that began it
        return {**vars(self), "_set": None, "_place": None}

    def get_name(self) -> str:
        """The name in progress bars and statistics."""
        return "Atdata"

    def dataset(self) -> Dataset[Any]:
        """The dataset that was written.

        Raises:
            UsageError: nothing was.
        """
        if self._shards is None:
            raise UsageError("there are no rows to write", hint="Give a Ray dataset with at least one.")
        return Dataset(FileSource(self._shards), sample_type=self._sample_type)

    def on_write_start(self, schema: Any = None) -> None:
        """Begin the set of shards, in the process that called Ray."""
        self._set = ExitStack()
        self._place = self._set.enter_context(new_set(self._pattern, self._overwrite, manifest_files))
        with disk_errors(self._written):
            remove(self._written)  # of a process that was killed
            self._written.mkdir()

    def write(self, blocks: Iterable[Any], ctx: Any) -> list[ShardRef]:
        """Write the shards of one task, under names of its own."""
        rows = self._rows(blocks, ctx.task_idx)
        first = next(rows, None)
        if first is None:
            return []
        observer = ManifestWriter(self._sample_type)
        return list(cut_shards(chain([first], rows), self._limits, partial(self._named, ctx.task_idx), observer))

    def _named(self, task: int, number: int) -> Path:
        return self._written / f"{task:06d}-{number:06d}.tar"

    def _rows(self, blocks: Iterable[Any], task: int) -> Iterator[SampleRow]:
        typed = issubclass(self._sample_type, PackableSample)
        rows = chain.from_iterable(map(_rows_of, blocks))
        samples: Iterator[Any] = from_rows(self._sample_type, rows) if typed else map(DictSample, rows)
        for number, sample in enumerate(samples):
            yield f"{task:06d}-{number:09d}", sample.packed, sample

    def on_write_complete(self, write_result: Any) -> None:
        """Let all shards appear, in the order of their tasks, in the process that called Ray."""
        written = sorted(
            (shard for shards in write_result.write_returns for shard in shards or ()), key=lambda s: s.url
        )
        if self._set is None or self._place is None or not written:
            self.on_write_failed(UsageError("there are no rows to write"))
            return
        with self._set, disk_errors(self._written):
            for number, shard in enumerate(written):
                link_shard(Path(shard.url), self._place(number))
        self._shards = tuple(replace(shard, url=str(self._pattern(n))) for n, shard in enumerate(written))
        self._forget()

    def on_write_failed(self, error: Exception) -> None:
        """Let nothing appear."""
        if self._set is not None:
            with suppress(Exception):
                self._set.__exit__(type(error), error, error.__traceback__)
        self._forget()

    def _forget(self) -> None:
        self._set = self._place = None
        with suppress(OSError):
            remove(self._written)


def _rows_of(block: Any) -> Iterator[dict[str, Any]]:
    table = BlockAccessor.for_block(block).to_arrow()
    rows: Iterator[dict[str, Any]] = BlockAccessor.for_block(table).iter_rows(public_row_format=True)
    return rows
