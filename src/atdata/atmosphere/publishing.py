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
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import RecordKey, Tid
from atdata.errors import ConflictError, LimitError, XrpcError
from atdata.progress import progress
from atdata.records import Blob, BlobStorage, Entry, Label, Size, check_outgoing
from atdata.records.public import check_public
from atdata.records.record import now
from atdata.records.storage import first_listed, listed
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
    version: str | None = None,
    rkey: str | None = None,
) -> Entry:
    """Publish a dataset, or find that it is published: one entry, one label, nothing twice.

    Equal are entries with equal name, schema and shards; the first one stands, with its description and metadata.

    Args:
        client: logged in.
        planned: the entry; its schema is published.
        uploads: shards on this machine that become the blobs in its storage, in the same order.
        version: of the label; `None` for one without.
        rkey: a record key for the entry that the caller chose.

    Raises:
        ConflictError: the version of the name, or the record key, stands for another dataset.
        LimitError: too large for a record; nothing was sent.
        UsageError: it would publish what must not be public; nothing was sent.
        NetworkError: the server cannot be reached; the same call goes on from there.
    """
    check_public(planned, allow_loopback=client.settings.allow_loopback)
    _check_size(planned)
    own = client.read_all(None, Entry)
    labels = [label for label in client.read_all(None, Label) if label.name == planned.name]
    known = next((entry for entry in own if _same_dataset(entry, planned)), None)
    _check_version(planned.name, version, labels, known)
    with Journal.open(_journal_path(client, planned, version, rkey)) as journal:
        if known is None:
            entry = replace(planned, created_at=journal.created_at)
            known = _create_entry(client, entry, uploads, RecordKey(rkey or journal.entry), journal, _referenced(own))
        if not any(label.version == version and label.dataset_uri == known.located for label in labels):
            label = Label(name=planned.name, dataset_uri=known.located, version=version, created_at=journal.created_at)
            client.create(label, RecordKey(journal.label), lambda found: found.dataset_uri == label.dataset_uri)
    return client.read(known.located, Entry)


def _create_entry(
    client: AtmosphereClient,
    entry: Entry,
    uploads: Sequence[ShardRef],
    rkey: RecordKey,
    journal: Journal,
    had: Mapping[Cid, Blob],
) -> Entry:
    def create(had: Mapping[Cid, Blob]) -> Entry:
        stored = replace(entry, storage=_upload(client, uploads, entry.name, journal, had)) if uploads else entry
        return client.create(stored, rkey, lambda found: _same_dataset(found, stored))

    try:
        return create(had)
    except XrpcError as error:
        if error.error != "BlobNotFound":
            raise
    # The server dropped a blob since it was uploaded: no record had named it yet.
    journal.uploaded.clear()
    journal.write()
    return create({})


def _upload(
    client: AtmosphereClient, shards: Sequence[ShardRef], name: str, journal: Journal, had: Mapping[Cid, Blob]
) -> BlobStorage:
    """Upload what the server does not have, one blob after the other, so that a kill costs at most one."""
    store = PDSBlobStore(client)
    blobs: list[Blob] = []
    with progress(f"Publishing {name}", sum(shard.size or 0 for shard in shards)) as bars:
        for number, shard in enumerate(shards, 1):
            title, cid = f"shard {number} of {len(shards)}", Cid.parse(store.address(shard).cid)
            blob = had.get(cid) or journal.blob(cid)
            if blob is None:
                blob = store.upload(shard, bars, title)
                journal.took(blob)
            else:
                bars.begin(title, shard.size or 0)
                bars.advance(shard.size or 0)
            blobs.append(blob)
    return BlobStorage(tuple(blobs))


def _referenced(entries: Sequence[Entry]) -> dict[Cid, Blob]:
    """The blobs that entries of the account name: its server has them."""
    stored = [entry.storage for entry in entries]
    return {
        blob.cid: blob for storage in stored if isinstance(storage, BlobStorage) for blob in storage.blobs if blob.size
    }


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


def _check_size(entry: Entry) -> None:
    """Say, before anything is sent, how many shards fit into a record."""
    try:
        check_outgoing(entry)
    except LimitError as error:
        shards, most = len(listed(entry.storage)), 0
        high = shards
        while most < high:
            middle = (most + high + 1) // 2
            try:
                check_outgoing(replace(entry, storage=first_listed(entry.storage, middle)))
                most = middle
            except LimitError:
                high = middle - 1
        if not most:
            raise
        raise LimitError(
            "a dataset with more shards than one record can list",
            uri=entry.name,
            expected=f"at most {most} shards",
            actual=f"{shards} shards",
            hint=f"Write larger shards: {most} or fewer.",
        ) from error


def _journal_path(client: AtmosphereClient, entry: Entry, version: str | None, rkey: str | None) -> Path:
    content = [client.did, entry.name, version, rkey, str(entry.schema_ref), str(entry.identity(_NO_SCHEMA))]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]
    return client.settings.data / "publications" / f"{key}.json"
