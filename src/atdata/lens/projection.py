"""The lens to a type that only leaves fields out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from atdata.lens.functions import Lens
from atdata.lens.types import another_type, between, chosen, free, merger
from atdata.samples import fields_of
from atdata.samples.packable import is_plain

S = TypeVar("S")
V = TypeVar("V")


class Projection(Lens[S, V]):
    """The lens from a type to one with some of its fields: the others are left out, and kept on `put`."""

    def __init__(self, source_type: type[S], view_type: type[V]) -> None:
        given = {field.name: field.type for field in fields_of(source_type)}
        shared = [(field.name, field.type) for field in fields_of(view_type) if field.name in given]
        self._names = [name for name, _ in shared]
        self._free = free(view_type)
        self._there = [(name, between(given[name], kind)) for name, kind in shared]
        self._back = [(name, merger(given[name], kind)) for name, kind in shared]
        super().__init__(self._project, self._restore, source_type=source_type, view_type=view_type, name="projection")

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        asked = chosen(self.view_type, names)
        return tuple(name for name in self._names if name in asked) if is_plain(self.view_type) and self._free else None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        """See `Lens`."""
        kept = {name: columns[name] for name in self._names if name in columns}
        added = [field for field in fields_of(self.view_type) if field.name not in self._names]
        return kept | {field.name: [field.missing() for _ in range(count)] for field in added}

    def _project(self, source: S) -> V:
        try:
            values = {name: convert(getattr(source, name)) for name, convert in self._there}
        except AttributeError:
            raise another_type(self.source_type, source) from None
        view: V = self.view_type(**values)
        return view

    def _restore(self, view: V, source: S) -> S:
        values = {field.name: getattr(source, field.name) for field in fields_of(self.source_type)}
        values |= {name: merge(getattr(view, name), values[name]) for name, merge in self._back}
        back: S = self.source_type(**values)
        return back

    def __reduce__(self) -> tuple[Any, ...]:
        return Projection, (self.source_type, self.view_type)
