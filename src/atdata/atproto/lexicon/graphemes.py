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

# Ranges whose class does not follow from the category, first and last character; in order.
_RANGES: tuple[tuple[int, int, _Kind], ...] = (
    (0x000A, 0x000A, _Kind.LF),
    (0x000D, 0x000D, _Kind.CR),
    (0x00A9, 0x00A9, _Kind.PICTOGRAPH),
    (0x00AE, 0x00AE, _Kind.PICTOGRAPH),
    (0x0600, 0x0605, _Kind.PREPEND),
    (0x06DD, 0x06DD, _Kind.PREPEND),
    (0x070F, 0x070F, _Kind.PREPEND),
    (0x0890, 0x0891, _Kind.PREPEND),
    (0x08E2, 0x08E2, _Kind.PREPEND),
    (0x094D, 0x094D, _Kind.LINKER),
    (0x09CD, 0x09CD, _Kind.LINKER),
    (0x0ACD, 0x0ACD, _Kind.LINKER),
    (0x0B4D, 0x0B4D, _Kind.LINKER),
    (0x0C4D, 0x0C4D, _Kind.LINKER),
    (0x0D4D, 0x0D4D, _Kind.LINKER),
    (0x0D4E, 0x0D4E, _Kind.PREPEND),
    (0x0E33, 0x0E33, _Kind.SPACING),
    (0x0EB3, 0x0EB3, _Kind.SPACING),
    (0x102B, 0x102C, _Kind.OTHER),
    (0x1038, 0x1038, _Kind.OTHER),
    (0x1062, 0x1064, _Kind.OTHER),
    (0x1067, 0x106D, _Kind.OTHER),
    (0x1083, 0x1083, _Kind.OTHER),
    (0x1087, 0x108C, _Kind.OTHER),
    (0x108F, 0x108F, _Kind.OTHER),
    (0x109A, 0x109C, _Kind.OTHER),
    (0x1100, 0x115F, _Kind.L),
    (0x1160, 0x11A7, _Kind.V),
    (0x11A8, 0x11FF, _Kind.T),
    (0x1A61, 0x1A61, _Kind.OTHER),
    (0x1A63, 0x1A64, _Kind.OTHER),
    (0x200C, 0x200C, _Kind.SPACING),  # the non-joiner stands with what is before it, and keeps consonants apart
    (0x200D, 0x200D, _Kind.JOINER),
    (0x203C, 0x203C, _Kind.PICTOGRAPH),
    (0x2049, 0x2049, _Kind.PICTOGRAPH),
    (0x2122, 0x2122, _Kind.PICTOGRAPH),
    (0x2139, 0x2139, _Kind.PICTOGRAPH),
    (0x2190, 0x21FF, _Kind.PICTOGRAPH),
    (0x2300, 0x23FF, _Kind.PICTOGRAPH),
    (0x24C2, 0x24C2, _Kind.PICTOGRAPH),
    (0x25A0, 0x27BF, _Kind.PICTOGRAPH),
    (0x2934, 0x2935, _Kind.PICTOGRAPH),
    (0x2B00, 0x2BFF, _Kind.PICTOGRAPH),
    (0x3030, 0x3030, _Kind.PICTOGRAPH),
    (0x303D, 0x303D, _Kind.PICTOGRAPH),
    (0x3297, 0x3299, _Kind.PICTOGRAPH),
    (0xA960, 0xA97C, _Kind.L),
    (0xAA7B, 0xAA7B, _Kind.OTHER),
    (0xAA7D, 0xAA7D, _Kind.OTHER),
    (0xD7B0, 0xD7C6, _Kind.V),
    (0xD7CB, 0xD7FB, _Kind.T),
    (0xFF9E, 0xFF9F, _Kind.EXTEND),
    (0x110BD, 0x110BD, _Kind.PREPEND),
    (0x110CD, 0x110CD, _Kind.PREPEND),
    (0x111C2, 0x111C3, _Kind.PREPEND),
    (0x11720, 0x11721, _Kind.OTHER),
    (0x1193F, 0x1193F, _Kind.PREPEND),
    (0x11941, 0x11941, _Kind.PREPEND),
    (0x11A84, 0x11A89, _Kind.PREPEND),
    (0x11D46, 0x11D46, _Kind.PREPEND),
    (0x1F000, 0x1F1E5, _Kind.PICTOGRAPH),
    (0x1F1E6, 0x1F1FF, _Kind.FLAG),
    (0x1F200, 0x1F3FA, _Kind.PICTOGRAPH),
    (0x1F3FB, 0x1F3FF, _Kind.EXTEND),
    (0x1F400, 0x1FAFF, _Kind.PICTOGRAPH),
    (0x1FC00, 0x1FFFD, _Kind.PICTOGRAPH),
    (0xE0020, 0xE007F, _Kind.EXTEND),
)
_STARTS = [first for first, _, _ in _RANGES]

# Devanagari, Bengali, Gujarati, Oriya, Telugu, Malayalam: first and last consonant.
_CONSONANTS = (
    (0x0915, 0x0939),
    (0x0958, 0x095F),
    (0x0978, 0x097F),
    (0x0995, 0x09B9),
    (0x09DC, 0x09DF),
    (0x09F0, 0x09F1),
    (0x0A95, 0x0AB9),
    (0x0AF9, 0x0AF9),
    (0x0B15, 0x0B39),
    (0x0B5C, 0x0B5F),
    (0x0B71, 0x0B71),
    (0x0C15, 0x0C39),
    (0x0C58, 0x0C5A),
    (0x0D15, 0x0D3A),
)
_KIND_OF_CATEGORY = {
    "Cc": _Kind.CONTROL,
    "Cf": _Kind.CONTROL,
    "Zl": _Kind.CONTROL,
    "Zp": _Kind.CONTROL,
    "Mn": _Kind.EXTEND,
    "Me": _Kind.EXTEND,
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
        """True if a character belongs to the cluster of the one before it. Takes note of the character."""
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
