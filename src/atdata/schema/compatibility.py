"""Compatibility of schemas: who still reads whose samples after a change, field by field.

The words are those of Avro (its specification, "Schema Resolution", where a reader's schema meets a writer's) and of
Confluent's Schema Registry ("Schema Evolution and Compatibility"):

    backward   a reader with the new type reads what was written with the old one
    forward    a reader with the old type reads what is written with the new one
    full       both
    none       neither
    identical  there is no difference, not even in documentation

They are true of atdata's own reading: `FieldType.check_reads` is the one rule, and it converts nothing. So a wider dtype is
another stored form here, where Avro would promote a number; what converts is a lens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, TypeAlias, get_args

from atdata.errors import CompatibilityError, UsageError
from atdata.samples import Array, DictSample, Field, FieldType, Maybe, fields_of
from atdata.samples.kinds import Misfit
from atdata.schema.model import SampleSchema

CompatibilityMode: TypeAlias = Literal[
    "none", "backward", "forward", "full", "backward_transitive", "forward_transitive", "full_transitive"
]
"""The readers that a new version must not break; with `_transitive` those of, and with data of, each version before it."""

Step: TypeAlias = Literal["major", "minor", "patch"]
"""The part of a version's number that a change raises."""

_TRANSITIVE = "_transitive"


class Compatibility(StrEnum):
    """The readers that a change leaves able to read."""

    IDENTICAL = "identical"
    FULL = "full"
    BACKWARD = "backward"
    FORWARD = "forward"
    NONE = "none"

    @classmethod
    def of(cls, *, backward: bool, forward: bool) -> Compatibility:
        """The word for a difference that newer readers (`backward`) and older ones (`forward`) stand, or do not."""
        if backward:
            return cls.FULL if forward else cls.BACKWARD
        return cls.FORWARD if forward else cls.NONE

    @classmethod
    def of_all(cls, parts: Iterable[Compatibility]) -> Compatibility:
        """The compatibility of a whole: a reader reads it who reads every part."""
        found = set(parts)
        if found <= {cls.IDENTICAL}:
            return cls.IDENTICAL
        return cls.of(backward=all(map(cls.holds_backward, found)), forward=all(map(cls.holds_forward, found)))

    def holds_backward(self) -> bool:
        """True if newer readers read older samples."""
        return self not in (Compatibility.FORWARD, Compatibility.NONE)

    def holds_forward(self) -> bool:
        """True if older readers read newer samples."""
        return self not in (Compatibility.BACKWARD, Compatibility.NONE)

    def satisfies(self, mode: CompatibilityMode) -> bool:
        """True if all can read whom a mode protects."""
        wanted = mode.removesuffix(_TRANSITIVE)
        return (self.holds_backward() or wanted not in ("backward", "full")) and (
            self.holds_forward() or wanted not in ("forward", "full")
        )


@dataclass(frozen=True)
class FieldComparison:
    """A field before and after a change.

    Attributes:
        name: of the field.
        before: as it was; `None` where there was none.
        after: as it is; `None` where it is gone.
        backward: why newer readers do not read it in older samples; `None` where they do.
        forward: why older readers do not read it in newer samples; `None` where they do.
        renamed: an added field that this removed one may have become.
    """

    name: str
    before: Field | None
    after: Field | None
    backward: str | None = None
    forward: str | None = None
    renamed: str | None = None

    @classmethod
    def of(cls, name: str, before: Field | None, after: Field | None, renamed: str | None = None) -> FieldComparison:
        """The comparison of what stands under one name."""
        backward = None if after is None else _misread("newer", "older", after, before)
        forward = None if before is None else _misread("older", "newer", before, after)
        return cls(name, before, after, backward, forward, renamed)

    @property
    def compatibility(self) -> Compatibility:
        """The readers that still read the field."""
        if self.before == self.after:
            return Compatibility.IDENTICAL
        return Compatibility.of(backward=self.backward is None, forward=self.forward is None)

    @property
    def is_documentation(self) -> bool:
        """True if there is no difference, or one only in what is said to people."""
        return bool(_undocumented(self.before) == _undocumented(self.after))

    @property
    def reason(self) -> str:
        """The difference and whom it stops, in words; empty where there is none."""
        if self.before == self.after:
            return ""
        said = [self._difference(), self.backward, self.forward]
        return "; ".join(part for part in said if part)

    def _difference(self) -> str:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed" if self.renamed is None else f"removed, or renamed to {self.renamed}"
        if self.is_documentation:
            return "documented otherwise"
        return f"{self.before.shown} became {self.after.shown}"


@dataclass(frozen=True)
class SchemaComparison:
    """A schema before and after a change.

    Attributes:
        before: as it was.
        after: as it is.
        fields: every field of either, in the order of `after`; those that are gone come last.
    """

    before: SampleSchema
    after: SampleSchema
    fields: tuple[FieldComparison, ...]

    @cached_property
    def compatibility(self) -> Compatibility:
        """The readers that still read the samples."""
        found = Compatibility.of_all(field.compatibility for field in self.fields)
        moved = found is Compatibility.IDENTICAL and self.before.fields != self.after.fields
        return Compatibility.FULL if moved else found

    @cached_property
    def step(self) -> Step | None:
        """The part of the version's number that the change raises; `None` where there is none.

        `patch` says that only documentation differs, `minor` that everybody reads on and finds all that was there. Whatever
        stops a reader, or takes a field from one, is `major`.
        """
        if self.compatibility is Compatibility.IDENTICAL:
            return None
        before, after = self.before.fields, self.after.fields
        if [field.name for field in before] == [field.name for field in after] and all(
            field.is_documentation for field in self.fields
        ):
            return "patch"
        stays = self.compatibility is Compatibility.FULL and _names(before) <= _names(after)
        return "minor" if stays else "major"

    def breaking(self, mode: CompatibilityMode) -> list[FieldComparison]:
        """The fields that stop readers whom a mode protects."""
        return [field for field in self.fields if not field.compatibility.satisfies(mode)]


def compare(before: SampleSchema, after: SampleSchema) -> SchemaComparison:
    """The comparison of two schemas.

    A default counts where a schema has one: in the fields of a class (`SampleSchema(name, fields_of(cls))`), not in what is
    published, which holds none.
    """
    old, new = ({field.name: field for field in schema.fields} for schema in (before, after))
    added = [field for name, field in new.items() if name not in old]
    fields = [FieldComparison.of(name, old.get(name), field) for name, field in new.items()]
    for name, field in old.items():
        if name not in new:
            alike = [other.name for other in added if (other.type, other.unit) == (field.type, field.unit)]
            fields.append(FieldComparison.of(name, field, None, alike[0] if len(alike) == 1 else None))
    return SchemaComparison(before, after, tuple(fields))


def compatibility_of(history: Sequence[SampleSchema]) -> Compatibility:
    """The transitive compatibility of a history, the oldest schema first: of each with every one that came later.

    Two steps may be compatible that are not together: a field goes, and comes back as another.
    """
    return Compatibility.of_all(compare(old, new).compatibility for old, new in combinations(history, 2))


def check_mode(mode: object) -> CompatibilityMode:
    """The mode that somebody names.

    Raises:
        UsageError: there is none of that name.
    """
    for known in get_args(CompatibilityMode):
        if mode == known:
            found: CompatibilityMode = known
            return found
    raise UsageError(
        "a mode of compatibility is unknown",
        path="compat",
        expected=", ".join(get_args(CompatibilityMode)),
        actual=repr(mode)[:80],
    )


def is_transitive(mode: CompatibilityMode) -> bool:
    """True if a mode is about each version before, and not only about the last."""
    return mode.endswith(_TRANSITIVE)


def check_reads(sample_type: type, stored: SampleSchema, uri: str | None = None) -> None:
    """Check that samples of a schema may be read as a type.

    They may if the type reads all of them. What the schema leaves open (any dtype, `None` among numbers) the type may also say
    more narrowly: each value is held to it when it is read. Of units and names of dimensions values tell nothing, so these
    the schema must say.

    Args:
        sample_type: the type; `DictSample` reads anything.
        stored: the schema.
        uri: of the schema's record.

    Raises:
        CompatibilityError: they may not; `path` names the field.
        FieldTypeError: it is no sample type.
    """
    given: Any = sample_type
    if isinstance(given, type) and issubclass(given, DictSample):
        return
    there = {field.name: field for field in stored.fields}
    for field in fields_of(sample_type):
        try:
            field.check_reads(there.get(field.name))
        except Misfit as misfit:
            if field.name in there and _is_narrower(field, there[field.name]):
                continue
            raise CompatibilityError(
                f"{sample_type.__name__} does not read samples of the schema {stored.name}",
                uri=uri,
                path=f"{sample_type.__name__}.{field.name}{misfit.path}",
                expected=misfit.expected,
                actual=misfit.actual,
                hint="Load them without a type, and see them through a lens: dataset.as_type(...).",
            ) from None


def _is_narrower(field: Field, stored: Field) -> bool:
    """True if a field takes some of the values of another, and says of them nothing that values do not tell."""
    try:
        stored.check_reads(field)
    except Misfit:
        return False
    return {*_claims(field)} <= {*_claims(stored)}


def _misread(reader: str, writer: str, field: Field, stored: Field | None) -> str | None:
    """The reason why readers with a field do not read what was written with another; `None` where they do."""
    try:
        field.check_reads(stored)
    except Misfit as misfit:
        place = f"{field.name}{misfit.path}"
        return f"{reader} readers of {place} expect {misfit.expected}, and {writer} samples have {misfit.actual}"
    return None


def _undocumented(value: Any) -> Any:
    """A field, or a kind, without what it says to people."""
    if isinstance(value, Field):
        return dataclasses.replace(value, doc=None, type=_undocumented(value.type))
    if isinstance(value, tuple):
        return tuple(map(_undocumented, value))
    if not isinstance(value, FieldType):
        return value
    parts = {name: part for name, part in value.__getstate__().items() if isinstance(part, FieldType | tuple)}
    bare = {name: _undocumented(part) for name, part in parts.items()}
    return dataclasses.replace(value, **bare) if bare != parts else value  # type: ignore[type-var]  # kinds are dataclasses


def _places(value: Any, at: str = "") -> Iterator[tuple[str, Field | FieldType]]:
    """Yields each field and each kind in some fields or kinds, with its place."""
    if isinstance(value, tuple):
        for part in value:
            yield from _places(part, at)
    elif isinstance(value, Field):
        place = f"{at}.{value.name}"
        yield place, value
        yield from _places(value.type, place)
    elif isinstance(value, FieldType):
        yield at, value
        inside = at if isinstance(value, Maybe) else f"{at}[]"
        for part in value.__getstate__().values():
            yield from _places(part, inside)


def _names(fields: tuple[Field, ...]) -> set[str]:
    """The places of all fields in some fields."""
    return {place for place, part in _places(fields) if isinstance(part, Field)}


def _claims(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what a field, or a kind, says of its values that these do not tell themselves, each with its place."""
    for place, part in _places(value):
        said = (
            part.unit
            if isinstance(part, Field)
            else part.shape.names
            if isinstance(part, Array) and part.shape
            else None
        )
        if said is not None:
            yield place, said
