"""Network steps as generators: they yield what they need, a driver fetches it.

A step function contains all the logic and no I/O, so that a synchronous driver (here) and an asynchronous
one (a service) run the same code, and a test can answer for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from atdata.errors import AtdataError

T = TypeVar("T")

SMALL = 1 << 20


@dataclass(frozen=True)
class Get:
    """An HTTP GET whose whole answer is wanted; answered with a `Response`.

    Attributes:
        url: without its query.
        params: the query; a list repeats a parameter.
        max_bytes: an answer longer than this is refused.
        accept: status codes that are answers; any other raises `NetworkError`.
    """

    url: str
    params: tuple[tuple[str, str], ...] = ()
    max_bytes: int = SMALL
    accept: frozenset[int] = frozenset({200})
    headers: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class TxtLookup:
    """The TXT records of a DNS name; answered with a list of texts, empty where there are none."""

    name: str


Effect: TypeAlias = Get | TxtLookup
Steps: TypeAlias = Generator[Effect, Any, T]


def drive(steps: Steps[T], perform: Callable[[Effect], Any]) -> T:
    """Run steps to their end. An error of an effect is raised inside them, where they may have another way."""
    try:
        effect = next(steps)
        while True:
            try:
                answer = perform(effect)
            except AtdataError as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
