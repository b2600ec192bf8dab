"""Promotion from a team's index to the network: the same schema, the same shards, under one's own identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.datasets import public_ref
from atdata.atmosphere.manifests import attached_manifests, build_manifest, find_manifests, manifest_observer
from atdata.atmosphere.publishing import Packed, blob_facts, fitting, publish
from atdata.atproto.syntax import AtUri
from atdata.dataset import Dataset
from atdata.dataset.stores import AbstractDataStore, ShardStore
from atdata.errors import UsageError, XrpcError
from atdata.index import UPDATE, Named, choose_schema
from atdata.local.index import LocalIndex
from atdata.local.planning import Planner
from atdata.records import BlobStorage, Entry, S3Storage, Schema, Size, Storage
from atdata.records.entry import SPLITS
from atdata.records.facts import RECUT_FROM, Facts, warn_of_not_taken
from atdata.records.public import check_public
from atdata.records.record import check_named
from atdata.records.storage import storage_in
from atdata.settings import Settings
from atdata.shards import FileSource, ShardRef
from atdata.shards.addresses import scheme_of
from atdata.shards.cache import ShardCache
from atdata.shards.http import HttpSource
from atdata.shards.opening import open_shard
from atdata.shards.ports import DataSource
from atdata.shards.proving import proved_shards

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
        NotFoundError (KeyError): the entry's schema is not in the local index.
        UsageError (ValueError): the entry has no shards, or they are where strangers cannot read them.
        LimitError: it is too large for a record; nothing was sent.
        ConflictError: the version of the name, or of the schema, stands for something else.
        AuthError: the client is not logged in.
    """
    if not entry.data_urls:
        raise UsageError("an entry without shards has nothing to publish", uri=entry.uri, hint="Insert it again.")
    local_schema = local_index.get_schema(entry.schema_ref)
    draft = replace(local_schema, uri=None, cid=None, evidence=None)
    choose = partial(_numbered, draft=draft, version=schema_version)
    schema = choose(client.named(None, Schema, draft.name))
    moved = _moved(local_index.dataset(entry), entry, data_store)
    name = entry.name if name is None else name
    check_named(name, version)
    said = Facts.of(description, tags, license).said
    planned = Entry(
        name=name,
        schema_ref=schema.uri or AtUri.of(client.did, schema.NSID, schema.rkey),
        storage=moved.storage,
        size=_size(moved.shards, entry.size),
        **{
            "description": entry.description,
            "tags": entry.tags,
            "license": entry.license,
            "metadata": _metadata(entry, local_schema, moved),
            **said,
        },
    )
    check_public(planned, client.settings)
    fitting(planned)

    def pack(schema: Schema) -> Packed:
        packed = Packed(replace(planned, schema_ref=schema.located))
        if client.named(None, Entry, planned.name).of_content(packed.entry.index_keys.content):
            return packed  # only labels may be missing
        public = _as_anyone(planned.storage, client)
        for shards in (moved.shards[:1], moved.shards):  # one first: where strangers cannot read it, no other is copied
            moved.upload(shards)  # shards are where the record will say before it says so
            if public is not None and not allow_private:
                _check_readable(public, len(shards))
        uploads, files = _with_manifests(client, schema, moved.uploads, public, manifests)
        return replace(packed, uploads=uploads, files=files)

    labels = _labels(entry, local_index, planned.name, version)
    published = publish(client, pack, schema=draft, choose=choose, labels=labels, manifests=manifests)
    warn_of_not_taken(published, {**Facts.of_entry(planned).said, **said}, UPDATE)
    return published.located


def _with_manifests(
    client: AtmosphereClient,
    schema: Schema,
    uploads: Sequence[ShardRef],
    public: HttpSource | None,
    manifests: bool | None,
) -> tuple[Sequence[ShardRef], Sequence[DataSource]]:
    """Shards that become blobs, carrying manifests; and the manifests to publish, which may be beside shards elsewhere."""
    cache = ShardCache(client.settings.cache)
    if public is not None:
        return uploads, find_manifests(public, public.shards, cache, manifests)
    observer = manifest_observer(schema.sample_type, schema, manifests)
    if observer is not None:
        uploads = [build_manifest(shard, schema.sample_type, observer, cache) for shard in uploads]
    return uploads, attached_manifests(uploads, client.blob_limit, manifests)


def _nothing(_shards: Sequence[ShardRef]) -> None:
    """Copy nothing: shards stay where they are."""


@dataclass(frozen=True)
class _Moved:
    """The places of shards to be.

    Attributes:
        storage: as the record says it.
        shards: in order.
        origins: of each, the number of the shard that its samples were in.
        uploads: those that become blobs, on this machine.
        upload: copies some of the others; what is there is not sent again.
        recut: whether they are other shards than before.
    """

    storage: Storage
    shards: Sequence[ShardRef]
    origins: Sequence[int]
    uploads: Sequence[ShardRef] = ()
    upload: Callable[[Sequence[Any]], object] = _nothing
    recut: bool = False


def _moved(dataset: Dataset[Any], entry: Entry, data_store: AbstractDataStore | None) -> _Moved:
    if data_store is None:
        _check_addresses(entry)
        return _Moved(entry.storage, entry.shards, range(len(entry.shards)))
    if isinstance(data_store, PDSBlobStore):
        return _as_blobs(dataset, data_store)
    return _stored(dataset, data_store, entry.name)


def _check_addresses(entry: Entry) -> None:
    for number, shard in enumerate(entry.shards):
        if scheme_of(shard.url) == "file":
            raise UsageError(
                "a path of this machine is never published",
                path=f"storage.shards[{number}].url",
                actual="(not shown)",
                hint="Copy the shards: data_store=PDSBlobStore(client), or an S3DataStore that strangers can read.",
            )


def _as_blobs(dataset: Dataset[Any], store: PDSBlobStore) -> _Moved:
    """Whole shards if the server takes them, else the same samples in smaller ones."""
    cache = ShardCache(store.client.settings.cache, afresh=True)
    shards = list(_on_this_machine(dataset, cache))
    if all(shard.size is not None and shard.size <= store.client.blob_limit for shard in shards):
        return _Moved(blob_facts(shards)["storage"], shards, range(len(shards)), uploads=shards)
    cut: list[ShardRef] = []
    origins: list[int] = []
    for number, shard in enumerate(shards):
        found = store.plan(Dataset(FileSource((shard,)), sample_type=dataset.sample_type, cache=cache.root))
        cut += [planned.origin for planned in found]
        origins += [number] * len(found)
    return _Moved(blob_facts(cut)["storage"], cut, origins, uploads=cut, recut=True)


def _on_this_machine(dataset: Dataset[Any], cache: ShardCache) -> Iterator[ShardRef]:
    """The shards of a dataset as files, proved."""
    planned = Planner(cache, cache.root / "scratch").plan(dataset, lambda digest: str(cache.path(digest)))
    for shard in planned:
        opened = open_shard(shard.source, replace(shard.origin, digest=shard.digest), cache)
        opened.file.close()
        url = shard.origin.url if isinstance(shard.source, FileSource) else shard.url
        yield ShardRef(url, shard.digest, opened.size, len(opened.index))


def _stored(dataset: Dataset[Any], store: AbstractDataStore, prefix: str) -> _Moved:
    if isinstance(store, ShardStore):
        planned = store.plan(dataset, prefix=prefix)
        storage = storage_in(store.create_source([shard.url for shard in planned]), planned)
        return _Moved(storage, planned, range(len(planned)), upload=store.upload)
    source = store.create_source(store.write_shards(dataset, prefix=prefix))
    shards = list(proved_shards(source, source.shards, ShardCache(Settings.of().cache, afresh=True)))
    same = [shard.digest for shard in shards] == [shard.digest for shard in dataset.shards]
    return _Moved(storage_in(source, shards), shards, range(len(shards)), recut=not same)


def _numbered(named: Named[Schema], draft: Schema, version: str | None) -> Schema:
    """The schema as the account has it, or as it will have it: the same content under another version is the same."""
    known = named.of_content(draft.index_keys.content) if version is None else None
    return known or choose_schema(named, draft, draft.version if version is None else version)


def _size(shards: Sequence[ShardRef], said: Size) -> Size:
    samples, sizes = [shard.samples for shard in shards], [shard.size for shard in shards]
    return Size(
        said.samples if None in samples else sum(filter(None, samples)),
        said.bytes if None in sizes else sum(filter(None, sizes)),
        len(shards),
    )


def _metadata(entry: Entry, schema: Schema, moved: _Moved) -> dict[str, Any]:
    """The entry's own; splits name shards by number, so where these are others they are named anew."""
    metadata = dict(entry.metadata)
    if not moved.recut:
        return metadata
    if SPLITS in metadata:
        places: dict[int, list[int]] = {}
        for place, origin in enumerate(moved.origins):
            places.setdefault(origin, []).append(place)
        splits = metadata[SPLITS].items()
        metadata[SPLITS] = {name: [place for n in numbers for place in places[n]] for name, numbers in splits}
    return {**metadata, RECUT_FROM: str(entry.identity(schema.identity))}


def _labels(entry: Entry, local_index: LocalIndex, name: str, version: str | None) -> list[tuple[str, str | None]]:
    """Names and versions to publish, the entry's own name first."""
    if version is not None:
        return [(name, version)]
    found = [(label.name, label.version) for label in local_index.labels_of(entry)]
    own = [(name, label_version) for label_name, label_version in found if label_name == entry.name]
    return [*(own or [(name, None)]), *(label for label in found if label[0] != entry.name)]


def _as_anyone(storage: Storage, client: AtmosphereClient) -> HttpSource | None:
    """Shards that are not blobs, as a stranger reads them."""
    if isinstance(storage, BlobStorage):
        return None
    shards = storage.public_shards() if isinstance(storage, S3Storage) else storage.shards(None)
    return HttpSource(tuple(map(public_ref, shards)), client.reader.transport)


def _check_readable(source: HttpSource, count: int) -> None:
    """Refuse shards that strangers cannot read, if one of the first so many is such.

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
                "a shard that strangers cannot read",
                path=f"storage.shards[{number}]",
                expected="an answer without credentials",
                actual=f"HTTP {error.status}",
                hint="Let everybody read the bucket, copy the shards with data_store=, or pass allow_private=True.",
            ) from error

    with ThreadPoolExecutor(_AT_ONCE, "atdata-look") as pool:
        list(pool.map(look, enumerate(source.shards[:count])))
