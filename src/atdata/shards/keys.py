"""The keys of a shard's samples, so that one is found without looking through the headers again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.shards.index import Ints
from atdata.shards.member_scan import plain_names
from atdata.shards.memory_map import Bytes, check_unchanged, map_file
from atdata.shards.opening import OpenShard
from atdata.shards.rows import scan_rows
from atdata.shards.scan import PAX, REGULAR, SUFFIX, octal, only_times, sample_names
from atdata.shards.tar import BLOCK

Names: TypeAlias = NDArray[np.bytes_]

_NAME = 100  # bytes of a header that are for the name
_AT_ONCE = 1 << 16


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
    """The keys in a proved shard: out of all headers at once, or one by one where a header is uncommon.

    Raises:
        ShardError: the shard was changed after it was proved.
    """
    starts, sizes, members = shard.index.starts, shard.index.sizes, shard.index.members
    if members is None:
        headers = starts // BLOCK - 1
        before = np.concatenate([[0], (starts + sizes + BLOCK - 1) // BLOCK])[: len(starts)]
    else:
        headers, before = members.starts[members.first[:-1]] // BLOCK - 1, starts // BLOCK
    read = _packed_keys if members is None else _member_keys
    check_unchanged(shard.file, shard.size, shard.ref.url)
    data = map_file(shard.file, 0, shard.size, scattered=True).data
    blocks = data[: len(data) // BLOCK * BLOCK].reshape(-1, BLOCK)
    found: list[Names] = []
    for first in range(0, len(starts), _AT_ONCE):
        names = _plain_names(blocks, before[first : first + _AT_ONCE], headers[first : first + _AT_ONCE], read)
        if names is None:
            return Keys([sample.key for sample in scan_rows(shard.file, shard.size, shard.ref.url)])
        found.append(names)
    return Keys(np.concatenate(found) if found else np.empty(0, "S1"))


def _plain_names(blocks: Bytes, before: Ints, headers: Ints, read: Callable[[Bytes], Names | None]) -> Names | None:
    """Keys in headers, if all are plain, and named nowhere else.

    Args:
        blocks: of the shard, `[n, 512]`.
        before: the block in which each sample begins, extended headers and all.
        headers: the block of its header.
        read: gives the keys in plain headers.
    """
    extended = before[headers != before]
    if not np.isin(headers - before, (0, 2)).all() or not _only_times(blocks, extended):
        return None
    found = blocks[headers]
    kinds = found[:, 156]
    return read(found) if ((kinds == REGULAR) | (kinds == 0)).all() else None


def _member_keys(headers: Bytes) -> Names | None:
    names = plain_names(headers)
    return None if names is None else names[0]


def _packed_keys(headers: Bytes) -> Names | None:
    names = sample_names(headers)
    if names is None:
        return None
    letters = names.view(np.uint8).reshape(len(names), -1)
    lengths = np.count_nonzero(letters, 1) - len(SUFFIX)
    letters[np.arange(letters.shape[1]) >= lengths[:, None]] = 0
    width = int(lengths.max())
    return np.ascontiguousarray(letters[:, :width]).view(f"S{width}")[:, 0]


def _only_times(blocks: Bytes, extended: Ints) -> bool:
    """True if the extended headers in some blocks say when a file was changed and nothing else."""
    sizes = octal(blocks[extended, 124:135])
    return sizes is not None and bool((blocks[extended, 156] == PAX).all()) and only_times(blocks[extended + 1], sizes)
