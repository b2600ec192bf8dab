"""The likeness of names of fields: how probable it is that one became the other."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

ALIKE = 0.6
"""The likeness of names that are alike, as `difflib.get_close_matches` has it."""

_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")
_BEGINNING = 3


def likeness(one: str, other: str) -> float:
    """A number from 0 to 1. Names in as many words are as alike as their least alike words: `mz_min` is not `mz_max`. Those
    that differ in a number are not alike: `x1` is not `x2`.
    """
    here, there = words(one), words(other)
    if not here or not there:
        return float(one == other)
    if _numbers(here) and _numbers(there) and _numbers(here) != _numbers(there):
        return 0.0
    if "".join(here) == "".join(there):
        return 1.0
    if len(here) == len(there):
        return min(map(_of_words, here, there))
    if {*here} <= {*there} or {*there} <= {*here}:
        return 0.9
    return _of_words("".join(here), "".join(there))


def words(name: str) -> list[str]:
    """The words of a name, in small letters: of `peakWidth` and of `peak_width` the same."""
    return [word.casefold() for word in _WORD.findall(name)]


def _numbers(found: list[str]) -> list[str]:
    return [word for word in found if word.isdigit()]


def _of_words(one: str, other: str) -> float:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) >= _BEGINNING and longer.startswith(shorter):
        return 0.9
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
