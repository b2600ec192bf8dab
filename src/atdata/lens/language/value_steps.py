"""Steps that change the values of one field."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import msgspec

from atdata.errors import LensError
from atdata.lens.language.binding import BoundStep, converting
from atdata.lens.language.casting import casting
from atdata.lens.language.constants import MOST, constant, exact, node_field
from atdata.lens.language.conversions import Conversion, lifted
from atdata.lens.language.scaling import scaling
from atdata.lens.language.steps import Step, member_of, same
from atdata.lens.language.trees import Fields, field_at, path_of, shown, with_field, without
from atdata.lens.language.units import are_apart, conversion, is_as_good, shown_decimal
from atdata.lens.types import coder, opener
from atdata.samples import FieldType, ListOf, Scalar
from atdata.samples.codec import pack
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.field import Field, Unit

_Number: TypeAlias = int | str


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
    "unit": "kg"}`. Between units that are known the factor is the one between them.
    """

    field: str
    factor: _Number = 1
    offset: _Number = 0
    unit: str | msgspec.UnsetType | None = msgspec.UNSET

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        factor, offset = (
            exact(self.factor, member_of(number, "factor")),
            exact(self.offset, member_of(number, "offset")),
        )
        old = field_at(fields, path_of(self.field, member_of(number, "field")), member_of(number, "field"))
        if old.unit is not None and isinstance(self.unit, str):
            _check_conversion(self, (factor, offset), old.unit, self.unit, number)

        def convert(kind: FieldType) -> Conversion:
            return scaling(kind, factor, offset, member_of(number, "field"))

        plus = f" + {self.offset}" if offset else ""
        unit = f" ({self.unit})" if isinstance(self.unit, str) else ""
        return _converted(self.field, fields, number, f"scale {{}} * {self.factor}{plus}{unit}", convert, self.unit)


def _check_conversion(step: Scale, given: tuple[Fraction, Fraction], old: str, new: str, number: int) -> None:
    """Check that the numbers of a step are those between two units, where these are known."""
    if are_apart(old, new):
        raise LensError(
            f"numbers in {old} become no numbers in {new}, which are of another quantity",
            path=member_of(number, "unit"),
            expected=f"a unit of the quantity of {old}",
            actual=new,
            hint='Correct the unit; where the field is another quantity, take the unit off before: "unit": null.',
        )
    known = conversion(old, new)
    if known is None or all(map(is_as_good, given, known)):
        return
    factor, offset = map(shown_decimal, known)
    raise LensError(
        f"numbers in {old} do not become numbers in {new} by this factor and offset",
        path=member_of(number, "factor"),
        expected=f'"factor": {factor!r}, "offset": {offset!r}'.replace("'", '"'),
        actual=f'"factor": {step.factor!r:.40}, "offset": {step.offset!r:.40}'.replace("'", '"'),
        hint="Correct them; leave out the unit where numbers change and their unit does not.",
    )


class Cast(Step, frozen=True):
    """Makes a value of another type, where that type has it: `{"op": "cast", "field": "count", "to": "float"}`."""

    field: str
    to: str
    min: _Number | None = None
    max: _Number | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        least = None if self.min is None else exact(self.min, member_of(number, "min"))
        most = None if self.max is None else exact(self.max, member_of(number, "max"))
        if least is not None and most is not None and least > most:
            raise LensError(
                "a range holds no number: its least is larger than its most",
                path=member_of(number, "min"),
                actual=f"{self.min} to {self.max}"[:80],
                hint="Exchange min and max.",
            )

        def convert(kind: FieldType) -> Conversion:
            return casting(kind, self.to, least, most, member_of(number, "to"))

        return _converted(self.field, fields, number, f"cast {{}} to {self.to[:40]}", convert)


class MapValues(Step, tag="map", frozen=True):
    """Gives each value of a list of values another, one to one: `{"op": "map", "field": "grade", "values": [["A", 1], ["B",
    2]]}`.
    """

    field: str
    values: list[tuple[Any, Any]]
    type: dict[str, Any] | None = None

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        if not 0 < len(self.values) <= MOST:
            raise LensError(
                f"a map of values has {'too many' if self.values else 'no'} pairs",
                path=member_of(number, "values"),
                expected=f"1 to {MOST:,}",
                actual=f"{len(self.values):,}",
                hint="Map fewer values; what needs more is a function." if self.values else "Give some: [[from, to]].",
            )

        def convert(kind: FieldType) -> Conversion:
            return _mapping(kind, self.values, self.type, number)

        return _converted(self.field, fields, number, f"map {{}} by {len(self.values)} pairs", convert)


def _converted(
    field: str,
    fields: Fields,
    number: int,
    text: str,
    convert: Any,
    unit: str | msgspec.UnsetType | None = msgspec.UNSET,
) -> BoundStep:
    """The step that converts the values of one field, what stands in lists and beside `None` too."""
    path = path_of(field, member_of(number, "field"))
    old = field_at(fields, path, member_of(number, "field"))
    whole = convert in (_wrapping, _unwrapping)
    conversion = convert(old.type) if whole else lifted(old.type, convert)
    said = old.unit if unit is msgspec.UNSET else None if unit is None else Unit(unit).code
    new = Field(path[-1], conversion.kind, unit=said, doc=old.doc)
    after = with_field(without(fields, path), path, new, member_of(number, "field"))
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
        else node_field("value", node, member_of(number, "type")).type
    )
    there: dict[bytes, Any] = {}
    back: dict[bytes, Any] = {}
    from_source, from_target = _key(kind), _key(target)
    for place, (one, other) in enumerate(pairs):
        make_one = constant(kind, one, member_of(number, f"values[{place}][0]"))
        make_other = constant(target, other, member_of(number, f"values[{place}][1]"))
        source, view = (opener(kind) or same)(make_one()), (opener(target) or same)(make_other())
        if from_source(source) in there or from_target(view) in back:
            raise LensError(
                "a map of values is not one to one",
                path=member_of(number, f"values[{place}]"),
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
        known=tuple(there.values()),
    )


def _key(kind: FieldType) -> Any:
    code = coder(kind)
    return lambda value: pack({"": code(value)})


def _kind_of(values: list[Any], number: int) -> FieldType:
    kinds = {type(value) for value in values}
    found = {str: "str", int: "int", bool: "bool"}.get(next(iter(kinds))) if len(kinds) == 1 else None
    if found is None:
        raise LensError(
            "a map of values does not say of what type they are",
            path=member_of(number, "values"),
            expected="texts, integers or truth values",
            hint='Say it: "type": {"type": "number"}.',
        )
    name: Any = found
    return Scalar(name)
