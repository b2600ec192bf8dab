"""The publishing protocol: one dataset, published once, whatever happens on the way (promises.md).

Blobs are uploaded first: until a record names them nobody sees them. Then schema, entry and labels are written in one
request, on the state of the repository that it was decided on (`atdata.atmosphere.repository`): all of them are there, or
none, and what somebody else published meanwhile is found. A run that was killed is repeated: the repository says what
stands, and a journal which blobs the server took.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from atdata.atmosphere.blobs import PDSBlobStore, check_taken
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.manifests import attached_manifests, manifest_facts
from atdata.atmosphere.repository import Repository, State, request_of
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import RecordKey, Tid
from atdata.errors import DataModelError, LimitError, XrpcError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.index import UPDATE, Named, label_in
from atdata.index.appending import Sending, StoredShards
from atdata.index.deciding import Decision, Write
from atdata.index.publication import Publication
from atdata.index.storage import StoragePlan
from atdata.json_reader import read_json
from atdata.progress import progress
from atdata.records import Blob, BlobStorage, Entry, Schema, ShardManifest, Size, check_outgoing
from atdata.records.facts import warn_of_not_taken
from atdata.records.manifests import JSON, PARQUET
from atdata.records.public import check_public
from atdata.records.record import now
from atdata.records.storage import TAR
from atdata.replica import blobs_of
from atdata.shards import ShardRef
from atdata.shards.ports import DataSource


class _Kept(msgspec.Struct):
    created_at: str = msgspec.field(default_factory=now)
    schema_key: str = msgspec.field(default_factory=lambda: str(Tid.now()))
    uploaded: dict[str, tuple[str, int]] = msgspec.field(default_factory=dict)


@dataclass
class Journal:
    """The notes of a publication that may be killed, on disk before they matter. They save uploads and decide nothing.

    Attributes:
        path: its file.
        kept: when the schema was made, which manifests name by its CID; the record key of a schema whose name and
            version make none; and type and size of the blobs that the server has taken, by CID.
    """

    path: Path
    kept: _Kept = field(default_factory=_Kept)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Generator[Self]:
        """The journal of one publication, held by one process of a machine at a time; removed when it ends well."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            journal = cls(path)
            with suppress(OSError, DataModelError):  # none, or not one of ours
                journal.kept = read_json(path.read_bytes(), _Kept)
            journal.write()
            yield journal
            path.unlink()

    def write(self) -> None:
        """Put the present state on disk, safely."""
        with atomic_file(self.path) as file:
            write_all(file, msgspec.json.encode(self.kept), self.path)

    def blob(self, cid: Cid) -> Blob | None:
        """A blob the server has taken."""
        kept = self.kept.uploaded.get(str(cid))
        return None if kept is None else Blob(cid, *kept)

    def took(self, blob: Blob) -> None:
        """Remember a blob the server has taken."""
        self.kept.uploaded[str(blob.cid)] = (blob.mime_type, blob.size or 0)
        self.write()

    def forget_uploads(self) -> None:
        """Remember no blob: the server has dropped some since."""
        self.kept.uploaded.clear()
        self.write()


@dataclass(frozen=True)
class Packed:
    """A dataset as it is to be published.

    Attributes:
        plan: its storage.
        manifests: finds those of its shards, as files of this machine, in order.
        blobs: shards on this machine that become the blobs of its storage, in the same order.
    """

    plan: StoragePlan
    manifests: Callable[[], Sequence[DataSource]] = tuple
    blobs: Sequence[ShardRef] = ()

    @classmethod
    def of_blobs(
        cls, shards: Sequence[ShardRef], limit: int, manifests: bool | None, layout: Mapping[str, str]
    ) -> Self:
        """Shards on this machine that become blobs, with the manifests that they carry; see `attached_manifests`."""
        storage = BlobStorage(tuple(Blob(shard.digest.cid, size=shard.size) for shard in shards if shard.digest))
        return cls(
            StoragePlan(shards, storage, Size.of(shards), layout=layout),
            lambda: attached_manifests(shards, limit, manifests),
            shards,
        )


def publish(
    client: AtmosphereClient,
    publication: Publication,
    pack: Callable[[Schema], Packed],
    *,
    schema: Schema,
    choose: Callable[[Named[Schema]], Schema] | None = None,
    labels: Sequence[tuple[str, str | None]] = (),
) -> Entry:
    """Publish a dataset, or find that it is published: one schema, one entry, one label, nothing twice.

    Equal are entries with equal name, schema and shards; the first one stands, with its description and metadata: where
    other facts are said now, a `NotTakenWarning` names them.

    Args:
        client: logged in.
        publication: what is said of the dataset.
        pack: makes the dataset ready for a schema, which its manifests name; called again if somebody publishes another
            record of that schema meanwhile.
        schema: the schema: a record that is published, or, with `choose`, a draft.
        choose: finds the schema among those of the draft's name, or gives the draft, under the version it would have.
        labels: names and versions to find it by; those of the publication by default.

    Raises:
        ConflictError: the version of the name, or the record key, stands for another dataset; nothing was sent.
        LimitError: too large for a record; nothing was sent.
        UsageError: it would publish what must not be public; nothing was sent.
        ContentionError: others wrote to the account faster, for a minute; no record was written.
        NetworkError: the server cannot be reached; the same call goes on from there.
    """
    repository = client.records.repository()
    labels = labels or [(publication.name, publication.version)]
    with Journal.open(_journal_path(client, schema, labels, publication.rkey)) as journal:
        plan = _Plan(client, schema, choose, labels, publication.rkey, journal)
        found: Entry | Schema = plan.schema_in(repository.read())
        while isinstance(found, Schema):
            found = _send(plan, repository, found, pack(found), publication)
    stands = client.read(found.located, Entry)
    warn_of_not_taken(stands, publication.facts.said, UPDATE)
    return stands


def _send(
    plan: _Plan, repository: Repository, schema: Schema, packed: Packed, publication: Publication
) -> Entry | Schema:
    """Upload what is not in place, and write the records; or the schema to pack for, where that was not the right one."""
    client, state = plan.client, repository.read()
    entry = publication.entry(schema, packed.plan.storage, packed.plan.size, packed.plan.layout)
    check_public(entry, client.settings)

    def check(entry: Entry) -> None:
        request_of(client.did, plan.decide(state, schema, entry).writes, settings=client.settings)

    entry = fitting(entry, check=check)
    if not _has_entry(plan.decide(state, schema, entry)):
        return repository.transact(lambda now: plan.label(now, schema, entry), client.settings)
    files = packed.manifests()
    entry = fitting(replace(entry, **manifest_facts(files)), publication.manifests, check)
    packed.plan.upload()
    strict = bool(publication.manifests)
    upload = _Upload(client, entry, packed.blobs, files if entry.manifests else (), plan.journal, strict)

    def write(stored: Entry) -> Entry | Schema:
        return repository.transact(lambda now: plan.decide(now, schema, stored), client.settings)

    try:
        return write(upload(state))
    except XrpcError as error:
        if error.error != "BlobNotFound":
            raise
    # The server dropped a blob since it was uploaded: no record had named it yet, or none did any more.
    plan.journal.forget_uploads()
    return write(upload(None))


@contextmanager
def sending(client: AtmosphereClient, publication: Publication, schema: Schema, packed: Packed) -> Generator[Sending]:
    """The shards of a dataset that are about to be stored, for an entry that will list others too.

    The journal of their upload is kept until all is written, so that a run that was killed sends one blob again at most.
    """
    files = packed.manifests()
    entry = replace(
        publication.entry(schema, packed.plan.storage, packed.plan.size, packed.plan.layout), **manifest_facts(files)
    )
    labels = [("append", publication.name), *((shard, None) for shard in entry.shard_keys)]
    with Journal.open(_journal_path(client, schema, labels, None)) as journal:
        upload = _Upload(client, entry, packed.blobs, files, journal, bool(publication.manifests))

        def send(again: bool) -> StoredShards:
            if again:  # the server dropped a blob since it was uploaded: no record had named it yet
                journal.forget_uploads()
            packed.plan.upload()
            stored = upload(None if again else client.records.state([Entry]))
            return StoredShards(packed.plan.shards, stored.storage, stored.manifests, packed.plan.layout)

        yield Sending(StoredShards(packed.plan.shards, entry.storage, entry.manifests, packed.plan.layout), send)


def _has_entry(decision: Decision[Any]) -> bool:
    """True if an entry would be written."""
    return any(write.uri.collection == Entry.NSID for write in decision.writes)


@dataclass(frozen=True)
class _Plan:
    """The goal of a publication; from any state of the repository it gives the writes that are left."""

    client: AtmosphereClient
    schema: Schema
    choose: Callable[[Named[Schema]], Schema] | None
    labels: Sequence[tuple[str, str | None]]
    rkey: str | None
    journal: Journal

    def schema_in(self, state: State) -> Schema:
        """The schema that stands, or as it will."""
        if self.choose is None:
            return self.schema
        chosen = self.choose(state.named(Schema, self.schema.name))
        if chosen.uri is not None:
            return chosen
        key = chosen.rkey if ":" in chosen.rkey else RecordKey(self.journal.kept.schema_key)
        return state.place(replace(chosen, created_at=self.journal.kept.created_at), key)

    def decide(self, state: State, packed_for: Schema, planned: Entry) -> Decision[Entry | Schema]:
        """The writes that are left; or the schema to pack for, where the manifests name another one than stands."""
        schema = self.schema_in(state)
        entry = replace(planned, schema_ref=schema.located)
        known = state.named(Entry, entry.name).of_content(entry.index_keys.content)
        stands = known or state.place(entry, Tid.now() if self.rkey is None else RecordKey(self.rkey))
        labels = [write for label in self.labels for write in label_in(state, stands, *label).writes]
        if known is not None:
            return Decision(known, labels)
        if entry.manifests and (schema.uri, schema.cid) != (packed_for.uri, packed_for.cid):
            return Decision(schema)
        new = [schema] if self.choose is not None and not state.holds(schema) else []
        return Decision(stands, [*map(Write.create, [*new, stands]), *labels])

    def label(self, state: State, packed_for: Schema, planned: Entry) -> Decision[Entry | Schema]:
        """The same of an entry that stands already; the schema to pack for, where it is gone by now."""
        decision = self.decide(state, packed_for, planned)
        return Decision(packed_for) if _has_entry(decision) else decision


@dataclass
class _Upload:
    """Uploads what an entry names and the server does not have, so that a kill costs at most one blob."""

    client: AtmosphereClient
    entry: Entry
    shards: Sequence[ShardRef]
    files: Sequence[DataSource]
    journal: Journal
    strict: bool

    def __call__(self, state: State | None) -> Entry:
        """The entry with its blobs as the server calls them; of those that its entries name in a state, none is sent."""
        if not self.shards and not self.files:
            return self.entry
        store, count = PDSBlobStore(self.client), max(len(self.shards), len(self.files))
        every = [*self.shards, *(file for pair in self.files for file in pair.shards)]
        had = {} if state is None else _referenced(state, [Cid.parse(store.address(file).cid) for file in every])

        def put(file: ShardRef, kind: str, title: str) -> Blob:
            cid = Cid.parse(store.address(file).cid)
            blob, insist = had.get(cid) or self.journal.blob(cid), self.strict or kind == TAR
            if blob is None:
                blob = store.send(file, kind, bars, title, insist=insist)
                self.journal.took(blob)
            else:
                blob = check_taken(blob, kind, file.url) if insist else blob
                bars.begin(title, file.size or 0)
                bars.advance(file.size or 0)
            return blob

        blobs: list[Blob] = []
        manifests: list[ShardManifest] = []
        with progress(f"Publishing {self.entry.name}", sum(file.size or 0 for file in every)) as bars:
            for number in range(count):
                title = f"shard {number + 1} of {count}"
                if self.shards:
                    blobs.append(put(self.shards[number], TAR, title))
                if self.files:
                    header, rows = self.files[number].shards
                    manifests.append(
                        ShardManifest(
                            put(header, JSON, f"manifest of {title}"), put(rows, PARQUET, f"manifest of {title}")
                        )
                    )
        storage = BlobStorage(tuple(blobs)) if blobs else self.entry.storage
        return replace(self.entry, storage=storage, manifests=self._as_taken(manifests))

    def _as_taken(self, manifests: Sequence[ShardManifest]) -> tuple[ShardManifest, ...]:
        """Manifests as the lexicon allows them: some servers find out that rows are Parquet, and call them so."""
        if self.strict or all(item.samples and item.samples.mime_type == PARQUET for item in manifests):
            return tuple(manifests)
        if all(item.header.mime_type == JSON for item in manifests):
            return tuple(ShardManifest(item.header) for item in manifests)
        return ()


def _referenced(state: State, cids: Iterable[Cid]) -> dict[Cid, Blob]:
    """Blobs that entries of the account name, of some: its server has them."""
    named = (blob for entry in state.naming_blobs(cids) for blob in blobs_of(entry))
    return {blob.cid: blob for blob in named if blob.size}


def fitting(entry: Entry, manifests: bool | None = None, check: Callable[[Entry], object] = check_outgoing) -> Entry:
    """The entry, without its manifests where nobody insists on them and they do not fit.

    Args:
        entry: about to be written.
        manifests: `True` insists.
        check: raises `LimitError` for an entry that is too large, with all that is written together with it.

    Raises:
        LimitError: it is too large for a record; says, before anything is sent, how many shards fit.
    """
    try:
        check(entry)
        return entry
    except LimitError as error:
        if entry.manifests and not manifests:
            return fitting(replace(entry, manifests=()), manifests, check)
        shards, most = len(entry.storage.listed), 0
        high = shards
        while most < high:
            middle = (most + high + 1) // 2
            try:
                check(entry.first(middle))
                most = middle
            except LimitError:
                high = middle - 1
        if not most:
            raise
        listing = " with their manifests" if entry.manifests else ""
        raise LimitError(
            f"the dataset has more shards{listing} than one record can list",
            uri=entry.name,
            expected=f"at most {most} shards",
            actual=f"{shards} shards",
            hint=f"Write larger shards: {most} or fewer" + ("; or publish no manifests." if listing else "."),
        ) from error


def _journal_path(
    client: AtmosphereClient, schema: Schema, labels: Sequence[tuple[str, str | None]], rkey: str | None
) -> Path:
    content = [client.did, list(labels), rkey, schema.name, str(schema.index_keys.content)]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]
    return client.settings.data / "publications" / f"{key}.json"


JOURNAL = re.compile(r"[0-9a-f]{40}\.json")
"""The form of journals' names."""
