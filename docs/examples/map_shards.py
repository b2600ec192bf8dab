"""Shrinks every shard of a dataset. Run it again after whatever ended it: it does what is left."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import atdata


@atdata.packable
class Reading:
    id: int
    signal: NDArray[np.float32]


@atdata.packable
class Level:
    id: int
    level: float


def levels(readings: Iterator[Reading]) -> Iterator[Level]:
    for reading in readings:
        yield Level(reading.id, float(np.sqrt(np.mean(reading.signal**2))))


if __name__ == "__main__":
    readings = atdata.Dataset[Reading]("readings-*.tar")
    print(readings.map_shards(levels, out="levels-%06d.tar"))
