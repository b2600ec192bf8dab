"""The rounding that a lens of floats declares: where two sides of a law need not be the same to the bit, and how far apart
they may lie. Functions say it as `Ulps`, programs by what their steps compute; here both are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from atdata.arguments import checked_map
from atdata.errors import UsageError
from atdata.samples import PackableSample, fields_of
from atdata.samples.codec import pack, unpack
from atdata.samples.kinds import DictOf, FieldType, ListOf, bare
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.npy import array_in, read_header

Tolerance: TypeAlias = Callable[[float, str], "Fraction | float"]
"""The distance that two finite numbers may have, by the larger magnitude of the two and the format of their field."""

_FORMATS = {"float16": (11, -14), "float32": (24, -126), "float64": (53, -1022)}  # bits of precision, least exponent


@dataclass(frozen=True)
class Ulps:
    """The distance that the two sides of PutGet or PutPut may have in a field of floats.

    Two numbers `a` and `b` are near if they have the same bits, if both are NaN, or if both are finite and

        |a - b| <= count * ulp(max(|a|, |b|, operand))

    in exact arithmetic, where `ulp(x)` is the distance from `x` to the next number further from zero in the format: 2 to the
    power of `max(floor(log2 x), least exponent) - (bits of precision - 1)`, and of zero the least number there is. An
    infinity is near to itself alone. The floats of an array are compared one by one, of a complex number both parts;
    everything else in the field must be the same to the bit, and so must dtype, shape and order of an array.

    Attributes:
        count: how many units in the last place.
        operand: the largest magnitude that takes part and is on neither side, such as an offset.
        format: `float16`, `float32` or `float64`: the narrowest in which numbers of the field were held; by default that of
            the field.

    Raises:
        UsageError: it says nothing of that kind.
    """

    count: int
    operand: float = 0.0
    format: str | None = None

    def __post_init__(self) -> None:
        whole = type(self.count) is int and self.count >= 0
        operand: object = self.operand
        number = isinstance(operand, int | float) and math.isfinite(operand)
        if not whole or not number or self.format not in (None, *_FORMATS):
            raise UsageError(
                "a rounding is malformed",
                expected=f"a whole number of ulps, a finite operand, and one of {', '.join(_FORMATS)}",
                actual=self,
                hint="Give ulps: 1, or Ulps(1, operand=32.0).",
            )

    def __call__(self, size: float, own: str) -> Fraction:
        """The distance that is allowed: see `Tolerance`."""
        return self.count * ulp(max(size, abs(self.operand)), self.format or own)

    def near(self, one: Any, other: Any) -> bool:
        """True if two stored values are near."""
        return are_near(self, one, other)


@dataclass(frozen=True)
class Tolerances:
    """The rounding of a lens, on both of its sides.

    Attributes:
        source: of fields of the source, by name or path.
        view: of fields of the view.
        finite: the fields on either side in which finite numbers must not become infinite.
    """

    source: Mapping[str, Tolerance] = field(default_factory=dict)
    view: Mapping[str, Tolerance] = field(default_factory=dict)
    finite: frozenset[str] = frozenset()

    @classmethod
    def declared(cls, rounding: Mapping[str, Ulps | int]) -> Tolerances:
        """The rounding that somebody declares, where a number is one of ulps.

        Raises:
            ArgumentTypeError: it is no map.
            UsageError: a rounding is malformed.
        """
        given = checked_map(rounding, "rounding", "Give ulps by field: {'x': 1}.")
        each = {name: found if isinstance(found, Ulps) else Ulps(found) for name, found in given.items()}
        return cls(each, each, frozenset(each))


def are_near(tolerance: Tolerance, one: Any, other: Any) -> bool:
    """True if two stored values are the same to the bit, but for floats that lie as near as a tolerance says."""
    if isinstance(one, float) and isinstance(other, float):
        return pack({"": one}) == pack({"": other}) or _close(tolerance, one, other, "float64")
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(are_near(tolerance, a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return [*one] == [*other] and all(are_near(tolerance, value, other[key]) for key, value in one.items())
    if isinstance(one, bytes) and isinstance(other, bytes) and one != other:
        return _near_arrays(tolerance, one, other)
    return pack({"": one}) == pack({"": other})


def _near_arrays(tolerance: Tolerance, one: bytes, other: bytes) -> bool:
    first, second = _floats(one), _floats(other)
    if first is None or second is None or read_header(one) != read_header(other) or first.dtype.name not in _FORMATS:
        return False
    unsigned = f"u{first.itemsize}"
    places = np.flatnonzero(first.view(unsigned) != second.view(unsigned))
    pairs = zip(first[places].tolist(), second[places].tolist(), strict=True)
    return all(_close(tolerance, a, b, first.dtype.name) for a, b in pairs)


def _close(tolerance: Tolerance, one: float, other: float, own: str) -> bool:
    if math.isnan(one) and math.isnan(other):
        return True
    if not (math.isfinite(one) and math.isfinite(other)):
        return False
    return abs(Fraction(one) - Fraction(other)) <= tolerance(max(abs(one), abs(other)), own)


def ulp(value: float, name: str = "float64") -> Fraction:
    """The distance from a finite number to the next that is further from zero, in a format."""
    precision, least = _FORMATS[name]
    exponent = max(math.frexp(value)[1] - 1, least) if value else least
    return Fraction(2) ** (exponent - precision + 1)


def alike(sample_type: type, tolerances: Mapping[str, Tolerance], one: bytes, other: bytes) -> bool:
    """True if two packed samples of a type are the same to the bit, but for declared rounding. See `near`."""
    if one == other or not tolerances:
        return one == other
    fields = fields_of(sample_type) if issubclass(sample_type, PackableSample) else ()
    return near(fields, tolerances, unpack(one), unpack(other))


def near(
    fields: Sequence[Field], tolerances: Mapping[str, Tolerance], one: Mapping[str, Any], other: Mapping[str, Any]
) -> bool:
    """True if two samples, as stored maps, are the same to the bit but for declared rounding.

    Args:
        fields: of their type.
        tolerances: of fields by name; a field of a sample in a field, or in a list or dict of them, by its path: `pose.x`.
        one, other: the samples.
    """
    kinds = {part.name: part.type for part in fields}
    return [*one] == [*other] and all(
        _near(kinds.get(name), name, tolerances, value, other[name]) for name, value in one.items()
    )


def _near(kind: FieldType | None, path: str, tolerances: Mapping[str, Tolerance], one: Any, other: Any) -> bool:
    if (found := tolerances.get(path)) is not None:
        return are_near(found, one, other)
    inner = None if kind is None else bare(kind)
    if type(one) is type(other) and any(name.startswith(f"{path}.") for name in tolerances):
        if isinstance(inner, SampleOf) and isinstance(one, dict):
            kinds = {part.name: part.type for part in inner.fields}
            return [*one] == [*other] and all(
                _near(kinds.get(name), f"{path}.{name}", tolerances, value, other[name]) for name, value in one.items()
            )
        if isinstance(inner, ListOf) and isinstance(one, list):
            items = zip(one, other, strict=False)
            return len(one) == len(other) and all(_near(inner.inner, path, tolerances, a, b) for a, b in items)
        if isinstance(inner, DictOf) and isinstance(one, dict):
            return [*one] == [*other] and all(_near(inner.inner, path, tolerances, one[key], other[key]) for key in one)
    return pack({"": one}) == pack({"": other})


def values_in(paths: Iterable[str], stored: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the values of a sample in some fields, by name or path."""
    for path in paths:
        yield from _at(stored, path.split("."))


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _at(item, path)


def has_infinity(value: Any) -> bool:
    """True if a stored value has an infinity in it."""
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, Mapping | list):
        return any(map(has_infinity, value.values() if isinstance(value, Mapping) else value))
    floats = _floats(value) if isinstance(value, bytes) else None
    return floats is not None and bool(np.isinf(floats).any())


def _floats(data: bytes) -> np.ndarray[Any, Any] | None:
    """The floats in a stored array, in this machine's order of bytes; `None` where bytes are something else."""
    array = array_in(data)
    if array is None or array.dtype.kind not in "fc":
        return None
    flat = array.reshape(-1, order="A").astype(array.dtype.newbyteorder("="))
    return flat.view(f"f{flat.itemsize // 2}") if array.dtype.kind == "c" else flat
