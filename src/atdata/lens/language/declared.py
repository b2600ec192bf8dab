"""The rounding that the steps of a program declare, in the fields of both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atdata.lens.language.binding import BoundStep
from atdata.lens.language.rounding import Allowed, Rounding, Roundings


@dataclass(frozen=True)
class _Way:
    """One way of numbers from fields of the source."""

    origins: frozenset[str]
    rounding: Rounding


def roundings_of(steps: Sequence[BoundStep], names: Iterable[str]) -> tuple[Roundings, Roundings]:
    """The rounding that some steps allow in the fields of the source, and in those of the view. Of a field that holds samples, what is
    allowed for one number in it is allowed for all.
    """
    ways: dict[str, frozenset[_Way]] = {name: frozenset([_Way(frozenset([name]), Rounding())]) for name in names}
    for step in steps:
        taken = frozenset().union(*(ways.get(path[0], frozenset()) for path in step.inputs))
        if (operation := step.rounds) is not None:
            taken = frozenset(_Way(way.origins, way.rounding.then(operation)) for way in taken)
        for path in step.inputs:
            if len(path) == 1:
                ways.pop(path[0], None)
        for path in step.outputs:
            ways[path[0]] = ways.get(path[0], frozenset()) | taken
    source: dict[str, list[Rounding]] = {}
    view: dict[str, list[Rounding]] = {}
    for name, several in ways.items():
        for way in several:
            if way.rounding.operations:
                view.setdefault(name, []).append(way.rounding)
                for origin in way.origins:
                    source.setdefault(origin, []).append(way.rounding)
    return (
        {name: _largest([rounding.in_source for rounding in some]) for name, some in source.items()},
        {name: _largest([rounding.in_view for rounding in some]) for name, some in view.items()},
    )


def _largest(several: Sequence[Allowed]) -> Allowed:
    return lambda size: max(allowed(size) for allowed in several)
