"""Sequences in which each of several things comes as often as its share says: at every prefix within one of it.

The k-th turn of a thing with share w has a window: it is due from position k / w on, and late after (k + 1) / w. Each
position goes to the turn that is due and will be late first. No turn is ever late then, whatever the shares and however
many (Liu & Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment", 1973; of shares:
Tijdeman, "The Chairman Assignment Problem", 1980), so after n positions a thing had more than n w - 1 turns, and less than
n w + 1. Giving each position to whoever is furthest behind breaks that with five.

The sequence repeats itself after the common denominator of the shares. Its state at any position is a minimum over the
windows that are open there, so no position needs those before it.

Where shares change, what a thing is owed by then, its shares so far less its turns, goes on: the k-th turn from there is due from
position (k - owed) / w on, and late after (k + 1 - owed) / w. No thing is ever given more than one turn above its shares. But some
turns may be late: no rule that does not know which shares come next can have none (Ajtai et al., "Fairness in Scheduling",
1998). Those that are late from the start come first, the more is owed the sooner.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from atdata.errors import UsageError
from atdata.numbers import Ints

Turns: TypeAlias = "tuple[Ints, Ints]"
"""Things, and for each how many turns it had before."""

BLOCK = 1024
_KEPT = 64  # blocks
_PIECE = 1 << 16  # positions looked at together
_FITS = 1 << 62
_GRAINS = 1 << 40  # of what is owed, in a turn
_MOST = 1 << 30  # positions among which a turn is looked for


class Shares:
    """The sequence of some shares. It costs about 1 µs for each position, and nothing more for one that is asked for
    again if the common denominator is below 65,536. The first position of all costs as many looks as the least share is
    small: for one in 10,000, 10,000.

    Args:
        shares: of each thing; together 1. What has no share has no turn.
        owed: to each thing at the first position, in turns; together 0. What is owed to those without a share waits, and the
            others do without it in equal parts.
    """

    def __init__(self, shares: Sequence[Fraction], owed: Sequence[Fraction] = ()) -> None:
        self.shares, self.owed = tuple(shares), tuple(owed) or (Fraction(0),) * len(shares)
        self._things = [thing for thing, share in enumerate(self.shares) if share]
        less = Fraction(sum(self.owed[thing] for thing in self._things), len(self._things))  # by shares it would grow
        claims = {thing: self.owed[thing] - less for thing in self._things}
        self._whole = math.lcm(*(number.denominator for number in (*self.shares, *claims.values())))
        self._parts = [int(share * self._whole) for share in self.shares]
        self._claims = [int(claims.get(thing, 0) * self._whole) for thing in range(len(self.shares))]
        self._period = _FITS if any(self._claims) else self._whole
        self._blocks = OrderedDict[int, tuple[Turns, dict[int, int]]]()

    def __reduce__(self) -> tuple[Any, ...]:
        return Shares, (self.shares, self.owed)

    # --- windows

    def due(self, thing: int, turn: int) -> int:
        """The first position that a turn of a thing may have."""
        return max((turn * self._whole - self._claims[thing]) // self._parts[thing], 0)

    def late(self, thing: int, turn: int) -> int:
        """The position before which it should have it; 2**62 where that is later. None or less if it was to have it before the
        first: the less, the more is owed.
        """
        missing = (turn + 1) * self._whole - self._claims[thing]
        return min(-(-missing // self._parts[thing]), _FITS) if missing > 0 else missing * _GRAINS // self._whole

    def _overdue(self, position: int) -> int:
        """The number of turns that are late before a position, and not taken by then."""
        return max(sum(self._full(thing, position) for thing in self._things) - position, 0)

    def _full(self, thing: int, position: int) -> int:
        """The turns of a thing that are late before a position, whether taken or not."""
        return max((position * self._parts[thing] + self._claims[thing]) // self._whole, 0)

    def _begun(self, thing: int, position: int) -> int:
        """The turns of a thing that are due before a position, whether taken or not."""
        return max(-(-(position * self._parts[thing] + self._claims[thing]) // self._whole), 0) if position else 0

    # --- positions

    def at(self, positions: Ints) -> Turns:
        """The thing at each position, and how many turns it had before."""
        things, turns = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        periods, places = _divided(positions, self._period)
        blocks = places // BLOCK
        for block in np.unique(blocks):
            chosen = np.flatnonzero(blocks == block)
            block_things, block_turns = self._block(int(block))
            inside = places[chosen] - int(block) * BLOCK
            things[chosen], turns[chosen] = block_things[inside], block_turns[inside]
        if periods.any():
            turns += periods * np.array(self._parts, np.int64)[things]
        return things, turns

    def counts(self, position: int) -> list[int]:
        """The turns that each thing has before a position."""
        periods, place = divmod(position, self._period)
        counts = [periods * part for part in self._parts]
        for thing, had in self._had(place).items():
            counts[thing] += had
        return counts

    def owed_at(self, position: int) -> list[Fraction]:
        """The turns that are owed to each thing before a position."""
        known = zip(self.owed, self.shares, self.counts(position), strict=True)
        return [owed + position * share - count for owed, share, count in known]

    def find(self, turns: Mapping[int, int], last: bool = False) -> int:
        """The first position that one of some turns has, of all or some things; or the last. It looks at as many positions
        as the least share is small.

        Raises:
            UsageError: that are too many.
        """
        wanted = np.full(len(self.shares), -1, np.int64)
        wanted[list(turns)] = list(turns.values())
        due, late = ([window(*turn) for turn in turns.items()] for window in (self.due, self._end))
        start, stop = (max(due), max(late)) if last else (min(due), min(late))
        if stop - start > _MOST or stop >= _FITS:
            raise UsageError(
                "a weight is so small that the end of an epoch of the mixture cannot be found",
                path="weights",
                hint=f"Give each at least one in {_MOST:,}, or the number of samples: stop=n.",
            )
        found = -1
        for begin in range(start, stop, _PIECE):
            things, had = self.at(np.arange(begin, min(begin + _PIECE, stop), dtype=np.int64))
            hits = np.flatnonzero(had == wanted[things])
            if len(hits):
                found = begin + int(hits[-1 if last else 0])
                if not last:
                    break
        return found

    def _end(self, thing: int, turn: int) -> int:
        """The position before which a turn was taken: all that are late when it is come before others."""
        late = max(self.late(thing, turn), 0)
        return late + self._overdue(late)

    # --- states

    def _block(self, block: int) -> Turns:
        """The turns of the positions of a block; from the state in which the block before it ends, if that is kept."""
        if block not in self._blocks:
            start, stop = block * BLOCK, min((block + 1) * BLOCK, self._period)
            before = self._blocks.get(block - 1)
            self._blocks[block] = self._walk(start, stop, self._had(start) if before is None else before[1])
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(block)
        return self._blocks[block][0]

    def _walk(self, start: int, stop: int, had: dict[int, int]) -> tuple[Turns, dict[int, int]]:
        """The turns of some positions, one after the other, and the state after them."""
        columns = [self._turns(thing, turn, stop) for thing, turn in had.items()]
        things, turns, due, late = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.lexsort((things, late))
        coming, early = iter(enumerate(due[order].tolist())), list[tuple[int, int]]()
        taken: list[int] = []
        for position in range(start, stop):
            for place, (_, first) in enumerate(early):  # they will be late before all that are still coming
                if first <= position:
                    taken.append(early.pop(place)[0])
                    break
            else:
                for turn, first in coming:
                    if first <= position:
                        taken.append(turn)
                        break
                    early.append((turn, first))
        chosen = order[taken]
        counts = np.bincount(things[chosen], minlength=len(self.shares))
        return (things[chosen], turns[chosen]), {thing: turn + int(counts[thing]) for thing, turn in had.items()}

    def _turns(self, thing: int, turn: int, stop: int) -> tuple[Ints, Ints, Ints, Ints]:
        """The turns of a thing from one on that are due before a position: the thing, the turns, and their windows."""
        part = self._parts[thing]
        turns = np.arange(turn, max(self._begun(thing, stop), turn), dtype=np.int64)
        if not len(turns):
            return turns, turns, turns, turns
        whole, rest = divmod(turn * self._whole - self._claims[thing], part)
        fits = self._whole * (len(turns) + 2) + abs(self._claims[thing]) < _FITS
        scaled: Any = rest + np.arange(len(turns) + 1, dtype=np.int64 if fits else object) * self._whole
        due = np.maximum(whole + scaled[:-1] // part, 0).astype(np.int64)
        late = np.clip(whole - (-scaled[1:] // part), 0, _FITS).astype(np.int64)
        for place in np.flatnonzero(late == 0).tolist():
            late[place] = self.late(thing, turn + place)
        return np.full_like(turns, thing), turns, due, late

    def _had(self, position: int) -> dict[int, int]:
        """The turns that each thing had before a position, below the common denominator.

        Turns that were late by then were taken, but for the last ones where too many were; those that are not due yet were not.
        Of the others, in the order in which they will be late, the first j were given as many positions as were left to
        them: of those before n, n less the most that any stretch up to n had more positions than turns came due in it.
        """
        overdue = self._overdue(position)
        had = {thing: max(self._full(thing, position) - overdue, 0) for thing in self._things}
        open_ = [(n, turn) for n in self._things for turn in range(had[n], self._begun(n, position))]
        open_.sort(key=lambda turn: (self.late(*turn), turn))
        due = {turn: self.due(*turn) for turn in open_}
        least = [0] * (len(open_) + 1)
        for begin in range(min(due.values(), default=position) + 1, position + 1, _PIECE):
            stops = np.arange(begin, min(begin + _PIECE, position + 1), dtype=np.int64)
            slack = sum((self._came(thing, stops) for thing in self._things), -stops)
            for turn in open_:
                slack -= stops > due[turn]
            least[0] = min(least[0], int(slack.min()))
            for place, turn in enumerate(open_, 1):
                slack += stops > due[turn]
                least[place] = min(least[place], int(slack.min()))
        for (thing, _), (without, with_it) in zip(open_, itertools.pairwise(least), strict=True):
            had[thing] += with_it - without
        return had

    def _came(self, thing: int, stops: Ints) -> Ints:
        """The number of turns of a thing that are due before each of some consecutive positions."""
        part, first = self._parts[thing], int(stops[0])
        whole, rest = divmod(first * part + self._claims[thing], self._whole)
        fits = part * len(stops) + self._whole < _FITS
        rests: Any = rest + part * (stops - first).astype(np.int64 if fits else object)
        came: Ints = np.maximum(whole - (-rests // self._whole).astype(np.int64), 0)
        return came


def _divided(positions: Ints, whole: int) -> tuple[Ints, Ints]:
    if whole >= _FITS:
        return np.zeros_like(positions), positions
    periods, places = np.divmod(positions, whole)
    return periods, places
