"""The rounding that the steps of a program declare, in the fields of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from atdata.lens.language.binding import BoundStep
from atdata.lens.language.rounding import Rounding
from atdata.lens.language.trees import Fields, field_at
from atdata.lens.ulps import Tolerance, Tolerances
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, Scalar


@dataclass(frozen=True)
class _Way:
    """One way of numbers from fields of the source.

    Attributes:
        origins: the names of the fields.
        rounding: what they go through.
        floats: whether they are floats on all of the way.
        again: whether a step converts what another has rounded.
    """

    origins: frozenset[str]
    rounding: Rounding = Rounding()  # noqa: RUF009  it is frozen
    floats: bool = True
    again: bool = False

    def through(self, step: BoundStep, floats: bool) -> _Way:
        """The way through one step more, which converts values."""
        rounding = self.rounding if step.rounds is None else self.rounding.then(step.rounds)
        again = self.again or bool(self.rounding.operations)
        return replace(self, rounding=rounding, floats=self.floats and floats, again=again)


def tolerances_of(steps: Sequence[BoundStep], fields: Fields) -> tuple[Tolerances, frozenset[str]]:
    """The rounding that some steps allow in the fields of the source and of the view, and the fields of the view in which a
    step converts what another has rounded: what is put there may not be seen again. Of a field that holds samples, what is
    allowed for one number in it is allowed for all.

    Args:
        steps: of a program.
        fields: of the source.
    """
    ways: dict[str, frozenset[_Way]] = {name: frozenset([_Way(frozenset([name]))]) for name in fields}
    for step in steps:
        taken = frozenset().union(*(ways.get(path[0], frozenset()) for path in step.inputs))
        if step.converts:
            (path,) = step.inputs
            kinds = [field_at(side, path, "").type for side in (fields, step.after)]
            floats = all(map(_are_floats, kinds))
            taken = frozenset(way.through(step, floats) for way in taken)
        for path in step.inputs:
            if len(path) == 1:
                ways.pop(path[0], None)
        for path in step.outputs:
            ways[path[0]] = ways.get(path[0], frozenset()) | taken
        fields = step.after
    return _ending(ways)


def _ending(ways: dict[str, frozenset[_Way]]) -> tuple[Tolerances, frozenset[str]]:
    source: dict[str, list[Tolerance]] = {}
    view: dict[str, list[Tolerance]] = {}
    mixed, again = set[str](), set[str]()
    for name, several in ways.items():
        for way in several:
            if way.rounding.operations:
                view.setdefault(name, []).append(way.rounding.in_view)
                for origin in way.origins:
                    source.setdefault(origin, []).append(way.rounding.in_source)
                mixed |= set() if way.floats else {name, *way.origins}
                again |= {name} if way.again else set()
    here, there = ({name: _largest(some) for name, some in side.items()} for side in (source, view))
    return Tolerances(here, there, frozenset({*here, *there} - mixed)), frozenset(again)


def _largest(several: Sequence[Tolerance]) -> Tolerance:
    return lambda size, own: max(allowed(size, own) for allowed in several)


def _are_floats(kind: FieldType) -> bool:
    if isinstance(kind, Maybe | ListOf | DictOf):
        return _are_floats(kind.inner)
    if isinstance(kind, Array):
        return kind.scalar is not None and kind.scalar.__name__ in ("float16", "float32", "float64")
    return kind == Scalar("float")
