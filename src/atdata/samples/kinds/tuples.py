"""Tuples, as lists."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from atdata.samples.kinds.containers import ListOf, Plain
from atdata.samples.kinds.kind import (
    OURS,
    Build,
    Codec,
    FieldType,
    Labelled,
    Misfit,
    Parse,
    Read,
    described,
    malformed,
)


@dataclass(frozen=True)
class TupleOf(Labelled):
    """A tuple: of so many items, each of its own kind, or of any number of one kind.

    Attributes:
        items: the kinds; the only one where there may be any number.
        variadic: whether there may be any number.
    """

    label = "tuple"

    items: tuple[FieldType, ...]
    variadic: bool = False

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.items)) or "()"
        return f"tuple[{inside}, ...]" if self.variadic else f"tuple[{inside}]"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        args = typing.get_args(annotation)
        if annotation is tuple or (annotation is typing.Tuple):  # noqa: UP006
            return TupleOf((Plain(),), True)
        if typing.get_origin(annotation) is not tuple:
            return None
        if len(args) == 2 and args[1] is Ellipsis:
            return TupleOf((parse(args[0], f"{path}[]"),), True)
        return TupleOf(tuple(parse(arg, f"{path}[{number}]") for number, arg in enumerate(args)))

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        items = (*(item.annotation(build) for item in self.items), *([...] if self.variadic else []))
        return tuple.__class_getitem__(items)

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return ListOf(Plain())

    @cached_property
    def encoder(self) -> Codec:
        """See `FieldType`."""
        return self._codec(tuple, [item.encoder for item in self.items], list)

    @cached_property
    def decoder(self) -> Codec:
        """See `FieldType`."""
        return self._codec(list, [item.decoder for item in self.items], tuple)

    def _codec(self, given: type[Any], codes: list[Codec], result: type[Any]) -> Codec:
        def convert(value: Any) -> Any:
            if not isinstance(value, given):
                raise Misfit(str(self), described(value))
            if not self.variadic and len(value) != len(codes):
                raise Misfit(str(self), f"{type(value).__name__} of {len(value)} items")
            index, items = 0, list[Any]()
            try:
                for index, item in enumerate(value):
                    items.append(codes[0 if self.variadic else index](item))
            except Misfit as misfit:
                raise misfit.under(f"[{index}]") from None
            return result(items)

        return convert

    def same(self, one: Any, other: Any) -> bool:
        """See `FieldType`."""
        if not (isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other)):
            return False
        if not self.variadic and len(one) != len(self.items):
            return one == other
        return all(self._item(number).same(a, b) for number, (a, b) in enumerate(zip(one, other, strict=True)))

    def _item(self, number: int) -> FieldType:
        return self.items[0 if self.variadic else number]

    def write(self) -> dict[str, Any]:
        """See `FieldType`: `items` is one schema or none, as readers of the first era take it."""
        if self.variadic:
            return {**ListOf(self.items[0]).write(), OURS: {"type": self.label}}
        count = len(self.items)
        bounds = {"minItems": count, "maxItems": count}
        return {"type": "array", **bounds, OURS: {"type": self.label, "items": [i.write() for i in self.items]}}

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """See `Labelled`."""
        items = details.get("items")
        if items is None:
            return TupleOf((read(node["items"], f"{path}.items") if "items" in node else Plain(),), True)
        if not isinstance(items, list):
            raise malformed(f"{path}.atdata.items", "a list of schemas")
        return TupleOf(tuple(read(item, f"{path}.atdata.items[{number}]") for number, item in enumerate(items)))

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return TupleOf(tuple(item.as_data() for item in self.items), self.variadic)

    def formats(self) -> Iterator[tuple[str, str]]:
        """See `FieldType`."""
        for item in self.items:
            yield from item.formats()

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`."""
        alike = isinstance(stored, TupleOf) and (
            self.variadic or (not stored.variadic and len(self.items) == len(stored.items))
        )
        if not isinstance(stored, TupleOf) or not alike:
            raise Misfit(str(self), str(stored))
        for number, item in enumerate(stored.items):
            try:
                self._item(number).check_reads(item)
            except Misfit as misfit:
                raise misfit.under("[]" if stored.variadic else f"[{number}]") from None

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`: lists of any number, structs of members `0`, `1` and so on."""
        kinds = [item.arrow(pa) for item in self.items]
        if None in kinds or not kinds:
            return None
        if self.variadic:
            return pa.list_(kinds[0])
        return pa.struct([(str(number), kind) for number, kind in enumerate(kinds)])

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        cells = [self._item(number).to_cell(item) for number, item in enumerate(value)]
        return cells if self.variadic else {str(number): cell for number, cell in enumerate(cells)}

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`."""
        items = cell.values() if isinstance(cell, dict) else cell
        return tuple(self._item(number).from_cell(item) for number, item in enumerate(items))
