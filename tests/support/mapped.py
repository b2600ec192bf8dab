"""Functions that are mapped over shards: here, since worker processes import them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import atdata


@atdata.packable
class Word:
    text: str
    place: int


@atdata.packable
class Length:
    place: int
    length: int


def measured(words: Iterator[Word]) -> Iterator[Length]:
    for word in words:
        yield Length(word.place, len(word.text))


def twice(words: Iterator[Word]) -> Iterator[Word]:
    for word in words:
        yield word
        yield Word(word.text.upper(), word.place)


def none_of_them(words: Iterable[Word]) -> Iterator[Word]:
    return iter(word for word in words if word.place < 0)


def shouted(word: Word) -> Word:
    return Word(word.text.upper(), word.place)


def padded(width: int, word: Word) -> Word:
    return Word(word.text.ljust(width), word.place)


def is_even(word: Word) -> bool:
    return word.place % 2 == 0


def as_dicts(words: Iterator[Word]) -> Iterator[atdata.DictSample]:
    for word in words:
        yield {"n": word.place}  # type: ignore[misc]


def told(home: Path, words: Iterator[Word]) -> Iterator[Word]:
    """Does what the file `told` in a folder says, which a test may change between runs: `fail N`, `die N TIMES`, `sleep
    SECONDS`. Notes in `seen` each shard that it begins, by its first sample.
    """
    what, *numbers = (home / "told").read_text().split()
    for number, word in enumerate(words):
        if not number:
            with (home / "seen").open("a") as seen:
                seen.write(f"{word.place}\n")
        if what == "sleep":
            time.sleep(float(numbers[0]))
        elif what == "fail" and word.place == int(numbers[0]):
            raise RuntimeError(f"cannot do {word.text}")
        elif what == "die" and word.place == int(numbers[0]):
            with (home / "deaths").open("a+") as deaths:
                deaths.seek(0)
                if len(deaths.readlines()) < int(numbers[1]):
                    deaths.write("x\n")
                    deaths.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        yield word


def no_samples(words: Iterator[Word]) -> None:
    for _ in words:
        pass


def of_one(word: Word) -> int:
    return len(word.text)


def without_annotation(word):  # type: ignore[no-untyped-def]
    return Length(word.place, len(word.text))


def unfit(words: Iterator[Word]) -> Iterator[Length]:
    for word in words:
        yield Length(word.place, "long" if word.place == 47 else 1)  # type: ignore[arg-type]


def leaving(words: Iterator[Word]) -> Iterator[Word]:
    """Ends its process, and says that all is well."""
    for word in words:
        if word.place == 47:
            os._exit(0)
        yield word


def refused(word: Word) -> Word:
    if word.place == 47:
        raise RuntimeError("not this one")
    return word


def ending(words: Iterator[Word]) -> Iterator[Word]:
    """A program's way to end."""
    for word in words:
        if word.place == 60:
            sys.exit(3)
        yield word


class Speechless(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


def speechless(words: Iterator[Word]) -> Iterator[Word]:
    """Fails at each sample."""
    for word in words:
        raise Speechless
        yield word
