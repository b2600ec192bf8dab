"""Folders of images: their bytes or their pixels, classes from the names of folders."""

from __future__ import annotations

import bisect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError
from atdata.importers.bounds import Bounds
from atdata.importers.files import Folder, Snapshot, decoding, reading, some
from atdata.importers.guesses import Columns
from atdata.importers.imported import Imported
from atdata.importers.rows import import_values
from atdata.importers.wanted import Wanted
from atdata.loading.splits import named_split
from atdata.progress import counted, progress
from atdata.samples import ClassLabel, FieldType, Maybe
from atdata.samples import Image as Encoded
from atdata.samples.kinds.media import ImageOf
from atdata.samples.pictures import sign_of, signed

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2"),
)
TIFF = (".tif", ".tiff")

# Decoders that may be chosen by a file's first bytes, whatever its name says. Others start programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")

# Modes that are kept as they are; what others are converted to.
_KEPT = {"L", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
# Of 16 bits: what is read byte by byte, and what of all is such.
_DEEP = re.compile(r";16[BLN]")
_HALVES = re.compile(r"(?:RGB|RGBA|RGBX);16[BLN]|LA;16B")
# In JPEG 2000: the box that says how many bits a colour has, or the marker in a bare stream.
_JP2 = re.compile(rb"ihdr.{10}(.)|\A\xffO\xffQ.{38}(.)", re.DOTALL)
_CLASSES = 1000  # names that are classes; more are texts
_SUBFILE, _REDUCED = 254, 1  # of TIFF
_CONVERTED = {"1": "L", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}


def open_folder(
    folder: Folder, wanted: Wanted, *, pixels: bool = False, suffixes: Sequence[str] = SUFFIXES
) -> Imported:
    """The images of a folder as samples of `image`, `label`, `split` and `file`.

    `image` is the bytes of the file, as an `Image`. Where one is a TIFF file of several pages, or has colours of 16 bits,
    all are pixels instead: an image shows the first page alone, and 8 bits. Pixels are `(height, width)` for grey and
    `(height, width, channels)` for colour, uint8, or uint16 for 16 bits, turned as EXIF says; of several pages
    `(pages, height, width)`. `label` is the class that the name of the folder around it is; `split` is the split, where
    the folders of all say one. `file` is the path inside the folder.

    Args:
        folder: the folder.
        wanted: the sample type.
        pixels: whether to have pixels in any case.
        suffixes: of the files to take.

    Raises:
        MissingExtraError: Pillow is not installed.
        SampleError: an image cannot be decoded, has more pixels than Pillow takes for safe, pages that are not alike, or
            bits that cannot be read; `uri` names it.
        LimitError: its pixels would fill the memory.
    """
    _pillow()
    found = folder.in_splits(suffixes, folders_only=True)
    paths = [path for paths in found.splits.values() for path in paths]
    places = _places(found.splits)
    files = Snapshot.of([folder.root / path for path in paths])
    looks: dict[str, _Look] = {}
    columns = Columns(str(folder.root))
    with progress("Looking at", len(paths), "images") as bars:
        for path in counted(paths, bars, folder.root.name, len(paths)):
            image, looks[path.as_posix()] = _decode(folder.root / path)
            row = {"image": image, **places[path], "file": path.as_posix()}
            columns.add_row(row, path.as_posix(), wanted.fields)
    partial = [name for name, look in looks.items() if not look.whole]
    encoded = not (pixels or partial)
    if not encoded and (lost := [name for name, look in looks.items() if look.lost]):
        raise SampleError(
            "an image has channels of which nothing says what they are, and which cannot be read",
            uri=str(folder.root / lost[0]),
            expected="grey, or red, green and blue, and alpha",
            hint="Save each channel as a page of its own, or the array in an .npz file.",
        )
    kinds: dict[str, FieldType] = dict(columns.fields({*wanted.fields, *(["image"] if encoded else [])}))
    if encoded:
        kinds["image"] = ImageOf()
    names = sorted({str(place["label"]) for place in places.values() if place.get("label") is not None})
    if "label" in kinds and not wanted.declares("label") and len(names) <= _CLASSES:
        kinds["label"] = Maybe(ClassLabel(names)) if isinstance(kinds["label"], Maybe) else ClassLabel(names)
        places = {path: {**place, "label": _numbered(names, place["label"])} for path, place in places.items()}
    decided = columns.notes({*wanted.fields, *(["image"] if encoded else [])})

    def read(split: str) -> Iterator[list[Any]]:
        for path in found.splits[split]:
            place = folder.root / path
            image = _bytes_of(place) if encoded else _decode(place)[0]
            row = {"image": image, **places[path], "file": path.as_posix()}
            yield [row[name] for name in kinds]

    def locate(split: str, number: int) -> tuple[str, str]:
        return str(folder.root / found.splits[split][number]), f"image {number + 1}"

    counts = {split: len(paths) for split, paths in found.splits.items()}
    notes = [*folder.notes, *folder.without(suffixes, "images"), *found.notes, *decided, *_describe(looks, encoded)]
    if partial and not pixels:
        notes.append(f"image: pixels, for an image would not show all of {some(partial)}")
    return import_values(
        _kind(places[paths[0]]),
        wanted,
        list(kinds.items()),
        read,
        uri=str(folder.root),
        counts=counts,
        files=files,
        notes=notes,
        locate=locate,
    )


def _numbered(names: Sequence[str], label: Any) -> int | None:
    return None if label is None else bisect.bisect_left(names, label)


def _bytes_of(path: Path) -> Encoded:
    with reading(path):
        return Encoded.of(path.read_bytes())


def _places(splits: Mapping[str, Sequence[Path]]) -> dict[Path, dict[str, Any]]:
    """The label and split of each image, by the folders around it."""
    paths = {path: split for split, paths in splits.items() for path in paths}
    told = all(named_split((*path.parts[:-1], "")) for path in paths)
    folders = {path: _classes(path.parts[:-1]) if told else path.parts[:-1] for path in paths}
    labels = any(folders.values())
    places: dict[Path, dict[str, Any]] = {}
    for path, inner in folders.items():
        label = {"label": inner[-1] if inner else None} if labels else {}
        places[path] = {**label, "split": paths[path]} if told else label
    return places


def _classes(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Folders without the one that says the split: the nearest that does."""
    nearest = max(number for number, folder in enumerate(folders) if named_split((folder, "")))
    return folders[:nearest] + folders[nearest + 1 :]


def _kind(place: dict[str, Any]) -> str:
    kind = "images in class folders" if "label" in place else "images"
    return f"{kind}, in splits" if "split" in place else kind


@dataclass(frozen=True)
class _Look:
    """Notes about an image for people, before it is published."""

    pixels: str
    moving: bool
    whole: bool  # an `Image` shows all of it
    lost: bool  # pixels do not show all of it


def _describe(looks: Mapping[str, _Look], encoded: bool) -> list[str]:
    notes = []
    kinds = Counter(look.pixels for look in looks.values())
    if len(kinds) > 1:
        notes.append("image: " + ", ".join(f"{count} are {kind}" for kind, count in kinds.most_common()))
    if not encoded and (moving := [name for name, look in looks.items() if look.moving]):
        notes.append(f"image: only the first picture of {some(moving)}")
    return notes


def _decode(path: Path) -> tuple[NDArray[Any], _Look]:
    pillow = _pillow()
    bounds = Bounds(path, path.stat().st_size)
    # On damaged files Pillow's decoders raise anything.
    hint = "Repair or remove the file; nothing was written."
    with decoding(path, "an image cannot be decoded", (Exception,), hint), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd metadata, and sizes that are not refused yet
        try:
            with pillow.open(path, formats=_FORMATS) as image:
                lost = image.format == "TIFF" and "X" in _raw_mode(image)
                several = getattr(image, "n_frames", 1) > 1
                if several and image.format == "TIFF":
                    pages = _pages(image, bounds)
                    image.seek(pages[0])
                    several, stacked = False, len(pages) > 1
                    array = _stack(path, pages) if stacked else _page(path, image, pages[0])
                else:
                    bounds.check_held(_size(image), "its pixels")
                    array, stacked = _page(path, image, 0), False
        except pillow.DecompressionBombError as error:
            raise SampleError(
                "an image has more pixels than is safe to decode",
                actual=str(error),
                hint="Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you know where it comes from.",
            ) from error
    channels = array.shape[2 + stacked :]
    pixels = f"of {channels[0]} channels" if channels else "grey"
    whole = not stacked and not (channels and array.dtype == np.uint16)
    return array, _Look(f"{array.dtype} {pixels}" + (" in stacks" if stacked else ""), several, whole, lost)


def _size(image: Image) -> int:
    """Bytes of an image's pixels, decoded."""
    width, height = image.size
    return width * height * {"1": 1, "L": 1, "I;16": 2}.get(image.mode, 4) * (2 if _is_deep(image) else 1)


def _pages(image: Image, bounds: Bounds) -> list[int]:
    """The pages of a TIFF file, without those that are smaller pictures of another.

    Raises:
        LimitError: they would fill the memory.
    """
    pages, size = [], 0
    for number in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(number)
        kind = image.tag_v2.get(_SUBFILE, 0)  # type: ignore[attr-defined]
        if not (isinstance(kind, int) and kind & _REDUCED):
            pages.append(number)
            size += _size(image)
            bounds.check_held(size, "its pages")
    return pages or [0]


def _stack(path: Path, pages: Sequence[int]) -> NDArray[Any]:
    """All pages of a TIFF file, stacked.

    Raises:
        SampleError: they are not alike.
    """
    arrays = []
    for number in pages:
        with _pillow().open(path, formats=("TIFF",)) as image:
            image.seek(number)
            arrays.append(_page(path, image, number))
    looks = {(array.shape, array.dtype) for array in arrays}
    if len(looks) > 1:
        raise SampleError(
            "a TIFF file has pages of several sizes or modes",
            actual=" and ".join(f"{dtype} {list(shape)}" for shape, dtype in sorted(looks, key=str))[:200],
            hint="Save each page as a file of its own.",
        )
    return np.stack(arrays)


def _is_deep(image: Image) -> bool:
    """True if colours have 16 bits, of which Pillow keeps 8."""
    return image.mode.startswith(("RGB", "LA")) and bool(_DEEP.search(_raw_mode(image)))


def _raw_mode(image: Image) -> str:
    """Pillow's name for the pixels of a file before it converts them."""
    tiles: Any = image.tile  # type: ignore[attr-defined]
    arguments = tiles[0].args if tiles else ()
    return str(arguments if isinstance(arguments, str) else next(iter(arguments or ()), ""))


def _page(path: Path, image: Image, number: int) -> NDArray[Any]:
    _check_depth(path, image)
    sign = sign_of(image)
    if _is_deep(image):
        return _deep(path, image, number)
    from PIL import ImageOps

    image.load()
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    turned, key = ImageOps.exif_transpose(image), image.info.get("transparency")
    if turned.mode == "P" or (key is not None and turned.mode in ("1", "L", "RGB")):
        if key is not None:
            turned.info["transparency"] = key
        turned = turned.convert("RGB" if key is None else "RGBA")
    elif turned.mode not in _KEPT:
        turned = turned.convert(_CONVERTED.get(turned.mode, "RGB"))
    array = signed(np.array(turned, dtype=np.uint16 if sixteen else None), sign)
    return _keyed(np.dstack([array] * 3), (key,) * 3) if sixteen and isinstance(key, int) else array


def _keyed(colours: NDArray[np.uint16], key: Sequence[int]) -> NDArray[np.uint16]:
    """Colours with an alpha channel, in which one colour is transparent."""
    clear = (colours == np.array(key, np.uint16)).all(axis=-1)
    return np.dstack([colours, np.where(clear, 0, 0xFFFF).astype(np.uint16)])


def _deep(path: Path, image: Image, number: int) -> NDArray[np.uint16]:
    """Colours of 16 bits: Pillow reads one byte of each, so it is asked twice, for the one and for the other."""
    from PIL import ImageOps

    raw, key = _raw_mode(image), image.info.get("transparency")
    order = raw[-1]
    planes = []
    for half in ("RGBA",) if raw.startswith("LA") else (f"{raw[:-1]}B", f"{raw[:-1]}L"):
        with _pillow().open(path, formats=_FORMATS) as again:
            again.seek(number)
            again.tile = [
                tile._replace(args=half if isinstance(tile.args, str) else (half, *tile.args[1:]))
                for tile in again.tile
            ]
            again.load()
            planes.append(np.asarray(ImageOps.exif_transpose(again), dtype=np.uint16))
    if raw.startswith("LA"):  # its four bytes, as if they were four colours
        first, second = planes[0][..., [0, 0, 0, 2]], planes[0][..., [1, 1, 1, 3]]
    else:
        first, second = planes
    high, low = (first, second) if order == "B" or (order == "N" and sys.byteorder == "big") else (second, first)
    colours: NDArray[np.uint16] = (high << 8 | low).astype(np.uint16)
    return _keyed(colours, key) if isinstance(key, tuple) else colours


def _check_depth(path: Path, image: Image) -> None:
    """Refuse colours of more than 8 bits where only 8 can be read.

    Raises:
        SampleError: they are such.
    """
    bits = 8
    tiles: Any = image.tile  # type: ignore[attr-defined]
    if image.format == "PPM" and image.mode == "RGB" and tiles[0].codec_name.startswith("ppm"):
        bits = max(int(number) for number in tiles[0].args if isinstance(number, int)).bit_length()
    elif image.format == "JPEG2000" and image.mode.startswith(("RGB", "LA")):
        with path.open("rb") as file:
            head = file.read(1 << 12)
        if found := _JP2.search(head):
            bits = ((found[1] or found[2])[0] & 127) + 1
    elif _is_deep(image) and not _HALVES.fullmatch(_raw_mode(image)):
        bits = 16
    if bits > 8:
        raise SampleError(
            "an image has more than 8 bits a channel, of which only 8 can be read",
            expected=f"{bits} bits",
            actual=f"{image.format}, {_raw_mode(image)}",
            hint="Save it as PNG or TIFF; those are read with 16 bits.",
        )


@lru_cache(maxsize=1)
def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingExtraError.of("images", "reading images") from error
    return PIL.Image
