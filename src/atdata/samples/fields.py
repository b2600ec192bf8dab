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
from atdata.samples.kinds import KINDS, DictOf, FieldType, ListOf, Marker, Maybe, Misfit, SampleOf, TupleOf
from atdata.samples.kinds.field import Doc, Field, Unit
from atdata.samples.kinds.kind import unfit

MAX_LEVELS = 32
"""Lists, dicts, tuples and samples in each other in a field: more are read from no schema."""

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
    _check_levels(annotation, path)
    kind = parse_annotation(said.taken(annotation), path)
    if levels(kind) > MAX_LEVELS:  # with those of the samples in it
        raise _too_deep(path)
    return Field(name, kind, default, said.unit, said.doc)


def levels(kind: FieldType) -> int:
    """The number of containers in each other."""
    if isinstance(kind, SampleOf):
        return 1 + max((levels(part.type) for part in kind.fields), default=0)
    if isinstance(kind, TupleOf):
        return 1 + max(map(levels, kind.items), default=0)
    return 1 + levels(kind.inner) if isinstance(kind, Maybe | ListOf | DictOf) else 0


def _check_levels(annotation: Any, path: str) -> None:
    """Check that an annotation is none that can be walked by no recursion."""
    waiting = [(annotation, 0)]
    while waiting:
        found, level = waiting.pop()
        if level > 4 * MAX_LEVELS:  # `Annotated` and `| None` are levels here too
            raise _too_deep(path)
        waiting += [(part, level + 1) for part in typing.get_args(found)]


def _too_deep(path: str) -> FieldTypeError:
    return FieldTypeError(
        "a field type is nested too deeply",
        path=path,
        expected=f"at most {MAX_LEVELS} lists, dicts and samples in each other",
        hint="Use dict or list without a type further inside.",
    )


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
