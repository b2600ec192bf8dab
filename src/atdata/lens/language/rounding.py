"""The rounding that scaling and narrowing declare, and are held to.

A lens that computes with floats cannot give back all bits. Where it does not, the two sides of a law may differ by what its
operations round: at most `ULPS` units in the last place of the largest operand of each operation, carried to where they
are compared. (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 2.2: each operation is exact but
for half a unit in the last place. `get` has two of them and `put` two more, one of which counts twice.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atdata.lens.ulps import ulp

ULPS = 4


@dataclass(frozen=True)
class FloatOperation:
    """One operation on floats: `x * factor + offset`, in a dtype.

    Attributes:
        dtype: of what it gives: float16, float32 or float64.
        factor, offset: of the operation; 1 and 0 for one that only narrows.
    """

    dtype: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Rounding:
    """The operations that the numbers of one field went through on their way from the source to the view.

    Attributes:
        operations: in order.
    """

    operations: tuple[FloatOperation, ...] = ()

    def then(self, operation: FloatOperation) -> Rounding:
        """The same and one operation more."""
        return Rounding((*self.operations, operation))

    def in_view(self, size: float, _: str = "") -> float:
        """The difference that is allowed between two numbers of the view, the larger of which has a size: a `Tolerance`."""
        sizes = [size]
        for operation in reversed(self.operations):
            sizes.append((sizes[-1] + abs(operation.offset)) / abs(operation.factor))
        return self._tolerance(sizes[::-1])

    def in_source(self, size: float, _: str = "") -> float:
        """The difference that is allowed between two numbers of the source, the larger of which has a size: likewise."""
        sizes = [size]
        for operation in self.operations:
            sizes.append(sizes[-1] * abs(operation.factor) + abs(operation.offset))
        allowed = self._tolerance(sizes)
        for operation in self.operations:
            allowed /= abs(operation.factor)
        return allowed

    def _tolerance(self, sizes: list[float]) -> float:
        """The difference in the view, from the sizes of a number before, between and after the operations."""
        allowed = 0.0
        for operation, before, after in zip(self.operations, sizes, sizes[1:], strict=False):
            spacing = max(
                _spacing(operation.dtype, before) * abs(operation.factor),
                _spacing(operation.dtype, max(after, abs(operation.offset))),
            )
            allowed = allowed * abs(operation.factor) + ULPS * spacing
        return allowed


def _spacing(dtype: str, size: float) -> float:
    """The unit in the last place of numbers of a size."""
    return float(ulp(size if math.isfinite(size) else 0.0, dtype))
