"""Programs: lenses as data, in a small closed language.

A program is JSON without floats: `{"language": "atdata-lens", "version": 1, "steps": [...]}`. It is checked against both
whole schemas before it may run, computes nothing but what its steps say, and reaches nothing outside of the sample.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec

from atdata.arguments import checked_map, checked_text, checked_type
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import DataModelError, FieldTypeError, LensError, SchemaError
from atdata.lens.language import parting, steps, value_steps
from atdata.lens.language.binding import BoundStep
from atdata.lens.language.constants import BEYOND, check_plain_data
from atdata.lens.language.trees import Fields
from atdata.lens.types import undocumented
from atdata.samples import Array, DictOf, FieldType, ListOf, Maybe, TupleOf, fields_of
from atdata.samples.fields import accepts, levels
from atdata.samples.kinds import SampleOf
from atdata.samples.kinds.field import Field
from atdata.samples.unambiguous import read_json_text

LANGUAGE = "atdata-lens"
VERSION = 1
MOST_STEPS, MOST_LEVELS = 200, 16
"""Steps of a program, and levels of lists and samples in each other that it may make."""


class _Form(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    language: Literal["atdata-lens"]
    version: Literal[1]
    steps: list[
        steps.Rename
        | steps.Move
        | steps.Add
        | steps.Drop
        | value_steps.Wrap
        | value_steps.Unwrap
        | value_steps.Scale
        | value_steps.Cast
        | value_steps.MapValues
        | steps.Nest
        | steps.Hoist
        | parting.Split
        | parting.Join
    ]


@dataclass(frozen=True)
class Program:
    """A lens as data.

    Attributes:
        text: its JSON, canonical: members sorted, without spaces.
    """

    text: str

    def __post_init__(self) -> None:
        checked_text(self.text, "text", "Give the program's JSON: Program.parse(text).")

    @classmethod
    def parse(cls, value: Mapping[str, Any] | str) -> Program:
        """The program that a value of JSON, or its text, says.

        Raises:
            LensError: it says none; `path` names the place.
        """
        value = _loaded(value) if isinstance(value, str) else value
        check_plain_data(value)
        program = cls(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
        program._form  # noqa: B018  says what is wrong with it
        try:
            program.cid  # noqa: B018
        except (DataModelError, UnicodeEncodeError):
            raise LensError("a program holds what no record can", actual=ascii(value)[:80]) from None
        return program

    @classmethod
    def of(cls, *given: Mapping[str, Any]) -> Program:
        """The program of some steps, in the newest version of the language.

        Raises:
            LensError: one is no step.
        """
        return cls.parse({"language": LANGUAGE, "version": VERSION, "steps": list(given)})

    @cached_property
    def _form(self) -> _Form:
        try:
            form = msgspec.convert(self.value, _Form)
        except msgspec.ValidationError as error:
            said, _, path = str(error).partition(" - at `")
            place = path.rstrip("`").removeprefix("$").removeprefix(".") or None
            raise LensError("a program is not of the language", path=place, actual=said[:200]) from None
        if len(form.steps) > MOST_STEPS:
            raise LensError(
                "a program has too many steps",
                expected=f"at most {MOST_STEPS}",
                actual=len(form.steps),
                hint="Make several programs, and compose their lenses.",
            )
        return form

    @property
    def value(self) -> dict[str, Any]:
        """Its JSON as data, a new one each time."""
        value: dict[str, Any] = _loaded(self.text)
        return value

    @cached_property
    def cid(self) -> Cid:
        """The CID of its DAG-CBOR, which says what it does."""
        return Cid.of_cbor(cbor.encode(self.value))

    def then(self, other: Program) -> Program:
        """The program that does this and then another.

        Raises:
            ArgumentTypeError: the other is no program.
            LensError: both together have too many steps.
        """
        checked_type(other, Program, "other", "Give a program: Program.of(...), or Program.parse(text).")
        return Program.of(*self.value["steps"], *other.value["steps"])

    __or__ = then

    def bind(self, source_type: type[Any], view_type: type[Any]) -> tuple[BoundStep, ...]:
        """Its steps, checked against the schemas of both types.

        Raises:
            LensError: a step finds no field that it could work on, or the whole does not reach the whole schema.
        """
        fields: Fields = {field.name: bare_field(field) for field in fields_of(source_type)}
        bound = self.bind_fields(fields)
        reached = bound[-1].after if bound else fields
        _check_reached(reached, {field.name: field for field in fields_of(view_type)}, view_type.__name__)
        return bound

    def bind_fields(self, fields: Fields) -> tuple[BoundStep, ...]:
        """Its steps, on some fields, wherever they lead.

        Raises:
            LensError: a step finds no field that it could work on.
        """
        bound, fields = [], checked_map(fields, "fields", "Give the fields of a sample type, by name.")
        for number, step in enumerate(self._form.steps):
            try:
                bound.append(step.bind(fields, number))
            except (SchemaError, FieldTypeError) as error:
                raise LensError(
                    "a step of a program has no possible type", path=f"steps[{number}]", actual=error.what
                ) from None
            except BEYOND as error:
                raise LensError(
                    "a step of a program is beyond what can be computed",
                    path=f"steps[{number}]",
                    actual=type(error).__name__,
                ) from error
            fields = bound[-1].after
            if any(levels(field.type) > MOST_LEVELS for field in fields.values()):
                raise LensError(
                    "a program makes too many levels", path=f"steps[{number}]", expected=f"at most {MOST_LEVELS}"
                )
        return tuple(bound)

    def __str__(self) -> str:
        return json.dumps(self.value, indent=2, ensure_ascii=False)


def _loaded(text: str) -> Any:
    try:
        return read_json_text(text)
    except (ValueError, RecursionError) as error:
        raise LensError("a program is no JSON", actual=str(error)[:100], hint="Write it as Program.of does.") from None


def bare_field(field: Field) -> Field:
    """A field as programs see it: without documentation, a default, or classes."""
    return Field(field.name, undocumented(field.type.as_data()), unit=field.unit)


def _check_reached(reached: Fields, wanted: Fields, name: str) -> None:
    """Check that some fields are those of a type: all of them, with their units, and no more."""
    for missing in wanted.keys() - reached.keys():
        raise LensError(
            f"a program does not reach the whole of {name}",
            path=missing,
            expected=str(wanted[missing]),
            hint=f"Add it: {{'op': 'add', 'field': '{missing}', 'type': ..., 'value': ...}}.",
        )
    for extra in reached.keys() - wanted.keys():
        raise LensError(
            f"a program leaves over what {name} does not have",
            path=extra,
            actual=str(reached[extra]),
            hint=f"Leave it out: {{'op': 'drop', 'field': '{extra}'}}.",
        )
    for field, found in reached.items():
        _check_field(field, found, wanted[field], name)


def _check_field(path: str, found: Field, wanted: Field, name: str) -> None:
    if found.unit != wanted.unit or not fits(wanted.type, found.type):
        raise LensError(
            f"a program makes another type of a field than {name} has",
            path=path,
            expected=wanted.shown,
            actual=found.shown,
        )


def fits(wanted: FieldType, found: FieldType) -> bool:
    """True if all values of one kind are values of another, and none loses anything by it."""
    if isinstance(wanted, SampleOf) and isinstance(found, SampleOf):
        theirs = {part.name: part for part in found.fields}
        return theirs.keys() == {part.name for part in wanted.fields} and all(
            part.unit == theirs[part.name].unit and fits(part.type, theirs[part.name].type) for part in wanted.fields
        )
    if isinstance(wanted, Maybe):
        return fits(wanted.inner, found.inner if isinstance(found, Maybe) else found)
    if isinstance(wanted, ListOf | DictOf):
        return type(found) is type(wanted) and fits(wanted.inner, found.inner)
    if isinstance(wanted, TupleOf) and isinstance(found, TupleOf):
        alike = wanted.variadic == found.variadic and len(wanted.items) == len(found.items)
        return alike and all(map(fits, wanted.items, found.items))
    if isinstance(wanted, Array):
        return accepts(wanted, found)
    return undocumented(wanted.as_data()) == found
