"""Views of several views: what a mixture of datasets and datasets one after the other have in common.

A number of theirs is one of a component, with the component in the bits above it. Each component is read by a reader of its own,
as far ahead as all of them together would read one dataset; what comes of them is put together batch by batch.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from atdata.dataset.order import Order
from atdata.dataset.reading.joining import join_columns
from atdata.dataset.reading.reader import BLOCKS, Batch
from atdata.dataset.transforms import Part
from atdata.dataset.view import About, Fingerprint, ShardView, View
from atdata.errors import AtdataError, UsageError
from atdata.numbers import Ints
from atdata.samples import DictSample, SampleBatch

T = TypeVar("T")

_SHARD_BITS = 40  # of the numbers of samples in shards
_MAX_BITS = 62
_MAX_NAMES = 500  # characters of a pipeline


@dataclass(frozen=True, eq=False)
class CombinedView(View[T]):
    """Samples of several views.

    Attributes:
        sample_type: the type of the samples of all of them.
        components: the views.
        selection: the numbers of the samples, int64 `[n]`; `None` stands for all.
        parted: how often `split` has made it a part of another.
    """

    sample_type: type[T]
    components: tuple[View[Any], ...]
    selection: Ints | None = None
    parted: int = 0

    @classmethod
    @abstractmethod
    def word(cls) -> str:
        """The name of what is done with the components."""

    @property
    def about(self) -> About:
        """The shards of all components."""
        parts = [component.about for component in self.components]
        tables = tuple(itertools.chain.from_iterable(part.tables for part in parts))
        declared = {(part.declaring, part.names) for part in parts}
        declaring, names = declared.pop() if len(declared) == 1 else (DictSample, None)
        return About(f"{self.word()} of {len(parts)}", tables, declaring, names)

    @property
    def filtered(self) -> bool:
        """True if a component is filtered."""
        return any(component.filtered for component in self.components)

    def block_size(self, number: int) -> int:
        """The number of samples to read at once from the shard of this one."""
        return self.components[number >> self.bits].block_size(number & self.mask)

    @cached_property
    def bits(self) -> int:
        """The bits of a number that are those of a component."""
        return max(map(_bits, self.components))

    @cached_property
    def _looks(self) -> _Looks:
        return _Looks()

    @property
    def mask(self) -> int:
        """A number in which these are set."""
        return (1 << self.bits) - 1

    def __post_init__(self) -> None:
        if _bits(self) > _MAX_BITS:
            raise UsageError(
                "datasets are combined of others too deeply",
                actual=f"{self.word()} of {len(self.components)}, each of others again and again",
                hint="Combine those that they are made of at once, or write the samples of some: atdata.write_samples.",
            )

    def parts(self, numbers: Iterable[Batch | None]) -> Iterator[Part]:
        """Yields a batch for each group of numbers, put together of those of the components."""
        feed = _Feed(self, numbers)
        with ExitStack() as streams:
            readers = [
                streams.enter_context(closing(component.parts(feed.of(number))))  # type: ignore[type-var]
                for number, component in enumerate(self.components)
            ]
            for groups in feed.batches():
                parts = [(group.places, *next(readers[group.component])) for group in groups]
                if self.sample_type is DictSample:
                    for group, (_, batch, _) in zip(groups, parts, strict=True):
                        self._looks.check(group.component, batch)
                yield _joined(self.sample_type, parts)

    def groups(self, numbers: Batch) -> list[Group]:
        """Some numbers by their components; at least one group, which may be empty."""
        bits, mask = self.bits, self.mask
        if isinstance(numbers, range) and len(numbers):  # of one component: see `Concatenation.numbers`
            start = numbers.start & mask
            return [Group(numbers.start >> bits, None, range(start, start + len(numbers)))]
        numbers = np.asarray(numbers, np.int64)
        components = numbers >> bits
        if not len(numbers) or (components == components[0]).all():
            return [Group(int(components[0]) if len(numbers) else 0, None, numbers & mask)]
        places = [(component, np.flatnonzero(components == component)) for component in np.unique(components).tolist()]
        return [Group(component, where, numbers[where] & mask) for component, where in places]

    def fingerprint(self) -> Fingerprint:
        """The identity of an epoch: of the components, and of what is made of them."""
        parts = [component.fingerprint() for component in self.components]
        chosen = "all" if self.selection is None else hashlib.sha256(self.selection.tobytes()).hexdigest()
        plan = "\n".join([self.word(), *self._terms(), *(part.plan for part in parts), chosen])
        names = f"{self.word()}({'; '.join(part.pipeline for part in parts)})" if any(p.pipeline for p in parts) else ""
        if len(names) > _MAX_NAMES:  # a state is small, however many components there are
            names = f"{names[: _MAX_NAMES // 2]}... {hashlib.sha256(names.encode()).hexdigest()}"
        return Fingerprint(hashlib.sha256(plan.encode()).hexdigest(), names)

    def _terms(self) -> Sequence[str]:
        """The terms on which its order depends, besides the components."""
        return ()

    def each(self, change: Callable[[ShardView[Any]], ShardView[Any]]) -> Self:
        """The same of the changed components."""
        components = tuple(component.each(change) for component in self.components)
        return replace(self, components=components, sample_type=components[0].sample_type)

    def only(self, numbers: Ints) -> CombinedView[T]:
        """Some of the samples, in the order given."""
        return replace(self, selection=numbers)


def _bits(view: View[Any]) -> int:
    if not isinstance(view, CombinedView):
        return _SHARD_BITS
    return view.bits + (len(view.components) - 1).bit_length()


@dataclass(frozen=True, eq=False)
class Concatenation(CombinedView[T]):
    """The samples of several views one after the other. A shuffle is one of all of them.

    Attributes:
        ends: where each component ends, as far as that is known.
    """

    ends: list[int] = field(default_factory=list)

    @classmethod
    def word(cls) -> str:
        """The name of what is done with the components."""
        return "concat"

    def prefetch_first(self) -> None:
        """Begin to open the first shards of the first component."""
        if self.selection is None:
            self.components[0].prefetch_first()

    def resolve_stop(self, stop: int | None, *, open_shards: bool = True) -> int:
        """`stop`, or the number of positions if that is less."""
        if self.selection is not None:
            return len(self.selection) if stop is None else min(stop, len(self.selection))
        end = 0
        for number, component in enumerate(self.components):
            if number < len(self.ends):
                end = self.ends[number]
            else:
                wanted = None if stop is None else stop - end
                found = component.resolve_stop(wanted, open_shards=open_shards)
                end += found
                if found == wanted:
                    return end
                if not open_shards:  # there may be more
                    return end
                self.ends[number : number + 1] = [end]
            if stop is not None and end >= stop:
                return stop
        return end

    def at(self, order: Order, positions: Ints) -> Ints:
        """The numbers of the samples at some positions of an order."""
        positions = order.samples(positions)
        if self.selection is not None:
            return self.selection[positions]
        self.resolve_stop(int(positions.max(initial=-1)) + 1)
        components = np.searchsorted(np.array(self.ends, np.int64), positions, "right")
        numbers = np.empty_like(positions)
        for component in np.unique(components).tolist():
            where = np.flatnonzero(components == component)
            begin = self.ends[component - 1] if component else 0
            numbers[where] = self.components[component].at(Order(0), positions[where] - begin) + (
                component << self.bits
            )
        return numbers

    def numbers(self, order: Order, ranges: Iterable[tuple[int, int]]) -> Iterator[Batch]:
        """Yields the numbers of the samples at each range of positions; in the stored order those of a range within a component
        as that component has them.
        """
        if order.mode != "ordered" or order.size or self.selection is not None:
            yield from super().numbers(order, ranges)
            return
        for start, stop in ranges:
            self.resolve_stop(stop)
            component = bisect.bisect_right(self.ends, start)
            if component < len(self.ends) and stop > self.ends[component]:
                yield self.at(order, np.arange(start, stop, dtype=np.int64))
                continue
            begin, above = self.ends[component - 1] if component else 0, component << self.bits
            (numbers,) = self.components[component].numbers(order, [(start - begin, stop - begin)])
            if isinstance(numbers, range):
                yield range(numbers.start + above, numbers.stop + above)
            else:
                yield numbers + above


class Group(NamedTuple):
    """The numbers of a batch that are of one component.

    Attributes:
        component: which.
        places: where in the batch they are; `None` where the batch is all of them.
        numbers: as the component has them.
    """

    component: int
    places: Ints | None
    numbers: Batch


class _Feed:
    """Batches of numbers, handed out to the readers of the components.

    A reader asks for the numbers of the next batches before those are due. It is given what is in the next spans: batches that
    are together what is read at once of one dataset. A component that comes seldom would else ask for all others.
    """

    def __init__(self, view: CombinedView[Any], numbers: Iterable[Batch | None]) -> None:
        self._view, self._numbers = view, iter(numbers)
        self._due = deque[tuple[int, list[Group]]]()  # batches, and the spans that they are in
        self._queues: list[deque[Batch | None]] = [deque() for _ in view.components]
        self._sizes: dict[int, int] = {}  # of what is read at once of a component
        self._span = 0  # of the batch that is due
        self._spans = 0
        self._ended = False
        self._error: AtdataError | None = None

    def batches(self) -> Iterator[list[Group]]:
        """Yields the groups of each batch."""
        while self._due or not self._ended:
            if self._due:
                self._span, groups = self._due.popleft()
                yield groups
            else:
                self._pull()
        if self._error is not None:
            raise self._error

    def of(self, component: int) -> Iterator[Batch | None]:
        """Yields the numbers of one component; `None` where a span ends, and where more cannot be had now."""
        queue = self._queues[component]
        while True:
            if queue:
                yield queue.popleft()
            elif self._ended:
                return
            elif self._spans - self._span > BLOCKS or not self._pull():
                yield None

    def _pull(self) -> bool:
        """Split the next span; false if there is none."""
        if self._ended:
            return False
        full = 0.0
        touched = set[int]()
        try:
            while full < 1:
                numbers = next(self._numbers, _END)
                if isinstance(numbers, _End) or numbers is None:
                    self._ended = numbers is not None
                    break
                groups = self._view.groups(numbers)
                full += sum(len(group.numbers) / self._size(group) for group in groups)
                for group in groups:
                    touched.add(group.component)
                    self._queues[group.component].append(group.numbers)
                self._due.append((self._spans, groups))
                if not self._spans:  # the first batch waits for no other
                    break
        except AtdataError as error:  # it is raised when its batch is due
            self._error, self._ended = error, True
        for component in touched:
            self._queues[component].append(None)
        self._spans += bool(touched)
        return bool(touched)

    def _size(self, group: Group) -> int:
        if group.component not in self._sizes and len(group.numbers):
            self._sizes[group.component] = self._view.components[group.component].block_size(int(group.numbers[0]))
        return self._sizes.get(group.component, 1)


ONE_TYPE = (
    "Give all one type: dataset.as_type(T), or map(function, sample_type=T). Of columns, choose the same of each."
)


class _Looks:
    """The fields that samples without a type have: those of all components must look alike in their first batches."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[type[Any], list[str]]] = {}

    def check(self, component: int, batch: SampleBatch[Any]) -> None:
        """Note the look of a component's first batch.

        Raises:
            UsageError: another one has another.
        """
        if not len(batch):
            return
        if component not in self._known:
            self._known[component] = batch.sample_type, sorted(batch.stored)
        look = self._known[component]
        other = next(iter(self._known.values()))
        if look != other:
            raise unlike(*(f"{kind.__name__}({', '.join(names)})" for kind, names in (other, look)))


def unlike(one: str, other: str) -> UsageError:
    """The error for samples without a type that are combined with others."""
    return UsageError(
        "samples without a type can only be combined with such as have the same fields",
        path="datasets",
        expected=one[:160],
        actual=other[:160],
        hint=ONE_TYPE,
    )


class _End:
    """The end of what is numbered."""


_END = _End()


def _joined(sample_type: type[Any], parts: list[tuple[Ints | None, SampleBatch[Any], Ints | None]]) -> Part:
    """The batch of some parts: where in it their numbers were, what was read, and what of it a filter has left."""
    if len(parts) == 1:
        return parts[0][1:]
    batches = [batch for _, batch, _ in parts]
    groups = [places if kept is None else places[kept] for places, _, kept in parts if places is not None]
    there = np.sort(np.concatenate(groups))
    kept = None if all(left is None for *_, left in parts) else there
    if kept is not None:
        groups = [np.searchsorted(there, group) for group in groups]
    some = [(batch, group) for batch, group in zip(batches, groups, strict=True) if len(batch)]
    if not some:
        return batches[0], kept
    batches, groups = [batch for batch, _ in some], [group for _, group in some]
    names = list(batches[0].stored)
    if all(batch.rows is None and list(batch.stored) == names for batch in batches):
        columns = {name: join_columns([batch.stored[name] for batch in batches], [*groups]) for name in names}
        return SampleBatch(batches[0].sample_type, columns, declared=batches[0].declared), kept
    rows: list[Any] = [None] * len(there)
    for batch, group in some:
        for place, sample in zip(group.tolist(), batch.samples, strict=True):
            rows[place] = sample
    kinds = {batch.sample_type for batch in batches}
    return SampleBatch.of(kinds.pop() if len(kinds) == 1 else sample_type, rows), kept
