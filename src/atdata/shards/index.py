"""The index of a shard: the offsets of its samples, and of their members where a sample is several files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

EXTENSION = "msgpack"
"""The extension of a packed sample: one file that holds all of its fields."""


class SampleMembers(bytes):
    """The files of one sample as they stand in a shard: tar headers, contents, and the padding between them."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Members:
    """The files of samples that are one file a field, `{key}.{extension}`, as WebDataset writes them.

    Attributes:
        extensions: in the shard, in lower case, each once.
        first: the number of each sample's first member, int64 `[n + 1]`.
        codes: the extension of each member, as its place in `extensions`, uint16 `[m]`.
        starts, sizes: offset of each member's first byte in the shard, and its bytes, int64 `[m]`.
    """

    extensions: tuple[str, ...]
    first: Ints
    codes: NDArray[np.uint16]
    starts: Ints
    sizes: Ints

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {extension: code for code, extension in enumerate(self.extensions)}

    def of(self, samples: Ints) -> tuple[Ints, Ints]:
        """The members of some samples, and for each the place of its sample among them, int64 `[k]`."""
        begins, counts = self.first[samples], self.first[samples + 1] - self.first[samples]
        owners = np.repeat(np.arange(len(samples)), counts)
        return np.arange(len(owners)) + np.repeat(begins - np.cumsum(counts) + counts, counts), owners

    def find(self, samples: Ints, wanted: Mapping[str, Collection[str]]) -> dict[str, Ints]:
        """The member of each sample that has one of some extensions.

        Args:
            samples: numbers of samples in the shard, int64 `[k]`.
            wanted: extensions in lower case, by the name of what they are wanted for.

        Returns:
            By these names, numbers of members, int64 `[k]`; -1 for a sample that has none of them, -2 for one that has
            several.
        """
        members, owners = self.of(samples)
        codes = self.codes[members]
        found: dict[str, Ints] = {}
        for name, extensions in wanted.items():
            sought = [self._codes[extension] for extension in extensions if extension in self._codes]
            hits = np.flatnonzero(codes == sought[0] if len(sought) == 1 else np.isin(codes, sought))
            numbers = found[name] = np.full(len(samples), -1, np.int64)
            numbers[owners[hits]] = members[hits]
            if len(sought) > 1:
                numbers[np.bincount(owners[hits], minlength=len(samples)) > 1] = -2
        return found

    def index(self, heads: Ints) -> ShardIndex:
        """The index of the samples, whose first headers stand at some offsets, int64 `[n]`."""
        last = self.first[1:] - 1
        return ShardIndex(heads, self.starts[last] + self.sizes[last] - heads, self, packed=False)


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The offsets and sizes of the samples of one shard.

    Attributes:
        starts: offset of each sample's first byte in the shard, int64 `[n]`, increasing. A packed sample begins after its
            header, one of several files with the header of the first.
        sizes: bytes of each sample, int64 `[n]`.
        members: of samples that are one file a field, where these are known.
        packed: whether each sample is one file that holds all of its fields.
    """

    starts: Ints
    sizes: Ints
    members: Members | None = None
    packed: bool = True

    def __len__(self) -> int:
        return len(self.starts)
