"""The index of a shard: where each sample's bytes are, proved header by header.

The whole shard is proved before its first sample is read. Headers are looked at in bulk, all of a window at once;
what is not written the common way goes to the careful reader in `tar`, whose verdict is the same. Where this machine
could compile `_native.c`, its loop looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from atdata.native import native
from atdata.shards.index import EXTENSION, Ints, ShardIndex
from atdata.shards.memory_map import Bytes, FileRange, map_file
from atdata.shards.tar import BLOCK

WINDOW = 1 << 22
_MOST = 1 << 20  # samples that are looked at with one call
LARGE = 1 << 19  # samples of more bytes than that: seeking from header to header touches less
SUFFIX = np.frombuffer(f".{EXTENSION}".encode(), np.uint8)
_FEW = 16
_END, _UNUSUAL = 1, 2  # what the native scan says
REGULAR, PAX = ord("0"), ord("x")
_UST = int.from_bytes(b"ust", "little")
_AR, _GNU_AR = (int.from_bytes(rest, "little") for rest in (b"ar\0", b"ar "))
_FOLDER = ord("5")
_MTIME = np.frombuffer(b"\0\0 mtime=", np.uint8)


def scan_packed(file: BinaryIO, size: int) -> ShardIndex | None:
    """The index of packed samples, if all headers are of the common form; `None` where they must be read one by one."""
    position, found = 0, list[_Headers]()
    while True:
        window = _Headers.at(file, position, size)
        if window is None:
            return None
        found.append(window)
        if window.ends:
            break
        position = window.after
        if position - window.position > LARGE * len(window.sizes):
            return None
    if not ends_in_zeros(file, found[-1].after, size) or not _distinct([window.names for window in found]):
        return None
    return ShardIndex(np.concatenate([w.starts for w in found]), np.concatenate([w.sizes for w in found]))


@dataclass(frozen=True, eq=False)
class _Headers:
    """The samples of a window of a shard, by its headers, once all of them are proved.

    Attributes:
        position: where the window begins in the shard, at a header.
        after: where the next header, or the end mark, stands.
        ends: whether that is the end mark, as far as its first block tells.
        starts, sizes: of the samples.
        names: of the samples, bytes `[n]`; or a number for each name, the same where the name is.
    """

    position: int
    after: int
    ends: bool
    starts: Ints
    sizes: Ints
    names: NDArray[np.bytes_] | NDArray[np.uint64]

    @classmethod
    def at(cls, file: BinaryIO, position: int, size: int) -> _Headers | None:
        """The samples of the window that begins at a position."""
        if size - position < BLOCK:
            return None
        if native and (number := _number_of(file)) is not None:
            return cls._natively(number, position, size)
        stop = min(position + WINDOW, size - size % BLOCK)
        return cls._by_numpy(map_file(file, position, stop), position, size)

    @classmethod
    def _natively(cls, file: int, position: int, size: int) -> _Headers | None:
        assert native is not None
        capacity = min((size - position) // BLOCK, _MOST)
        starts, sizes, marks = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity, np.uint64)
        state, count, after = native.scan(file, position, size, starts, sizes, marks)
        if state == _UNUSUAL or after > size or (state != _END and not count):
            return None
        found = (starts[:count].copy(), sizes[:count].copy(), marks[:count].copy())
        return cls(position, after, state == _END, *found)

    @classmethod
    def _by_numpy(cls, memory: FileRange, position: int, size: int) -> _Headers | None:
        blocks = memory.data[position - memory.base :].reshape(-1, BLOCK)
        if blocks.ctypes.data % 8:  # not mapped
            blocks = blocks.copy()
        if not blocks[0].any():  # the window before ended just where the archive does
            return cls(position, position, True, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, "S1"))
        found = _alike(blocks) or chained_headers(blocks)
        if found is None:
            return None
        names, after = sample_names(found.headers), found.after
        if names is None or position + after * BLOCK > size:
            return None
        ends = after < len(blocks) and not blocks[after].any()
        return cls(position, position + after * BLOCK, ends, position + (found.at + 1) * BLOCK, found.sizes, names)


@dataclass(frozen=True, eq=False)
class FoundHeaders:
    """The files in a window, as their headers say.

    Attributes:
        heads: the block of the first header of each, int64 `[m]`: that of an extended one, where it has one.
        at: the block of its own header, int64 `[m]`.
        headers: these headers, uint8 `[m, 512]`.
        sizes: bytes of each file, int64 `[m]`.
        after: the block after the last.
    """

    heads: Ints
    at: Ints
    headers: Bytes
    sizes: Ints
    after: int


def chained_headers(blocks: Bytes, *, gnu: bool = False) -> FoundHeaders | None:
    """Headers found by their magic, each of which stands where the one before it says.

    Args:
        blocks: uint8 `[n, 512]`, beginning with a header.
        gnu: whether headers as GNU tar writes them are of the common form too.
    """
    at = np.flatnonzero(_field(blocks, 256, "<u4") >> 8 == _UST)
    if not len(at) or at[0]:
        return None
    kinds = blocks[at, 156]
    if kinds[-1] == PAX:  # what it belongs to may stand in the next window
        at, kinds = at[:-1], kinds[:-1]
    if not len(at):
        return None
    headers = blocks[at]
    sizes = _proved_sizes(headers, gnu)
    if sizes is None:
        return None
    following = at + 1 + (sizes + BLOCK - 1) // BLOCK
    if not np.array_equal(following[:-1], at[1:]):
        return None
    extended, regular = kinds == PAX, (kinds == REGULAR) | (kinds == 0)
    folders = (kinds == _FOLDER) & (sizes == 0)
    if not (extended | regular | folders).all() or (extended[:-1] & extended[1:]).any():
        return None
    if extended.any() and not only_times(blocks[at[extended] + 1], sizes[extended]):
        return None
    heads = np.where(np.concatenate([[False], extended[:-1]]), np.roll(at, 1), at)
    return FoundHeaders(heads[regular], at[regular], headers[regular], sizes[regular], int(following[-1]))


def _alike(blocks: Bytes) -> FoundHeaders | None:
    """The same, where all samples take as many blocks as the first: then nothing has to be searched for."""
    first = 2 if blocks[0, 156] == PAX and len(blocks) > 2 else 0
    size = octal(blocks[first : first + 1, 124:135])
    stride = first + 1 + (0 if size is None else (int(size[0]) + BLOCK - 1) // BLOCK)
    count = len(blocks) // stride
    if size is None or count < _FEW:
        return None
    records = blocks[: count * stride].reshape(count, stride, BLOCK)
    if first:
        lengths = _proved_sizes(records[:, 0].copy())
        if lengths is None or (lengths > BLOCK).any() or not only_times(records[:, 1], lengths):
            return None
        if (records[:, 0, 156] != PAX).any():
            return None
    headers = records[:, first].copy()
    if not (((headers[:, 156] == REGULAR) | (headers[:, 156] == 0)).all()):
        return None
    sizes = _proved_sizes(headers)
    if sizes is None or ((sizes + BLOCK - 1) // BLOCK != stride - first - 1).any():
        return None
    heads = np.arange(count, dtype=np.int64) * stride
    return FoundHeaders(heads, heads + first, headers, sizes, count * stride)


def _number_of(file: BinaryIO) -> int | None:
    """The descriptor of a file that has one."""
    try:
        return file.fileno()
    except (OSError, AttributeError, ValueError):
        return None


def _field(blocks: Bytes, offset: int, dtype: str) -> NDArray[np.unsignedinteger]:
    """One number out of each block, as a view."""
    return np.ndarray((len(blocks),), dtype, blocks, offset, (BLOCK,))


def _proved_sizes(headers: Bytes, gnu: bool = False) -> Ints | None:
    """The sizes in headers of the common form whose checksums are right."""
    stored, sizes = octal(headers[:, 148:154]), octal(headers[:, 124:135])
    if stored is None or sizes is None:
        return None
    if (
        not (_field(headers, 256, "<u4") >> 8 == _UST).all()
        or not np.isin(_field(headers, 260, "<u4") & 0xFFFFFF, (_AR, _GNU_AR) if gnu else _AR).all()
    ):
        return None
    if headers[:, 135].any() or not (_field(headers, 154, "<u2") == 0x2000).all():
        return None
    counted = _sums(headers) - headers[:, 148:156].sum(1, np.int64) + 8 * ord(" ")
    return sizes if np.array_equal(counted, stored) else None


def octal(digits: Bytes) -> Ints | None:
    """Numbers whose digits stand in the columns."""
    if ((digits & 0xF8) != 0x30).any():
        return None
    powers = 8.0 ** np.arange(digits.shape[1])[::-1]  # below 2^53: exact, and faster than integers
    return ((digits & 7) @ powers).astype(np.int64)


def _sums(headers: Bytes) -> Ints:
    """The sum of each header's bytes. Most words are the same in all headers, and are added once."""
    words = headers.view("<u8")
    differ = (words != words[0]).any(0)
    alike = int(words[0, ~differ].view(np.uint8).sum(dtype=np.int64))
    rest, bytes_ = words[:, differ], np.uint64(0x00FF00FF00FF00FF)
    lanes = ((rest & bytes_) + ((rest >> np.uint64(8)) & bytes_)).sum(1, np.uint64)
    sums: Ints = lanes.view("<u2").reshape(-1, 4).sum(1, np.int64)
    return sums + alike


def only_times(bodies: Bytes, sizes: Ints) -> bool:
    """True if extended headers with these bodies hold one record each, and that says when the file was changed."""
    if not ((sizes >= 10) & (sizes <= 99)).all():
        return False
    begins, last = bodies[:, :9].copy(), bodies[np.arange(len(bodies)), sizes - 1]
    lengths = _decimal(begins[:, :2])
    begins[:, :2] = 0
    return bool((lengths == sizes).all() and (begins == _MTIME).all() and (last == ord("\n")).all())


def _decimal(digits: Bytes) -> Ints:
    """Numbers of two digits; -1 for what is none."""
    value = digits[:, 0].astype(np.int64) * 10 + digits[:, 1] - 11 * ord("0")
    return np.where(((digits >= ord("0")) & (digits <= ord("9"))).all(1), value, -1)


def sample_names(headers: Bytes) -> NDArray[np.bytes_] | None:
    """The names in headers, if all are plain: `{key}.msgpack`, ASCII, in no folder."""
    if not len(headers):
        return np.empty(0, "S1")
    if headers[:, 345].any() or _field(headers, 96, "<u4").any():  # a folder's name, or a long name
        return None
    width = 8 * (1 + int(np.flatnonzero(headers.view("<u8")[:, :12].any(0)).max(initial=0)))
    names = np.ascontiguousarray(headers[:, :width])
    lengths = np.count_nonzero(names, 1)
    suffix = lengths[:, None] + np.arange(-len(SUFFIX), 0)
    if suffix.min() < 1 or names.max() > 127 or (names == ord("/")).any():
        return None
    dots = np.count_nonzero(names == ord("."), 1)
    ended = ((names[:, 1:] == 0) | (names[:, :-1] != 0)).all()
    if not ended or not (dots == 1).all() or not (np.take_along_axis(names, suffix, 1) == SUFFIX).all():
        return None
    return names.view(f"S{width}")[:, 0]


def _distinct(names: Sequence[NDArray[Any]]) -> bool:
    every = np.sort(np.concatenate(names))
    return bool((every[1:] != every[:-1]).all())


def ends_in_zeros(file: BinaryIO, start: int, stop: int) -> bool:
    """True if an archive ends here: two blocks of zeros at least, and nothing else."""
    if stop - start < 2 * BLOCK:
        return False
    file.seek(start)
    rest = stop - start
    while rest:
        piece = file.read(min(rest, WINDOW))
        if not piece or piece.count(0) != len(piece):
            return False
        rest -= len(piece)
    return True
