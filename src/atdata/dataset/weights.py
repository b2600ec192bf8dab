"""Weights of the datasets of a mixture: exact shares of 1, and the places of a run in which they were changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from atdata.arguments import checked_type
from atdata.errors import UsageError

_LONGEST = 1000  # characters of a weight in a state
_MOST_OWED = 10_000  # samples, in a state; fewer than there are datasets are
_FINEST = 10**12  # part of a sample that is owed

Weight: TypeAlias = int | float | Fraction | Decimal


class WeightChange(NamedTuple):
    """A change of weights in an epoch.

    Attributes:
        epoch: which.
        since: the first position with the new weights.
        counts: the samples of each component before it.
        owed: to each component there, in samples.
    """

    epoch: int
    since: int
    counts: tuple[int, ...]
    owed: tuple[Fraction, ...]

    @classmethod
    def at_start(cls, components: int) -> WeightChange:
        """One before all samples."""
        return cls(0, 0, (0,) * components, (Fraction(0),) * components)

    @classmethod
    def of_state(cls, said: Mapping[str, Any], components: int, place: tuple[int, int]) -> WeightChange:
        """One that a state at some epoch and position tells of.

        Raises:
            KeyError: a member is missing.
            TypeError: one is of another type.
            ValueError: no loader can have noted it there.
        """
        owed = tuple(_owed_in(number, said["of"]) for number in said["owed"])
        changed = cls(said["epoch"], said["since"], tuple(said["counts"]), owed)
        changed._check(components, place)
        return changed

    def to_state(self) -> dict[str, Any]:
        """The form in a state: JSON."""
        whole = math.lcm(*(number.denominator for number in self.owed))
        owed = [int(number * whole) for number in self.owed]
        return {"epoch": self.epoch, "since": self.since, "counts": list(self.counts), "owed": owed, "of": whole}

    def _check(self, components: int, place: tuple[int, int]) -> None:
        """Refuse what no loader can have noted at a place.

        Raises:
            ValueError: none can.
        """
        numbers = (self.epoch, self.since, *self.counts)
        if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
            raise ValueError(self)
        if len(self.counts) != components or sum(self.counts) != self.since or numbers[:2] > place:
            raise ValueError(self)
        if (
            len(self.owed) != components
            or sum(self.owed, Fraction(0))
            or any(abs(owed) > _MOST_OWED for owed in self.owed)
        ):
            raise ValueError(self)


def shares_of(weights: Sequence[Weight], path: str = "weights") -> tuple[Fraction, ...]:
    """Weights as exact shares of 1. A float stands for the decimal number that it prints as.

    Args:
        weights: numbers of any kind.
        path: the name of the argument.

    Raises:
        UsageError: one is no number, negative or not finite, or all are 0.
    """
    checked_type(weights, Iterable, path, "Give one for each dataset.")
    exact = tuple(_exact(weight, path) for weight in weights)
    total = sum(exact)
    if not total:
        actual = repr(list(weights))[:80]
        raise UsageError(f"{path} must not all be 0", path=path, actual=actual, hint="Give at least one above 0.")
    return tuple(weight / total for weight in exact)


def _exact(weight: Any, path: str) -> Fraction:
    try:
        if isinstance(weight, bool | np.bool_ | str | bytes):
            raise TypeError
        plain = isinstance(weight, int | np.integer | Fraction | Decimal)
        exact = Fraction(int(weight) if isinstance(weight, np.integer) else weight if plain else str(weight))
    except (TypeError, ValueError, OverflowError):
        exact = None
    if exact is None or exact < 0:
        raise UsageError(
            f"{path} must be numbers, 0 or more",
            path=path,
            actual=repr(weight)[:80],
            hint="Give integers, fractions, decimals or floats; they are shares of their sum.",
        )
    return exact


def rounded(owed: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The same numbers, together 0; each less than 1e-12 off, if they have no common denominator up to that."""
    whole = math.lcm(*(number.denominator for number in owed))
    if whole <= _FINEST:
        return tuple(owed)
    below = [math.floor(number * _FINEST) for number in owed]
    missing = -sum(below)  # fewer than there are of those that were rounded
    cut = [number * _FINEST != least for number, least in zip(owed, below, strict=True)]
    return tuple(
        Fraction(least + (up and rank <= missing), _FINEST)
        for least, up, rank in zip(below, cut, itertools.accumulate(cut), strict=True)
    )


def weight_in(text: Any) -> Fraction:
    """The weight that a text in a state says.

    Raises:
        ValueError: it says none.
        ZeroDivisionError: it divides by 0.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError(text)
    return Fraction(text)


def _owed_in(number: Any, whole: Any) -> Fraction:
    if type(number) is not int or type(whole) is not int or not 0 < whole <= _FINEST:
        raise ValueError(number)
    return Fraction(number, whole)
