"""Facts for a policy: what is known of the records that a dataset is read with, and what could not be found out.

They are gathered elsewhere (on the network: `atdata.atmosphere.trust`); here they are only held.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.labels import SignedLabel
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AtdataError
from atdata.records import Entry, Record
from atdata.records.address import AUTHORITY


@dataclass(frozen=True)
class Subject:
    """A record that a dataset is read with, in the version that is used.

    Attributes:
        kind: `dataset`, `schema` or `lens`.
        uri: where it is, under the publisher's DID, or in one's own index.
        cid: its version.
        contents: what it says, whatever it is called; see `contents_of`.
        proof: what proves it, for people to read; nothing proves what is in one's own index.
    """

    kind: str
    uri: AtUri
    cid: Cid
    contents: frozenset[Cid]
    proof: str

    @property
    def publisher(self) -> Did | None:
        """The account whose repository it is in; `None` where it is in one's own index, in which nobody signs."""
        return None if self.is_own else Did(self.uri.authority)

    @property
    def is_own(self) -> bool:
        """True if it is in one's own index."""
        return self.uri.authority == AUTHORITY


@dataclass(frozen=True)
class LabelReading:
    """A labeler's labels for the records that a dataset is read with.

    Attributes:
        labeler: whose.
        labels: labels and negations, each verified.
        earlier: those that were read and verified before, and are not among the answers now. What was signed stands
            until it is taken back, so they may still forbid; they allow nothing.
        unread: what is wrong with each answer that is none of its labels: nobody knows what it would have said.
        key: the labeler's key, as did:key.
        read_at: when.
        unreachable: why the labeler could not be asked now, where these are what was kept; `None` where it was asked.
    """

    labeler: Did
    labels: tuple[SignedLabel, ...]
    earlier: tuple[SignedLabel, ...]
    unread: tuple[str, ...]
    key: str
    read_at: datetime
    unreachable: str | None = None

    @property
    def proof(self) -> str:
        """The proof of the labels, for people to read."""
        when = self.read_at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"signed by {self.key}, {'kept since' if self.unreachable else 'read'} {when}"


@dataclass(frozen=True)
class VerificationFact:
    """A verification of a lens, proven to be its verifier's, whose account is active; or one of one's own index.

    Attributes:
        verifier: who says it: a DID, or `local`.
        lens: of which lens.
        lens_commit: in which version, as the record has it.
        method: how it was verified, such as `codeReview`.
        verdict: `holds` or `fails`.
        uri: the record of it.
        cid: its version.
        proof: what proves it, for people to read.
        discount: why it does not count, where it does not.
    """

    verifier: str
    lens: AtUri
    lens_commit: str
    method: str
    verdict: str
    uri: AtUri
    cid: Cid
    proof: str
    discount: str = ""


@dataclass(frozen=True)
class LensFacts:
    """A lens on the way, and what its verifiers say.

    Attributes:
        subject: the lens.
        verifications: those found, of any verifiers and versions.
        unavailable: verifiers whose verifications could not be had, and why.
        silent: verifiers that say nothing that could count, and why.
    """

    subject: Subject
    verifications: tuple[VerificationFact, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyFacts:
    """All that a policy is judged by.

    Attributes:
        at: the moment of the judgement, with its time zone.
        dataset: the entry. Of one's own, only what it is read through is judged.
        schemas: the records of its schemas.
        lenses: those on the way, in their order.
        readings: of each labeler what it says, or why that could not be had.
        versions: the contents of other versions of the records, where they could be had, by address and CID.
        undigested: the addresses of shards without a digest.
        missing: records that could not be had, and why.
    """

    at: datetime
    dataset: Subject
    schemas: tuple[Subject, ...] = ()
    lenses: tuple[LensFacts, ...] = ()
    readings: Mapping[Did, LabelReading | str] = field(default_factory=dict)
    versions: Mapping[tuple[AtUri, Cid], frozenset[Cid]] = field(default_factory=dict)
    undigested: tuple[str, ...] = ()
    missing: Mapping[AtUri, str] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All records that the dataset is read with."""
        return (self.dataset, *self.schemas, *(lens.subject for lens in self.lenses))


def contents_of(record: Record) -> frozenset[Cid]:
    """The identities of what a record says: two records that share one say the same, whatever else they say.

    For an entry its shards alone are one too: data do not become others by another schema.
    """
    found = {record.index_keys.content}
    if isinstance(record, Entry):
        with suppress(AtdataError):  # stored in a way that this version does not know
            found.add(Cid.of_cbor(cbor.encode({"shards": list(record.shard_keys)})))
    return frozenset(found)
