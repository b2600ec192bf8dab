"""A document: the words and facets under which a record is found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct, field
from msgspec.structs import replace

from atdata.atproto.cid import Cid
from atdata.errors import AtdataError
from atdata.records import Entry, LensRecord, Malformed, Record, Schema
from atdata.search.facets import ANY, SIZES, UNKNOWN, Facet, FacetKind, at_least, family_of, licenses_in, size_class
from atdata.search.words import SEPARATOR, indexed_words, pairs_of, without_pairs

if TYPE_CHECKING:
    from atdata.samples import FieldType

COLUMNS = {"name": 8, "tags": 4, "fields": 2, "body": 1}
"""The fields of a document, with what a word in each is worth; the first is the best."""

_LIMITS = {"name": 64, "tags": 256, "fields": 1024, "body": 2048}
_OCCURRENCES = 200  # of a word in a document: PostgreSQL keeps no more than 256
_FACETS = 64  # of a kind


class Document(Struct, frozen=True):
    """The tokens of a record, field by field and separated by spaces: words, then pairs of them; and its facets."""

    name: str = ""
    tags: str = ""
    fields: str = ""
    body: str = ""
    facets: tuple[Facet, ...] = ()

    @property
    def tokens(self) -> str:
        """The tokens of its facets; of a license its family is one too, of a size each power of ten that it reaches."""
        licenses = [Facet(FacetKind.license, f.value) for f in self.facets if f.kind is FacetKind.family]
        sizes = [Facet(f.kind, reached) for f in self.facets if f.kind in SIZES for reached in at_least(f.value)]
        return " ".join([ANY, *dict.fromkeys(facet.token for facet in (*self.facets, *licenses, *sizes))])

    @property
    def packed_facets(self) -> str:
        """The facets as text."""
        return json.dumps([[int(facet.kind), facet.value] for facet in self.facets], separators=(",", ":"))

    @classmethod
    def of_row(cls, name: str, tags: str, fields: str, body: str, facets: str) -> Self:
        """The document of a row of these."""
        return cls(name, tags, fields, body, _unpacked(facets))


def _unpacked(facets: str) -> tuple[Facet, ...]:
    return tuple(Facet(FacetKind(kind), value) for kind, value in json.loads(facets))


class Context(Struct, frozen=True):
    """Facts of other records that a document takes.

    Attributes:
        schemas: the documents of schemas that are known, by address.
        contents: the content identities of these.
        labels: the names under which an account has its datasets, by address.
        labelled: labels of labelers on records, each with its labeler, by address.
    """

    schemas: Mapping[str, Document] = field(default_factory=dict)
    contents: Mapping[str, Cid] = field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labelled: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


def document_of(record: Record | Malformed, did: str, content: Cid | None, context: Context) -> Document | None:
    """The document of a record; `None` where it is none of those that are searched."""
    made = _made(record, Facet(FacetKind.publisher, did), content, context)
    labelled = context.labelled.get(str(record.uri), ())
    if made is None or not labelled:
        return made
    facets = [Facet(FacetKind.labelled, value) for value, _ in labelled]
    by_whom = [Facet(FacetKind.labelled_by, f"{value}@{labeler}") for value, labeler in labelled]
    return replace(made, facets=_bounded((*made.facets, *facets, *by_whom)))


def _made(record: Record | Malformed, publisher: Facet, content: Cid | None, context: Context) -> Document | None:
    if isinstance(record, Schema):
        return _of_schema(record, content, publisher)
    if isinstance(record, Entry):
        return _of_entry(record, publisher, context)
    if isinstance(record, LensRecord):
        schemas = [str(record.source_schema), str(record.target_schema)]
        known = [context.schemas[uri] for uri in schemas if uri in context.schemas]
        facets = [Facet(FacetKind.kind, "lens"), publisher, *(Facet(FacetKind.schema, uri) for uri in schemas)]
        return _built(
            name=[record.name],
            tags=[record.language or ""],
            fields=[],
            body=[record.description or ""],
            inherited=[text for schema in known for text in (schema.name, schema.fields)],
            facets=facets,
        )
    return None


def _of_entry(entry: Entry, publisher: Facet, context: Context) -> Document:
    uri = str(entry.schema_ref)
    schema, content = context.schemas.get(uri), context.contents.get(uri)
    licenses = licenses_in(entry.license) if entry.license else []
    facets = [
        Facet(FacetKind.kind, "dataset"),
        publisher,
        Facet(FacetKind.schema, uri),
        *(Facet(FacetKind.license, name) for name in licenses),
        *(Facet(FacetKind.family, family_of(name)) for name in licenses),
        *(Facet(FacetKind.tag, tag) for tag in entry.tags),
        *(Facet(FacetKind.label, name) for name in context.labels.get(str(entry.uri), ())),
        *_storage_facets(entry),
        Facet(FacetKind.samples, size_class(entry.size.samples)),
        Facet(FacetKind.bytes, size_class(entry.size.bytes)),
    ]
    if content is not None:
        facets.append(Facet(FacetKind.content, str(content)))
    inherited = [] if schema is None else [schema.name, schema.fields]
    if schema is not None:
        facets += [f for f in schema.facets if f.kind in (FacetKind.field, FacetKind.type, FacetKind.shape)]
    return _built([entry.name], list(entry.tags), [], [entry.description or ""], inherited, facets)


def _storage_facets(entry: Entry) -> Iterator[Facet]:
    kind = str(entry.storage.KIND).rpartition(".")[2].removeprefix("storage").lower()
    yield Facet(FacetKind.storage, kind or UNKNOWN)
    try:
        shards = entry.storage.shards("did:web:nowhere.invalid")
    except AtdataError:  # the record does not say which they are
        yield Facet(FacetKind.digests, UNKNOWN)
        return
    known = sum(shard.digest is not None for shard in shards)
    yield Facet(FacetKind.digests, "all" if shards and known == len(shards) else "some" if known else "none")


def _of_schema(schema: Schema, content: Cid | None, publisher: Facet) -> Document:
    names: list[str] = []
    docs: list[str] = []
    facets = [Facet(FacetKind.kind, "schema"), publisher]
    if content is not None:
        facets.append(Facet(FacetKind.content, str(content)))
    try:
        parts = schema.sample_schema.fields
    except AtdataError:  # no sample can hold it here; the names are there all the same
        properties = schema.content.get("properties")
        names = [str(name) for name in properties] if isinstance(properties, Mapping) else []
        facets += [Facet(FacetKind.field, name) for name in names]
    else:
        for part in parts:
            names += [part.name, part.unit or ""]
            docs.append(part.doc or "")
            facets += [Facet(FacetKind.field, part.name), *_type_facets(part.type)]
    said = schema.metadata.get("tags") if isinstance(schema.metadata, Mapping) else None
    tags = [tag for tag in said if isinstance(tag, str)] if isinstance(said, list) else []
    facets += [Facet(FacetKind.tag, tag) for tag in tags]
    return _built([schema.name], tags, [*names, *docs], [schema.description or ""], [], facets)


def _type_facets(kind: FieldType) -> Iterator[Facet]:
    from atdata.samples.kinds import Array, bare

    kind = bare(kind)
    if not isinstance(kind, Array):
        yield Facet(FacetKind.type, str(kind))
        return
    yield Facet(FacetKind.type, "NDArray")
    if kind.scalar is not None:
        yield Facet(FacetKind.type, f"NDArray[{kind.scalar.__name__}]")
    if kind.shape is not None:
        yield Facet(FacetKind.shape, "x".join("?" if size is None else str(size) for size in kind.shape.dims))


def _built(
    name: Iterable[str],
    tags: Iterable[str],
    fields: Iterable[str],
    body: Iterable[str],
    inherited: Iterable[str],
    facets: Iterable[Facet],
) -> Document:
    """A document within its bounds. What is inherited are words already."""
    seen: Counter[str] = Counter()

    def column(which: str, texts: Iterable[str], ready: Iterable[str] = ()) -> str:
        limit, words = _LIMITS[which], list[str]()
        for found in (
            *(without_pairs(text.split()) for text in ready),
            *(indexed_words(text, limit) for text in texts if text),
        ):
            if words and found:
                words.append(SEPARATOR)
            words += found
            if len(words) >= limit:
                break
        kept = list(counted(words[:limit]))
        pairs = pairs_of(kept)
        return " ".join([*kept, SEPARATOR, *pairs] if pairs else kept)

    def counted(words: list[str]) -> Iterator[str]:
        for word in words:
            seen[word] += word != SEPARATOR
            yield word if seen[word] <= _OCCURRENCES else SEPARATOR

    made = Document(
        column("name", name), column("tags", tags), column("fields", fields, inherited), column("body", body)
    )
    return replace(made, facets=_bounded(facets))


def _bounded(facets: Iterable[Facet]) -> tuple[Facet, ...]:
    """Facets in order, each once, none too long, and not too many of a kind."""
    found: dict[FacetKind, dict[Facet, None]] = {}
    for kind, value in facets:
        of_kind = found.setdefault(kind, {})
        if value.strip() and len(of_kind) < _FACETS:
            of_kind[Facet.of(kind, value)] = None
    return tuple(facet for kind in sorted(found) for facet in found[kind])


def parts_of(document: Document) -> dict[str, Any]:
    """The columns of a document's row."""
    texts = {name: getattr(document, name) for name in COLUMNS}
    return {**texts, "facets": document.packed_facets}
