"""Places in samples. A sample without classes is a tree: a dict of values by field, and of dicts where a field holds a
sample. A path leads to a place in it, in the fields that describe it, and in columns of many of them.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeAlias

from atdata.errors import LensError
from atdata.samples.forms import Numbers
from atdata.samples.kinds import SampleOf
from atdata.samples.kinds.field import Field
from atdata.samples.stacking import unstack

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = dict[str, Field]
Tree: TypeAlias = dict[str, Any]

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LONGEST = 500


def path_of(text: str, where: str) -> Path:
    """The path that names joined by dots say.

    Raises:
        LensError: a part of it is no name of a field.
    """
    if len(text) > _LONGEST or not _PATH.fullmatch(text):
        raise LensError(
            "a field is named in no possible way", path=where, expected="field, or field.inner", actual=text[:80]
        )
    return tuple(text.split("."))


def name_of(text: str, where: str) -> str:
    """A name of one field.

    Raises:
        LensError: it is none, or a path.
    """
    if len(path := path_of(text, where)) > 1:
        raise LensError("a name stands for one field", path=where, expected="a name without dots", actual=text[:80])
    return path[0]


def shown(path: Path) -> str:
    """A path as programs write it."""
    return ".".join(path)


# --- fields


def field_at(fields: Fields, path: Path, where: str) -> Field:
    """The field at a path.

    Raises:
        LensError: there is none.
    """
    found = fields.get(path[0])
    for name in path[1:]:
        inner = found.type.fields if found is not None and isinstance(found.type, SampleOf) else ()
        found = next((part for part in inner if part.name == name), None)
    if found is None:
        known = ", ".join(fields) or "none"
        raise LensError(f"there is no field {shown(path)}", path=where, expected=f"one of: {known}"[:300])
    return found


def without(fields: Fields, path: Path) -> Fields:
    """The fields without the one at a path, which is there."""
    if len(path) == 1:
        return {name: field for name, field in fields.items() if name != path[0]}
    return {**fields, path[0]: _inside(fields[path[0]], lambda inner: without(inner, path[1:]))}


def with_field(fields: Fields, path: Path, field: Field, where: str) -> Fields:
    """The fields with one more, at a path.

    Raises:
        LensError: there is one already, or nothing that could hold it.
    """
    if len(path) == 1:
        if path[0] in fields:
            raise LensError(f"there is a field {path[0]} already", path=where, hint="Drop it, or choose another name.")
        return {**fields, path[0]: dataclasses.replace(field, name=path[0])}
    holder = fields.get(path[0])
    if holder is None or not isinstance(holder.type, SampleOf):
        raise LensError(f"no field {path[0]} holds samples", path=where, hint="Make one with nest.")
    return {**fields, path[0]: _inside(holder, lambda inner: with_field(inner, path[1:], field, where))}


def _inside(holder: Field, change: Any) -> Field:
    kind: Any = holder.type
    inner = change({part.name: part for part in kind.fields})
    return dataclasses.replace(holder, type=SampleOf(kind.name, tuple(inner.values())))


# --- samples


def value_at(tree: Tree, path: Path) -> Any:
    """The value at a path."""
    value: Any = tree
    for name in path:
        value = value[name]
    return value


def removed(tree: Tree, path: Path) -> Tree:
    """The tree without the value at a path."""
    if len(path) == 1:
        return {name: value for name, value in tree.items() if name != path[0]}
    return {**tree, path[0]: removed(tree[path[0]], path[1:])}


def added(tree: Tree, path: Path, value: Any) -> Tree:
    """The tree with a value at a path."""
    if len(path) == 1:
        return {**tree, path[0]: value}
    return {**tree, path[0]: added(tree[path[0]], path[1:], value)}


# --- columns


def has_column(columns: Tree, path: Path) -> bool:
    """True if there is a column for a path: only some may be read."""
    return path[0] in columns


def column_at(columns: Tree, path: Path) -> Any:
    """The values at a path of many samples."""
    column = columns[path[0]]
    return column if len(path) == 1 else [value_at(value, path[1:]) for value in column]


def column_removed(columns: Tree, path: Path) -> Tree:
    """The columns without the values at a path."""
    if len(path) == 1:
        return removed(columns, path)
    return {**columns, path[0]: [removed(value, path[1:]) for value in columns[path[0]]]}


def column_added(columns: Tree, path: Path, values: Any) -> Tree:
    """The columns with values at a path."""
    if len(path) == 1:
        return {**columns, path[0]: values}
    listed = values_of(values)
    holders = zip(columns[path[0]], listed, strict=True)
    return {**columns, path[0]: [added(holder, path[1:], value) for holder, value in holders]}


def values_of(column: Any) -> list[Any]:
    """The values of a column one by one."""
    values: list[Any] = column.tolist() if isinstance(column, Numbers) else unstack(column)
    return values
