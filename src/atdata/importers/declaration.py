"""The Python source of a sample type, for people to paste and change. Nothing here is ever run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from atdata.plain import plain
from atdata.samples import Array, DictOf, Field, FieldType, ListOf, Maybe, Plain, TupleOf, fields_of
from atdata.samples.kinds import ClassLabel, LiteralOf, SampleOf
from atdata.samples.kinds.sparse import SparseOf

_MODULES = {
    **dict.fromkeys(("Annotated", "Any", "Literal"), "typing"),
    **dict.fromkeys(("date", "datetime", "time", "timedelta"), "datetime"),
    "Decimal": "decimal",
    "UUID": "uuid",
    "NDArray": "numpy.typing",
    "sparse": "scipy",
}
_OTHERS = ("numpy.typing", "scipy")  # not of the standard library
_WORD = re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"]*\"|(?<![\w.])(\w+)")


def declaration(sample_type: type[Any]) -> str:
    """A sample type as Python source, with the imports that it needs."""
    lines: list[str] = []
    classes: dict[str, list[Field]] = {}
    _collect(sample_type.__name__, fields_of(sample_type), classes)
    for name, fields in classes.items():
        lines += ["", "", "@atdata.packable", f"class {name}:"]
        lines += [f"    {each.name}: {_said(each)}" for each in fields if each.required]
        lines += [f"    {each.name}: {_said(each)} = None" for each in fields if not each.required]
    used = {match[1] for line in lines for match in _WORD.finditer(line) if match[1]}
    froms = {module: sorted(name for name in used if _MODULES.get(name) == module) for module in _MODULES.values()}
    stated = {module: f"from {module} import {', '.join(names)}" for module, names in sorted(froms.items()) if names}
    standard = [each for module, each in stated.items() if module not in _OTHERS]
    others = ["import atdata", *(["import numpy as np"] if "np" in used else [])]
    others += [each for module, each in stated.items() if module in _OTHERS]
    return "\n".join([*standard, *([""] if standard else []), *others, *lines])


def _collect(name: str, fields: Any, classes: dict[str, list[Field]]) -> None:
    """All sample types that a sample type holds, what is inside first."""
    for each in fields:
        for inner in _parts(each.type):
            if isinstance(inner, SampleOf):
                _collect(inner.name, inner.fields, classes)
    classes[name] = list(fields)


def _parts(kind: FieldType) -> list[FieldType]:
    inner = getattr(kind, "inner", None)
    return [kind, *(_parts(inner) if isinstance(inner, FieldType) else ())]


def _said(field: Field) -> str:
    words = [f"atdata.Unit({field.unit!r})"] if field.unit else []
    words += [f"atdata.Doc({plain(field.doc)!r})"] if field.doc else []
    kind = source_of(field.type)
    return f"Annotated[{kind}, {', '.join(words)}]" if words else kind


def source_of(kind: FieldType) -> str:
    """The annotation of a kind of field, as Python source."""
    match kind:
        case Maybe(inner):
            return f"{source_of(inner)} | None"
        case ListOf(inner):
            return f"list[{source_of(inner)}]"
        case DictOf(inner):
            return "dict[str, Any]" if isinstance(inner, Plain) else f"dict[str, {source_of(inner)}]"
        case Array(scalar, shape):
            dtype = "Any" if scalar is None else f"np.{np.dtype(scalar).type.__name__}"
            if shape is None:
                return f"NDArray[{dtype}]"
            return f"Annotated[NDArray[{dtype}], atdata.Shape({', '.join(map(str, shape.dims))})]"
        case ClassLabel(names):
            return f"Annotated[int, atdata.ClassLabel(names={list(names)!r})]"
        case LiteralOf():
            return f"Literal[{', '.join(map(repr, kind.values))}]"
        case SampleOf():
            return kind.name
        case TupleOf():
            return str(kind)
        case SparseOf():
            return f"sparse.{kind.name}"
    name = str(kind)
    return f"atdata.{name}" if name in ("Image", "Audio", "Video") else name
