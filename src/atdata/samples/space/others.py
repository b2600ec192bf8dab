"""The spaces of what libraries make: encoded pictures, sound and film, sparse matrices, tensors, safetensors, frames."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from atdata.samples.kinds.frames import FrameOf
from atdata.samples.kinds.kind import FieldType
from atdata.samples.kinds.media import AudioOf, ImageOf, VideoOf
from atdata.samples.kinds.safetensors import SafetensorsOf
from atdata.samples.kinds.sparse import SparseOf
from atdata.samples.kinds.tensors import TensorOf
from atdata.samples.npy import decode_array
from atdata.samples.space.arrays import array_space, arrays
from atdata.samples.space.chance import Chance
from atdata.samples.space.plain import float_edges
from atdata.samples.space.space import Space

_FORMS = ("csr", "csc", "coo", "bsr", "dia")
_MATRICES = tuple(np.dtype(name) for name in ("f8", "f4", "i8", "u1"))
_TENSORS = (*_MATRICES, np.dtype("i2"))
_FLOATS = (11, 52)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(width: int, height: int, pixels: bytes, *extra: bytes) -> bytes:
    """A grey picture, not compressed: the same bytes with any zlib."""
    rows = b"".join(b"\0" + pixels[row * width : (row + 1) * width] for row in range(height))
    size = struct.pack("<HH", len(rows), 0xFFFF ^ len(rows))
    stored = b"x\x01\x01" + size + rows + struct.pack(">I", zlib.adler32(rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [_chunk(b"IHDR", head), *extra, _chunk(b"IDAT", stored), _chunk(b"IEND", b"")]
    )


def _draw_png(chance: Chance) -> bytes:
    width, height = 1 + chance.below(4), 1 + chance.below(4)
    text = [_chunk(b"tEXt", b"Comment\0" + chance.bytes(4).hex().encode())] if chance.below(2) else []
    return _png(width, height, chance.bytes(width * height), *text)


_GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


def images(_: ImageOf) -> Space:
    """The space of pictures: all can be decoded."""
    text = _chunk(b"tEXt", b"Comment\0a")
    return Space(
        (_png(1, 1, b"\0"), _png(1, 1, b"\xff"), _png(2, 1, b"\0\xff"), _png(1, 1, b"\0", text), _GIF), _draw_png
    )


def _wav(samples: bytes, rate: int = 8000) -> bytes:
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sounds(_: AudioOf) -> Space:
    """The space of sound: 16 bits, one channel."""
    return Space(
        (_wav(b""), _wav(b"\0\0"), _wav(b"\xff\x7f\0\x80", 44_100)),
        lambda chance: _wav(chance.bytes(2 * chance.below(9))),
    )


def _mp4(brand: bytes, rest: bytes = b"") -> bytes:
    return b"\0\0\0\x14ftyp" + brand + b"\0\0\0\0" + brand + rest


def films(_: VideoOf) -> Space:
    """The space of film: files that begin as such, without a picture."""
    return Space(
        (_mp4(b"isom"), _mp4(b"mp42"), b"\x1aE\xdf\xa3\x80", _mp4(b"isom", b"\0\0\0\x08free")),
        lambda chance: _mp4(b"isom", struct.pack(">I4s", 16, b"free") + chance.bytes(8)),
    )


def _no_build(name: str, fields: Any) -> type:
    raise NotImplementedError  # of the classes of libraries none is built


def _stored(kind: FieldType, values: Iterable[Any], draw: Callable[[Chance], Any]) -> Space:
    """The space of what a kind stores for some values, and for others."""
    encode = kind.encoder
    return Space(tuple(dict.fromkeys(map(encode, values))), lambda chance: encode(draw(chance)))


def matrices(kind: SparseOf) -> Space:
    """The space of sparse matrices, of all formats that a field takes."""
    suffix = {"sparray": "array", "spmatrix": "matrix"}.get(kind.name)
    names = [f"{form}_{suffix}" for form in _FORMS] if suffix else [kind.name]
    classes = [SparseOf(name).annotation(_no_build) for name in names]

    def made(of: Any, dtype: Any, shape: tuple[int, int], numbers: list[Any]) -> Any:
        return of(np.array(numbers, dtype).reshape(shape))

    def draw(chance: Chance) -> Any:
        shape = 1 + chance.below(3), 1 + chance.below(3)
        numbers = [chance.below(2) * (1 + chance.below(9)) for _ in range(shape[0] * shape[1])]
        return made(chance.pick(classes), chance.pick(_MATRICES), shape, numbers)

    first = [made(classes[0], dtype, (1, 1), [number]) for dtype in _MATRICES for number in (0, 1)]
    more = [made(of, "f8", (2, 3), [0, 1, 0, 2, 0, float("nan")]) for of in classes]
    return _stored(kind, (*first, *more), draw)


def tensors(kind: TensorOf) -> Space:
    """The space of tensors."""
    make, inner = kind.annotation(_no_build).from_numpy, array_space(_TENSORS, None)
    edges = [array for array in map(decode_array, inner.edges) if array.ndim and array.size]

    def draw(chance: Chance) -> Any:
        array = decode_array(inner.draw(chance))
        return make(array if array.ndim and array.size else edges[0])

    return _stored(kind, map(make, edges), draw)


def safetensors(kind: SafetensorsOf) -> Space:
    """The space of arrays in files of safetensors."""
    inner = arrays(kind.inner)

    def fit(named: dict[str, bytes]) -> dict[str, Any]:
        decoded = ((name, decode_array(array)) for name, array in sorted(named.items()))
        return {name: array for name, array in decoded if array.dtype.isnative and array.dtype.kind in "biuf"}

    def draw(chance: Chance) -> Any:
        return fit({name: inner.any(chance) for name in ("a", "b", "é")[: chance.below(4)]})

    pairs = [{"b": inner.edges[0], "a": inner.edges[-1]}, {"": inner.edges[0]}]
    return _stored(kind, map(fit, ({}, *({"a": array} for array in inner.edges), *pairs)), draw)


def frames(kind: FrameOf) -> Space:
    """The space of frames: of whole numbers, numbers and text."""
    make = kind.annotation(_no_build)
    floats = [struct.unpack(">d", bits.to_bytes(8, "big"))[0] for bits in float_edges(*_FLOATS)]

    def frame(whole: list[int], text: list[str | None], numbers: list[float]) -> Any:
        return make({"n": np.array(whole, "i8"), "text": text, "x": np.array(numbers, "f8")})

    def draw(chance: Chance) -> Any:
        count = 1 + chance.below(3)
        whole = [chance.below(1 << 63) for _ in range(count)]
        return frame(whole, [chance.pick(("", "a", "é", None)) for _ in whole], [chance.pick(floats) for _ in whole])

    edges = [make({"n": np.array([0], "i8")}), frame([1], ["a"], [1.0]), frame([(1 << 63) - 1], ["é"], [-0.0])]
    return _stored(kind, (*edges, frame([0, -1], ["", None], [float("nan"), float("inf")])), draw)
