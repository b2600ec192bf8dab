"""The fields of a sample type that a manifest indexes, and their kinds."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args

from atdata.errors import FieldTypeError
from atdata.samples import DictSample, FieldType, ListOf, Maybe, Scalar, fields_of
from atdata.samples.fields import meaning
from atdata.samples.packable import annotation_of

Kind: TypeAlias = Literal["numeric", "categorical", "set"]

KEY, OFFSET, SIZE, DIGEST = RESERVED = ("__key__", "__offset__", "__size__", "__digest__")

_NUMBERS = ("int", "float", "bool")
_LABELS = ("str", "int", "bool")
_MEMBERS = ("str", "int")


@dataclass(frozen=True)
class ManifestField:
    """The entry of a field in manifests, for `Annotated[float, ManifestField("numeric")]`.

    Attributes:
        kind: `numeric` (`int`, `float`, `bool`): minimum, maximum and mean. `categorical` (`str`, `int`, `bool`): how
            often each value occurs. `set` (`list[str]`, `list[int]`): which items occur. Each may be `| None`.
            `exclude`: the field is left out.
    """

    kind: Kind | Literal["exclude"]

    def __post_init__(self) -> None:
        if self.kind not in ("exclude", *get_args(Kind)):
            raise FieldTypeError(
                "the kind of a manifest field is unknown",
                expected="numeric, categorical, set or exclude",
                actual=self.kind,
            )


@dataclass(frozen=True)
class Indexed:
    """A field that a manifest indexes.

    Attributes:
        name: the field's.
        kind: what is gathered of its values.
        type: what one value, or one item of a set, is: `int`, `float`, `bool` or `str`.
        chosen: whether a `ManifestField` says so. Where none does, long text is not indexed.
    """

    name: str
    kind: Kind
    type: str
    chosen: bool


def indexed_fields(sample_type: type) -> tuple[Indexed, ...]:
    """The fields of a sample type that its manifests index, in order; none of a type without declared fields.

    Without a marker, numbers are `numeric`, `str` is `categorical`, `list[str]` is a `set`, and arrays, bytes and
    everything else are left out.

    Raises:
        FieldTypeError: a `ManifestField` asks for what the field's type does not have; `path` names it.
    """
    if issubclass(sample_type, DictSample):
        return ()
    found = []
    for field in fields_of(sample_type):
        path = f"{sample_type.__name__}.{field.name}"
        marker = next(_markers(annotation_of(sample_type, field.name, path)), None)
        if marker is None:
            indexed = _by_default(field.name, field.type)
        else:
            indexed = None if marker.kind == "exclude" else _chosen(field.name, field.type, marker.kind, path)
        if indexed is not None:
            found.append(indexed)
    return tuple(found)


def _markers(annotation: Any) -> Iterator[ManifestField]:
    """The markers of an annotation, the innermost last: it may be written inside of `| None` or outside."""
    annotation = meaning(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from (extra for extra in reversed(args[1:]) if isinstance(extra, ManifestField))
        yield from _markers(args[0])
    elif origin is Union or origin is types.UnionType:
        for arg in args:
            yield from _markers(arg)


def _by_default(name: str, declared: FieldType) -> Indexed | None:
    if name in RESERVED:
        return None
    match declared.inner if isinstance(declared, Maybe) else declared:
        case Scalar(kind) if kind in _NUMBERS:
            return Indexed(name, "numeric", kind, chosen=False)
        case Scalar("str"):
            return Indexed(name, "categorical", "str", chosen=False)
        case ListOf(Scalar("str")):
            return Indexed(name, "set", "str", chosen=False)
    return None


def _chosen(name: str, declared: FieldType, kind: Kind, path: str) -> Indexed:
    fits = {"numeric": _NUMBERS, "categorical": _LABELS, "set": _MEMBERS}[kind]
    bare = declared.inner if isinstance(declared, Maybe) else declared
    value = bare.inner if kind == "set" and isinstance(bare, ListOf) else bare
    if isinstance(bare, ListOf) is not (kind == "set") or not isinstance(value, Scalar) or value.kind not in fits:
        raise FieldTypeError(
            f"a field cannot be indexed as {kind}",
            path=path,
            expected=", ".join(f"list[{name}]" if kind == "set" else name for name in fits),
            actual=declared,
        )
    if name in RESERVED:
        raise FieldTypeError("a field's name is reserved by manifests", path=path, hint="Rename the field.")
    return Indexed(name, kind, value.kind, chosen=True)
