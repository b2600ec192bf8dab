"""Pictures, sound and film: encoded bytes that stay as they are."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

from numpy.typing import NDArray

from atdata.errors import ShardNotFoundError, StorageError, UsageError
from atdata.samples.kinds.kind import FieldType, Misfit, OfClass, described
from atdata.samples.kinds.scalars import Scalar
from atdata.samples.pictures import Picture, encode_picture, open_picture, pixels

Source: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str]
"""Encoded bytes, or the path of a file of them."""

UNKNOWN = "application/octet-stream"

# How files begin, and of which type they are then.
_BEGINNINGS: list[tuple[re.Pattern[bytes], str]] = [
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"II\*\0|MM\0\*", "image/tiff"),
        (rb"BM", "image/bmp"),
        (rb"P[1-6]\s", "image/x-portable-anymap"),
        (rb"\0\0\0\x0cjP  |\xffO\xffQ", "image/jp2"),
        (rb"....ftypavi[fs]", "image/avif"),
        (rb"....ftyp(?:hei[cxms]|mif1)", "image/heic"),
        (rb"RIFF....WAVE", "audio/wav"),
        (rb"fLaC", "audio/flac"),
        (rb"ID3|\xff[\xf2\xf3\xfa\xfb]", "audio/mpeg"),
        (rb"\xff[\xf0\xf1\xf8\xf9]", "audio/aac"),
        (rb"OggS", "audio/ogg"),
        (rb"FORM....AIF[FC]", "audio/aiff"),
        (rb"....ftypM4[AB]", "audio/mp4"),
        (rb"RIFF....AVI ", "video/x-msvideo"),
        (rb"....ftypqt  ", "video/quicktime"),
        (rb"....ftyp", "video/mp4"),
        (rb"\x1aE\xdf\xa3", "video/webm"),
        (rb"\0\0\x01[\xba\xb3]", "video/mpeg"),
    )
]

EXTENSIONS: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png",),
    "image/webp": ("webp",),
    "image/gif": ("gif",),
    "image/tiff": ("tif", "tiff"),
    "image/bmp": ("bmp",),
    "image/x-portable-anymap": ("ppm", "pgm", "pbm", "pnm"),
    "image/jp2": ("jp2", "j2k"),
    "image/avif": ("avif",),
    "image/heic": ("heic",),
    "audio/wav": ("wav",),
    "audio/flac": ("flac",),
    "audio/mpeg": ("mp3",),
    "audio/aac": ("aac",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/aiff": ("aif", "aiff"),
    "audio/mp4": ("m4a",),
    "video/mp4": ("mp4", "m4v"),
    "video/quicktime": ("mov",),
    "video/x-msvideo": ("avi",),
    "video/webm": ("webm", "mkv"),
    "video/mpeg": ("mpg", "mpeg"),
}
"""The extensions of files of each media type."""


class Encoded:
    """Encoded bytes as they are.

    Args:
        source: the bytes, or the path of a file that holds them.

    Attributes:
        data: the bytes.

    Raises:
        ShardNotFoundError, StorageError: there is no such file, or it cannot be read.
    """

    __slots__ = ("data",)

    data: bytes

    def __init__(self, source: Source) -> None:
        self.data = _bytes_of(source, type(self).__name__)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The object for bytes that are there already."""
        made = cls.__new__(cls)
        made.data = data
        return made

    @property
    def media_type(self) -> str:
        """The media type that the first bytes say, such as `image/jpeg`; `application/octet-stream` where they say none."""
        beginning = self.data[:16]
        return next((name for pattern, name in _BEGINNINGS if pattern.match(beginning)), UNKNOWN)

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Encoded) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.data)

    def __reduce__(self) -> tuple[Callable[[bytes], Self], tuple[bytes]]:
        return type(self).of, (self.data,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.media_type}, {len(self.data)} bytes)"


class Image(Encoded):
    """A picture, as the bytes of its file. Pixels are decoded when they are asked for.

    Args:
        source: the bytes of a file, its path, a Pillow image, or an array `(height, width)` or
            `(height, width, channels)` of uint8.
        encoding: of what is not encoded yet, as Pillow names it. PNG keeps each pixel.

    Raises:
        MissingExtraError: an image or an array is given, and Pillow is not installed.
        SampleError: it cannot be encoded.
        ShardNotFoundError, StorageError: there is no such file, or it cannot be read.

    Example:
        >>> import atdata, numpy as np
        >>> image = atdata.Image(np.zeros((2, 3, 3), np.uint8))
        >>> image.media_type, image.array.shape
        ('image/png', (2, 3, 3))
    """

    __slots__ = ()

    def __init__(self, source: Source | NDArray[Any] | Picture, *, encoding: str = "PNG") -> None:
        encoded = isinstance(source, bytes | bytearray | memoryview | str | os.PathLike)
        self.data = _bytes_of(source, "Image") if encoded else encode_picture(source, encoding)

    @property
    def array(self) -> NDArray[Any]:
        """The pixels: `(height, width)` for grey, `(height, width, channels)` for colour, turned as EXIF says.

        Raises:
            MissingExtraError: Pillow is not installed.
            SampleError: they cannot be decoded, or are more than Pillow takes for safe.
        """
        return pixels(self.data)

    @property
    def pil(self) -> Picture:
        """The image as Pillow has it, turned as EXIF says.

        Raises:
            MissingExtraError: Pillow is not installed.
            SampleError: it cannot be decoded, or has more pixels than Pillow takes for safe.
        """
        return open_picture(self.data)


class Audio(Encoded):
    """Sound, as the bytes of its file."""

    __slots__ = ()


class Video(Encoded):
    """Film, as the bytes of its file."""

    __slots__ = ()


class _Encoded(OfClass):
    """A kind whose values are encoded bytes."""

    python: ClassVar[type[Encoded]]

    def __init_subclass__(cls, **_: Any) -> None:
        """Say the extensions of files of such values."""
        files = (names for media_type, names in EXTENSIONS.items() if media_type.startswith(f"{cls.label}/"))
        cls.extensions = tuple(itertools.chain.from_iterable(files))

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("bytes")

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, self.python):
            name = self.python.__name__
            hint = f"Make one of bytes or of a path: atdata.{name}(source)."
            raise Misfit(name, described(value), hint=hint)
        return value.data

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        return self.python.of(stored)

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"contentMediaType": f"{self.label}/*"}

    def from_cell(self, cell: Any) -> Any:
        """See `FieldType`: others keep a struct of the bytes and a path."""
        return super().from_cell(cell["bytes"] if isinstance(cell, dict) and "bytes" in cell else cell)


@dataclass(frozen=True)
class ImageOf(_Encoded):
    """A picture."""

    label, python = "image", Image


@dataclass(frozen=True)
class AudioOf(_Encoded):
    """Sound."""

    label, python = "audio", Audio


@dataclass(frozen=True)
class VideoOf(_Encoded):
    """Film."""

    label, python = "video", Video


def _bytes_of(source: Any, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as error:
            kind = ShardNotFoundError if isinstance(error, FileNotFoundError) else StorageError
            raise kind(
                f"a file cannot be read: {getattr(error, 'strerror', error)}",
                uri=str(source),
                hint="Check that it is there, and that you may read it.",
            ) from error
    raise UsageError(
        f"{name} is made of encoded bytes or the path of a file", path="source", actual=type(source).__name__
    )
