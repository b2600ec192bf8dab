"""The steps of programs: each is a form of JSON, and knows the types it leads from and to."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from atdata.errors import LensError
from atdata.lens.language.binding import BoundStep, Values, converting, moving
from atdata.lens.language.casting import casting
from atdata.lens.language.constants import LARGEST, MOST, constant, exact, node_field
from atdata.lens.language.conversions import Conversion, lifted
from atdata.lens.language.scaling import scaling
from atdata.lens.language.trees import Fields, Path, field_at, name_of, path_of, shown, with_field, without
from atdata.lens.types import opener
from atdata.samples import Array, FieldType, ListOf, Scalar, Shape
from atdata.samples.codec import pack
from atdata.samples.forms import DTYPES, Numbers
from atdata.samples.kinds import Misfit, SampleOf
from atdata.samples.kinds.field import Field, Unit
from atdata.samples.stacking import stack

_Number: TypeAlias = int | str


class Step(
    msgspec.Struct, tag_field="op", tag=str.lower, forbid_unknown_fields=True, frozen=True, rename={"from_": "from"}
):
    """One step of a program."""

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """The step on some fields.

        Raises:
            LensError: the fields are none that it could work on.
        """
        raise NotImplementedError


class Rename(Step, frozen=True):
    """Gives a field another name: `{"op": "rename", "field": "mz", "to": "mass"}`."""

    field: str
    to: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, _at(number, "field"))
        new = (*path[:-1], name_of(self.to, _at(number, "to")))
        return _moved(fields, path, new, number, f"rename {shown(path)} to {self.to}")


class Move(Step, frozen=True):
    """Moves a field into another sample in a field, or out of one: `{"op": "move", "field": "x", "to": "at.x"}`."""

    field: str
    to: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path, new = path_of(self.field, _at(number, "field")), path_of(self.to, _at(number, "to"))
        return _moved(fields, path, new, number, f"move {shown(path)} to {shown(new)}")


class Add(Step, frozen=True):
    """Adds a field with one value for all: `{"op": "add", "field": "n", "type": {"type": "integer"}, "value": 0}`."""

    field: str
    type: dict[str, Any]
    value: Any

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, _at(number, "field"))
        declared = node_field(path[-1], self.type, _at(number, "type"))
        make = constant(declared.type, self.value, _at(number, "value"))
        opened = opener(declared.type) or _same
        after = with_field(fields, path, declared, _at(number, "field"))

        def refuse(view: Values, _: Values) -> Values:
            if pack({"": declared.type.encoder(view[0])}) != pack({"": declared.type.encoder(make())}):
                raise Misfit(f"{self.value!r:.60}, as the source does not have this field", f"{view[0]!r:.60}")
            return ()

        return BoundStep(
            number,
            f"add {shown(path)} = {self.value!r:.60}",
            (),
            (path,),
            after,
            lambda _: (opened(make()),),
            refuse,
            (declared.type,),
            lambda _, count: (_column([opened(make()) for _ in range(count)]),),
        )


class Drop(Step, frozen=True):
    """Leaves a field out; `put` keeps what the source has: `{"op": "drop", "field": "debug"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, _at(number, "field"))
        field_at(fields, path, _at(number, "field"))
        after = without(fields, path)
        return BoundStep(
            number,
            f"drop {shown(path)}",
            (path,),
            (),
            after,
            lambda _: (),
            lambda _, old: old,
            (),
            lambda _, __: (),
            loss=f"{shown(path)} is left out",
        )


class Wrap(Step, frozen=True):
    """Makes a list of one of a field: `{"op": "wrap", "field": "peak"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        return _converted(self.field, fields, number, "wrap {}", _wrapping)


class Unwrap(Step, frozen=True):
    """Makes the only item of it of a list: `{"op": "unwrap", "field": "peaks"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        return _converted(self.field, fields, number, "unwrap {}", _unwrapping)


class Scale(Step, frozen=True):
    """Multiplies numbers by an exact factor, and adds an exact offset: `{"op": "scale", "field": "mass", "factor": "0.001",
    "unit": "kg"}`.
    """

    field: str
    factor: _Number = 1
    offset: _Number = 0
    unit: str | msgspec.UnsetType | None = msgspec.UNSET

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        factor, offset = exact(self.factor, _at(number, "factor")), exact(self.offset, _at(number, "offset"))

        def convert(kind: FieldType) -> Conversion:
            return scaling(kind, factor, offset, _at(number, "field"))

        plus = f" + {self.offset}" if offset else ""
        unit = f" ({self.unit})" if isinstance(self.unit, str) else ""
        return _converted(self.field, fields, number, f"scale {{}} * {self.factor}{plus}{unit}", convert, self.unit)


class Cast(Step, frozen=True):
    """Makes a value of another type, where that type has it: `{"op": "cast", "field": "count", "to": "float"}`."""

    field: str
    to: str
    min: _Number | None = None
    max: _Number | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        least = None if self.min is None else exact(self.min, _at(number, "min"))
        most = None if self.max is None else exact(self.max, _at(number, "max"))

        def convert(kind: FieldType) -> Conversion:
            return casting(kind, self.to, least, most, _at(number, "to"))

        return _converted(self.field, fields, number, f"cast {{}} to {self.to[:40]}", convert)


class Map(Step, frozen=True):
    """Gives each value of a list of values another, one to one: `{"op": "map", "field": "grade", "values": [["A", 1], ["B",
    2]]}`.
    """

    field: str
    values: list[tuple[Any, Any]]
    type: dict[str, Any] | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        if not 0 < len(self.values) <= MOST:
            raise LensError("a map of values needs some pairs", path=_at(number, "values"), expected=f"1 to {MOST}")

        def convert(kind: FieldType) -> Conversion:
            return _mapping(kind, self.values, self.type, number)

        return _converted(self.field, fields, number, f"map {{}} by {len(self.values)} pairs", convert)


class Nest(Step, frozen=True):
    """Makes a sample of some fields, in a field: `{"op": "nest", "fields": ["x", "y"], "to": "at", "name": "Point"}`."""

    fields: list[str]
    to: str
    name: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        paths = _several(self.fields, fields, number)
        parts = tuple(field_at(fields, path, _at(number, "fields")) for path in paths)
        kind = SampleOf(name_of(self.name, _at(number, "name")), parts)
        return _nested(fields, paths, path_of(self.to, _at(number, "to")), kind, number)


class Hoist(Step, frozen=True):
    """Makes fields of those of a sample in a field: `{"op": "hoist", "field": "at"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, _at(number, "field"))
        kind = field_at(fields, path, _at(number, "field")).type
        if not isinstance(kind, SampleOf):
            raise LensError(
                f"{shown(path)} holds no sample", path=_at(number, "field"), expected="a sample", actual=kind
            )
        after, names = without(fields, path), [part.name for part in kind.fields]
        paths = tuple((*path[:-1], name) for name in names)
        for new, part in zip(paths, kind.fields, strict=True):
            after = with_field(after, new, part, _at(number, "field"))
        return BoundStep(
            number,
            f"hoist {shown(path)}",
            (path,),
            paths,
            after,
            lambda values: tuple(values[0][name] for name in names),
            lambda view, _: (dict(zip(names, view, strict=True)),),
            tuple(part.type for part in kind.fields),
        )


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
        path = path_of(self.field, _at(number, "field"))
        whole = field_at(fields, path, _at(number, "field"))
        names = [name_of(name, _at(number, "to")) for name in self.to]
        paths = tuple((*path[:-1], name) for name in names)
        parting = _parting(self, len(names), number)
        kinds = parting.parts(whole.type, number)
        after = without(fields, path)
        for new, kind in zip(paths, kinds, strict=True):
            after = with_field(after, new, Field(new[-1], kind, unit=whole.unit), _at(number, "to"))
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
        paths = _several(self.fields, fields, number)
        parts = [field_at(fields, path, _at(number, "fields")) for path in paths]
        parting = _parting(self, len(parts), number)
        kind = parting.joined([part.type for part in parts], number)
        units = {part.unit for part in parts}
        if len(units) > 1:
            raise LensError("parts of several units cannot be joined", path=_at(number, "fields"), actual=units)
        after = fields
        for path in paths:
            after = without(after, path)
        new = path_of(self.to, _at(number, "to"))
        after = with_field(after, new, Field(new[-1], kind, unit=units.pop()), _at(number, "to"))
        return BoundStep(
            number,
            f"join {', '.join(map(shown, paths))} {parting} to {shown(new)}",
            paths,
            (new,),
            after,
            lambda values: (parting.whole(values),),
            lambda view, _: parting.part(view[0]),
            (kind,),
        )


def _at(number: int, member: str) -> str:
    return f"steps[{number}].{member}"


def _same(value: Any) -> Any:
    return value


def _column(values: list[Any]) -> Any:
    """The column of values of one kind: of Python's numbers an array, as the reader makes it."""
    dtype = DTYPES.get(type(values[0])) if values else None
    try:
        return stack(values) if dtype is None else Numbers(np.array(values, dtype))
    except OverflowError:
        return values


def _moved(fields: Fields, path: Path, new: Path, number: int, text: str) -> BoundStep:
    field = field_at(fields, path, _at(number, "field"))
    if new[: len(path)] == path:
        raise LensError(f"{shown(path)} cannot be moved into itself", path=_at(number, "to"), actual=shown(new))
    after = with_field(without(fields, path), new, field, _at(number, "to"))
    return moving(number, text, (path, new), after, field.type)


def _converted(
    field: str,
    fields: Fields,
    number: int,
    text: str,
    convert: Any,
    unit: str | msgspec.UnsetType | None = msgspec.UNSET,
) -> BoundStep:
    """The step that converts the values of one field, what stands in lists and beside `None` too."""
    path = path_of(field, _at(number, "field"))
    old = field_at(fields, path, _at(number, "field"))
    whole = convert in (_wrapping, _unwrapping)
    conversion = convert(old.type) if whole else lifted(old.type, convert)
    said = old.unit if unit is msgspec.UNSET else None if unit is None else Unit(unit).code
    new = Field(path[-1], conversion.kind, unit=said, doc=old.doc)
    after = with_field(without(fields, path), path, new, _at(number, "field"))
    return converting(number, text.format(shown(path)), path, after, conversion)


def _wrapping(kind: FieldType) -> Conversion:
    def back(view: Any, _: Any) -> Any:
        return _only(view)

    return Conversion(ListOf(kind), lambda value: [value], back)


def _unwrapping(kind: FieldType) -> Conversion:
    if not isinstance(kind, ListOf):
        raise LensError("only a list can be unwrapped", expected="list[...]", actual=kind)
    return Conversion(kind.inner, _only, lambda view, _: [view])


def _only(values: list[Any]) -> Any:
    if len(values) != 1:
        raise Misfit("a list of one item", f"one of {len(values)}")
    return values[0]


def _mapping(kind: FieldType, pairs: list[tuple[Any, Any]], node: dict[str, Any] | None, number: int) -> Conversion:
    """The conversion of each value to its partner."""
    target = (
        _kind_of([other for _, other in pairs], number)
        if node is None
        else node_field("value", node, _at(number, "type")).type
    )
    there: dict[bytes, Any] = {}
    back: dict[bytes, Any] = {}
    from_source, from_target = _key(kind), _key(target)
    for place, (one, other) in enumerate(pairs):
        make_one = constant(kind, one, _at(number, f"values[{place}][0]"))
        make_other = constant(target, other, _at(number, f"values[{place}][1]"))
        source, view = (opener(kind) or _same)(make_one()), (opener(target) or _same)(make_other())
        if from_source(source) in there or from_target(view) in back:
            raise LensError(
                "a map of values is not one to one",
                path=_at(number, f"values[{place}]"),
                actual=f"{one!r:.40} to {other!r:.40}",
                hint="Give each value once on each side.",
            )
        there[from_source(source)], back[from_target(view)] = view, source

    def partner(table: dict[bytes, Any], key: bytes, value: Any) -> Any:
        if key not in table:
            raise Misfit(f"one of the {len(table)} values that are mapped", f"{value!r:.60}")
        return table[key]

    return Conversion(
        target,
        lambda value: partner(there, from_source(value), value),
        lambda view, _: partner(back, from_target(view), view),
    )


def _key(kind: FieldType) -> Any:
    from atdata.lens.types import coder

    code = coder(kind)
    return lambda value: pack({"": code(value)})


def _kind_of(values: list[Any], number: int) -> FieldType:
    kinds = {type(value) for value in values}
    found = {str: "str", int: "int", bool: "bool"}.get(next(iter(kinds))) if len(kinds) == 1 else None
    if found is None:
        raise LensError(
            "a map of values does not say of what type they are",
            path=_at(number, "values"),
            expected="texts, integers or truth values",
            hint='Say it: "type": {"type": "number"}.',
        )
    name: Any = found
    return Scalar(name)


def _several(given: list[str], fields: Fields, number: int) -> tuple[Path, ...]:
    paths = tuple(path_of(text, _at(number, "fields")) for text in given)
    if not paths or len(set(paths)) < len(paths) or len({path[:-1] for path in paths}) > 1:
        raise LensError(
            "fields to be put together must be different ones beside each other",
            path=_at(number, "fields"),
            actual=given,
        )
    for path in paths:
        field_at(fields, path, _at(number, "fields"))
    return paths


def _nested(fields: Fields, paths: tuple[Path, ...], new: Path, kind: SampleOf, number: int) -> BoundStep:
    after = fields
    for path in paths:
        after = without(after, path)
    after = with_field(after, new, Field(new[-1], kind), _at(number, "to"))
    names = [part.name for part in kind.fields]
    return BoundStep(
        number,
        f"nest {', '.join(map(shown, paths))} to {shown(new)}",
        paths,
        (new,),
        after,
        lambda values: (dict(zip(names, values, strict=True)),),
        lambda view, _: tuple(view[0][name] for name in names),
        (kind,),
    )


# --- parting


class _OfText:
    """A text in parts, with a separator between them."""

    def __init__(self, separator: str, at: str, count: int) -> None:
        self._separator, self._at, self._count = separator, at, count

    def __str__(self) -> str:
        return f"at {self._separator!r:.20}" + (f" ({self._at})" if self._at != "all" else "")

    def parts(self, kind: FieldType, number: int) -> tuple[FieldType, ...]:
        """The kinds of the parts of a kind."""
        if kind != Scalar("str"):
            raise LensError("only text has separators", path=_at(number, "separator"), expected="str", actual=kind)
        return (kind,) * self._count

    def joined(self, kinds: list[FieldType], number: int) -> FieldType:
        """The kind of the whole."""
        for kind in kinds:
            self.parts(kind, number)
        return Scalar("str")

    def part(self, value: str) -> Values:
        """The parts of a text."""
        if self._at == "all":
            parts = value.split(self._separator)
        else:
            parts = value.split(self._separator, 1) if self._at == "first" else value.rsplit(self._separator, 1)
        if len(parts) != self._count:
            raise Misfit(f"{self._count} parts {self}", f"{len(parts)} in {value!r:.60}")
        return self._checked(tuple(parts))

    def whole(self, parts: Values) -> str:
        """The text of some parts."""
        return self._separator.join(self._checked(parts))

    def _checked(self, parts: Values) -> Values:
        """The parts, if their text has just these parts: `aaa` is two ways an `aa` and something."""
        text = self._separator.join(parts)
        again = (
            text.split(self._separator)
            if self._at == "all"
            else (text.split(self._separator, 1) if self._at == "first" else text.rsplit(self._separator, 1))
        )
        if tuple(again) != parts:
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
            raise LensError("only an array has an index", path=_at(number, "index"), expected="NDArray", actual=kind)
        dims = (None,) if kind.shape is None else kind.shape.dims
        if not dims or (dims[0] is not None and dims[0] < self._index):
            raise LensError("an index lies outside of an array", path=_at(number, "index"), actual=kind)
        if kind.shape is None:
            return (kind, kind)
        rest = None if dims[0] is None else dims[0] - self._index
        names = kind.shape.names
        return tuple(Array(kind.scalar, Shape(size, *dims[1:], names=names)) for size in (self._index, rest))

    def joined(self, kinds: list[FieldType], number: int) -> FieldType:
        """The kind of the whole."""
        one, other = kinds if len(kinds) == 2 else (None, None)
        if not isinstance(one, Array) or not isinstance(other, Array) or one.scalar is not other.scalar:
            raise LensError("only two arrays of one dtype can be joined", path=_at(number, "fields"))
        if one.shape is None or other.shape is None:
            return Array(one.scalar)
        if not one.shape.dims or one.shape.dims[0] != self._index or one.shape.dims[1:] != other.shape.dims[1:]:
            raise LensError("arrays do not fit behind each other", path=_at(number, "fields"), actual=f"{one}, {other}")
        rest = other.shape.dims[0]
        size = None if rest is None else self._index + rest
        return Array(one.scalar, Shape(size, *one.shape.dims[1:], names=one.shape.names))

    def part(self, value: Any) -> Values:
        """The parts of an array."""
        if not value.ndim or len(value) < self._index:
            raise Misfit(f"an array of at least {self._index} items", f"one of shape {list(value.shape)}")
        return value[: self._index], value[self._index :]

    def whole(self, parts: Values) -> Any:
        """The array of two parts."""
        one, other = parts
        if one.dtype != other.dtype or not one.ndim or len(one) != self._index or one.shape[1:] != other.shape[1:]:
            shapes = f"{one.dtype} {list(one.shape)} and {other.dtype} {list(other.shape)}"
            raise Misfit(f"{self._index} items, and more of the same dtype and shape", shapes)
        joined = np.empty((len(one) + len(other), *one.shape[1:]), one.dtype)
        joined[: self._index], joined[self._index :] = one, other
        return joined

    def columns(self, column: Any) -> Values:
        """The columns of the parts."""
        if isinstance(column, np.ndarray) and column.ndim > 1 and column.shape[1] >= self._index:
            return column[:, : self._index], column[:, self._index :]
        rows = [self.part(value) for value in column]
        return stack([row[0] for row in rows]), stack([row[1] for row in rows])


def _parting(step: Split | Join, count: int, number: int) -> _OfText | _OfArray:
    """The parting that a step says."""
    if (step.separator is None) == (step.index is None):
        raise LensError("parts need a separator (of text) or an index (of an array)", path=f"steps[{number}]")
    if step.index is not None:
        if count != 2 or not 0 <= step.index <= LARGEST or step.at != "all":
            raise LensError("an index makes two parts", path=_at(number, "index"), actual=f"{count} parts")
        return _OfArray(step.index)
    if not step.separator or count < 2 or (step.at != "all" and count != 2):
        raise LensError(
            "a separator makes parts, the first or the last one two",
            path=_at(number, "separator"),
            actual=f"{count} parts",
        )
    return _OfText(step.separator or "", step.at, count)
