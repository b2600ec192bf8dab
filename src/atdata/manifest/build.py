"""Writing of manifests: gathered sample by sample while a shard is written, and stored beside it at the end."""

from __future__ import annotations

import hashlib
import itertools
import operator
import os
import shutil
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from atdata.errors import ShardError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.files.own import discard
from atdata.manifest.aggregates import MAX_TEXT, Aggregate, gathering
from atdata.manifest.field import Indexed, indexed_fields
from atdata.manifest.files import manifest_paths
from atdata.manifest.header import MAX_HEADER, File, Header, SchemaReference
from atdata.manifest.parquet import RowsColumn, encode_rows, require_parquet
from atdata.shards import Digest, ShardRef
from atdata.shards.index import SampleMembers
from atdata.shards.writer import ShardObserver

BATCH = 4096
_LARGE = 1 << 16  # above this many bytes another thread hashes a sample, below it costs more to ask
_PIECE = 1 << 20  # bytes that it is asked for at a time
_AHEAD = 8

_EXACT: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


class ManifestBuilder:
    """The manifest of one shard, fed with its samples in order.

    Args:
        sample_type: the type of the samples.
        schema_uri: the record of their schema, where there is one.
        schema_cid: that record's CID.
        provenance: where the shard comes from. Times and host names in it make equal samples give other manifests.

    Raises:
        MissingExtraError: pyarrow is not installed.
        FieldTypeError: a `ManifestField` asks for what its field's type does not have.
    """

    def __init__(
        self,
        sample_type: type,
        *,
        schema_uri: object = None,
        schema_cid: object = None,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        require_parquet()
        uri, cid = (None if given is None else str(given) for given in (schema_uri, schema_cid))
        self._schema = SchemaReference(type=sample_type.__name__, uri=uri, cid=cid)
        self._provenance = {"software": _software(), **(provenance or {})}
        self._fields = [_Field(indexed) for indexed in indexed_fields(sample_type)]
        self._values = _getter([part.indexed.name for part in self._fields])
        self._sets = any(part.indexed.kind == "set" for part in self._fields)
        self._batch: list[tuple[Any, ...]] = []
        self._pending_keys: list[str] = []
        self._keys = RowsColumn("str")
        self._offsets, self._sizes = array("q"), array("q")
        self._digests = bytearray()
        self.packed = True

    def add(self, key: str, offset: int, size: int, sample: Any) -> None:
        """Take in the next sample; `add_digest` must bring its digest, in the same order.

        Args:
            key: its name.
            offset: of its first byte in the shard.
            size: its bytes there.
            sample: the sample, for the values of its fields.
        """
        self._pending_keys.append(key)
        self._offsets.append(offset)
        self._sizes.append(size)
        if self._fields:
            values = self._values(sample)
            if self._sets:  # a list may change after this
                values = tuple(list(value) if isinstance(value, list) else value for value in values)
            self._batch.append(values)
        if len(self._pending_keys) == BATCH:
            self._flush()

    def add_digest(self, digest: bytes) -> None:
        """Take in the sha-256 of the next sample that has none yet."""
        self._digests += digest

    def _flush(self) -> None:
        self._keys.add(self._pending_keys)
        self._pending_keys = []
        for part, values in zip(self._fields, zip(*self._batch, strict=True), strict=False):
            part.add(values)
        self._batch.clear()

    def finish(self, digest: Digest, size: int) -> tuple[bytes, bytes]:
        """The header and the rows, once the shard has a digest and a size.

        Raises:
            LimitError: the shard holds too many samples, or the type too many fields, for a manifest.
        """
        self._flush()
        offsets, sizes = (np.frombuffer(numbers, np.int64) for numbers in (self._offsets, self._sizes))
        kept = [part for part in self._fields if part.kept]
        columns = {part.indexed.name: part.column for part in kept if part.column.fits}
        rows = encode_rows(self._keys, offsets, sizes, bytes(self._digests), columns)
        header = Header(
            shard=File(digest, size),
            samples=len(offsets),
            rows=File(Digest.sha256(rows), len(rows)),
            schema=self._schema,
            fields={part.indexed.name: part.aggregate() for part in kept},
            provenance=self._provenance,
            packed=self.packed,
        )
        return header.encode(), rows


class _Field:
    """The gathered values of one field."""

    def __init__(self, indexed: Indexed) -> None:
        self.indexed = indexed
        self.kept = True
        self.column = RowsColumn(f"[{indexed.type}]" if indexed.kind == "set" else indexed.type)
        self._gathering = gathering(indexed)
        self._count = self._nulls = 0

    def add(self, values: Sequence[Any]) -> None:
        """Take in the next samples' values."""
        if not self.kept:
            return
        present = self._exact([value for value in values if value is not None])
        if self.indexed.type == "str" and not self.indexed.chosen:
            texts = itertools.chain.from_iterable(present) if self.indexed.kind == "set" else present
            if max(map(len, texts), default=0) > MAX_TEXT:
                self.kept = False
                return
        self._count += len(present)
        self._nulls += len(values) - len(present)
        self._gathering.add(present)
        if self.column.fits:
            rest = iter(present)
            whole = len(present) == len(values)
            self.column.add(present if whole else [None if value is None else next(rest) for value in values])

    def _exact(self, values: list[Any]) -> list[Any]:
        """Python's own numbers and text, where a sample has numpy's or a subclass."""
        exact = _EXACT[self.indexed.type]
        if self.indexed.kind == "set":
            return [[item if type(item) is exact else exact(item) for item in value] for value in values]
        return values if set(map(type, values)) <= {exact} else [exact(value) for value in values]

    def aggregate(self) -> Aggregate:
        """The aggregates of all values."""
        facts = self._gathering.facts()
        return Aggregate(kind=self.indexed.kind, type=self.indexed.type, count=self._count, nulls=self._nulls, **facts)


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda sample: tuple(getattr(sample, name) for name in names)


@lru_cache(maxsize=1)
def _software() -> str:
    from importlib import metadata

    try:
        return f"atdata {metadata.version('atdata')}"
    except metadata.PackageNotFoundError:  # run from its source
        return "atdata"


def manifest_files(shard: Path) -> tuple[Path, ...]:
    """The files of the manifest that is beside a shard; files of these names that are none do not count."""
    header, rows = manifest_paths(shard)
    if header_beside(shard) is None:
        return ()
    return (header, rows) if rows.is_file() else (header,)


def header_beside(shard: Path) -> Header | None:
    """The header of a manifest that is beside a shard, of whichever shard it is; `None` where there is none."""
    path = manifest_paths(shard)[0]
    try:
        with path.open("rb") as file:
            return Header.decode(file.read(MAX_HEADER + 1), str(path))
    except (OSError, ShardError):
        return None


def remove_manifest(shard: Path) -> None:
    """Remove the manifest of a shard that is about to be written anew. A file of that name that is none stays.

    Raises:
        StorageError: it cannot be removed.
    """
    for path in manifest_files(shard):  # the header first: rows without one say nothing
        with disk_errors(path):
            path.unlink(missing_ok=True)


def link_shard(shard: Path, place: Path) -> None:
    """Give a shard and its manifest another name beside the one that they have, or a copy where a disk knows no links.

    Raises:
        OSError: it cannot be done.
    """
    for file, name in zip((shard, *manifest_paths(shard)), (place, *manifest_paths(place)), strict=True):
        try:
            os.link(file, name)
        except OSError:
            shutil.copy2(file, name)


def discard_shard(scratch: Path) -> None:
    """Remove a shard that was written for a while, and its manifest.

    Raises:
        StorageError: it cannot be removed.
    """
    for path in (*manifest_paths(scratch), scratch):
        with disk_errors(path):
            discard(path)


@dataclass(frozen=True)
class ManifestWriter:
    """Writes the manifest of each shard beside it: what `cut_shards` takes as `observer`.

    The arguments are those of `ManifestBuilder`.
    """

    sample_type: type
    schema_uri: object = None
    schema_cid: object = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def __call__(self, shard: Path) -> Iterator[ShardObserver]:
        """The observer of the shard that will be at a path."""
        builder = ManifestBuilder(
            self.sample_type, schema_uri=self.schema_uri, schema_cid=self.schema_cid, provenance=self.provenance
        )
        with ThreadPoolExecutor(1, "atdata-digest") as hashing:
            yield _Observer(builder, shard, hashing)


class _Observer:
    """Feeds a builder with the samples of a shard, and writes the manifest at the end."""

    def __init__(self, builder: ManifestBuilder, shard: Path, hashing: ThreadPoolExecutor) -> None:
        self._builder, self._shard, self._hashing = builder, shard, hashing
        self._together: list[bytes] = []  # large samples that nobody hashes yet
        self._waiting: deque[Future[list[bytes]]] = deque()

    def observe(self, key: str, offset: int, packed: bytes, sample: Any) -> None:
        """Observe a sample that was written."""
        self._builder.packed = not isinstance(packed, SampleMembers)
        self._builder.add(key, offset, len(packed), sample)
        if len(packed) >= _LARGE:
            self._together.append(packed)
            if sum(map(len, self._together)) >= _PIECE:
                self._hash(_AHEAD)
        else:
            self._hash(0)
            self._builder.add_digest(hashlib.sha256(packed).digest())

    def _hash(self, left: int) -> None:
        """Let another thread hash what is there, and wait until it has only so much left to do."""
        if self._together:
            self._waiting.append(self._hashing.submit(_sha256s, self._together))
            self._together = []
        while len(self._waiting) > left:
            for digest in self._waiting.popleft().result():
                self._builder.add_digest(digest)

    def finish(self, shard: ShardRef) -> None:
        """Write the manifest beside the finished shard, the header last. Without a header there is no manifest."""
        self._hash(0)
        if shard.digest is None or shard.size is None:
            raise AssertionError("a shard just written has a digest and a size")
        header, rows = self._builder.finish(shard.digest, shard.size)
        for path, raw in zip(reversed(manifest_paths(self._shard)), (rows, header), strict=True):
            with atomic_file(path) as file:
                write_all(file, raw, path)


def _sha256s(samples: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(packed).digest() for packed in samples]
