"""The header of a manifest: facts about a shard as a whole, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from atdata.errors import DataModelError, LimitError, ShardError, UnverifiedError
from atdata.json_reader import read_json
from atdata.manifest.aggregates import Aggregate
from atdata.shards import Digest, ShardRef
from atdata.shards.fetching import MAX_SHARD
from atdata.shards.tar import BLOCK

VERSION = 1
MAX_HEADER = 1 << 20  # what an entry takes (formats.md 3)


@dataclass(frozen=True, kw_only=True)
class SchemaReference:
    """The schema of the samples.

    Attributes:
        type: the name of the sample type.
        uri: the schema's record, where there is one.
        cid: that record's CID.
    """

    type: str
    uri: str | None = None
    cid: str | None = None


@dataclass(frozen=True)
class File:
    """A file by its content."""

    digest: Digest
    size: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a manifest: facts about the shard as a whole.

    Attributes:
        shard: the shard it is bound to.
        samples: how many the shard holds.
        rows: the Parquet file that says where each sample is.
        schema: what the samples are.
        fields: what is known of all values of each indexed field.
        provenance: where the shard comes from, in its writer's words.
        packed: whether each sample is one file; else its rows say where the first header of each is, and its bytes from
            there to the end of its last file.
    """

    shard: File
    samples: int
    rows: File
    schema: SchemaReference
    fields: Mapping[str, Aggregate] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    packed: bool = True

    def encode(self) -> bytes:
        """The JSON. Where it were too long for an entry, the longest lists of values are left out.

        Raises:
            LimitError: it is too long even so.
        """
        raw = _dump(self)
        fields, excess = dict(self.fields), len(raw) - MAX_HEADER
        for name in sorted(fields, key=lambda name: _length(fields[name]), reverse=True):
            if excess <= 0:
                break
            excess -= _length(fields[name])
            fields[name] = replace(fields[name], counts=None, items=None)
        if len(raw) > MAX_HEADER:
            raw = _dump(replace(self, fields=fields))
        if len(raw) > MAX_HEADER:
            raise LimitError("a manifest's header is too long", expected=MAX_HEADER, actual=len(raw))
        return raw

    def bind(self, shard: ShardRef) -> None:
        """Prove that this is the header of the manifest of a shard with a known digest.

        Raises:
            DigestError: it is that of another shard.
            UnverifiedError: the shard's digest is not known, or is no sha-256.
            ShardError: its size or count is not the shard's.
        """
        if shard.digest is None or shard.digest.algorithm != self.shard.digest.algorithm:
            raise UnverifiedError(
                "a manifest cannot be checked against a shard without a sha-256 digest",
                step="manifest",
                uri=shard.url,
                actual=shard.digest,
                hint="Compute it with Digest.of_file, or read the shard without its manifest.",
            )
        shard.digest.check(self.shard.digest.hex, shard.url)
        for what, said, known in (("bytes", self.shard.size, shard.size), ("samples", self.samples, shard.samples)):
            if known is not None and said != known:
                raise ShardError(
                    "a manifest does not match its shard",
                    uri=shard.url,
                    expected=f"{known} {what}",
                    actual=f"{said} {what}",
                    hint="Read the shard without it, or write it again.",
                )

    def _to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "shard": _file_json(self.shard),
            "samples": self.samples,
            "rows": _file_json(self.rows),
            "schema": _without_none(asdict(self.schema)),
            "fields": {name: _without_none(asdict(aggregate)) for name, aggregate in self.fields.items()},
            "provenance": dict(self.provenance),
            **({} if self.packed else {"packed": False}),
        }

    @classmethod
    def decode(cls, raw: bytes, uri: str) -> Header:
        """The header in some JSON. Members that are not known are passed over.

        Raises:
            ShardError: it is none.
        """
        if len(raw) > MAX_HEADER:
            raise _damaged(uri, f"{len(raw)} bytes", f"at most {MAX_HEADER} bytes")
        try:
            version = read_json(raw, _Version).version
            if version != VERSION:
                raise _damaged(uri, f"version {version}", f"version {VERSION}")
            read = read_json(raw, _Read)
        except DataModelError as error:
            raise _damaged(uri, error.actual or error.what) from None
        if (
            not 0 <= read.samples * BLOCK < read.shard.size <= MAX_SHARD
        ):  # each takes a block at least, and so does the end
            raise _damaged(uri, f"{read.samples} samples in {read.shard.size} bytes", "a shard that there can be")
        return cls(
            shard=_file(read.shard, uri),
            samples=read.samples,
            rows=_file(read.rows, uri),
            schema=read.schema,
            fields=read.fields,
            provenance=read.provenance,
            packed=read.packed,
        )


def _dump(header: Header) -> bytes:
    return json.dumps(header._to_json(), separators=(",", ":"), allow_nan=False).encode()


@dataclass
class _Version:
    version: int


@dataclass
class _ReadFile:
    digest: dict[str, str]
    size: int


@dataclass
class _Read:
    shard: _ReadFile
    samples: int
    rows: _ReadFile
    schema: SchemaReference
    fields: dict[str, Aggregate]
    provenance: dict[str, str]
    packed: bool = True


def _damaged(uri: str, actual: str, expected: str | None = None) -> ShardError:
    hint = "Fetch it again, or read the shard without it."
    return ShardError("a manifest's header is malformed", uri=uri, expected=expected, actual=actual, hint=hint)


def _file(read: _ReadFile, uri: str) -> File:
    digest = Digest.of_checksum(read.digest)
    if digest is None or digest.algorithm != "sha256" or read.size < 0:
        raise _damaged(uri, str(read.digest)[:200], "a sha-256 and a size")
    return File(digest, read.size)


def _file_json(file: File) -> dict[str, Any]:
    return {"digest": file.digest.checksum, "size": file.size}


def _length(aggregate: Aggregate) -> int:
    return len(json.dumps(aggregate.counts or aggregate.items or (), separators=(",", ":"))) - 2


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
