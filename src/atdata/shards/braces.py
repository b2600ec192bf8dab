"""Brace notation: `data-{000000..000009}.tar`, `{train,test}.tar`, as bash and `webdataset` read it.

A pattern may come from a stranger's record. What it stands for is counted before it is made: a few characters
can name more shards than memory holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase

from atdata.errors import UsageError

MAX_SHARDS = 1_000_000
MAX_TEXT = 1 << 28
MAX_PATTERN = 10_000
MAX_DEPTH = 20

_LETTERS = ascii_uppercase + ascii_lowercase
_RANGE = re.compile(r"(?:(-?\d+)\.\.(-?\d+)|([A-Za-z])\.\.([A-Za-z]))(?:\.\.-?(\d{1,18}))?", re.ASCII)


def expand_braces(*patterns: str) -> list[str]:
    """Every name that patterns stand for, in order.

    Raises:
        UsageError: braces do not balance, or stand for more than a million names.
    """
    names: list[str] = []
    for pattern in patterns:
        found = _expand(pattern, 0) if "{" in pattern else [pattern]
        _afford(len(names) + len(found), found[0])
        names += found
    return names


def _expand(text: str, depth: int) -> list[str]:
    if len(text) > MAX_PATTERN or depth > MAX_DEPTH:
        raise _too_many(text)
    names, start, inside = [""], 0, 0
    for position, char in enumerate(text):
        if char == "{":
            if not inside:
                names, start = _joined(names, [text[start:position]]), position + 1
            inside += 1
        elif char == "}":
            inside -= 1
            if inside < 0:
                break
            if not inside:
                names, start = _joined(names, _alternatives(text[start:position], depth)), position + 1
    if inside:
        raise UsageError("brace notation with unbalanced braces", expected="a } for each {", actual=text[:80])
    return _joined(names, [text[start:]])


def _alternatives(text: str, depth: int) -> list[str]:
    """What one pair of braces stands for: a range, several alternatives, or itself."""
    if match := _RANGE.fullmatch(text):
        return _range(match)
    parts = list(_split(text))
    if len(parts) == 1:
        return [f"{{{name}}}" for name in _expand(text, depth + 1)]
    names: list[str] = []
    for part in parts:
        found = _expand(part, depth + 1)
        _afford(len(names) + len(found), found[0])
        names += found
    return names


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no inner braces."""
    start = inside = 0
    for position, char in enumerate(text):
        inside += (char == "{") - (char == "}")
        if char == "," and not inside:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _range(match: re.Match[str]) -> list[str]:
    first, last, first_letter, last_letter, step = match.groups()
    if max(len(first or ""), len(last or "")) > 18:
        raise _too_many(match[0])
    if first_letter:
        start, end = _LETTERS.index(first_letter), _LETTERS.index(last_letter)
    else:
        start, end = int(first), int(last)
    way = 1 if start < end else -1
    numbers = range(start, end + way, way * (int(step or 1) or 1))
    if len(numbers) > MAX_SHARDS:
        raise _too_many(match[0])
    if first_letter:
        return [_LETTERS[number] for number in numbers]
    padded = any(text.startswith(("0", "-0")) and text not in ("0", "-0") for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}d}" for number in numbers]


def _joined(heads: list[str], tails: list[str]) -> list[str]:
    _afford(len(heads) * len(tails), heads[0] + tails[0])
    if heads == [""] or tails == [""]:
        return heads if tails == [""] else tails
    return [head + tail for head in heads for tail in tails]


def _afford(count: int, name: str) -> None:
    if count > MAX_SHARDS or count * len(name) > MAX_TEXT:
        raise _too_many(name)


def _too_many(pattern: str) -> UsageError:
    return UsageError(
        "brace notation stands for too many shards", expected=f"at most {MAX_SHARDS}", actual=pattern[:80]
    )
