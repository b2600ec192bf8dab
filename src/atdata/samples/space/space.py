"""A space: the values of one kind of field that things are tried with, boundary values first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from atdata.samples.space.chance import Chance


@dataclass(frozen=True)
class Space:
    """Values of a kind of field, as msgpack holds them. Nobody changes them.

    Attributes:
        edges: the boundary values, the simplest first.
        draw: gives any value.
    """

    edges: tuple[Any, ...]
    draw: Callable[[Chance], Any]

    @property
    def simplest(self) -> Any:
        """The simplest value."""
        return self.edges[0]

    def any(self, chance: Chance) -> Any:
        """A boundary value or, as likely, any value."""
        return chance.pick(self.edges) if chance.below(2) else self.draw(chance)


def size_in_bytes(value: Any) -> int:
    """The number of bytes of a stored value."""
    return len(msgspec.msgpack.encode(value))


def different(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values in their order, each once; told apart by their bytes."""
    return tuple({msgspec.msgpack.encode(value): value for value in reversed([*values])}.values())[::-1]
