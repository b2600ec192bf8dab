"""Who reads, and how: each peer the way its documentation reads, with batches of stacked numpy arrays.

An epoch is a function that takes an empty folder and gives batches. All peers give the same samples.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from workloads import BATCH, Columns, Workload

from atdata import Dataset
from atdata.dataset.order import Order
from atdata.samples import blocks as decoding
from atdata.samples.stacking import stack
from atdata.shards import Digest, FileSource, ShardRef, scan

Epoch = Callable[[Path], Iterable[Columns]]

BUFFER = 1 << 20
PAGE = 4096
RANDOM_BATCHES = 100


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def stacked(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One column for each field: arrays and numbers as one array, the rest as a list."""
    rows = list(samples)
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    return {
        name: np.array(values) if all(isinstance(value, int | float) for value in values) else stack(values)
        for name, values in columns.items()
    }


# The limit: what the machine reads and hashes, with nobody looking at it.


def _pages() -> memoryview:
    """A buffer at the beginning of a page: some processors copy several times slower to just after it."""
    room = np.empty(BUFFER + PAGE, np.uint8)
    start = -room.ctypes.data % PAGE
    return memoryview(room)[start : start + BUFFER]


def read_alone(shards: list[Path]) -> None:
    buffer = _pages()
    for shard in shards:
        with io.FileIO(shard) as file:
            while file.readinto(buffer):
                pass


def hash_alone(shards: list[Path]) -> list[str]:
    """As `read_alone`, through sha-256 on this core."""
    buffer, digests = _pages(), []
    for shard in shards:
        digest = hashlib.sha256()
        with io.FileIO(shard) as file:
            while size := file.readinto(buffer):
                digest.update(buffer[:size])
        digests.append(digest.hexdigest())
    return digests


# atdata.


class Atdata:
    def __init__(self, workload: Workload, theirs: list[Path], ours: list[Path], folder: Path) -> None:
        self.sample_type, self.count = workload.sample_type, workload.count
        self.theirs, self.cache = [str(path) for path in theirs], folder / "cache"
        self.warm = self._open(self.theirs, self.cache)
        self.warm_ours = self._open([str(path) for path in ours], self.cache)
        digests = [Digest("sha256", digest) for digest in hash_alone(theirs)]
        self.pinned = FileSource(tuple(map(ShardRef, self.theirs, digests)))

    def _open(self, where: Any, cache: Path) -> Dataset[Any]:
        return Dataset(where, sample_type=self.sample_type, cache=cache)

    def epochs(self) -> dict[str, Epoch]:
        return {
            "atdata": lambda _: _columns(self.warm.ordered(batch_size=BATCH)),
            "atdata, own shards": lambda _: _columns(self.warm_ours.ordered(batch_size=BATCH)),
            "atdata, first": lambda empty: _columns(self._open(self.theirs, empty).ordered(batch_size=BATCH)),
            "atdata, first, verified": lambda empty: _columns(self._open(self.pinned, empty).ordered(batch_size=BATCH)),
            "atdata, global shuffle": lambda _: self._shuffled("global"),
            "atdata, window shuffle": lambda _: self._shuffled("window"),
            "atdata, numpy alone": lambda _: _numpy_alone(_columns(self.warm.ordered(batch_size=BATCH))),
            "atdata, first, numpy alone": lambda empty: _numpy_alone(
                _columns(self._open(self.theirs, empty).ordered(batch_size=BATCH))
            ),
            "atdata, global shuffle, numpy alone": lambda _: _numpy_alone(self._shuffled("global")),
        }

    def _shuffled(self, mode: str) -> Iterator[Columns]:
        return _columns(self.warm.shuffled(batch_size=BATCH, seed=0, epoch=0, mode=mode))

    def fallback_share(self) -> float:
        """Of the chunks of the shards from elsewhere, how many were decoded sample by sample."""
        reader = self.warm.view.reader()
        steps = [(start, min(start + BATCH, self.count)) for start in range(0, self.count, BATCH)]
        for _ in reader.batches(self.warm.view.numbers(Order(0), steps)):
            pass
        return reader.statistics.slow / reader.statistics.chunks

    def random_batches(self) -> Epoch:
        return lambda _: _columns(self.warm[indices] for indices in random_indices(self.count))

    def one_by_one(self) -> Epoch:
        names = list(self.sample_type.__dataclass_fields__)
        return lambda _: ({name: [getattr(sample, name)] for name in names} for sample in self.warm)


def _numpy_alone(epoch: Iterator[Columns]) -> Iterator[Columns]:
    """The same, without the loops that were compiled."""
    compiled = decoding.native
    decoding.native = scan.native = None
    try:
        yield from epoch
    finally:
        decoding.native = scan.native = compiled


def _columns(batches: Iterable[Any]) -> Iterator[Columns]:
    return ({**batch.stored, **batch.arrays} for batch in batches)


def random_indices(count: int) -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, count, BATCH).tolist() for _ in range(RANDOM_BATCHES)]


# The others.


class WebDataset:
    name, modules = "webdataset", ("webdataset",)

    def __init__(self, workload: Workload, theirs: list[Path], folder: Path) -> None:
        import webdataset

        samples = webdataset.WebDataset([str(path) for path in theirs], shardshuffle=False, empty_check=False)
        self.samples = samples.decode(webdataset.handle_extension("msgpack", self.unpack))

    @staticmethod
    def unpack(data: bytes) -> dict[str, Any]:
        values = msgspec.msgpack.decode(data)
        return {name: np.load(io.BytesIO(value)) if type(value) is bytes else value for name, value in values.items()}

    def epochs(self) -> dict[str, Epoch]:
        batched = self.samples.batched(
            BATCH, collation_fn=lambda group: stacked([sample["msgpack"] for sample in group])
        )
        return {"webdataset": lambda _: batched}

    def one_by_one(self) -> Epoch:
        return lambda _: ({name: [value] for name, value in sample["msgpack"].items()} for sample in self.samples)


class LitData:
    name, modules = "litdata", ("litdata", "torch")

    def __init__(self, workload: Workload, theirs: list[Path], folder: Path) -> None:
        from litdata.streaming.cache import Cache

        self.folder = folder / "litdata"
        self.folder.mkdir()
        cache = Cache(str(self.folder), chunk_bytes="64MB")
        for i, sample in enumerate(workload.samples()):
            cache[i] = vars(sample)
        cache.done()
        cache.merge()

    def epochs(self) -> dict[str, Epoch]:
        return {"litdata": lambda _: self._epoch(False), "litdata, shuffle": lambda _: self._epoch(True)}

    def _epoch(self, shuffle: bool) -> Iterator[Columns]:
        import litdata

        batch: list[Any] = []
        for sample in litdata.StreamingDataset(str(self.folder), shuffle=shuffle, seed=0):
            batch.append(sample)
            if len(batch) == BATCH:
                yield stacked(batch)
                batch = []
        if batch:  # no `islice`: asked for one more after its end, it would begin again
            yield stacked(batch)


class HuggingFace:
    name, modules = "datasets", ("datasets",)

    def __init__(self, workload: Workload, theirs: list[Path], folder: Path) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import datasets

        datasets.disable_caching()
        datasets.disable_progress_bars()
        samples, parts = workload.samples(), []
        while some := list(itertools.islice(samples, 5_000)):
            parts.append(
                datasets.Dataset.from_dict(self._column_lists(some), features=self._features(datasets, some[0]))
            )
        datasets.concatenate_datasets(parts).save_to_disk(str(folder / "datasets"))
        data = datasets.load_from_disk(str(folder / "datasets"))
        # Its numpy format makes an object of every row first, and other dtypes of some numbers. What it maps into memory
        # is Arrow; taking the arrays from there copies nothing and is several times as fast.
        self.data = data.with_format("arrow")
        self.shapes = {name: np.shape(getattr(next(workload.samples(1)), name)) for name in data.column_names}

    @staticmethod
    def _column_lists(samples: list[Any]) -> dict[str, list[Any]]:
        return {name: [getattr(sample, name) for sample in samples] for name in vars(samples[0])}

    @staticmethod
    def _features(datasets: Any, sample: Any) -> Any:
        """Arrays as arrays of known shape, which it reads fastest."""

        def feature(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return datasets.Value({int: "int64", float: "float64", str: "string"}[type(value)])
            item = datasets.Value(str(value.dtype))
            if value.ndim == 1:
                return datasets.Sequence(item, length=len(value))
            return getattr(datasets, f"Array{value.ndim}D")(value.shape, str(value.dtype))

        return datasets.Features({name: feature(value) for name, value in vars(sample).items()})

    def epochs(self) -> dict[str, Epoch]:
        return {
            "datasets": lambda _: map(self._columns, self.data.iter(batch_size=BATCH)),
            "datasets, shuffle": lambda _: map(self._columns, self.data.shuffle(seed=0).iter(batch_size=BATCH)),
        }

    def random_batches(self) -> Epoch:
        return lambda _: (self._columns(self.data[indices]) for indices in random_indices(len(self.data)))

    def _columns(self, table: Any) -> Columns:
        columns = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            array = getattr(array, "storage", array)
            for _ in self.shapes[name]:
                array = array.flatten()
            columns[name] = array.to_numpy(zero_copy_only=False).reshape(len(table), *self.shapes[name])
        return columns


PEERS: tuple[Any, ...] = (WebDataset, LitData, HuggingFace)
