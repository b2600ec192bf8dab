"""The words of a text. Documents and questions are cut by the same rules, so that no database has any of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

MAX_WORD = 64
"""Characters of a word; of a longer one those count."""
SEPARATOR = "_"
"""Stands between words that are beside each other in no text, so that no phrase is found across it."""

_MAX_TEXT = 100_000
_ALONE = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_ASCII_RUNS = re.compile(r"[0-9A-Za-z]+")
_PARTS = re.compile(r"[^\W\d_]+|\d+")


def words_of(text: str, limit: int) -> list[str]:
    """The words of a text, at most so many: letters, marks and digits that stand together.

    A character of a script that puts no space between words is a word by itself.
    """
    return [folded(run)[:MAX_WORD] for run in _runs(text, limit)]


def indexed_words(text: str, limit: int) -> list[str]:
    """The words of a text, and behind a separator the parts of those that are written together: `CamelCase`, `mnist28`."""
    runs = list(_runs(text, limit))
    found = [folded(run)[:MAX_WORD] for run in runs]
    for run in runs:
        parts = [folded(part)[:MAX_WORD] for part in _parts(run)] if _may_have_parts(run) else []
        if len(parts) > 1 and len(found) + 1 + len(parts) <= 2 * limit:
            found += [SEPARATOR, *parts]
    return found


def pairs_of(words: Sequence[str]) -> list[str]:
    """The tokens of words that stand beside each other, two by two: a phrase is found by these, which are rare."""
    return [f"_{one}_{other}" for one, other in pairwise(words) if SEPARATOR not in (one, other)]


def without_pairs(tokens: Iterable[str]) -> list[str]:
    """The words among tokens, and what separates them."""
    return [token for token in tokens if token == SEPARATOR or not token.startswith(SEPARATOR)]


def folded(text: str) -> str:
    """A text without what case and compatibility make different."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _runs(text: str, limit: int) -> Iterator[str]:
    """The runs of a text: what stands together, each such that nothing but letters, marks and digits is in it when it is folded."""
    if text.isascii():  # nearly all are, and this is twenty times as fast
        return islice((found[0] for found in _ASCII_RUNS.finditer(text, 0, _MAX_TEXT)), limit)
    return _runs_of_any(text, limit)


def _runs_of_any(text: str, limit: int) -> Iterator[str]:
    run: list[str] = []
    count, is_alone = 0, re.compile(_ALONE).match  # of texts that are not ASCII only: it takes milliseconds to compile
    for char in f"{unicodedata.normalize('NFKC', text[:_MAX_TEXT])[:_MAX_TEXT]} ":
        alone = is_alone(char) is not None
        if _in_word(char) and not alone:
            run.append(char)
            continue
        for word in ("".join(run), char if alone and _in_word(char) else ""):
            if word and count < limit and any(map(str.isalnum, word)):
                count += 1
                yield word
        run.clear()
        if count >= limit:
            return


def _in_word(char: str) -> bool:
    known = char.isalnum() or unicodedata.category(char)[0] == "M"
    return known and all(c.isalnum() or unicodedata.category(c)[0] == "M" for c in folded(char))


def _may_have_parts(run: str) -> bool:
    """False for a word that is too long to be cut, or plainly one part, as most are: `retina`, `Retina`, `RETINA`, `28`."""
    return len(run) <= MAX_WORD and not (
        run.isdecimal() or (run.isalpha() and (run[1:].islower() or run.isupper() or len(run) == 1))
    )


def _parts(run: str) -> Iterator[str]:
    """Yields the parts of a word: `HTTPServer2` has `HTTP`, `Server` and `2`."""
    for part in _PARTS.findall(run):
        start = 0
        for at in range(1, len(part)):
            lower_before, upper = part[at - 1].islower(), part[at].isupper()
            if upper and (lower_before or (at + 1 < len(part) and part[at + 1].islower())):
                yield part[start:at]
                start = at
        yield part[start:]
