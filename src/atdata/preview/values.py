"""Values of samples as people see them, by what they are; what is not known is shown by its class and shape alone."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import AtdataError
from atdata.plain import plain
from atdata.preview.lines import line_of
from atdata.preview.shown import PreviewLimits, ShownPicture, ShownSample, ShownValue
from atdata.samples import ClassLabel, Field, PackableSample, fields_of
from atdata.samples.kinds import bare
from atdata.samples.kinds.media import Encoded
from atdata.samples.pictures import small_picture
from atdata.samples.preview import picture_levels, values_of

_DEEP = 6  # levels of a nested value
_HEX = 16  # bytes of what is shown in hexadecimal
_DRAWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/x-portable-anymap", "image/tiff")
_SAID = (dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, uuid.UUID, np.datetime64, np.timedelta64)


class SampleShower:
    """Shows samples, within limits that are of all of them together.

    Args:
        limits: what may be looked at, and shown.
    """

    def __init__(self, limits: PreviewLimits) -> None:
        self._limits, self._room = limits, limits.pictures

    def show(self, number: int, sample: Any, fields: Sequence[Field] = ()) -> ShownSample:
        """One sample.

        Args:
            number: its place in the dataset.
            sample: with a type, a mapping, or anything else: then it has one field, `value`.
            fields: of its type, where it is a mapping and they are known.
        """
        values, most = values_of(sample), self._limits.fields
        if isinstance(sample, PackableSample):
            fields = fields_of(type(sample))
        classes = {field.name: kind.names for field in fields if isinstance(kind := bare(field.type), ClassLabel)}
        shown = tuple(
            (plain(name, 80), self._of_class(value, classes[name]) if name in classes else self.value(value))
            for name, value in islice(values.items(), most)
        )
        return ShownSample(number, shown, more=max(0, len(values) - most))

    def value(self, value: Any) -> ShownValue:
        """One value. Nothing that a value can be raises anything."""
        try:
            return self._value(value)
        except Exception as error:  # noqa: BLE001  of whatever library the value is
            return ShownValue("other", type(value).__name__, why=f"it cannot be shown: {type(error).__name__}")

    def _of_class(self, value: Any, names: Sequence[str]) -> ShownValue:
        """The number of a class, with its name."""
        if type(value) is not int or not 0 <= value < len(names):
            return self.value(value)
        return ShownValue("number", f"{self._cut(names[value])} ({value})")

    def _value(self, value: Any) -> ShownValue:
        match value:
            case None:
                return ShownValue("missing", "none")
            case bool() | int() | float() | complex() | np.bool_() | np.number() if not isinstance(value, enum.Enum):
                return ShownValue("number", number_text(value))
            case str() if not isinstance(value, enum.Enum):
                return ShownValue("text", self._cut(value))
            case Encoded():
                return self._encoded(value.data, value.media_type)
            case bytes() | bytearray() | memoryview():
                media = Encoded.of(bytes(value[:16])).media_type
                return self._encoded(bytes(value), media) if media in _DRAWN else self._bytes(bytes(value))
            case np.ndarray():
                return self._array(value)
            case PackableSample() | Mapping() | list() | tuple() | set() | frozenset():
                return self._nested(value)
        return ShownValue("other", self._cut(word(value)))

    def _cut(self, text: str) -> str:
        return plain(text, self._limits.text)

    def _bytes(self, data: bytes) -> ShownValue:
        begin = data[:_HEX].hex(" ") + (" …" if len(data) > _HEX else "")
        return ShownValue("bytes", f"{len(data):,} bytes" + (f": {begin}" if data else ""))

    def _encoded(self, data: bytes, media_type: str) -> ShownValue:
        text = f"{media_type}, {len(data):,} bytes"
        if media_type not in _DRAWN:
            return ShownValue("bytes", text)
        if len(data) > self._limits.encoded:
            return ShownValue("bytes", text, why=f"pictures of more than {self._limits.encoded:,} bytes are not shown")
        picture, why = self._drawn(data)
        return ShownValue("picture" if picture else "bytes", text, picture, why=why)

    def _array(self, array: NDArray[Any]) -> ShownValue:
        text = array_text(array, self._limits.numbers)
        if (levels := picture_levels(array, 4 * self._limits.side)) is not None:
            picture, why = self._drawn(levels)
            return ShownValue("picture" if picture else "array", text, picture, why=why)
        return ShownValue("array", text, line=line_of(array, self._limits.numbers))

    def _nested(self, value: Any) -> ShownValue:
        row = isinstance(value, list | tuple) and len(value) > 1 and all(type(item) in (int, float) for item in value)
        line = line_of(np.array(value[: self._limits.numbers], np.float64), self._limits.numbers) if row else ""
        return ShownValue("nested", self._cut(joined(_pieces(value, _DEEP), self._limits.text + 1)), line=line)

    def _drawn(self, source: bytes | NDArray[np.uint8]) -> tuple[ShownPicture | None, str]:
        """A picture, or why there is none."""
        if self._room <= 0:
            return None, "there are pictures enough on this page"
        try:
            picture = ShownPicture(*small_picture(source, self._limits.side, self._limits.pixels))
        except AtdataError as error:
            return None, error.what
        self._room -= len(picture.png)
        return picture, ""


def number_text(value: Any) -> str:
    """A number in a few characters."""
    if isinstance(value, float | np.floating) and math.isnan(value):
        return "NaN"
    try:
        return plain(value, 60)
    except ValueError:  # an int of more digits than Python writes
        return "a number of thousands of digits"


def array_text(array: NDArray[Any], most: int) -> str:
    """An array in words: its dtype and shape, and of its numbers the least, the greatest and the mean."""
    shape = " × ".join(map(str, array.shape)) or "a single value"
    text = f"{plain(array.dtype, 60)}, {shape}"
    if array.dtype.kind not in "buif" or array.size == 0:
        return text
    part = flat_part(array, most)
    there = part[np.isfinite(part)]
    nans, of = int(np.isnan(part).sum()), "" if len(part) == array.size else " of a part"
    if not len(there):
        return f"{text}; no finite number{of}"
    with np.errstate(all="ignore"):
        known = {"least": there.min(), "greatest": there.max(), "mean": there.mean()}
    said = [f"{name} {value:.6g}" for name, value in known.items() if math.isfinite(value)]
    said += [f"{nans:,} NaN"] * (nans > 0)
    return f"{text}; {', '.join(said)}{of}"


def flat_part(array: NDArray[Any], most: int) -> NDArray[np.float64]:
    """Numbers of an array in order, as many as may be looked at, from all over it."""
    step = max(1, -(-array.size // most))
    with np.errstate(all="ignore"):
        return np.asarray(array.flat[::step], np.float64)


def word(value: Any) -> str:
    """A value that is neither a number, a text nor nested, in a few characters."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, _SAID):
        return str(value)
    shape = getattr(value, "shape", None)
    sized = isinstance(shape, tuple) and all(isinstance(side, int) for side in shape)
    return f"{type(value).__name__}, {' × '.join(map(str, shape))}" if sized and shape else type(value).__name__


def joined(pieces: Iterable[str], most: int) -> str:
    """The first pieces of a text, until there are characters enough."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > most:
            break
    return "".join(found)


def _pieces(value: Any, deep: int) -> Iterator[str]:
    """Yields the text of a nested value, piece by piece: whoever has enough of it asks for no more."""
    match value:
        case np.ndarray():
            yield f"{value.dtype} {list(value.shape)}"
        case bytes() | bytearray() | memoryview():
            yield f"{len(value):,} bytes"
        case Encoded():
            yield f"{value.media_type}, {len(value.data):,} bytes"
        case None | bool() | int() | float() | np.generic() if not isinstance(value, enum.Enum):
            yield "none" if value is None else number_text(value)
        case str() if not isinstance(value, enum.Enum):
            yield f'"{value[:1000]}"'
        case PackableSample() | Mapping() | list() | tuple() | set() | frozenset() if deep == 0:
            yield "…"
        case PackableSample() | Mapping():
            yield "{"
            for place, (name, item) in enumerate(values_of(value).items()):
                yield f"{', ' * (place > 0)}{str(name)[:1000]}: "
                yield from _pieces(item, deep - 1)
            yield "}"
        case list() | tuple() | set() | frozenset():
            yield "["
            for place, item in enumerate(value):
                yield ", " * (place > 0)
                yield from _pieces(item, deep - 1)
            yield "]"
        case _:
            yield word(value)
