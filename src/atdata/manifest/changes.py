"""The changes from some samples to others, by what their manifests say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atdata.manifest.parquet import SampleDigests, numbered

_PIECE = 1 << 16  # samples that are compared at a time
_NONE = np.empty((0, 32), np.uint8)


@dataclass(frozen=True)
class SampleChanges:
    """The changes from some samples to others, by their keys and digests. A key may be there several times.

    Attributes:
        added: keys of samples that only the others have.
        removed: keys of samples that the others lack.
        changed: keys under which the others have other samples.
        same: the number of samples that both have; `None` where that is not known.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    same: int | None

    @classmethod
    def between(cls, one: Sequence[SampleDigests], other: Sequence[SampleDigests]) -> SampleChanges:
        """The changes from the samples of some shards to those of others."""
        parts = [*one, *other]
        if not parts:
            return cls([], [], [], 0)
        codes, names = numbered(parts)
        count, known = sum(len(part.keys) for part in one), len(names)
        sides = [
            _Side(half, np.concatenate([part.digests for part in of] or [_NONE]), known)
            for half, of in ((codes[:count], one), (codes[count:], other))
        ]
        lost, won, same = _compared(*sides)
        changed = np.minimum(lost, won)

        def told(counts: NDArray[np.int64]) -> list[str]:
            found: list[str] = names.take(np.repeat(np.arange(known), counts)).to_pylist()
            return found

        return cls(told(won - changed), told(lost - changed), told(changed), same)


class _Side:
    """Samples by the numbers of their keys.

    Attributes:
        codes: the number of each sample's key.
        digests: of each, as four numbers.
        counts: how many samples each key has.
    """

    def __init__(self, codes: NDArray[np.int32], digests: NDArray[np.uint8], known: int) -> None:
        self.codes, self.digests = codes, np.ascontiguousarray(digests).view(np.uint64)
        self.counts = np.bincount(codes, minlength=known)

    def places(self) -> NDArray[np.int32]:
        """The place of the sample of each key that is there once."""
        place = np.empty(len(self.counts), np.int32)
        place[self.codes] = np.arange(len(self.codes), dtype=np.int32)
        return place


def _compared(one: _Side, other: _Side) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The numbers of samples of each key that only the one has, and that only the other has; and of those that both have."""
    lost, won = one.counts.copy(), other.counts.copy()
    once = np.flatnonzero((lost == 1) & (won == 1))
    pieces = [once[start : start + _PIECE] for start in range(0, len(once), _PIECE)]
    places = one.places(), other.places()
    alike = np.concatenate(
        [
            some[(one.digests[places[0][some]] == other.digests[places[1][some]]).all(axis=1)]
            for some in pieces or [once]
        ]
    )
    lost[alike] = won[alike] = 0
    several = (lost > 1) & (won > 0) | (won > 1) & (lost > 0)
    same = len(alike)
    if several.any():
        left = Counter(zip(*_pairs(one, several), strict=True))
        both = left & Counter(zip(*_pairs(other, several), strict=True))
        for (key, _), number in both.items():
            lost[key] -= number
            won[key] -= number
        same += both.total()
    return lost, won, same


def _pairs(side: _Side, wanted: NDArray[np.bool_]) -> tuple[list[int], list[bytes]]:
    """The keys' numbers and the digests of samples whose keys are wanted."""
    chosen = np.flatnonzero(wanted[side.codes])
    return side.codes[chosen].tolist(), [row.tobytes() for row in side.digests[chosen]]
