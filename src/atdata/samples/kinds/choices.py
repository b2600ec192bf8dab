"""Values out of a list: members of an `Enum`, `Literal`s, and numbers of classes that have names."""

from __future__ import annotations

import copyreg
import enum
import itertools
import keyword
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Optional

import numpy as np

from atdata.errors import FieldTypeError
from atdata.samples.forms import Numbers
from atdata.samples.kinds.kind import (
    Build,
    Derived,
    FieldType,
    Marker,
    Misfit,
    Parse,
    Read,
    described,
    is_unicode,
    malformed,
    unfit,
)
from atdata.samples.kinds.scalars import Scalar, ScalarKind

_SAFE = 1 << 53  # what every reader of JSON takes for the same number
_TYPES: dict[type, ScalarKind] = {str: "str", int: "int", bool: "bool", float: "float"}


class _Choices(Derived):
    """A kind with a list of all values, of one scalar kind."""

    kind: ScalarKind

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar(self.kind)

    def _writes(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The keywords and the details that say values. Floats, which no record holds, and large numbers are said as text."""
        if self.kind == "float" or (self.kind == "int" and any(abs(value) >= _SAFE for value in values)):
            return {}, {"values": list(map(repr, values))}
        return {"enum": list(values)}, {}


def _read_values(node: Mapping[str, Any], details: Mapping[str, Any], path: str) -> tuple[ScalarKind, tuple[Any, ...]]:
    """The scalar kind of listed values, and the values."""
    texts = details.get("values")
    values = texts if texts is not None else node.get("enum")
    if not isinstance(values, list) or not values:
        raise malformed(f"{path}.enum", "a list of values")
    if texts is not None:
        convert: Any = float if node.get("type") == "number" else int
        try:
            values = [convert(text) if isinstance(text, str) and len(text) < 40 else None for text in texts]
        except ValueError:
            raise malformed(f"{path}.atdata.values", "numbers as text") from None
    kinds = {_TYPES.get(type(value)) for value in values}
    (kind, *others) = kinds
    if kind is None or others or len(set(values)) != len(values):
        raise malformed(f"{path}.enum", "different values of one type")
    return kind, tuple(values)


def _check_storable(annotation: Any, path: str, kinds: Iterable[ScalarKind | None], values: Iterable[Any]) -> None:
    """Refuse choices of which a sample could never hold one.

    Raises:
        FieldTypeError: there is one: text that is no Unicode, an int of more than 64 bits.
    """
    (kind,) = kinds
    assert kind is not None
    encode = Scalar(kind).encoder
    for value in values:
        try:
            encode(value)
        except Misfit as misfit:
            raise unfit(annotation, path, f"No sample can hold {value!a:.60}: give {misfit.expected}.") from None


@dataclass(frozen=True)
class EnumOf(_Choices):
    """A member of an `Enum` whose values are all text, all ints or all floats; the value is stored.

    Attributes:
        name: of the enumeration.
        kind: of its values.
        members: the name and the value of each.
        python: the class, which counts for nothing where kinds are compared; `None` in what was read out of a schema.
    """

    label = "enum"

    name: str
    kind: ScalarKind
    members: tuple[tuple[str, Any], ...]
    python: type[enum.Enum] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(name for name, _ in self.members[:8])}{', ...' * (len(self.members) > 8)})"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        if not isinstance(annotation, type) or not issubclass(annotation, enum.Enum):
            return None
        members = tuple((member.name, member.value) for member in annotation)
        kinds = {_TYPES.get(type(value)) for _, value in members}
        if issubclass(annotation, enum.Flag) or len(kinds) != 1 or not kinds <= {"str", "int", "float"}:
            raise unfit(annotation, path, "Use an Enum whose values are all str, all int or all float.")
        if bad := [name for name, _ in members if not _is_member_name(name)]:
            raise unfit(annotation, path, f"Rename its member {bad[0]}.")
        if any(value != value for _, value in members):
            raise unfit(annotation, path, "NaN is equal to nothing: give its member another value.")
        _check_storable(annotation, path, kinds, [value for _, value in members])
        return EnumOf(annotation.__name__, kinds.pop(), members, annotation)  # type: ignore[arg-type]

    def annotation(self, build: Build) -> Any:
        """See `FieldType`: it never stands for the class of a user, but for one of the same members."""
        return _built(self.name, self.members)

    @cached_property
    def _values(self) -> dict[Any, Any]:
        python = _built(self.name, self.members) if self.python is None else self.python
        return {member.value: member for member in python}

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if self.python is None or not isinstance(value, self.python):
            raise Misfit(str(self), described(value))
        return value.value

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        try:
            return self._values[stored]
        except KeyError:
            raise Misfit(str(self), described(stored)) from None

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"title": self.name, **self._writes([value for _, value in self.members])[0]}

    def details(self) -> dict[str, Any]:
        """See `Derived`."""
        _, details = self._writes([value for _, value in self.members])
        return {"names": [name for name, _ in self.members], **details}

    def as_data(self) -> FieldType:
        """See `FieldType`."""
        return EnumOf(self.name, self.kind, self.members)

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: the same members, or some of them."""
        if not isinstance(stored, EnumOf) or self.kind != stored.kind:
            raise Misfit(str(self), str(stored))
        if others := [member for member in stored.members if member not in self.members]:
            raise Misfit(str(self), f"the member {others[0][0]} = {others[0][1]!r:.60}")

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """See `Labelled`."""
        kind, values = _read_values(node, details, path)
        names: Any = details.get("names")
        title = node.get("title", "Choice")
        listed = isinstance(names, list) and len(names) == len(values) == len({str(name) for name in names})
        if not listed or not isinstance(title, str) or not all(map(_is_member_name, names)):
            raise malformed(f"{path}.atdata.names", "a name for each value")
        return EnumOf(re.sub(r"\W+", "_", title)[:60], kind, tuple(zip(names, values, strict=True)))


@dataclass(frozen=True)
class LiteralOf(_Choices):
    """One of some values that are all text, all ints or all truth values.

    Attributes:
        kind: of the values.
        values: the values.
    """

    label = "literal"
    itself = True

    kind: ScalarKind
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"Literal[{', '.join(map(repr, self.values[:8]))}{', ...' * (len(self.values) > 8)}]"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        if typing.get_origin(annotation) is not Literal:
            return None
        args = typing.get_args(annotation)
        values = tuple(arg for arg in args if arg is not None)
        kinds = {_TYPES.get(type(value)) for value in values}
        if len(kinds) != 1 or None in kinds:
            raise unfit(annotation, path, "Use values that are all str, all int or all bool.")
        if len(values) < len(args):
            return parse(Optional[Literal[values]], path)  # noqa: UP045
        _check_storable(annotation, path, kinds, values)
        return LiteralOf(kinds.pop(), values)  # type: ignore[arg-type]

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return Literal[self.values]

    @cached_property
    def _allowed(self) -> frozenset[Any]:
        return frozenset(self.values)

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        return self.from_stored(self.stored.encoder(value))

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        if stored not in self._allowed:
            raise Misfit(str(self), described(stored))
        return stored

    def column(self, stored: Any) -> Any:
        """See `Derived`: the same, once all are known to be of them."""
        values = np.unique(stored.given).tolist() if isinstance(stored, Numbers) else set(stored) - {None}
        for value in values:
            self.from_stored(value)
        return stored

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return self._writes(self.values)[0]

    def details(self) -> dict[str, Any]:
        """See `Derived`."""
        return self._writes(self.values)[1]

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: the same values, or some of them."""
        if not isinstance(stored, LiteralOf) or self.kind != stored.kind:
            raise Misfit(str(self), str(stored))
        for value in stored.values:
            self.from_stored(value)

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """See `Labelled`."""
        kind, values = _read_values(node, details, path)
        if kind == "float":
            raise malformed(f"{path}.type", "string, integer or boolean")
        return LiteralOf(kind, values)


@dataclass(frozen=True)
class ClassLabel(_Choices, Marker):
    """The number of a class, for `Annotated[int, ClassLabel(names=["cat", "dog"])]`.

    Attributes:
        names: the name of each class, in the order of their numbers.
    """

    label = "classLabel"
    itself = True
    kind = "int"

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        if isinstance(names, str):
            raise FieldTypeError("the names of classes are one text", path="names", actual=repr(names)[:80])
        if not isinstance(names, Iterable):
            raise FieldTypeError("the names of classes must be texts", path="names", actual=repr(names)[:80])
        given: tuple[Any, ...] = tuple(names)
        object.__setattr__(self, "names", given)
        good = all(isinstance(name, str) and name and is_unicode(name) for name in given)
        if not self.names or not good or len(set(self.names)) != len(self.names):
            what, actual = "classes need a name each, and each another", repr(self.names)[:80]
            raise FieldTypeError(what, path="names", expected="different texts", actual=actual)

    def __str__(self) -> str:
        return f"ClassLabel[{', '.join(self.names[:8])}{f', ... {len(self.names)}' * (len(self.names) > 8)}]"

    def index(self, name: str) -> int:
        """The number of a class.

        Raises:
            FieldTypeError: none has this name.
        """
        try:
            return self._numbers[name]
        except KeyError:
            raise FieldTypeError("no class has such a name", expected=str(self), actual=repr(name)[:80]) from None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def apply(self, inner: FieldType, path: str) -> FieldType:
        """See `Marker`."""
        if inner != Scalar("int"):
            raise FieldTypeError(
                "names of classes are given for a field that is no int", path=path, expected="int", actual=inner
            )
        return self

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`: only a marker says it."""
        return None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return Annotated[int, self]

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        return self.from_stored(self.stored.encoder(value))

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        if not 0 <= stored < len(self.names):
            raise Misfit(f"the number of one of {len(self.names)} classes", described(stored))
        return stored

    def column(self, stored: Any) -> Any:
        """See `Derived`: the same, once all are known to be in range."""
        if isinstance(stored, Numbers):
            bounds = [stored.given.min(), stored.given.max()] if len(stored.given) else []
        else:
            bounds = [value for value in stored if value is not None]
        for value in bounds:
            self.from_stored(int(value))
        return stored

    def check_reads(self, stored: FieldType) -> None:
        """See `FieldType`: the same classes, or the first of them."""
        if not isinstance(stored, ClassLabel):
            raise Misfit(str(self), str(stored))
        for number, (own, name) in enumerate(itertools.zip_longest(self.names, stored.names)):
            if name is not None and own != name:
                raise Misfit(f"{own or 'no class'} as class {number}", f"{name} as class {number}")

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"minimum": 0, "maximum": len(self.names) - 1}

    def details(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"names": list(self.names)}

    @classmethod
    def read(cls, node: Mapping[str, Any], details: Mapping[str, Any], path: str, read: Read) -> FieldType:
        """See `Labelled`."""
        try:
            return ClassLabel(details.get("names") or ())
        except (FieldTypeError, TypeError):
            raise malformed(f"{path}.atdata.names", "different texts") from None


class _BuiltEnumType(enum.EnumMeta):
    """The class of enumerations that were built from a schema. They pickle as their members."""


class _BuiltEnum(enum.Enum, metaclass=_BuiltEnumType):
    """The base of such enumerations."""


@lru_cache(maxsize=1024)
def _built(name: str, members: tuple[tuple[str, Any], ...]) -> Any:
    """The enumeration of some members: built from data, the same class for equal ones."""
    make: Any = _BuiltEnum
    built = make(name, list(members), module=__name__)
    built._members = members
    return built


def _reduce(built: Any) -> str | tuple[Any, ...]:
    members = vars(built).get("_members")
    return str(built.__qualname__) if members is None else (_built, (built.__name__, members))


copyreg.pickle(_BuiltEnumType, _reduce)


def _is_member_name(name: Any) -> bool:
    """True if a member of any enumeration may have the name."""
    plain = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return plain and not name.startswith("_") and name not in ("mro", "name", "value") and len(name) <= 200
