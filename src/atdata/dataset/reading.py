"""Samples by their numbers, as columns: the one path by which all reading goes."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.dataset.table import KEPT, ShardTable
from atdata.errors import AtdataError, SampleError
from atdata.samples import DictSample, Field, fields_of
from atdata.samples.batch import Numbers, stack, unstack
from atdata.samples.columns import HANDS, Column, ColumnDecoder, Rows
from atdata.samples.packable import is_plain
from atdata.shards.memory import FAR, Memory
from atdata.shards.opening import AHEAD

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Columns: TypeAlias = dict[str, Column]

ROWS = ""
"""The one column of samples that are read as rows, because their type says nothing of columns or runs code of its own."""
BLOCK_BYTES = 1 << 22
BLOCK_SAMPLES = 4096
_POOLED = 1 << 20


@dataclass
class Statistics:
    """What a reader has done so far, for tests and benchmarks.

    Attributes:
        samples: decoded.
        bytes: of samples touched.
        chunks: groups of samples decoded.
        slow: those that were decoded one by one.
    """

    samples: int = 0
    bytes: int = 0
    chunks: int = 0
    slow: int = 0


class Reader:
    """Reads samples of one type, or some of its fields, out of a table of shards."""

    def __init__(self, table: ShardTable, sample_type: type[Any], wanted: Sequence[str] | None = None) -> None:
        self.table, self.sample_type = table, sample_type
        untyped = issubclass(sample_type, DictSample)
        self.bulk = not untyped and is_plain(sample_type) and len(fields_of(sample_type)) > 0
        self.fields: Sequence[Field] = () if untyped else fields_of(sample_type)
        self.wanted = [ROWS] if not self.bulk else [f.name for f in self.fields] if wanted is None else list(wanted)
        self.statistics = Statistics()
        self._decoder = ColumnDecoder(self.fields, self.wanted)
        self._last = (-1, -1)
        self.pool = _Pool()
        self.hands: Executor | None = None
        self._copying = False  # whether most of what was found last is still to be read from files

    def batches(self, numbers: Iterable[Ints]) -> Iterator[Columns]:
        """The columns of each batch of sample numbers. Several batches are read at a time, large ones while the one
        before is used; the order of reading and the size of what is read at once change nothing about what comes out.
        """
        try:
            with ThreadPoolExecutor(HANDS + 1, "atdata-read") as hands:  # threads start when there is work
                self.hands = hands
                yield from self._batches(self._blocks(numbers))
        finally:
            self.hands = None
            self.table.rest()

    def _batches(self, blocks: Iterator[list[Ints]]) -> Iterator[Columns]:
        coming, second = self._begin(blocks), False
        while coming:
            block, columns = coming
            try:
                read = columns.result()
            except SampleError:
                if len(block) == 1:
                    raise
                for batch in block:  # all that is before the bad one is given out
                    yield _cut(self.read(batch), 0, len(batch))
                raise
            early = second and self._copying
            coming = self._begin(blocks) if early else None
            bounds = [0, *np.cumsum([len(batch) for batch in block]).tolist()]
            for start, stop in pairwise(bounds):
                yield _cut(read, start, stop)
            coming, second = coming if early else self._begin(blocks), True

    def _begin(self, blocks: Iterator[list[Ints]]) -> tuple[list[Ints], Future[Columns]] | None:
        """Begin to read the next block: another thread goes on where it is mostly copying. Errors wait in the future."""
        block: list[Ints] = []
        try:
            if not (block := next(blocks, [])):
                return None
            found = self._find(np.concatenate(block) if len(block) > 1 else block[0])
            if self._copying and self.hands:
                return block, self.hands.submit(found.join)
            done = found.join()
        except AtdataError as error:
            failed: Future[Columns] = Future()
            failed.set_exception(error)
            return block, failed
        ready: Future[Columns] = Future()
        ready.set_result(done)
        return block, ready

    def _blocks(self, numbers: Iterable[Ints]) -> Iterator[list[Ints]]:
        """Batches to read at once. In the stored order they are of one shard, so that no other one is waited for."""
        block: list[Ints] = []
        shard = size = room_ = 0
        for batch in numbers:
            if block and (
                size + len(batch) > room_ or (self._goes_on(block[-1], batch) and not self._within(shard, batch))
            ):
                yield block
                block, size = [], 0
            if not block and len(batch):
                shard = self.table.shard_of(int(batch[0]))
                room_ = room(self.table, shard)
            block.append(batch)
            size += len(batch)
        if block:
            yield block

    @staticmethod
    def _goes_on(last: Ints, batch: Ints) -> bool:
        return len(last) > 0 and len(batch) > 0 and int(batch[0]) == int(last[-1]) + 1

    def _within(self, shard: int, batch: Ints) -> bool:
        return self.table.shard_of(int(batch[-1])) == shard

    def read(self, numbers: Ints) -> Columns:
        """The columns of some samples, in the order of their numbers.

        Raises:
            ShardError: a shard is damaged.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the reader's type.
        """
        return self._find(numbers).join()

    def _find(self, numbers: Ints) -> _Found:
        """Some samples, decoded but for large arrays. All mapped memory is touched here: whoever cuts a file between
        two batches does it before or after, and is told.
        """
        self._copying = False
        shards, places = self.table.locate(numbers)
        order = np.argsort(shards, kind="stable") if len(numbers) and (shards[0] != shards).any() else None
        if order is None:
            groups: list[Any] = [range(len(numbers))] if len(numbers) else []
            parts = [self._chunk(int(shards[0]), places, True) for _ in groups]
        else:
            cuts = [0, *(np.flatnonzero(np.diff(shards[order])) + 1).tolist(), len(order)]
            groups = [order[a:b] for a, b in pairwise(cuts)]
            self.table.ahead([int(shards[group[0]]) for group in groups][:AHEAD])
            kept = len(groups) <= KEPT // 4  # all of two blocks are open until the last has been read
            parts = [self._chunk(int(shards[group[0]]), places[group], kept) for group in groups]
        return _Found(self, parts, groups, len(numbers))

    def _chunk(self, shard: int, places: Ints, kept: bool) -> dict[str, Column | Rows]:
        """Samples of one shard, which may not be `kept` open until they are all copied."""
        index = self.table.open(shard).index
        starts, sizes = index.starts[places], index.sizes[places]
        total = int(sizes.sum())
        span = int(starts[-1] + sizes[-1] - starts[0])
        ascending = len(starts) == 1 or bool((starts[1:] > starts[:-1]).all())
        dense = ascending and span <= 2 * total + 4096 * len(starts)
        if dense and self._last == (shard, int(places[0]) - 1):  # it goes on where it was: the next shards are next
            self.table.ahead(range(shard + 1, shard + 1 + AHEAD))
        self._last = (shard, int(places[-1]))
        memory = self.table.memory(shard, starts, sizes, dense)
        self.statistics.samples += len(starts)
        self.statistics.bytes += total
        self.statistics.chunks += 1
        if self.bulk:
            found = self._decoder.decode(memory.data, starts - memory.base, sizes, memory.read if kept else None)
            if found is not None:
                self._copying |= kept and any(isinstance(c, Rows) and c.length >= FAR for c in found.values())
                return found
        self.statistics.slow += 1
        return self._one_by_one(shard, memory, starts, sizes)

    def _one_by_one(self, shard: int, memory: Memory, starts: Ints, sizes: Ints) -> dict[str, Column | Rows]:
        samples: list[Any] = []
        offsets = (starts - memory.base).tolist()
        for start, size in zip(offsets, sizes.tolist(), strict=True):
            try:
                samples.append(self.sample_type.from_bytes(memory.data[start : start + size].tobytes()))
            except SampleError as error:
                key = self.table.key(shard, start + memory.base)
                error.uri, error.path = self.table.refs[shard].url, f"{key}: {error.path or ''}".rstrip(": ")
                raise
        if not self.bulk:
            return {ROWS: samples}
        return {name: [getattr(sample, name) for sample in samples] for name in self.wanted}


@dataclass(frozen=True, eq=False)
class _Found:
    """What each shard holds of some samples.

    Attributes:
        reader: who found it.
        parts: columns, by shard.
        groups: where the samples of each part belong.
        count: of all samples.
    """

    reader: Reader
    parts: list[dict[str, Column | Rows]]
    groups: list[Any]
    count: int

    def join(self) -> Columns:
        """Whole columns. Large arrays are read here."""
        return {name: self._joined([part[name] for part in self.parts]) for name in self.reader.wanted}

    def _joined(self, parts: list[Column | Rows]) -> Column:
        if not parts:
            return []
        if len(parts) == 1 and not isinstance(parts[0], Rows):
            return parts[0]
        if all(isinstance(part, Numbers) for part in parts):
            arrays = [part.array for part in parts if isinstance(part, Numbers)]
            return Numbers(_scattered(arrays, self.groups, self.count))
        if kind := _alike(parts):
            column = self.reader.pool.empty((self.count, *kind[1]), kind[0])
            for group, part in zip(self.groups, parts, strict=True):
                if isinstance(part, Rows):
                    part.write(column, group, self.reader.hands)
                else:
                    column[group] = part
            return column
        values: list[Any] = [None] * self.count
        for group, part in zip(self.groups, parts, strict=True):
            for place, value in zip(group, _values(part), strict=True):
                values[place] = value
        return values


def room(table: ShardTable, shard: int) -> int:
    """How many samples like those of a shard to read at once."""
    opened = table.open(shard)
    return min(BLOCK_SAMPLES, BLOCK_BYTES * max(len(opened.index), 1) // max(opened.size, 1))


class _Pool:
    """Memory of columns that nobody looks at any more: filling it again is much faster than having new pages."""

    def __init__(self) -> None:
        self._blocks: deque[Bytes] = deque(maxlen=4)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array, uninitialized."""
        size = math.prod(shape) * dtype.itemsize
        if size < _POOLED:
            return np.empty(shape, dtype)
        for block in self._blocks:
            if len(block) == size and sys.getrefcount(block) == _IDLE:  # no array lies in it
                return block.view(dtype).reshape(shape)
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1].view(dtype).reshape(shape)


def _references_of_an_idle_block() -> int:
    """How many references one has while the pool looks at it; Python versions count differently."""
    for block in deque([np.empty(1, np.uint8)]):
        return sys.getrefcount(block)
    raise AssertionError


_IDLE = _references_of_an_idle_block()


def _alike(parts: Sequence[Column | Rows]) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """The dtype and shape of the arrays in all parts, if they have the same."""
    kinds = set()
    for part in parts:
        if isinstance(part, list | Numbers):
            return None
        kinds.add((part.dtype, part.shape if isinstance(part, Rows) else part.shape[1:]))
    return kinds.pop() if len(kinds) == 1 else None


def _values(part: Column | Rows) -> list[Any]:
    if isinstance(part, Rows):
        column = np.empty((len(part), *part.shape), part.dtype)
        part.write(column, range(len(part)))
        return unstack(column)
    return part.array.tolist() if isinstance(part, Numbers) else unstack(part)


def _scattered(arrays: Sequence[NDArray[Any]], groups: Sequence[Any], count: int) -> NDArray[Any]:
    whole = np.empty(count, arrays[0].dtype)
    for group, array in zip(groups, arrays, strict=True):
        whole[group] = array
    return whole


def _cut(columns: Mapping[str, Column], start: int, stop: int) -> Columns:
    return {
        name: stack(column[start:stop]) if isinstance(column, list) else column[start:stop]
        for name, column in columns.items()
    }
