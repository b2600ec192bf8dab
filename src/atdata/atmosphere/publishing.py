"""The publishing protocol: one dataset, published once, whatever happens on the way (promises.md).

Everything is decided and computed on this machine first: the keys of the records, the CIDs of the shards. Then a
journal is written, then each step is taken in an order in which nothing ever names what is not there: blobs, entry,
label. A run that was killed is repeated, finds its journal, and goes on where the other stopped. Without the journal
it finds what is already in the repository.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.manifests import manifest_facts
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import RecordKey, Tid
from atdata.errors import ConflictError, LimitError, XrpcError
from atdata.index import NamedRecords
from atdata.progress import progress
from atdata.protocols import DataSource
from atdata.records import Blob, BlobStorage, Entry, Label, ShardManifest, Size, check_outgoing
from atdata.records.manifests import JSON, PARQUET
from atdata.records.public import check_public
from atdata.records.record import now
from atdata.records.storage import TAR, listed
from atdata.shards import ShardRef
from atdata.shards.writer import atomic_file, disk_errors, write_all


def blob_facts(shards: Sequence[ShardRef]) -> dict[str, Any]:
    """Storage and size of an entry whose shards, cut on this machine, become blobs."""
    blobs = tuple(Blob(shard.digest.cid, size=shard.size) for shard in shards if shard.digest)
    samples = sum(shard.samples or 0 for shard in shards)
    size = Size(samples, sum(shard.size or 0 for shard in shards), len(shards))
    return {"storage": BlobStorage(blobs), "size": size}


@dataclass
class Journal:
    """What a publication has decided and done, on disk before it matters.

    Attributes:
        entry: record key of the entry.
        label: record key of the label.
        created_at: of both.
        uploaded: blobs the server has taken, by CID.
    """

    path: Path
    entry: str = field(default_factory=Tid.now)
    label: str = field(default_factory=Tid.now)
    created_at: str = field(default_factory=now)
    uploaded: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Generator[Journal]:
        """The journal of one publication, held by one process at a time; removed when it ends well."""
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            journal = cls(path, **json.loads(path.read_text("utf-8"))) if path.exists() else cls(path)
            journal.write()
            yield journal
            path.unlink()

    def write(self) -> None:
        """Put the present state on disk, safely."""
        state = {name: value for name, value in vars(self).items() if name != "path"}
        with atomic_file(self.path) as file:
            write_all(file, json.dumps(state).encode(), self.path)

    def blob(self, cid: Cid) -> Blob | None:
        """A blob the server has taken."""
        kept = self.uploaded.get(str(cid))
        return None if kept is None else Blob(cid, kept["mimeType"], kept["size"])

    def took(self, blob: Blob) -> None:
        """Remember a blob the server has taken."""
        self.uploaded[str(blob.cid)] = {"mimeType": blob.mime_type, "size": blob.size}
        self.write()


def publish(
    client: AtmosphereClient,
    planned: Entry,
    *,
    uploads: Sequence[ShardRef] = (),
    files: Sequence[DataSource] = (),
    manifests: bool | None = None,
    version: str | None = None,
    rkey: str | None = None,
) -> Entry:
    """Publish a dataset, or find that it is published: one entry, one label, nothing twice.

    Equal are entries with equal name, schema and shards; the first one stands, with its description and metadata.

    Args:
        client: logged in.
        planned: the entry; its schema is published.
        uploads: shards on this machine that become the blobs in its storage, in the same order.
        files: of the manifests of its shards, on this machine, in the same order; they become blobs too.
        manifests: `True` insists that the entry lists them; otherwise it does if they fit into the record.
        version: of the label; `None` for one without.
        rkey: a record key for the entry that the caller chose.

    Raises:
        ConflictError: the version of the name, or the record key, stands for another dataset.
        LimitError: too large for a record; nothing was sent.
        UsageError: it would publish what must not be public; nothing was sent.
        NetworkError: the server cannot be reached; the same call goes on from there.
    """
    check_public(planned, allow_loopback=client.settings.allow_loopback)
    planned = fitting(replace(planned, **manifest_facts(files)), manifests)
    own = client.read_all(None, Entry)
    named = NamedRecords.among(client.read_all(None, Label), planned.name)
    labels = named.records
    if version is not None:
        named.of_version(version)  # an error, where what may stand for it cannot be read
    known = next((entry for entry in own if _same_dataset(entry, planned)), None)
    _check_version(planned.name, version, labels, known)
    with Journal.open(_journal_path(client, planned, version, rkey)) as journal:
        if known is None:
            entry = replace(planned, created_at=journal.created_at)
            upload = _Upload(client, entry, uploads, files if entry.manifests else (), journal, strict=bool(manifests))
            known = _create_entry(upload, RecordKey(rkey or journal.entry), _referenced(own))
        if not any(label.version == version and label.dataset_uri == known.located for label in labels):
            label = Label(name=planned.name, dataset_uri=known.located, version=version, created_at=journal.created_at)
            client.create(label, RecordKey(journal.label), lambda found: found.dataset_uri == label.dataset_uri)
    return client.read(known.located, Entry)


def add_label(client: AtmosphereClient, entry: Entry, name: str, version: str | None) -> None:
    """Give a published entry one more name or version; one that it has already is no second one.

    Raises:
        ConflictError: the version stands for another dataset.
    """
    labels = [label for label in client.read_all(None, Label) if label.name == name]
    _check_version(name, version, labels, entry)
    if not any(label.version == version and label.dataset_uri == entry.located for label in labels):
        label = Label(name=name, dataset_uri=entry.located, version=version)
        client.create(label, Tid.now(), lambda found: found.dataset_uri == label.dataset_uri)


def _create_entry(upload: _Upload, rkey: RecordKey, had: Mapping[Cid, Blob]) -> Entry:
    def create(had: Mapping[Cid, Blob]) -> Entry:
        stored = upload(had)
        return upload.client.create(stored, rkey, lambda found: _same_dataset(found, stored))

    try:
        return create(had)
    except XrpcError as error:
        if error.error != "BlobNotFound":
            raise
    # The server dropped a blob since it was uploaded: no record had named it yet.
    upload.journal.uploaded.clear()
    upload.journal.write()
    return create({})


@dataclass
class _Upload:
    """Uploads what an entry names and the server does not have, so that a kill costs at most one blob."""

    client: AtmosphereClient
    entry: Entry
    shards: Sequence[ShardRef]
    files: Sequence[DataSource]
    journal: Journal
    strict: bool

    def __call__(self, had: Mapping[Cid, Blob]) -> Entry:
        """The entry with its blobs as the server calls them."""
        if not self.shards and not self.files:
            return self.entry
        store, count = PDSBlobStore(self.client), max(len(self.shards), len(self.files))
        every = [*self.shards, *(file for pair in self.files for file in pair.shards)]

        def put(file: ShardRef, kind: str, title: str) -> Blob:
            cid = Cid.parse(store.address(file).cid)
            blob = had.get(cid) or self.journal.blob(cid)
            if blob is None:
                blob = store.upload(file, kind, bars, title)
                self.journal.took(blob)
            else:
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


def _referenced(entries: Sequence[Entry]) -> dict[Cid, Blob]:
    """The blobs that entries of the account name: its server has them."""
    stored = [blob for entry in entries if isinstance(entry.storage, BlobStorage) for blob in entry.storage.blobs]
    pinned = [blob for entry in entries for item in entry.manifests for blob in (item.header, item.samples)]
    return {blob.cid: blob for blob in [*stored, *pinned] if blob is not None and blob.size}


def _same_dataset(one: Entry, other: Entry) -> bool:
    same_names = (one.name, one.schema_ref) == (other.name, other.schema_ref)
    return same_names and one.identity(_NO_SCHEMA) == other.identity(_NO_SCHEMA)


_NO_SCHEMA = Cid.of_cbor(b"\xa0")


def _check_version(name: str, version: str | None, labels: Sequence[Label], known: Entry | None) -> None:
    """A published version stands for one dataset, for ever; better to know before anything is uploaded."""
    for label in labels:
        if version is not None and label.version == version and (known is None or label.dataset_uri != known.located):
            raise ConflictError(
                f"{name}@{version} already stands for another dataset",
                uri=label.uri,
                expected=label.dataset_uri,
                actual="other shards, or another schema",
                hint="Publish it under a new version.",
            )


def fitting(entry: Entry, manifests: bool | None = None) -> Entry:
    """The entry, without its manifests where nobody insists on them and they do not fit.

    Raises:
        LimitError: it is too large for a record; says, before anything is sent, how many shards fit.
    """
    try:
        check_outgoing(entry)
        return entry
    except LimitError as error:
        if entry.manifests and not manifests:
            return fitting(replace(entry, manifests=()), manifests)
        shards, most = len(listed(entry.storage)), 0
        high = shards
        while most < high:
            middle = (most + high + 1) // 2
            try:
                check_outgoing(entry.first(middle))
                most = middle
            except LimitError:
                high = middle - 1
        if not most:
            raise
        listing = " with their manifests" if entry.manifests else ""
        raise LimitError(
            f"a dataset with more shards{listing} than one record can list",
            uri=entry.name,
            expected=f"at most {most} shards",
            actual=f"{shards} shards",
            hint=f"Write larger shards: {most} or fewer" + ("; or publish no manifests." if listing else "."),
        ) from error


def _journal_path(client: AtmosphereClient, entry: Entry, version: str | None, rkey: str | None) -> Path:
    content = [client.did, entry.name, version, rkey, str(entry.schema_ref), str(entry.identity(_NO_SCHEMA))]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]
    return client.settings.data / "publications" / f"{key}.json"


JOURNAL = re.compile(r"[0-9a-f]{40}\.json")
"""What journals are called."""
