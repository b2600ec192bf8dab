"""Steps of programs: each is a form of JSON, and knows the types it leads from and to. Here are those that move fields."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from atdata.errors import LensError
from atdata.lens.language.binding import BoundStep, Values, moving
from atdata.lens.language.constants import constant, node_field
from atdata.lens.language.trees import Fields, Path, field_at, name_of, path_of, shown, with_field, without
from atdata.lens.types import opener
from atdata.samples.codec import pack
from atdata.samples.forms import DTYPES, Numbers
from atdata.samples.kinds import Misfit, SampleOf
from atdata.samples.kinds.field import Field
from atdata.samples.stacking import stack


class Step(msgspec.Struct, tag_field="op", tag=str.lower, forbid_unknown_fields=True, frozen=True):
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
        path = path_of(self.field, member_of(number, "field"))
        new = (*path[:-1], name_of(self.to, member_of(number, "to")))
        return _moved(fields, path, new, number, f"rename {shown(path)} to {self.to}")


class Move(Step, frozen=True):
    """Moves a field into another sample in a field, or out of one: `{"op": "move", "field": "x", "to": "at.x"}`."""

    field: str
    to: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path, new = path_of(self.field, member_of(number, "field")), path_of(self.to, member_of(number, "to"))
        return _moved(fields, path, new, number, f"move {shown(path)} to {shown(new)}")


class Add(Step, frozen=True):
    """Adds a field with one value for all: `{"op": "add", "field": "n", "type": {"type": "integer"}, "value": 0}`."""

    field: str
    type: dict[str, Any]
    value: Any

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, member_of(number, "field"))
        declared = node_field(path[-1], self.type, member_of(number, "type"))
        make = constant(declared.type, self.value, member_of(number, "value"))
        opened = opener(declared.type) or same
        after = with_field(fields, path, declared, member_of(number, "field"))

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
            known=lambda: ((opened(make()),),),
        )


class Drop(Step, frozen=True):
    """Leaves a field out; `put` keeps what the source has: `{"op": "drop", "field": "debug"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, member_of(number, "field"))
        field_at(fields, path, member_of(number, "field"))
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


class Nest(Step, frozen=True):
    """Makes a sample of some fields, in a field: `{"op": "nest", "fields": ["x", "y"], "to": "at", "name": "Point"}`."""

    fields: list[str]
    to: str
    name: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        paths = several(self.fields, fields, number)
        parts = tuple(field_at(fields, path, member_of(number, "fields")) for path in paths)
        kind = SampleOf(name_of(self.name, member_of(number, "name")), parts)
        return _nested(fields, paths, path_of(self.to, member_of(number, "to")), kind, number)


class Hoist(Step, frozen=True):
    """Makes fields of those of a sample in a field: `{"op": "hoist", "field": "at"}`."""

    field: str

    def bind(self, fields: Fields, number: int) -> BoundStep:
        """See `Step`."""
        path = path_of(self.field, member_of(number, "field"))
        kind = field_at(fields, path, member_of(number, "field")).type
        if not isinstance(kind, SampleOf):
            raise LensError(
                f"{shown(path)} holds no sample", path=member_of(number, "field"), expected="a sample", actual=kind
            )
        after, names = without(fields, path), [part.name for part in kind.fields]
        paths = tuple((*path[:-1], name) for name in names)
        for new, part in zip(paths, kind.fields, strict=True):
            after = with_field(after, new, part, member_of(number, "field"))
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


def _moved(fields: Fields, path: Path, new: Path, number: int, text: str) -> BoundStep:
    field = field_at(fields, path, member_of(number, "field"))
    if new[: len(path)] == path:
        raise LensError(f"{shown(path)} cannot be moved into itself", path=member_of(number, "to"), actual=shown(new))
    after = with_field(without(fields, path), new, field, member_of(number, "to"))
    return moving(number, text, (path, new), after, field.type)


def _nested(fields: Fields, paths: tuple[Path, ...], new: Path, kind: SampleOf, number: int) -> BoundStep:
    after = fields
    for path in paths:
        after = without(after, path)
    after = with_field(after, new, Field(new[-1], kind), member_of(number, "to"))
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


def _column(values: list[Any]) -> Any:
    """The column of values of one kind: of Python's numbers an array, as the reader makes it."""
    dtype = DTYPES.get(type(values[0])) if values else None
    try:
        return stack(values) if dtype is None else Numbers(np.array(values, dtype))
    except OverflowError:
        return values


def member_of(number: int, member: str) -> str:
    """The place of a member of a step."""
    return f"steps[{number}].{member}"


def several(given: list[str], fields: Fields, number: int) -> tuple[Path, ...]:
    """The paths of fields beside each other.

    Raises:
        LensError: they are none.
    """
    paths = tuple(path_of(text, member_of(number, "fields")) for text in given)
    if not paths or len(set(paths)) < len(paths) or len({path[:-1] for path in paths}) > 1:
        raise LensError(
            "fields to be put together must be different ones beside each other",
            path=member_of(number, "fields"),
            actual=given,
        )
    for path in paths:
        field_at(fields, path, member_of(number, "fields"))
    return paths


def same(value: Any) -> Any:
    """A value as it is."""
    return value
