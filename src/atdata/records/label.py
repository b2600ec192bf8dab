"""The label record: a name, with or without a version, for an entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from atdata.atproto.syntax import AtUri, Nsid
from atdata.records import nsids
from atdata.records.record import Record, moment, old_form, rest_of, without_none
from atdata.records.version import Version


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
        if not isinstance(value.get("name"), str) or not isinstance(value.get("datasetUri"), str):
            raise old_form("a label without name or entry", "name", value.get("name"))
        return cls(
            name=value["name"],
            dataset_uri=AtUri(value["datasetUri"]),
            version=value.get("version"),
            description=value.get("description"),
            created_at=str(value.get("createdAt", "1970-01-01T00:00:00.000Z")),
            extra=rest_of(value, "name", "datasetUri", "version", "description", "createdAt"),
        )


def newest(labels: Iterable[Label]) -> Label | None:
    """The label a name without a version stands for: newest by version, then by time, then by record key.

    A time in the future counts as now, so nobody stays newest by dating ahead.
    """
    present = datetime.now(UTC)

    def rank(label: Label) -> tuple[Version, datetime, str]:
        return Version.parse(label.version), min(moment(label.created_at), present), str(label.uri)

    return max(labels, key=rank, default=None)
