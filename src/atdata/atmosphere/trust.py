"""Trust policies on the network: the facts they ask for, gathered now, and the one place where they are enforced.

An entry becomes a dataset in `opening.py`, and nowhere else; that asks `check_policy` before any byte of a shard moves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.labelers import LabelReader
from atdata.atmosphere.verifications import VerificationLoader
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record
from atdata.atproto.fetch import fetch_blocks
from atdata.atproto.labels import in_force
from atdata.atproto.repo.car import read_car
from atdata.atproto.syntax import AtUri, Did
from atdata.atproto.verify import VerifiedRecord
from atdata.errors import AtdataError, NotFoundError, PolicyError, ProofError, UsageError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.index.lenses import OwnLenses
from atdata.index.verifications import Discount, JudgedVerification
from atdata.policy import (
    LabelReading,
    LensFacts,
    Policy,
    PolicyFacts,
    PolicyVerdict,
    Subject,
    VerificationFact,
    contents_of,
    evaluate,
    policy_in_force,
)
from atdata.records import Entry, LensRecord, LensVerification, Record, Schema
from atdata.records.address import AUTHORITY, LOCAL
from atdata.records.nsids import collections

GivenPolicy: TypeAlias = "Policy | str | os.PathLike[str] | None"

_KINDS: tuple[type[Record], ...] = (Entry, Schema, LensRecord)


def check_policy(
    client: AtmosphereClient,
    entry: Entry,
    given: GivenPolicy = None,
    through: Sequence[Schema | LensRecord] = (),
    own: OwnLenses | None = None,
) -> PolicyVerdict | None:
    """The verdict of the policy in force over an entry; `None` where there is none.

    Args:
        client: to find facts with.
        entry: as it was read from the network; or of one's own index, where only what it is read through is judged.
        given: a policy, or the path of one; by default the one of the settings.
        through: the records that its samples are read through, as they were read from the network, or from one's own
            index: its schema, which is read here where it is not given, and the lenses on the way.
        own: one's own index, if there is one.

    Raises:
        PolicyError: it refuses; `verdict` says why.
        UsageError: the policy cannot be read, or a record is neither of the network nor of one's own index.
    """
    policy = policy_in_force(client.settings, given)
    if policy is None:
        return None
    verdict = judge(client, entry, policy, through, own)
    if not verdict.allowed:
        first, *more = verdict.refusals
        raise PolicyError(
            "a trust policy refuses a dataset",
            uri=entry.uri,
            path=policy.name,
            expected=first.rule,
            actual=first.fact + (f", and {len(more)} more" if more else ""),
            hint="The error's verdict names every fact; so does: atdata policy check REF"
            + (" --type MODULE:TYPE" if any(isinstance(record, LensRecord) for record in through) else ""),
            verdict=verdict,
        )
    return verdict


def judge(
    client: AtmosphereClient,
    entry: Entry,
    policy: Policy,
    through: Sequence[Schema | LensRecord] = (),
    own: OwnLenses | None = None,
) -> PolicyVerdict:
    """The verdict of a policy over an entry. Its facts are read now; see `check_policy` for the arguments.

    Raises:
        UsageError: one of the records is neither of the network nor of one's own index.
    """
    return evaluate(policy, Inquiry(client, policy, own).facts(entry, through))


@dataclass(frozen=True)
class RecordVersions:
    """Keeps records that were judged, by their CIDs: a label may be about a version that no server has any more.

    Attributes:
        root: the cache folder.
    """

    root: Path

    def keep(self, cid: Cid, block: bytes) -> None:
        """Keep the bytes of a record."""
        path = self._path(cid)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with atomic_file(path) as file:
                    write_all(file, block, path)

    def kept(self, cid: Cid) -> bytes | None:
        """The bytes with a CID, if they were kept."""
        try:
            block = self._path(cid).read_bytes()
        except OSError:
            return None
        return block if Cid.of_cbor(block) == cid else None

    def _path(self, cid: Cid) -> Path:
        return self.root / "records" / str(cid)


class Inquiry:
    """One inquiry into what a policy asks about a dataset. Whatever fails is itself a fact.

    Args:
        client: to find facts with.
        policy: that asks.
        own: one's own index, if there is one.
    """

    def __init__(self, client: AtmosphereClient, policy: Policy, own: OwnLenses | None = None) -> None:
        self._client, self._reader, self._policy, self._own = client, client.reader, policy, own
        self._versions = RecordVersions(client.settings.cache)
        self._missing: dict[AtUri, str] = {}

    def facts(self, entry: Entry, through: Sequence[Schema | LensRecord]) -> PolicyFacts:
        """The facts about an entry, its schemas, and the lenses on the way."""
        dataset = self._subject("dataset", entry)
        schemas = self._schemas(entry, [record for record in through if isinstance(record, Schema)])
        found = tuple(self.lens(record) for record in through if isinstance(record, LensRecord))
        subjects = (dataset, *schemas, *(lens.subject for lens in found))
        readings = self._readings(subjects)
        now = datetime.now(UTC)
        return PolicyFacts(
            at=now,
            dataset=dataset,
            schemas=schemas,
            lenses=found,
            readings=readings,
            versions=self._labelled_versions(subjects, readings, now),
            undigested=tuple(shard.url for shard in entry.shards if shard.digest is None),
            missing=self._missing,
        )

    def _schemas(self, entry: Entry, given: Sequence[Schema]) -> tuple[Subject, ...]:
        """The schemas: those that are used, and where a rule may be about them, the others that the entry names."""
        found = [self._subject("schema", schema) for schema in given]
        if not self._policy.forbid and not self._policy.pins:
            return tuple(found)
        known = [subject.uri for subject in found]
        for uri in filter(None, (entry.schema_ref, entry.metadata_schema_ref)):
            if uri not in known and not (_is_own(entry) and uri.authority == AUTHORITY):
                try:
                    found.append(self._subject("schema", self._reader.read(uri, Schema)))
                except AtdataError as error:
                    self._missing[uri] = error.what
        return tuple(found)

    def lens(self, lens: LensRecord) -> LensFacts:
        """A lens, and what the verifiers that the policy names say of it, now."""
        subject, verifiers = self._subject("lens", lens), self._policy.verifiers
        found, unavailable, silent = list[VerificationFact](), dict[str, str](), dict[str, str]()
        others = [verifier for verifier in verifiers if verifier != LOCAL]
        if subject.is_own:
            silent |= dict.fromkeys(others, "nobody else knows what is in one's own index")
            others = []
        for asked, said in ((others, self._said_by), ([LOCAL] if LOCAL in verifiers else [], self._said_here)):
            try:
                report = said(lens, subject, asked) if asked else ()
            except AtdataError as error:
                unavailable |= dict.fromkeys(asked, error.what)
                continue
            for item in report:
                if item.record is not None:
                    found.append(_verification(item, item.record))
                elif item.reason in (Discount.MALFORMED, Discount.UNPROVEN):
                    unavailable[item.verifier] = item.why if item.error is None else f"{item.why}: {item.error.what}"
                else:
                    silent[item.verifier] = item.why
        return LensFacts(subject, tuple(found), unavailable, silent)

    def _said_by(self, _lens: LensRecord, subject: Subject, verifiers: Sequence[str]) -> Iterable[JudgedVerification]:
        """The verifications by accounts of the network."""
        report = VerificationLoader(self._client).of(str(subject.uri), verifiers=verifiers)
        if report.lens.cid != subject.cid:
            raise ProofError("the lens has changed since it was read", uri=subject.uri)
        return report

    def _said_here(self, lens: LensRecord, subject: Subject, _local: Sequence[str]) -> Iterable[JudgedVerification]:
        """The verifications that one's own index keeps."""
        if self._own is None:
            raise NotFoundError("there is no index of one's own")
        report = self._own.verifications_of(lens.at(subject.uri, subject.cid))
        return report if report.found else (JudgedVerification(LOCAL, Discount.ABSENT),)

    def _subject(self, kind: str, record: Record) -> Subject:
        if _is_own(record) and record.cid is not None:
            return Subject(kind, record.located, record.cid, contents_of(record), "kept here, where nobody signs")
        if record.evidence is None:
            raise UsageError(
                "a policy judges what was read from the network, or from one's own index",
                actual=str(record.uri),
                hint="Read the record from there: its publisher's signature comes with it.",
            )
        verified = record.evidence.verify()
        block = read_car(record.evidence.car).blocks[verified.cid]
        self._versions.keep(verified.cid, block)
        contents = contents_of(type(record).from_record(verified.value, str(verified.uri.collection)))
        return Subject(kind, verified.uri, verified.cid, contents, proof_of(verified))

    def _readings(self, subjects: Sequence[Subject]) -> dict[Did, LabelReading | str]:
        public = [subject for subject in subjects if not subject.is_own]
        uris = [str(uri) for subject in public for uri in (subject.uri, subject.publisher)]
        labels, found = LabelReader(self._reader), dict[Did, LabelReading | str]()
        for labeler in self._policy.labelers:
            try:
                found[labeler] = labels.read(labeler, uris)
            except AtdataError as error:
                found[labeler] = error.what
        return found

    def _labelled_versions(
        self, subjects: Sequence[Subject], readings: Mapping[Did, LabelReading | str], now: datetime
    ) -> dict[tuple[AtUri, Cid], frozenset[Cid]]:
        """The contents of other versions of the records that a label forbids, where they can be had."""
        found: dict[tuple[AtUri, Cid], frozenset[Cid]] = {}
        for reading in readings.values():
            if isinstance(reading, str):
                continue
            for label in in_force((*reading.labels, *reading.earlier), now):
                for subject in subjects:
                    asked = (label.src, label.val) in self._policy.forbidden and label.uri == subject.uri
                    if asked and label.cid not in (None, subject.cid) and label.cid is not None:
                        contents = self._contents(subject.uri, label.cid)
                        found |= {} if contents is None else {(subject.uri, label.cid): contents}
        return found

    def _contents(self, uri: AtUri, cid: Cid) -> frozenset[Cid] | None:
        """The contents of a version of a record: one that was kept, or that its server still has."""
        try:
            block = self._versions.kept(cid)
            if block is None:
                identity = self._reader.identity(uri.authority)
                block = (self._reader.transport.run(fetch_blocks(identity, [cid])) or {}).get(cid)
            if block is None or cid != Cid.of_cbor(block):
                return None
            collection = str(uri.collection)
            kind = next(kind for kind in _KINDS if collection in collections(kind.NSID))
            return contents_of(kind.from_record(check_record(cbor.decode(block)), collection))
        except (AtdataError, StopIteration):
            return None


def _is_own(record: Record) -> bool:
    """True if a record was read from one's own index, in which nobody signs."""
    return record.evidence is None and record.uri is not None and record.uri.authority == AUTHORITY


def _verification(item: JudgedVerification, record: LensVerification) -> VerificationFact:
    negative = item.reason is Discount.NEGATIVE
    return VerificationFact(
        verifier=item.verifier,
        lens=record.lens,
        lens_commit=record.lens_commit,
        method=record.method,
        verdict="fails" if negative else "holds",
        uri=record.located,
        cid=record.cid or Cid.of_cbor(cbor.encode(record.to_record())),
        proof="kept here, where nobody signs" if record.evidence is None else proof_of(record.evidence.verify()),
        discount="" if negative else item.why,
    )


def proof_of(verified: VerifiedRecord) -> str:
    """The proof of a record, for people to read."""
    return f"commit {verified.commit_cid}, rev {verified.commit.rev}, signed by {verified.identity.key.did_key}"
