"""Mixtures: samples of several views, each as often as its weight says.

Which component stands at a position is settled by the weights (`shares.py`): so a mixture is one more order, and ranks,
workers and states know nothing of it. Shuffles are of each component. What a component gives is its first samples in the order of
its epoch; where it begins again, in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from atdata.dataset.combined import CombinedView
from atdata.dataset.order import Order
from atdata.dataset.resuming import no_state
from atdata.dataset.shares import Shares, Turns
from atdata.dataset.view import About, View
from atdata.dataset.weights import WeightChange, rounded, shares_of, weight_in
from atdata.errors import UsageError
from atdata.numbers import Ints, checked_int

T = TypeVar("T")

_AT_ONCE = 4  # components that are opened before they are due


Stop: TypeAlias = "Literal['first', 'longest', 'all'] | int"


class Segment(NamedTuple):
    """Positions of an epoch from one on, in which the shares are the same.

    Attributes:
        start: the first position.
        counts: the samples of each component before it.
        shares: what comes from there on.
    """

    start: int
    counts: tuple[int, ...]
    shares: Shares

    def counts_at(self, position: int) -> tuple[int, ...]:
        """The samples of each component before a position."""
        return tuple(map(sum, zip(self.counts, self.shares.counts(position - self.start), strict=True)))

    def owed_at(self, position: int) -> tuple[Fraction, ...]:
        """The samples that are owed to each component before a position, with a common denominator of 12 digits at most."""
        return rounded(self.shares.owed_at(position - self.start))


@dataclass(frozen=True)
class Plan:
    """The components of an epoch, position by position."""

    segments: tuple[Segment, ...]
    length: int

    def at(self, positions: Ints) -> Turns:
        """The component at each position, and how many samples of it come before."""
        which = np.searchsorted([segment.start for segment in self.segments], positions, "right") - 1
        components, counts = np.empty_like(positions), np.empty_like(positions)
        for number in np.unique(which).tolist():
            start, before, shares = self.segments[number]
            where = np.flatnonzero(which == number)
            components[where], turns = shares.at(positions[where] - start)
            counts[where] = turns + np.array(before, np.int64)[components[where]]
        return components, counts

    def change(self, epoch: int, position: int) -> WeightChange:
        """A change of weights at a position of this epoch."""
        segment = next(segment for segment in reversed(self.segments) if segment.start <= position)
        return WeightChange(epoch, position, segment.counts_at(position), segment.owed_at(position))


@dataclass(frozen=True, eq=False)
class Mixture(CombinedView[T]):
    """Samples of several views, each as often as its weight says.

    Attributes:
        weights: of the components, together 1.
        stop: where an epoch ends.
        seed: of the orders of the components, with that of a shuffle.
        given: the weights with which it was made.
        changed: where they were changed since.
        began: the same, where the view is that of this very epoch.
    """

    weights: tuple[Fraction, ...] = ()
    stop: Stop = "first"
    seed: int = 0
    given: tuple[Fraction, ...] = ()
    changed: WeightChange | None = None
    began: WeightChange | None = None

    @classmethod
    def of(cls, components: Sequence[View[Any]], weights: Sequence[Any], stop: Any, seed: int) -> Mixture[Any]:
        """The mixture of some views of one sample type.

        Raises:
            UsageError: the weights, the seed or the end are not what they must be.
        """
        if not isinstance(stop, str):
            stop = checked_int(stop, "stop")
        elif stop not in ("first", "longest", "all"):
            expected = "first, longest, all, or a number of samples"
            raise UsageError("unknown end of a mixture", path="stop", expected=expected, actual=stop)
        shares = shares_of(weights)
        kind, seed = components[0].sample_type, checked_int(seed, "seed", None)
        return cls(kind, tuple(components), weights=shares, stop=stop, seed=seed, given=shares)

    @classmethod
    def word(cls) -> str:
        """The name of what is done with the components."""
        return "mix"

    def prefetch_first(self) -> None:
        """Begin to open the first shards of the first components; each does it in threads."""
        if self.selection is None:
            for component in self.components[:_AT_ONCE]:
                component.prefetch_first()

    def _terms(self) -> Sequence[str]:
        return [" ".join(map(str, self.given)), str(self.stop), str(self.seed)]

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """The number of positions of each component that has a share."""
        return tuple(s.extent if w else 0 for s, w in zip(self.components, self.weights, strict=True))

    @cached_property
    def plan(self) -> Plan:
        """The components of an epoch."""
        segments = self._segments()
        if isinstance(self.stop, int):
            self._check_not_empty()
            return Plan(segments, self.stop)
        start, counts, shares = segments[-1]
        left = {n: self.extents[n] - counts[n] for n, weight in enumerate(self.weights) if weight}
        if self.stop == "first":
            return Plan(segments, start + shares.find(left))
        if self.stop == "longest":
            self._check_not_empty()
            last = {component: count - 1 for component, count in left.items() if count > 0}
            return Plan(segments, start + (shares.find(last, last=True) + 1 if last else 0))
        return self._plan_of_all(segments)

    def _segments(self) -> tuple[Segment, ...]:
        """The first segment; after a change the second one. Positions before it are then those that pad the epoch."""
        nothing = (0,) * len(self.components)
        first = Segment(0, nothing, Shares(self.weights))
        if self.began is None:
            return (first,)
        return first, Segment(self.began.since, self.began.counts, Shares(self.weights, self.began.owed))

    def _plan_of_all(self, segments: tuple[Segment, ...]) -> Plan:
        """The shares among those that are left, until none is."""
        position, counts, shares = segments[-1]
        segments, owed = segments[:-1], shares.owed
        while left := {
            n: self.extents[n] - counts[n] for n, w in enumerate(self.weights) if w and self.extents[n] > counts[n]
        }:
            total = sum(self.weights[component] for component in left)
            shares = Shares([w / total if n in left else Fraction(0) for n, w in enumerate(self.weights)], owed)
            segment = Segment(position, counts, shares)
            segments = (*segments, segment)
            position += shares.find({component: count - 1 for component, count in left.items()}) + 1
            counts, owed = segment.counts_at(position), segment.owed_at(position)
        return Plan(segments or (Segment(0, counts, shares),), position)

    def _check_not_empty(self) -> None:
        """Refuse components that are to begin again, and have nothing to begin with."""
        if self.stop and any(w and not extent for w, extent in zip(self.weights, self.extents, strict=True)):
            raise UsageError(
                "a dataset without samples cannot have a share of a mixture",
                path="stop",
                actual=self.stop,
                hint="Leave it out, or use stop='all'.",
            )

    def resolve_stop(self, stop: int | None, *, open_shards: bool = True) -> int:  # noqa: ARG002
        """`stop`, or the number of positions if that is less."""
        end = self.plan.length if self.selection is None else len(self.selection)
        return end if stop is None else min(stop, end)

    def at(self, order: Order, positions: Ints) -> Ints:
        """The numbers of the samples at some positions: those of the components, each in that order."""
        if self.selection is not None:
            return self.selection[order.samples(positions)]
        components, counts = self.plan.at(positions)
        numbers = np.empty_like(positions)
        for component in np.unique(components).tolist():
            where = np.flatnonzero(components == component)
            epochs, places = np.divmod(counts[where], self.extents[component])
            for epoch in np.unique(epochs).tolist():
                chosen = epochs == epoch
                own = self._order(order, component, epoch)
                numbers[where[chosen]] = self.components[component].at(own, places[chosen]) + (component << self.bits)
        return numbers

    def _order(self, order: Order, component: int, epoch: int) -> Order:
        """The order of one component, in one of its epochs in an epoch of the mixture."""
        if order.mode == "ordered":
            return Order(0)
        digest = hashlib.blake2b(repr((order.seed, self.seed, component, epoch)).encode(), digest_size=8).digest()
        seed = int.from_bytes(digest, "little")
        return Order(self.extents[component], order.mode, seed, order.epoch, order.window)

    # --- changes of weights

    def reweighted(self, weights: Sequence[Any], changed: WeightChange | None) -> Mixture[T]:
        """The mixture with other weights since some place.

        Raises:
            UsageError: the weights are not what they must be.
        """
        shares = shares_of(weights)
        if len(shares) != len(self.components):
            actual = f"{len(shares)} weights for {len(self.components)} datasets"
            raise UsageError("each dataset of the mixture needs a weight", path="weights", actual=actual)
        return replace(self, weights=shares, changed=changed, began=None)

    def of_epoch(self, epoch: int) -> Mixture[T]:
        """The mixture as it is in one epoch."""
        return self._on_change if self.changed is not None and self.changed.epoch == epoch else self

    @cached_property
    def _on_change(self) -> Mixture[T]:
        return replace(self, began=self.changed)


@dataclass(frozen=True, eq=False)
class Repetition(Mixture[T]):
    """The samples of one view some times, in another order each time.

    Attributes:
        times: how often.
    """

    times: int = 1

    @classmethod
    def word(cls) -> str:
        """The name of what is done with the component."""
        return "repeat"

    @property
    def about(self) -> About:
        """The shards of the component."""
        about = self.components[0].about
        return about._replace(title=f"{self.times} times {about.title}", layout=None)

    def _terms(self) -> Sequence[str]:
        return [str(self.times)]

    @cached_property
    def plan(self) -> Plan:
        """The component, each time."""
        return Plan(self._segments(), self.times * self.extents[0])


# Mixtures among other views, as a loader has them.


def of_epoch(view: View[T], epoch: int) -> View[T]:
    """A view as it is in one epoch: that of a mixture whose weights were changed in it is another then."""
    return view.of_epoch(epoch) if isinstance(view, Mixture) else view


def weighing(view: View[Any]) -> dict[str, Any]:
    """The part of a state that tells how weights were changed; nothing where they were not."""
    if not isinstance(view, Mixture) or view.changed is None:
        return {}
    return {"mixture": {"weights": list(map(str, view.weights)), **view.changed.to_state()}}


def reweighted(view: View[Any], weights: Sequence[Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The same, after another change at the place of a state.

    Raises:
        UsageError: it is no mixture, or the weights are not what they must be.
    """
    if isinstance(view, Mixture) and view.selection is not None:
        raise UsageError(
            "some samples of a mixture have no weights any more",
            actual=f"{len(view.selection)} of a {view.about.title}",
            hint="Make the loader of the mixture before take, skip, select or split. A shorter epoch: atdata.mix(..., stop=n).",
        )
    if not isinstance(view, Mixture) or isinstance(view, Repetition):
        raise UsageError("only a mixture has weights", actual=view.about.title, hint="Make one with atdata.mix({...}).")
    if shares_of(weights) == view.weights:
        return weighing(view)  # the shares go on where they are
    epoch, position = state["epoch"], state["position"]
    return weighing(view.reweighted(weights, view.of_epoch(epoch).plan.change(epoch, position)))


def weighed(view: View[T], state: Mapping[str, Any]) -> View[T]:
    """A view with the weights that a state tells; with those that it was made with where it tells none.

    Raises:
        ResumeError: they are none of such a view.
    """
    said = state.get("mixture")
    if said is None:
        return view.reweighted(view.given, None) if isinstance(view, Mixture) and view.changed is not None else view
    if weighing(view) == {"mixture": said}:
        return view
    if isinstance(view, Mixture):
        with suppress(KeyError, TypeError, ValueError, ZeroDivisionError, UsageError):
            changed = WeightChange.of_state(said, len(view.components), (state["epoch"], state["position"]))
            return view.reweighted([weight_in(weight) for weight in said["weights"]], changed)
    raise no_state("mixture", repr(said)[:160])


def settled(view: View[T]) -> View[T]:
    """A view that has its weights from the beginning of each epoch."""
    if not isinstance(view, Mixture) or view.changed is None:
        return view
    return view.reweighted(view.weights, WeightChange.at_start(len(view.components)))
