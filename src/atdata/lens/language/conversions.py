"""Values of one kind as values of another, and back: what the steps that change one field do to its values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from atdata.lens.language.rounding import FloatOperation
from atdata.lens.language.trees import values_of
from atdata.samples import FieldType, ListOf, Maybe
from atdata.samples.forms import Numbers
from atdata.samples.kinds import Misfit
from atdata.samples.stacking import stack

NOTHING: Any = object()
"""Stands for the source where there is none."""
Forward: TypeAlias = Callable[[Any], Any]
Backward: TypeAlias = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Conversion:
    """The two ways between the values of two kinds. Both raise `Misfit` for a value that the other side does not have.

    Attributes:
        kind: of the view.
        forward: from a value of the source.
        backward: from a value of the view, and that of the source, or `NOTHING`.
        array: what `forward` does, for arrays of any number of dimensions; `None` where values are converted one by one.
        rounds: the operation on floats, where there is one.
        known: values of the view that have a source, where others rarely do.
    """

    kind: FieldType
    forward: Forward
    backward: Backward
    array: Forward | None = None
    rounds: FloatOperation | None = None
    known: tuple[Any, ...] = ()

    def column(self, column: Any) -> Any:
        """A column of the view."""
        if self.array is not None and isinstance(column, np.ndarray):
            return self.array(column)
        if self.array is not None and isinstance(column, Numbers):
            return self._numbers(self.array, column)
        return stack([self.forward(value) for value in values_of(column)])

    def _numbers(self, convert: Forward, column: Numbers) -> Numbers:
        if column.mask is None:
            return Numbers(convert(column.array))
        there = ~column.mask
        given = convert(column.array[there])
        array = np.zeros(len(column.array), given.dtype)
        array[there] = given
        return Numbers(array, column.mask)


def lifted(kind: FieldType, convert: Callable[[FieldType], Conversion]) -> Conversion:
    """The conversion of what stands in a list, or of what may be `None`, and stays so."""
    if isinstance(kind, Maybe):
        inner = lifted(kind.inner, convert)
        forward, backward = inner.forward, inner.backward

        def back(value: Any, source: Any) -> Any:
            return None if value is None else backward(value, NOTHING if source is None else source)

        return replace(
            inner,
            kind=Maybe(inner.kind),
            forward=lambda value: None if value is None else forward(value),
            backward=back,
            array=inner.array if not isinstance(kind.inner, ListOf) else None,
        )
    if isinstance(kind, ListOf):
        inner = lifted(kind.inner, convert)
        forward, item_back = inner.forward, inner.backward

        def each(value: Any, source: Any) -> Any:
            alike = isinstance(source, list) and len(source) == len(value)
            sources = source if alike else [NOTHING] * len(value)
            return [item_back(item, old) for item, old in zip(value, sources, strict=True)]

        return replace(
            inner,
            kind=ListOf(inner.kind),
            forward=lambda value: [forward(item) for item in value],
            backward=each,
            array=None,
            known=tuple([value] for value in inner.known),
        )
    return convert(kind)


def keep_unchanged(back: Any, view: Any, source: Any, forward: Forward) -> Any:
    """The items of `back`, but those of the source where the view still shows them: a change of one item of an array
    changes no other.
    """
    if not isinstance(source, np.ndarray) or source.shape != back.shape or source.dtype != back.dtype:
        return back
    try:
        shown = forward(source)
    except Misfit:
        return back
    same = bits(shown) == bits(view) if shown.dtype == view.dtype else np.zeros(back.shape, bool)
    back[same] = source[same]
    return back


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The items of an array of numbers as integers, by their bits."""
    item = array.dtype.itemsize
    return (
        np.ascontiguousarray(array)
        .view(np.dtype(f"u{item}") if array.dtype.isnative else f">u{item}")
        .reshape(array.shape)
    )


def ordered_as(dtype: Any, array: np.ndarray[Any, Any]) -> np.dtype[Any]:
    """A dtype in the byte order of an array."""
    wanted: np.dtype[Any] = np.dtype(dtype)
    return wanted if array.dtype.isnative else wanted.newbyteorder("S")
