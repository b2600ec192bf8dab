"""Samples as people look at them: values in a few characters, pictures as thumbnails."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.display import MOST_COLUMNS, Cell, Grid, Thumbnail
from atdata.errors import MissingExtraError, SampleError
from atdata.plain import plain
from atdata.samples.kinds.media import Encoded, Image
from atdata.samples.packable import VALUE, PackableSample, fields_of
from atdata.samples.pictures import encode_picture, open_picture, pixels

SHOWN = 5
"""Samples in a preview."""
_SIDE = 96
_BRIEF = 40


def values_of(sample: Any) -> Mapping[str, Any]:
    """The fields of a sample. Those of one without a type are no attributes where they are called as a method is. What is
    no sample has one field, `value`.
    """
    if isinstance(sample, Mapping):
        return sample
    if not isinstance(sample, PackableSample):
        return {VALUE: sample}
    return {field.name: getattr(sample, field.name) for field in fields_of(type(sample))}


def brief(value: Any, most: int = _BRIEF) -> str:
    """A value in a few characters."""
    if isinstance(value, np.ndarray):
        value = f"{value.dtype}{list(value.shape)}" if value.size > 4 else value.tolist()
    if isinstance(value, Encoded):
        return plain(f"{value.media_type}, {len(value.data)} bytes", most)
    return f"{len(value)} bytes" if isinstance(value, bytes) else plain(value, most)


def as_picture(value: Any) -> NDArray[np.uint8] | None:
    """The pixels of what is a picture or looks like one, uint8 `(height, width, 3)`; `None` of anything else."""
    if isinstance(value, Image):
        try:
            value = pixels(value.data)
        except (MissingExtraError, SampleError):
            return None
    return picture_levels(value) if isinstance(value, np.ndarray) else None


def picture_levels(array: NDArray[Any], most: int | None = None) -> NDArray[np.uint8] | None:
    """The pixels of an array that looks like a picture, uint8 `(height, width, 3)`; `None` where it does not.

    It does where it is 2-d, or 3-d with 1, 3 or 4 channels, last or first, and at least 4 pixels high and wide.

    Args:
        array: any.
        most: pixels of a side that are looked at; of more only some are taken.
    """
    if array.dtype.kind not in "buif" or array.size == 0 or array.ndim not in (2, 3):
        return None
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if min(array.shape[:2]) < 4 or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4)):
        return None
    if most is not None:
        array = array[tuple(slice(None, None, max(1, -(-side // most))) for side in array.shape[:2])]
    return _as_rgb(array)


def _as_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    levels = array[..., None] if array.ndim == 2 else array[..., :3]
    if array.dtype != np.uint8 or array.max(initial=0) < 64:  # few levels, or no bytes: spread them over the range
        with np.errstate(all="ignore"):
            values = levels.astype(np.float64) / 2  # halves: the difference of any two is finite
            finite = values[np.isfinite(values)]
            low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
            spread = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low or 1)
        levels = (spread * 255).astype(np.uint8)
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels


def thumbnail(value: Any) -> Thumbnail | None:
    """A small picture of what is one or looks like one; `None` of anything else, and where Pillow is not installed."""
    try:
        if isinstance(value, Image):
            image = open_picture(value.data)
            image.thumbnail((_SIDE, _SIDE))
            file = io.BytesIO()
            (image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")).save(file, format="PNG")
            return Thumbnail(file.getvalue(), brief(value))
        if (array := as_picture(value)) is None:
            return None
        step = max(1, -(-max(array.shape[:2]) // _SIDE))
        return Thumbnail(encode_picture(np.ascontiguousarray(array[::step, ::step]), "PNG"), brief(value))
    except (MissingExtraError, SampleError, OSError):
        return None


def preview(
    samples: Sequence[Any], title: str | None = None, names: Sequence[str] | None = None, *, whole: bool = False
) -> Grid:
    """A table of some samples, with thumbnails of pictures.

    Args:
        samples: with a type, or without.
        title: what they are.
        names: of the fields to show; by default all.
        whole: whether all of them are shown, however many there are.
    """
    rows = [values_of(sample) for sample in samples]
    columns = list(dict.fromkeys(name for row in rows for name in row)) if names is None else list(names)
    seen = len(columns) if whole else MOST_COLUMNS  # no thumbnails of what nobody sees
    cells = [[_cell(row[name]) if name in row else "" for name in columns[:seen]] for row in rows]
    return Grid(columns, cells, title, whole)


def _cell(value: Any) -> Cell:
    return thumbnail(value) or brief(value)
