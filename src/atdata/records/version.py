"""The order of versions, and ranges of them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from atdata.arguments import checked_text
from atdata.errors import UsageError

_NUMBER = r"0|[1-9][0-9]{0,8}"
_WORD = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_TAIL = rf"(?:-({_WORD}(?:\.{_WORD})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
SEMVER = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER}){_TAIL}")

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
        return cls.of(tuple(int(match[i]) for i in (1, 2, 3)), match[4])

    @classmethod
    def of(cls, numbers: tuple[int, ...], pre: str | None = None) -> Version:
        """The semantic version of three numbers, and of what stands behind a hyphen."""
        parts = tuple(map(_part, pre.split("."))) if pre else ()
        return cls(2, numbers, not parts, parts)


def _part(part: str) -> _Part:
    """A pre-release identifier: numbers come before words, numbers by value, words by text."""
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def is_semver(text: str) -> bool:
    """True if text is a semantic version."""
    return SEMVER.fullmatch(text) is not None


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_PARTIAL = rf"({_NUMBER}|[xX*])(?:\.({_NUMBER}|[xX*])(?:\.({_NUMBER}|[xX*]){_TAIL})?)?"
_SIMPLE = rf"([\^~]|[<>]=?|=?)({_PARTIAL})"  # no pattern is made on import: few processes read a range
_FORM = "Write it as package.json of npm does: >=1.0.0 <2.0.0, ^1.2, 1.x."
_SPACED = r"([\^~<>=]) +"  # between an operator and its version


class _NoRangeError(ValueError):
    """A text that is no range."""


@dataclass(frozen=True)
class VersionBound:
    """One comparison that versions of a range pass."""

    operator: str
    version: Version

    def holds(self, version: Version) -> bool:
        """True if a version passes."""
        return _HOLDS[self.operator](version, self.version)


@dataclass(frozen=True)
class VersionRange:
    """Semantic versions that a text stands for, in the range grammar of npm (`node-semver`, section "Range Grammar").

    `1.2.3`, `>=1.0.0 <2.0.0`, `1.0.0 - 2.1`, `1.x`, `~1.2`, `^0.3.1`; spaces join what all must hold, `||` what one of
    must. A pre-release is in a range only where a comparison of the same three numbers names one, as it is there.

    Attributes:
        text: as written.
        alternatives: a version must pass every comparison of one of them.
    """

    text: str
    alternatives: tuple[tuple[VersionBound, ...], ...]

    @classmethod
    def parse(cls, text: str, path: str | None = None) -> Self:
        """The range that some text is.

        Args:
            text: as it was written.
            path: the name of the argument that it is, where it is one.

        Raises:
            UsageError: it is none.
        """
        checked_text(text, path or "a range of versions", _FORM)
        try:
            return cls(text, tuple(tuple(_bounds(part.strip(" "))) for part in text.split("||")))
        except _NoRangeError:
            raise UsageError(
                f"{path or 'a text'} is neither a semantic version nor a range of them",
                path=path,
                expected="like 1.0.0, >=1.0.0 <2.0.0, ^1.2, 1.x",
                actual=repr(text)[:120],
                hint=_FORM,
            ) from None

    def __contains__(self, version: object) -> bool:
        found = Version.parse(version) if isinstance(version, str) else None
        if found is None or found.kind != 2:
            return False
        return any(_within(found, bounds) for bounds in self.alternatives)

    def __str__(self) -> str:
        return self.text


def _within(version: Version, bounds: tuple[VersionBound, ...]) -> bool:
    named = version.final or any(
        bound.version.numbers == version.numbers and not bound.version.final for bound in bounds
    )
    return named and all(bound.holds(version) for bound in bounds)


def _bounds(part: str) -> Iterator[VersionBound]:
    """Yields the comparisons of one alternative."""
    low, hyphen, high = part.partition(" - ")
    if hyphen:
        for sign, end in ((">=", low), ("<=", high)):
            if (match := re.fullmatch(_PARTIAL, end.strip(" "))) is None:
                raise _NoRangeError
            yield from _compared(sign, match.groups())
        return
    for word in filter(None, re.sub(_SPACED, r"\1", part).split(" ")):
        if (match := re.fullmatch(_SIMPLE, word)) is None:
            raise _NoRangeError
        yield from _compared(match[1] or "=", match.groups()[2:])


def _compared(sign: str, parts: tuple[str | None, ...]) -> Iterator[VersionBound]:
    """Yields the comparisons that an operator and a version, some of whose numbers may be left open, stand for."""
    numbers = [int(part) if part and part.isdigit() else None for part in parts[:3]]
    known = [number for number in numbers if number is not None]
    if numbers[: len(known)] != known:
        raise _NoRangeError  # what follows an open number is open
    whole, first = len(known) == 3, Version.of((*known, 0, 0)[:3], parts[3] if len(known) == 3 else None)
    if not known:  # any, but none that comes before or after all
        if sign in ("<", ">"):
            yield VersionBound("<", _least((0, 0, 0)))
        return
    if sign in ("^", "~"):
        kept = next((place for place, number in enumerate(known) if number), len(known) - 1) if sign == "^" else 1
        yield from (VersionBound(">=", first), VersionBound("<", _least(_after(known[: kept + 1]))))
    elif whole or sign in ("<", ">="):
        yield VersionBound(sign, first if whole or sign == ">=" else _least(first.numbers))
    elif sign == ">":
        yield VersionBound(">=", Version.of(_after(known)))
    else:
        if sign == "=":
            yield VersionBound(">=", first)
        yield VersionBound("<", _least(_after(known)))


def _after(numbers: list[int]) -> tuple[int, ...]:
    """The first version after all that begin with some numbers."""
    return (*numbers[:-1], numbers[-1] + 1, 0, 0)[:3]


def _least(numbers: tuple[int, ...]) -> Version:
    """The least of all versions with three numbers."""
    return Version.of(numbers, "0")
