"""The entry record: a dataset."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Nsid
from atdata.errors import AtdataError, IdentifierError, LexiconError, NotFoundError, UsageError
from atdata.records import nsids, older
from atdata.records.manifests import ShardManifest, read_manifests
from atdata.records.metadata import pack_metadata, read_metadata
from atdata.records.record import IndexKeys, Record, rest_of, without_none
from atdata.records.storage import BlobStorage, Storage, check_digests, read_storage
from atdata.shards import ShardRef

if TYPE_CHECKING:
    from atdata.display import Card
    from atdata.samples import PackableSample

T = TypeVar("T", bound="PackableSample")

SPLITS = "splits"
"""The key in the metadata of the numbers of each split's shards."""

_MEMBERS = ("name", "schemaRef", "storage", "createdAt", "description", "metadata", "tags", "size", "license")
_CONTENT = ("contentMetadata", "metadataSchemaRef")
_MANIFESTS = "manifests"
_PREDECESSOR = "predecessor"
_LAYOUT = "layout"
_ANYWHERE = "did:web:nowhere.invalid"  # what a shard is does not depend on whose blob it is


@dataclass(frozen=True)
class Size:
    """The size of a dataset; what is not known is `None`."""

    samples: int | None = None
    bytes: int | None = None
    shards: int | None = None

    @classmethod
    def of(cls, shards: Sequence[ShardRef]) -> Size:
        """The size of some shards: known where each says its own."""
        samples, sizes = [shard.samples for shard in shards], [shard.size for shard in shards]
        return cls(_total(samples), _total(sizes), len(shards))

    def over(self, other: Size) -> Size:
        """The same, with what another says where this says nothing."""
        return Size(*(its if ours is None else ours for ours, its in zip(astuple(self), astuple(other), strict=True)))

    def to_record(self) -> dict[str, int] | None:
        """The wire form; `None` where nothing is known."""
        return without_none(samples=self.samples, bytes=self.bytes, shards=self.shards) or None


@dataclass(frozen=True)
class Predecessor:
    """The dataset that another was made from by adding to it (decision 31).

    Attributes:
        identity: of that dataset, wherever it is listed; see `Entry.identity`.
        uri: its entry, where one is known.
    """

    identity: Cid
    uri: AtUri | None = None

    def to_record(self) -> dict[str, str]:
        """The wire form."""
        return without_none(identity=str(self.identity), uri=self.uri and str(self.uri))

    @classmethod
    def from_record(cls, value: Any) -> Predecessor:
        """Read a wire form.

        Raises:
            LexiconError: it is none.
        """
        texts = {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
        try:
            return cls(Cid.parse(texts.get("identity", "")), AtUri(texts["uri"]) if "uri" in texts else None)
        except IdentifierError as error:
            raise LexiconError(
                "an entry's predecessor cannot be read", path=_PREDECESSOR, actual=error.actual
            ) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry(Record):
    """A dataset as an index lists it.

    Attributes:
        name: what people call it.
        schema_ref: the schema record of its samples.
        storage: where its shards are.
        description: what it holds.
        metadata: anything else its publisher says.
        tags: words to find it by.
        license: SPDX expression or URL.
        size: how large it is.
        manifests: those of its shards, in their order; none where it lists none, or such as cannot be read.
        predecessor: the dataset that this one was made from by adding to it, where it says.
        layout: the extensions of the file that each field stands in, where a sample is one file a field (decision 32);
            empty where samples are packed, or where the fields of their type tell.
        content_metadata: metadata of a declared type, as the record holds them: `content_as` gives the sample.
        metadata_schema_ref: the schema record of that type.
    """

    NSID: ClassVar[Nsid] = nsids.ENTRY
    LATER: ClassVar[frozenset[str]] = frozenset({_MANIFESTS, _PREDECESSOR, _LAYOUT})

    name: str
    schema_ref: AtUri
    storage: Storage
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    license: str | None = None
    size: Size = Size()
    manifests: tuple[ShardManifest, ...] = ()
    predecessor: Predecessor | None = None
    layout: Mapping[str, str] = field(default_factory=dict)
    content_metadata: Mapping[str, Any] | None = None
    metadata_schema_ref: AtUri | None = None

    def content_as(self, sample_type: type[T]) -> T:
        """The metadata of a declared type, as a sample of it: of `index.get_schema(entry.metadata_schema_ref)`, or one's own.

        Raises:
            NotFoundError: the entry has none.
            LexiconError: they are none of this type.
        """
        from atdata.records.content import read_content

        if self.content_metadata is None:
            raise NotFoundError("an entry has no content metadata", uri=self.uri)
        return read_content(sample_type, self.content_metadata)

    @property
    def shards(self) -> tuple[ShardRef, ...]:
        """The shards, in order, with what the record says of each."""
        return self.storage.shards(None if self.uri is None else self.uri.authority)

    @property
    def data_urls(self) -> list[str]:
        """The addresses of the shards: `at://{did}/blob/{cid}` for blobs, else the URLs in the record."""
        return [shard.url for shard in self.shards]

    @property
    def pinned(self) -> tuple[tuple[ShardRef, ...], ...]:
        """The files of each shard's manifest, in the order of the shards: the header, and the rows where there are any.

        They are blobs of the publisher's repository, wherever the shards are. Empty where it lists none.

        Raises:
            LexiconError: the record lists what are no manifests, or not one for each shard.
            NotFoundError: the entry is nowhere yet.
        """
        if _MANIFESTS in self.extra:
            read_manifests(self.extra[_MANIFESTS])
        if not self.manifests:
            return ()
        if len(self.manifests) != len(self.shards):
            raise LexiconError(
                "an entry must list one manifest for each shard",
                uri=self.uri,
                path=_MANIFESTS,
                expected=len(self.shards),
                actual=len(self.manifests),
            )
        files = ((item.header, item.samples) for item in self.manifests)
        stored = (BlobStorage(tuple(blob for blob in pair if blob is not None)) for pair in files)
        return tuple(pair.shards(self.located.authority) for pair in stored)

    def check_complete(self) -> None:
        """See `Record`: each shard in a list with digests has one, and splits name shards that there are."""
        super().check_complete()
        check_digests(self.storage)
        if self.metadata.get(SPLITS) is not None:
            self._split_numbers(len(self.storage.shards(_ANYWHERE)))

    def first(self, count: int) -> Self:
        """The same entry with only the first of its shards, and their manifests."""
        return replace(self, storage=self.storage.first(count), manifests=self.manifests[:count])

    @property
    def shard_keys(self) -> list[str]:
        """The digest of each shard, in order; of one without, its URL."""
        return [shard_key(shard) for shard in self.storage.shards(_ANYWHERE)]

    def identity(self, schema: Cid) -> Cid:
        """The CID of what makes it this dataset: its schema's identity, its shards in order, and their layout where they
        have one (formats.md 5).

        Shards are known by digest, so moving them whole changes nothing; those without one by their URL.
        """
        return Cid.of_cbor(cbor.encode({"schema": schema, "shards": self.shard_keys, **self._said_layout()}))

    def _said_layout(self) -> dict[str, Any]:
        return {_LAYOUT: dict(self.layout)} if self.layout else {}

    def layout_for(self, sample_type: type) -> dict[str, str] | None:
        """The layout, as far as samples of a type have its fields; `None` where nothing is said.

        Raises:
            LexiconError: it says what is no layout.
        """
        from atdata.samples import DictSample, fields_of

        if _LAYOUT in self.extra:
            raise LexiconError(
                "an entry's layout cannot be read",
                uri=self.uri,
                path=_LAYOUT,
                expected="the extensions of each field's file, as text",
                actual=reprlib.repr(self.extra[_LAYOUT]),
            )
        given: Any = sample_type
        fields = (
            self.layout
            if isinstance(given, type) and issubclass(given, DictSample)
            else [field.name for field in fields_of(sample_type)]
        )
        return {name: files for name, files in self.layout.items() if name in fields} or None

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name, and as content its schema and shards."""
        try:
            shards: list[Any] = [str(shard.digest or shard.url) for shard in self.storage.shards(_ANYWHERE)]
        except AtdataError:  # stored in a way that this version does not know, or as too many
            shards = [self.storage.to_record()]
        said = {"schemaRef": str(self.schema_ref), "shards": shards, **self._said_layout()}
        return IndexKeys(self.name, None, Cid.of_cbor(cbor.encode(said)), self.schema_ref)

    @cached_property
    def splits(self) -> dict[str, tuple[ShardRef, ...]]:
        """The shards of each split: all in `train`, unless `metadata["splits"]` maps names to shard numbers.

        Raises:
            LexiconError: the metadata name shards that there are not.
        """
        shards = self.shards
        if self.metadata.get(SPLITS) is None:
            return {"train": shards}
        return {name: tuple(shards[n] for n in numbers) for name, numbers in self._split_numbers(len(shards)).items()}

    def _split_numbers(self, count: int) -> Mapping[str, Sequence[int]]:
        declared = self.metadata[SPLITS]
        if not isinstance(declared, Mapping) or not declared:
            raise LexiconError(
                "an entry's splits must map names to numbers of shards",
                path="metadata.splits",
                actual=reprlib.repr(declared),
            )
        for name, numbers in declared.items():
            listed = isinstance(numbers, list) and all(type(n) is int and 0 <= n < count for n in numbers)
            if not isinstance(name, str) or not name.strip() or not listed:
                raise LexiconError(
                    "a split names shards that do not exist",
                    path=f"metadata.splits.{name}",
                    expected=f"a list of numbers below {count}",
                    actual=reprlib.repr(numbers),
                )
        return declared

    def card(self) -> Card:
        """The entry as people look at it: what the record says, and no more."""
        from atdata.display import Card

        shards = self.storage.listed
        facts = {
            "record": self.uri,
            "cid": self.cid,
            "description": self.description,
            "samples": self.size.samples,
            "bytes": self.size.bytes,
            "shards": len(shards),
            "layout": "; ".join(f"{name}: {files}" for name, files in self.layout.items()),
            "license": self.license,
            "tags": ", ".join(self.tags),
            "schema": self.schema_ref,
            "listed": self.created_at,
        }
        return Card(self.name, facts)

    def _repr_html_(self) -> str:
        return self.card().html()

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            schemaRef=str(self.schema_ref),
            storage=self.storage.to_record(),
            description=self.description,
            metadata=pack_metadata(self.metadata) if self.metadata else None,
            tags=list(self.tags) or None,
            size=self.size.to_record(),
            license=self.license,
            createdAt=self.created_at,
            contentMetadata=None if self.content_metadata is None else dict(self.content_metadata),
            metadataSchemaRef=None if self.metadata_schema_ref is None else str(self.metadata_schema_ref),
            **({_MANIFESTS: [item.to_record() for item in self.manifests]} if self.manifests else {}),
            **({} if self.predecessor is None else {_PREDECESSOR: self.predecessor.to_record()}),
            **self._said_layout(),
            **self.extra,
        )

    @classmethod
    def _rewritten(cls, value: dict[str, Any]) -> older.Rewritten:
        return older.of_entry(value)

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        manifests: tuple[ShardManifest, ...] = ()
        with suppress(LexiconError):  # what cannot be read is kept as it came
            manifests = read_manifests(value.get(_MANIFESTS, []))
        predecessor = None
        with suppress(LexiconError):
            predecessor = Predecessor.from_record(value[_PREDECESSOR]) if _PREDECESSOR in value else None
        known = (*_MEMBERS, *_CONTENT, _MANIFESTS) if manifests else (*_MEMBERS, *_CONTENT)
        known = (*known, _PREDECESSOR) if predecessor else known
        layout = _read_layout(value.get(_LAYOUT))
        known = (*known, _LAYOUT) if layout else known
        return cls(
            name=value["name"],
            schema_ref=AtUri(value["schemaRef"]),
            storage=read_storage(value["storage"]),
            description=value.get("description"),
            metadata=read_metadata(value.get("metadata")),
            tags=tuple(value.get("tags", ())),
            license=value.get("license"),
            size=Size(*(value.get("size", {}).get(what) for what in ("samples", "bytes", "shards"))),
            manifests=manifests,
            predecessor=predecessor,
            layout=layout,
            content_metadata=value.get("contentMetadata"),
            metadata_schema_ref=AtUri(value["metadataSchemaRef"]) if "metadataSchemaRef" in value else None,
            created_at=value["createdAt"],
            extra=rest_of(value, *known),
        )


def _read_layout(value: Any) -> Mapping[str, str]:
    """A layout; empty where it is none that can be read: it stays as it came."""
    if value is not None:
        from atdata.samples.layout import Layout

        with suppress(UsageError):
            return Layout.of(value).said()
    return {}


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def shard_key(shard: ShardRef) -> str:
    """The digest of a shard; of one without, its URL."""
    return str(shard.digest or shard.url)
