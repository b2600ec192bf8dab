"""Examples of the values that a step has on its other side: what a program says itself. Without them a trial of laws would
meet a range, an index or a separator by chance alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from atdata.errors import FieldTypeError, LimitError
from atdata.lens.types import opener
from atdata.samples import Array, FieldType, Shape
from atdata.samples.kinds import Misfit
from atdata.samples.space import space_of

_MOST = 32  # examples of one kind
_LARGEST = 1 << 16  # items of an array


def numbers_between(least: Fraction | None, most: Fraction | None) -> list[Fraction]:
    """Numbers in a range: its ends, what is beside them, and some between; whole ones where there are such."""
    if least is None:
        if most is None:
            return []
        low, high = most - 1000, most
    else:
        low, high = least, least + 1000 if most is None else most
    middle = (low + high) / 2
    near = [
        low,
        high,
        middle,
        math.ceil(low),
        math.floor(high),
        math.floor(middle),
        math.ceil(low) + 1,
        math.floor(high) - 1,
    ]
    third = [low + (high - low) * Fraction(part, 7) for part in range(1, 7)]
    listed: list[Any] = [*near, *third, *map(math.floor, third), 0]
    found = [Fraction(number) for number in listed]
    return [number for number in dict.fromkeys(found) if low <= number <= high]


def of_numbers(
    numbers: list[Fraction], make: Callable[[Fraction], Any], takes: Callable[[Any], Any]
) -> tuple[Any, ...]:
    """Numbers as values of a kind, as many as the other side takes."""
    found = []
    for number in numbers:
        try:
            value = make(number)
            takes(value)
        except (Misfit, OverflowError):
            continue
        found.append(value)
    return tuple(found)


def as_scalar(to: str) -> Callable[[Fraction], Any]:
    """Makes a float or an integer of a number."""
    return float if to == "float" else _whole


def as_array(kind: Array) -> Callable[[Fraction], Any]:
    """Makes an array of a kind with one number everywhere."""
    dims = (None,) if kind.shape is None else kind.shape.dims
    dtype: Any = np.dtype(kind.scalar)
    shape = tuple(2 if size is None else size for size in dims)

    def make(number: Fraction) -> Any:
        if math.prod(shape) > _LARGEST:
            raise OverflowError
        return np.full(shape, float(number) if dtype.kind == "f" else _whole(number), dtype)

    return make


def _whole(number: Fraction) -> int:
    if number.denominator != 1:
        raise Misfit("a whole number", str(number))
    return int(number)


def arrays(kind: FieldType, size: int) -> tuple[Any, ...]:
    """Arrays of a kind whose first dimension has a size."""
    if not isinstance(kind, Array):
        return ()
    dims = (None,) if kind.shape is None else kind.shape.dims
    shape = Shape(size, *(2 if other is None else other for other in dims[1:]))
    if math.prod(shape.dims) > _LARGEST:  # type: ignore[arg-type]
        return ()
    try:
        sized = Array(kind.scalar, shape)
        convert = opener(sized) or (lambda value: value)
        return tuple(convert(sized.decoder(edge)) for edge in islice(space_of(sized).edges, _MOST))
    except (FieldTypeError, LimitError):
        return ()


def texts(separator: str, count: int) -> Iterator[str]:
    """Yields texts with some parts between separators."""
    letters = [letter for letter in "abcdefgh0123é" if letter not in separator] or ["-"]
    for start in range(4):
        yield separator.join(letters[(start + part) % len(letters)] * (1 + part % 2) for part in range(count))
    yield separator.join([""] * count)
