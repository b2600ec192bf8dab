"""A counterexample to a law: shown, and made as small as it can be."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from atdata.plain import plain
from atdata.samples import DictOf, FieldType, Plain, fields_of
from atdata.samples.codec import unpack
from atdata.samples.npy import array_in
from atdata.samples.packable import PackableSample
from atdata.samples.space.smaller import simpler

MOST = 2000
"""Trials that are made to find a smaller counterexample."""

_WIDE = 60  # characters of a value, of bytes twice that, before they are cut
_FIELDS = 40  # of a sample, in a record


@dataclass(frozen=True)
class Counterexample:
    """Samples for which a law does not hold.

    Attributes:
        law: its name.
        source: the source.
        views: what was put, in that order.
        expected: the value of each field on which the two sides differ; the field is `""` for what is no sample.
        actual: likewise.
    """

    law: str
    source: Any
    views: tuple[Any, ...]
    expected: Mapping[str, str]
    actual: Mapping[str, str]

    def as_data(self) -> dict[str, Any]:
        """The same as JSON without numbers, for a record: of each sample the first fields."""
        (_, source), *views = self.given
        both = {"expected": _few(self.expected), "actual": _few(self.actual)}
        return {"law": self.law, "source": _few(source), "views": [_few(view) for _, view in views], **both}

    @property
    def given(self) -> list[tuple[str, Mapping[str, str]]]:
        """The source and the views, with names and as texts."""
        names = ["view"] if len(self.views) == 1 else ["first view", "second view"]
        named = zip(["source", *names], [self.source, *self.views], strict=False)
        return [(name, shown_sample(sample.packed)) for name, sample in named]

    def __str__(self) -> str:
        rows = [*self.given, ("expected", self.expected), ("actual", self.actual)]
        return "\n".join([f"breaks {self.law}", *(f"  {name:<12} {joined(values)}" for name, values in rows)])


def _few(values: Mapping[str, str]) -> dict[str, str]:
    more = {"...": f"{len(values) - _FIELDS} more"} if len(values) > _FIELDS else {}
    return {**dict(islice(values.items(), _FIELDS)), **more}


def joined(values: Mapping[str, str]) -> str:
    """Values by name, in one line."""
    return ", ".join(f"{plain(name)}={value}" if name else value for name, value in values.items())


def shown_sample(packed: bytes) -> dict[str, str]:
    """The values of a sample, each as short text that tells any two apart."""
    return {name: shown(value) for name, value in unpack(packed).items()}


def differing(expected: bytes, actual: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """The values of two samples where they differ; all, where only their order does."""
    one, other = shown_sample(expected), shown_sample(actual)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return tuple({name: side.get(name, "no such field") for name in names or side} for side in (one, other))  # type: ignore[return-value]


def shown(value: Any) -> str:
    """A stored value as text. What is cut has a digest, by which it is told from others."""
    text = _shown(value)
    return text if len(text) <= 4 * _WIDE else f"{text[: 2 * _WIDE]}... sha256 {sha256(text.encode()).hexdigest()[:8]}"


def _shown(value: Any) -> str:
    if isinstance(value, float) and math.isnan(value):
        bits = struct.pack(">d", value).hex()
        return "nan" if bits == "7ff8000000000000" else f"nan 0x{bits}"
    if isinstance(value, bytes):
        return _shown_bytes(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!a}: {_shown(item)}" for key, item in value.items()) + "}"
    return ascii(value)


def _shown_bytes(data: bytes) -> str:
    array = array_in(data)
    if array is None:
        return ascii(data) if len(data) <= _WIDE else f"<{len(data)} bytes 0x{_hex(data)}>"
    order = "Fortran " if array.flags.f_contiguous and not array.flags.c_contiguous else ""
    dtype = array.dtype.str if array.dtype.names is None else str(array.dtype)
    items = f" {array.tolist()!a}" if array.dtype.kind in "biufc" and 0 < array.size <= 4 else ""
    raw = f" 0x{_hex(array.tobytes('A'))}" if array.size else ""
    return f"array({dtype!a} {order}{list(array.shape)}{items}{raw})"


def _hex(data: bytes) -> str:
    return data.hex() if len(data) <= _WIDE else f"{data[:16].hex()}... sha256 {sha256(data).hexdigest()[:8]}"


class Shrinker:
    """Makes the samples of a counterexample smaller, one value after the other, as long as the law stays broken.

    Args:
        types: of the samples.
        fails: tells if some samples, as stored maps, break the law.
    """

    def __init__(self, types: Sequence[type], fails: Callable[[Sequence[dict[str, Any]]], bool]) -> None:
        self._kinds, self._fails, self._left = [kinds_of(kind) for kind in types], fails, MOST

    def smallest(self, samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The smallest that is found: nothing in it can be replaced by something smaller alone, as far as was tried."""
        found = list(samples)
        while self._left:
            for candidate in self._candidates(found):
                if not self._left:
                    break
                self._left -= 1
                if self._fails(candidate):
                    found = candidate
                    break
            else:
                break
        return found

    def _candidates(self, samples: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Yields smaller samples: whole ones that are simple, a field that is simple in all of them, then single values."""
        for at, kinds in enumerate(self._kinds):
            simplest = {name: next(simpler(kind, samples[at][name]), samples[at][name]) for name, kind in kinds.items()}
            if simplest != samples[at] and len(simplest) == len(samples[at]) > 1:
                yield [*samples[:at], simplest, *samples[at + 1 :]]
        for name in {name: None for kinds in self._kinds for name in kinds}:
            less = [self._simplified(name, at, sample) for at, sample in enumerate(samples)]
            if sum(a is not b for a, b in zip(less, samples, strict=True)) > 1:
                yield less
        for at, sample in enumerate(samples):
            if not self._kinds[at]:
                yield from ([*samples[:at], less, *samples[at + 1 :]] for less in simpler(_UNTYPED, sample))
            for name, kind in self._kinds[at].items():
                for value in simpler(kind, sample[name]):
                    yield [*samples[:at], {**sample, name: value}, *samples[at + 1 :]]

    def _simplified(self, name: str, at: int, sample: dict[str, Any]) -> dict[str, Any]:
        if name not in self._kinds[at]:
            return sample
        value = next(simpler(self._kinds[at][name], sample[name]), sample[name])
        return sample if value is sample[name] else {**sample, name: value}


_UNTYPED = DictOf(Plain())


def kinds_of(sample_type: type) -> dict[str, FieldType]:
    """The kinds of the fields of a sample type; empty for samples without a type."""
    return (
        {field.name: field.type for field in fields_of(sample_type)} if issubclass(sample_type, PackableSample) else {}
    )
