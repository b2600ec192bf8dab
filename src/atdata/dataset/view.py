"""Views: what iteration, loaders and tables work on. A view is frozen and pickles: a worker process gets the same.

A `ShardView` is a selection of the samples of a table of shards, their type, a lens and transforms. Several views
together are one too: see `combined.py`.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np

from atdata.dataset.order import Order
from atdata.dataset.reading.naming import named
from atdata.dataset.reading.reader import Batch, SampleReader, block_size
from atdata.dataset.reading.table import ShardTable, place_of
from atdata.dataset.transforms import ApplyLens, Filter, Map, Part, Transform, Undefined, applied, some_of
from atdata.errors import UnsizedError, UsageError
from atdata.lens import Lens
from atdata.numbers import Ints
from atdata.samples import SampleBatch
from atdata.samples.layout import Layout
from atdata.shards.ports import DataSource, ShardRef
from atdata.shards.source import FileSource

T = TypeVar("T")

_RANGES = 16  # computed together


class MaybeSized:
    """Base of what has a length, unless only reading can tell it. `bool` is true unless it is known to be empty."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __bool__(self) -> bool:
        try:
            return len(self) > 0
        except UnsizedError:
            return True


class Fingerprint(NamedTuple):
    """The identity of an epoch.

    Attributes:
        plan: a digest of what its positions stand for: the shards, and which of their samples.
        pipeline: the lens, the fields and the transforms, as far as names tell them.
    """

    plan: str
    pipeline: str


class About(NamedTuple):
    """The parts of a view.

    Attributes:
        title: what they are, in words.
        tables: of the shards.
        declaring: the type that declares the fields of the samples.
        names: of the fields that are read; `None` for all.
        layout: the files that fields stand in, where that was given.
    """

    title: str
    tables: tuple[ShardTable, ...]
    declaring: type[Any]
    names: tuple[str, ...] | None = None
    layout: Layout | None = None

    @property
    def shards(self) -> tuple[ShardRef, ...]:
        """All shards, in order."""
        return tuple(itertools.chain.from_iterable(table.refs for table in self.tables))


class View(MaybeSized, Generic[T]):
    """Samples as a dataset shows them.

    A *position* is a place in an epoch, a *number* stands for one sample, wherever it is in an epoch.

    Attributes:
        sample_type: the type of the samples that are read.
        selection: the numbers of the samples, int64 `[n]`; `None` stands for all.
        parted: how often `split` has made it a part of another.
    """

    sample_type: type[T]
    selection: Ints | None
    parted: int

    def __len__(self) -> int:
        """The number of samples as far as it is known without reading: see `Dataset.__len__`.

        Raises:
            ShardError: a shard whose headers had to be read is damaged, or the publisher's number is wrong.
            UnsizedError: the samples are filtered.
        """
        if self.filtered:
            raise UnsizedError.of(
                "the samples of a filtered dataset",
                "Count them: sum(1 for _ in dataset). To train: DataLoader(dataset.loader(batch_size), batch_size=None).",
            )
        return self._size() if self.selection is None else len(self.selection)

    def _size(self) -> int:
        return self.extent

    @property
    @abstractmethod
    def about(self) -> About:
        """The parts of it."""

    @property
    @abstractmethod
    def filtered(self) -> bool:
        """True if samples are filtered: only reading can tell which are kept."""

    @property
    def extent(self) -> int:
        """The number of positions of an epoch: of samples before any filter. It is never a claim."""
        return self.resolve_stop(None)

    @abstractmethod
    def resolve_stop(self, stop: int | None, *, open_shards: bool = True) -> int:
        """`stop`, or the number of positions if that is less; opens no more shards than that takes.

        Args:
            stop: a position; `None` stands for the last.
            open_shards: open another shard for it; else the answer is bounded by those that are known already.
        """

    @abstractmethod
    def prefetch_first(self) -> None:
        """Begin to open the first shards: samples will be read from the first to the last."""

    @abstractmethod
    def block_size(self, number: int) -> int:
        """The number of samples like this one to read at once."""

    @abstractmethod
    def at(self, order: Order, positions: Ints) -> Ints:
        """The numbers of the samples at some positions of an order."""

    def numbers(self, order: Order, ranges: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        """Yields the numbers of the samples that an order has at each range of positions `[start, stop)`."""
        pending = iter(ranges)
        while some := list(itertools.islice(pending, _RANGES)):
            positions = np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in some])
            if order.size:
                positions %= order.size  # a loader may pad an epoch with its first samples
            numbers = self.at(order, positions)
            bounds = itertools.accumulate((stop - start for start, stop in some), initial=0)
            yield from (numbers[first:last] for first, last in itertools.pairwise(bounds))

    @abstractmethod
    def parts(self, numbers: Iterable[Batch | None]) -> Iterator[Part]:
        """Yields a batch for each group of numbers. `None` among them ends what is read at once."""

    def read(self, numbers: Iterable[Batch]) -> Iterator[SampleBatch[T]]:
        """Yields a batch for each group of numbers. A filter may leave fewer samples of one, or none."""
        for batch, _ in self.parts(numbers):
            yield batch

    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """The identity of an epoch of this view: the same in every process and every run."""

    @abstractmethod
    def each(self, change: Callable[[ShardView[Any]], ShardView[Any]]) -> View[Any]:
        """The same view of changed shard views. What changes may be the samples, not their numbers."""

    @abstractmethod
    def only(self, numbers: Ints) -> View[T]:
        """Some of the samples, in the order given."""


@dataclass(frozen=True, eq=False)
class ShardView(View[T]):
    """Samples of some shards, as a dataset shows them. Their numbers are those that they have in the shards.

    Attributes:
        table: the shards.
        stored_type: the type of the samples in them.
        sample_type: the type of the samples that are read.
        lens: from the one to the other.
        fields: the only ones that are read.
        transforms: applied to each batch after that.
        selection: the numbers of the samples, int64 `[n]`; `None` stands for all.
        parted: how often `split` has made it a part of another.
        layout: the files that fields stand in, where a sample is one file a field; `None` for what the type implies.
        undefined: what is done about samples of which the lens has no view.
    """

    table: ShardTable
    stored_type: type[Any]
    sample_type: type[T]
    lens: Lens[Any, Any] | None = None
    fields: tuple[str, ...] | None = None
    transforms: tuple[Transform, ...] = ()
    selection: Ints | None = None
    parted: int = 0
    layout: Layout | None = None
    undefined: Undefined = "raise"

    def _size(self) -> int:
        return len(self.table)

    @property
    def about(self) -> About:
        """The shards, and the fields that are read."""
        if self.fields is None or any(isinstance(transform, Map) for transform in self.transforms):
            declaring, names = self.sample_type, None
        else:
            declaring, names = self.stored_type if self.lens is None else self.lens.view_type, self.fields
        return About(f"{len(self.table.refs)} shards", (self.table,), declaring, names, self.layout)

    @property
    def source(self) -> DataSource:
        """The source of the shards."""
        return self.table.shards.source

    @property
    def filtered(self) -> bool:
        """True if samples are filtered, or skipped: only reading can tell which are kept."""
        skips = self.lens is not None and self.undefined == "skip"
        return skips or any(isinstance(transform, Filter) for transform in self.transforms)

    def resolve_stop(self, stop: int | None, *, open_shards: bool = True) -> int:
        """`stop`, or the number of positions if that is less."""
        if self.selection is None:
            return self.table.resolve_stop(stop, open_shards)
        return len(self.selection) if stop is None else min(stop, len(self.selection))

    def prefetch_first(self) -> None:
        """Begin to open the first shards: samples will be read from the first to the last."""
        if self.selection is None:
            self.table.shards.prefetch_first()

    def block_size(self, number: int) -> int:
        """The number of samples to read at once from the shard of this one."""
        return max(1, block_size(self.table, self.table.shard_of(number)))

    def at(self, order: Order, positions: Ints) -> Ints:
        """The numbers of the samples at some positions of an order."""
        positions = order.samples(positions)
        return positions if self.selection is None else self.selection[positions]

    def numbers(self, order: Order, ranges: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        """Yields the numbers of the samples at each range of positions, as ranges where that is what they are."""
        if order.mode == "ordered" and not order.size and self.selection is None:
            return itertools.starmap(range, ranges)
        return super().numbers(order, ranges)

    def parts(self, numbers: Iterable[Batch | None]) -> Iterator[Part]:
        """Yields a batch for each group of numbers. An error of a lens or a function names the sample it failed on."""
        transforms, asked = self._pipeline, deque[Batch]()
        if self.table.gives_ranges:
            numbers = (some if some is None else self.table.with_ranges(some) for some in numbers)
        if not transforms:
            yield from ((batch, None) for batch in self.reader().batches(numbers))
            return
        for batch in self.reader().batches(_noted(numbers, asked)):
            yield self._through(transforms, batch, asked.popleft())

    def _through(self, transforms: Sequence[Transform], batch: SampleBatch[Any], numbers: Batch) -> Part:
        """The batch that transforms make of one of samples with some numbers."""
        try:
            return applied(transforms, batch)
        except Exception as error:  # noqa: BLE001  somebody's functions may raise anything
            failed = error
        for place, number in enumerate(numbers):
            try:
                applied(transforms, some_of(batch, np.array([place])))
            except Exception as error:  # noqa: BLE001
                failed = named(error, *place_of(self.table, int(number)))
                break
        raise failed

    def reader(self) -> SampleReader:
        """A reader of the stored fields that this view needs."""
        fields = self.fields if self.undefined == "raise" else None  # what is skipped is no matter of what is asked for
        wanted = self.fields if self.lens is None else self.lens.reads(fields)
        return SampleReader(self.table, self.stored_type, wanted, self.layout)

    @property
    def _pipeline(self) -> tuple[Transform, ...]:
        seen = self.lens is not None or self.fields is not None
        return (ApplyLens(self.lens, self.fields, self.undefined), *self.transforms) if seen else self.transforms

    def fingerprint(self) -> Fingerprint:
        """The identity of an epoch of this view: the same in every process and every run."""
        chosen = "all" if self.selection is None else hashlib.sha256(self.selection.tobytes()).hexdigest()
        plan = "\n".join([*self.table.fingerprints(), chosen])
        return Fingerprint(hashlib.sha256(plan.encode()).hexdigest(), pipeline_of(self))

    def random_access(self) -> Self:
        """The same view for reading single samples: remote shards with a manifest are fetched in parts."""
        return replace(self, table=self.table.random_access())

    def each(self, change: Callable[[ShardView[Any]], ShardView[Any]]) -> ShardView[Any]:
        """The changed view."""
        return change(self)

    def only(self, numbers: Ints) -> ShardView[T]:
        """Some of the samples, in the order given."""
        return replace(self, selection=numbers)


def _noted(numbers: Iterable[Batch | None], asked: deque[Batch]) -> Iterator[Batch | None]:
    """The same groups of numbers, each noted when it is asked for."""
    for some in numbers:
        if some is not None:
            asked.append(some)
        yield some


def of_shards(view: View[T]) -> ShardView[T]:
    """A view that is one of shards.

    Raises:
        UsageError: it is of several datasets together, which have no shards of their own.
    """
    if isinstance(view, ShardView):
        return view
    raise UsageError(
        "several datasets together have no shards of their own",
        actual=view.about.title,
        hint="Write their samples first: atdata.write_samples(dataset, path). An index with a data store does so itself.",
    )


def pipeline_of(view: ShardView[Any], told: Callable[[Transform], str] = str) -> str:
    """The layout, the lens, the fields and the transforms of a view, as far as names tell them, or what else tells one."""
    layout = [] if view.layout is None else [f"layout({view.layout.said()})"]
    return ", ".join([*layout, *map(told, view._pipeline)])


def shard_view(view: ShardView[T], shard: int) -> ShardView[T]:
    """The view of one shard."""
    table = view.table
    return replace(view, table=ShardTable(table.shards.source, table.shards.cache, refs=[table.refs[shard]]))


def located(view: ShardView[T]) -> ShardView[T]:
    """The view of the same shards for processes that may be in another folder."""
    source, table = view.source, view.table
    if not isinstance(source, FileSource):
        return view
    listed = {str(Path(url).absolute()): state for url, state in source.listed.items()}
    refs = tuple(replace(ref, url=str(Path(ref.url).absolute())) for ref in table.refs)
    return replace(view, table=ShardTable(FileSource(refs, listed), table.shards.cache))
