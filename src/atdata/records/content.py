"""Metadata of a declared type in an entry: `contentMetadata`, held to the schema that `metadataSchemaRef` names.

A record holds no floats. Where the schema says `number`, the shortest text that brings a float back stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from atdata.errors import FieldTypeError, LexiconError, SampleError
from atdata.samples import FieldType, ListOf, Maybe, PackableSample, Plain, Scalar, TupleOf, fields_of
from atdata.samples.codec import pack, unpack
from atdata.samples.kinds import DictOf, Labelled, SampleOf

T = TypeVar("T", bound=PackableSample)

_FLOAT = re.compile(r"-?(?:[0-9]{1,400}(?:\.[0-9]{1,400})?(?:e[+-]?[0-9]{1,3})?|inf)|nan")


def write_content(sample: PackableSample) -> dict[str, Any]:
    """A sample as the object that a record holds.

    Raises:
        SampleError: a value does not fit its declared type, or is a float where no type says so; `path` names it.
        FieldTypeError: it is no sample.
    """
    if not isinstance(sample, PackableSample):
        raise FieldTypeError(
            "metadata of a declared type must be a sample",
            actual=type(sample).__name__,
            hint="Declare their type: class Instrument(atdata.PackableSample): ...",
        )
    kinds, stored = {field.name: field.type for field in fields_of(type(sample))}, unpack(sample.packed)
    return {
        name: _written(kinds[name], value, f"{type(sample).__name__}.{name}")
        for name, value in stored.items()
        if value is not None or not isinstance(kinds[name], Maybe)
    }


def read_content(sample_type: type[T], content: Mapping[str, Any]) -> T:
    """The sample that the object in a record stands for.

    Raises:
        LexiconError: it is none of the type; `path` names the member.
    """
    try:
        stored = {f.name: _read(f.type, content[f.name]) for f in fields_of(sample_type) if f.name in content}
        return sample_type.from_bytes(pack(stored))
    except (SampleError, TypeError, ValueError, OverflowError) as error:
        raise LexiconError(
            "content metadata are not what their schema says",
            path=f"contentMetadata.{getattr(error, 'path', None) or sample_type.__name__}",
            expected=getattr(error, "expected", None),
            actual=getattr(error, "actual", None) or str(error)[:120],
        ) from None


def _written(kind: FieldType, value: Any, path: str) -> Any:
    if isinstance(value, float):
        if not _is_number(kind):
            raise SampleError(
                "a record holds no floats, and the type does not say that this is one",
                path=path,
                actual=value,
                hint="Declare it as float, or put it into metadata=.",
            )
        return repr(value)
    return _each(kind, value, lambda inner, item, where: _written(inner, item, path + where))


def _read(kind: FieldType, value: Any) -> Any:
    if isinstance(value, str) and _is_number(kind):
        if not _FLOAT.fullmatch(value):
            raise SampleError("a number is none", expected="a number, as text", actual=value[:60])
        return float(value)
    return _each(kind, value, lambda inner, item, _: _read(inner, item))


def _is_number(kind: FieldType) -> bool:
    inner = kind.inner if isinstance(kind, Maybe) else kind
    return (inner.stored if isinstance(inner, Labelled) else inner) == Scalar("float")


def _each(kind: FieldType, value: Any, convert: Any) -> Any:
    """A list or a map with its items converted, each as what its kind says."""
    kind = kind.inner if isinstance(kind, Maybe) else kind
    if isinstance(value, list | tuple):
        return [convert(_item_kind(kind, number), item, f"[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        members = {part.name: part.type for part in kind.fields} if isinstance(kind, SampleOf) else {}
        inner = kind.inner if isinstance(kind, DictOf) else Plain()
        return {key: convert(members.get(key, inner), item, f"[{key!r:.60}]") for key, item in value.items()}
    return value


def _item_kind(kind: FieldType, number: int) -> FieldType:
    if isinstance(kind, TupleOf):
        return kind.items[0 if kind.variadic else min(number, len(kind.items) - 1)]
    return kind.inner if isinstance(kind, ListOf) else Plain()
