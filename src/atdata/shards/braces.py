"""Brace notation: `data-{000000..000009}.tar`, `{train,test}.tar`, as bash and `webdataset` read it.

A pattern may come from a stranger's record. What it stands for is counted before it is made, and made one name at a
time: a few characters can name more shards than memory holds.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import TypeAlias

from atdata.errors import LimitError, UsageError

MAX_SHARDS = 10_000_000
"""Names that a caller's own patterns may stand for, together."""

MAX_LISTED = 250_000
"""Names that all the addresses of one record may stand for, together: the largest public datasets have fewer shards."""

_MAX_TEXT = 256  # characters of a name, on average
_MAX_PATTERN = 10_000
_MAX_DEPTH = 20

_LETTERS = ascii_uppercase + ascii_lowercase
_RANGE = re.compile(r"(?:(-?\d+)\.\.(-?\d+)|([A-Za-z])\.\.([A-Za-z]))(?:\.\.-?(\d{1,18}))?", re.ASCII)


def expand_braces(*patterns: str) -> list[str]:
    """Every name that patterns stand for, in order.

    Raises:
        UsageError: braces do not balance.
        LimitError: they stand for more than ten million names.
    """
    return list(names_in(patterns))


def names_in(patterns: Sequence[str], most: int = MAX_SHARDS) -> Iterator[str]:
    """The names that patterns stand for, in order, made as they are asked for; they are counted at once.

    Args:
        patterns: in brace notation or not.
        most: how many names they may stand for, together.

    Raises:
        UsageError: braces do not balance.
        LimitError: they stand for more names.
    """
    parsed = [_parse(pattern, 0) if "{" in pattern else _Text(pattern) for pattern in patterns]
    count, size = sum(part.count for part in parsed), sum(part.count * part.longest for part in parsed)
    if count > most or size > most * _MAX_TEXT:
        pattern = max(zip(parsed, patterns, strict=True), key=lambda pair: pair[0].count * pair[0].longest)[1]
        raise LimitError(
            "brace notation expands to too many shards",
            expected=f"at most {most}, with names of {_MAX_TEXT} characters on average",
            actual=f"{count if count < 10**18 else 'more'} for {pattern[:80]}",
        )
    return itertools.chain.from_iterable(parsed)


@dataclass(frozen=True)
class _Text:
    """Itself."""

    text: str
    count = 1

    @property
    def longest(self) -> int:
        return len(self.text)

    def __iter__(self) -> Iterator[str]:
        yield self.text


@dataclass(frozen=True)
class _Range:
    """Numbers, or letters by their number."""

    numbers: range
    letters: bool
    width: int

    @cached_property
    def count(self) -> int:
        return (self.numbers[-1] - self.numbers[0]) // self.numbers.step + 1  # len() does not count beyond 2**63

    @property
    def longest(self) -> int:
        return 1 if self.letters else max(self.width, len(str(self.numbers[0])), len(str(self.numbers[-1])))

    def __iter__(self) -> Iterator[str]:
        for number in self.numbers:
            yield _LETTERS[number] if self.letters else f"{number:0{self.width}d}"


@dataclass(frozen=True)
class _Either:
    """Yields the texts that any of some parts stands for."""

    parts: Sequence[_Names]

    @cached_property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

    @cached_property
    def longest(self) -> int:
        return max(part.longest for part in self.parts)

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.parts)


@dataclass(frozen=True)
class _Joined:
    """Yields the texts of one part, each followed by those of the rest."""

    head: _Names
    tail: _Names

    @cached_property
    def count(self) -> int:
        return self.head.count * self.tail.count

    @cached_property
    def longest(self) -> int:
        return self.head.longest + self.tail.longest

    def __iter__(self) -> Iterator[str]:
        return (head + tail for head in self.head for tail in self.tail)


_Names: TypeAlias = _Text | _Range | _Either | _Joined


def _parse(text: str, depth: int) -> _Names:
    if len(text) > _MAX_PATTERN or depth > _MAX_DEPTH:
        raise LimitError("brace notation is too long or too deeply nested", actual=text[:80])
    parts: list[_Names] = []
    start = inside = 0
    for position, char in enumerate(text):
        if char == "{":
            if not inside:
                parts.append(_Text(text[start:position]))
                start = position + 1
            inside += 1
        elif char == "}":
            inside -= 1
            if inside < 0:
                break
            if not inside:
                parts.append(_alternatives(text[start:position], depth))
                start = position + 1
    if inside:
        raise UsageError("brace notation has unbalanced braces", expected="a } for each {", actual=text[:80])
    return _joined([*parts, _Text(text[start:])])


def _joined(parts: Sequence[_Names]) -> _Names:
    """Parts side by side; those that stand for one name are text, so that no more are nested than double the names."""
    pieces: list[_Names] = []
    for single, group in itertools.groupby(parts, lambda part: part.count == 1):
        some = list(group)
        pieces += [_Text("".join(name for part in some for name in part))] if single else some
    names = pieces.pop()
    while pieces:
        names = _Joined(pieces.pop(), names)
        if names.count > MAX_SHARDS:  # enough to be refused
            return _Range(range(MAX_SHARDS + 1), letters=False, width=0)
    return names


def _alternatives(text: str, depth: int) -> _Names:
    """The texts that one pair of braces stands for: a range, several alternatives, or itself."""
    if match := _RANGE.fullmatch(text):
        return _range(match)
    parts = [_parse(part, depth + 1) for part in _split(text)]
    return _joined([_Text("{"), parts[0], _Text("}")]) if len(parts) == 1 else _Either(parts)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no inner braces."""
    start = inside = 0
    for position, char in enumerate(text):
        inside += (char == "{") - (char == "}")
        if char == "," and not inside:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _range(match: re.Match[str]) -> _Range:
    first, last, first_letter, last_letter, step = match.groups()
    if max(len(first or ""), len(last or "")) > 18:
        raise LimitError("brace notation has a number with too many digits", actual=match[0][:80])
    if first_letter:
        start, end = _LETTERS.index(first_letter), _LETTERS.index(last_letter)
    else:
        start, end = int(first), int(last)
    way = 1 if start < end else -1
    numbers = range(start, end + way, way * (int(step or 1) or 1))
    padded = not first_letter and any(t.startswith(("0", "-0")) and t not in ("0", "-0") for t in (first, last))
    return _Range(numbers, bool(first_letter), max(len(first), len(last)) if padded else 0)
