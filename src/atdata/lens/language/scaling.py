"""Scaling: `x * factor + offset`, where factor and offset are exact numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from atdata.errors import LensError
from atdata.lens.language.conversions import NOTHING, Conversion, keep_unchanged
from atdata.lens.language.rounding import FloatOperation
from atdata.samples import Array, FieldType, Scalar
from atdata.samples.kinds import Misfit

_FLOATS = {np.float16: "float16", np.float32: "float32", np.float64: "float64"}
_QUIET = {"over": "ignore", "under": "ignore", "invalid": "ignore", "divide": "ignore"}


def scaling(kind: FieldType, factor: Fraction, offset: Fraction, where: str) -> Conversion:
    """The conversion that scales numbers: floats in their own precision, integers by integers.

    Raises:
        LensError: it is no kind of numbers, or the factor is none that can be undone.
    """
    if not factor:
        raise LensError("a factor of 0 loses all numbers", path=where, hint="Drop the field instead.")
    dtype = "float64" if kind == Scalar("float") else _FLOATS.get(getattr(kind, "scalar", None))  # type: ignore[arg-type]
    if dtype is not None:
        return _of_floats(kind, _Affine.of(dtype, factor, offset, where))
    integers = kind == Scalar("int") or (isinstance(kind, Array) and _is_integer(kind.scalar))
    if integers and factor.denominator == offset.denominator == 1:
        return _of_integers(kind, int(factor), int(offset))
    raise LensError(
        "only numbers can be scaled, and integers only by integers",
        path=where,
        expected="float, int, or an array of one concrete dtype of them",
        actual=kind,
        hint="Cast the field to float before.",
    )


def _is_integer(scalar: Any) -> bool:
    return isinstance(scalar, type) and issubclass(scalar, np.integer) and np.dtype(scalar).kind in "iu"


@dataclass(frozen=True)
class _Affine:
    """`x * multiplier / divisor + offset` in floats of a dtype: where one of them is 1, that is rounded once."""

    dtype: str
    multiplier: Any
    divisor: Any
    offset: Any

    @classmethod
    def of(cls, dtype: str, factor: Fraction, offset: Fraction, where: str) -> _Affine:
        """The operation nearest to exact numbers."""
        if factor.denominator > 1 and abs(factor.numerator) > 1:
            factor, divisor = factor, Fraction(1)
        else:
            factor, divisor = Fraction(factor.numerator), Fraction(factor.denominator)
        convert = np.dtype(dtype).type
        try:
            with np.errstate(over="ignore"):
                numbers = [convert(float(number)) for number in (factor, divisor, offset)]
        except OverflowError:
            numbers = [convert(math.inf)]
        if not all(map(np.isfinite, numbers)) or not numbers[0] or not (numbers[-1] or not offset):
            raise LensError(
                f"a factor or an offset is no number of {dtype}", path=where, actual=f"{factor}, {offset}"[:80]
            )
        return cls(dtype, *numbers)

    @property
    def operation(self) -> FloatOperation:
        """The rounding it declares."""
        factor = float(self.multiplier) / float(self.divisor)
        return FloatOperation(self.dtype, factor, float(self.offset))

    def forward(self, array: Any) -> Any:
        """The view of an array. It raises `Misfit` where finite numbers would become infinite."""
        with np.errstate(**_QUIET):  # type: ignore[arg-type]
            result = np.empty_like(array)
            if self.divisor != 1:
                np.divide(array, self.divisor * self.multiplier, out=result)
            else:
                np.multiply(array, self.multiplier, out=result)
            if self.offset:
                np.add(result, self.offset, out=result)
        return _finite(result, array)

    def backward(self, array: Any) -> Any:
        """The source of an array of the view."""
        with np.errstate(**_QUIET):  # type: ignore[arg-type]
            result = np.empty_like(array)
            np.subtract(array, self.offset, out=result) if self.offset else np.copyto(result, array)
            if self.divisor != 1:
                np.multiply(result, self.divisor * self.multiplier, out=result)
            else:
                np.divide(result, self.multiplier, out=result)
        return _finite(result, array)


def _finite(result: Any, given: Any) -> Any:
    if not np.isfinite(result).all() and (np.isinf(result) & np.isfinite(given)).any():
        raise Misfit(f"a number that {result.dtype.name} can hold", "a larger one")
    return result


def _of_floats(kind: FieldType, affine: _Affine) -> Conversion:
    if isinstance(kind, Array):

        def back(view: Any, source: Any) -> Any:
            found = affine.backward(view)
            return found if source is NOTHING else keep_unchanged(found, view, source, affine.forward)

        return Conversion(kind, affine.forward, back, affine.forward, affine.operation)
    return Conversion(
        kind,
        lambda value: float(affine.forward(np.array(value))),
        lambda view, _: float(affine.backward(np.array(view))),
        affine.forward,
        affine.operation,
    )


def _of_integers(kind: FieldType, factor: int, offset: int) -> Conversion:
    if isinstance(kind, Array):
        return Conversion(
            kind,
            lambda array: scale_integers(array, factor, offset),
            lambda array, _: unscale_integers(array, factor, offset),
            lambda array: scale_integers(array, factor, offset),
        )
    encode = kind.encoder

    def back(view: int, _: Any) -> Any:
        whole, rest = divmod(view - offset, factor)
        if rest:
            raise Misfit(f"a multiple of {factor}" + (f", plus {offset}" if offset else ""), str(view))
        return encode(whole)

    return Conversion(kind, lambda value: encode(value * factor + offset), back)


def scale_integers(array: Any, factor: int, offset: int) -> Any:
    """`array * factor + offset`, exactly, in the array's dtype. It raises `Misfit` for a number that the dtype lacks."""
    return _in_dtype(np.asarray(_exact(array) * factor + offset, object), array)


def unscale_integers(array: Any, factor: int, offset: int) -> Any:
    """The array that `scale_integers` makes this one of."""
    exact = np.asarray(_exact(array) - offset, object)
    whole = np.asarray(np.floor_divide(exact, factor), object)
    if np.any(whole * factor != exact):
        raise Misfit(f"multiples of {factor}" + (f", plus {offset}" if offset else ""), "other numbers")
    return _in_dtype(whole, array)


def _exact(array: Any) -> Any:
    """The numbers as Python has them, of any size."""
    return np.array(array, object).reshape(array.shape)


def _in_dtype(numbers: Any, array: Any) -> Any:
    limits = np.iinfo(array.dtype)
    if numbers.size and (numbers.min() < limits.min or numbers.max() > limits.max):
        raise Misfit(f"a number that {array.dtype.name} can hold", "a larger one")
    result = np.empty_like(array)
    result[...] = numbers
    return result
