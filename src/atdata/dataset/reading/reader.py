"""Samples by their numbers, as columns: the one path by which all reading goes."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NoReturn, TypeAlias
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from atdata.dataset import segments
from atdata.dataset.reading.chunk import Chunk
from atdata.dataset.reading.joining import join_columns
from atdata.dataset.reading.members import MemberReader
from atdata.dataset.reading.open_shards import MAX_OPEN, most_open
from atdata.dataset.reading.table import ShardTable
from atdata.errors import AtdataError, SampleError
from atdata.numbers import Ints
from atdata.samples import DictSample, Field, SampleBatch, fields_of
from atdata.samples.blocks import Block, BufferPool
from atdata.samples.columns import FAR, ColumnDecoder
from atdata.samples.gather import Column
from atdata.samples.layout import Layout
from atdata.samples.packable import is_plain
from atdata.samples.stacking import stack
from atdata.shards.index import Members, SampleMembers
from atdata.shards.memory_map import FileRange, map_file, read_file
from atdata.shards.opening import AHEAD

Bytes: TypeAlias = NDArray[np.uint8]
Columns: TypeAlias = dict[str, Column]

Batch: TypeAlias = "Ints | range"
_Request: TypeAlias = tuple[list[Batch], Callable[[], Columns]]

ROWS = ""
"""The only column of samples that are read as rows: their type declares no columns, or runs code of its own."""
BLOCK_BYTES = 1 << 23
BLOCK_SAMPLES = 1 << 14
BLOCKS = 3
"""Blocks that are requested at a time, besides the one in use."""
_MAX_SHARDS = MAX_OPEN // (2 * BLOCKS)  # shards of a block that stay open until all of it has been read
_PIECE = 1 << 22  # bytes of large arrays that one thread reads
_PIECES = 16  # of a block at most, if it is of fewer shards: each has a descriptor
_reading: WeakSet[SampleReader] = WeakSet()  # all readers of this process that are at work

_SPARSE = 4  # times the wanted bytes, if the rest of the samples is to be read with them
_SLACK = 1024  # bytes that can be read after any sample: an archive ends with two blocks


@dataclass
class Statistics:
    """The work of a reader so far, for tests and benchmarks.

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


class SampleReader:
    """Reads samples of one type, or some of its fields, out of a table of shards.

    Args:
        table: the shards.
        sample_type: of the samples.
        wanted: names of the fields to read; `None` for all.
        layout: the files that hold them, where a sample is one file a field; `None` for what the type implies.
    """

    def __init__(
        self,
        table: ShardTable,
        sample_type: type[Any],
        wanted: Sequence[str] | None = None,
        layout: Layout | None = None,
    ) -> None:
        self.table, self.sample_type = table, sample_type
        self.fields: Sequence[Field] = () if issubclass(sample_type, DictSample) else fields_of(sample_type)
        self.bulk = len(self.fields) > 0 and is_plain(sample_type)
        self._given = wanted
        self.wanted = [ROWS] if not self.bulk else [f.name for f in self.fields] if wanted is None else list(wanted)
        self._layout = layout
        self.statistics = Statistics()
        self._pool = segments.pool or BufferPool()
        self._decoder = ColumnDecoder(self.fields, self.wanted, self._pool.empty)
        self._expected = -1  # the sample after those that were requested last

    def batches(self, numbers: Iterable[Batch | None]) -> Iterator[SampleBatch[Any]]:
        """Yields the samples of each batch of numbers, as they are stored. Several batches are read at a time, and the
        next ones while one is used; the order of reading and the size of what is read at once change nothing about what
        comes out. `None` among the numbers ends what is read at once; where there is nothing to read, no more of them are
        asked for until the next batch is.
        """
        _reading.add(self)
        try:
            yield from self._batches(self._blocks(numbers))
        finally:
            _reading.discard(self)
            self.table.shards.cancel_prefetch()

    def _batches(self, blocks: Iterator[list[Batch]]) -> Iterator[SampleBatch[Any]]:
        pending, limit = deque[_Request](), 1  # the first one is yielded before another is requested
        while True:
            while len(pending) < limit and not (pending and self.table.is_prefetching(self._expected)):
                if not (request := self._request(blocks)):
                    break
                pending.append(request)
            if not pending:
                return
            block, columns = pending.popleft()
            try:
                read = columns()
            except SampleError:
                if len(block) == 1:
                    raise
                for batch in block:  # all that is before the bad one is yielded
                    yield self._batch(self.read(batch), 0, len(batch))
                raise
            for start, stop in pairwise(itertools.accumulate(map(len, block), initial=0)):
                yield self._batch(read, start, stop)
            limit = 2 if self._decoder.straight else BLOCKS  # a batch of large arrays takes much memory

    def _batch(self, columns: Columns, start: int, stop: int) -> SampleBatch[Any]:
        """Some rows of some columns."""
        if not self.bulk:
            rows: Any = columns[ROWS]
            return SampleBatch.of(self.sample_type, rows[start:stop])
        parts = {
            name: stack(column[start:stop]) if isinstance(column, list) else column[start:stop]
            for name, column in columns.items()
        }
        return SampleBatch(self.sample_type, parts)

    def _request(self, blocks: Iterator[list[Batch]]) -> _Request | None:
        """The next block, and what waits for its columns: other threads begin to read it. Errors are raised when it is its turn."""
        block: list[Batch] = []
        try:
            if not (block := next(blocks, [])):
                return None
            chunks = self._chunks(_joined(block))
            started = self._start(chunks)
            return block, lambda: self._columns(chunks, started)
        except AtdataError as error:
            return block, partial(_fail, error)

    def _blocks(self, numbers: Iterable[Batch | None]) -> Iterator[list[Batch]]:
        """Batches to read at once. In the stored order they are of one shard, so that none waits for another."""
        block: list[Batch] = []
        size = limit = end = 0
        some = False  # since the last None
        for batch in numbers:
            if batch is None:
                if block or not some:
                    yield block
                block, size, some = [], 0, False
                continue
            count, some = len(batch), True
            if not block and count:
                shard = self.table.shard_of(int(batch[0]))
                limit, (_, end) = block_size(self.table, shard), self.table.span_of(shard)
            block.append(batch)
            size += count
            if size + count > limit or (count and _is_last(batch, end)):
                yield block
                block, size = [], 0
        if block:
            yield block

    def read(self, numbers: Batch) -> Columns:
        """The columns of some samples, in the order of their numbers.

        Raises:
            ShardError: a shard is damaged.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the reader's type.
        """
        chunks = self._chunks(numbers)
        return self._columns(chunks, self._start(chunks))

    def _chunks(self, numbers: Batch) -> list[Chunk]:
        """The offsets of some samples, shard by shard."""
        if not len(numbers):
            return []
        sequential, self._expected = int(numbers[0]) == self._expected, int(numbers[-1]) + 1
        if isinstance(numbers, range):
            return list(self._sequential_chunks(numbers, sequential))
        groups = list(self.table.groups(numbers))
        if len(groups) == 1:
            shard, _, places = groups[0]
            return [self._chunk(shard, places, range(len(numbers)), sequential)]
        self.table.shards.prefetch([shard for shard, _, _ in groups[:AHEAD]])
        return [self._chunk(shard, places, group) for shard, group, places in groups]

    def _sequential_chunks(self, numbers: range, sequential: bool) -> Iterator[Chunk]:
        done = 0
        while done < len(numbers):
            shard = self.table.shard_of(numbers[done])
            start, stop = self.table.span_of(shard)
            first, some = numbers[done] - start, min(len(numbers) - done, stop - numbers[done])
            yield self._chunk(shard, slice(first, first + some), range(done, done + some), sequential or done > 0)
            done += some

    def _chunk(self, shard: int, places: Ints | slice, group: Sequence[int] | Ints, sequential: bool = False) -> Chunk:
        index = self.table.shards.open(shard).index
        first, last = (
            (places.start, places.stop - 1) if isinstance(places, slice) else (int(places[0]), int(places[-1]))
        )
        gapless = last - first + 1 == len(group)
        chunk = Chunk(shard, index.starts[places], index.sizes[places], group, gapless, index)
        if sequential and chunk.dense:  # then the following shards are next
            self.table.shards.prefetch(range(shard + 1, shard + 1 + AHEAD))
        return chunk

    def _start(self, chunks: Sequence[Chunk]) -> Block | None:
        """Begin to decode samples as they are read, where many are in a row or they are large."""
        most = most_open() // (BLOCKS + 1) // max(len(_reading), 1)  # a mixture has a reader for each of its datasets
        if not self._in_bulk(chunks) or len(chunks) > min(_MAX_SHARDS, most):
            return None
        if not self._decoder.knows and chunks[0].sizes[0] <= BLOCK_BYTES:
            with self.table.shards.used(chunks[0].shard, chunks[0].starts) as opened:
                self._decoder.look(os.pread(opened.file.fileno(), int(chunks[0].sizes[0]), int(chunks[0].starts[0])))
        straight = self._decoder.straight
        if straight and not all(chunk.total // len(chunk.starts) < FAR + straight for chunk in chunks):
            return None
        if not straight and not all(chunk.dense and chunk.length < FAR for chunk in chunks):
            return None
        if (block := self._block(chunks)) is None:
            return None
        try:
            for chunk in chunks:
                with self.table.shards.used(chunk.shard, chunk.starts) as opened:
                    file = opened.file.fileno()
                    pieces = min(straight * len(chunk.starts) // _PIECE, min(_PIECES, most) // len(chunks))
                    for part in chunk.parts(max(pieces, 1)):
                        block.add(file, part.starts, part.sizes, part.rows)
        except OSError:  # the process may open no more files
            return None
        return block

    def _in_bulk(self, chunks: Sequence[Chunk]) -> bool:
        """True if all samples are packed, of a type that is decoded in columns."""
        return self.bulk and len(chunks) > 0 and all(chunk.index.packed for chunk in chunks)

    def _block(self, chunks: Sequence[Chunk]) -> Block | None:
        count, least = sum([len(chunk.starts) for chunk in chunks]), min([int(chunk.sizes.min()) for chunk in chunks])
        return self._decoder.block(count, least)

    def _columns(self, chunks: Sequence[Chunk], started: Block | None) -> Columns:
        """The columns of some samples. Mapped memory is touched only here, so a file that is cut between two batches is
        noticed.
        """
        for chunk in chunks:
            self.statistics.samples += len(chunk.starts)
            self.statistics.bytes += chunk.total if chunk.index.packed else 0
            self.statistics.chunks += 1
        block = started or (self._from_memory(chunks) if self._in_bulk(chunks) else None)
        columns = self._decoder.finish(block) if block else None
        if columns is not None:
            return columns
        parts = [self._decode_shard(chunk) for chunk in chunks]
        groups = [chunk.group for chunk in chunks]
        return {name: join_columns([part[name] for part in parts], groups) for name in self.wanted}

    def _from_memory(self, chunks: Sequence[Chunk]) -> Block | None:
        if block := self._block(chunks):
            for chunk in chunks:
                memory = self._memory(chunk)
                block.add(memory.data, chunk.starts - memory.base, chunk.sizes, chunk.rows)
        return block

    def _decode_shard(self, chunk: Chunk) -> Columns:
        """Samples of one shard."""
        if chunk.index.members is not None:
            return self._read_members(chunk, chunk.index.members)
        memory = self._memory(chunk)
        if not chunk.index.packed:
            return self._read_files(chunk, memory)
        if self.bulk:
            found = self._decoder.decode(memory.data, chunk.starts - memory.base, chunk.sizes)
            if found is not None:
                return found
        self.statistics.slow += 1
        return self._one_by_one(chunk.shard, memory, chunk.starts, chunk.sizes)

    @cached_property
    def _members(self) -> MemberReader:
        some = self.bulk or not self.fields  # else samples are made of all their fields
        return MemberReader(self.sample_type, self.fields, self._given if some else None, self._layout)

    def _read_members(self, chunk: Chunk, members: Members) -> Columns:
        """Samples of one shard that are one file a field. Where little of them is wanted, only that is touched."""
        found = self._members.find(members, np.searchsorted(chunk.index.starts, chunk.starts))
        wanted = sum(int(members.sizes[numbers[numbers >= 0]].sum()) for numbers in found.values())
        self.statistics.bytes += wanted
        whole = wanted * _SPARSE >= chunk.total
        memory = self._memory(chunk) if whole else self.table.shards.memory(chunk.shard, chunk.starts)
        try:
            columns = self._members.columns(members, found, memory.data, memory.base, partial(self._key, chunk))
        except SampleError as error:
            error.uri = self.table.refs[chunk.shard].url
            raise
        return columns if self.bulk else {ROWS: self._members.rows(columns, found)}

    def _read_files(self, chunk: Chunk, memory: FileRange) -> Columns:
        """The same, of a shard of which only these samples are here: their files are found in each."""
        offsets = (chunk.starts - memory.base).tolist()
        stored = [
            SampleMembers(memory.data[start : start + size].tobytes())
            for start, size in zip(offsets, chunk.sizes.tolist(), strict=True)
        ]
        read = self._members.columns_of if self.bulk else self._members.sample
        samples: list[Any] = []
        try:
            for sample in stored:
                samples.append(read(sample))
        except SampleError as error:
            error.uri, error.path = self.table.refs[chunk.shard].url, f"{self._key(chunk, len(samples))}{error.path}"
            raise
        if not self.bulk:
            return {ROWS: samples}
        return {name: [sample[name][0] for sample in samples] for name in self.wanted}

    def _key(self, chunk: Chunk, place: int) -> str:
        return self.table.key(chunk.shard, int(chunk.starts[place]))

    def _memory(self, chunk: Chunk) -> FileRange:
        if not chunk.dense:
            return self.table.shards.memory(chunk.shard, chunk.starts)
        with self.table.shards.used(chunk.shard, chunk.starts) as opened:
            start, stop = int(chunk.starts[0]), min(int(chunk.starts[-1] + chunk.sizes[-1]) + _SLACK, opened.size)
            if not (chunk.gapless and chunk.length < FAR):
                return map_file(opened.file, start, stop)
            buffer = self._pool.empty((1 << (stop - start).bit_length(),), np.dtype(np.uint8))
            return read_file(opened.file, start, stop, buffer)

    def _one_by_one(self, shard: int, memory: FileRange, starts: Ints, sizes: Ints) -> Columns:
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


def _is_last(batch: Batch, end: int) -> bool:
    """True if a batch is in the stored order, and another of its size would reach beyond the end of its shard."""
    first, last, count = int(batch[0]), int(batch[-1]), len(batch)
    return last - first < count and last + count >= end


def _fail(error: AtdataError) -> NoReturn:
    raise error


def _joined(block: Sequence[Batch]) -> Batch:
    """The numbers of some batches; a range where they are one."""
    if len(block) == 1:
        return block[0]
    ranges = [batch for batch in block if isinstance(batch, range)]
    if len(ranges) == len(block) and [one.stop for one in ranges[:-1]] == [one.start for one in ranges[1:]]:
        return range(ranges[0].start, ranges[-1].stop)
    return np.concatenate([np.arange(b.start, b.stop) if isinstance(b, range) else b for b in block])


def block_size(table: ShardTable, shard: int) -> int:
    """The number of samples like those of a shard to read at once."""
    opened = table.shards.open(shard)
    return min(BLOCK_SAMPLES, BLOCK_BYTES * max(len(opened.index), 1) // max(opened.size, 1))
