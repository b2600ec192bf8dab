"""Pixels out of encoded pictures, and pictures out of pixels, by Pillow."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Picture: TypeAlias = "PilImage"

# Decoders that a picture's first bytes may choose. Others start programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
# Modes that are kept as they are; others become one of them.
_KEPT = {"L", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_CONVERTED = {"1": "L", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}
_CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}
_ORIENTATION = 0x0112  # of EXIF
_TURNED = (5, 6, 7, 8)  # by a quarter
_SAYING = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where a picture may say its orientation
_AT_ONCE = 16  # pictures that a thread decodes, one after the other


def open_picture(data: bytes) -> Picture:
    """The picture that bytes encode, turned as its EXIF orientation says.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: it cannot be decoded, or has more pixels than Pillow takes for safe.
    """
    with _decoding(), _open(data) as image:
        image.load()
        return _upright(image)


def pixels(data: bytes) -> NDArray[Any]:
    """The pixels of a picture: `(height, width)` for grey, `(height, width, channels)` for colour.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: it cannot be decoded, or has more pixels than Pillow takes for safe.
    """
    with _decoding(), _open(data) as image:
        sign = sign_of(image)
        return signed(np.asarray(_kept(_upright(image))), sign)


def sign_of(image: Picture) -> np.dtype[Any] | None:
    """The dtype that a TIFF says its pixels have, where Pillow has them in another of the same bits; else `None`.

    Raises:
        SampleError: its colours are planes of 16 bits, which Pillow takes for planes of 8.
    """
    if image.format != "TIFF":
        return None
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits, formats, channels = (tags.get(tag, given) for tag, given in ((258, (1,)), (339, (1,)), (277, 1)))
    if tags.get(284, 1) == 2 and channels > 1 and max(bits) > 8:
        raise SampleError(
            "an image has planes of more than 8 bits, which cannot be read",
            expected="the colours of a pixel side by side",
            actual=f"TIFF, {channels} planes of {max(bits)} bits",
            hint="Save it with planarconfig='contig'.",
        )
    if image.mode == "I" and bits == (32,) and formats[0] == 1:
        return np.dtype(np.uint32)
    return np.dtype(np.int8) if image.mode == "L" and formats[0] == 2 else None


def signed(pixels: NDArray[Any], dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """The same bits as another dtype; see `sign_of`."""
    return pixels if dtype is None else pixels.view(dtype)


def stack_pixels(pictures: Sequence[bytes], size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    """The pixels of many pictures, decoded in threads.

    Args:
        pictures: encoded.
        size: height and width of all; without it they must have one.
        mode: `RGB`, `RGBA` or `L`.

    Returns:
        uint8 `(n, height, width, channels)`, or `(n, height, width)` for `L`.

    Raises:
        MissingExtraError: Pillow is not installed.
        UsageError: the mode is another.
        SampleError: one cannot be decoded, or they are not of one size; `path` is its number.
    """
    if mode not in _CHANNELS:
        raise UsageError("pictures have no such mode", path="mode", expected=", ".join(_CHANNELS), actual=mode)
    _pillow()
    if not pictures:
        return np.empty((0, *(size or (0, 0)), *_CHANNELS[mode]), np.uint8)
    if size is None:
        with _numbered(0):
            first = _rgb(pictures[0], None, mode)
        stacked = np.empty((len(pictures), *first.shape), np.uint8)
    else:
        stacked = np.empty((len(pictures), *size, *_CHANNELS[mode]), np.uint8)

    def fill(number: int) -> None:
        with _numbered(number):
            found = _rgb(pictures[number], size, mode)
            if found.shape != stacked.shape[1:]:
                raise SampleError(
                    "pictures in a batch have several sizes",
                    expected=f"{stacked.shape[1]} x {stacked.shape[2]}, as the first",
                    actual=f"{found.shape[0]} x {found.shape[1]}",
                    hint="Say the size that all shall have: size=(height, width).",
                )
            stacked[number] = found

    _in_threads(fill, len(pictures))
    return stacked


def encode_picture(source: Any, encoding: str) -> bytes:
    """The encoded form of a Pillow image, or of an array `(height, width)` or `(height, width, channels)`.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: it is no picture, or the encoding does not take it.
    """
    pillow = _pillow()
    if isinstance(source, np.ma.MaskedArray):
        raise SampleError("a masked array cannot be encoded with its mask", hint="Fill it: array.filled(value).")
    try:
        if isinstance(source, np.ndarray) and source.ndim not in (2, 3):
            raise ValueError(source.ndim)
        image = pillow.fromarray(source) if isinstance(source, np.ndarray) else source
        file = io.BytesIO()
        image.save(file, format=encoding)
    except (TypeError, ValueError, KeyError, OSError, AttributeError) as error:
        raise SampleError(
            f"this cannot be encoded as {encoding}",
            expected="an array (height, width) or (height, width, channels) of uint8, or a Pillow image",
            actual=f"{source.dtype} {list(source.shape)}" if isinstance(source, np.ndarray) else type(source).__name__,
        ) from error
    return file.getvalue()


def load_decoders() -> None:
    """Load the decoders of all formats now: later there may be no files to read any more."""
    with suppress(MissingExtraError):
        pillow = _pillow()
        pillow.init()
        import PIL.ImageOps  # noqa: F401


def small_picture(source: bytes | NDArray[np.uint8], side: int, most: int) -> tuple[bytes, int, int]:
    """A picture made to fit into a square, as PNG, with its width and height.

    Args:
        source: encoded, or the pixels `(height, width, 3)`.
        side: of the square, in pixels.
        most: pixels that are decoded. A JPEG may have more: it is decoded in a part of its size.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: it cannot be decoded, or has too many pixels.
    """
    pillow = _pillow()
    with _decoding(), _open(source) if isinstance(source, bytes) else pillow.fromarray(source) as image:
        image.draft(None, (2 * side, 2 * side))
        width, height = image.size
        if width * height > most:
            raise SampleError(
                "an image has more pixels than are decoded here",
                expected=f"at most {most:,}",
                actual=f"{width:,} x {height:,} pixels",
            )
        small = _upright(image)
        if small.mode[0] in "IF":  # levels of any range
            small = pillow.fromarray(_levels(np.asarray(small)))
        elif small.mode not in ("L", "RGB", "RGBA"):
            small = _kept(small).convert("RGBA" if small.has_transparency_data else "RGB")
        small.thumbnail((side, side))
        file, small = io.BytesIO(), small.copy()  # without its file, of which saving asks where it is
        small.info = {}  # a profile of strangers has no place in a file of ours
        small.save(file, format="PNG")
        return file.getvalue(), *small.size


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    low, high = finite.min(), finite.max()
    levels: NDArray[np.uint8] = ((finite - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return levels


def _rgb(data: bytes, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    """The pixels of a picture in a mode and a size."""
    with _decoding(), _open(data) as image:
        if size is not None:
            height, width = size[::-1] if _orientation(image) in _TURNED else size
            image.draft(None, (width, height))  # a JPEG is decoded in half its size where that is enough
        picture = _upright(image)
        if picture.mode != mode:
            picture = _kept(picture).convert(mode)
        if size is not None and picture.size != size[::-1]:
            picture = picture.resize(size[::-1], resample=_pillow().Resampling.BILINEAR)
        return np.asarray(picture)


def _open(data: bytes) -> Picture:
    pillow = _pillow()
    image: Picture = pillow.open(io.BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if pillow.MAX_IMAGE_PIXELS is not None and width * height > pillow.MAX_IMAGE_PIXELS:
        raise pillow.DecompressionBombError(f"{width} x {height} pixels")
    return image


def _upright(image: Picture) -> Picture:
    from PIL.ImageOps import exif_transpose

    return exif_transpose(image) if _orientation(image) != 1 else image


def _orientation(image: Picture) -> int:
    """The orientation that EXIF or XMP says; 1 is upright."""
    if image.format == "JPEG" and _SAYING.isdisjoint(image.info):  # most, and looking costs a tenth of the decoding
        return 1
    said: int = image.getexif().get(_ORIENTATION, 1)
    return said


def _kept(image: Picture) -> Picture:
    """The same in a mode that numpy knows."""
    if image.mode in _KEPT:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert(_CONVERTED.get(image.mode, "RGB"))


@contextmanager
def _decoding() -> Iterator[None]:
    """Turns what Pillow raises into `SampleError`s: on damaged pictures its decoders raise anything."""
    pillow = _pillow()
    try:
        yield
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise SampleError(
            "an image has more pixels than is safe to decode",
            actual=str(error),
            hint="Raise PIL.Image.MAX_IMAGE_PIXELS if you know where it comes from.",
        ) from error
    except SampleError:
        raise
    except Exception as error:
        raise SampleError(
            "an image cannot be decoded",
            actual=f"{type(error).__name__}: {error}"[:160],
            hint="Its bytes are in .data.",
        ) from error


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    try:
        yield
    except SampleError as error:
        error.path = f"[{number}]"
        raise


def _in_threads(work: Callable[[int], None], count: int) -> None:
    """Do some work for each number; the error of the lowest number is raised."""

    def some(first: int) -> None:
        for number in range(first, min(first + _AT_ONCE, count)):
            work(number)

    if count == 1:
        work(0)
        return
    for done in [_pool(os.getpid()).submit(some, first) for first in range(0, count, _AT_ONCE)]:
        done.result()


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of a process: those of its parent did not come along."""
    cores = len(os.sched_getaffinity(process)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, thread_name_prefix="atdata-pictures")


@lru_cache(maxsize=1)
def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingExtraError.of("images", "decoding images") from error
    return PIL.Image
