"""Samples of one shard that are read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

SLACK = 1024
"""An archive ends with two blocks, so this many bytes can be read after any sample."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Samples of one shard.

    Attributes:
        shard: which.
        starts, sizes: where they are in it, int64 `[n]`.
        group: where they belong among all that are asked for.
        gapless: whether, if they are in the stored order, no other sample is between them.
    """

    shard: int
    starts: Ints
    sizes: Ints
    group: Sequence[int] | Ints
    gapless: bool

    def span(self, size: int) -> tuple[int, int]:
        """All bytes from the first sample to the last, and some that decoding may look at, of a file of some size."""
        return int(self.starts[0]), min(int(self.starts[-1] + self.sizes[-1]) + SLACK, size)

    @cached_property
    def dense(self) -> bool:
        """Whether they are in the stored order, and little lies between them."""
        span = int(self.starts[-1] + self.sizes[-1] - self.starts[0])
        ascending = len(self.starts) == 1 or bool((self.starts[1:] > self.starts[:-1]).all())
        return ascending and span <= 2 * self.total + 4096 * len(self.starts)

    @cached_property
    def length(self) -> int:
        """Bytes from one sample to the next."""
        return int(self.starts[-1] + self.sizes[-1] - self.starts[0]) // len(self.starts)

    @cached_property
    def total(self) -> int:
        """Bytes of all."""
        return int(self.sizes.sum())

    @property
    def mean(self) -> int:
        """Bytes of one, on average."""
        return self.total // len(self.starts)

    @property
    def rows(self) -> int | Ints:
        """Their rows in a block, as `Block.add` takes them."""
        return self.group.start if isinstance(self.group, range) else np.asarray(self.group, np.int64)

    def parts(self, count: int) -> list[Chunk]:
        """The same, as so many that are about as large as each other."""
        if count == 1:
            return [self]
        cuts = [len(self.starts) * part // count for part in range(count + 1)]
        return [
            Chunk(self.shard, self.starts[a:b], self.sizes[a:b], self.group[a:b], self.gapless)
            for a, b in pairwise(cuts)
            if a < b
        ]
