"""The list of trusted verifiers, and what verifications are worth by it: told to whoever asks, never as a bare yes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AtdataError, IdentifierError, LimitError, NotFoundError, UsageError
from atdata.records.nsids import LENS_VERIFICATION
from atdata.replica import Replica
from atdata.trust import LensVerifications, TrustedVerifier, VerifierList, judging, verifiers
from support.appviews import ALICE, BOB, LENS, SCHEMA, Asker, Author, answering

CAROL, DAN = Did("did:plc:vpkhqolt662uhesyj6nxm7ys"), Did("did:web:dan.example")
URI = f"at://{ALICE}/{LENS}/a"
CODE = {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}


def lens(name: str) -> dict[str, Any]:
    ends = {"sourceSchema": f"at://{ALICE}/{SCHEMA}/one:1.0.0", "targetSchema": f"at://{ALICE}/{SCHEMA}/two:1.0.0"}
    said = {"name": name, "createdAt": "2026-01-01T00:00:00.000Z", "getterCode": CODE, "putterCode": CODE}
    return {"$type": LENS, **said, **ends}


def verification(cid: str, method: str = "codeReview", day: int = 1, **members: Any) -> dict[str, Any]:
    said = {"lens": URI, "lensCommit": cid, "verificationMethod": method}
    return {"$type": str(LENS_VERIFICATION), **said, "createdAt": f"2026-02-{day:02}T00:00:00.000Z", **members}


def cid_of(replica: Replica) -> str:
    found = replica.read(lambda reading: reading.get(AtUri(URI)))
    assert found is not None
    return str(found.cid)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def appview(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Replica, Asker]]:
    where = request.getfixturevalue("postgres_url") if request.param == "postgresql" else tmp_path / "appview.db"
    with answering(where) as pair:
        yield pair


def verify(replica: Replica, who: Did, *said: dict[str, Any]) -> None:
    Author(replica, who).write({f"{LENS_VERIFICATION}/v{number}": value for number, value in enumerate(said)})


# --- the list


def test_each_change_is_a_version_and_the_past_is_served(appview: tuple[Replica, Asker]) -> None:
    replica, asker = appview
    assert asker.get("getTrustedVerifiers").json == {"version": 0, "verifiers": [], "changes": []}
    assert operator.trust_verifier(replica, BOB, "reads each line") == 1
    assert operator.trust_verifier(replica, CAROL, "proves it", ["formalProof", "codeReview"]) == 2
    assert operator.trust_verifier(replica, CAROL, "proves it", ["codeReview", "formalProof"]) == 2  # the same again
    assert operator.distrust_verifier(replica, BOB, "asked to be left out") == 3
    assert operator.trust_verifier(replica, CAROL, "proves it", ["formalProof"]) == 4
    assert operator.trust_verifier(replica, BOB, "came back") == 5
    said = asker.get("getTrustedVerifiers", limit=2).json
    first, second = operator.trusted_verifiers(replica, 2).verifiers[CAROL], said["verifiers"][0]
    assert (said["version"], [one["did"] for one in said["verifiers"]]) == (5, [CAROL, BOB])
    assert second["methods"] == ["formalProof"]
    assert first.methods == ("codeReview", "formalProof")
    assert operator.trusted_verifiers(replica).verifiers[CAROL].since == first.since  # other methods are no break
    assert operator.trusted_verifiers(replica).verifiers[BOB].since > first.since  # having been off the list is one
    assert [(one["did"], one["action"], one["why"]) for one in said["changes"]] == [
        (BOB, "trust", "came back"),
        (CAROL, "trust", "proves it"),
    ]
    earlier = asker.get("getTrustedVerifiers", limit=2, cursor=said["cursor"]).json
    assert [one["version"] for one in earlier["changes"]] == [3, 2]
    old = asker.get("getTrustedVerifiers", version=1).json
    assert ([one["did"] for one in old["verifiers"]], [one["version"] for one in old["changes"]]) == ([BOB], [1])
    assert old["verifiers"][0]["handle"] == "bob.example"
    assert asker.error("getTrustedVerifiers", version=6) == (404, "VersionNotFound")
    assert asker.error("getTrustedVerifiers", version=-1) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("did", "why", "methods", "error"),
    [
        ("bob.example", "x", [], IdentifierError),
        (BOB, "", [], UsageError),
        (BOB, " \n", [], UsageError),
        (BOB, "x" * 1001, [], UsageError),
        (BOB, "x", ["codereview"], UsageError),
        (BOB, "x", "codeReview", UsageError),
        (BOB, 3, [], UsageError),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    tmp_path: Path, did: str, why: Any, methods: Any, error: type[AtdataError]
) -> None:
    replica = open_appview(tmp_path / "a.db")
    with pytest.raises(error) as raised:
        operator.trust_verifier(replica, did, why, methods)
    assert raised.value.hint
    with pytest.raises(NotFoundError, match="not on the list"):
        operator.distrust_verifier(replica, BOB, "x")
    assert operator.trusted_verifiers(replica).version == 0
    with pytest.raises(NotFoundError, match="no such version"):
        operator.trusted_verifiers(replica, 1)
    replica.close()


def test_the_list_is_bounded_and_reasons_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "MAX_LISTED", 2)
    replica = open_appview(tmp_path / "a.db")
    operator.trust_verifier(replica, BOB, "nul \0, half \ud800, <script>")
    operator.trust_verifier(replica, CAROL, "x")
    with pytest.raises(LimitError):
        operator.trust_verifier(replica, DAN, "x")
    operator.trust_verifier(replica, CAROL, "y")
    operator.distrust_verifier(replica, CAROL, "x")
    operator.trust_verifier(replica, DAN, "x")
    assert [change.version for change in operator.trust_changes(replica, 2)] == [5, 4]
    assert operator.trusted_verifiers(replica).verifiers[BOB].why == "nul \0, half ?, <script>"
    replica.close()


def test_who_changes_it_at_the_same_time_makes_versions_of_their_own(appview: tuple[Replica, Asker]) -> None:
    replica, _ = appview
    made: list[int] = []

    def add(number: int) -> None:
        made.extend(operator.trust_verifier(replica, f"did:web:v{number}-{n}.example", "x") for n in range(5))

    threads = [threading.Thread(target=add, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 16))
    assert len(operator.trusted_verifiers(replica).verifiers) == 15


# --- what a verification is worth

HASH = {"codeHash": {"algorithm": "sha256", "digest": "ab" * 32}}
Case = tuple[str, list[dict[str, Any]], list[str], list[tuple[str, str]]]
CASES: list[Case] = [
    ("listed", [{}], [], [("counts", "trusted")]),
    ("for its method", [{}], ["codeReview"], [("counts", "trusted")]),
    ("for another method", [{}], ["formalProof"], [("counts", "otherMethod")]),
    ("of a method unknown", [{"method": "guess"}], [], [("counts", "trusted")]),
    ("negative", [{"verdict": "fails"}], [], [("negative", "trusted")]),
    ("of a verdict unknown", [{"verdict": "mostly"}], [], [("negative", "trusted")]),
    ("with a counterexample", [{"verdict": "holds", "counterexample": {}}], [], [("negative", "trusted")]),
    ("of another version", [{"cid": "bafyreigh2akiscaildc"}], [], [("stale", "trusted")]),
    ("a hash without one", [{"method": "signedHash"}], [], [("invalid", "trusted")]),
    ("a hash", [{"method": "signedHash", **HASH}], [], [("counts", "trusted")]),
    ("said anew", [{"day": 2, "verdict": "fails"}, {}], [], [("negative", "trusted"), ("superseded", "trusted")]),
    ("taken back", [{"day": 2}, {"verdict": "fails"}], [], [("counts", "trusted"), ("superseded", "trusted")]),
    (
        "by two methods",
        [{}, {"method": "formalProof"}],
        ["codeReview"],
        [("counts", "trusted"), ("counts", "otherMethod")],
    ),
]


@pytest.mark.parametrize(("_name", "said", "methods", "worth"), CASES, ids=[case[0] for case in CASES])
def test_what_a_verification_is_worth(
    tmp_path: Path, _name: str, said: list[dict[str, Any]], methods: list[str], worth: list[tuple[str, str]]
) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        Author(replica).write({f"{LENS}/a": lens("a lens")})
        cid = cid_of(replica)
        verify(replica, BOB, *(verification(**{"cid": cid, **members}) for members in said))
        verify(replica, CAROL, verification(cid))
        operator.trust_verifier(
            replica, BOB, "reads each line", methods
        )  # after what it said, which counts all the same
        views = asker.get("listVerifications", lens=URI, repo=BOB).json["verifications"]
        shown = {view["uri"][-1]: view for view in asker.get("getLens", uri=URI).json["lens"]["verifications"]}
        for number, (reason, trust) in enumerate(worth):
            view = next(view for view in views if view["uri"].endswith(f"v{number}"))
            standing = view["standing"]
            assert (standing.get("reason", "counts"), standing["trust"]) == (reason, trust)
            assert standing["counts"] is (reason == "counts")
            assert bool(standing.get("why")) is (reason != "counts")
            assert view["stale"] is (reason == "stale")
            assert standing["serviceTrust"] == trust
        assert {
            view["standing"]["trust"] for view in asker.get("listVerifications", repo=CAROL).json["verifications"]
        } == {"unlisted"}
        assert shown  # and with the lens


def test_trust_ends_when_the_list_says_so_and_a_client_may_bring_its_own(appview: tuple[Replica, Asker]) -> None:
    replica, asker = appview
    author = Author(replica)
    author.write({f"{LENS}/a": lens("a lens")})
    for who in (BOB, CAROL):
        verify(replica, who, verification(cid_of(replica)))
    operator.trust_verifier(replica, BOB, "x")

    def trusted(**params: Any) -> tuple[dict[str, tuple[str, str]], Any]:
        view = asker.get("getLens", uri=URI, **params).json["lens"]
        listed = asker.get("listLenses", **params).json["lenses"]
        assert listed[0]["verifications"] == view["verifications"]
        assert view["verificationsTotal"] == 2
        said = asker.get("listVerifications", lens=URI, **params).json
        assert said["trust"] == view["trust"]
        standings = {each["did"]: each["standing"] for each in said["verifications"]}
        assert standings == {each["verifier"]: each["standing"] for each in view["verifications"]}
        return {did: (one["trust"], one["serviceTrust"]) for did, one in standings.items()}, view["trust"]

    assert trusted() == (
        {BOB: ("trusted", "trusted"), CAROL: ("unlisted", "unlisted")},
        {"list": "service", "serviceVersion": 1},
    )
    own = {"list": "client", "serviceVersion": 1, "verifiers": [CAROL]}
    assert trusted(verifiers=[CAROL]) == ({BOB: ("unlisted", "trusted"), CAROL: ("trusted", "unlisted")}, own)
    operator.distrust_verifier(replica, BOB, "was bought")
    assert trusted()[0] == {BOB: ("unlisted", "unlisted"), CAROL: ("unlisted", "unlisted")}
    for hostile in (["bob.example"], ["did:web:x"] * 33, ["did:web:\0"], [f"did:plc:{'a' * 3000}"]):
        for method in ("getLens", "listVerifications"):
            assert asker.error(method, uri=URI, verifiers=hostile) == (400, "InvalidRequest")
    author.write({f"{LENS}/a": lens("another")})
    assert {view["stale"] for view in asker.get("listVerifications", lens=URI).json["verifications"]} == {True}
    author.write({f"{LENS}/a": None})
    (one, _) = asker.get("listVerifications", lens=URI).json["verifications"]
    assert (one["standing"]["reason"], one["standing"]["counts"], one["stale"]) == ("absent", False, True)


def test_nobody_hides_a_trusted_verifier_by_saying_much(
    appview: tuple[Replica, Asker], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, asker = appview
    monkeypatch.setattr(judging, "MAX_COUNTED", 12)
    monkeypatch.setattr(judging, "MAX_SAID", 10)
    Author(replica).write({f"{LENS}/a": lens("a lens")})
    cid = cid_of(replica)
    verify(replica, CAROL, verification(cid))
    verify(replica, BOB, *(verification(cid, f"way{number}", day=9) for number in range(30)))
    listed = VerifierList({CAROL: TrustedVerifier(CAROL)})
    found = replica.read(lambda reading: LensVerifications.of(reading.sql, URI, listed, 5))
    assert (found.shown[0].did, len(found.shown), found.total) == (CAROL, 5, 12)
    operator.trust_verifier(replica, BOB, "x")  # who says more than anybody weighs is weighed no more
    views = asker.get("listVerifications", repo=BOB).json["verifications"]
    assert {view["standing"].get("reason") for view in views} == {"unproven"}
    monkeypatch.setattr(judging, "MAX_SAID", 100)
    monkeypatch.setattr(judging, "MAX_WEIGHED", 20)
    views = asker.get("listVerifications", repo=BOB).json["verifications"]
    assert {view["standing"].get("reason") for view in views} == {"unproven"}
