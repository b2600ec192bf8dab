"""A step that knows the types it works on, and runs: the one place where all steps get and put.

Each step takes the values at some paths and gives values at others. Where a view shows what the source would, `put` gives
back the very values of the source: so GetPut holds for every step and every value, whatever rounding does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from atdata.errors import NoHomeError
from atdata.lens.language.conversions import NOTHING, Conversion
from atdata.lens.language.rounding import FloatOperation
from atdata.lens.language.trees import (
    Fields,
    Path,
    Tree,
    added,
    column_added,
    column_at,
    column_removed,
    has_column,
    removed,
    shown,
    value_at,
    values_of,
)
from atdata.lens.types import Coder, coder
from atdata.samples import FieldType
from atdata.samples.codec import pack
from atdata.samples.kinds import Misfit
from atdata.samples.stacking import stack

Values: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class BoundStep:
    """A step between two lists of fields.

    Attributes:
        number: in the program, from 0.
        text: what it does, for people.
        inputs, outputs: the paths it takes from the source, and gives to the view.
        after: the fields of the view.
        forward: from the values of the inputs to those of the outputs. It raises `Misfit`.
        backward: from the values of the outputs, and those of the inputs or `NOTHING` for each. It raises `Misfit`.
        column: what `forward` does for columns; `None` where samples are seen one by one.
        rounds: the operation on floats, where there is one.
        loss: what the view lacks, for people; `None` where nothing is lost.
        known: gives values of the outputs that have a source, where others rarely do.
    """

    number: int
    text: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    after: Fields
    forward: Callable[[Values], Values]
    backward: Callable[[Values, Values], Values]
    kinds: tuple[FieldType, ...]
    column: Callable[[Values, int], Values] | None = None
    rounds: FloatOperation | None = None
    loss: str | None = None
    known: Callable[[], tuple[Values, ...]] = tuple
    _coders: tuple[Coder, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_coders", tuple(map(coder, self.kinds)))

    @property
    def moves(self) -> bool:
        """True if values go from one place to another as they are."""
        return self.forward is _as_they_are

    @property
    def converts(self) -> bool:
        """True if the values of one field become others, in the same place."""
        return self.inputs == self.outputs != ()

    def get(self, source: Tree) -> Tree:
        """The view of a sample.

        Raises:
            NoHomeError: the view has no such value.
        """
        try:
            shown_values = self.forward(tuple(value_at(source, path) for path in self.inputs))
        except Misfit as misfit:
            raise self._homeless(misfit, "a sample has no view", self.inputs) from None
        return self._replaced(source, self.inputs, self.outputs, shown_values)

    def put(self, view: Tree, source: Tree | None) -> Tree:
        """The source of a changed view.

        Args:
            view: the view.
            source: what it was a view of; `None` where that is not known, and then what it lacks is left out.

        Raises:
            NoHomeError: the source has no such value.
        """
        given = tuple(value_at(view, path) for path in self.outputs)
        try:
            codes = [code(value) for code, value in zip(self._coders, given, strict=True)]
            old = tuple(value_at(source, path) for path in self.inputs) if source is not None else None
            if old is not None and self._shows(old, codes):
                back = old
            else:
                back = self.backward(given, (NOTHING,) * len(self.inputs) if old is None else old)
                self._check_seen_again(back, codes)
        except Misfit as misfit:
            raise self._homeless(misfit, "a changed view has no home in the source", self.outputs) from None
        inputs = [(path, value) for path, value in zip(self.inputs, back, strict=True) if value is not NOTHING]
        return self._replaced(view, self.outputs, [path for path, _ in inputs], [value for _, value in inputs])

    def map_columns(self, columns: Tree, count: int) -> Tree:
        """The columns of the view. Where those of the inputs are not there, neither are those of the outputs."""
        if not all(has_column(columns, path) for path in self.inputs):
            return columns
        given = tuple(column_at(columns, path) for path in self.inputs)
        try:
            found = self._in_rows(given, count) if self.column is None else self.column(given, count)
        except Misfit as misfit:
            raise self._homeless(misfit, "a sample has no view", self.inputs) from None
        for path in self.inputs:
            columns = column_removed(columns, path)
        for path, column in zip(self.outputs, found, strict=True):
            columns = column_added(columns, path, column)
        return columns

    def _in_rows(self, columns: Values, count: int) -> Values:
        rows = zip(*map(values_of, columns), strict=True) if columns else iter([()] * count)
        found = [self.forward(row) for row in rows]
        return tuple(stack([row[place] for row in found]) for place in range(len(self.outputs)))

    def _check_seen_again(self, back: Values, codes: Sequence[Any]) -> None:
        """Check PutGet: that what is put is seen again, to the bit where nothing rounds. It raises `Misfit`."""
        if any(value is NOTHING for value in back):
            return
        seen = self.forward(back)
        for code, value, given in zip(self._coders, seen, codes, strict=True):
            if self.rounds is None and pack({"": code(value)}) != pack({"": given}):
                raise Misfit("a value that is seen again as it is", "one that would become another, or of another form")

    def _shows(self, old: Values, codes: Sequence[Any]) -> bool:
        """True if the old values show just what the view has, bit for bit."""
        try:
            shown_values = self.forward(old)
            return all(
                pack({"": code(value)}) == pack({"": given})
                for code, value, given in zip(self._coders, shown_values, codes, strict=True)
            )
        except Misfit:
            return False

    @staticmethod
    def _replaced(tree: Tree, taken: Sequence[Path], given: Sequence[Path], values: Sequence[Any]) -> Tree:
        for path in taken:
            tree = removed(tree, path)
        for path, value in zip(given, values, strict=True):
            tree = added(tree, path, value)
        return tree

    def _homeless(self, misfit: Misfit, what: str, paths: tuple[Path, ...]) -> NoHomeError:
        return NoHomeError(
            what,
            path=", ".join(map(shown, paths)) + misfit.path,
            step=f"steps[{self.number}]: {self.text}",
            expected=misfit.expected,
            actual=misfit.actual,
        )


def _as_they_are(values: Values) -> Values:
    return values


def moving(number: int, text: str, paths: tuple[Path, Path], after: Fields, kind: FieldType) -> BoundStep:
    """The step that moves a value from one path to another."""
    return BoundStep(
        number, text, paths[:1], paths[1:], after, _as_they_are, lambda view, _: view, (kind,), lambda given, _: given
    )


def converting(number: int, text: str, path: Path, after: Fields, conversion: Conversion) -> BoundStep:
    """The step that converts the values of one field."""
    forward, backward, column = conversion.forward, conversion.backward, conversion.column
    return BoundStep(
        number,
        text,
        (path,),
        (path,),
        after,
        lambda values: (forward(values[0]),),
        lambda view, old: (backward(view[0], old[0]),),
        (conversion.kind,),
        lambda given, _: (column(given[0]),),
        conversion.rounds,
        f"{shown(path)} is rounded ({conversion.rounds.dtype})" if conversion.rounds else None,
        lambda: tuple((value,) for value in conversion.known),
    )
