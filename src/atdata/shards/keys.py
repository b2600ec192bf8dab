"""The keys of a shard's samples, so that one is found without looking through the headers again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.shards.memory_map import Bytes, check_unchanged, map_file
from atdata.shards.opening import OpenShard
from atdata.shards.rows import EXTENSION, scan_rows
from atdata.shards.tar import BLOCK

Ints: TypeAlias = NDArray[np.int64]
Names: TypeAlias = NDArray[np.bytes_]

_SUFFIX = np.frombuffer(f".{EXTENSION}".encode(), np.uint8)
_NAME = 100  # bytes of a header that are for the name
_AT_ONCE = 1 << 16
_REGULAR, _PAX = ord("0"), ord("x")


class Keys:
    """The keys of the samples of one shard, in order.

    Args:
        names: the keys as UTF-8, bytes `[n]` or a sequence of text.
    """

    def __init__(self, names: Names | Sequence[str]) -> None:
        self._names: Names | Sequence[str] = names if isinstance(names, np.ndarray) else _compact(names)

    def __getitem__(self, number: int) -> str:
        name = self._names[number]
        return name if isinstance(name, str) else bytes(name).decode()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def nbytes(self) -> int:
        """The bytes that they take in memory, about, once one has been looked for."""
        if isinstance(self._names, np.ndarray):
            return self._names.nbytes + 8 * len(self._names)
        return sum(map(sys.getsizeof, self._names)) + 100 * len(self._names)

    def find(self, key: str) -> int | None:
        """The number of the sample with a key; `None` where there is none."""
        if not isinstance(self._names, np.ndarray):
            return self._numbers.get(key)
        sought = key.encode("utf-8", "surrogatepass")
        if len(sought) > self._names.dtype.itemsize or sought.endswith(b"\0"):  # numpy would cut it
            return None
        place = int(np.searchsorted(self._names, np.bytes_(sought), sorter=self._order))
        if place == len(self._names):
            return None
        number = place if self._order is None else int(self._order[place])
        return number if bytes(self._names[number]) == sought else None

    @cached_property
    def _order(self) -> Ints | None:
        """The numbers in the order of the keys; `None` where the samples stand in it already."""
        assert isinstance(self._names, np.ndarray)
        return None if (self._names[1:] > self._names[:-1]).all() else np.argsort(self._names)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._names)}


def _compact(names: Sequence[str]) -> Names | Sequence[str]:
    """Keys as one array, where none is so long that it would make all of them long."""
    if max(map(len, names), default=0) > _NAME or any("\0" in name for name in names):
        return names
    return np.array([name.encode("utf-8", "surrogatepass") for name in names], np.bytes_)


def keys_of(shard: OpenShard) -> Keys:
    """The keys in a proved shard: out of all headers at once, or from the careful reader where one is uncommon.

    Raises:
        ShardError: the shard was changed after it was proved.
    """
    starts, sizes = shard.index.starts, shard.index.sizes
    before = np.concatenate([[0], (starts + sizes + -sizes % BLOCK)[:-1]])[: len(starts)]
    check_unchanged(shard.file, shard.size, shard.ref.url)
    data = map_file(shard.file, 0, shard.size, scattered=True).data
    found: list[Names] = []
    for first in range(0, len(starts), _AT_ONCE):
        names = _plain_names(data, before[first : first + _AT_ONCE], starts[first : first + _AT_ONCE] - BLOCK)
        if names is None:
            return Keys([member.key for member in scan_rows(shard.file, shard.size, shard.ref.url)])
        found.append(names)
    return Keys(np.concatenate(found) if found else np.empty(0, "S1"))


def _plain_names(data: Bytes, before: Ints, headers: Ints) -> Names | None:
    """Keys in headers, if all are plain: `{key}.msgpack`, ASCII, in no folder, named nowhere else.

    Args:
        data: the shard.
        before: where each sample begins, extended headers and all.
        headers: where its header is.
    """
    extended = headers - before
    if not ((extended == 0) | (extended == 2 * BLOCK)).all() or not _only_times(data, before[extended > 0]):
        return None
    names = data[headers[:, None] + np.arange(_NAME)]
    kinds = data[headers + 156]
    if names[:, -1].any() or data[headers + 345].any() or not ((kinds == _REGULAR) | (kinds == 0)).all():
        return None
    lengths = np.count_nonzero(names, 1)
    columns = np.arange(_NAME)
    ended = (names != 0) == (columns < lengths[:, None])
    suffix = lengths[:, None] + np.arange(-len(_SUFFIX), 0)
    if lengths.min() <= len(_SUFFIX) or not ended.all() or names.max() > 127:
        return None
    if not (np.take_along_axis(names, suffix, 1) == _SUFFIX).all():
        return None
    np.put_along_axis(names, suffix, 0, 1)
    if ((names == ord(".")) | (names == ord("/"))).any():
        return None
    width = int(lengths.max()) - len(_SUFFIX)
    return np.ascontiguousarray(names[:, :width]).view(f"S{width}")[:, 0]


def _only_times(data: Bytes, extended: Ints) -> bool:
    """True if the extended headers there say when a file was changed and nothing else: `"dd mtime=...\\n"`."""
    if not len(extended):
        return True
    digits = data[(extended + 124)[:, None] + np.arange(11)].astype(np.int64) - ord("0")
    sizes = digits @ 8 ** np.arange(11)[::-1]
    if not ((digits >= 0) & (digits < 8)).all() or not ((sizes >= 10) & (sizes <= 99)).all():
        return False
    body = extended + BLOCK
    begins = data[body[:, None] + np.arange(9)]
    said = (begins[:, 0].astype(np.int64) - ord("0")) * 10 + begins[:, 1] - ord("0")
    times = begins[:, 2:] == np.frombuffer(b" mtime=", np.uint8)
    return bool((data[extended + 156] == _PAX).all() and (said == sizes).all() and times.all())
