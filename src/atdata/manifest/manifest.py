"""A manifest that is read: strict, and bound to its shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import ShardError
from atdata.manifest.aggregates import Aggregate
from atdata.manifest.files import manifest_paths, read_file
from atdata.manifest.header import MAX_HEADER, Header
from atdata.manifest.pages import MAX_FILE
from atdata.manifest.parquet import Rows, decode_rows
from atdata.shards import FileSource, ShardRef
from atdata.shards.listing import is_named
from atdata.shards.tar import BLOCK


@dataclass(frozen=True, eq=False)
class Manifest:
    """A description of a shard without its bytes: where each sample is, its digest, and the values of some fields.

    A manifest can only leave samples out: each that it names lies in the shard, and is checked by its own digest.

    Attributes:
        header: what is known of the shard as a whole.
        rows: what is known of each sample.
    """

    header: Header
    rows: Rows

    @classmethod
    def read(cls, header: bytes, rows: bytes, *, shard: ShardRef | None = None, uri: str = "manifest") -> Manifest:
        """The manifest in its two files.

        Args:
            header: the JSON.
            rows: the Parquet file.
            shard: what it must be the manifest of; `Header.bind` says more.
            uri: what to call it in errors.

        Raises:
            MissingExtraError: pyarrow is not installed.
            DigestError: the rows are not those that the header names, or it is the manifest of another shard.
            UnverifiedError: nothing says what the shard's digest is.
            ShardError: a file is damaged, or samples would lie outside the shard or in each other.
        """
        read = Header.decode(header, uri)
        if shard is not None:
            read.bind(shard)
        if len(rows) != read.rows.size:
            raise _damaged(uri, f"{len(rows)} bytes", f"{read.rows.size} bytes")
        read.rows.digest.check(type(read.rows.digest).sha256(rows).hex, uri)
        manifest = cls(read, decode_rows(rows, uri))
        manifest._check(uri)
        return manifest

    @classmethod
    def find(cls, shard: ShardRef) -> Manifest | None:
        """The manifest beside a shard that is a file here; `None` where there is none.

        Raises:
            MissingExtraError, DigestError, UnverifiedError, ShardError: as `read`.
            ShardNotFoundError: what is there is half of one, or a link to nothing.
        """
        files = tuple(ShardRef(str(path)) for path in manifest_paths(Path(shard.url)))
        if not is_named(files[0].url):
            return None
        header, rows = (read_file(FileSource(files), *of) for of in zip(files, (MAX_HEADER, MAX_FILE), strict=True))
        return cls.read(header, rows, shard=shard, uri=files[0].url)

    def bind(self, shard: ShardRef) -> None:
        """Prove that this is the manifest of a shard with a known digest.

        Raises:
            DigestError, UnverifiedError, ShardError: as `Header.bind`.
        """
        self.header.bind(shard)

    def __len__(self) -> int:
        return self.header.samples

    @property
    def keys(self) -> list[str]:
        """The keys of the samples, in order."""
        return self.rows.keys

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The offset of each sample's first byte in the shard, `[n]`."""
        return self.rows.offsets

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The size of each sample in bytes, `[n]`."""
        return self.rows.sizes

    @property
    def digests(self) -> NDArray[np.uint8]:
        """The sha-256 of each sample's bytes, `[n, 32]`."""
        return self.rows.digests

    @property
    def fields(self) -> Mapping[str, Aggregate]:
        """The aggregates of each indexed field."""
        return self.header.fields

    def column(self, name: str) -> Any:
        """The value of an indexed field in each sample: an array of numbers, or a list; `None` where there is none.

        Raises:
            KeyError: there is no such column.
        """
        if name not in self.rows.fields:
            raise KeyError(name)
        return self.rows.column(name)

    def _check(self, uri: str) -> None:
        """Prove that the samples can lie in a shard of that size, each by itself, as many as the header says."""
        offsets, sizes, total = self.offsets, self.sizes, self.header.shard.size
        if len(offsets) != self.header.samples:
            raise _damaged(uri, f"{len(offsets)} rows", f"{self.header.samples} samples")
        if len(set(self.keys)) < len(self.keys):
            raise _damaged(uri, "a key twice")
        for name in self.rows.fields:
            if name not in self.header.fields:
                raise _damaged(uri, f"a column {name!r:.60} that the header does not have")
            if self.rows.contradict(name, self.header.fields[name]):
                raise _damaged(uri, f"values of {name!r:.60} that are not those of its aggregates in the header")
        if not len(offsets):
            return
        # Compared without sums that could run over: each number is first known to be within the shard.
        if min(int(offsets.min()), int(sizes.min())) < 0 or max(int(offsets.max()), int(sizes.max())) > total:
            raise _damaged(uri, "a sample outside of the shard", f"within {total} bytes")
        ends = offsets + sizes + -sizes % BLOCK
        starts = offsets - BLOCK if self.header.packed else offsets
        inside = starts[0] >= 0 and int(ends[-1]) + 2 * BLOCK <= total
        if not inside or (starts[1:] < ends[:-1]).any() or (offsets % BLOCK).any():
            raise _damaged(uri, "samples that no tar of this size holds", f"one after the other, within {total} bytes")


def _damaged(uri: str, actual: str, expected: str | None = None) -> ShardError:
    hint = "Fetch it again, or read the shard without it."
    return ShardError("a manifest does not match its shard", uri=uri, expected=expected, actual=actual, hint=hint)
