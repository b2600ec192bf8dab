"""The statement of a dataset that is inserted into an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atdata.arguments import checked_text
from atdata.atproto.syntax import AtUri, RecordKey
from atdata.records import Entry, ExternalStorage, Predecessor, Schema, Size, Storage, check_outgoing
from atdata.records.entry import SPLITS
from atdata.records.facts import Facts
from atdata.records.record import check_named

_ANY = AtUri("at://did:web:nowhere.invalid/science.alt.dataset.schema/any")


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
        predecessor: the dataset that it was made from.
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
    predecessor: Predecessor | None = None

    def __post_init__(self) -> None:
        """Refuse what no entry may say, before anything is read or stored.

        Raises:
            UsageError, LimitError, LexiconError, SampleError: it may not.
        """
        check_named(self.name, self.version)
        for name in ("schema_ref", "schema_version", "prefix"):
            if (text := getattr(self, name)) is not None:
                checked_text(text, name)
        said = self.facts.said
        if SPLITS in said.get("metadata", {}):  # which are of shards that are not known yet
            said["metadata"] = {name: value for name, value in said["metadata"].items() if name != SPLITS}
        check_outgoing(Entry(name=self.name, schema_ref=_ANY, storage=ExternalStorage((_ANY,)), **said), bounded=False)

    @property
    def is_cut(self) -> bool:
        """True if shards are cut anew."""
        return self.maxcount is not None or self.maxsize is not None

    def entry(self, schema: Schema, storage: Storage, size: Size, layout: Mapping[str, str]) -> Entry:
        """The entry that says this."""
        facts = {"storage": storage, "size": size, "layout": layout, "predecessor": self.predecessor, **self.facts.said}
        return Entry(name=self.name, schema_ref=schema.located, **facts)
