"""The sample type that a caller wants of data: its name only, kinds of some columns, or all of it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from atdata.arguments import checked_text, checked_type
from atdata.errors import SampleError, UsageError
from atdata.samples import Field, FieldType, Maybe, Scalar, fields_of
from atdata.samples.fields import parse_field
from atdata.samples.kinds import Array, ClassLabel, Derived, Misfit
from atdata.samples.kinds.choices import EnumOf, LiteralOf
from atdata.samples.kinds.kind import described
from atdata.samples.kinds.moments import Date, DateTime, Time

_INT = re.compile(r"[+-]?[0-9]{1,20}")
_FINER = re.compile(r"[.,][0-9]{6}(0*[1-9][0-9]*)")  # which Python's moments would leave out
_BOOLS = {"true": True, "false": False, "1": True, "0": False}
_ISO: tuple[tuple[type[FieldType], Any], ...] = ((DateTime, dt.datetime), (Date, dt.date), (Time, dt.time))


@dataclass(frozen=True)
class Wanted:
    """The sample type that is wanted.

    Attributes:
        name: what to call an inferred type.
        sample_type: the type, in place of an inferred one.
        schema: annotations of some columns, in place of what is inferred.
    """

    name: str
    sample_type: type | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, sample_type: type | None, schema: Mapping[str, Any] | None) -> Wanted:
        """The type that is wanted, checked.

        Raises:
            FieldTypeError: it is no sample type, or an annotation is none of a field.
            UsageError: both are given.
        """
        if sample_type is not None and schema:
            raise UsageError("give sample_type= or schema=, not both", path="schema")
        checked_text(name, "name", "Give the name of a class.")
        if schema is not None:
            checked_type(schema, Mapping, "schema", "Give annotations by column, such as {'zip': str}.")
        wanted = cls(name, sample_type, dict(schema or {}))
        _ = wanted.fields
        return wanted

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The fields that are declared, by their name, which is that of a column."""
        if self.sample_type is not None:
            return {each.name: each for each in fields_of(self.sample_type)}
        return {name: parse_field(name, annotation, name) for name, annotation in self.schema.items()}

    def declares(self, column: str) -> bool:
        """True if it says what a column is."""
        return column in self.fields

    def check(self, columns: Sequence[str], uri: str) -> None:
        """Check that data have the columns that are declared.

        Raises:
            UsageError: one is missing that every sample must have.
        """
        missing = [name for name, each in self.fields.items() if name not in columns and each.required]
        if missing:
            raise UsageError(
                "there is no column for a field",
                uri=uri,
                path=missing[0],
                expected="one of " + ", ".join(columns)[:200],
                hint="Call the field as the column is called, or give it a default.",
            )


def converter(kind: FieldType) -> Callable[[Any], Any]:
    """The function from a value as data have it to a value of a field. It raises `Misfit`."""
    encode, from_cell = kind.encoder, kind.from_cell
    inner = kind.inner if isinstance(kind, Maybe) else kind

    def convert(value: Any) -> Any:
        if value is None and isinstance(kind, Maybe):
            return None
        try:
            encode(value)
        except Misfit as misfit:
            given = _from_text(value, inner) if isinstance(value, str) else value
            if given is None and isinstance(kind, Maybe):
                return None
            given = _from_scalar(given, inner)
            try:
                made = from_cell(given)
                encode(made)
            except (ValueError, TypeError, KeyError, AttributeError):
                raise misfit from None
            return made
        return value

    return convert


def _from_text(text: str, kind: FieldType) -> Any:
    """The value that text stands for, as far as the kind of field can tell; `None` for empty text."""
    plain = text.strip()
    if isinstance(kind, EnumOf | LiteralOf) and text in _texts(kind):
        return text
    if not plain:
        return None
    match kind:
        case ClassLabel():
            return kind.names.index(plain) if plain in kind.names else int(plain) if _INT.fullmatch(plain) else text
        case Scalar("int"):
            return int(plain) if _INT.fullmatch(plain) else text
        case Scalar("float"):
            return _number(plain, text)
        case Scalar("bool"):
            return _BOOLS.get(plain.lower(), text)
        case EnumOf() | LiteralOf():
            return plain if kind.kind == "str" else _from_text(plain, kind.stored)
        case _ if moment := next((python for known, python in _ISO if isinstance(kind, known)), None):
            if finer := _FINER.search(plain):
                raise Misfit(f"{kind} to the microsecond", f"{described(text)}: {finer[1]} is finer")
            try:
                return moment.fromisoformat(plain)
            except ValueError:
                return text
        case Derived() if kind.stored == Scalar("str"):
            return plain
        case Scalar() | Derived():
            return text
    try:
        return json.loads(plain)
    except ValueError:
        return text


def _texts(kind: EnumOf | LiteralOf) -> Collection[Any]:
    """The stored values that may be chosen."""
    return kind.values if isinstance(kind, LiteralOf) else [value for _, value in kind.members]


def _number(plain: str, text: str) -> Any:
    try:
        return text if "_" in plain else float(plain)
    except ValueError:
        return text


def _from_scalar(value: Any, kind: FieldType) -> Any:
    """A value of another type that loses nothing as one of a kind: 1.0 for an int, 1 for a bool, an array of another dtype."""
    match kind:
        case ClassLabel() if isinstance(value, str) and value in kind.names:
            return kind.names.index(value)
        case Scalar("int") | ClassLabel() if isinstance(value, float) and value.is_integer():
            return int(value)
        case Scalar("bool") if value in (0, 1) and isinstance(value, int | float):
            return bool(value)
        case DateTime() | Date() if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind == "M":
            moment = value.astype("M8[us]").item() if value.astype("M8[us]") == value else value
            return moment.date() if isinstance(kind, Date) and isinstance(moment, dt.datetime) else moment
        case Scalar("str") if isinstance(value, int | float | dt.date | dt.time):
            return str(value)
        case Array() if (
            isinstance(value, np.ndarray) and kind.scalar is not None and value.dtype.type is not kind.scalar
        ):
            cast = value.astype(kind.scalar)
            return cast if np.array_equal(cast, value, equal_nan=value.dtype.kind in "fc") else value
    return value


def misfit_at(misfit: Misfit, uri: str, where: str, name: str) -> SampleError:
    """The error for a value that does not fit its field; `where` is its row."""
    error = misfit.as_error("a value does not fit its field")
    error.uri, error.path = uri, f"{where}, {name}{error.path or ''}"
    error.hint = error.hint or "Change the value, or the type of the field."
    return error
