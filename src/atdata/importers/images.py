"""Folders of images: pixels decoded by Pillow, labels from the names of folders."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError
from atdata.importers.files import Folder, Snapshot, decoding, some
from atdata.importers.imported import Imported, import_mappings
from atdata.loading.splits import said

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2"),
)

# Decoders that may be chosen by a file's first bytes, whatever its name says. Others start programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")

# Modes that are kept as they are; what others are converted to.
_KEPT = {"L", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_CONVERTED = {"1": "L", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}


def open_folder(folder: Folder, type_name: str) -> Imported:
    """The images of a folder as samples of `image`, `label`, `split` and `file`.

    `image` is `(height, width)` for grey and `(height, width, channels)` for colour, uint8, or uint16 for grey of
    16 bits, turned as its EXIF orientation says. `label` is the name of the folder the image is in; `split` is the
    split, where the folders of all say one. `file` is the path inside the folder.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: an image cannot be decoded, or has more pixels than Pillow takes for safe; `uri` names it.
    """
    _pillow()
    found = folder.in_splits(SUFFIXES, folders_only=True)
    paths = [path for paths in found.splits.values() for path in paths]
    places = _places(found.splits)
    looks: dict[str, _Look] = {}

    def read(split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in found.splits[split]:
            image, looks[path.as_posix()] = _decode(folder.root / path)
            yield path.as_posix(), {"image": image, **places[path], "file": path.as_posix()}

    imported = import_mappings(
        _kind(places[paths[0]]),
        type_name,
        {split: partial(read, split) for split in found.splits},
        uri=str(folder.root),
        files=Snapshot.of([folder.root / path for path in paths]),
        notes=[*folder.notes, *folder.without(SUFFIXES, "images"), *found.notes],
    )
    return replace(imported, notes=(*imported.notes, *_describe(looks)))


def _places(splits: Mapping[str, Sequence[Path]]) -> dict[Path, dict[str, str | None]]:
    """What the folders around each image say about it."""
    paths = {path: split for split, paths in splits.items() for path in paths}
    told = all(said((*path.parts[:-1], "")) for path in paths)
    folders = {path: _classes(path.parts[:-1]) if told else path.parts[:-1] for path in paths}
    labels = any(folders.values())
    places: dict[Path, dict[str, str | None]] = {}
    for path, inner in folders.items():
        label = {"label": inner[-1] if inner else None} if labels else {}
        places[path] = {**label, "split": paths[path]} if told else label
    return places


def _classes(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Folders without the one that says the split: the nearest that does."""
    nearest = max(number for number, folder in enumerate(folders) if said((folder, "")))
    return folders[:nearest] + folders[nearest + 1 :]


def _kind(place: dict[str, str | None]) -> str:
    kind = "images in class folders" if "label" in place else "images"
    return f"{kind}, in splits" if "split" in place else kind


@dataclass(frozen=True)
class _Look:
    """What people should know about an image before it is published."""

    pixels: str
    moving: bool
    reduced: bool


def _describe(looks: Mapping[str, _Look]) -> list[str]:
    notes = []
    kinds = Counter(look.pixels for look in looks.values())
    if len(kinds) > 1:
        notes.append("image: " + ", ".join(f"{count} are {kind}" for kind, count in kinds.most_common()))
    if moving := [name for name, look in looks.items() if look.moving]:
        notes.append(f"image: only the first picture of {some(moving)}")
    if reduced := [name for name, look in looks.items() if look.reduced]:
        notes.append(f"image: 16 bits of colour became 8, as Pillow reads them: {some(reduced)}")
    return notes


def _decode(path: Path) -> tuple[NDArray[Any], _Look]:
    pillow = _pillow()
    # On damaged files Pillow's decoders raise anything.
    hint = "Repair or remove the file; nothing was published."
    with decoding(path, "an image cannot be decoded", (Exception,), hint), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd metadata, and sizes that are not refused yet
        try:
            with pillow.open(path, formats=_FORMATS) as image:
                moving = bool(getattr(image, "is_animated", False))
                raw = " ".join(str(tile[3]) for tile in image.tile)
                reduced = image.mode.startswith(("RGB", "LA")) and re.search(r";16[BLN]", raw) is not None
                array = _pixels(image)
        except pillow.DecompressionBombError as error:
            raise SampleError(
                "an image with more pixels than is safe to decode",
                actual=str(error),
                hint="Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you know where it comes from.",
            ) from error
    pixels = "grey" if array.ndim == 2 else f"of {array.shape[2]} channels"
    return array, _Look(f"{array.dtype} {pixels}", moving, reduced)


def _pixels(image: Image) -> NDArray[Any]:
    from PIL import ImageOps

    image.load()
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    turned = ImageOps.exif_transpose(image)
    if turned.mode == "P":
        turned = turned.convert("RGBA" if "transparency" in image.info else "RGB")
    elif turned.mode not in _KEPT:
        turned = turned.convert(_CONVERTED.get(turned.mode, "RGB"))
    return np.array(turned, dtype=np.uint16 if sixteen else None)


@lru_cache(maxsize=1)
def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingExtraError.of("images", "reading images") from error
    return PIL.Image
