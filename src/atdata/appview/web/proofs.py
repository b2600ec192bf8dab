"""The proof of a record: the chain from a handle to its bytes, checked anew for the page by the one verifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from atdata.appview.web.addresses import record_path
from atdata.appview.web.pages import ProofPage
from atdata.appview.web.parts import ProofLink, Publisher
from atdata.appview.web.source import PageSource, moment_words
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car
from atdata.atproto.verify import Evidence, IdentityEvidence, VerifiedRecord
from atdata.errors import AtdataError
from atdata.json_reader import read_json
from atdata.records import Entry, Record
from atdata.replica import KeptIdentity, StoredRecord, now

_DIGESTS = 5


@dataclass(frozen=True)
class Proof:
    """The proof of a record, as it is downloaded: the CAR, and the revision that it is of."""

    car: bytes
    rev: str


def proof_of(source: PageSource, stored: StoredRecord) -> Proof:
    """The proof of a record at the head of its repository."""
    account = source.reading.account(stored.did)
    head = account.head()
    assert head is not None
    return Proof(account.proofs([stored.key])[stored.key], str(head.rev))


def proof_page(source: PageSource, stored: StoredRecord) -> ProofPage:
    """The page of what proves a record."""
    record, account, moment = stored.parse(), source.account(stored.did), moment_words(now())
    proof = proof_of(source, stored)
    kept = KeptIdentity.of_account(source.reading, stored.did)
    links: tuple[ProofLink, ...] = ()
    problem = ""
    if kept is None:
        problem = "What the account's identity rests on is not kept here, so that nothing can be checked anew."
    else:
        try:
            identity = IdentityEvidence.from_value(read_json(kept.evidence))
            found = Evidence(stored.uri, identity, proof.car).verify()
            links = tuple(_links(found, stored, account, moment))
        except AtdataError as error:
            problem = f"It does not hold: {error.what}" + (f" (at {error.step})." if error.step else ".")
    shards = tuple(_of_shards(record)) if isinstance(record, Entry) and links else ()
    path = record_path(stored.uri)
    return ProofPage(
        uri=str(stored.uri),
        name=str(getattr(record, "name", None) or stored.key),
        account=account,
        links=(*links, *shards),
        download=f"{path}/proof.car",
        size=len(proof.car),
        problem=problem,
    )


def _links(found: VerifiedRecord, stored: StoredRecord, account: Publisher, moment: str) -> Iterator[ProofLink]:
    identity, evidence = found.identity, found.identity.evidence
    seen = evidence.seen_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    handle = account.handle or (None if identity.handle is None else str(identity.handle))
    if handle is None:
        yield ProofLink(
            "handle → DID", "none that was proven", "No handle leads to the account and is named back.", seen, None
        )
    else:
        by = {"dns": "a DNS record of the domain", "well-known": "the domain's web server"}.get(
            evidence.resolved_by or ""
        )
        checked = f"{by or 'a resolver'} names this DID, and the DID document names the handle back."
        yield ProofLink(
            "handle → DID", f"@{handle}", checked[0].upper() + checked[1:], seen, True, (("DID", found.identity.did),)
        )
    log = evidence.audit_log
    source = (
        "The DID document is from the account's own web server, and stands for itself."
        if log is None
        else f"The directory's log ({len(log)} long): the first operation hashes to the DID, each later one is signed by a key of the one before; the document agrees."
    )
    yield ProofLink(
        "DID → signing key",
        identity.key.did_key,
        source,
        seen,
        True,
        (("curve", identity.key.curve), ("server", identity.pds)),
    )
    commit = found.commit
    details = (("rev", str(commit.rev)), ("signature", commit.sig.hex()), ("tree", str(commit.data)))
    yield ProofLink(
        "key → commit",
        str(found.commit_cid),
        "The commit is this account's, and its signature is by this key, in canonical form.",
        moment,
        True,
        details,
    )
    blocks = read_car(found.evidence.car).blocks
    key = f"{found.uri.collection}/{found.uri.rkey}"
    path = mst.proof_path(commit.data, key, blocks)
    nodes = tuple((f"node {number}", str(cid)) for number, cid in enumerate(path, 1))
    yield ProofLink(
        "commit → record",
        key,
        f"A path of {len(path)} nodes leads from the tree that is signed to the record; each hashes to the CID by which the one before names it.",
        moment,
        True,
        nodes,
    )
    yield ProofLink(
        "record", str(found.cid), f"The CID, computed anew from its {len(stored.block or b'')} bytes.", moment
    )


def _of_shards(record: Record) -> Iterator[ProofLink]:
    assert isinstance(record, Entry)
    try:
        shards = record.shards
    except AtdataError as error:
        yield ProofLink(
            "record → shards", "unknown", f"The record does not say which they are: {error.what}.", "", None
        )
        return
    known = [shard for shard in shards if shard.digest is not None]
    details = tuple((f"digest {number}", str(shard.digest)) for number, shard in enumerate(known[:_DIGESTS], 1))
    said = f"{len(known):,} of {len(shards):,} with a digest in the record"
    checked = "This service does not read shards. Whoever loads the dataset has each held against its digest before its first sample is given."
    yield ProofLink("record → shards", said, checked, "whenever they are read", None, details)
