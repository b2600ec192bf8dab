"""Casts: the same number or text as a value of another type, where that type has it."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from atdata.errors import LensError
from atdata.lens.language.conversions import NOTHING, Conversion, keep_unchanged, ordered_as
from atdata.lens.language.examples import as_array, as_scalar, numbers_between, of_numbers
from atdata.lens.language.rounding import FloatOperation
from atdata.samples import Array, FieldType, Scalar
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.scalars import INT_MAX, INT_MIN

EXACT = 2**53
"""Up to here every integer is a double."""

DTYPES = {
    np.dtype(name).name: np.dtype(name).type
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
} | {"float16": np.float16, "float32": np.float32, "float64": np.float64}
_INTEGER = re.compile(r"-?[1-9]\d{0,19}|0")
_MANTISSA = {"float16": 11, "float32": 24, "float64": 53}


def casting(kind: FieldType, to: str, least: Fraction | None, most: Fraction | None, where: str) -> Conversion:
    """The conversion to another type: of numbers and texts between `int`, `float`, `str` and `bool`; of arrays to a dtype.

    Args:
        kind: of the source.
        to: the name of the type, or of the dtype.
        least, most: the range that is stated; `None` for what the types have.
        where: the place in the program.

    Raises:
        LensError: no value of the one is a value of the other.
    """
    known = isinstance(kind, Array) and kind.scalar in DTYPES.values()
    if isinstance(kind, Array) and known and to in DTYPES:
        return _of_arrays(kind, to, least, most)
    ways = _WAYS.get((kind.kind, to)) if isinstance(kind, Scalar) else None
    if ways is not None and to not in ("int", "float") and (least, most) != (None, None):
        raise LensError(
            f"a range is stated of {to}, which is no number",
            path=where,
            expected="min and max with int, float or a dtype",
            hint="Leave out min and max, or cast to a number first.",
        )
    if ways is None:
        pairs = ", ".join(f"{one} to {other}" for one, other in _WAYS)
        raise LensError(
            f"{kind} cannot be cast to {to[:40]}",
            path=where,
            expected=f"{pairs}; an array of numbers of one dtype to another dtype",
            hint="Cast in two steps, or map the values.",
        )
    there, back = ways
    in_range = _range(least, most)
    target: Any = to
    examples = of_numbers(numbers_between(least, most), as_scalar(to), lambda view: there(back(in_range(view))))
    return Conversion(
        Scalar(target), lambda value: in_range(there(value)), lambda view, _: back(in_range(view)), known=examples
    )


def _range(least: Fraction | None, most: Fraction | None) -> Callable[[Any], Any]:
    """Gives back a number in a range, and raises `Misfit` for others. NaN is in none."""
    stated = f"a number from {'-inf' if least is None else least} to {'inf' if most is None else most}"

    def check(value: Any) -> Any:
        if least is None and most is None:
            return value
        numbers = [value.min().item(), value.max().item()] if isinstance(value, np.ndarray) and value.size else [value]
        for number in [] if isinstance(value, np.ndarray) and not value.size else numbers:
            below = least is not None and not number >= least
            if below or (most is not None and not number <= most):
                raise Misfit(stated, str(number)[:40])
        return value

    return check


# --- single values


def _int_to_float(value: int) -> float:
    if abs(value) > EXACT:
        raise Misfit("an integer that a double holds exactly, up to 2**53", str(value))
    return float(value)


def _float_to_int(value: float) -> int:
    if not math.isfinite(value) or value != math.floor(value) or abs(value) > EXACT or _is_minus_zero(value):
        raise Misfit("a whole number up to 2**53", repr(value))
    return int(value)


def _is_minus_zero(value: float) -> bool:
    return value == 0 and math.copysign(1, value) < 0


def _str_to_int(value: str) -> int:
    if not _INTEGER.fullmatch(value) or not INT_MIN <= int(value) <= INT_MAX:
        raise Misfit("a whole number in digits", repr(value)[:40])
    return int(value)


def _float_to_str(value: float) -> str:
    if value != value and struct.pack(">d", value) != struct.pack(">d", math.nan):
        raise Misfit("a number, or the usual NaN", "a NaN with other bits")
    return repr(value)


def _str_to_float(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if repr(number) != value:
        raise Misfit('a number as repr writes it, such as "0.5"', repr(value)[:40])
    return number


def _int_to_bool(value: int) -> bool:
    if value not in (0, 1):
        raise Misfit("0 or 1", str(value))
    return bool(value)


_WAYS: dict[tuple[str, str], tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    ("int", "float"): (_int_to_float, _float_to_int),
    ("float", "int"): (_float_to_int, _int_to_float),
    ("int", "str"): (str, _str_to_int),
    ("str", "int"): (_str_to_int, str),
    ("float", "str"): (_float_to_str, _str_to_float),
    ("str", "float"): (_str_to_float, _float_to_str),
    ("bool", "int"): (int, _int_to_bool),
    ("int", "bool"): (_int_to_bool, int),
}


# --- arrays


def _of_arrays(kind: Array, to: str, least: Fraction | None, most: Fraction | None) -> Conversion:
    source = np.dtype(kind.scalar).name
    in_range = _range(least, most)

    def forward(array: Any) -> Any:
        return in_range(cast_array(array, to))

    def backward(view: Any, old: Any) -> Any:
        found = cast_array(in_range(view), source)
        return found if old is NOTHING else keep_unchanged(found, view, old, forward)

    floats = source in _MANTISSA and to in _MANTISSA and source != to
    narrow = min(source, to, key=lambda name: _MANTISSA.get(name, 0))
    rounds = FloatOperation(narrow) if floats else None
    view_kind = Array(DTYPES[to], kind.shape)
    known = of_numbers(numbers_between(least, most), as_array(view_kind), lambda view: forward(backward(view, NOTHING)))
    return Conversion(view_kind, forward, backward, forward, rounds, known)


def cast_array(array: Any, to: str) -> Any:
    """The numbers of an array in another dtype: floats are rounded to floats, all others must be the same numbers there. It
    raises `Misfit` where they are not, and where a float would become infinite.
    """
    dtype, given = ordered_as(to, array), array.dtype
    if dtype.itemsize == 1 and not given.isnative:
        raise Misfit("numbers in the byte order of this machine, as single bytes have none", given.str)
    if given.kind == "f" and dtype.kind != "f":
        _check_whole(array, given)
    if dtype.kind in "iu":
        _check_bounds(array, np.iinfo(dtype).min, np.iinfo(dtype).max, dtype)
    if dtype.kind == "b":
        _check_bounds(array, 0, 1, dtype)
    if dtype.kind == "f" and given.kind in "iu":
        most = 1 << _MANTISSA[dtype.name]
        _check_bounds(array, -most, most, dtype)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result = array.astype(dtype, order="K")
    if dtype.kind == given.kind == "f" and (np.isinf(result) & np.isfinite(array)).any():
        raise Misfit(f"a number that {dtype.name} can hold", "a larger one")
    return result


def _check_whole(array: Any, given: np.dtype[Any]) -> None:
    whole = np.isfinite(array) & (array == np.trunc(array)) & ~((array == 0) & np.signbit(array))
    if not whole.all():
        raise Misfit("whole numbers, and no -0.0", "other numbers")
    most = 1 << _MANTISSA[given.name]
    _check_bounds(array, -most, most, given)


def _check_bounds(array: Any, least: int, most: int, dtype: np.dtype[Any]) -> None:
    if array.size and (int(array.min()) < least or int(array.max()) > most):
        raise Misfit(f"numbers that {dtype.name} has exactly", "larger ones")
