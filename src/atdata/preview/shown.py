"""Samples as a person sees them: models without markup, all of them bounded, which a page or a program shows as it likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Sort: TypeAlias = Literal["missing", "number", "text", "picture", "array", "bytes", "nested", "other"]


@dataclass(frozen=True)
class PreviewLimits:
    """The bounds of a preview: whatever is in samples, no more of it is looked at, decoded or shown.

    Attributes:
        samples: how many.
        fields: of each sample.
        text: characters of a value.
        side: of a picture, in pixels, as it is shown.
        pixels: of a picture, decoded.
        encoded: bytes of an encoded picture.
        numbers: of an array that are looked at.
        pictures: bytes of all pictures, as they are shown.
    """

    samples: int = 8
    fields: int = 24
    text: int = 300
    side: int = 96
    pixels: int = 1 << 24
    encoded: int = 1 << 24
    numbers: int = 1 << 20
    pictures: int = 1 << 20


@dataclass(frozen=True)
class ShownPicture:
    """A small picture that was made here.

    Attributes:
        png: its file.
        width: in pixels.
        height: in pixels.
    """

    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class ShownValue:
    """One value as it is shown.

    Attributes:
        sort: what it is.
        text: in one line, every character of which shows; it says all that the picture or the line does not have to.
        picture: what it looks like, if it looks like something.
        line: its numbers as the path of an SVG in a box of 120 by 24, if it is a row of numbers.
        why: why it is not shown as what it is.
    """

    sort: Sort
    text: str
    picture: ShownPicture | None = None
    line: str = ""
    why: str = ""


@dataclass(frozen=True)
class ShownSample:
    """One sample as it is shown.

    Attributes:
        number: its place in the dataset, from 0.
        values: by the names of its fields, as they are written, made harmless.
        why: why it cannot be shown, if it cannot.
        more: fields that are left out.
    """

    number: int
    values: tuple[tuple[str, ShownValue], ...] = ()
    why: str = ""
    more: int = 0

    def value(self, name: str) -> ShownValue | None:
        """The value of a field."""
        return next((value for known, value in self.values if known == name), None)


@dataclass(frozen=True)
class Preview:
    """Some samples of a dataset as they are shown.

    Attributes:
        samples: in order.
        more: whether there are more after them.
        why: why there are no more, or none, where that is a fault.
    """

    samples: tuple[ShownSample, ...] = ()
    more: bool = False
    why: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields that are shown, each once."""
        return tuple(dict.fromkeys(name for sample in self.samples for name, _ in sample.values))

    @property
    def pictured(self) -> bool:
        """True if there are pictures."""
        return any(value.picture is not None for sample in self.samples for _, value in sample.values)


NOTHING = Preview()
"""An empty preview."""
