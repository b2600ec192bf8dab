"""Signed labels: real ones are read and verified, what is none is refused, and folding them does not depend on order."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.identity import DidDocument
from atdata.atproto.keys import PrivateKey, PublicKey
from atdata.atproto.labels import SignedLabel, in_force, undisputed
from atdata.atproto.syntax import Did
from atdata.errors import DataModelError, IdentityError, SignatureError

# A label and its negation as the reference labeler (Ozone, in @atproto/dev-env 0.6.7) gave them out, and its key.
OZONE = PublicKey.from_did_key("did:key:zQ3shiWusCa1XSvV8jjX1SvGjVN9kgvi8uTLGYL6t5MV7jKoF")
LABEL: dict[str, Any] = {
    "ver": 1,
    "src": "did:plc:b3hzsemb3qmmromdkdptwpk6",
    "uri": "at://did:plc:ka67jce5a5p3cidw6y3j23hv/science.alt.dataset.entry/3n3fjgyixis27",
    "cid": "bafyreigytyuzy2gyumbcmbnhuif43gnvrhfipoeto4hmoc4hzghakbdxra",
    "val": "retracted",
    "cts": "2026-11-28T20:16:26.079Z",
    "sig": {"$bytes": "cFWbNWkBVTRABx5vI8xiqEwRyikbeh/5c5ZhMYNWbG1hy2fkrCLqafhC/FZ6MPC2k+D9mgvU0m6Ut9UAr3YmuA"},
}
NEGATION: dict[str, Any] = {
    **LABEL,
    "neg": True,
    "cts": "2026-11-28T20:16:26.456Z",
    "sig": {"$bytes": "AptG4bkmg985cOD2o/wmj4Aa7zQjgq2gKxxlDWfMXOclZm4i0GjWixhXOkpTeaCHQ+T4835thZlEG0s8tMCTMg"},
}
DOCUMENT: dict[str, Any] = {
    "id": LABEL["src"],
    "verificationMethod": [
        {
            "id": "#atproto_label",
            "type": "EcdsaSecp256k1VerificationKey2019",
            "controller": LABEL["src"],
            "publicKeyMultibase": (
                "zNdDczRp4nQQkLvxXvp5vKJgmidPrwr3erGFJwtinzHicdtTCSQVKVMAamVNB3B9yga15giXtdCQ7r5Hdp3n46h4z"
            ),
        }
    ],
    "service": [
        {"id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": "http://localhost:42075"},
    ],
}
# The vector of indigo (atproto/labeling/label_test.go): a label of an account.
ACCOUNT = PublicKey.from_multibase("zQ3shcnfWLQN1bY4d2patsEAYFzy4xp1zdckEvHsV7S4ocTnC")
ACCOUNT_LABEL = {
    "ver": 1,
    "src": "did:plc:n3timvoib5nau7gvwd6cshap",
    "uri": "did:plc:44ybard66vv44zksje25o7dz",
    "val": "bladerunner",
    "cts": "2024-10-23T17:51:19.128Z",
    "sig": {"$bytes": "uCRNA5mTzh078T5xZtkvLEt/O+z0gsKM3aqRI/lVAB8ZtbMnznwS/JwHopZE40JhNNDj80z8gsDLAp/hWqG5Pg"},
}


@pytest.mark.parametrize(
    ("said", "key"), [(LABEL, OZONE), (NEGATION, OZONE), (ACCOUNT_LABEL, ACCOUNT)], ids=["label", "negation", "account"]
)
def test_labels_of_real_labelers_are_verified(said: dict[str, Any], key: PublicKey) -> None:
    label = SignedLabel.parse(said)
    label.verify(key)
    assert label.to_json() == said
    assert SignedLabel.parse({**said, "$type": "com.atproto.label.defs#label", "seq": 7}).signed == label.signed
    other = ACCOUNT if key is OZONE else OZONE
    with pytest.raises(SignatureError) as caught:
        label.verify(other)
    assert caught.value.step == "label"


@pytest.mark.parametrize(
    "change",
    [
        {"uri": LABEL["uri"] + "a"},
        {"val": "retracte"},
        {"src": "did:plc:b3hzsemb3qmmromdkdptwpk7"},
        {"cid": "bafyreigytyuzy2gyumbcmbnhuif43gnvrhfipoeto4hmoc4hzghakbdxrb"},
        {"cts": "2026-11-28T20:16:26.078Z"},
        {"exp": "2036-11-28T20:16:26.078Z"},
        {"neg": False},
        {"neg": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_label_that_says_something_else_is_not_verified(change: dict[str, Any]) -> None:
    try:
        label = SignedLabel.parse({**LABEL, **change})
    except DataModelError:
        assert "cid" in change  # what is no CID in its one form is refused before
        return
    with pytest.raises(SignatureError):
        label.verify(OZONE)
    without = {name: value for name, value in LABEL.items() if name != "cid"}
    with pytest.raises(SignatureError):
        SignedLabel.parse(without).verify(OZONE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ver", None),
        ("ver", 0),
        ("ver", 2),
        ("ver", True),
        ("ver", "1"),
        ("src", "alice.test"),
        ("src", 1),
        ("uri", "no address"),
        ("uri", ""),
        ("val", ""),
        ("val", "x" * 129),
        ("val", "é" * 65),
        ("val", ["retracted"]),
        ("cid", "bafy"),
        ("cid", ""),
        ("cid", None),
        ("cts", "yesterday"),
        ("cts", "2026-02-30T00:00:00Z"),
        ("cts", 1),
        ("exp", "2026-11-28"),
        ("neg", "true"),
        ("neg", 1),
        ("sig", "cFWbNWkBVTRABx5v"),
        ("sig", None),
    ],
)
def test_what_is_no_label_is_refused(path: str, value: Any) -> None:
    with pytest.raises(DataModelError) as caught:
        SignedLabel.parse({**LABEL, path: value})
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["ver", "src", "uri", "val", "cts", "sig"])
def test_a_label_that_lacks_a_member_is_refused(name: str) -> None:
    said = copy.deepcopy(LABEL)
    del said[name]
    with pytest.raises(DataModelError) as caught:
        SignedLabel.parse(said)
    assert caught.value.path == name


@pytest.mark.parametrize("value", [None, [], "label", 1, {}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(DataModelError):
        SignedLabel.parse(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LABEL, "$bytes", "$link"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*LABEL, "neg", "exp", "$type"]), JSON, max_size=4))
def test_whatever_stands_in_a_label_it_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        label = SignedLabel.parse({**LABEL, **change})
    except DataModelError:
        return
    try:
        label.verify(OZONE)
    except SignatureError:
        return
    assert label == SignedLabel.parse(LABEL)


def test_the_key_of_labels_and_no_other_is_taken_from_a_document() -> None:
    document = DidDocument.parse(DOCUMENT, LABEL["src"])
    assert (document.label_key, document.labeler) == (OZONE, "http://localhost:42075")
    as_repository_key = {**DOCUMENT["verificationMethod"][0], "id": "#atproto"}
    others = DidDocument.parse({**DOCUMENT, "verificationMethod": [as_repository_key], "service": []}, LABEL["src"])
    assert others.signing_key == OZONE
    for ask in (lambda: others.label_key, lambda: others.labeler):
        with pytest.raises(IdentityError):
            ask()


# --- folding

KEY = PrivateKey.from_bytes("k256", bytes(range(1, 33)))
START = datetime(2026, 1, 1, tzinfo=UTC)
A, B = (Cid.of_cbor(text) for text in (b"\x01", b"\x02"))
URIS = ("at://did:plc:44ybard66vv44zksje25o7dz/x.y.z/1", "did:plc:44ybard66vv44zksje25o7dz")


def moment(hours: int) -> str:
    return (START + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def label(
    hours: int, *, cid: Cid | None = None, neg: bool = False, exp: int | None = None, val: str = "bad", who: str = "a"
) -> SignedLabel:
    """A label made in an hour; who signed it does not matter to folding, so the signature is not made."""
    members = {"ver": 1, "src": f"did:web:{who}.test", "uri": URIS[0], "val": val, "cts": moment(hours)}
    members |= {} if cid is None else {"cid": str(cid)}
    members |= {} if exp is None else {"exp": moment(exp)}
    members |= {"neg": True} if neg else {}
    return SignedLabel._read(members, b"")


NOW = START + timedelta(hours=10)
ONE = label(1)
FOLDS: dict[str, tuple[list[SignedLabel], list[SignedLabel], list[SignedLabel]]] = {
    # what was said; what is in force in hour 10; what of it is undisputed
    "nothing": ([], [], []),
    "a label": ([ONE], [ONE], [ONE]),
    "one of a version": ([label(1, cid=A)], [label(1, cid=A)], [label(1, cid=A)]),
    "said twice": ([ONE, ONE], [ONE], [ONE]),
    "negated": ([ONE, label(2, neg=True)], [], []),
    "negated first": ([ONE, label(0, neg=True)], [ONE], [ONE]),
    "negated at once": ([ONE, label(1, neg=True)], [ONE], []),
    "said again": ([ONE, label(2, neg=True), label(3)], [label(3)], [label(3)]),
    "only a negation": ([label(1, neg=True)], [], []),
    "another value negated": ([ONE, label(2, neg=True, val="other")], [ONE], [ONE]),
    "negated by another": ([ONE, label(2, neg=True, who="b")], [ONE], [ONE]),
    "all versions negated": ([label(1, cid=A), label(1, cid=B), label(2, neg=True)], [], []),
    "one version negated": (
        [label(1, cid=A), label(1, cid=B), label(2, cid=A, neg=True)],
        [label(1, cid=B)],
        [],
    ),
    "of all, one version negated": ([ONE, label(2, cid=A, neg=True)], [ONE], []),
    "of all, then one": ([ONE, label(2, cid=A)], [ONE, label(2, cid=A)], [ONE, label(2, cid=A)]),
    "expired": ([label(1, exp=9)], [], []),
    "expires now": ([label(1, exp=10)], [], []),
    "expires later": ([label(1, exp=11)], [label(1, exp=11)], [label(1, exp=11)]),
    "shortened": ([ONE, label(2, exp=9)], [], []),
    "shortened at once": ([ONE, label(1, exp=9)], [ONE], []),
    "extended": ([label(1, exp=9), label(2, exp=20)], [label(2, exp=20)], [label(2, exp=20)]),
    "the negation expired": ([ONE, label(2, neg=True, exp=9)], [ONE], []),
    "the negation will expire": ([ONE, label(2, neg=True, exp=11)], [], []),
    "dated ahead": ([label(20)], [label(20)], [label(20)]),
}


@pytest.mark.parametrize("name", FOLDS)
def test_what_is_in_force(name: str) -> None:
    said, standing, certain = FOLDS[name]
    for order in itertools.permutations(said):
        assert set(in_force(order, NOW)) == set(standing)
        assert set(undisputed(order, NOW)) == set(certain)


def labels() -> st.SearchStrategy[list[SignedLabel]]:
    hours = st.integers(0, 4)
    some = st.builds(
        label,
        hours,
        cid=st.sampled_from([None, A, B]),
        neg=st.booleans(),
        exp=st.sampled_from([None, None, 9, 11]),
        val=st.sampled_from(["bad", "worse"]),
        who=st.sampled_from("ab"),
    )
    return st.lists(some, max_size=12)


@given(labels(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_never_matters(said: list[SignedLabel], random: Any) -> None:
    again = [*said, *random.sample(said, len(said) // 2)]
    random.shuffle(again)
    assert in_force(again, NOW) == in_force(said, NOW)
    assert undisputed(again, NOW) == undisputed(said, NOW)


@given(labels())
def test_what_is_undisputed_is_in_force_and_was_said(said: list[SignedLabel]) -> None:
    standing = in_force(said, NOW)
    assert set(undisputed(said, NOW)) <= set(standing) <= {one for one in said if not one.neg}


@given(labels(), labels())
def test_labelers_and_values_do_not_touch_each_other(said: list[SignedLabel], others: list[SignedLabel]) -> None:
    alone = [one for one in said if (one.src, one.val) == ("did:web:a.test", "bad")]
    rest = [one for one in [*said, *others] if (one.src, one.val) != ("did:web:a.test", "bad")]
    assert set(in_force([*alone, *rest], NOW)) == {*in_force(alone, NOW), *in_force(rest, NOW)}


@given(labels())
def test_a_negation_of_all_versions_ends_everything_before_it(said: list[SignedLabel]) -> None:
    ends = [label(5, neg=True, val=val, who=who) for val in ("bad", "worse") for who in "ab"]
    assert in_force([*said, *ends], NOW) == ()


@given(labels())
def test_of_what_is_said_one_after_the_other_the_last_word_counts(said: list[SignedLabel]) -> None:
    """A model: one state for each version, changed by each word in turn."""
    words = [one for number, one in enumerate(sorted(said, key=lambda one: one.cts)) if one.exp is None]
    words = [label(n, cid=one.cid, neg=one.neg, val=one.val, who=one.src[8]) for n, one in enumerate(words)]
    state: dict[Any, SignedLabel] = {}
    for word in words:
        key = (word.src, word.val)
        if not word.neg:
            state[*key, word.cid] = word
        else:
            state = {at: one for at, one in state.items() if at[:2] != key or word.cid not in (None, at[2])}
    assert set(in_force(words, NOW)) == set(state.values())


def test_a_labeler_that_says_much_is_folded_all_the_same() -> None:
    said = [label(number % 9, cid=A, val="bad", exp=number + 11) for number in range(3_000)]
    said += [label(number % 9, cid=B, neg=True, exp=number + 11) for number in range(3_000)]
    standing = in_force(said, NOW)
    assert {one.cts for one in standing} == {START + timedelta(hours=8)}
    assert undisputed(said, NOW) == ()


@given(
    st.text(min_size=1, max_size=20).filter(lambda text: text.encode("utf-8", "replace").decode() == text),
    st.sampled_from(URIS),
    st.sampled_from([None, A]),
    st.booleans(),
    st.sampled_from([None, moment(3)]),
)
def test_what_is_signed_is_verified(val: str, uri: str, cid: Cid | None, neg: bool, exp: str | None) -> None:
    made = SignedLabel.sign(KEY, src=Did("did:web:a.test"), uri=uri, val=val, cts=moment(1), cid=cid, neg=neg, exp=exp)
    made.verify(KEY.public)
    read = SignedLabel.parse(made.to_json())
    assert read == made
    read.verify(KEY.public)
    with pytest.raises(SignatureError):
        read.verify(OZONE)
