"""Strangers' text made harmless to look at: on a terminal, in a bar, in an error's message."""

from __future__ import annotations

import re
import unicodedata

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SPACES = frozenset("\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
# Letters and marks that Unicode lets nobody see (Default_Ignorable_Code_Point); all else that hides is not printable.
_HIDDEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_COMMON = re.compile(r"[ -~]*")


def plain(text: object, most: int | None = None) -> str:
    """Text in one line, in which every character shows: what does not is written as an escape (`\\\\n`, `\\\\u202e`).

    Shown is what Unicode calls a letter, a mark on one, a number, a sign or a space. Escaped is everything else:
    controls, what turns the direction of text, what has no width, what is private or not assigned, line feed and tab.

    Args:
        text: somebody's.
        most: characters to give; longer text ends in `…`.
    """
    raw = str(text)
    cut = raw if most is None else raw[: most + 1]
    shown = cut if _COMMON.fullmatch(cut) else "".join(map(_shown, cut))
    if shown and unicodedata.category(shown[0]) in ("Mn", "Mc", "Me"):  # it would change what stands before the text
        shown = _escape(shown[0]) + shown[1:]
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


def _shown(character: str) -> str:
    code = ord(character)
    seen = character.isprintable() and character not in _HIDDEN and not any(code in some for some in _SELECTORS)
    return character if seen or character in _SPACES else _escape(character)


def _escape(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}")
