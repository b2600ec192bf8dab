"""The lens record: a lens whose functions are in a public repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Nsid
from atdata.errors import LensError
from atdata.records import nsids
from atdata.records.record import IndexKeys, Record, rest_of, without_none

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MEMBERS = ("name", "sourceSchema", "targetSchema", "getterCode", "putterCode", "description", "language", "metadata")


@dataclass(frozen=True)
class CodeReference:
    """One function in one commit of a repository.

    Attributes:
        repository: its URL.
        commit: the full commit hash.
        path: `dir/file.py:function`.
        branch: where the commit was seen.
        language: what it is written in.
    """

    repository: str
    commit: str
    path: str
    branch: str | None = None
    language: str | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any] | CodeReference, where: str) -> CodeReference:
        """A reference that the caller wrote down.

        Raises:
            LensError: a part is missing, or does not pin the code.
        """
        if isinstance(value, CodeReference):
            return value
        given: Any = value
        parts = given if isinstance(given, Mapping) else {}
        missing = [name for name in ("repository", "commit", "path") if not isinstance(parts.get(name), str)]
        if missing:
            raise LensError(
                "a code reference lacks some of its parts",
                path=f"{where}.{missing[0]}",
                expected="repository, commit, path",
            )
        if not _COMMIT.fullmatch(value["commit"]):
            raise LensError(
                "a code reference must pin a full commit hash",
                path=f"{where}.commit",
                expected="the full hash, 40 hexadecimal digits",
                actual=value["commit"],
                hint="git rev-parse HEAD prints it.",
            )
        if not value["repository"].startswith(("https://", "at://")):
            raise LensError(
                "a code reference must name a repository that strangers can reach",
                path=f"{where}.repository",
                expected="https://...",
                actual=value["repository"],
            )
        if ":" not in value["path"]:
            raise LensError(
                "a code reference must name a function", path=f"{where}.path", expected="dir/file.py:function"
            )
        return cls(
            value["repository"], value["commit"], value["path"], value.get("branch"), value.get("language", "python")
        )

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            repository=self.repository, commit=self.commit, path=self.path, branch=self.branch, language=self.language
        )

    @classmethod
    def from_record(cls, value: Mapping[str, Any]) -> CodeReference:
        """Read a wire form that is valid."""
        return cls(value["repository"], value["commit"], value["path"], value.get("branch"), value.get("language"))


@dataclass(frozen=True, kw_only=True, eq=False)
class LensRecord(Record):
    """A published lens. Its code is never fetched or run by reading the record.

    Attributes:
        name: what people call it.
        source_schema: the schema it looks at.
        target_schema: the schema it shows.
        getter_code: the function from source to target.
        putter_code: the function from target and source to source.
        description: what it does.
        metadata: anything else.
    """

    NSID: ClassVar[Nsid] = nsids.LENS

    name: str
    source_schema: AtUri
    target_schema: AtUri
    getter_code: CodeReference
    putter_code: CodeReference
    description: str | None = None
    language: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name, and as content the two schemas and the two functions."""
        wire = self.to_record()
        said = {name: wire[name] for name in ("sourceSchema", "targetSchema", "getterCode", "putterCode")}
        return IndexKeys(self.name, None, Cid.of_cbor(cbor.encode(said)), self.source_schema)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            sourceSchema=str(self.source_schema),
            targetSchema=str(self.target_schema),
            getterCode=self.getter_code.to_record(),
            putterCode=self.putter_code.to_record(),
            description=self.description,
            language=self.language,
            metadata=dict(self.metadata) or None,
            createdAt=self.created_at,
            **self.extra,
        )

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        return cls(
            name=value["name"],
            source_schema=AtUri(value["sourceSchema"]),
            target_schema=AtUri(value["targetSchema"]),
            getter_code=CodeReference.from_record(value["getterCode"]),
            putter_code=CodeReference.from_record(value["putterCode"]),
            description=value.get("description"),
            language=value.get("language"),
            metadata=value.get("metadata") or {},
            created_at=value["createdAt"],
            extra=rest_of(value, *_MEMBERS, "createdAt"),
        )
