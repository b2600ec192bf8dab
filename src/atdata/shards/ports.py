"""Sources of shards: references to shards, and the ports of the places that hold them.

Each port has adapters for real places, fakes in `atdata.testing`, and a conformance suite there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, runtime_checkable

from atdata.redaction import redacted
from atdata.shards.digest import Digest


@dataclass(frozen=True)
class ShardRef:
    """One shard, with what is known about it. A fact that is not known is `None`.

    Attributes:
        url: path or URL.
        digest: what its bytes must hash to.
        size: bytes.
        samples: how many it holds.
        manifest: where its manifest is: the header, and the rows where there are any, each with its digest. It is no
            part of what makes two references equal.
    """

    url: str
    digest: Digest | None = None
    size: int | None = None
    samples: int | None = None
    manifest: DataSource | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        known = {"digest": self.digest, "size": self.size, "samples": self.samples}
        facts = "".join(f", {name}={fact!r}" for name, fact in known.items())
        return f"ShardRef(url={redacted(self.url)!r}{facts})"


@runtime_checkable
class DataSource(Protocol):
    """Shards that can be read. A source pickles: it holds addresses, never connections."""

    @property
    def shards(self) -> Sequence[ShardRef]:
        """The shards, in the dataset's order."""

    def open(self, shard: ShardRef, offset: int = 0) -> BinaryIO:
        """A stream of the shard's bytes from `offset` to its end.

        What comes out is not verified; `atdata.shards.opening.open_shard` does that for every source alike.

        Raises:
            ShardNotFoundError: there is no such shard.
            NetworkError: it cannot be reached.
        """


@runtime_checkable
class RangeSource(DataSource, Protocol):
    """A source that gives parts of a shard, each for one request."""

    def read_range(self, shard: ShardRef, start: int, stop: int) -> bytes | None:
        """The bytes of a shard in `[start, stop)`, so many and not verified.

        `None` where the server gives no such part: it knows no ranges, has other bytes there, or refuses. What is
        wrong, if anything is, shows when the shard is read whole.

        Raises:
            NetworkError: it cannot be reached, or keeps breaking off.
        """
