"""The ways from one field to another that are sure: those changes of units and types that leave one reading.

What a step makes of a field the language itself says: each way is bound before it counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from atdata.errors import LensError
from atdata.lens.language.casting import DTYPES
from atdata.lens.language.program import Program, fits
from atdata.lens.language.trees import Fields
from atdata.lens.language.units import conversion, decimal_of
from atdata.samples import Array, FieldType, ListOf, Maybe, Scalar
from atdata.samples.kinds import SampleOf
from atdata.samples.kinds.choices import EnumOf, LiteralOf
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.kind import OURS
from atdata.schema import SampleSchema, to_json_schema

Change: TypeAlias = tuple[dict[str, Any], str]
"""A step without its field, and why."""

_SCALARS = ("int", "float", "str", "bool")


def has_way(old: Field, new: Field) -> bool:
    """True if something of a field is kept under its name: also where the unit is a question."""
    if isinstance(old.type, SampleOf) and isinstance(new.type, SampleOf):
        return True
    if way(old, new) is not None:
        return True
    unknown = new.unit is not None and (old.unit is None or scale_of(old.unit, new.unit) is None)
    return unknown and _is_numeric(old) and way(dataclasses.replace(old, unit=new.unit), new) is not None


def way(old: Field, new: Field) -> list[Change] | None:
    """The changes that make one field of another, without a question; `None` where there are none."""
    scale = [] if old.unit == new.unit else scale_of(old.unit, new.unit)
    depth = _depth(new.type) - _depth(old.type)
    if scale == [] and fits(new.type, old.type):
        return []
    one, other = leaf(old.type), leaf(new.type)
    change = _cast(one, other) or _map(one, other)
    if scale is None or abs(depth) > 1 or not (change or fits(other, one)):
        return None
    numbers = _is_number(one) and _is_number(other)
    if scale and change and (not numbers or (_is_float(one) and not _is_float(other))):
        return None  # hardly any rounded number is an integer, and what text means has no unit
    wrap: list[Change] = [({"op": "wrap"}, "one became a list of some")] if depth == 1 else []
    unwrap: list[Change] = [({"op": "unwrap"}, "a list became one; no other lists have a view")] if depth == -1 else []
    orders = ([*change, *scale], [*scale, *change])
    for order in orders if _holds(one, other) else reversed(orders):
        if reached(old, found := [*unwrap, *order, *wrap], new):
            return found
    return None


def reached(old: Field, changes: Sequence[Change], new: Field) -> bool:
    """True if some changes make one field of another: the language itself says so."""
    fields: Fields = {"x": dataclasses.replace(old, name="x")}
    try:
        bound = Program.of(*({**value, "field": "x"} for value, _ in changes)).bind_fields(fields)
    except LensError:
        return False
    found = bound[-1].after["x"] if bound else fields["x"]
    return found.unit == new.unit and fits(new.type, found.type)


def scale_of(one: str | None, other: str | None) -> list[Change] | None:
    """The change of a unit, if it is exact."""
    if other is None:
        return [({"op": "scale", "factor": 1, "unit": None}, "no unit is said any more")]
    known = None if one is None else conversion(one, other)
    factor, offset = (None, None) if known is None else map(decimal_of, known)
    if factor is None or offset is None:
        return None
    value = {"op": "scale", "factor": factor, "unit": other} | ({"offset": offset} if offset else {})
    return [(value, f"{one} became {other}, which is exact")]


def _cast(old: FieldType, new: FieldType) -> list[Change]:
    one, other = _name(old), _name(new)
    if one is None or other is None or one == other:
        return []
    loss = "" if _holds(old, new) else "; what that cannot hold has no view, and floats are rounded"
    return [({"op": "cast", "to": other}, f"{one} became {other}{loss}")]


def _name(kind: FieldType) -> str | None:
    """The name that `cast` has for a kind."""
    if isinstance(kind, Scalar) and kind.kind in _SCALARS:
        return kind.kind
    if isinstance(kind, Array) and kind.scalar is not None:
        return next((name for name, scalar in DTYPES.items() if scalar is kind.scalar), None)
    return None


def _holds(old: FieldType, new: FieldType) -> bool:
    """True if all numbers of one kind are numbers of another."""
    one, other = (_name(kind) for kind in (old, new))
    if one == "str":
        return True  # it is no number before it is cast
    return one is not None and other not in (None, "str") and bool(np.can_cast(np.dtype(one), np.dtype(other)))


def leaf(kind: FieldType) -> FieldType:
    """The kind in lists, and beside `None`."""
    return leaf(kind.inner) if isinstance(kind, Maybe | ListOf) else kind


def _depth(kind: FieldType) -> int:
    return _depth(kind.inner) + isinstance(kind, ListOf) if isinstance(kind, Maybe | ListOf) else 0


def node_of(field: Field) -> dict[str, Any]:
    """The JSON Schema of a field. That it may be `None` it says itself."""
    plain = dataclasses.replace(field, unit=None)
    node: dict[str, Any] = to_json_schema(SampleSchema("Sample", (plain,)))[0]["properties"][field.name]
    if isinstance(field.type, Maybe):
        node = {"anyOf": [node, {"type": "null"}]}
    return node if field.unit is None else {**node, OURS: {**node.get(OURS, {}), "unit": field.unit}}


def _map(old: FieldType, new: FieldType) -> list[Change]:
    """The map of each value to itself, where a kind that lists its values became one that has them all."""
    if not isinstance(old, EnumOf | LiteralOf) or getattr(new, "kind", None) != old.kind or old.kind == "float":
        return []
    if isinstance(new, EnumOf | LiteralOf):
        listed = [kind.members if isinstance(kind, EnumOf) else kind.values for kind in (old, new)]
        if type(new) is not type(old) or not {*listed[0]} <= {*listed[1]}:
            return []
    values = [value for _, value in old.members] if isinstance(old, EnumOf) else old.values
    step = {"op": "map", "values": [[value, value] for value in values], "type": node_of(Field("x", new))}
    return [(step, "the new kind has all values of the old one")]


def _is_float(kind: FieldType) -> bool:
    return _name(kind) in ("float", "float16", "float32", "float64")


def _is_number(kind: FieldType) -> bool:
    return _name(kind) not in (None, "str")


def _is_numeric(field: Field) -> bool:
    kind = leaf(field.type)
    return isinstance(kind, Array) or kind in (Scalar("int"), Scalar("float"))
