"""The base of all kinds of fields: what one class says of a kind, and how a value that does not fit climbs out.

Checks cost nothing until one fails: the failing value then climbs out as a `Misfit`, and each container on the way adds
its place to the path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from atdata.errors import FieldTypeError, SampleError, SchemaError
from atdata.samples.forms import Numbers
from atdata.samples.npy import item_bytes

Codec: TypeAlias = Callable[[Any], Any]
Parse: TypeAlias = "Callable[[Any, str], FieldType]"
"""Reads the annotation of a part, for the path of its field."""
Read: TypeAlias = "Callable[[Any, str], FieldType]"
"""Reads a part of a schema, under its path."""
Build: TypeAlias = Callable[[str, Any], type]
"""Builds the sample type of some fields, under a name."""

OURS = "atdata"
"""The member of a node in a schema that says what JSON Schema has no word for."""


class Misfit(Exception):
    """A value that does not fit; never leaves this package."""

    def __init__(self, expected: str, actual: str, path: str = "", hint: str | None = None) -> None:
        super().__init__(expected)
        self.expected, self.actual, self.path, self.hint = expected, actual, path, hint

    def under(self, place: str) -> Misfit:
        """The same misfit, seen from the container that holds it."""
        return Misfit(self.expected, self.actual, place + self.path, self.hint)

    def as_error(self, what: str) -> SampleError:
        """The public error."""
        return SampleError(what, path=self.path, expected=self.expected, actual=self.actual, hint=self.hint)


class FieldType:
    """A kind of field, with what one field says of it. All that atdata knows of the kind is in its class.

    A kind is a frozen dataclass, so that equal ones are one key, in a table of `atdata.samples.kinds`.
    """

    extensions: ClassVar[tuple[str, ...]] = ()
    """Extensions of files that hold such a value and nothing else: `jpg`, for an image."""

    # In annotations

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """The kind that a resolved annotation stands for; `None` where it stands for another.

        Raises:
            FieldTypeError: it is of this kind, and no sample can hold it.
        """
        raise NotImplementedError

    def annotation(self, build: Build) -> Any:
        """An annotation that stands for it."""
        raise NotImplementedError

    # In samples

    @cached_property
    def encoder(self) -> Codec:
        """The function from a value to what msgpack can hold. It raises `Misfit`."""
        raise NotImplementedError

    @cached_property
    def decoder(self) -> Codec:
        """The function from what msgpack holds to a value. It raises `Misfit`."""
        raise NotImplementedError

    def same(self, one: Any, other: Any) -> bool:
        """True if two values are equal: arrays bit for bit, NaN to NaN."""
        return same(one, other)

    # In schemas

    def write(self) -> dict[str, Any]:
        """Its node in a JSON Schema."""
        raise NotImplementedError

    def formats(self) -> Iterator[tuple[str, str]]:
        """Yields the array formats that it uses, each with the version."""
        yield from ()

    # Beside other kinds

    def as_data(self) -> FieldType:
        """The same kind without classes and functions of Python."""
        return self

    def check_reads(self, stored: FieldType) -> None:
        """Check that every value of another kind, as it is stored, is read as that value of this one. Raises `Misfit`."""
        if self != stored:
            raise Misfit(str(self), str(stored))

    # In tables

    def arrow(self, pa: Any) -> Any:
        """The Arrow type of its cells; `None` where only values can say."""
        return None

    def to_cell(self, value: Any) -> Any:
        """A value as Arrow takes it."""
        return value

    def from_cell(self, cell: Any) -> Any:
        """The value that stands in a cell of a table, as Arrow, pandas or polars give it."""
        return cell

    def __getstate__(self) -> dict[str, Any]:
        # Without what is cached beside them.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


class Marker:
    """A word in `Annotated[T, ...]` that makes another kind of what T is."""

    def apply(self, inner: FieldType, path: str) -> FieldType:
        """The kind it makes.

        Raises:
            FieldTypeError: it says nothing about such a field.
        """
        raise NotImplementedError


class Labelled(FieldType):
    """A kind that schemas name beside the kind of what is stored, which readers who do not know it take it for."""

    label: ClassVar[str]
    """Its name in schemas."""

    @property
    def stored(self) -> FieldType:
        """The kind that its stored values are of."""
        raise NotImplementedError

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """The kind that a node says.

        Args:
            node: the node.
            details: what its member `atdata` says.
            path: where it stands.
            read: reads other nodes.

        Raises:
            SchemaError: the details are none of this kind.
        """
        return cls()


class Derived(Labelled):
    """A kind whose values each stand for one of another kind, in samples and in columns."""

    itself: ClassVar[bool] = False
    """True where values are what is stored, and the kind only says which: of all numbers some."""

    def to_stored(self, value: Any) -> Any:
        """The stored value that stands for a value. Raises `Misfit`."""
        raise NotImplementedError

    def from_stored(self, stored: Any) -> Any:
        """The value that a stored value stands for. Raises `Misfit`."""
        raise NotImplementedError

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        to_stored, encode = self.to_stored, self.stored.encoder
        return lambda value: encode(to_stored(value))

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        from_stored, decode = self.from_stored, self.stored.decoder
        return lambda value: from_stored(decode(value))

    def column(self, stored: Any) -> Any:
        """A column of values from one of stored values, `None` where there is none. Raises `Misfit`."""
        convert, values = self.from_stored, stored.tolist() if isinstance(stored, Numbers) else stored
        return [None if value is None else convert(value) for value in values]

    def same(self, one: Any, other: Any) -> bool:
        """See `FieldType`: the same is stored for both."""
        try:
            return same(self.encoder(one), self.encoder(other))
        except Misfit:
            return same(one, other)

    def write(self) -> dict[str, Any]:
        """See `FieldType`: the node of what is stored, and beside it what says the kind."""
        node = {**self.stored.write(), **self.keywords()}
        return {**node, OURS: {**node.get(OURS, {}), "type": self.label, **self.details()}}

    def keywords(self) -> dict[str, Any]:
        """The words of JSON Schema that say something about it."""
        return {}

    def details(self) -> dict[str, Any]:
        """The words of this package that say something about it."""
        return {}

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield from self.stored.formats()

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`: of what is stored, where Arrow has no type for the kind."""
        return self.stored.arrow(pa)

    def fitted(self, pa: Any, values: list[Any]) -> Any:
        """The Arrow type that holds just these values as they are; `None` where only `arrow` does."""
        return None

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return self.encoder(value)

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`: what is stored stands there, or a value."""
        try:
            return self.decoder(self.stored.encoder(self.stored.from_cell(cell)))
        except Misfit:
            return self.decoder(self.encoder(cell))


class OfClass(Derived):
    """A kind whose values are the objects of one Python class, which is its annotation."""

    python: ClassVar[type]

    def __str__(self) -> str:
        return self.python.__name__

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        return cls() if annotation is cls.python else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return self.python


def as_read(kind: FieldType) -> FieldType:
    """The kind of the values that a reader without narrower words finds where values of a kind are stored."""
    return kind.stored if isinstance(kind, Derived) and kind.itself else kind


def described(value: Any) -> str:
    """A value, in an error: its type, and what it is where that is short."""
    if isinstance(value, np.ndarray):
        return f"NDArray[{value.dtype}] {list(value.shape)}"
    return f"{type(value).__name__} {value!r:.60}" if isinstance(value, int | float | str) else type(value).__name__


def same(one: Any, other: Any) -> bool:
    """True if two values of a field are equal: arrays bit for bit, NaN to NaN."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        arrays = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
        alike = arrays and one.dtype == other.dtype and one.shape == other.shape
        return alike and item_bytes(one) == item_bytes(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        alike = isinstance(one, list) == isinstance(other, list) and len(one) == len(other)
        return alike and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other or (one != one and other != other))


def is_unicode(text: str) -> bool:
    """True for text that samples and schemas can hold: without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unfit(annotation: Any, path: str, hint: str) -> FieldTypeError:
    """The error for an annotation that no sample can hold."""
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return FieldTypeError(f"field type {name} is not supported", path=path, actual=name, hint=hint)


def malformed(path: str, expected: str) -> SchemaError:
    """The error for a node whose details are none of its kind."""
    return SchemaError("a schema is malformed", path=path, expected=expected)
