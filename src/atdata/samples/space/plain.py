"""The spaces of text, numbers, truth values and bytes, of what else is stored as text, and of any plain value."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Context, Decimal
from typing import Any

from atdata.samples.kinds.choices import ClassLabel, EnumOf, LiteralOf
from atdata.samples.kinds.scalars import INT_MAX, INT_MIN, Scalar
from atdata.samples.space.chance import Chance
from atdata.samples.space.space import Space

_TEXTS = (
    *(
        "",
        "a",
        " ",
        "a" * 1000 + "b",
        "A",
        "0",
        "-1",
        "1.5",
        "\0",
        "\n",
        "é",
        "e\u0301",
        "\u212b",
        "ß",
        "İ",
        "😀",
        "\ufeff",
        "\u202e",
    ),
    *("a b", "a b c", "a-b", "a_b", "a|b", "a\tb", "a;b", "a=b", "a, b", "a.b.c"),
    *("a\0", " a ", "\r\n", "a,b", "a:b", "a/b", "None", "nan", "\u1112\u1161\u11ab", "\U0010ffff", "a" * 100),
)
_LETTERS = "abcxyzABC019 _-.,:;/\\'\"\n\t\0éßñ\u0301\u0308ΩЖ中한😀\u200d\u202e\uffff\U0001f1e6"
_WORDS, _BETWEEN = (
    ("a", "b", "Ada", "éa", "10", "", "x y"),
    (" ", " ", ",", "-", "_", "/", ":", ";", "\n", "\t", "|", ", "),
)
_POWERS = (7, 8, 15, 16, 31, 32, 53)
_INTS = (
    *(0, 1, -1, 2, 10),
    *(number for power in _POWERS for number in ((1 << power) - 1, 1 << power, (1 << power) + 1, -(1 << power) - 1)),
    *((1 << 63) - 1, INT_MIN, 1 << 63, INT_MAX),
)
_EXPONENT, _FRACTION = 11, 52
_QUIET = 1 << (_FRACTION - 1)


def float_edges(exponent: int, fraction: int) -> tuple[int, ...]:
    """The bits of the boundary values of an IEEE float with so many bits of exponent and of fraction, the simplest first."""
    sign, top, one = 1 << (exponent + fraction), (1 << exponent) - 1, ((1 << (exponent - 1)) - 1) << fraction
    infinite, quiet = top << fraction, 1 << (fraction - 1)
    positive = (one, one - (1 << fraction), one | 1, 1, 1 << fraction, infinite - 1, infinite, infinite | quiet)
    return (0, sign, *(bits for value in positive for bits in (value, sign | value)), infinite | quiet | 1)


def _float(bits: int) -> float:
    value: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    return value


def _draw_int(chance: Chance) -> int:
    size = 1 + chance.below(64)
    value = chance.below(1 << size)
    return max(-1 - value, INT_MIN) if chance.below(2) else value


def _draw_float(chance: Chance) -> float:
    """Any bits, a small integer or a decimal fraction. What is a NaN is a quiet one: not every machine keeps another."""
    way = chance.below(4)
    if way < 2:
        value = _float(chance.below(1 << 64))
        bits = struct.unpack(">Q", struct.pack(">d", value))[0]
        return _float(bits | _QUIET) if value != value else value
    return (chance.below(2001) - 1000) / (1 if way == 2 else 100)


def _draw_text(chance: Chance) -> str:
    if not chance.below(4):  # what lenses split
        return chance.pick(_BETWEEN).join(chance.pick(_WORDS) for _ in range(2 + chance.below(2)))
    letters = [chance.pick(_LETTERS) for _ in range(chance.below(9))]
    return "".join(chr(chance.below(0xD800)) if not chance.below(8) else letter for letter in letters)


SCALARS = {
    "str": Space(_TEXTS, _draw_text),
    "int": Space(tuple(dict.fromkeys(_INTS)), _draw_int),
    "float": Space(
        (*map(_float, float_edges(_EXPONENT, _FRACTION)), 0.1, 1 / 3, 1e16, 2.0**53 + 2, 1e300, -1e-300), _draw_float
    ),
    "bool": Space((False, True), lambda chance: bool(chance.below(2))),
    "bytes": Space(
        (b"", b"\0", b"a", bytes(range(256)) * 4, b"\xff", b"a\0", b"\r\n", b"\x80abc", b"\x93NUMPY"),
        lambda chance: chance.bytes(chance.below(9)),
    ),
}


def scalars(kind: Scalar) -> Space:
    """The space of a scalar."""
    return SCALARS[kind.kind]


def _draw_plain(chance: Chance, depth: int = 0) -> Any:
    way = chance.below(8 if depth < 2 else 6)
    if way == 0:
        return None
    if way < 6:
        return SCALARS[("str", "int", "float", "bool", "bytes")[way - 1]].any(chance)
    items = [_draw_plain(chance, depth + 1) for _ in range(chance.below(4))]
    return items if way == 6 else {_draw_text(chance): item for item in items}


PLAIN = Space(
    (
        *(None, False, True, 0, 1, 0.0, -0.0, 1.0, "", "a", b"", b"a", [], {}, [None], {"": None}),
        *({"b": 1, "a": 2}, {"a": [1.0, {"b": [True]}]}, [1, 1.0, True, "1", b"1"], 1 << 53, (1 << 53) + 1, INT_MAX),
        *(INT_MIN, float("inf"), float("nan"), 0.1, "e\u0301", "😀", "\0", b"\xff", {"é": 1, "e\u0301": 2}),
    ),
    _draw_plain,
)
"""The space of plain values."""


def choices(values: tuple[Any, ...]) -> Space:
    """The space of some values."""
    return Space(values[:64], lambda chance: chance.pick(values))


def members(kind: EnumOf) -> Space:
    """The space of an enumeration: its values."""
    return choices(tuple(value for _, value in kind.members))


def literals(kind: LiteralOf) -> Space:
    """The space of literals."""
    return choices(kind.values)


def labels(kind: ClassLabel) -> Space:
    """The space of numbers of classes."""
    last = len(kind.names) - 1
    return Space(tuple(dict.fromkeys((0, last, *range(min(64, last))))), lambda chance: chance.below(last + 1))


# Text

_OFFSETS = ("+00:00", "+05:30", "-11:00", "+23:59", "-23:59", "+01:00:01")
_DAYS = ("2000-01-01", "1970-01-01", "0001-01-01", "9999-12-31", "2000-02-29", "1969-12-31", "1900-02-28")
_HOURS = ("00:00:00", "23:59:59", "12:34:56", "00:00:00.000001", "23:59:59.999999")
_MAX_DAYS = 999_999_999


def _draw_offset(chance: Chance) -> str:
    if chance.below(2):
        return ""
    minutes = chance.below(1440)
    return f"{chance.pick('+-') if minutes else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _draw_day(chance: Chance) -> str:
    return (dt.date(2, 1, 1) + dt.timedelta(chance.below(3_651_328))).isoformat()


def _draw_hour(chance: Chance) -> str:
    fraction = f".{1 + chance.below(999_999):06}" if chance.below(2) else ""
    return f"{chance.below(24):02}:{chance.below(60):02}:{chance.below(60):02}{fraction}"


DATETIMES = Space(
    (
        *(f"{day}T{_HOURS[0]}" for day in _DAYS),
        *(f"2000-01-01T{hour}" for hour in _HOURS[1:]),
        *(f"2000-01-01T00:00:00{offset}" for offset in _OFFSETS),
        *("2026-03-29T02:30:00+01:00", "2026-10-25T02:30:00.000001+02:00", "9999-12-31T23:59:59.999999"),
    ),
    lambda chance: f"{_draw_day(chance)}T{_draw_hour(chance)}{_draw_offset(chance)}",
)
DATES = Space(_DAYS, _draw_day)
TIMES = Space(
    (*_HOURS, *(f"00:00:00{offset}" for offset in _OFFSETS), "23:59:59.999999-11:00"),
    lambda chance: f"{_draw_hour(chance)}{_draw_offset(chance)}",
)


def _draw_duration(chance: Chance) -> str:
    whole = chance.below(1 << (1 + chance.below(36)))
    fraction = f".{1 + chance.below(999_999):06}" if chance.below(2) else ""
    return f"{'-' if (whole or fraction) and chance.below(2) else ''}PT{whole}{fraction}S"


DURATIONS = Space(
    (
        *("PT0S", "PT1S", "-PT1S", "PT0.000001S", "-PT0.000001S", "PT86400S", "PT9007199254.740993S"),
        f"PT{_MAX_DAYS * 86_400 + 86_399}.999999S",
        f"-PT{_MAX_DAYS * 86_400}S",
    ),
    _draw_duration,
)


def _draw_decimal(chance: Chance) -> str:
    digits = tuple(chance.below(10) for _ in range(1 + chance.below(30)))
    return Context(capitals=1).to_sci_string(Decimal((chance.below(2), digits, chance.below(41) - 20)))


DECIMALS = Space(  # no signalling NaN: to compare one is an error, which says nothing of a lens
    (
        *("0", "1", "-1", "-0", "0.00", "1.0", "0.1", "1E+3", "1000", "0.3333333333333333333333333333333333", "9" * 40),
        *("1E-6176", "9E+6144", "Infinity", "-Infinity", "NaN", "-NaN", "NaN12"),
    ),
    _draw_decimal,
)


def _draw_uuid(chance: Chance) -> str:
    digits = chance.bytes(16).hex()
    return "-".join((digits[:8], digits[8:12], f"4{digits[13:16]}", f"8{digits[17:20]}", digits[20:]))


UUIDS = Space(
    (
        *("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"),
        *("ffffffff-ffff-ffff-ffff-ffffffffffff", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ),
    _draw_uuid,
)
