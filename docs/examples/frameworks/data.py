"""A thousand points, and whether each is in the unit circle: what the pages on frameworks train with."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import atdata


@atdata.packable
class Point:
    id: int
    position: NDArray[np.float32]
    inside: float


def points() -> atdata.Dataset[Point]:
    """The dataset, in the folder that the command line names."""
    folder = Path(sys.argv[1])
    if not (folder / "points-000.tar").exists():
        rng = np.random.default_rng(0)
        positions = (rng.uniform(-1.2, 1.2, 2).astype(np.float32) for _ in range(1000))
        samples = (Point(n, position, float(np.hypot(*position) < 1)) for n, position in enumerate(positions))
        atdata.write_samples(samples, folder / "points-%03d.tar", maxcount=150)
    return atdata.Dataset[Point](str(folder / "points-*.tar"))
