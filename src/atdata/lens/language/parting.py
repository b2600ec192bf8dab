"""Steps that part a field, and put it together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from atdata.errors import LensError
from atdata.lens.language.binding import BoundStep, Values
from atdata.lens.language.constants import LARGEST
from atdata.lens.language.examples import arrays, texts
from atdata.lens.language.steps import Step, member_of, several
from atdata.lens.language.trees import Fields, field_at, name_of, path_of, shown, with_field, without
from atdata.samples import Array, FieldType, Scalar, Shape
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.field import Field
from atdata.samples.stacking import stack


class Split(Step, frozen=True):
    """Parts a text at a separator, or an array at an index: `{"op": "split", "field": "name", "separator": " ", "to":
    ["first", "last"]}`, `{"op": "split", "field": "xyz", "index": 1, "to": ["x", "yz"]}`.

    Attributes:
        field: what is parted.
        to: the names of the parts.
        separator: what stands between the parts of a text.
        at: the separators that part: `all`, or of two parts the `first` or the `last`.
        index: the number of items in the first of two parts of an array.
    """

    field: str
    to: list[str]
    separator: str | None = None
    at: Literal["all", "first", "last"] = "all"
    index: int | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, member_of(number, "field"))
        whole = field_at(fields, path, member_of(number, "field"))
        names = [name_of(name, member_of(number, "to")) for name in self.to]
        paths = tuple((*path[:-1], name) for name in names)
        parting = _parting(self, len(names), number)
        kinds = parting.parts(whole.type, number)
        after = without(fields, path)
        for new, kind in zip(paths, kinds, strict=True):
            after = with_field(after, new, Field(new[-1], kind, unit=whole.unit), member_of(number, "to"))
        text = f"split {shown(path)} {parting} to {', '.join(names)}"
        return BoundStep(
            number,
            text,
            (path,),
            paths,
            after,
            lambda values: parting.part(values[0]),
            lambda view, _: (parting.whole(view),),
            kinds,
            lambda given, _: parting.columns(given[0]),
            known=lambda: parting.known_parts(kinds),
        )


class Join(Step, frozen=True):
    """Puts together what `split` parts: `{"op": "join", "fields": ["first", "last"], "separator": " ", "to": "name"}`."""

    fields: list[str]
    to: str
    separator: str | None = None
    at: Literal["all", "first", "last"] = "all"
    index: int | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        paths = several(self.fields, fields, number)
        parts = [field_at(fields, path, member_of(number, "fields")) for path in paths]
        parting = _parting(self, len(parts), number)
        kind = parting.joined([part.type for part in parts], number)
        units = {part.unit for part in parts}
        if len(units) > 1:
            raise LensError("parts of several units cannot be joined", path=member_of(number, "fields"), actual=units)
        after = fields
        for path in paths:
            after = without(after, path)
        new = path_of(self.to, member_of(number, "to"))
        after = with_field(after, new, Field(new[-1], kind, unit=units.pop()), member_of(number, "to"))
        return BoundStep(
            number,
            f"join {', '.join(map(shown, paths))} {parting} to {shown(new)}",
            paths,
            (new,),
            after,
            lambda values: (parting.whole(values),),
            lambda view, _: parting.part(view[0]),
            (kind,),
            known=lambda: parting.known_wholes(kind),
        )


class _OfText:
    """A text in parts, with a separator between them."""

    def __init__(self, separator: str, at: str, count: int) -> None:
        self._separator, self._at, self._count = separator, at, count

    def __str__(self) -> str:
        return f"at {self._separator!r:.20}" + (f" ({self._at})" if self._at != "all" else "")

    def parts(self, kind: FieldType, number: int) -> tuple[FieldType, ...]:
        """The kinds of the parts of a kind."""
        if kind != Scalar("str"):
            raise LensError(
                "only text has separators", path=member_of(number, "separator"), expected="str", actual=kind
            )
        return (kind,) * self._count

    def joined(self, kinds: list[FieldType], number: int) -> FieldType:
        """The kind of the whole."""
        for kind in kinds:
            self.parts(kind, number)
        return Scalar("str")

    def known_parts(self, kinds: tuple[FieldType, ...]) -> tuple[Values, ...]:
        """Parts that make a whole."""
        return tuple(tuple(self._parted(whole)) for (whole,) in self.known_wholes(kinds[0]))

    def known_wholes(self, _: FieldType) -> tuple[Values, ...]:
        """Wholes that have these parts."""
        made = texts(self._separator, self._count)
        return tuple((text,) for text in made if len(self._parted(text)) == self._count)

    def part(self, value: str) -> Values:
        """The parts of a text."""
        parts = self._parted(value)
        if len(parts) != self._count:
            raise Misfit(f"{self._count} parts {self}", f"{len(parts)} in {value!r:.60}")
        return self._checked(tuple(parts))

    def whole(self, parts: Values) -> str:
        """The text of some parts."""
        return self._separator.join(self._checked(parts))

    def _parted(self, text: str) -> list[str]:
        if self._at == "all":
            return text.split(self._separator)
        return text.split(self._separator, 1) if self._at == "first" else text.rsplit(self._separator, 1)

    def _checked(self, parts: Values) -> Values:
        """The parts, if their text has just these parts: `aaa` is two ways an `aa` and something."""
        if self._parted(self._separator.join(parts)) != [*parts]:
            raise Misfit(f"parts that stand apart {self}", ", ".join(f"{part!r:.40}" for part in parts))
        return parts

    def columns(self, column: Any) -> Values:
        """The columns of the parts."""
        rows = [self.part(value) for value in column]
        return tuple([row[place] for row in rows] for place in range(self._count))


class _OfArray:
    """An array in two parts, the first of which has so many items."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __str__(self) -> str:
        return f"at {self._index}"

    def parts(self, kind: FieldType, number: int) -> tuple[FieldType, ...]:
        """The kinds of the parts of a kind: their first dimension is known, as far as it was."""
        if not isinstance(kind, Array):
            raise LensError(
                "only an array has an index", path=member_of(number, "index"), expected="NDArray", actual=kind
            )
        dims = (None,) if kind.shape is None else kind.shape.dims
        if not dims or (dims[0] is not None and dims[0] < self._index):
            raise LensError("an index lies outside of an array", path=member_of(number, "index"), actual=kind)
        if kind.shape is None:
            return (kind, kind)
        rest = None if dims[0] is None else dims[0] - self._index
        names = kind.shape.names
        return tuple(Array(kind.scalar, Shape(size, *dims[1:], names=names)) for size in (self._index, rest))

    def joined(self, kinds: list[FieldType], number: int) -> FieldType:
        """The kind of the whole."""
        one, other = kinds if len(kinds) == 2 else (None, None)
        if not isinstance(one, Array) or not isinstance(other, Array) or one.scalar is not other.scalar:
            raise LensError("only two arrays of one dtype can be joined", path=member_of(number, "fields"))
        if one.shape is None or other.shape is None:
            return Array(one.scalar)
        if not one.shape.dims or one.shape.dims[0] != self._index or one.shape.dims[1:] != other.shape.dims[1:]:
            raise LensError(
                "arrays do not fit behind each other", path=member_of(number, "fields"), actual=f"{one}, {other}"
            )
        rest = other.shape.dims[0]
        size = None if rest is None else self._index + rest
        return Array(one.scalar, Shape(size, *one.shape.dims[1:], names=one.shape.names))

    def known_parts(self, kinds: tuple[FieldType, ...]) -> tuple[Values, ...]:
        """Parts that make a whole."""
        first, rest = arrays(kinds[0], self._index), self._rests(kinds[1])
        found = [(one, rest[number % len(rest)]) for number, one in enumerate(first)] if rest else []
        return tuple(pair for pair in found if _has_home(self.whole, pair))

    def known_wholes(self, kind: FieldType) -> tuple[Values, ...]:
        """Wholes that have these parts."""
        found = [whole for more in (2, 1, 0) for whole in arrays(kind, self._index + more)]
        return tuple((whole,) for whole in found if _has_home(self.part, whole))

    @staticmethod
    def _rests(kind: FieldType) -> tuple[Any, ...]:
        shape = kind.shape if isinstance(kind, Array) else None
        if shape is not None and shape.dims[0] is not None:
            return arrays(kind, shape.dims[0])
        return tuple(rest for size in (2, 0, 5) for rest in arrays(kind, size))

    def part(self, value: Any) -> Values:
        """The parts of an array."""
        self._check_order(value)
        if not value.ndim or len(value) < self._index:
            raise Misfit(f"an array of at least {self._index} items", f"one of shape {list(value.shape)}")
        return value[: self._index], value[self._index :]

    def whole(self, parts: Values) -> Any:
        """The array of two parts."""
        one, other = parts
        self._check_order(one, other)
        if (
            one.dtype != other.dtype
            or not one.ndim
            or not other.ndim
            or len(one) != self._index
            or one.shape[1:] != other.shape[1:]
        ):
            shapes = f"{one.dtype} {list(one.shape)} and {other.dtype} {list(other.shape)}"
            raise Misfit(f"{self._index} items, and more of the same dtype and shape", shapes)
        joined = np.empty((len(one) + len(other), *one.shape[1:]), one.dtype)
        joined[: self._index], joined[self._index :] = one, other
        return joined

    @staticmethod
    def _check_order(*arrays: Any) -> None:
        """Check that arrays are stored row by row: their parts, or what is made of them, would not tell."""
        if any(array.flags.fnc for array in arrays):
            raise Misfit("arrays in C order", "one in Fortran order")

    def columns(self, column: Any) -> Values:
        """The columns of the parts."""
        if isinstance(column, np.ndarray) and column.ndim > 1 and column.shape[1] >= self._index:
            return column[:, : self._index], column[:, self._index :]
        rows = [self.part(value) for value in column]
        return stack([row[0] for row in rows]), stack([row[1] for row in rows])


def _has_home(way: Callable[[Any], Any], value: Any) -> bool:
    try:
        way(value)
    except Misfit:
        return False
    return True


def _parting(step: Split | Join, count: int, number: int) -> _OfText | _OfArray:
    """The parting that a step says."""
    if (step.separator is None) == (step.index is None):
        raise LensError("parts need a separator (of text) or an index (of an array)", path=f"steps[{number}]")
    if step.index is not None:
        if not 0 <= step.index <= LARGEST:
            raise LensError(
                "an index is no number of items",
                path=member_of(number, "index"),
                expected=f"0 to {LARGEST}",
                actual=step.index,
                hint="Count from the beginning of the array.",
            )
        if step.at != "all":
            raise LensError(
                "an index has no separators to choose from", path=member_of(number, "at"), hint="Leave out at."
            )
        if count != 2:
            raise LensError(
                "an index makes two parts", path=member_of(number, "index"), actual=f"{count} parts", hint="Name two."
            )
        return _OfArray(step.index)
    if not step.separator or count < 2 or (step.at != "all" and count != 2):
        raise LensError(
            "a separator makes parts, the first or the last one two",
            path=member_of(number, "separator"),
            actual=f"{count} parts",
        )
    return _OfText(step.separator or "", step.at, count)
