"""The values that things are tried with: for every kind of field, boundary values first, then any.

What is drawn is a pure function of the sample type, a seed and the name of the space: a trial that says all three is
repeated elsewhere to the bit, whatever the machine and the versions of Python and numpy. Values are made as msgpack holds
them; what the libraries of a kind make of them (Parquet, messages of Arrow) has the same values, and their own bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from atdata.errors import FieldTypeError, LimitError
from atdata.samples.kinds.arrays import Array
from atdata.samples.kinds.choices import ClassLabel, EnumOf, LiteralOf
from atdata.samples.kinds.containers import DictOf, ListOf, Maybe, Plain
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.frames import FrameOf
from atdata.samples.kinds.kind import FieldType
from atdata.samples.kinds.media import AudioOf, ImageOf, VideoOf
from atdata.samples.kinds.moments import Date, DateTime, Duration, Time
from atdata.samples.kinds.nested import SampleOf
from atdata.samples.kinds.safetensors import SafetensorsOf
from atdata.samples.kinds.scalars import Scalar
from atdata.samples.kinds.sparse import SparseOf
from atdata.samples.kinds.structured import StructuredOf
from atdata.samples.kinds.tensors import TensorOf
from atdata.samples.kinds.tuples import TupleOf
from atdata.samples.kinds.values import DecimalNumber, Uuid
from atdata.samples.packable import fields_of
from atdata.samples.space import others, plain
from atdata.samples.space.arrays import arrays
from atdata.samples.space.chance import Chance
from atdata.samples.space.space import Space, different, size_in_bytes

SPACE = "atdata-space/2"
"""The name of what is drawn here. Whoever changes a value that is drawn gives it the next number."""

SPACES: dict[type[FieldType], Callable[[Any], Space]] = {
    Scalar: plain.scalars,
    Plain: lambda _: plain.PLAIN,
    Array: arrays,
    Maybe: lambda kind: _maybe(kind),
    ListOf: lambda kind: _lists(kind.inner),
    DictOf: lambda kind: _dicts(kind.inner),
    TupleOf: lambda kind: _lists(kind.items[0]) if kind.variadic else _together(enumerate(kind.items), _as_list),
    SampleOf: lambda kind: _together(((part.name, part.type) for part in kind.fields), dict),
    DateTime: lambda _: plain.DATETIMES,
    Date: lambda _: plain.DATES,
    Time: lambda _: plain.TIMES,
    Duration: lambda _: plain.DURATIONS,
    DecimalNumber: lambda _: plain.DECIMALS,
    Uuid: lambda _: plain.UUIDS,
    EnumOf: plain.members,
    LiteralOf: plain.literals,
    ClassLabel: plain.labels,
    ImageOf: others.images,
    AudioOf: others.sounds,
    VideoOf: others.films,
    StructuredOf: arrays,
    SparseOf: others.matrices,
    TensorOf: others.tensors,
    SafetensorsOf: others.safetensors,
    FrameOf: others.frames,
}
"""The space of each kind of field."""


MAX_SAMPLE = 1 << 26
"""Bytes of the simplest sample of a type. Larger ones are not made, whatever a schema asks for."""

_MOST = 256  # boundary values of what has parts
_LONG, _LONG_BYTES = 70, 1 << 14  # items of a long list or map; bytes of one, if its items are large
_LARGE = 1 << 20  # bytes of boundary values of which few are kept
_kept: dict[FieldType, Space] = {}
_kept_large: dict[FieldType, Space] = {}


def space_of(kind: FieldType) -> Space:
    """The space of a kind of field.

    Raises:
        FieldTypeError: there is none for such a kind.
        LimitError: its smallest values are too large.
        MissingExtraError: the library of the kind is not installed.
    """
    found = _kept.get(kind) or _kept_large.get(kind)
    if found is not None:
        return found
    make = SPACES.get(type(kind))
    if make is None:
        raise FieldTypeError(
            "no values are known to try such a field with", actual=kind, hint="Give samples of your own."
        )
    found = make(kind)
    kept, most = (_kept, 1024) if sum(map(size_in_bytes, found.edges)) <= _LARGE else (_kept_large, 2)
    if len(kept) >= most:
        kept.clear()
    kept[kind] = found
    return found


class SampleSpace:
    """Samples of a type to try things with, as maps from field name to what msgpack holds.

    Number 0 has the simplest value in each field. Of the others two in three have a boundary value in one field and are
    simple elsewhere, the fields in turn, as long as there are such; the rest have any values.

    Attributes:
        spaces: the space of each field, by name.
        simplest: the sample with the simplest values.
        edges: boundary values of single fields, each with the name of its field, one of each field in turn.

    Raises:
        FieldTypeError: it is no sample type, or nothing is known to try a field with.
        LimitError: the smallest values are too large.
        MissingExtraError: the library of a field is not installed.
    """

    def __init__(self, sample_type: type) -> None:
        self.spaces = _bounded((part.name, _checked(part)) for part in fields_of(sample_type))
        self.simplest = {name: space.simplest for name, space in self.spaces.items()}
        self.edges = [*_in_turn(self.spaces)]

    def sample(self, number: int, seed: str) -> dict[str, Any]:
        """The sample with a number, for a seed. Equal words give equal samples, whatever was asked for before."""
        turn, rest = divmod(number - 1, 3)
        if number == 0:
            return dict(self.simplest)
        if rest < 2 and (place := 2 * turn + rest) < len(self.edges):
            name, value = self.edges[place]
            return {**self.simplest, name: value}
        return {name: self.value(name, number, seed) for name in self.spaces}

    def value(self, name: str, number: int, seed: str) -> Any:
        """Any value of a field, for a number and a seed: in one of eight cases the simplest."""
        chance = Chance(SPACE, seed, number, name)
        return self.spaces[name].any(chance) if chance.below(8) else self.simplest[name]


def _in_turn(spaces: dict[Any, Space]) -> Iterator[tuple[Any, Any]]:
    """Yields the boundary values of parts, but for the simplest: the second of each, then the third."""
    deepest = max((len(space.edges) for space in spaces.values()), default=0)
    for level in range(1, deepest):
        yield from ((name, space.edges[level]) for name, space in spaces.items() if level < len(space.edges))


def _checked(part: Field) -> Space:
    try:
        return space_of(part.type)
    except FieldTypeError as error:
        error.path = part.name
        raise


def _bounded(spaces: Iterator[tuple[Any, Space]]) -> dict[Any, Space]:
    """The spaces of the parts of a value, as long as their simplest values together are not too large."""
    found, size = {}, 0
    for name, space in spaces:
        found[name], size = space, size + size_in_bytes(space.simplest)
        if size > MAX_SAMPLE:
            raise LimitError(
                "samples of a type are too large to be made up",
                expected=f"at most {MAX_SAMPLE} bytes",
                hint="Try what you have with real samples.",
            )
    return found


# Kinds that hold others


def _maybe(kind: Maybe) -> Space:
    inner = space_of(kind.inner)
    return Space(different((None, *inner.edges)), lambda chance: inner.draw(chance) if chance.below(4) else None)


def _lists(kind: FieldType) -> Space:
    inner = space_of(kind)
    first, last = inner.simplest, inner.edges[-1]
    long = [*[first] * _long(first), last]  # early: where there are many boundary values, not all are tried
    return Space(
        different(
            ([], [first], long, *([item] for item in inner.edges[1:]), [first] * 2, [last, first], [first, last, first])
        ),
        lambda chance: [inner.any(chance) for _ in range(chance.below(4))],
    )


def _dicts(kind: FieldType) -> Space:
    inner = space_of(kind)
    first, last = inner.edges[0], inner.edges[-1]
    long = {**{f"k{number:02}": first for number in range(_long(first))}, "last": last}
    keyed = (
        {"": first},
        {"b": first, "a": first},
        {"a": last, "b": first},
        {"é": first, "e\u0301": last},
        {"a\0": first},
    )

    def draw(chance: Chance) -> dict[str, Any]:
        return {plain.scalars(Scalar("str")).any(chance): inner.any(chance) for _ in range(chance.below(4))}

    return Space(different(({}, {"a": first}, long, *({"a": item} for item in inner.edges[1:]), *keyed)), draw)


def _long(item: Any) -> int:
    """The number of equal items of a long list."""
    return max(4, min(_LONG, _LONG_BYTES // max(1, size_in_bytes(item))))


def _as_list(pairs: Iterator[tuple[Any, Any]]) -> list[Any]:
    return [value for _, value in pairs]


def _together(kinds: Iterator[tuple[Any, FieldType]], made: Callable[[Iterator[tuple[Any, Any]]], Any]) -> Space:
    """The space of values that have parts: boundary values of each part, the others simple."""
    spaces = _bounded((name, space_of(kind)) for name, kind in kinds)
    simple = {name: space.simplest for name, space in spaces.items()}
    single = ({**simple, name: edge} for name, edge in islice(_in_turn(spaces), _MOST))
    return Space(
        different(made(iter(values.items())) for values in (simple, *single)),
        lambda chance: made((name, space.any(chance)) for name, space in spaces.items()),
    )


__all__ = ["SPACE", "Chance", "SampleSpace", "Space", "space_of"]
