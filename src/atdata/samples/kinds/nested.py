"""Samples as values of fields; and the fields of a sample type in a schema."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from atdata.errors import FieldTypeError, SchemaError
from atdata.samples.kinds.containers import DictOf, Maybe, Plain, bare
from atdata.samples.kinds.field import Doc, Field, Unit
from atdata.samples.kinds.kind import OURS, Build, Codec, FieldType, Labelled, Misfit, Parse, Read, described, malformed

_NAME = "Sample"


@dataclass(frozen=True)
class SampleOf(Labelled):
    """A sample in a field of another one, stored as its map.

    Attributes:
        name: of its type.
        fields: of its type.
        sample_type: the class that its values are of, which counts for nothing where kinds are compared; `None` in what
            was read out of a schema.
        make: makes a sample of the values of all fields.
    """

    label = "sample"

    name: str
    fields: tuple[Field, ...]
    sample_type: type | None = field(default=None, compare=False)
    make: Callable[[dict[str, Any]], Any] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{part.name}: {part.shown}' for part in self.fields)})"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`: a sample type says itself what it is."""
        kind = getattr(annotation, "_as_field_type", None) if isinstance(annotation, type) else None
        return kind() if kind is not None else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`: it never stands for the class of a user, but for one of the same fields."""
        return build(self.name, self.fields)

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return DictOf(Plain())

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        encoders = [(part.name, part.type.encoder) for part in self.fields]
        wanted = self.sample_type

        def encode(value: Any) -> dict[str, Any]:
            if wanted is None or not isinstance(value, wanted):
                raise Misfit(self.name, described(value))
            values, name = {}, ""
            try:
                for name, code in encoders:
                    values[name] = code(getattr(value, name))
            except Misfit as misfit:
                raise misfit.under(f".{name}") from None
            return values

        return encode

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`. Fields that the type does not declare are passed over."""
        decoders = [(part, part.type.decoder) for part in self.fields]

        def decode(stored: Any) -> Any:
            if not isinstance(stored, dict):
                raise Misfit(self.name, described(stored))
            values, part = {}, None
            for part, code in decoders:
                try:
                    if part.name in stored:
                        values[part.name] = code(stored[part.name])
                    elif part.required:
                        raise Misfit(str(part.type), "no such field")
                    else:
                        values[part.name] = part.missing()
                except Misfit as misfit:
                    raise misfit.under(f".{part.name}") from None
            return values if self.make is None else self.make(values)

        return decode

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"title": self.name, **write_fields(self.fields), OURS: {"type": self.label}}

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """See `Labelled`."""
        name = node.get("title", _NAME)
        if not isinstance(name, str):
            raise malformed(f"{path}.title", "text")
        return SampleOf(name, read_fields(node, f"{path}.", read))

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return SampleOf(self.name, tuple(replace(part, type=part.type.as_data(), default=None) for part in self.fields))

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        for part in self.fields:
            yield from part.type.formats()

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: one that has all its fields, and maybe more."""
        if not isinstance(stored, SampleOf):
            raise Misfit(str(self), str(stored))
        theirs = {part.name: part for part in stored.fields}
        for part in self.fields:
            try:
                part.check_reads(theirs.get(part.name))
            except Misfit as misfit:
                raise misfit.under(f".{part.name}") from None

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`: a struct."""
        kinds = [(part.name, part.type.arrow(pa)) for part in self.fields]
        return pa.struct(kinds) if kinds and all(kind is not None for _, kind in kinds) else None

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return {part.name: part.type.to_cell(getattr(value, part.name)) for part in self.fields}

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`."""
        if not isinstance(cell, dict):
            return cell
        values = {part.name: part.type.from_cell(cell[part.name]) for part in self.fields}
        return values if self.make is None else self.make(values)


def write_fields(fields: Sequence[Field]) -> dict[str, Any]:
    """The fields of a sample type as members of the node of an object."""
    return {
        "type": "object",
        "properties": {part.name: _write(part) for part in fields},
        "required": [part.name for part in fields if not isinstance(part.type, Maybe)],
        "propertyOrder": [part.name for part in fields],
    }


def _write(part: Field) -> dict[str, Any]:
    """The node of a field. That it may be `None`, leaving it out of `required` says."""
    node = bare(part.type).write()
    if part.doc is not None:
        node["description"] = part.doc
    if part.unit is not None:
        node[OURS] = {**node.get(OURS, {}), "unit": part.unit}
    return node


def read_fields(node: Mapping[str, Any], path: str, read: Read) -> tuple[Field, ...]:
    """The fields that the node of an object describes.

    Raises:
        SchemaError: a field is of a kind that no sample can hold here; `path` names it.
    """
    properties = node.get("properties")
    if not isinstance(properties, Mapping) or not all(isinstance(key, str) for key in properties):
        raise SchemaError("a schema has no properties", path=f"{path}properties", actual=reprlib.repr(properties))
    required = _names(node.get("required"), properties)
    ordered = _names(node.get("propertyOrder"), properties) or required
    fields = []
    for key in [*ordered, *(key for key in properties if key not in ordered)]:
        kind = read(properties[key], f"{path}properties.{key}")
        optional = key not in required and not isinstance(kind, Maybe)
        fields.append(Field(key, Maybe(kind) if optional else kind, None, *_said(properties[key])))
    return tuple(fields)


def _said(node: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The unit and the documentation in a node; what is none of them says nothing."""
    unit = doc = None
    ours = node.get(OURS)
    with suppress(FieldTypeError):
        unit = Unit(ours["unit"]).code if isinstance(ours, Mapping) and "unit" in ours else None
    with suppress(FieldTypeError):
        doc = Doc(node["description"]).text if "description" in node else None
    return unit, doc


def _names(value: Any, properties: Mapping[str, Any]) -> list[str]:
    """A list of property names, each once; empty where it is none."""
    if not isinstance(value, list):
        return []
    return list(dict.fromkeys(name for name in value if isinstance(name, str) and name in properties))
