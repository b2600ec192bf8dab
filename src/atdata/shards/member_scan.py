"""The index of samples that are one file a field, by all headers of a window of a shard at once.

What is not written the common way goes to the careful reader in `tar` and `grouping`, whose verdict is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from atdata.shards.index import EXTENSION, Ints, Members, ShardIndex
from atdata.shards.memory_map import Bytes, map_file
from atdata.shards.scan import LARGE, WINDOW, chained_headers, ends_in_zeros
from atdata.shards.tar import BLOCK

_NAME = 100  # bytes of a header that are for the name
_EXTENSION = 24  # bytes of an extension, at most
_DOT, _SLASH, _UNDERSCORE = b"./_"


@dataclass(frozen=True, eq=False)
class _Files:
    """The files in a window of a shard, by their headers.

    Attributes:
        after: where the next header, or the end mark, stands.
        ends: whether that is the end mark, as far as its first block tells.
        heads: offset of each file's first header, int64 `[m]`.
        starts, sizes: of its bytes, int64 `[m]`.
        keys, extensions: the parts of its name, bytes `[m]`.
    """

    after: int
    ends: bool
    heads: Ints
    starts: Ints
    sizes: Ints
    keys: NDArray[np.bytes_]
    extensions: NDArray[np.bytes_]


def scan_in_bulk(file: BinaryIO, size: int) -> ShardIndex | None:
    """The index, if all headers are of the common form; `None` where they must be read one by one."""
    position, found = 0, list[_Files]()
    while not found or not found[-1].ends:
        if size - position < BLOCK:
            return None
        window = _files(file, position, size)
        if window is None:
            return None
        found.append(window)
        if not window.ends and window.after - position > LARGE * len(window.sizes):
            return None
        position = window.after
    if not ends_in_zeros(file, position, size):
        return None
    heads, starts, sizes = (
        np.concatenate([getattr(window, part) for window in found]) for part in ("heads", "starts", "sizes")
    )
    keys, extensions = (np.concatenate([getattr(window, part) for window in found]) for part in ("keys", "extensions"))
    return _grouped(heads, starts, sizes, keys, extensions) if len(heads) else None


def _grouped(
    heads: Ints, starts: Ints, sizes: Ints, keys: NDArray[np.bytes_], extensions: NDArray[np.bytes_]
) -> ShardIndex | None:
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    names, codes = np.unique(extensions, return_inverse=True)
    bounds = np.append(first, len(keys)).astype(np.int64)
    counts = np.diff(bounds)
    samples = np.repeat(np.arange(len(first)), counts)
    pairs = np.sort(samples * len(names) + codes)
    if (pairs[1:] == pairs[:-1]).any() or len(np.unique(keys[first])) != len(first):
        return None  # an error, which the careful reader names
    known = [name.decode() for name in names.tolist()]
    if EXTENSION in known and ((counts == 1) & (codes[first] == known.index(EXTENSION))).any():
        return None
    return Members(tuple(known), bounds, codes.astype(np.uint16), starts, sizes).index(heads[first])


def _files(file: BinaryIO, position: int, size: int) -> _Files | None:
    """The files of the window that begins at a position."""
    memory = map_file(file, position, min(position + WINDOW, size - size % BLOCK))
    blocks = memory.data[position - memory.base :].reshape(-1, BLOCK)
    if blocks.ctypes.data % 8:  # not mapped
        blocks = blocks.copy()
    if not blocks[0].any():  # the window before ended just where the archive does
        none, nothing = np.empty(0, np.int64), np.empty(0, "S1")
        return _Files(position, True, none, none, none, nothing, nothing)
    found = chained_headers(blocks, gnu=True)
    if found is None:
        return None
    names, after = plain_names(found.headers), found.after
    if names is None or position + after * BLOCK > size:
        return None
    ends = after < len(blocks) and not blocks[after].any()
    heads, starts = position + found.heads * BLOCK, position + (found.at + 1) * BLOCK
    return _Files(position + after * BLOCK, ends, heads, starts, found.sizes, *names)


def plain_names(headers: Bytes) -> tuple[NDArray[np.bytes_], NDArray[np.bytes_]] | None:
    """Keys and extensions in headers, if all are plain: `{key}.{extension}`, ASCII, no metadata."""
    if not len(headers):
        return np.empty(0, "S1"), np.empty(0, "S1")
    if headers[:, 345].any() or headers[:, _NAME - 1].any():  # a folder's name, or a long name
        return None
    names = np.ascontiguousarray(headers[:, :_NAME])
    width = _NAME
    lengths = np.count_nonzero(names, 1)
    places = np.arange(width)
    inside = places < lengths[:, None]
    if names.max() > 127 or not (inside == (names != 0)).all():
        return None
    slash = width - 1 - np.argmax((names == _SLASH)[:, ::-1], 1)
    base = np.where((names == _SLASH).any(1), slash + 1, 0)
    dots = (names == _DOT) & (places >= base[:, None])
    dot = np.argmax(dots, 1)
    longest = int((lengths - dot - 1).max())
    if not dots.any(1).all() or (dot == base).any() or not 0 < longest <= _EXTENSION:
        return None
    if (names[:, 0] == _UNDERSCORE).any() or (lengths == dot + 1).any():
        return None
    take = dot[:, None] + 1 + np.arange(longest)
    letters = np.where(take < lengths[:, None], np.take_along_axis(names, np.minimum(take, width - 1), 1), 0)
    letters = np.where((letters >= ord("A")) & (letters <= ord("Z")), letters + 32, letters).astype(np.uint8)
    names[places >= dot[:, None]] = 0
    wide = int(dot.max())
    keys = np.ascontiguousarray(names[:, :wide]).view(f"S{wide}")[:, 0]
    return keys, np.ascontiguousarray(letters).view(f"S{longest}")[:, 0]
