"""The manifests that an entry lists: for each shard two blobs, its header and its rows (formats.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atdata.errors import IdentifierError, LexiconError
from atdata.records.record import rest_of, without_none
from atdata.records.storage import Blob

JSON, PARQUET = "application/json", "application/octet-stream"
"""The types that the lexicon asks for. Some servers know Parquet when they see it, and call it otherwise."""

MAX_MANIFESTS = 10_000
_MAX_HEADER, _MAX_SAMPLES = 1 << 20, 104_857_600


@dataclass(frozen=True)
class ShardManifest:
    """The manifest of one shard.

    Attributes:
        header: what is known of the shard as a whole, as JSON.
        samples: what is known of each sample, as Parquet; `None` where only the header was published.
        extra: members that this version knows nothing of, kept as they came.
    """

    header: Blob
    samples: Blob | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        samples = None if self.samples is None else self.samples.to_record()
        return without_none(header=self.header.to_record(), samples=samples, **self.extra)

    @classmethod
    def from_record(cls, value: Any, path: str) -> ShardManifest:
        """Read one, whatever type a server gave its blobs.

        Raises:
            LexiconError: it is none, or a blob is larger than it may be.
        """
        if not isinstance(value, dict):
            raise LexiconError("an entry's manifest cannot be read", path=path, expected="object")
        header = _blob(value.get("header"), f"{path}.header", _MAX_HEADER)
        samples = value.get("samples")
        return cls(
            header,
            None if samples is None else _blob(samples, f"{path}.samples", _MAX_SAMPLES),
            rest_of(value, "header", "samples"),
        )


def read_manifests(value: Any) -> tuple[ShardManifest, ...]:
    """The manifests of an entry, in the order of its shards.

    Raises:
        LexiconError: they are none; `path` names the place.
    """
    if not isinstance(value, list) or len(value) > MAX_MANIFESTS:
        raise LexiconError(
            "an entry's manifests cannot be read", path="manifests", expected=f"a list of at most {MAX_MANIFESTS}"
        )
    return tuple(ShardManifest.from_record(item, f"manifests[{index}]") for index, item in enumerate(value))


def _blob(value: Any, path: str, most: int) -> Blob:
    try:
        blob = Blob.from_record(value, path)
    except IdentifierError as error:
        raise LexiconError("a blob of a manifest cannot be read", path=path, actual=error.actual) from error
    if type(blob.size) is not int or not 0 <= blob.size <= most:
        raise LexiconError(
            "a blob of a manifest is too large", path=path, expected=f"at most {most} bytes", actual=blob.size
        )
    return blob
