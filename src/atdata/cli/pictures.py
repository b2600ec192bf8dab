"""Pictures on a terminal. With colours, two pixels to a character: the upper one as the colour of "▀", the lower one as
its background. Without, a pixel is two characters of a darkness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from atdata.cli.output import console
from atdata.plain import plain
from atdata.samples.preview import as_picture

_SHADES = " ░▒▓█"


def picture(array: np.ndarray[Any, Any], columns: int = 32) -> Text:
    """An image of `array` ((height, width) or (height, width, channels)) as text, `columns` pixels wide at most."""
    pixels = as_picture(array)
    if pixels is None:
        raise AssertionError("who prints a picture has one")
    step = max(1, -(-pixels.shape[1] // columns))
    pixels = pixels[::step, ::step]
    return _shaded(pixels) if console().color_system is None else _coloured(pixels)


def _coloured(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Text:
    if pixels.shape[0] % 2:
        pixels = np.vstack([pixels, np.zeros_like(pixels[:1])])
    text = Text()
    for row in range(0, pixels.shape[0], 2):
        for upper, lower in zip(pixels[row], pixels[row + 1], strict=True):
            text.append("▀", style=f"rgb({','.join(map(str, upper))}) on rgb({','.join(map(str, lower))})")
        text.append("\n")
    return text


def _shaded(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Text:
    shades = (pixels.mean(axis=2) * (len(_SHADES) - 1) / 255).round().astype(int)
    return Text("\n".join("".join(_SHADES[shade] * 2 for shade in row) for row in shades) + "\n")


def pictures(arrays: Sequence[np.ndarray[Any, Any]], captions: Sequence[str]) -> None:
    """Print images in a row, each with a caption, as many as fit on the terminal."""
    width = min(32, max(array.shape[1] for array in arrays))
    wide = width if console().color_system else 2 * width
    room = max(1, console().width // (wide + 2))
    grid = Table.grid(padding=(0, 2))
    shown = list(zip(arrays, captions, strict=True))[:room]
    grid.add_row(*(picture(array, width) for array, _ in shown))
    grid.add_row(*(Text(plain(caption, wide), style="dim") for _, caption in shown))
    console().print(grid)
