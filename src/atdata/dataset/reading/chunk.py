"""Samples of one shard that are read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from atdata.numbers import Ints
from atdata.shards.index import ShardIndex


@dataclass(frozen=True, eq=False)
class Chunk:
    """Samples of one shard.

    Attributes:
        shard: which.
        starts, sizes: their offsets and sizes in it, int64 `[n]`.
        group: their rows among all that are requested.
        gapless: true if no other sample is between them, provided that they are in the stored order.
        index: of their shard.
    """

    shard: int
    starts: Ints
    sizes: Ints
    group: Sequence[int] | Ints
    gapless: bool
    index: ShardIndex

    @cached_property
    def dense(self) -> bool:
        """True if they are in the stored order, and little lies between them."""
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
    def rows(self) -> int | Ints:
        """Their rows in a block, as `Block.add` takes them."""
        return self.group.start if isinstance(self.group, range) else np.asarray(self.group, np.int64)

    def parts(self, count: int) -> list[Chunk]:
        """The same, as so many that are about as large as each other."""
        if count == 1:
            return [self]
        cuts = [len(self.starts) * part // count for part in range(count + 1)]
        return [
            Chunk(self.shard, self.starts[a:b], self.sizes[a:b], self.group[a:b], self.gapless, self.index)
            for a, b in pairwise(cuts)
            if a < b
        ]
