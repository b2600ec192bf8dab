"""Lists and dicts of values of one kind; any plain value; a value or nothing."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

import numpy as np

from atdata.samples.kinds.kind import Build, Codec, FieldType, Misfit, Parse, as_read, described
from atdata.samples.kinds.scalars import Scalar, encode_bool, encode_bytes, encode_float, encode_int, encode_str

MAX_DEPTH = 64


@dataclass(frozen=True)
class Plain(FieldType):
    """Any value made of None, bool, int, float, str, bytes, list and dict with `str` keys."""

    def __str__(self) -> str:
        return "Any"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        return Plain() if annotation is Any else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return Any

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return _encode_plain

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return _decode_plain

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {}

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        if isinstance(stored, ListOf | DictOf | Maybe):
            self.check_reads(stored.inner)
        elif not isinstance(as_read(stored), Scalar | Plain):
            raise Misfit("None, bool, int, float, str, bytes, list or dict", str(stored))


@dataclass(frozen=True)
class Maybe(FieldType):
    """A value that may be `None`."""

    inner: FieldType

    def __str__(self) -> str:
        return f"{self.inner} | None"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        if typing.get_origin(annotation) not in (Union, types.UnionType):
            return None
        args = typing.get_args(annotation)
        members = [arg for arg in args if arg is not type(None)]
        if len(members) != 1 or len(args) != 2:
            return None
        inner = parse(members[0], path)
        return inner if isinstance(inner, Maybe) else Maybe(inner)

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return self.inner.annotation(build) | None

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        encode = self.inner.encoder
        return lambda value: None if value is None else encode(value)

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        decode = self.inner.decoder
        return lambda value: None if value is None else decode(value)

    def same(self, one: Any, other: Any) -> bool:
        """See `FieldType`."""
        return one is other if one is None or other is None else self.inner.same(one, other)

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"anyOf": [self.inner.write(), {"type": "null"}]}

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return Maybe(self.inner.as_data())

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield from self.inner.formats()

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        self.inner.check_reads(bare(stored))

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`."""
        return self.inner.arrow(pa)

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return None if value is None else self.inner.to_cell(value)

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`: pandas has other values for what is missing."""
        missing = cell is None or type(cell).__name__ in ("NAType", "NaTType")
        nan = isinstance(cell, float) and cell != cell and self.inner != Scalar("float")
        return None if missing or nan else self.inner.from_cell(cell)


@dataclass(frozen=True)
class ListOf(FieldType):
    """A list with items of one type."""

    inner: FieldType

    def __str__(self) -> str:
        return f"list[{self.inner}]"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        args = typing.get_args(annotation)
        if annotation is list or (typing.get_origin(annotation) is list and not args):  # typing.List
            return ListOf(Plain())
        if typing.get_origin(annotation) is list and len(args) == 1:
            return ListOf(parse(args[0], f"{path}[]"))
        return None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return list[self.inner.annotation(build)]  # type: ignore[misc]

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return _list_codec(str(self), self.inner.encoder)

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return _list_codec(str(self), self.inner.decoder)

    def same(self, one: Any, other: Any) -> bool:
        """See `FieldType`."""
        alike = isinstance(one, list) and isinstance(other, list) and len(one) == len(other)
        return alike and all(self.inner.same(a, b) for a, b in zip(one, other, strict=True))

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        return {"type": "array"} if isinstance(self.inner, Plain) else {"type": "array", "items": self.inner.write()}

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return ListOf(self.inner.as_data())

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield from self.inner.formats()

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        if not isinstance(stored, ListOf):
            raise Misfit(str(self), str(stored))
        _check_items(self.inner, stored.inner)

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`."""
        inner = self.inner.arrow(pa)
        return None if inner is None else pa.list_(inner)

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return [self.inner.to_cell(item) for item in value]

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`."""
        return [self.inner.from_cell(item) for item in cell]


@dataclass(frozen=True)
class DictOf(FieldType):
    """A dict from `str` to values of one type."""

    inner: FieldType

    def __str__(self) -> str:
        return "dict" if isinstance(self.inner, Plain) else f"dict[str, {self.inner}]"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        args = typing.get_args(annotation)
        if annotation is dict or (typing.get_origin(annotation) is dict and not args):  # typing.Dict
            return DictOf(Plain())
        if typing.get_origin(annotation) is dict and len(args) == 2 and args[0] is str:
            return DictOf(parse(args[1], f"{path}[]"))
        return None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return dict[str, self.inner.annotation(build)]  # type: ignore[misc]

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return _dict_codec(str(self), self.inner.encoder)

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return _dict_codec(str(self), self.inner.decoder)

    def same(self, one: Any, other: Any) -> bool:
        """See `FieldType`."""
        alike = isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys()
        return alike and all(self.inner.same(one[key], other[key]) for key in one)

    def write(self) -> dict[str, Any]:
        """See `FieldType`."""
        if isinstance(self.inner, Plain):
            return {"type": "object"}
        return {"type": "object", "additionalProperties": self.inner.write()}

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return DictOf(self.inner.as_data())

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        yield from self.inner.formats()

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        if not isinstance(stored, DictOf):
            raise Misfit(str(self), str(stored))
        _check_items(self.inner, stored.inner)

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`."""
        inner = self.inner.arrow(pa)
        return None if inner is None else pa.map_(pa.string(), inner)

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`: pairs, since structs would have the keys of all rows; of a dict of anything the dict."""
        if isinstance(self.inner, Plain):
            return value
        return [{"key": key, "value": self.inner.to_cell(item)} for key, item in value.items()]

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`: Arrow gives maps as pairs, polars as structs of a key and a value."""
        if not isinstance(cell, dict):
            pairs = [(item["key"], item["value"]) if isinstance(item, dict) else item for item in cell]
            cell = dict(pairs)
        return {key: self.inner.from_cell(item) for key, item in cell.items()}


def _check_items(inner: FieldType, stored: FieldType) -> None:
    try:
        inner.check_reads(stored)
    except Misfit as misfit:
        raise misfit.under("[]") from None


def bare(kind: FieldType) -> FieldType:
    """The kind of what is not `None`."""
    return kind.inner if isinstance(kind, Maybe) else kind


def _list_codec(name: str, code: Codec) -> Codec:
    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Misfit(name, described(value))
        index = 0
        try:
            result = []
            for index, item in enumerate(value):  # noqa: B007  the index is for the path of a misfit
                result.append(code(item))
            return result
        except Misfit as misfit:
            raise misfit.under(f"[{index}]") from None

    return convert


def _dict_codec(name: str, code: Codec) -> Codec:
    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(name, described(value))
        result, key = {}, None
        try:
            for key, item in value.items():
                if not isinstance(key, str):
                    raise Misfit("str keys", described(key))
                result[encode_str(key)] = code(item)
            return result
        except Misfit as misfit:
            raise misfit.under(f"[{key!r:.60}]") from None

    return convert


def _encode_plain(value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in (bool, float, bytes):
        return value
    if isinstance(value, np.generic) and not isinstance(value, str | bytes):
        return encode_bool(value) if isinstance(value, np.bool_) else _encode_number(value)
    if isinstance(value, int | float | str | bytes | bytearray):
        return _encode_number(value) if isinstance(value, int | float) else _encode_text(value)
    if isinstance(value, list | dict):
        return _nested(value, _encode_plain, depth)
    hint = "Give the array a field of its own." if isinstance(value, np.ndarray) else None
    raise Misfit("None, bool, int, float, str, bytes, list or dict", described(value), hint=hint)


def _encode_number(value: Any) -> int | float:
    if isinstance(value, bool):
        return value
    return encode_int(value) if isinstance(value, int | np.integer) else encode_float(value)


def _encode_text(value: Any) -> str | bytes:
    return encode_str(value) if isinstance(value, str) else encode_bytes(value)


def _nested(value: Any, code: Callable[[Any, int], Any], depth: int) -> Any:
    if depth == MAX_DEPTH:
        raise Misfit(f"at most {MAX_DEPTH} lists and dicts inside each other", type(value).__name__)
    codec = _list_codec if isinstance(value, list) else _dict_codec
    return codec(type(value).__name__, lambda item: code(item, depth + 1))(value)


def _decode_plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list | dict):
        return _nested(value, _decode_plain, depth)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise Misfit("None, bool, int, float, str, bytes, list or dict", described(value))
