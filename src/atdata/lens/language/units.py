"""Exact conversions between units, of those codes of UCUM (ucum.org) that metric prefixes and whole definitions join."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from atdata.lens.language.constants import LARGEST

_PREFIXES = {
    "Y": 24,
    "Z": 21,
    "E": 18,
    "P": 15,
    "T": 12,
    "G": 9,
    "M": 6,
    "k": 3,
    "h": 2,
    "da": 1,
    "d": -1,
    "c": -2,
    "m": -3,
    "u": -6,
    "n": -9,
    "p": -12,
    "f": -15,
    "a": -18,
    "z": -21,
    "y": -24,
}
_METRIC = {
    **{code: (Fraction(1), code) for code in ("m", "s", "g", "A", "K", "mol", "cd", "rad", "sr", "Hz", "N", "J", "W")},
    **{code: (Fraction(1), code) for code in ("C", "F", "V", "Ohm", "S", "Wb", "T", "H", "lm", "lx", "Bq", "Gy", "Sv")},
    **{code: (Fraction(1), code) for code in ("L", "eV", "u", "bit", "Pa")},
    "l": (Fraction(1), "L"),
    "t": (Fraction(10**6), "g"),
    "bar": (Fraction(10**5), "Pa"),
    "By": (Fraction(8), "bit"),
}
_OTHER = {
    "min": (Fraction(60), "s"),
    "h": (Fraction(3600), "s"),
    "d": (Fraction(86400), "s"),
    "Ao": (Fraction(1, 10**10), "m"),
    "%": (Fraction(1, 100), "1"),
    "1": (Fraction(1), "1"),
}
"""Units that take no prefix. `deg` is none of them: what it has in `rad` is no decimal."""

_MADE_OF = {
    "Hz": "/s",
    "Bq": "/s",
    "N": "g.m/s2",
    "Pa": "g/m/s2",
    "J": "g.m2/s2",
    "eV": "g.m2/s2",
    "W": "g.m2/s3",
    "C": "A.s",
    "V": "g.m2/s3/A",
    "F": "A2.s4/g/m2",
    "Ohm": "g.m2/s3/A2",
    "S": "A2.s3/g/m2",
    "H": "g.m2/s2/A2",
    "Wb": "g.m2/s2/A",
    "T": "g/s2/A",
    "lm": "cd",
    "lx": "cd/m2",
    "Gy": "m2/s2",
    "Sv": "m2/s2",
    "L": "m3",
    "u": "g",
    "Cel": "K",
    "rad": "1",
    "sr": "1",
    "mol": "1",
    "bit": "1",
}
"""The quantity of each unit that is none of the base units, whatever the factor."""

_ZERO_OF_CELSIUS = Fraction(27315, 100)
_PART = re.compile(r"([./]?)(?:([A-Za-z%]+)(-?[1-9])?|1)(?!\d)")


def conversion(one: str, other: str) -> tuple[Fraction, Fraction] | None:
    """The factor and the offset that numbers of one unit take to become those of another; `None` where none is known."""
    if (one, other) == ("Cel", "K"):
        return Fraction(1), _ZERO_OF_CELSIUS
    if (one, other) == ("K", "Cel"):
        return Fraction(1), -_ZERO_OF_CELSIUS
    here, there = _parsed(one), _parsed(other)
    if here is None or there is None or here[1] != there[1]:
        return None
    return here[0] / there[0], Fraction(0)


def are_apart(one: str, other: str) -> bool:
    """True of two units that are known to be of different quantities: no factor makes numbers of one those of the other."""
    here, there = _quantity(one), _quantity(other)
    return here is not None and there is not None and here != there


def _quantity(code: str) -> Counter[str] | None:
    """The base units of a code, with their exponents; `None` for what is not known."""
    parsed = (Fraction(1), Counter({code: 1})) if code in _MADE_OF else _parsed(code)
    if parsed is None:
        return None
    found = Counter[str]()
    for unit, exponent in parsed[1].items():
        made = _parsed(_MADE_OF[unit]) if unit in _MADE_OF else None
        for base, power in (made[1] if made else {unit: 1}).items():
            found[base] += power * exponent
    return Counter({base: power for base, power in found.items() if power})


def decimal_of(number: Fraction) -> int | str | None:
    """A number as programs write it; `None` where no decimal is exact, such as for 1/60."""
    if number.denominator == 1 and abs(number.numerator) <= LARGEST:
        return number.numerator
    with localcontext(Context(prec=100)):
        found = (Decimal(number.numerator) / Decimal(number.denominator)).normalize()
    if Fraction(found) != number:
        return None
    return format(found, "f") if -12 <= found.adjusted() <= 15 else format(found, "e").replace("e+", "e")


def is_as_good(given: Fraction, number: Fraction) -> bool:
    """True if a number is another, or as near to it as doubles are where no decimal is exact."""
    return given == number or (decimal_of(number) is None and abs(given - number) <= abs(number) / 2**53)


def shown_decimal(number: Fraction) -> int | str:
    """A number as programs write it: where no decimal is exact, one that is as good."""
    exact = decimal_of(number)
    return str(Context(prec=17).divide(number.numerator, number.denominator)) if exact is None else exact


def _parsed(code: str) -> tuple[Fraction, Counter[str]] | None:
    """The factor of a code to the units it is made of, and these with their exponents; `None` for what is not known."""
    factor, units, at = Fraction(1), Counter[str](), 0
    while at < len(code):
        part = _PART.match(code, at)
        atom = _atom(part[2] or "1") if part and (part[1] != "" or at == 0) else None
        if part is None or atom is None:
            return None
        exponent = int(part[3] or 1) * (-1 if part[1] == "/" else 1)
        factor *= atom[0] ** exponent
        units[atom[1]] += exponent
        at = part.end()
    return factor, Counter({unit: exponent for unit, exponent in units.items() if exponent and unit != "1"})


def _atom(code: str) -> tuple[Fraction, str] | None:
    if found := _OTHER.get(code) or _METRIC.get(code):
        return found
    for prefix, power in _PREFIXES.items():
        if code.startswith(prefix) and (rest := _METRIC.get(code.removeprefix(prefix))):
            return Fraction(10) ** power * rest[0], rest[1]
    return None
