"""Evidence from the network: gathered, verified, and compared with what was seen before."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from atdata.atproto.fetch import (
    fetch_record,
    fetch_status,
    fetch_update,
)
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit, claimed_account, prove_commit, proven_keys
from atdata.atproto.resolve import fetch_identity, resolve_handle
from atdata.atproto.syntax import AtUri, Did, Handle, Nsid, RecordKey, Tid, typed_identifier
from atdata.atproto.verify import Evidence, VerifiedIdentity, VerifiedRecord, verify_identity, verify_record
from atdata.errors import (
    IdentityError,
    LexiconError,
    NetworkError,
    NotFoundError,
    RollbackError,
    UsageError,
)
from atdata.files import atomic_file, disk_errors, write_all
from atdata.index import NamedRecords
from atdata.json_reader import read_json
from atdata.records import Listing, Malformed, Record
from atdata.records.address import AUTHORITY
from atdata.records.nsids import collections
from atdata.replica import AccountReading, Reading, Replica, ReplicaCopy, StoredRecord, now, open_replica
from atdata.replica.mending import with_whole_copy
from atdata.replica.replica import REPOSITORIES
from atdata.replica.writing import Status
from atdata.settings import Settings
from atdata.transport import Transport

R = TypeVar("R", bound=Record)
T = TypeVar("T")

IDENTITY_SECONDS = 300.0
"""The time for which a verified identity is used again."""


@dataclass(frozen=True)
class Seen:
    """The newest state of a repository that was ever verified on this machine."""

    rev: Tid
    commit: str


@dataclass(frozen=True)
class SeenCommits:
    """Remembers, for each DID, the newest commit seen, so that no server can serve an older one unnoticed.

    Attributes:
        root: the cache folder.
    """

    root: Path

    def seen(self, did: Did) -> Seen | None:
        """The commit seen last; `None` for an account never seen."""
        try:
            kept = read_json(self._path(did).read_bytes())
            return Seen(Tid(kept["rev"]), str(kept["commit"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RollbackError(
                "the file of the newest commit seen cannot be read",
                step="rollback",
                uri=str(self._path(did)),
                actual=repr(error),
                hint="Remove the file if nobody tampered with it.",
            ) from error

    def accept(self, did: Did, commit: Commit, before: Seen | None) -> None:
        """Compare a verified commit with what had been seen before it was asked for, and remember the newer.

        Raises:
            RollbackError: it is older, or another commit of the same revision.
        """
        self.check(did, commit, before)
        if before is None or commit.rev > before.rev:
            self.remember(did, commit)

    def check(self, did: Did, commit: Commit, before: Seen | None) -> None:
        """Compare a verified commit with what had been seen before it was asked for.

        Raises:
            RollbackError: it is older, or another commit of the same revision.
        """
        cid = str(commit.cid)
        if before is not None and (commit.rev < before.rev or (commit.rev == before.rev and cid != before.commit)):
            raise RollbackError(
                "a server shows an older or other state of a repository than was seen before",
                step="rollback",
                uri=AtUri.of(did),
                expected=f"rev {before.rev}, commit {before.commit}, or newer",
                actual=f"rev {commit.rev}, commit {cid}",
                hint=f"If its owner restored a backup, remove {self._path(did)}.",
            )

    def remember(self, did: Did, commit: Commit) -> None:
        """Remember a verified commit, if it is the newest."""
        new = Seen(commit.rev, str(commit.cid))
        path = self._path(did)
        with disk_errors(path), locked(path.with_suffix(".lock")):
            known = self.seen(did)
            if known is None or new.rev > known.rev:
                data = json.dumps({"did": did, "rev": new.rev, "commit": new.commit}).encode()
                with atomic_file(path) as file:
                    write_all(file, data, path)

    def _path(self, did: Did) -> Path:
        # A DID is a stranger's text: hashed, it chooses no path.
        return self.root / "repos" / f"{hashlib.sha256(did.encode()).hexdigest()}.json"


class EvidenceReader:
    """Reads records of any account, from the account's own server, and returns only what passed verification.

    Args:
        settings: in force.
        trusted_origins: servers that the caller spelled out, besides those in the settings.
        replica: the copies of repositories; by default those in the cache folder.
    """

    def __init__(self, settings: Settings, trusted_origins: Iterable[str] = (), replica: Replica | None = None) -> None:
        self.settings, self._replica = settings, replica
        self.transport = Transport.of(settings).trusting(settings.plc_url, *settings.resolver_urls, *trusted_origins)
        self._seen_commits = SeenCommits(settings.cache)
        self._identities: dict[Did | Handle, tuple[float, VerifiedIdentity]] = {}

    def identity(self, who: str, *, fresh: bool = False) -> VerifiedIdentity:
        """The account of a DID or handle; for a handle, one that is proven to belong together.

        Args:
            who: the DID or handle.
            fresh: whether what was known before is to be asked anew.

        Raises:
            IdentityError: there is none, or handle, DID, document and log disagree.
        """
        name = typed_identifier(who)
        name = name.normalized if isinstance(name, Handle) else name
        since, known = self._identities.get(name, (0.0, None))
        if known is None or fresh or time.monotonic() - since > IDENTITY_SECONDS:
            known = self._fetch_identity(name) if isinstance(name, Did) else self._resolve(name)
            self._identities[name] = (time.monotonic(), known)
        return known

    def _fetch_identity(self, did: Did) -> VerifiedIdentity:
        return verify_identity(self.transport.run(fetch_identity(did, self.settings.plc_url)))

    def _resolve(self, handle: Handle) -> VerifiedIdentity:
        if handle == AUTHORITY:
            raise UsageError(
                "the address is that of a record of a local index, not of the network",
                actual=f"at://{handle}/...",
                hint="Use LocalIndex, or publish it first: promote_to_atmosphere(...).",
            )
        did, resolved_by = self.transport.run(resolve_handle(handle, self.settings.resolver_urls))
        _, known = self._identities.get(did, (0.0, None))
        if known is not None and handle not in [claimed.normalized for claimed in known.handles]:
            del self._identities[did]  # the account may have been renamed since it was looked at
        return self.identity(did).of_handle(handle, resolved_by)

    def shown_handle(self, did: Did) -> Handle | None:
        """The handle an account may be shown by: the first its document claims that leads back to it."""
        for claimed in self.identity(did).handles[:3]:
            try:
                found = self.identity(claimed)
            except (IdentityError, NetworkError):
                continue
            if found.did == did:
                return claimed
        return None

    def record(self, uri: AtUri) -> VerifiedRecord:
        """One record, with every link to it checked.

        Raises:
            VerificationError: a link broke; `step` names it.
            NotFoundError: there is no such record, and that is proven.
            NetworkError: the account's server cannot be reached.
        """
        identity = self.identity(uri.authority)
        collection, rkey = uri.collection, uri.rkey
        if collection is None or rkey is None:
            raise UsageError("the address names no record", actual=uri, expected="at://account/collection/key")
        before = self._seen_commits.seen(identity.did)
        car = self.transport.run(fetch_record(identity, collection, rkey))
        # Before the record: an old commit would also prove, truthfully, that a new record is absent.
        self._seen_commits.accept(identity.did, prove_commit(car, identity.did, identity.key).commit, before)
        return verify_record(Evidence(uri, identity.evidence, car), uri)

    def check_active(self, identity: VerifiedIdentity) -> None:
        """Refuse an account that is deactivated, suspended or taken down, by the word of its server.

        Raises:
            NotFoundError: it is, or the server has no such account.
            NetworkError: the server does not say.
        """
        if not self.transport.run(fetch_status(identity.pds, identity.did)).active:
            raise NotFoundError("an account is not active", uri=AtUri.of(identity.did), actual="its server says so")

    @cached_property
    def replica(self) -> Replica:
        """The copies of repositories."""
        return self._replica or open_replica(self.settings.cache)

    def follow(self, identity: VerifiedIdentity, *, remember: bool = True) -> ProvenCommit:
        """Bring the copy of an account's repository to the newest commit.

        Args:
            identity: the account.
            remember: the commit, on disk, for later; where `False` it is for the caller to do (`remember`), once done.

        Raises:
            VerificationError: a link broke; `step` names it.
            NetworkError: the account's server cannot be reached, or the repository changes too fast.
        """
        before = self._seen_commits.seen(identity.did)

        def check(proven: ProvenCommit) -> None:
            self._seen_commits.check(identity.did, proven.commit, before)

        def update() -> ProvenCommit:
            return self.transport.run(fetch_update(identity, ReplicaCopy(self.replica, identity.did, check=check)))

        try:
            proven = with_whole_copy(self.replica, identity.did, update)
        except NotFoundError:
            self._show(identity.did, self._is_active(identity))
            raise
        self._show(identity.did, True)
        if remember and (before is None or proven.commit.rev > before.rev):
            self._seen_commits.remember(identity.did, proven.commit)
        return proven

    def _is_active(self, identity: VerifiedIdentity) -> bool:
        with suppress(NotFoundError):
            return self.transport.run(fetch_status(identity.pds, identity.did)).active
        return False

    def _show(self, did: Did, active: bool) -> None:
        """Show what is held of an account, or hide it."""
        if self.replica.read(lambda reading: reading.account(did).is_shown()) != active:
            moment = now()
            status: Status = "active" if active else "deactivated"
            self.replica.write(lambda writing: writing.set_status(did, status, moment))

    def remember(self, proven: ProvenCommit) -> None:
        """Remember a commit that was verified, so that no older one is believed later."""
        self._seen_commits.remember(proven.commit.did, proven.commit)

    def read(self, uri: AtUri, kind: type[R]) -> R:
        """One record as what it is.

        Raises:
            LexiconError: it breaks its lexicon; the `step` is `lexicon`.
            VerificationError, NotFoundError, NetworkError: as `record`.
        """
        if uri.collection not in collections(kind.NSID):
            raise UsageError(f"the address names no {kind.NSID.name}", expected=kind.NSID, actual=uri.collection)
        return as_record(self.record(uri), kind)

    def read_all(self, who: str, kind: type[R], limit: int | None = None) -> Listing[R]:
        """Every record of a kind that an account has, in the collections of all eras: today's first, newest key first.

        What is malformed is passed over, and kept in `malformed`.

        Raises:
            VerificationError: a link broke; `step` names it.
            NetworkError: the account's server cannot be reached.
        """
        return self._ask(who, lambda copy: copy.all(kind.NSID, limit))

    def _ask(self, who: str, question: Callable[[AccountReading], list[StoredRecord]]) -> Listing[Any]:
        """Records from the copy of an account's repository, which is brought to its newest commit first, with evidence."""
        identity = self.identity(who)

        def work(reading: Reading) -> tuple[list[StoredRecord], Mapping[str, bytes]]:
            copy = reading.account(identity.did)
            rows = question(copy)
            return rows, copy.proofs([row.key for row in rows])

        def read() -> tuple[list[StoredRecord], Mapping[str, bytes]]:
            self.follow(identity)
            return self.replica.read(work)

        rows, cars = with_whole_copy(self.replica, identity.did, read)
        return parsed(rows, lambda row: Evidence(row.uri, identity.evidence, cars[row.key]))

    def named(self, who: str, kind: type[R], name: str) -> NamedRecords[R]:
        """The records of a kind that an account has under a name. Raises what `read_all` does."""
        return named(self._ask(who, lambda copy: copy.named(kind.NSID, name)))

    def targeting(self, kind: type[R], uri: AtUri) -> list[R]:
        """The records of a kind that are nothing without one of the same account. Raises what `read_all` does."""
        return self._ask(uri.authority, lambda copy: copy.targeting(kind.NSID, uri))

    def malformed(self, who: str) -> list[Malformed]:
        """The malformed records of an account, of any kind. Raises what `read_all` does."""
        return self._ask(who, lambda copy: copy.invalid()).malformed


def newest_seen(reader: EvidenceReader, did: Did) -> Tid | None:
    """The revision of the newest commit of an account that was ever verified on this machine; `None` for none."""
    seen, folder = SeenCommits(reader.settings.cache).seen(did), reader.settings.cache
    revs = [] if seen is None else [seen.rev]
    if (folder / REPOSITORIES).exists():
        head = reader.replica.read(lambda reading: reading.account(did).head())
        revs += [] if head is None else [head.rev]
    return max(revs, default=None)


@lru_cache(maxsize=32)
def reader_of(settings: Settings, trusted_origins: frozenset[str] = frozenset()) -> EvidenceReader:
    """The process's reader for some settings, so that sources made of plain data share what it knows."""
    return EvidenceReader(settings, trusted_origins)


def proved_by_file(reader: EvidenceReader, car: bytes) -> VerifiedRecord:
    """The record that a CAR file proves: it was in its account's repository, by the account's key of now.

    Args:
        reader: finds out who the account is, of which the file holds nothing.
        car: commit, path and record, as `com.atproto.sync.getRecord` serves them and the pages of an AppView give them.

    Raises:
        VerificationError: a link broke; `step` names it.
        UsageError: it is of several records, or of none.
        NetworkError: nobody says who the account is.
    """
    identity = reader.identity(claimed_account(car), fresh=True)
    if (handle := reader.shown_handle(identity.did)) is not None:
        identity = reader.identity(handle, fresh=True)
    keys = proven_keys(prove_commit(car, identity.did, identity.key))
    if len(keys) != 1:
        hint = "A file of com.atproto.sync.getRecord has one, of getRepo all."
        raise UsageError("a file is not the proof of one record", actual=f"{len(keys)} records", hint=hint)
    collection, _, rkey = keys[0].partition("/")
    uri = AtUri.of(identity.did, Nsid(collection), RecordKey(rkey))
    return verify_record(Evidence(uri, identity.evidence, car), uri)


def as_record(verified: VerifiedRecord, kind: type[R]) -> R:
    """A verified record as what it is, its place and evidence with it.

    Raises:
        LexiconError: it breaks its lexicon; the `step` is `lexicon`.
    """
    try:
        record = kind.from_record(verified.value, str(verified.uri.collection))
    except LexiconError as error:
        error.step, error.uri = "lexicon", str(verified.uri)
        raise
    return record.at(verified.uri, verified.cid, verified.evidence)


def parsed(
    rows: Iterable[StoredRecord], evidence: Callable[[StoredRecord], Evidence | None] = lambda _: None
) -> Listing[Any]:
    """Records of a copy as what they are, each with evidence of its own."""
    listing = Listing[Any]()
    for row in rows:
        record = row.parse()
        listing.add(record if isinstance(record, Malformed) else record.at(row.uri, row.cid, evidence(row)))
    return listing


def named(listing: Listing[R]) -> NamedRecords[R]:
    """The records of one name."""
    return NamedRecords(listing, listing.malformed)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock of a file of the cache, whoever else, in this process or another, wants it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
