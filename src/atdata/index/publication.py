"""The statement of a dataset that is inserted into an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atdata.atproto.syntax import RecordKey
from atdata.records import Entry, Schema, Size, Storage
from atdata.records.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The arguments of `insert_dataset`; `None` is what nobody says.

    Attributes:
        name: what the dataset is called.
        version: of the name.
        schema_ref: the schema of its samples; else their own type is published.
        schema_version: the version to publish that type under.
        facts: description, tags, licence and metadata.
        prefix: what a data store calls the shards.
        rkey: the record key of the entry.
        maxcount, maxsize: most samples, and bytes, in a shard.
        manifests: whether the entry lists manifests of its shards.
        digests: whether shards are read whose digest is not known.
    """

    name: str
    version: str | None = None
    schema_ref: str | None = None
    schema_version: str | None = None
    facts: Facts = field(default_factory=Facts)
    prefix: str | None = None
    rkey: RecordKey | None = None
    maxcount: int | None = None
    maxsize: float | None = None
    manifests: bool | None = None
    digests: bool | None = None

    @property
    def said(self) -> dict[str, Any]:
        """The facts that somebody said, by the name of the entry's attribute."""
        return self.facts.said

    @property
    def is_cut(self) -> bool:
        """True if shards are cut anew."""
        return self.maxcount is not None or self.maxsize is not None

    def entry(self, schema: Schema, storage: Storage, size: Size) -> Entry:
        """The entry that says this."""
        return Entry(name=self.name, schema_ref=schema.located, storage=storage, size=size, **self.said)
