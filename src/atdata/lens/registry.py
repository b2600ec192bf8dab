"""The lenses that are known in this process, by the schemas they join."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

from atdata.arguments import checked_type
from atdata.errors import LensError, LensNotFoundError
from atdata.lens.functions import Lens, Recast
from atdata.lens.projection import Projection
from atdata.lens.types import name_beside, schema_key
from atdata.samples import PackableSample, fields_of

S = TypeVar("S")
V = TypeVar("V")

_registry: dict[Hashable, dict[Hashable, Lens[Any, Any]]] = {}


def register(made: Lens[Any, Any]) -> None:
    """Make a lens the one that `Dataset.as_type` uses between its two schemas; a later one replaces it."""
    checked_type(made, Lens, "made", "Give a lens: Lens(get, put=put), or a DataLens.")
    _registry.setdefault(schema_key(made.source_type), {})[schema_key(made.view_type)] = made


def registered_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V] | None:
    """The lens that was registered between the schemas of two types, if one was."""
    found = _registry.get(schema_key(source_type), {}).get(schema_key(view_type))
    return None if found is None else fitted(found, source_type, view_type)


def registered_lenses() -> list[Lens[Any, Any]]:
    """All lenses that were registered."""
    return [made for seen in _registry.values() for made in seen.values()]


def fitted(found: Lens[Any, Any], source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """A lens for these classes of the schemas that it joins.

    Raises:
        LensError: it joins other schemas.
    """
    checked_type(found, Lens, "found", "Give a lens.")
    wanted = [schema_key(source_type), schema_key(view_type)]
    if [schema_key(found.source_type), schema_key(found.view_type)] != wanted:
        raise LensError(
            f"the lens {found.name} joins other types",
            expected=f"{name_beside(source_type, found.source_type)} -> {name_beside(view_type, found.view_type)}",
            actual=f"{name_beside(found.source_type, source_type)} -> {name_beside(found.view_type, view_type)}",
            hint="Give a lens between these two types.",
        )
    return found._between(source_type, view_type)


def find_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """The registered lens between the schemas of two types, else the projection where the view only leaves fields out.

    Raises:
        LensNotFoundError: there is neither.
    """
    if found := registered_lens(source_type, view_type):
        return found
    if schema_key(source_type) == schema_key(view_type):
        return Recast(source_type, view_type)
    if _is_projection(source_type, view_type):
        return Projection(source_type, view_type)
    known = [name_beside(made.view_type, view_type) for made in _registry.get(schema_key(source_type), {}).values()]
    raise LensNotFoundError(
        f"no lens is registered from {source_type.__name__} to {view_type.__name__}",
        expected=f"@lens def f(source: {source_type.__name__}) -> {view_type.__name__}",
        actual=f"lenses to {', '.join(known)}" if known else "none is registered",
        hint="Define it with @atdata.lens.",
    )


def _is_projection(source_type: type, view_type: type) -> bool:
    if not (issubclass(source_type, PackableSample) and issubclass(view_type, PackableSample)):
        return False
    given = {field.name: field for field in fields_of(source_type)}
    return all(field.accepts(given.get(field.name)) for field in fields_of(view_type))
