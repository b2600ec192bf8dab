"""Promotion from a team's index to the network: the same schema, the same shards, under one's own identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.blobs import public_openers
from atdata.atmosphere.manifests import attached_manifests, build_manifest, find_manifests, manifest_observer
from atdata.atmosphere.publishing import Packed, publish
from atdata.atproto.syntax import AtUri
from atdata.dataset import Dataset
from atdata.dataset.stored import stored_decoder
from atdata.dataset.stores import AbstractDataStore
from atdata.errors import UsageError, XrpcError
from atdata.index import Named, check_listed, choose_schema
from atdata.index.publication import Publication
from atdata.index.storage import StoragePlan, planned_storage
from atdata.local import LocalIndex
from atdata.local.planning import Planner
from atdata.records import Entry, Predecessor, Schema
from atdata.records.entry import SPLITS
from atdata.records.facts import RECUT_FROM, Facts
from atdata.records.storage import open_storage
from atdata.samples.layout import Layout
from atdata.shards import FileSource, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.opening import open_shard
from atdata.shards.ports import DataSource
from atdata.shards.urls import scheme_of

_AT_ONCE = 8


def promote_to_atmosphere(
    entry: Entry,
    local_index: LocalIndex,
    client: AtmosphereClient,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,  # noqa: A002  the field's own word
    data_store: AbstractDataStore | None = None,
    schema_version: str | None = None,
    version: str | None = None,
    allow_private: bool = False,
    manifests: bool | None = None,
) -> AtUri:
    """Publish an entry of a local index under the client's account.

    Its schema is published unless the account has one that says the same; metadata, tags and labels come along. Shards
    stay where they are if a stranger can read them there, or are copied to a data store: whole, so that the dataset
    remains the one it was (`Entry.identity`), or cut anew where one is larger than the store takes. The same call again
    publishes nothing twice, and goes on where one that was killed has stopped. What is published stands as it is: where
    other facts are said of it now, a `NotTakenWarning` names them, and `AtmosphereIndex.update_dataset` changes them.

    Args:
        entry: of `local_index`.
        local_index: where its schema and labels are.
        client: logged in.
        name: what to call it, if not as the entry is called.
        description: what it holds, in place of what the entry says.
        tags: words to find it by, in place of the entry's.
        license: SPDX expression or URL, in place of the entry's.
        data_store: where to copy the shards: `PDSBlobStore(client)`, or an `S3DataStore`.
        schema_version: the version to publish the schema under; by default the one it has.
        version: of the name; by default those that the entry's labels say.
        allow_private: keep shards at addresses that only some can read.
        manifests: whether to publish manifests of the shards; see `AtmosphereIndex.insert_dataset`.

    Returns:
        The address of the entry on the network.

    Raises:
        NotFoundError (KeyError): the entry, or its schema, is not in the local index.
        RetractedError: all versions that stood for it were retracted there.
        UsageError (ValueError): the entry has no shards, or they are where strangers cannot read them.
        LimitError: it is too large for a record; nothing was sent.
        ConflictError: the version of the name, or of the schema, stands for something else.
        AuthError: the client is not logged in.
    """
    if not entry.data_urls:
        raise UsageError("an entry without shards has nothing to publish", uri=entry.uri, hint="Insert it again.")
    local_schema = local_index.get_schema(entry.schema_ref)
    check_listed(local_index.records, entry)
    draft = replace(local_schema, uri=None, cid=None, evidence=None)
    facts = Facts.of(description, tags, license).over(Facts.of_entry(entry))
    if entry.metadata_schema_ref is not None:  # a record of the team's own, which is to be public too
        theirs = replace(local_index.get_schema(entry.metadata_schema_ref), uri=None, cid=None, evidence=None)
        facts = replace(facts, metadata_schema_ref=AtmosphereIndex(client).put_schema(theirs).located)
    publication = Publication(
        name=entry.name if name is None else name,
        version=version,
        facts=facts,
        prefix=entry.name,
        manifests=manifests,
        predecessor=_predecessor(entry, client, entry.name if name is None else name),
    )
    with _moved(local_index.dataset(entry), entry, publication, data_store, client) as moved:
        publication = replace(publication, facts=_facts(publication.facts, entry, local_schema, moved.origins))

        def pack(schema: Schema) -> Packed:
            packed = moved.packed
            if packed.blobs:
                return replace(packed, manifests=lambda: _built(client, schema, packed, manifests))
            plan = _PublicPlan(**vars(packed.plan), client=client, check=not allow_private)
            cache = ShardCache(client.settings.cache)
            return Packed(plan, lambda: find_manifests(plan.public, plan.listed(manifests), cache, manifests))

        return publish(
            client,
            publication,
            pack,
            schema=draft,
            choose=partial(_numbered, draft=draft, version=schema_version),
            labels=_labels(entry, local_index, publication.name, version),
        ).located


def _built(client: AtmosphereClient, schema: Schema, packed: Packed, manifests: bool | None) -> Sequence[DataSource]:
    """The manifests of shards that become blobs, written by reading these."""
    cache, observer = ShardCache(client.settings.cache), manifest_observer(schema.sample_type, schema, manifests)
    blobs = packed.blobs
    if observer is not None:
        decode = stored_decoder(schema.sample_type, Layout.of(packed.plan.layout) if packed.plan.layout else None)
        blobs = [build_manifest(shard, decode, observer, cache) for shard in blobs]
    return attached_manifests(blobs, client.blob_limit, manifests)


@dataclass(frozen=True, kw_only=True)
class _PublicPlan(StoragePlan):
    """A plan whose shards will be where strangers read them.

    Attributes:
        client: says how strangers read.
        check: whether they must be able to.
    """

    client: AtmosphereClient
    check: bool

    @cached_property
    def public(self) -> DataSource:
        """The source of the shards as a stranger reads them."""
        return open_storage(self.storage, self.shards, public_openers(self.client))

    def listed(self, manifests: bool | None) -> Sequence[ShardRef]:
        """The shards, without the manifests that nobody insists on and that strangers may not be able to read."""
        if self.check or manifests:
            return self.public.shards
        return [replace(shard, manifest=None) for shard in self.public.shards]

    def upload(self) -> None:
        """See `StoragePlan`. One goes first: where strangers cannot read it, no other is copied."""
        for some in (slice(0, 1), slice(1, None)):
            StoragePlan(self.shards[some], self.storage, self.size, self.store, self.planned[some]).upload()
            if self.check:
                _check_readable(self.public, some)


class _Moved(NamedTuple):
    """The shards of an entry where the network will find them.

    Attributes:
        packed: their storage, and those on this machine that become blobs.
        origins: of each the number of the shard that its samples were in, where these are other shards; empty where
            that is not known. `None` where they are the same.
    """

    packed: Packed
    origins: Sequence[int] | None = None


@contextmanager
def _moved(
    dataset: Dataset[Any],
    entry: Entry,
    publication: Publication,
    data_store: AbstractDataStore | None,
    client: AtmosphereClient,
) -> Iterator[_Moved]:
    if data_store is None:
        _check_addresses(entry.shards)
        yield _Moved(Packed(StoragePlan(entry.shards, entry.storage, entry.size, layout=entry.layout)))
    elif isinstance(data_store, PDSBlobStore):
        yield _as_blobs(dataset, entry.layout, data_store)
    else:
        with planned_storage(dataset, publication, data_store, client.settings.cache, digests=True) as plan:
            _check_addresses(plan.shards)
            packed = Packed(replace(plan, size=plan.size.over(entry.size)))
            yield _Moved(packed, origins=() if plan.origins is None else None)


def _check_addresses(shards: Sequence[ShardRef]) -> None:
    for number, shard in enumerate(shards):
        if scheme_of(shard.url) == "file":
            raise UsageError(
                "a path of this machine is never published",
                path=f"storage.shards[{number}].url",
                actual="(not shown)",
                hint="Copy the shards: data_store=PDSBlobStore(client), or an S3DataStore that strangers can read.",
            )


def _as_blobs(dataset: Dataset[Any], layout: Mapping[str, str], store: PDSBlobStore) -> _Moved:
    """Whole shards if the server takes them, else the same samples in smaller ones."""
    cache, limit = ShardCache(store.client.settings.cache, revalidate=True), store.client.blob_limit
    whole = list(_on_this_machine(dataset, cache))
    if all(shard.size is not None and shard.size <= limit for shard in whole):
        return _Moved(Packed.of_blobs(whole, limit, False, layout))
    shards: list[ShardRef] = []
    origins: list[int] = []
    for number, shard in enumerate(whole):
        cut = [shard]
        if shard.size is None or shard.size > limit:
            one = Dataset(
                FileSource((shard,)), sample_type=dataset.sample_type, layout=dataset.layout, cache=cache.root
            )
            cut = [planned.origin for planned in store.plan(one)]
        shards += cut
        origins += [number] * len(cut)
    return _Moved(Packed.of_blobs(shards, limit, False, layout), origins)


def _on_this_machine(dataset: Dataset[Any], cache: ShardCache) -> Iterator[ShardRef]:
    """The shards of a dataset as files, proved."""
    planned = Planner(cache, cache.root / "scratch").plan(dataset, lambda digest: str(cache.path(digest)))
    for shard in planned:
        opened = open_shard(shard.source, replace(shard.origin, digest=shard.digest), cache)
        opened.file.close()
        url = shard.origin.url if isinstance(shard.source, FileSource) else shard.url
        yield ShardRef(url, shard.digest, opened.size, len(opened.index))


def _predecessor(entry: Entry, client: AtmosphereClient, name: str) -> Predecessor | None:
    """The predecessor of an entry as strangers find it: the account's own entry of it, if it was published."""
    if entry.predecessor is None:
        return None
    identity, schemas = entry.predecessor.identity, dict[AtUri, Schema]()
    for found in client.records.read_all(None, Entry):
        if found.name == name:
            schema = schemas.setdefault(found.schema_ref, client.read(found.schema_ref, Schema))
            if found.identity(schema.identity) == identity or found.metadata.get(RECUT_FROM) == str(identity):
                return Predecessor(identity, found.uri)
    return Predecessor(identity)


def _numbered(named: Named[Schema], draft: Schema, version: str | None) -> Schema:
    """The schema as the account has it, or as it will have it: the same content under another version is the same."""
    known = named.of_content(draft.index_keys.content) if version is None else None
    return known or choose_schema(named, draft, draft.version if version is None else version)


def _facts(facts: Facts, entry: Entry, schema: Schema, origins: Sequence[int] | None) -> Facts:
    """The facts to publish: splits name shards by number, so of other shards they are numbered anew."""
    if origins is None:
        return facts
    metadata = dict(entry.metadata)
    if SPLITS in metadata:
        places: dict[int, list[int]] = {}
        for place, origin in enumerate(origins):
            places.setdefault(origin, []).append(place)
        splits = metadata[SPLITS].items()
        metadata[SPLITS] = {name: [place for n in numbers for place in places[n]] for name, numbers in splits}
    return replace(facts, metadata={**metadata, RECUT_FROM: str(entry.identity(schema.identity))})


def _labels(entry: Entry, local_index: LocalIndex, name: str, version: str | None) -> list[tuple[str, str | None]]:
    """Names and versions to publish, the entry's own name first."""
    if version is not None:
        return [(name, version)]
    found = [(label.name, label.version) for label in local_index.labels_of(entry)]
    own = [(name, label_version) for label_name, label_version in found if label_name == entry.name]
    return [*(own or [(name, None)]), *(label for label in found if label[0] != entry.name)]


def _check_readable(source: DataSource, some: slice) -> None:
    """Refuse shards that strangers cannot read, if one of some is such.

    Raises:
        UsageError: one is private.
        ShardNotFoundError, NetworkError: one is not there, or cannot be reached.
    """

    def look(numbered: tuple[int, ShardRef]) -> None:
        number, shard = numbered
        try:
            with source.open(shard) as stream:
                stream.read(1)
        except XrpcError as error:
            if error.status not in (401, 403):
                raise
            raise UsageError(
                "a shard cannot be read by strangers",
                path=f"storage.shards[{number}]",
                expected="an answer without credentials",
                actual=f"HTTP {error.status}",
                hint="Let everybody read the bucket, copy the shards with data_store=, or pass allow_private=True.",
            ) from error

    with ThreadPoolExecutor(_AT_ONCE, "atdata-look") as pool:
        list(pool.map(look, list(enumerate(source.shards))[some]))
