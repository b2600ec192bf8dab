"""`evaluate`: the judge of policies. Pure: a policy and facts in, a verdict out.

Whatever is not known refuses. A label that forbids counts where it may be in force (`labels.in_force`), one that is
required only where there is no doubt (`labels.undisputed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from atdata.atproto.labels import SignedLabel, in_force, undisputed
from atdata.atproto.syntax import Did
from atdata.policy.facts import LabelReading, LensFacts, PolicyFacts, Subject
from atdata.policy.policy import LENSES, SHARDS, Forbid, Policy, Require, Verify
from atdata.policy.verdict import HOLDS, REFUSES, UNKNOWN, PolicyFinding, PolicyVerdict

FAILS = "fails"


def evaluate(policy: Policy, facts: PolicyFacts) -> PolicyVerdict:
    """The verdict of a policy over a dataset.

    Args:
        policy: the rules.
        facts: about the dataset, and whatever the policy asks for.
    """
    found = [*_proven(facts), *_publisher(policy, facts), *_pins(policy, facts), *_shards(policy, facts)]
    for forbid in policy.forbid:
        found += _forbidden(policy, forbid, facts)
    for require in policy.require:
        found += _required(policy, require, facts)
    for lens in facts.lenses:
        found += _verified(policy, lens)
    return PolicyVerdict(policy.name, facts.dataset.uri, facts.dataset.cid, facts.at, tuple(found))


def is_verified(policy: Policy, lens: LensFacts) -> bool:
    """True if a policy asks for verified lenses, and this is one by all its rules.

    Args:
        policy: the rules.
        lens: it, and what the verifiers say whom the policy names.
    """
    return bool(policy.verify) and all(finding.outcome == HOLDS for finding in _verified(policy, lens))


def _proven(facts: PolicyFacts) -> Iterator[PolicyFinding]:
    for subject in facts.subjects:
        rule = "own index" if subject.is_own else "proven"
        yield PolicyFinding(rule, HOLDS, f"the {subject.kind}", _record(subject), subject.proof)
    for uri, why in facts.missing.items():
        yield PolicyFinding("proven", UNKNOWN, f"a record could not be had: {why}", uri)


def _publisher(policy: Policy, facts: PolicyFacts) -> Iterator[PolicyFinding]:
    dataset = facts.dataset
    if policy.publishers is None or dataset.is_own:
        return
    allowed = dataset.publisher in policy.publishers
    said = "one of the publishers" if allowed else "none of the publishers"
    yield PolicyFinding(
        "publishers", HOLDS if allowed else REFUSES, f"{dataset.publisher} is {said}", _record(dataset), dataset.proof
    )


def _pins(policy: Policy, facts: PolicyFacts) -> Iterator[PolicyFinding]:
    for subject in facts.subjects:
        pinned = policy.pins.get(subject.uri)
        if pinned is not None:
            same = pinned == subject.cid
            said = "the pinned version" if same else f"not the pinned version, {pinned}"
            yield PolicyFinding("pins", HOLDS if same else REFUSES, said, _record(subject), subject.proof)


def _shards(policy: Policy, facts: PolicyFacts) -> Iterator[PolicyFinding]:
    count = len(facts.undigested)
    if count and not facts.dataset.is_own:
        outcome = HOLDS if SHARDS in policy.unverified else REFUSES
        what = f"{count} without a digest, such as {facts.undigested[0]}"
        yield PolicyFinding("verified shards", outcome, what, _record(facts.dataset), facts.dataset.proof)


def _forbidden(policy: Policy, rule: Forbid, facts: PolicyFacts) -> Iterator[PolicyFinding]:
    for labeler in rule.labelers:
        reading = _reading(policy, labeler, facts)
        if isinstance(reading, str):
            yield PolicyFinding(f"no {', '.join(rule.labels)}", UNKNOWN, f"the labels of {labeler}: {reading}", labeler)
            continue
        yield from _unread(f"no {', '.join(rule.labels)}", reading)
        standing = in_force((*reading.labels, *reading.earlier), facts.at)
        for value in rule.labels:
            found = [
                (label, subject)
                for label in standing
                for subject in facts.subjects
                if label.val == value and label.src == labeler and label.uri in (subject.uri, subject.publisher)
            ]
            if not found:
                yield PolicyFinding(
                    f"no {value}", HOLDS, f"no such label of {labeler} in force", labeler, reading.proof
                )
            for label, subject in found:
                refused, why = _forbids(label, subject, facts)
                record = f"{label.uri} {label.cid or ''}".strip()
                outcome = REFUSES if refused else HOLDS
                yield PolicyFinding(f"no {value}", outcome, f"{labeler} labels {why}", record, _said(label, reading))


def _forbids(label: SignedLabel, subject: Subject, facts: PolicyFacts) -> tuple[bool, str]:
    """The answer whether a label in force forbids a record, and the reason."""
    if label.uri == subject.publisher:
        return True, f"the publisher of the {subject.kind}"
    if label.cid is None:
        return True, f"every version of the {subject.kind}"
    if label.cid == subject.cid:
        return True, f"this version of the {subject.kind}"
    contents = facts.versions.get((subject.uri, label.cid))
    if contents is None:
        return True, f"a version of the {subject.kind} that cannot be had, and may say the same"
    if contents & subject.contents:
        return True, f"a version of the {subject.kind} with the same content"
    return False, f"a version of the {subject.kind} with other content"


def _unread(rule: str, reading: LabelReading) -> Iterator[PolicyFinding]:
    for why in reading.unread:
        yield PolicyFinding(rule, UNKNOWN, f"{reading.labeler} sent what is no label of it: {why}", reading.labeler)


def _required(policy: Policy, rule: Require, facts: PolicyFacts) -> Iterator[PolicyFinding]:
    dataset = facts.dataset
    if dataset.is_own:
        return
    readings = {labeler: _reading(policy, labeler, facts) for labeler in rule.labelers}
    silent = {labeler: why for labeler, why in readings.items() if isinstance(why, str)}
    for reading in readings.values():
        if not isinstance(reading, str):
            yield from _unread(", ".join(rule.labels), reading)
    for value in rule.labels:
        saying = set[Did]()
        for labeler, reading in readings.items():
            if isinstance(reading, str):
                continue
            for label in undisputed((*reading.labels, *reading.earlier), facts.at):
                exact = (label.src, label.val, label.uri, label.cid) == (labeler, value, dataset.uri, dataset.cid)
                if exact and label in reading.labels:
                    saying.add(labeler)
                    said = f"{labeler} labels this version of the dataset"
                    yield PolicyFinding(value, HOLDS, said, _record(dataset), _said(label, reading))
        if len(saying) < rule.count:
            for labeler, why in silent.items():
                yield PolicyFinding(value, UNKNOWN, f"the labels of {labeler}: {why}", labeler)
            what = f"{len(saying)} of the {rule.count} labelers that have to say it of this version"
            yield PolicyFinding(value, REFUSES, what, _record(dataset), dataset.proof)


def _verified(policy: Policy, lens: LensFacts) -> Iterator[PolicyFinding]:
    if not policy.verify:
        outcome = HOLDS if LENSES in policy.unverified else REFUSES
        yield PolicyFinding("verified lenses", outcome, "nobody's verification is asked for", _record(lens.subject))
    for rule in policy.verify:
        yield from _verified_by(rule, lens)


def _verified_by(rule: Verify, lens: LensFacts) -> Iterator[PolicyFinding]:
    subject, name, saying = lens.subject, "verified lenses", set[str]()
    for verification in lens.verifications:
        listed = verification.verifier in rule.verifiers and verification.lens == subject.uri
        if not listed or (rule.methods and verification.method not in rule.methods):
            continue
        what = f"{verification.verifier} by {verification.method}"
        record, proof = f"{verification.uri} {verification.cid}", verification.proof
        if verification.lens_commit != str(subject.cid):
            yield PolicyFinding(name, HOLDS, f"{what}: of another version, so it does not count", record, proof)
        elif verification.discount:
            yield PolicyFinding(name, HOLDS, f"{what}: {verification.discount}, so it does not count", record, proof)
        elif verification.verdict == FAILS:
            yield PolicyFinding(name, REFUSES, f"{what}: it fails", record, proof)
        elif verification.verdict == HOLDS:
            saying.add(verification.verifier)
            yield PolicyFinding(name, HOLDS, f"{what}: it holds", record, proof)
        else:
            yield PolicyFinding(name, UNKNOWN, f"{what}: it says {verification.verdict!r}", record, proof)
    for verifier in rule.verifiers:
        if verifier in lens.unavailable:
            yield PolicyFinding(
                name, UNKNOWN, f"the verifications of {verifier}: {lens.unavailable[verifier]}", verifier
            )
        elif verifier in lens.silent:
            yield PolicyFinding(name, HOLDS, f"{verifier} says nothing: {lens.silent[verifier]}", verifier)
    enough = len(saying) >= rule.count
    what = f"{len(saying)} of the {rule.count} verifiers that have to say that this version holds"
    yield PolicyFinding(name, HOLDS if enough else REFUSES, what, _record(subject), subject.proof)


def _reading(policy: Policy, labeler: Did, facts: PolicyFacts) -> LabelReading | str:
    """A labeler's labels, or why they are not known, or too old."""
    reading = facts.readings.get(labeler, "it was not asked")
    if isinstance(reading, str) or reading.unreachable is None:
        return reading
    age = facts.at - reading.read_at
    if timedelta(0) <= age <= timedelta(seconds=policy.max_age):
        return reading
    return f"{reading.unreachable}; what was kept is {int(age.total_seconds())} s old, {policy.max_age} are allowed"


def _record(subject: Subject) -> str:
    return f"{subject.uri} {subject.cid}"


def _said(label: SignedLabel, reading: LabelReading) -> str:
    when = label.cts.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"of {when}, {reading.proof}"
