"""The types a field can have, and their Python annotations.

The kinds in `atdata.samples.kinds` are the only type language in atdata: annotations are read into it, schema records
are read into it and written from it, codecs are compiled from it. Nothing evaluates type expressions from text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

from atdata.errors import FieldTypeError
from atdata.samples.kinds import KINDS, FieldType, Marker, Maybe, Misfit
from atdata.samples.kinds.field import Doc, Field, Unit
from atdata.samples.kinds.kind import unfit

_ALIAS: Any = getattr(typing, "TypeAliasType", ())  # there from Python 3.12 on


def accepts(wide: FieldType, narrow: FieldType) -> bool:
    """True if every value of the type `narrow` is a value of the type `wide`, and read as such where it is stored."""
    try:
        wide.check_reads(narrow)
    except Misfit:
        return False
    return True


def parse_field(name: str, annotation: Any, path: str, default: Callable[[], Any] | None = None) -> Field:
    """The field that a resolved annotation stands for, with its unit and its documentation.

    Raises:
        FieldTypeError: no sample can hold such a field; `path` names it.
    """
    said = _Said()
    kind = parse_annotation(said.taken(annotation), path)
    return Field(name, kind, default, said.unit, said.doc)


def parse_annotation(annotation: Any, path: str) -> FieldType:
    """The field type that a resolved annotation stands for.

    Raises:
        FieldTypeError: no sample can hold such a field; `path` names it.
    """
    annotation = meaning(annotation)
    if typing.get_origin(annotation) is Annotated:
        return _parse_annotated(annotation, path)
    for kind in KINDS:
        if (found := kind.of(annotation, path, parse_annotation)) is not None:
            return found
    raise unfit(annotation, path, _way_out(annotation))


def meaning(annotation: Any) -> Any:
    """The type that an alias made by a `type` statement (PEP 695) stands for. From Python 3.12 on, numpy's `NDArray` is one."""
    alias, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if not isinstance(alias, _ALIAS):
        return annotation
    value: Any = alias.__value__
    if args:
        given = dict(zip(alias.__type_params__, args, strict=True))
        value = value[tuple(given[parameter] for parameter in value.__parameters__)]
    return meaning(value)


@dataclass
class _Said:
    """The unit and the documentation in an annotation."""

    unit: str | None = None
    doc: str | None = None

    def taken(self, annotation: Any) -> Any:
        """The annotation without it: it may be written inside of `| None` or outside, where it counts more."""
        annotation = meaning(annotation)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            for extra in args[1:]:
                self.unit = extra.code if isinstance(extra, Unit) and self.unit is None else self.unit
                self.doc = extra.text if isinstance(extra, Doc) and self.doc is None else self.doc
            others = [extra for extra in args[1:] if not isinstance(extra, Unit | Doc)]
            inner = self.taken(args[0])
            return Annotated[(inner, *others)] if others else inner
        if origin in (Union, types.UnionType):
            return Union[tuple(map(self.taken, args))]  # noqa: UP007  of what is not known before
        return annotation


def _parse_annotated(annotation: Any, path: str) -> FieldType:
    inner, *extras = typing.get_args(annotation)
    if any(isinstance(extra, Unit | Doc) for extra in extras):
        raise FieldTypeError(
            "a unit or documentation stands inside of a field's type",
            path=path,
            actual=annotation,
            hint='Say it of the whole field: Annotated[list[float], Unit("nm")].',
        )
    kind = parse_annotation(inner, path)
    for marker in extras:
        if isinstance(marker, Marker):
            kind = Maybe(marker.apply(kind.inner, path)) if isinstance(kind, Maybe) else marker.apply(kind, path)
    return kind


def _way_out(annotation: Any) -> str:
    origin = typing.get_origin(annotation) or annotation
    if origin in (set, frozenset):
        return "Use list[...]."
    if origin is Literal:
        return "Use str, int or bool values of one type."
    return "Use str, int, float, bool, bytes, list[T], dict[str, T], NDArray[...], or one of them | None."
