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
    """The pixels of what is a picture or looks like one, uint8 `(height, width, 3)`; `None` of anything else.

    An array looks like one that is 2-d, or 3-d with 1, 3 or 4 channels last.
    """
    if isinstance(value, Image):
        try:
            value = pixels(value.data)
        except (MissingExtraError, SampleError):
            return None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or value.size == 0:
        return None
    grey = value.ndim == 2 and min(value.shape) >= 4
    if grey or (value.ndim == 3 and value.shape[-1] in (1, 3, 4) and min(value.shape[:2]) >= 4):
        return _as_rgb(value)
    return None


def _as_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    levels = array[..., None] if array.ndim == 2 else array[..., :3]
    if array.dtype != np.uint8 or array.max(initial=0) < 64:  # few levels, or no bytes: spread them over the range
        values = np.nan_to_num(levels.astype(np.float64))
        low, high = values.min(), values.max()
        levels = ((values - low) / (high - low or 1) * 255).astype(np.uint8)
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
