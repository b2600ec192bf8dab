"""Policies as a table: facts, rules, and the verdict; and what cannot be a policy."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.labels import SignedLabel
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import UsageError
from atdata.policy import (
    Forbid,
    LabelReading,
    LensFacts,
    Policy,
    PolicyFacts,
    Require,
    Subject,
    VerificationFact,
    Verify,
    evaluate,
)
from atdata.records.address import AUTHORITY

LOCAL = "local"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = PrivateKey.from_bytes("k256", bytes(range(1, 33)))
PUBLISHER, OTHER = Did("did:web:publisher.test"), Did("did:web:other.test")
ANN, BEN = Did("did:web:ann.test"), Did("did:web:ben.test")
V1, V2, V3, V4 = (Cid.of_cbor(bytes([number])) for number in range(1, 5))
SAME, NEW = frozenset({Cid.of_cbor(b"\x18\x18")}), frozenset({Cid.of_cbor(b"\x18\x19")})
ENTRY = AtUri.of(PUBLISHER, "science.alt.dataset.entry", "one")
SCHEMA = AtUri.of(OTHER, "science.alt.dataset.schema", "S")
LENS = AtUri.of(OTHER, "science.alt.dataset.lens", "L")

DATASET = Subject("dataset", ENTRY, V2, SAME, "commit")
SCHEMAS = (Subject("schema", SCHEMA, V1, frozenset({V4}), "commit"),)
A_LENS = Subject("lens", LENS, V3, frozenset({V3}), "commit")
OWN_LENS = Subject("lens", AtUri.of(AUTHORITY, "science.alt.dataset.lens", "L"), V3, frozenset({V3}), "")


def said(
    val: str = "retracted",
    cid: Cid | None = V2,
    *,
    who: Did = ANN,
    uri: str = ENTRY,
    neg: bool = False,
    hours: float = -2,
    exp: float | None = None,
) -> SignedLabel:
    def at(ahead: float) -> str:
        return (NOW + timedelta(hours=ahead)).isoformat().replace("+00:00", "Z")

    end = None if exp is None else at(exp)
    return SignedLabel.sign(KEY, src=who, uri=uri, val=val, cts=at(hours), cid=cid, neg=neg, exp=end)


def read(*labels: SignedLabel, who: Did = ANN, **facts: Any) -> LabelReading:
    members: dict[str, Any] = {"earlier": (), "unread": (), "key": KEY.public.did_key, "read_at": NOW, **facts}
    return LabelReading(who, labels, **members)


def verified(
    verdict: str = "holds", who: str = ANN, method: str = "codeReview", commit: Cid = V3, lens: AtUri = LENS
) -> VerificationFact:
    place = AUTHORITY if who == LOCAL else Did(who)
    uri = AtUri.of(place, "science.alt.dataset.lensVerification", "one")
    return VerificationFact(who, lens, str(commit), method, verdict, uri, V4, "commit")


@dataclass(frozen=True)
class Case:
    """PolicyFacts that differ from a dataset of which nobody says anything, a policy, and the verdict."""

    allowed: bool
    policy: Policy
    readings: tuple[LabelReading, ...] = ()
    lens: LensFacts | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    finds: str = ""


NO = Policy(forbid=(Forbid(("retracted", "contaminated"), (ANN,)),))
NO_OF_BOTH = Policy(forbid=(Forbid(("retracted",), (ANN, BEN)),))
YES = Policy(require=(Require(("reviewed",), (ANN,)),))
ONE_OF_BOTH = Policy(require=(Require(("reviewed",), (ANN, BEN)),))
BOTH = Policy(require=(Require(("reviewed",), (ANN, BEN), 2),))
LENSES = Policy(verify=(Verify((ANN, BEN), ("codeReview", "formalProof")),))
TWO = Policy(verify=(Verify((ANN, BEN), (), 2),))
HERE, EITHER = Policy(verify=(Verify((LOCAL,)),)), Policy(verify=(Verify((LOCAL, ANN)),))
GONE = "it cannot be reached"
HOUR_OLD = {"read_at": NOW - timedelta(hours=1), "unreachable": GONE}
OK = said("reviewed")

CASES: dict[str, Case] = {
    # without rules
    "no rules": Case(True, Policy()),
    "a record is missing": Case(False, Policy(), facts={"missing": {SCHEMA: GONE}}, finds=GONE),
    "shards without a digest": Case(False, Policy(), facts={"undigested": ("https://a.test/x.tar",)}, finds="x.tar"),
    "such shards are allowed": Case(
        True, Policy(unverified=frozenset({"shards"})), facts={"undigested": ("https://a.test/x.tar",)}, finds="x.tar"
    ),
    # whose, and in which version
    "a publisher": Case(True, Policy(publishers=(PUBLISHER, OTHER)), finds="one of the publishers"),
    "another publisher": Case(False, Policy(publishers=(OTHER,)), finds="none of the publishers"),
    "the pinned version": Case(True, Policy(pins={ENTRY: V2})),
    "another version": Case(False, Policy(pins={ENTRY: V1}), finds="not the pinned version"),
    "the lens in another version": Case(
        False, Policy(pins={LENS: V1}, unverified=frozenset({"lenses"})), lens=LensFacts(A_LENS)
    ),
    "another record is pinned": Case(True, Policy(pins={LENS: V1})),
    # labels that forbid
    "not labelled": Case(True, NO, (read(),), finds="no such label"),
    "labelled": Case(False, NO, (read(said()),), finds="this version of the dataset"),
    "labelled in every version": Case(False, NO, (read(said(cid=None)),), finds="every version"),
    "labelled otherwise": Case(True, NO, (read(said("spam")),)),
    "labelled with another case": Case(True, NO, (read(said("Retracted")),)),
    "labelled by somebody else": Case(True, NO, (read(said(who=BEN)),)),
    "labelled with the other value": Case(False, NO, (read(said("contaminated")),)),
    "its publisher is labelled": Case(False, NO, (read(said(cid=None, uri=PUBLISHER)),), finds="the publisher of"),
    "its schema is labelled": Case(False, NO, (read(said(cid=V1, uri=SCHEMA)),), finds="version of the schema"),
    "a lens is labelled": Case(
        False,
        replace(NO, unverified=frozenset({"lenses"})),
        (read(said(cid=None, uri=LENS)),),
        LensFacts(A_LENS),
        finds="every version of the lens",
    ),
    "another record is labelled": Case(True, NO, (read(said(uri=f"{ENTRY}x")),)),
    "an edited description": Case(False, NO, (read(said(cid=V1)),), facts={"versions": {(ENTRY, V1): SAME}}),
    "another content": Case(
        True, NO, (read(said(cid=V1)),), facts={"versions": {(ENTRY, V1): NEW}}, finds="with other content"
    ),
    "a version that cannot be had": Case(False, NO, (read(said(cid=V1)),), finds="cannot be had"),
    "the same version of another record": Case(
        False, NO, (read(said(cid=V1)),), facts={"versions": {(SCHEMA, V1): NEW}}
    ),
    "taken back": Case(True, NO, (read(said(), said(neg=True, hours=-1)),)),
    "taken back by somebody else": Case(False, NO, (read(said(), said(neg=True, hours=-1, who=BEN)),)),
    "taken back before": Case(False, NO, (read(said(), said(neg=True, hours=-3)),)),
    "taken back at once": Case(False, NO, (read(said(), said(neg=True)),)),
    "taken back in another version": Case(False, NO, (read(said(), said(cid=V1, neg=True, hours=-1)),)),
    "all versions taken back": Case(True, NO, (read(said(), said(cid=None, neg=True, hours=-1)),)),
    "said again": Case(False, NO, (read(said(), said(neg=True, hours=-1), said(hours=-0.5)),)),
    "expired": Case(True, NO, (read(said(exp=-1)),)),
    "not yet expired": Case(False, NO, (read(said(exp=1)),)),
    "seen before, not shown now": Case(False, NO, (read(earlier=(said(),)),)),
    "taking back seen before, not shown now": Case(True, NO, (read(said(), earlier=(said(neg=True, hours=-1),)),)),
    "something unread": Case(False, NO, (read(unread=("unsigned",)),), finds="unsigned"),
    "a labeler that cannot be reached": Case(False, NO, facts={"readings": {ANN: GONE}}, finds=GONE),
    "a labeler that was not asked": Case(False, NO, finds="not asked"),
    "one of two cannot be reached": Case(False, NO_OF_BOTH, facts={"readings": {ANN: read(), BEN: GONE}}),
    "one of two labels": Case(False, NO_OF_BOTH, (read(), read(said(who=BEN), who=BEN))),
    "none of two labels": Case(True, NO_OF_BOTH, (read(), read(who=BEN))),
    "kept, though fresh facts are asked for": Case(False, NO, (read(**HOUR_OLD),), finds="3600 s old, 0 are allowed"),
    "kept, and young enough": Case(True, replace(NO, max_age=3600), (read(**HOUR_OLD),), finds="kept since"),
    "kept, and too old": Case(False, replace(NO, max_age=3599), (read(**HOUR_OLD),)),
    "kept, and from the future": Case(
        False, replace(NO, max_age=3600), (read(read_at=NOW + timedelta(hours=1), unreachable=GONE),)
    ),
    "kept, and labelled": Case(False, replace(NO, max_age=3600), (read(said(), **HOUR_OLD),)),
    # labels that are required
    "reviewed": Case(True, YES, (read(OK),), finds="labels this version"),
    "not reviewed": Case(False, YES, (read(),), finds="0 of the 1"),
    "another version reviewed": Case(False, YES, (read(said("reviewed", V1)),)),
    "another version of the same content reviewed": Case(
        False, YES, (read(said("reviewed", V1)),), facts={"versions": {(ENTRY, V1): SAME}}
    ),
    "every version reviewed": Case(False, YES, (read(said("reviewed", None)),)),
    "reviewed by somebody else": Case(False, YES, (read(said("reviewed", who=BEN)),)),
    "its publisher reviewed": Case(False, YES, (read(said("reviewed", None, uri=PUBLISHER)),)),
    "review taken back": Case(False, YES, (read(OK, said("reviewed", neg=True, hours=-1)),)),
    "review taken back at once": Case(False, YES, (read(OK, said("reviewed", neg=True)),)),
    "review taken back in another version": Case(False, YES, (read(OK, said("reviewed", V1, neg=True, hours=-1)),)),
    "review taken back for a while": Case(False, YES, (read(OK, said("reviewed", neg=True, hours=-1, exp=-0.5)),)),
    "review expired": Case(False, YES, (read(said("reviewed", exp=-1)),)),
    "reviewed again": Case(True, YES, (read(OK, said("reviewed", neg=True, hours=-1), said("reviewed", hours=-0.5)),)),
    "a review that was seen before": Case(False, YES, (read(earlier=(OK,)),)),
    "a review taken back, which was seen before": Case(
        False, YES, (read(OK, earlier=(said("reviewed", neg=True, hours=-1),)),)
    ),
    "a review with something unread": Case(False, YES, (read(OK, unread=("unsigned",)),)),
    "a reviewer that cannot be reached": Case(False, YES, facts={"readings": {ANN: GONE}}, finds=GONE),
    "a review that was kept": Case(True, replace(YES, max_age=3600), (read(OK, **HOUR_OLD),)),
    "one of two reviewers": Case(True, ONE_OF_BOTH, facts={"readings": {ANN: read(OK), BEN: GONE}}),
    "both reviewers": Case(True, BOTH, (read(OK), read(said("reviewed", who=BEN), who=BEN)), finds="did:web:ben.test"),
    "one reviewer of both": Case(False, BOTH, (read(OK), read(who=BEN)), finds="1 of the 2"),
    "one reviewer twice": Case(False, BOTH, (read(OK, said("reviewed", hours=-1)), read(who=BEN))),
    "reviewed and retracted": Case(False, replace(YES, forbid=NO.forbid), (read(OK, said()),)),
    # lenses on the way
    "no lens": Case(True, LENSES),
    "a lens, and no rule": Case(False, Policy(), lens=LensFacts(A_LENS, (verified(),)), finds="nobody's verification"),
    "a lens, allowed unverified": Case(True, Policy(unverified=frozenset({"lenses"})), lens=LensFacts(A_LENS)),
    "verified": Case(True, LENSES, lens=LensFacts(A_LENS, (verified(),)), finds="by codeReview: it holds"),
    "not verified": Case(False, LENSES, lens=LensFacts(A_LENS), finds="0 of the 1"),
    "another version verified": Case(
        False, LENSES, lens=LensFacts(A_LENS, (verified(commit=V1),)), finds="of another version"
    ),
    "another lens verified": Case(False, LENSES, lens=LensFacts(A_LENS, (verified(lens=SCHEMA),))),
    "verified in another way": Case(False, LENSES, lens=LensFacts(A_LENS, (verified(method="automatedTest"),))),
    "verified by somebody else": Case(False, LENSES, lens=LensFacts(A_LENS, (verified(who=OTHER),))),
    "verified, and found to fail": Case(
        False, LENSES, lens=LensFacts(A_LENS, (verified(), verified("fails", BEN))), finds="it fails"
    ),
    "found to fail in another version": Case(
        True, LENSES, lens=LensFacts(A_LENS, (verified(), verified("fails", BEN, commit=V1)))
    ),
    "found to fail by somebody else": Case(
        True, LENSES, lens=LensFacts(A_LENS, (verified(), verified("fails", OTHER)))
    ),
    "discounted": Case(
        False, LENSES, lens=LensFacts(A_LENS, (replace(verified(), discount="superseded"),)), finds="superseded, so"
    ),
    "discounted, and found to fail": Case(
        True, LENSES, lens=LensFacts(A_LENS, (verified(), replace(verified("fails"), discount="superseded")))
    ),
    "a verifier whose account is gone": Case(
        True, LENSES, lens=LensFacts(A_LENS, (verified(),), silent={BEN: "it is not active"}), finds="it is not active"
    ),
    "no other verifier": Case(False, LENSES, lens=LensFacts(A_LENS, silent={ANN: "it is not active"})),
    "an unknown verdict": Case(False, LENSES, lens=LensFacts(A_LENS, (verified(), verified("perhaps", BEN)))),
    "a verifier that cannot be reached": Case(
        False, LENSES, lens=LensFacts(A_LENS, (verified(),), {BEN: GONE}), finds=GONE
    ),
    "a stranger that cannot be reached": Case(True, LENSES, lens=LensFacts(A_LENS, (verified(),), {OTHER: GONE})),
    "verified by two": Case(True, TWO, lens=LensFacts(A_LENS, (verified(), verified(who=BEN, method="x")))),
    # one's own index
    "verified here": Case(True, HERE, lens=LensFacts(A_LENS, (verified(who=LOCAL),)), finds="local by codeReview"),
    "verified here, which nobody asked for": Case(False, LENSES, lens=LensFacts(A_LENS, (verified(who=LOCAL),))),
    "verified here in another version": Case(False, HERE, lens=LensFacts(A_LENS, (verified(who=LOCAL, commit=V1),))),
    "verified by others where the word of here is asked for": Case(False, HERE, lens=LensFacts(A_LENS, (verified(),))),
    "here it fails": Case(
        False, EITHER, lens=LensFacts(A_LENS, (verified(), verified("fails", LOCAL))), finds="it fails"
    ),
    "the index cannot be read": Case(
        False, EITHER, lens=LensFacts(A_LENS, (verified(),), {LOCAL: GONE}), finds="the verifications of local"
    ),
    "a lens of one's own, and no rule": Case(False, Policy(), lens=LensFacts(OWN_LENS), finds="own index"),
    "a lens of one's own, allowed unverified": Case(
        True, Policy(unverified=frozenset({"lenses"})), lens=LensFacts(OWN_LENS)
    ),
    "a lens of one's own, not verified": Case(False, HERE, lens=LensFacts(OWN_LENS)),
    "a lens of one's own, verified here": Case(
        True, HERE, lens=LensFacts(OWN_LENS, (verified(who=LOCAL, lens=OWN_LENS.uri),))
    ),
    "a lens of one's own that others cannot know": Case(
        False, LENSES, lens=LensFacts(OWN_LENS, silent={ANN: "who could"}), finds="who could"
    ),
    "verified twice by one": Case(False, TWO, lens=LensFacts(A_LENS, (verified(), verified(method="x")))),
}


def judged(case: Case) -> Any:
    given: dict[str, Any] = {"readings": {reading.labeler: reading for reading in case.readings}, **case.facts}
    lenses = () if case.lens is None else (case.lens,)
    return evaluate(case.policy, PolicyFacts(NOW, DATASET, SCHEMAS, lenses, **given))


@pytest.mark.parametrize("name", CASES)
def test_the_verdict(name: str) -> None:
    case = CASES[name]
    verdict = judged(case)
    table = str(verdict)
    assert verdict.allowed == case.allowed, table
    assert case.finds in table
    assert table.splitlines()[0] == ("allowed" if case.allowed else "refused")
    for finding in verdict.findings:  # every fact that was used stands in the table, with its record and its proof
        assert finding.rule in table
        assert finding.record[:20] in table
    assert all(finding.record for finding in verdict.findings)
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert "<table>" in verdict._repr_html_()


def test_of_ones_own_dataset_only_what_it_is_read_through_is_judged() -> None:
    """No rule about publishers, required labels or shards is about it."""
    own = Subject("dataset", AtUri.of(AUTHORITY, "science.alt.dataset.entry", "one"), V2, SAME, "")
    strict = Policy(publishers=(OTHER,), require=YES.require, verify=LENSES.verify)
    facts = PolicyFacts(NOW, own, lenses=(LensFacts(A_LENS, (verified(),)),), undigested=("a.tar",))
    assert evaluate(strict, facts).allowed
    assert not evaluate(strict, replace(facts, lenses=(LensFacts(A_LENS),))).allowed
    assert not evaluate(strict, replace(facts, dataset=DATASET)).allowed
    labelled = replace(facts, readings={ANN: read(said(uri=LENS, cid=None))})
    assert not evaluate(replace(strict, forbid=NO.forbid), labelled).allowed


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.allowed])
def test_a_refusal_needs_the_rule(name: str) -> None:
    """No case is refused whatever is asked: without its rules, and with what is missing, it is allowed."""
    case = CASES[name]
    free = Policy(unverified=frozenset({"shards", "lenses"}))
    assert judged(replace(case, policy=free, facts={**case.facts, "missing": {}})).allowed


def test_a_verdict_names_what_it_rests_on() -> None:
    verdict = judged(CASES["reviewed and retracted"])
    rows = {(finding.rule, finding.outcome): finding for finding in verdict.findings}
    label = rows["no retracted", "refuses"]
    assert label.record == f"{ENTRY} {V2}"
    assert label.proof == f"of 2026-06-01T10:00:00Z, signed by {KEY.public.did_key}, read 2026-06-01T12:00:00Z"
    assert rows["reviewed", "holds"].record == f"{ENTRY} {V2}"
    assert rows["no contaminated", "holds"].proof.startswith("signed by")
    assert verdict.refusals == (label,)


def test_strangers_text_is_harmless_in_a_verdict() -> None:
    reading = read(unread=("\x1b[31m<script>\u202e",))
    verdict = judged(Case(False, NO, (reading,)))
    assert "\x1b" not in str(verdict)
    assert "\u202e" not in str(verdict)
    assert "<script>" not in verdict._repr_html_()


RULES = [rule for case in CASES.values() for rule in (case.policy,)]


@given(st.sampled_from(list(CASES.values())), st.sampled_from(RULES))
def test_more_rules_never_allow_more(case: Case, other: Policy) -> None:
    """Joining two policies refuses whatever one of them refuses."""
    one, two = case.policy, other
    if bool(one.verify) != bool(two.verify) or (one.unverified, one.publishers) != (two.unverified, two.publishers):
        return
    both = replace(
        one,
        forbid=one.forbid + two.forbid,
        require=one.require + two.require,
        verify=one.verify + two.verify,
        pins={**two.pins, **one.pins},
        max_age=min(one.max_age, two.max_age),
    )
    if judged(replace(case, policy=both)).allowed:
        assert judged(case).allowed
        assert judged(replace(case, policy=two)).allowed or one.pins


@given(st.sampled_from(list(CASES.values())), st.randoms(use_true_random=False))
def test_the_order_in_which_labels_come_never_matters(case: Case, random: Any) -> None:
    def shuffled(reading: LabelReading) -> LabelReading:
        labels = [*reading.labels, *reading.labels[:1]]
        random.shuffle(labels)
        return replace(reading, labels=tuple(labels))

    again = replace(case, readings=tuple(map(shuffled, case.readings)))
    assert judged(again).findings == judged(case).findings


# --- as text

WHOLE = f"""
version = 1
name = "the lab"
publishers = ["{PUBLISHER}"]
unverified = ["shards"]
max_age = 3600

[[forbid]]
labels = ["retracted", "contaminated"]
labelers = ["{ANN}"]

[[require]]
labels = ["reviewed"]
labelers = ["{ANN}", "{BEN}"]
count = 2

[[verify]]
verifiers = ["{ANN}"]
methods = ["codeReview"]

[pins]
"{ENTRY}" = "{V2}"
"""


def test_a_policy_in_a_file_is_the_policy_in_code(tmp_path: Any) -> None:
    policy = Policy(
        forbid=NO.forbid,
        require=BOTH.require,
        verify=(Verify((ANN,), ("codeReview",)),),
        publishers=(PUBLISHER,),
        pins={ENTRY: V2},
        unverified=frozenset({"shards"}),
        max_age=3600,
        name="the lab",
    )
    assert Policy.parse(WHOLE) == policy
    (tmp_path / "p.toml").write_text(WHOLE)
    assert Policy.load(tmp_path / "p.toml") == policy
    assert Policy.parse("", "p.toml") == Policy(name="p.toml")
    assert (policy.labelers, policy.verifiers) == ((ANN, BEN), (ANN,))


@pytest.mark.parametrize(
    "text",
    [
        "forbid = 1",
        "labels = []",
        "version = 2",
        "max_age = -1",
        "max_age = 1.5",
        'max_age = "1h"',
        "publishers = []",
        'publishers = ["alice.test"]',
        'unverified = ["everything"]',
        'unverified = "shards"',
        '[[forbid]]\nlabels = ["x"]',
        '[[forbid]]\nlabelers = ["did:web:a.test"]',
        '[[forbid]]\nlabels = []\nlabelers = ["did:web:a.test"]',
        '[[forbid]]\nlabels = [""]\nlabelers = ["did:web:a.test"]',
        '[[forbid]]\nlabels = "retracted"\nlabelers = ["did:web:a.test"]',
        '[[forbid]]\nlabels = ["x"]\nlabelers = []',
        '[[forbid]]\nlabels = ["x"]\nlabelers = ["did:web:a.test"]\ncount = 2',
        '[[forbid]]\nlabels = ["x"]\nlabeler = ["did:web:a.test"]',
        '[[require]]\nlabels = ["x"]\nlabelers = ["did:web:a.test"]\ncount = 2',
        '[[require]]\nlabels = ["x"]\nlabelers = ["did:web:a.test"]\ncount = 0',
        '[[require]]\nlabels = ["x"]\nlabelers = ["did:web:a.test", "did:web:a.test"]\ncount = 2',
        '[[verify]]\nverifiers = ["did:web:a.test"]\nmethods = "codeReview"',
        '[[verify]]\nverifiers = ["did:web:a.test"]\nmethods = ["codereview"]',
        "[[verify]]\nverifiers = []",
        '[[verify]]\nverifiers = ["Local"]',
        '[[verify]]\nverifiers = ["@local"]',
        '[[verify]]\nverifiers = ["local", "local"]\ncount = 2',
        '[[forbid]]\nlabels = ["x"]\nlabelers = ["local"]',
        'publishers = ["local"]',
        'unverified = ["lenses"]\n[[verify]]\nverifiers = ["did:web:a.test"]',
        '[pins]\n"at://did:web:a.test" = "bafy"',
        f'[pins]\n"at://alice.test/x.y.z/1" = "{V1}"',
        '[pins]\n"at://did:web:a.test/x.y.z/1" = "latest"',
        "[[forbid",
        "\x00",
        "a = " + "[" * 5000,
    ],
)
def test_what_cannot_be_meant_is_no_policy(text: str) -> None:
    with pytest.raises(UsageError):
        Policy.parse(text)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * (1 << 21)])
def test_a_file_that_is_no_policy_is_an_error(tmp_path: Any, content: bytes | None) -> None:
    place = tmp_path / "p.toml"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Policy.load(place)
    assert caught.value.path == str(place)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Policy(forbid=(Require(("x",), (ANN,)),)),  # type: ignore[arg-type]
        lambda: Policy(unverified=frozenset({"labels"})),
        lambda: Policy(publishers=()),
        lambda: Policy(max_age=-1),
        lambda: Forbid((), (ANN,)),
        lambda: Forbid("retracted", (ANN,)),  # type: ignore[arg-type]
        lambda: Forbid(("x" * 129,), (ANN,)),
        lambda: Require(("x",), (ANN,), 2),
        lambda: Verify(()),
        lambda: Verify((ANN,), ("reading",)),
    ],
)
def test_what_cannot_be_meant_is_refused_in_code_too(make: Any) -> None:
    with pytest.raises(UsageError):
        make()
