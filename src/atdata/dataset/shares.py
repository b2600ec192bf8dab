"""Sequences in which each of several things comes as often as its share says: at every prefix within one of it.

The k-th turn of a thing with share w has a window: it is due from position k / w on, and late after (k + 1) / w. Each
position goes to the turn that is due and will be late first. No turn is ever late then, whatever the shares and however
many (Liu & Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment", 1973; of shares:
Tijdeman, "The Chairman Assignment Problem", 1980), so after n positions a thing had more than n w - 1 turns, and less than
n w + 1. Giving each position to whoever is furthest behind breaks that with five.

The sequence repeats itself after the common denominator of the shares. Its state at any position is a minimum over the
windows that are open there, so no position needs those before it.
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
_MOST = 1 << 30  # positions among which a turn is looked for


class Shares:
    """The sequence of some shares. It costs about 1 µs for each position, and nothing more for one that is asked for
    again if the common denominator is below 65,536. The first position of all costs as many looks as the least share is
    small: for one in 10,000, 10,000.

    Args:
        shares: of each thing; together 1. What has no share has no turn.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self.shares = tuple(shares)
        self._whole = math.lcm(*(share.denominator for share in self.shares))
        self._parts = [int(share * self._whole) for share in self.shares]
        self._things = [thing for thing, part in enumerate(self._parts) if part]
        self._blocks = OrderedDict[int, tuple[Turns, dict[int, int]]]()

    def __reduce__(self) -> tuple[Any, ...]:
        return Shares, (self.shares,)

    # --- windows

    def due(self, thing: int, turn: int) -> int:
        """The first position that a turn of a thing may have."""
        return turn * self._whole // self._parts[thing]

    def late(self, thing: int, turn: int) -> int:
        """The position before which it has it; 2**62 where that is later."""
        return min(-(-(turn + 1) * self._whole // self._parts[thing]), _FITS)

    # --- positions

    def at(self, positions: Ints) -> Turns:
        """The thing at each position, and how many turns it had before."""
        things, turns = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        periods, places = _divided(positions, self._whole)
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
        periods, place = divmod(position, self._whole)
        counts = [periods * part for part in self._parts]
        for thing, had in self._had(place).items():
            counts[thing] += had
        return counts

    def find(self, turns: Mapping[int, int], last: bool = False) -> int:
        """The first position that one of some turns has, of all or some things; or the last. It looks at as many positions
        as the least share is small.

        Raises:
            UsageError: that are too many.
        """
        wanted = np.full(len(self.shares), -1, np.int64)
        wanted[list(turns)] = list(turns.values())
        due, late = ([window(*turn) for turn in turns.items()] for window in (self.due, self.late))
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

    # --- states

    def _block(self, block: int) -> Turns:
        """The turns of the positions of a block; from the state in which the block before it ends, if that is kept."""
        if block not in self._blocks:
            start, stop = block * BLOCK, min((block + 1) * BLOCK, self._whole)
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
        turns = np.arange(turn, max(-(-stop * part // self._whole), turn), dtype=np.int64)
        if not len(turns):
            return turns, turns, turns, turns
        whole, rest = divmod(turn * self._whole, part)
        fits = self._whole * (len(turns) + 2) < _FITS
        scaled: Any = rest + np.arange(len(turns) + 1, dtype=np.int64 if fits else object) * self._whole
        due, late = scaled[:-1] // part, np.minimum(-(-scaled[1:] // part), _FITS - whole)
        return np.full_like(turns, thing), turns, whole + due.astype(np.int64), whole + late.astype(np.int64)

    def _had(self, position: int) -> dict[int, int]:
        """The turns that each thing had before a position, below the common denominator.

        Turns that were late by then were taken, those that are not due yet were not. Of the others, in the order in which they
        will be late, the first j were given as many positions as were left to them: of those before n, n less the most
        that any stretch up to n had more positions than turns came due in it.
        """
        had = {thing: position * self._parts[thing] // self._whole for thing in self._things}
        open_ = [thing for thing in self._things if position * self._parts[thing] % self._whole]
        open_.sort(key=lambda thing: (self.late(thing, had[thing]), thing))
        due = {thing: self.due(thing, had[thing]) for thing in open_}
        least = [0] * (len(open_) + 1)
        for begin in range(min(due.values(), default=position) + 1, position + 1, _PIECE):
            stops = np.arange(begin, min(begin + _PIECE, position + 1), dtype=np.int64)
            slack = sum((self._came(thing, stops) for thing in self._things), -stops)
            for thing in open_:
                slack -= stops > due[thing]
            least[0] = min(least[0], int(slack.min()))
            for place, thing in enumerate(open_, 1):
                slack += stops > due[thing]
                least[place] = min(least[place], int(slack.min()))
        for thing, (without, with_it) in zip(open_, itertools.pairwise(least), strict=True):
            had[thing] += with_it - without
        return had

    def _came(self, thing: int, stops: Ints) -> Ints:
        """The number of turns of a thing that are due before each of some consecutive positions."""
        part, first = self._parts[thing], int(stops[0])
        whole, rest = divmod(first * part, self._whole)
        fits = part * len(stops) + self._whole < _FITS
        rests: Any = rest + part * (stops - first).astype(np.int64 if fits else object)
        came: Ints = whole - (-rests // self._whole).astype(np.int64)
        return came


def _divided(positions: Ints, whole: int) -> tuple[Ints, Ints]:
    if whole >= _FITS:
        return np.zeros_like(positions), positions
    periods, places = np.divmod(positions, whole)
    return periods, places
