"""The index of a shard: the offsets of its samples, and of their members where a sample is several files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

    def find(self, samples: Ints, extensions: Sequence[str]) -> Ints:
        """The member of each sample that has one of some extensions.

        Args:
            samples: numbers of samples in the shard, int64 `[k]`.
            extensions: in lower case.

        Returns:
            Numbers of members, int64 `[k]`; -1 for a sample that has none of them, -2 for one that has several.
        """
        wanted = [code for code, extension in enumerate(self.extensions) if extension in extensions]
        found = np.full(len(samples), -1, np.int64)
        begins, counts = self.first[samples], self.first[samples + 1] - self.first[samples]
        for place in range(int(counts.max(initial=0))):
            inside = np.flatnonzero(counts > place)
            members = begins[inside] + place
            hits = np.isin(self.codes[members], wanted)
            some, members = inside[hits], members[hits]
            found[some] = np.where(found[some] == -1, members, -2)
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
