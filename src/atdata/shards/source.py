"""Shards that are files on this machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from atdata.shards.braces import expand_braces
from atdata.shards.listing import FileListing, is_file, open_file, stat_file
from atdata.shards.ports import ShardRef
from atdata.shards.transaction import State


@dataclass(frozen=True)
class FileSource:
    """Shards that are files on this machine.

    Attributes:
        shards: references with paths.
        listed: of those that were found in a list, the state in which they were: no other file is read in place of one.
    """

    shards: tuple[ShardRef, ...]
    listed: Mapping[str, State] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]]) -> FileSource:
        """The shards at some paths; each may use brace notation or be a glob. A file of that very name wins over both.

        Raises:
            ShardNotFoundError: there is no such file, or it is none.
        """
        listing = FileListing()
        found = [path for given in paths for path in _existing(os.fspath(given), listing)]
        return cls(tuple(ShardRef(path) for path in found), listing.states)

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """The shard's bytes from `offset` on.

        Raises:
            ShardNotFoundError: it is not there, cannot be read, or is no file.
            ShardError: it was changed since it was listed.
            LimitError: too many files are open.
        """
        file = open_file(shard.url, self.listed.get(shard.url))
        file.seek(offset)
        return file

    def path(self, shard: ShardRef) -> Path:
        """The path of a shard.

        Raises:
            ShardNotFoundError: it is no longer there, or is no file.
        """
        stat_file(shard.url)
        return Path(shard.url)


def _existing(pattern: str, listing: FileListing) -> list[str]:
    if is_file(pattern):
        return listing.existing([pattern])
    paths = expand_braces(pattern)
    if not any(map(glob.has_magic, paths)):
        return listing.existing(paths)
    return [found for path in paths for found in listing.glob(path)]
