"""The verifier: a verified record for evidence. Pure; where the evidence came from does not matter.

The chain, each link named in the `step` of the error when it breaks:

1. `handle`     a name server, or a resolver, says which DID the handle stands for; the DID document names it back
2. `did`        the DID document is that DID's, and agrees with a PLC log whose first operation hashes to the DID
                and whose every later one is signed by a key of the one before
3. `key`        the signing key in force when the evidence was gathered
4. `car`, `commit`, `signature`  every block hashes to its CID; that account's commit; signed by that key
5. `proof`      a Merkle path leads from the commit to the record, or proves that there is none
6. `record`     the record's CID, recomputed from its bytes

The links below it, the lexicon and the shards' digests, belong to who knows what the record means.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from atdata.atproto.cid import Cid
from atdata.atproto.formats import parse_datetime
from atdata.atproto.identity import DidDocument
from atdata.atproto.keys import PublicKey
from atdata.atproto.plc import PlcOperation, verify_audit_log
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import prove_record
from atdata.atproto.syntax import AtUri, Did, Handle, Nsid, RecordKey
from atdata.errors import DataModelError, IdentityError
from atdata.json_reader import read_json


@dataclass(frozen=True)
class IdentityEvidence:
    """The evidence about an account: what servers said.

    Attributes:
        did: whose.
        document: the DID document, parsed JSON.
        audit_log: the PLC directory's log, parsed JSON; `None` for `did:web`, whose document stands for itself.
        handle: the handle that was asked for, if one was.
        resolved_by: who said that the handle stands for the DID: `dns`, `well-known`, or a resolver's URL.
        seen_at: when.
    """

    did: Did
    document: Mapping[str, Any]
    audit_log: list[Any] | None
    seen_at: datetime
    handle: Handle | None = None
    resolved_by: str | None = None

    def to_value(self) -> dict[str, Any]:
        """A form to keep as JSON."""
        return {
            "did": self.did,
            "handle": self.handle,
            "resolvedBy": self.resolved_by,
            "seenAt": self.seen_at.isoformat(),
            "document": self.document,
            "auditLog": self.audit_log,
        }

    @classmethod
    def from_value(cls, kept: Any) -> IdentityEvidence:
        """Read the kept form. Nothing in it is believed before `verify_identity`.

        Raises:
            DataModelError: it is not that form.
        """
        with _kept_form("IdentityEvidence.to_value"):
            handle = None if kept["handle"] is None else Handle(kept["handle"])
            seen_at = parse_datetime(kept["seenAt"])
            return cls(Did(kept["did"]), kept["document"], kept["auditLog"], seen_at, handle, kept["resolvedBy"])


@dataclass(frozen=True)
class Link:
    """One link of the chain, for people to read."""

    step: str
    what: str
    value: str


@dataclass(frozen=True)
class VerifiedIdentity:
    """An account whose handle, DID, document and log agree.

    Attributes:
        did: the account.
        key: its signing key.
        pds: its server's URL, unguarded.
        handle: a handle that was resolved to the DID and that the document names back; never a mere claim.
        handles: what the document claims, primary first, unresolved.
        evidence: what it rests on.
        servers: the URLs of the servers that it is at or, as far as its log says, was at.
    """

    did: Did
    key: PublicKey
    pds: str
    handle: Handle | None
    handles: tuple[Handle, ...]
    evidence: IdentityEvidence
    servers: frozenset[str]

    def of_handle(self, handle: Handle, resolved_by: str | None) -> VerifiedIdentity:
        """The same account, known by a handle that was resolved to its DID.

        Raises:
            IdentityError: its document does not name the handle back.
        """
        if handle.normalized not in [claimed.normalized for claimed in self.handles]:
            raise IdentityError(
                "a handle is not named by its DID document",
                step="handle",
                uri=self.did,
                expected=f"at://{handle}",
                actual=", ".join(f"at://{claimed}" for claimed in self.handles) or "no handle",
                hint="Whoever controls the handle's domain does not control this account.",
            )
        evidence = replace(self.evidence, handle=handle, resolved_by=resolved_by)
        return replace(self, handle=handle, evidence=evidence)

    @property
    def links(self) -> list[Link]:
        """The links from handle to key."""
        links = []
        if self.handle:
            links.append(Link("handle", f"@{self.handle} is {self.did}", f"by {self.evidence.resolved_by}, named back"))
        log = self.evidence.audit_log
        source = "its own web server" if log is None else f"log of {len(log)}, every operation signed"
        return [*links, Link("did", str(self.did), source), Link("key", self.key.did_key, self.key.curve)]


@dataclass(frozen=True)
class VerifiedLabeler:
    """A labeler whose DID, document and log agree.

    Attributes:
        did: who it is: the `src` of its labels.
        key: the key of its labels.
        server: its server's URL, unguarded.
    """

    did: Did
    key: PublicKey
    server: str


@dataclass(frozen=True)
class Evidence:
    """Everything needed to check one record again, offline.

    Attributes:
        uri: the record, its authority a DID.
        identity: what is known of the account.
        car: commit, Merkle path and record, as `com.atproto.sync.getRecord` serves them.
    """

    uri: AtUri
    identity: IdentityEvidence
    car: bytes

    def verify(self) -> VerifiedRecord:
        """Check it (again). Raises what `verify_record` raises."""
        return verify_record(self, self.uri)

    def to_json(self) -> str:
        """A form to keep in a file."""
        car = base64.b64encode(self.car).decode("ascii")
        return json.dumps({"uri": self.uri, **self.identity.to_value(), "car": car}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Evidence:
        """Read the kept form, or the bytes of a file of it. Nothing in it is believed before `verify`.

        Raises:
            DataModelError: it is not that form.
        """
        with _kept_form("Evidence.to_json"):
            kept = read_json(text)
            identity = IdentityEvidence.from_value(kept)
            return cls(AtUri(kept["uri"]), identity, base64.b64decode(kept["car"], validate=True))


@contextmanager
def _kept_form(writer: str) -> Iterator[None]:
    """Make one error of all that can be wrong with a form that was kept."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataModelError(f"not evidence as {writer} writes it", actual=repr(error)[:200]) from error


@dataclass(frozen=True)
class VerifiedRecord:
    """A record that an account signed into its repository.

    Attributes:
        uri: where it is.
        cid: its CID, recomputed.
        value: what it says.
        commit: the signed commit.
        commit_cid: its CID.
        identity: the account.
        evidence: what it all rests on.
    """

    uri: AtUri
    cid: Cid
    value: dict[str, Any]
    commit: Commit
    commit_cid: Cid
    identity: VerifiedIdentity
    evidence: Evidence

    @cached_property
    def links(self) -> list[Link]:
        """The links from handle to record CID."""
        return [
            *self.identity.links,
            Link("signature", f"commit {self.commit_cid}", f"rev {self.commit.rev}"),
            Link("proof", f"tree {self.commit.data}", f"{self.uri.collection}/{self.uri.rkey}"),
            Link("record", str(self.cid), "recomputed from its bytes"),
        ]


def verify_identity(evidence: IdentityEvidence) -> VerifiedIdentity:
    """Links 1 to 3: handle, DID, document, log and key agree.

    Raises:
        IdentityError: two of them do not; `step` is `handle` or `did`, `expected` and `actual` say how.
        SignatureError: the PLC log holds an operation that nobody entitled to has signed.
    """
    document = DidDocument.parse(evidence.document, evidence.did)
    log = _signed_log(evidence)
    if log:
        signed = log[-1]
        _check_log(
            evidence.did,
            ("signing key", "key", signed.signing_key, document.signing_key.did_key),
            ("names", "did", list(signed.also_known_as), list(document.also_known_as)),
            ("server", "did", (signed.pds or "").rstrip("/"), document.pds),
        )
    servers = frozenset([document.pds, *((operation.pds or "").rstrip("/") for operation in log)])
    found = VerifiedIdentity(
        evidence.did, document.signing_key, document.pds, None, document.handles, evidence, servers
    )
    return found if evidence.handle is None else found.of_handle(evidence.handle, evidence.resolved_by)


def verify_labeler(evidence: IdentityEvidence) -> VerifiedLabeler:
    """DID, document, log, and the key of labels agree. A labeler need have no repository, so nothing else is asked.

    Raises:
        IdentityError: two of them do not, or there is no such key or server; `step` is `did` or `key`.
        SignatureError: the PLC log holds an operation that nobody entitled to has signed.
    """
    document = DidDocument.parse(evidence.document, evidence.did)
    found = VerifiedLabeler(evidence.did, document.label_key, document.labeler)
    if log := _signed_log(evidence):
        signed = log[-1]
        _check_log(
            evidence.did,
            ("key for labels", "key", signed.label_key, found.key.did_key),
            ("labeler", "did", (signed.labeler or "").rstrip("/"), found.server),
        )
    return found


def verify_record(evidence: Evidence, uri: AtUri) -> VerifiedRecord:
    """All six links.

    Args:
        evidence: from the network, a file or a stream of events.
        uri: the record it should prove; its authority may be the verified handle.

    Raises:
        VerificationError: a link broke; `step` names it.
        NotFoundError: it is proven that there is no such record.
    """
    identity = verify_identity(evidence.identity)
    if uri.authority not in (identity.did, identity.handle) and uri.authority.lower() != identity.handle:
        raise IdentityError(
            "the evidence is about another account", step="did", uri=uri, expected=uri.authority, actual=identity.did
        )
    place = AtUri.of(identity.did, uri.collection, uri.rkey)
    collection, rkey = place.collection, place.rkey
    if collection is None or rkey is None:
        raise IdentityError("an address does not name a record", step="record", uri=uri)
    proven = prove_record(evidence.car, identity.did, identity.key, Nsid(collection), RecordKey(rkey))
    kept = replace(evidence, uri=place)
    return VerifiedRecord(place, proven.cid, proven.value, proven.commit, proven.commit_cid, identity, kept)


def _signed_log(evidence: IdentityEvidence) -> tuple[PlcOperation, ...]:
    """The operations that the account itself signed, the last is in force; none for `did:web`, whose document stands for itself.

    The log is kept with the evidence, so evidence outlives a rotation of keys that came after it.
    """
    if evidence.did.method != "plc":
        return ()
    signed = verify_audit_log(evidence.did, evidence.audit_log)
    if signed.current.tombstoned:
        raise IdentityError("the identity was tombstoned", step="did", uri=evidence.did)
    return signed.history


def _check_log(did: Did, *parts: tuple[str, str, Any, Any]) -> None:
    """Each part of the directory's document must be what the log says: its name, its step, as logged, as served."""
    for name, step, logged, served in parts:
        if logged != served:
            raise IdentityError(
                f"the DID document's {name} is not the one in its signed log",
                step=step,
                uri=did,
                expected=logged,
                actual=served,
                hint="Ask another directory: set ATDATA_PLC_URL.",
            )
