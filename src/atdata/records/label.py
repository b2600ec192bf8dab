"""The label record: a name, with or without a version, for an entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Nsid
from atdata.records import nsids
from atdata.records.record import IndexKeys, Record, rest_of, without_none


@dataclass(frozen=True, kw_only=True, eq=False)
class Label(Record):
    """A name for an entry.

    Attributes:
        name: the name.
        dataset_uri: the entry.
        version: a version of what the name stands for; by preference a semantic one.
        description: what is particular about this version.
    """

    NSID: ClassVar[Nsid] = nsids.LABEL

    name: str
    dataset_uri: AtUri
    version: str | None = None
    description: str | None = None

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name and version, and as content the entry."""
        said = cbor.encode({"datasetUri": str(self.dataset_uri)})
        return IndexKeys(self.name, self.version, Cid.of_cbor(said), self.dataset_uri)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            datasetUri=str(self.dataset_uri),
            version=self.version,
            description=self.description,
            createdAt=self.created_at,
            **self.extra,
        )

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        return cls(
            name=value["name"],
            dataset_uri=AtUri(value["datasetUri"]),
            version=value.get("version"),
            description=value.get("description"),
            created_at=value["createdAt"],
            extra=rest_of(value, "name", "datasetUri", "version", "description", "createdAt"),
        )
