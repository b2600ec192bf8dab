"""Rows of numbers as small lines: the path of an SVG, made of numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 120, 24
_EDGE = 1.5  # so that the line is not cut where it is highest


def line_of(array: NDArray[Any], most: int) -> str:
    """The path that goes through the numbers of a row; empty where it is no row of at least two finite numbers.

    Of a long row each point is the mean of some numbers. Where one is not finite the line has a gap.

    Args:
        array: any.
        most: numbers that are looked at.
    """
    if array.ndim != 1 or array.dtype.kind not in "buif" or not 2 <= array.size <= most:
        return ""
    with np.errstate(all="ignore"):
        numbers = array.astype(np.float64)
        if len(numbers) > WIDTH:
            cuts = np.linspace(0, len(numbers), WIDTH + 1).astype(int)
            numbers = np.add.reduceat(numbers, cuts[:-1]) / np.diff(cuts)
        finite = np.isfinite(numbers)
        if finite.sum() < 2:
            return ""
        low, high = numbers[finite].min() / 2, numbers[finite].max() / 2  # halves: their difference is finite
        heights = (numbers / 2 - low) / ((high - low) or 1) if high > low else np.full(len(numbers), 0.5)
    across = np.linspace(_EDGE, WIDTH - _EDGE, len(numbers))
    down = HEIGHT - _EDGE - heights * (HEIGHT - 2 * _EDGE)
    steps, pen = [], "M"
    for x, y, there in zip(across.tolist(), down.tolist(), finite.tolist(), strict=True):
        if there:
            steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L" if there else "M"
    return "".join(steps)
