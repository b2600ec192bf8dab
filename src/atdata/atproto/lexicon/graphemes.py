"""Counting grapheme clusters: what `maxGraphemes` and `minGraphemes` of lexicons count.

The extended grapheme clusters of UAX #29, over the character categories of `unicodedata`. The property files of
Unicode give each character a class; here the classes are derived from the categories plus the exceptions written out
below, which agrees on the characters of the Unicode version that Python brings. Two classes are taken more widely than
in the files, without effect on text in use: pictographs (which only matters next to a zero width joiner), and the
letters of Indic scripts that join after a virama.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from enum import Enum, auto
from functools import lru_cache


class _Kind(Enum):
    OTHER = auto()
    CR = auto()
    LF = auto()
    CONTROL = auto()
    EXTEND = auto()
    LINKER = auto()  # an Indic virama: extends, and joins the consonant after it
    CONSONANT = auto()  # an Indic letter that can be joined
    SPACING = auto()
    PREPEND = auto()
    JOINER = auto()
    FLAG = auto()
    PICTOGRAPH = auto()
    L = auto()
    V = auto()
    T = auto()
    LV = auto()
    LVT = auto()


_BREAKS_ALWAYS = {_Kind.CR, _Kind.LF, _Kind.CONTROL}
_JOINS_ALWAYS = {_Kind.EXTEND, _Kind.LINKER, _Kind.SPACING, _Kind.JOINER}
_HANGUL = {
    _Kind.L: {_Kind.L, _Kind.V, _Kind.LV, _Kind.LVT},
    _Kind.LV: {_Kind.V, _Kind.T},
    _Kind.V: {_Kind.V, _Kind.T},
    _Kind.LVT: {_Kind.T},
    _Kind.T: {_Kind.T},
}

# Ranges whose class does not follow from the category, first and last character, in hex.
_EXCEPTIONS = {
    _Kind.LF: "a",
    _Kind.CR: "d",
    _Kind.PICTOGRAPH: """
        a9 ae 203c 2049 2122 2139 2190-21ff 2300-23ff 24c2 25a0-27bf 2934-2935 2b00-2bff 3030 303d 3297-3299
        1f000-1f1e5 1f200-1f3fa 1f400-1faff 1fc00-1fffd
    """,
    _Kind.PREPEND: "600-605 6dd 70f 890-891 8e2 d4e 110bd 110cd 111c2-111c3 1193f 11941 11a84-11a89 11d46",
    _Kind.LINKER: "94d 9cd acd b4d c4d d4d",
    _Kind.SPACING: "e33 eb3 200c",  # the non-joiner stands with what is before it, and keeps consonants apart
    _Kind.OTHER: """
        102b-102c 1038 1062-1064 1067-106d 1083 1087-108c 108f 109a-109c 1a61 1a63-1a64 aa7b aa7d 11720-11721
    """,
    _Kind.L: "1100-115f a960-a97c",
    _Kind.V: "1160-11a7 d7b0-d7c6",
    _Kind.T: "11a8-11ff d7cb-d7fb",
    _Kind.JOINER: "200d",
    _Kind.EXTEND: "ff9e-ff9f 1f3fb-1f3ff e0020-e007f",
    _Kind.FLAG: "1f1e6-1f1ff",
}
# Devanagari, Bengali, Gujarati, Oriya, Telugu, Malayalam: the consonants.
_CONSONANTS_OF_SCRIPTS = """
    915-939 958-95f 978-97f 995-9b9 9dc-9df 9f0-9f1 a95-ab9 af9 b15-b39 b5c-b5f b71 c15-c39 c58-c5a d15-d3a
"""


def _ranges(text: str) -> list[tuple[int, int]]:
    """The ranges in a text, each as its first and last character."""
    ends = (each.partition("-") for each in text.split())
    return [(int(first, 16), int(last or first, 16)) for first, _, last in ends]


_RANGES = sorted((first, last, kind) for kind, text in _EXCEPTIONS.items() for first, last in _ranges(text))
_STARTS = [first for first, _, _ in _RANGES]
_CONSONANTS = _ranges(_CONSONANTS_OF_SCRIPTS)
_KIND_OF_CATEGORY = {
    **dict.fromkeys(("Cc", "Cf", "Zl", "Zp"), _Kind.CONTROL),
    **dict.fromkeys(("Mn", "Me"), _Kind.EXTEND),
    "Mc": _Kind.SPACING,
}


def grapheme_count(text: str) -> int:
    """The number of extended grapheme clusters in a text (UAX #29, 3.1.1)."""
    if text.isascii():
        return len(text) - text.count("\r\n")
    count = 0
    state = _State()
    for character in text:
        count += not state.joins(_kind(character))
    return count


class _State:
    """The state of the rules: what they must remember of the characters before."""

    def __init__(self) -> None:
        self.previous = _Kind.CONTROL
        self.pictograph = False  # a pictograph, extended or not, and perhaps a joiner
        self.odd_flags = False
        self.consonant = self.linked = False  # a consonant, extended or not; a virama since

    def joins(self, kind: _Kind) -> bool:
        """True if a character belongs to the cluster of the one before it. The character is remembered."""
        joined = self._joined(kind)
        extends = kind in _JOINS_ALWAYS and kind is not _Kind.SPACING
        self.pictograph = kind is _Kind.PICTOGRAPH or (self.pictograph and extends)
        self.odd_flags = kind is _Kind.FLAG and not self.odd_flags
        self.linked = self.consonant and (kind is _Kind.LINKER or (self.linked and extends))
        self.consonant = kind is _Kind.CONSONANT or (self.consonant and extends)
        self.previous = kind
        return joined

    def _joined(self, kind: _Kind) -> bool:
        previous = self.previous
        if previous is _Kind.CR:
            return kind is _Kind.LF
        if previous in _BREAKS_ALWAYS or kind in _BREAKS_ALWAYS:
            return False
        if kind in _JOINS_ALWAYS or previous is _Kind.PREPEND:
            return True
        if kind is _Kind.PICTOGRAPH:
            return previous is _Kind.JOINER and self.pictograph
        if kind is _Kind.FLAG:
            return previous is _Kind.FLAG and self.odd_flags
        if kind is _Kind.CONSONANT:
            return self.linked
        return kind in _HANGUL.get(previous, ())


@lru_cache(maxsize=4096)
def _kind(character: str) -> _Kind:
    code = ord(character)
    first, last, kind = _RANGES[bisect_right(_STARTS, code) - 1] if code >= _STARTS[0] else _RANGES[0]
    if first <= code <= last:
        return kind
    if 0xAC00 <= code <= 0xD7A3:
        return _Kind.LVT if (code - 0xAC00) % 28 else _Kind.LV
    if any(first <= code <= last for first, last in _CONSONANTS) and unicodedata.category(character) == "Lo":
        return _Kind.CONSONANT
    return _KIND_OF_CATEGORY.get(unicodedata.category(character), _Kind.OTHER)
