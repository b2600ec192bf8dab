"""Schemas from Python types, and Python types from schemas, built from data and never from source text."""

from __future__ import annotations

import copyreg
import dataclasses
import keyword
import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Any, cast

from atdata.errors import SchemaError
from atdata.samples import Doc, Field, Maybe, PackableSample, Unit, fields_of
from atdata.samples.packable import SETS_FIELDS
from atdata.schema.model import SampleSchema

MAX_FIELDS = 1000
_SCHEMA = "__atdata_schema__"


class SchemaType(type):
    """The class of sample types that were built from a schema. They pickle as their schema."""


def schema_of(sample_type: type, name: str | None = None) -> SampleSchema:
    """The schema of a sample type, under its own name or another.

    Raises:
        FieldTypeError: it is no sample type.
    """
    fields = tuple(
        dataclasses.replace(field, type=field.type.as_data(), default=None) for field in fields_of(sample_type)
    )
    return SampleSchema(sample_type.__name__ if name is None else name, fields)


@lru_cache(maxsize=1024)
def type_of(schema: SampleSchema) -> type[PackableSample]:
    """The sample type a schema describes; the same class for an equal schema.

    Fields that may be None default to None and are given by keyword.

    Raises:
        SchemaError: a field has a name that no Python attribute can have.
    """
    if len(schema.fields) > MAX_FIELDS:
        raise SchemaError("a schema has too many fields", expected=f"at most {MAX_FIELDS}", actual=len(schema.fields))
    namespace: dict[str, Any] = {"__annotations__": {}, "__module__": __name__, _SCHEMA: schema}
    for field in schema.fields:
        _check_name(field.name)
        namespace["__annotations__"][field.name] = _annotation(field)
        if isinstance(field.type, Maybe):
            namespace[field.name] = dataclasses.field(default=None, kw_only=True)
    name = _class_name(schema.name)
    namespace |= {"__init__": _fill, "__doc__": f"Samples of the schema {name}.", "__qualname__": name}
    built: Any = SchemaType(name, (PackableSample,), namespace)
    # No generated methods: a dataclass writes them as source text, and a stranger's names would stand in it.
    dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False)(built)
    fields_of(built)
    return cast(type[PackableSample], built)


def _fill(sample: Any, /, *given: Any, **named: Any) -> None:
    """The `__init__` of every type built from a schema."""
    kind, fields = type(sample).__name__, dataclasses.fields(sample)
    names = [field.name for field in fields if not field.kw_only]
    if len(given) > len(names):
        raise TypeError(f"{kind} takes {len(names)} values by position, not {len(given)}")
    values = dict(zip(names, given, strict=False))
    if twice := values.keys() & named.keys():
        raise TypeError(f"{kind} was given two values for {', '.join(sorted(twice))}")
    values |= named
    for field in fields:
        if field.name not in values and field.default is dataclasses.MISSING:
            raise TypeError(f"{kind} needs a value for {field.name}")
        setattr(sample, field.name, values.pop(field.name, field.default))
    if values:
        raise TypeError(f"{kind} has no field {', '.join(sorted(values))}")


setattr(_fill, SETS_FIELDS, True)


def _check_name(name: str) -> None:
    # Python reads identifiers in NFKC: another form would be set under one name and asked for under another.
    possible = name.isidentifier() and not keyword.iskeyword(name) and unicodedata.normalize("NFKC", name) == name
    if not possible or name.startswith("__") or hasattr(PackableSample, name):
        raise SchemaError(
            "a field's name is not a valid Python attribute name",
            path=f"properties.{name[:60]}",
            hint="Read the dataset without a type: Dataset[atdata.DictSample].",
        )


def _class_name(name: str) -> str:
    """A Python name for a schema's name, which may be any text."""
    plain = re.sub(r"\W+", "_", name).strip("_")[:60]
    return plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"Sample_{plain}".rstrip("_")


def _annotation(field: Field) -> Any:
    said: list[Any] = [Unit(field.unit)] if field.unit else []
    said += [Doc(field.doc)] if field.doc else []
    annotation = field.type.annotation(_build)
    return Annotated[(annotation, *said)] if said else annotation


def _build(name: str, fields: tuple[Field, ...]) -> type:
    return type_of(SampleSchema(name, fields))


def _reduce(built: type) -> str | tuple[Any, ...]:
    schema = vars(built).get(_SCHEMA)
    # What a user derives from such a type is a class of theirs, found by its name.
    return built.__qualname__ if schema is None else (type_of, (schema,))


copyreg.pickle(SchemaType, _reduce)
