"""Shards that are about to be stored: their future references, and the sources of their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from atdata.errors import UsageError
from atdata.shards.digest import Digest
from atdata.shards.ports import DataSource, ShardRef


@dataclass(frozen=True, kw_only=True)
class PlannedShard(ShardRef):
    """A shard as a store will have it: its address, digest, size, and samples where their number is known.

    Attributes:
        source: where its bytes are now.
        origin: the reference to it there.
        scratch: whether it was cut for this, and goes once it is stored.
        part_of: the number of the dataset's shard that all its samples are from; `None` where they are from several.
    """

    source: DataSource = field(compare=False, repr=False)
    origin: ShardRef = field(compare=False, repr=False)
    scratch: bool = field(default=False, compare=False, repr=False)
    part_of: int | None = field(default=None, compare=False, repr=False)

    @property
    def sha256(self) -> Digest:
        """The sha-256 that it is stored under.

        Raises:
            UsageError: it has none, so no store can have planned it.
        """
        if self.digest is None or self.digest.algorithm != "sha256":
            raise UsageError("a shard without a sha-256 digest cannot be stored", actual=self.url)
        return self.digest

    @property
    def length(self) -> int:
        """The number of its bytes.

        Raises:
            UsageError: nobody found out.
        """
        if self.size is None:
            raise UsageError("a shard of unknown size cannot be stored", actual=self.url)
        return self.size

    def stored(self, manifest: DataSource | None) -> ShardRef:
        """The reference to the stored shard, with the source of its manifest."""
        return ShardRef(self.url, self.digest, self.size, self.samples, manifest)
