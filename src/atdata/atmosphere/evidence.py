"""Evidence from the network: gathered, verified, and compared with what was seen before."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from atdata.atproto.cid import Cid
from atdata.atproto.fetch import (
    fetch_active,
    fetch_blocks,
    fetch_identity,
    fetch_record,
    fetch_view,
    resolve_handle,
)
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.mst import Leaf
from atdata.atproto.repo.proof import ProvenCommit, prove_commit
from atdata.atproto.repo.view import RepositoryView
from atdata.atproto.syntax import AtUri, Did, Handle, Nsid, Tid, typed_identifier
from atdata.atproto.verify import Evidence, VerifiedIdentity, VerifiedRecord, verify_identity, verify_record
from atdata.errors import IdentityError, LexiconError, NetworkError, NotFoundError, RollbackError, UsageError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.json_reader import read_json
from atdata.records import Entry, Label, LensRecord, LensVerification, Listing, Malformed, Record, Schema, parse_record
from atdata.records.address import AUTHORITY
from atdata.records.nsids import collections
from atdata.settings import Settings
from atdata.transport import Transport

R = TypeVar("R", bound=Record)

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
    """

    def __init__(self, settings: Settings, trusted_origins: Iterable[str] = ()) -> None:
        self.settings = settings
        self.transport = Transport.of(settings).trusting(settings.plc_url, *settings.resolver_urls, *trusted_origins)
        self._seen_commits = SeenCommits(settings.cache)
        self._identities: dict[Did | Handle, tuple[float, VerifiedIdentity]] = {}

    def identity(self, who: str) -> VerifiedIdentity:
        """The account of a DID or handle; for a handle, one that is proven to belong together.

        Raises:
            IdentityError: there is none, or handle, DID, document and log disagree.
        """
        name = typed_identifier(who)
        name = name.normalized if isinstance(name, Handle) else name
        since, known = self._identities.get(name, (0.0, None))
        if known is None or time.monotonic() - since > IDENTITY_SECONDS:
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

    def collection(self, who: str, collection: Nsid, kind: type[R], limit: int | None = None) -> Listing[R]:
        """The records of a collection, newest key first, proven complete as far as they go.

        What is malformed is passed over, and kept in `malformed`.

        Raises:
            VerificationError: a link broke; `step` names it.
            NetworkError: the account's server cannot be reached.
        """
        identity = self.identity(who)
        view = RepositoryView((collection,), with_records=limit is None)
        proven = self.follow(identity, view)
        left, listing = list(reversed(view.leaves)), Listing[R]()
        while left and (limit is None or len(listing) < limit):
            part = left[: None if limit is None else limit - len(listing)]
            del left[: len(part)]
            lacking = [cid for _, cid in part if cid not in view.blocks and cid.codec == "dag-cbor"]
            brought = self.transport.run(fetch_blocks(identity, lacking))
            if brought is None:
                raise NetworkError("a repository changed while it was read", uri=identity.did, hint="Try again.")
            blocks = {**view.blocks, **brought}
            for leaf in part:
                listing.add(_listed(identity, proven, leaf, blocks, kind))
        return listing

    def check_active(self, identity: VerifiedIdentity) -> None:
        """Refuse an account that is deactivated, suspended or taken down, by the word of its server.

        Raises:
            NotFoundError: it is, or the server has no such account.
            NetworkError: the server does not say.
        """
        if not self.transport.run(fetch_active(identity)):
            raise NotFoundError("an account is not active", uri=AtUri.of(identity.did), actual="its server says so")

    def follow(self, identity: VerifiedIdentity, view: RepositoryView, *, remember: bool = True) -> ProvenCommit:
        """Bring a view of an account's repository to the newest commit.

        Args:
            identity: the account.
            view: of its repository.
            remember: the commit, on disk, for later; where `False` it is for the caller to do (`remember`), once done.

        Raises:
            VerificationError: a link broke; `step` names it.
            NetworkError: the account's server cannot be reached, or the repository changes too fast.
        """
        before = self._seen_commits.seen(identity.did)
        if view.proven is not None and (before is None or view.proven.commit.rev > before.rev):
            before = Seen(view.proven.commit.rev, str(view.proven.cid))
        proven = self.transport.run(fetch_view(identity, view))
        self._seen_commits.check(identity.did, proven.commit, before)
        if remember and (before is None or proven.commit.rev > before.rev):
            self._seen_commits.remember(identity.did, proven.commit)
        return proven

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
        """Every record of a kind that an account has, in the collections of all eras, today's first.

        What is malformed is passed over, and kept in `malformed`.
        """
        found = Listing[R]()
        for collection in collections(kind.NSID):
            left = None if limit is None else limit - len(found)
            if left != 0:
                found.join(self.collection(who, collection, kind, left))
        return found

    def malformed(self, who: str) -> list[Malformed]:
        """The malformed records of an account, of any kind.

        Raises:
            VerificationError, NetworkError: as `collection`.
        """
        kinds: tuple[type[Record], ...] = (Schema, Entry, Label, LensRecord, LensVerification)
        return [passed for kind in kinds for passed in self.read_all(who, kind).malformed]


@lru_cache(maxsize=32)
def reader_of(settings: Settings, trusted_origins: frozenset[str] = frozenset()) -> EvidenceReader:
    """The process's reader for some settings, so that sources made of plain data share what it knows."""
    return EvidenceReader(settings, trusted_origins)


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


def _listed(
    identity: VerifiedIdentity, proven: ProvenCommit, leaf: Leaf, blocks: Mapping[Cid, bytes], kind: type[R]
) -> R | Malformed:
    """One of a collection's records, with evidence of its own: commit, path and record, and no more."""
    block = blocks.get(leaf.value)
    record = parse_record(kind, identity.did, leaf.key, leaf.value, block)
    if isinstance(record, Malformed) or block is None:
        return record
    path = mst.proof_path(proven.commit.data, leaf.key, blocks)
    shown = {cid: blocks[cid] for cid in (proven.cid, *path)} | {leaf.value: block}
    evidence = Evidence(record.located, identity.evidence, write_car([proven.cid], shown))
    return record.at(record.located, leaf.value, evidence)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock of a file of the cache, whoever else, in this process or another, wants it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
