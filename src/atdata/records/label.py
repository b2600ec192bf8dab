"""The label record: a name, with or without a version, for an entry; or for none any more (decision 31)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Nsid
from atdata.records import nsids
from atdata.records.record import IndexKeys, Record, now, rest_of, without_none

_RETRACTION = "retraction"
_MEMBERS = ("name", "datasetUri", "version", "description", "createdAt", _RETRACTION)


@dataclass(frozen=True)
class Retraction:
    """The end of a version: what it stood for is withdrawn, and it stands for nothing else ever after.

    Attributes:
        reason: in words.
        created_at: when, as an AT Protocol datetime.
    """

    reason: str
    created_at: str = field(default_factory=now)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {"reason": self.reason, "createdAt": self.created_at}

    @classmethod
    def from_record(cls, value: Any) -> Retraction:
        """Read a wire form. Whatever it is that stands there, the version is retracted."""
        members = value if isinstance(value, Mapping) else {}
        return cls(*(str(members.get(name, "")) for name in ("reason", "createdAt")))


@dataclass(frozen=True, kw_only=True, eq=False)
class Label(Record):
    """A name for an entry.

    Attributes:
        name: the name.
        dataset_uri: the entry.
        version: a version of what the name stands for; by preference a semantic one.
        description: what is particular about this version.
        retraction: why it stands for nothing any more; `None` where it does.
    """

    NSID: ClassVar[Nsid] = nsids.LABEL
    LATER: ClassVar[frozenset[str]] = frozenset({_RETRACTION})

    name: str
    dataset_uri: AtUri
    version: str | None = None
    description: str | None = None
    retraction: Retraction | None = None

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name and version, and as content the entry."""
        said = cbor.encode({"datasetUri": str(self.dataset_uri)})
        return IndexKeys(self.name, self.version, Cid.of_cbor(said), None if self.retraction else self.dataset_uri)

    @property
    def is_retracted(self) -> bool:
        """See `Record`."""
        return self.retraction is not None

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            datasetUri=str(self.dataset_uri),
            version=self.version,
            description=self.description,
            createdAt=self.created_at,
            retraction=None if self.retraction is None else self.retraction.to_record(),
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
            retraction=Retraction.from_record(value[_RETRACTION]) if _RETRACTION in value else None,
            extra=rest_of(value, *_MEMBERS),
        )
