"""Sample types as schemas. Two classes of one schema are one type to a lens: their values are opened, which leaves only
what no class is bound to, and closed again in the other class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Hashable
from typing import Any, TypeAlias, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.errors import LensError, NoHomeError
from atdata.samples import DictOf, DictSample, FieldType, ListOf, Maybe, PackableSample, TupleOf, fields_of
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.choices import EnumOf
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.kind import described
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.packable import maker_of
from atdata.schema import schema_of, to_json_schema

S = TypeVar("S")
V = TypeVar("V")

Convert: TypeAlias = Callable[[Any], Any]
Coder: TypeAlias = Callable[[Any], Any]


def schema_key(sample_type: Any) -> Hashable:
    """The key that equal schemas have in common: name, fields, types and units, without documentation.

    Raises:
        FieldTypeError: it is no sample type.
    """
    if isinstance(sample_type, type) and issubclass(sample_type, DictSample):
        return sample_type
    schema = schema_of(sample_type)
    return dataclasses.replace(schema, fields=tuple(map(_bare, schema.fields)))


def schema_cid(sample_type: type) -> Cid:
    """The CID of the DAG-CBOR of a sample type's JSON Schema, without documentation: the same for all classes of a schema.

    Raises:
        FieldTypeError: it is no sample type.
    """
    schema = schema_of(sample_type)
    bare = dataclasses.replace(schema, fields=tuple(map(_bare, schema.fields)))
    return Cid.of_cbor(cbor.encode(to_json_schema(bare)[0]))


def chosen(sample_type: type, names: Collection[str] | None) -> tuple[str, ...]:
    """The names of the fields of a sample type, or of those that are asked for, in its order."""
    return tuple(field.name for field in fields_of(sample_type) if names is None or field.name in names)


def another_type(wanted: type, given: Any) -> LensError:
    """The error that a sample is of no such type."""
    name = wanted.__name__
    sides = {"expected": name_beside(wanted, type(given)), "actual": name_beside(type(given), wanted)}
    return LensError(f"a sample is no {name}", **sides, hint=f"Give a sample of type {name}.")


def name_beside(sample_type: type, other: type) -> str:
    """The name of a type; beside another of the same name with the first field in which they differ."""
    name = sample_type.__name__
    if name != other.__name__ or not (_is_packable(sample_type) and _is_packable(other)):
        return name
    own, theirs = ({field.name: str(_bare(field)) for field in fields_of(each)} for each in (sample_type, other))
    for said in (found for key, found in own.items() if theirs.get(key) != found):
        return f"{name} with {said}"
    lacking = next((key for key in theirs if key not in own), None)
    return f"{name} without {lacking}" if lacking else name


def _is_packable(given: type) -> bool:
    return issubclass(given, PackableSample) and not issubclass(given, DictSample)


def undocumented(kind: FieldType) -> FieldType:
    """The same kind without the documentation of the samples in it."""
    changes: dict[str, Any] = {}
    for part in dataclasses.fields(kind):  # type: ignore[arg-type]
        value = getattr(kind, part.name)
        if isinstance(value, FieldType):
            changes[part.name] = undocumented(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], FieldType):
            changes[part.name] = tuple(map(undocumented, value))
        elif isinstance(value, tuple) and value and isinstance(value[0], Field):
            changes[part.name] = tuple(map(_bare, value))
    return dataclasses.replace(kind, **changes) if changes else kind  # type: ignore[type-var]


def _bare(field: Field) -> Field:
    return dataclasses.replace(field, type=undocumented(field.type), default=None, doc=None)


def opener(kind: FieldType) -> Convert | None:
    """The function from a value to the same without classes: of a sample the dict of its fields, of a member of an
    enumeration its value. `None` where nothing changes. It raises `Misfit`.
    """
    if isinstance(kind, SampleOf):
        parts = [(part.name, opener(part.type) or _same) for part in kind.fields]
        sample_type = kind.sample_type or object

        def opened(value: Any) -> dict[str, Any]:
            if not isinstance(value, sample_type):
                raise Misfit(kind.name, described(value))
            return {name: convert(getattr(value, name)) for name, convert in parts}

        return opened
    if isinstance(kind, EnumOf):
        return kind.to_stored if kind.python is not None else _value_of_member
    return _lifted(kind, opener)


def closer(kind: FieldType) -> Convert | None:
    """The way back of `opener`, to the classes of a kind."""
    if isinstance(kind, SampleOf):
        parts = [(part, closer(part.type) or _same) for part in kind.fields]
        make = kind.make or _same

        def closed(value: Any) -> Any:
            return make({p.name: convert(value[p.name]) if p.name in value else p.missing() for p, convert in parts})

        return closed
    return kind.from_stored if isinstance(kind, EnumOf) else _lifted(kind, closer)


def coder(kind: FieldType) -> Coder:
    """The function from an opened value to what msgpack can hold: equal values have equal bytes. It raises `Misfit` for what
    is no value of the kind.
    """
    if isinstance(kind, SampleOf):
        parts = {part.name: coder(part.type) for part in kind.fields}

        def coded(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict) or value.keys() != parts.keys():
                raise Misfit(kind.name, described(value))
            return {name: code(value[name]) for name, code in parts.items()}

        return coded
    if isinstance(kind, EnumOf):
        encode, known = kind.stored.encoder, kind.from_stored
        return lambda value: (known(value), encode(value))[1]
    if opener(kind) is None:
        return kind.encoder
    return _lifted(kind, coder) or kind.encoder


def _lifted(kind: FieldType, convert_of: Callable[[FieldType], Convert | None]) -> Convert | None:
    """The conversion of what a container holds."""
    if isinstance(kind, TupleOf):
        items = [convert_of(item) for item in kind.items]
        if not any(items):
            return None
        each = [convert or _same for convert in items]
        if kind.variadic:
            return lambda value: tuple(map(each[0], value))
        return lambda value: tuple(convert(item) for convert, item in zip(each, value, strict=True))
    inner = convert_of(kind.inner) if isinstance(kind, Maybe | ListOf | DictOf) else None
    if inner is None:
        return None
    convert = inner
    if isinstance(kind, Maybe):
        return lambda value: None if value is None else convert(value)
    if isinstance(kind, ListOf):
        return lambda value: list(map(convert, value))
    return lambda value: {key: convert(item) for key, item in value.items()}


def free(sample_type: type) -> bool:
    """True if no value of a field is bound to a class: then columns are the same for all classes of the schema."""
    return all(opener(field.type) is None for field in fields_of(sample_type))


def converter(source_type: type[S], view_type: type[V]) -> Callable[[S], V]:
    """The function from the samples of a class to those of another class of the same schema. It raises `Misfit`."""
    theirs = {field.name: field.type for field in fields_of(source_type)}
    steps = [(field.name, between(theirs[field.name], field.type)) for field in fields_of(view_type)]
    make = maker_of(view_type)

    def converted(sample: S) -> V:
        try:
            return make({name: convert(getattr(sample, name)) for name, convert in steps})
        except AttributeError:
            raise another_type(source_type, sample) from None

    return converted


def between(one: FieldType, other: FieldType) -> Convert:
    """The function from a value to the one of another kind that stands for it, of the classes there."""
    unlock, shut = opener(one) or _same, closer(other) or _same
    return lambda value: shut(unlock(value))


def merger(one: FieldType, other: FieldType) -> Callable[[Any, Any], Any]:
    """The function from a value of another kind, whose samples may lack some fields, and a value of this one, to the value
    of this one that has what the other says. It raises `NoHomeError` where samples lack fields and none stands for them.
    """
    if undocumented(one.as_data()) == undocumented(other.as_data()):
        convert = between(other, one)
        return lambda value, _: convert(value)
    if opener(one) is None:
        return lambda value, _: value  # a kind that takes more
    see = between(one, other)
    shut, unlock = closer(one) or _same, opener(one) or _same
    open_other = opener(other) or _same

    def merge(value: Any, source: Any) -> Any:
        if other.same(see(source), value):
            return source
        given, stands = open_other(value), unlock(source)
        if isinstance(given, dict) and isinstance(stands, dict) and isinstance(one, SampleOf):
            return shut(stands | given)
        raise NoHomeError(
            "a changed value lacks fields that the source has",
            expected=str(one),
            actual=str(other),
            hint="Write a lens that says what stands in them.",
        )

    return merge


def _value_of_member(member: Any) -> Any:
    return member.value


def _same(value: Any) -> Any:
    return value
