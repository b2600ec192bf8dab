"""The order of an epoch: a pure function of (number of samples, mode, seed, epoch), evaluated anywhere in O(1) memory.

A true permutation of any size is a Feistel network over a domain that just holds it, walked until it lands inside
(Black & Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Nothing is stored, so a rank may ask for the
samples at positions 10^9 to 10^9 + 255 without having been anywhere near.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import UsageError
from atdata.numbers import Ints, checked_int

Mode: TypeAlias = Literal["ordered", "global", "window"]

WINDOW = 16_384
RUN = 32
_HALF_ROUNDS = 8  # even, so that the halves end up where they were
_HALF = np.uint64(32)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The step between numbers whose hashes are to differ: 2**64 over the golden ratio."""


@dataclass(frozen=True)
class Order:
    """The order of an epoch: which sample stands at each position.

    Modes:
        ordered: the stored order.
        global: a permutation of all samples.
        window: the stored order in runs of 32, the runs permuted, then all samples within windows of `window`
            positions permuted: a reader holds one window, and reads runs, not single samples.

    Attributes:
        size: samples in the epoch.
        mode: see above.
        seed: any integer; the same for all ranks.
        epoch: which epoch, from 0.
        window: samples in a window; a multiple of 32.
    """

    size: int
    mode: Mode = "ordered"
    seed: int = 0
    epoch: int = 0
    window: int = WINDOW

    def __post_init__(self) -> None:
        for name, least in (("seed", None), ("size", 0), ("epoch", 0), ("window", RUN)):
            value = checked_int(getattr(self, name), name, least)
            object.__setattr__(self, name, value)  # integers of numpy print otherwise, see _key
        if self.mode not in ("ordered", "global", "window"):
            raise UsageError(
                "unknown order of samples", path="mode", expected="ordered, global or window", actual=self.mode
            )
        if self.window % RUN:
            raise UsageError(f"window must be a multiple of {RUN}", path="window", actual=self.window)

    def samples(self, positions: Ints) -> Ints:
        """The sample numbers at some positions (both int64, below `size`)."""
        if self.mode == "ordered":
            return positions
        if self.mode == "global":
            return permute(positions, self.size, self._key("global"))
        return self._windowed(positions)

    def _windowed(self, positions: Ints) -> Ints:
        """Two permutations: of the runs in the epoch, and of the positions in each window.

        The last run may be short. It keeps its place at the end, so that every other run fills its 32 positions.
        """
        whole = self.size // RUN
        inside = np.empty_like(positions)
        windows = positions // self.window
        for window in np.unique(windows):
            chosen = windows == window
            start = int(window) * self.window
            length = min(self.window, self.size - start)
            inside[chosen] = start + permute(positions[chosen] - start, length, self._key("window", int(window)))
        runs, offsets = np.divmod(inside, RUN)
        moved = runs < whole
        runs[moved] = permute(runs[moved], whole, self._key("runs"))
        return runs * RUN + offsets

    def _key(self, *purpose: Any) -> int:
        """64 bits that differ for every seed, epoch and purpose."""
        text = repr((self.seed, self.epoch, *purpose)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def permute(positions: Ints, size: int, key: int) -> Ints:
    """The images of some positions under a permutation of `range(size)` that the key selects."""
    if size <= 1:
        return positions.copy()
    left = int(np.ceil(np.sqrt(size)))
    right = -(-size // left)
    images = _feistel(positions, left, right, key)
    # A domain of left * right is barely larger than size: hardly any position has to walk on.
    outside = np.flatnonzero(images >= size)
    while outside.size:
        images[outside] = _feistel(images[outside], left, right, key)
        outside = outside[images[outside] >= size]
    return images


def _feistel(positions: Ints, left: int, right: int, key: int) -> Ints:
    """Alternating rounds over Z_left x Z_right; each adds to one half a hash of the other."""
    a, b = np.divmod(positions.astype(np.uint64), np.uint64(right))
    sizes = np.uint64(left), np.uint64(right)
    for secret in mixed(np.uint64(key) + np.arange(_HALF_ROUNDS, dtype=np.uint64) * GOLDEN):
        a, b, sizes = b, _added(a, mixed(b ^ secret), sizes[0]), sizes[::-1]
    return (a * np.uint64(right) + b).astype(np.int64)


def _added(half: NDArray[np.uint64], hashed: NDArray[np.uint64], modulus: np.uint64) -> NDArray[np.uint64]:
    """`half` plus a number below `modulus`, modulo `modulus`: the hash's upper 32 bits, scaled (Lemire, 2019)."""
    total = half + ((hashed >> _HALF) * modulus >> _HALF)
    return np.minimum(total, total - modulus)  # where total < modulus the difference wraps to something larger


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea & Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
