"""The order of versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

SEMVER = re.compile(
    r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"
    r"(?:-((?:0|[1-9]\d{0,8}|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d{0,8}|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)

_Part: TypeAlias = tuple[int, int, str]


@dataclass(frozen=True, order=True)
class Version:
    """A version, ordered by precedence (Semantic Versioning 2.0.0, section 11).

    No version at all is the lowest, text that is no semantic version comes next, in the order of the text.
    """

    kind: int
    numbers: tuple[int, ...] = ()
    final: bool = False
    pre: tuple[_Part, ...] = ()
    text: str = ""

    @property
    def key(self) -> bytes:
        """Bytes that sort as versions do, for databases."""
        if self.kind < 2:
            return f"{self.kind}{self.text}".encode()
        numbers = "".join(f"{number:09d}" for number in self.numbers)
        # No identifier has a "!" in it, or anything before it; every final version comes after "~".
        pre = "".join(f"{kind}{number:09d}{word}!" for kind, number, word in self.pre)
        return f"2{numbers}{'~' if self.final else pre}".encode()

    @classmethod
    def parse(cls, text: str | None) -> Version:
        """The version that some text is."""
        if text is None:
            return cls(0)
        match = SEMVER.fullmatch(text)
        if match is None:
            return cls(1, text=text)
        pre = tuple(_part(part) for part in match[4].split(".")) if match[4] else ()
        return cls(2, tuple(int(match[i]) for i in (1, 2, 3)), not pre, pre)


def _part(part: str) -> _Part:
    """A pre-release identifier: numbers come before words, numbers by value, words by text."""
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def is_semver(text: str) -> bool:
    """True if text is a semantic version."""
    return SEMVER.fullmatch(text) is not None
