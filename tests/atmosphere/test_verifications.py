"""Verifications of lenses: written by their verifiers, and counting only while all that they say is so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import atdata
from atdata.atmosphere import (
    AtmosphereClient,
    AtUri,
    LensPublisher,
    SchemaPublisher,
    VerificationLoader,
    VerificationPublisher,
)
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import RecordKey, Tid
from atdata.errors import (
    ConflictError,
    IdentifierError,
    LensError,
    NotFoundError,
    NotTakenWarning,
    RollbackError,
    UsageError,
    VerificationError,
)
from atdata.index.deciding import Decision, Write
from atdata.index.verifications import Discount, JudgedVerification, VerificationReport
from atdata.lens import Program
from atdata.records import LensRecord, LensVerification
from atdata.testing import DevAccount, Lie, OldState, Teller, identity_lies, proof_lies
from atdata.testing.http import Answer, Request, ask
from support.networks import Network, fresh_handle, get, list_records, official_verdicts, post, unavailable

COLLECTION = "science.alt.dataset.lensVerification"
KEEP, OTHER = (  # by one character
    Program.of({"op": "scale", "field": "score", "factor": factor}, {"op": "drop", "field": "score"})
    for factor in (2, 3)
)
HASH = {"algorithm": "sha256", "digest": "0a" * 32}
TRIAL = {"samples": 200, "seed": "7", "space": "Full:1.0.0", "language": "atdata-lens 1"}


@atdata.packable
class Full:
    label: str
    score: float


@atdata.packable
class Simple:
    label: str


@pytest.fixture
def lens(network: Network, alice: DevAccount) -> str:
    """A lens of the first account."""
    client = network.client(alice)
    schemas = SchemaPublisher(client)
    ends = {"source_schema": schemas.publish(Full), "target_schema": schemas.publish(Simple)}
    return str(LensPublisher(client).publish(name="keep", program=KEEP, rkey="keep", **ends))


@pytest.fixture
def verifier(network: Network, bob: DevAccount) -> VerificationPublisher:
    """The second account, on another server, as a verifier."""
    return VerificationPublisher(network.client(bob))


def report(network: Network, lens: str, *verifiers: DevAccount) -> VerificationReport:
    """What a stranger finds."""
    return VerificationLoader(network.client()).of(lens, verifiers=[account.did for account in verifiers])


def reasons(found: VerificationReport) -> list[Discount | None]:
    return [item.reason for item in found]


def listed(account: DevAccount) -> list[dict[str, Any]]:
    """What the server says it has."""
    return list_records(account.pds_url, account.did, COLLECTION)


def put(account: DevAccount, **members: Any) -> str:
    """Write a record as other software might, whatever it says."""
    session = {"identifier": account.handle, "password": account.password}
    token = post(account.pds_url, "com.atproto.server.createSession", session)["accessJwt"]
    record = {
        "$type": COLLECTION,
        "createdAt": "2026-02-01T10:00:00.000Z",
        "verificationMethod": "codeReview",
        **members,
    }
    place = {"repo": account.did, "collection": COLLECTION, "rkey": str(Tid.now()), "validate": False}
    return str(post(account.pds_url, "com.atproto.repo.putRecord", {**place, "record": record}, token)["uri"])


def test_a_verification_is_in_its_verifiers_repository_and_counts(
    network: Network, lens: str, alice: DevAccount, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    uri = verifier.publish(lens, method="codeReview", description="Read it twice.")
    assert (uri.authority, uri.collection) == (bob.did, COLLECTION)
    found = report(network, lens, bob)
    [judged] = found
    assert (judged.counts, judged.why, judged.verifier, judged.uri) == (True, "", bob.did, uri)
    assert found.counting == (judged,)
    assert judged.record is not None
    assert judged.record.lens_commit == str(found.lens.cid)
    assert judged.record.evidence is not None
    assert judged.record.evidence.verify().uri == uri
    loader = VerificationLoader(network.client())
    assert loader.get(str(uri)).description == "Read it twice."
    assert [found.uri for found in loader.list_all(repo=bob.handle)] == [uri]
    assert [found.uri for found in VerificationLoader(network.client(bob)).list_all()] == [uri]
    assert reasons(report(network, lens, alice)) == [Discount.ABSENT], "it is nobody else's"
    by_handle = loader.of(lens, verifiers=[bob.handle, bob.did])
    assert [item.uri for item in by_handle.counting] == [uri], "asked for twice it counts once"


def test_a_report_is_no_yes_or_no(network: Network, lens: str, bob: DevAccount) -> None:
    found = report(network, lens, bob)
    with pytest.raises(UsageError, match="no yes or no"):
        bool(found)
    for nobody in ((), [], "did:plc:x"):
        with pytest.raises(UsageError, match="whose verifications"):
            VerificationLoader(network.client()).of(lens, verifiers=nobody)
    with pytest.raises(IdentifierError):
        VerificationLoader(network.client()).of(lens, verifiers=["no handle"])
    with pytest.raises(NotFoundError):
        VerificationLoader(network.client()).of(f"{lens}x", verifiers=[bob.did])


def test_what_is_said_again_is_one_record(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    first = verifier.publish(lens, "signedHash", code_hash=HASH, description="d")
    assert verifier.publish(lens, "signedHash", code_hash=HASH) == first
    assert VerificationPublisher(network.client(bob)).publish(lens, "signedHash", code_hash=HASH) == first
    with pytest.warns(NotTakenWarning):
        assert verifier.publish(lens, "signedHash", code_hash=HASH, description="other words") == first
    assert len(listed(bob)) == 1
    assert verifier.publish(lens, "codeReview") != first
    assert len(report(network, lens, bob).counting) == 2


def test_the_official_validator_accepts_them(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    proof = {"repository": "https://example.com/proofs", "commit": "0" * 40, "path": "proofs/a.lean"}
    verifier.publish(lens, "formalProof", proof_ref=proof, description="Lean 4")
    verifier.publish(lens, "signedHash", code_hash=HASH)
    verifier.publish(lens, "codeReview", verdict="holds")
    counterexample = {"law": "GetPut", "sample": {"score": "0.1"}}
    verifier.publish(lens, "automatedTest", verdict="fails", trial=TRIAL, counterexample=counterexample)
    assert sorted(reasons(report(network, lens, bob)), key=str) == [None, None, None, Discount.NEGATIVE]
    if not unavailable():
        assert [verdict["ok"] for verdict in official_verdicts(listed(bob))] == [True] * 4


def test_a_lens_that_changes_drops_them_all_at_once(
    network: Network, lens: str, alice: DevAccount, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    third = network.create_account(fresh_handle())
    verifier.publish(lens, "codeReview")
    verifier.publish(lens, "signedHash", code_hash=HASH)
    VerificationPublisher(network.client(third)).publish(lens, "codeReview")
    before = report(network, lens, bob, third)
    assert len(before.counting) == 3
    LensPublisher(network.client(alice)).update(lens, program=OTHER)
    after = report(network, lens, bob, third)
    assert after.counting == ()
    assert set(reasons(after)) == {Discount.STALE}
    with pytest.raises(ConflictError, match="has changed since it was verified"):
        verifier.publish(lens, "codeReview", lens_commit=str(before.lens.cid))
    verifier.publish(lens, "codeReview", lens_commit=str(after.lens.cid))
    assert [item.verifier for item in report(network, lens, bob, third).counting] == [bob.did]
    # The very version of before is what they verified.
    LensPublisher(network.client(alice)).update(lens, program=KEEP)
    assert len(report(network, lens, bob, third).counting) == 3


def test_what_is_said_last_is_what_is_said(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    verifier.publish(lens, "codeReview")
    verifier.publish(lens, "codeReview", verdict="fails")
    assert reasons(report(network, lens, bob)) == [Discount.NEGATIVE, Discount.SUPERSEDED]
    verifier.publish(lens, "codeReview")
    assert reasons(report(network, lens, bob)) == [None, Discount.SUPERSEDED, Discount.SUPERSEDED]
    commit = report(network, lens, bob).lens.cid
    put(bob, lens=lens, lensCommit=str(commit), createdAt="2999-01-01T00:00:00.000Z")  # by a clock that is ahead
    verifier.publish(lens, "codeReview", verdict="fails")
    assert reasons(report(network, lens, bob))[:2] == [Discount.NEGATIVE, Discount.SUPERSEDED]


def test_what_others_write_counts_only_if_it_is_valid(network: Network, lens: str, bob: DevAccount) -> None:
    commit = str(report(network, lens, bob).lens.cid)
    written: dict[str, Discount | None] = {
        put(bob, lens=lens, lensCommit=commit, verificationMethod="laterMethod"): None,
        put(bob, lens=lens, lensCommit=commit, verificationMethod="signedHash"): Discount.INVALID,
        put(bob, lens=lens, lensCommit=commit, verificationMethod="other", verdict="dunno"): Discount.NEGATIVE,
        put(bob, lens=lens, lensCommit=commit, verificationMethod="a", counterexample=5): Discount.NEGATIVE,
        put(bob, lens=lens, lensCommit="no CID"): Discount.STALE,
        put(bob, lens=lens, lensCommit=commit, createdAt="yesterday"): Discount.MALFORMED,
        put(bob, lens=lens, lensCommit=5): Discount.MALFORMED,
    }
    put(bob, lens=f"{lens}x", lensCommit=commit)  # of another lens
    put(bob, lens=5)
    found = report(network, lens, bob)
    assert {item.uri: item.reason for item in found} == written
    assert all(bool(item.why) != item.counts for item in found)
    assert len(network.client().reader.malformed(bob.did)) == 3


def test_an_account_that_is_not_active_counts_nothing(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    verifier.publish(lens, "codeReview")
    session = {"identifier": bob.handle, "password": bob.password}
    token = post(bob.pds_url, "com.atproto.server.createSession", session)["accessJwt"]
    with_token = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    client = network.client()

    def of() -> list[Discount | None]:
        return reasons(VerificationLoader(client).of(lens, verifiers=[bob.did]))

    assert of() == [None]
    assert ask_status("POST", f"{bob.pds_url}/xrpc/com.atproto.server.deactivateAccount", with_token, b"{}") == 200
    assert of() == [Discount.INACTIVE]
    assert ask_status("POST", f"{bob.pds_url}/xrpc/com.atproto.server.activateAccount", with_token, None) == 200
    assert of() == [None]


def ask_status(verb: str, url: str, headers: dict[str, str], body: bytes | None) -> int:
    kept = headers if body is not None else {"authorization": headers["authorization"]}
    return ask(verb, url, kept, body or b"")[0]


@pytest.mark.parametrize("said", [{"active": False, "status": "takendown"}, {}, {"active": "true"}, {"active": 1}])
def test_a_server_that_says_anything_else_says_no(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher, said: dict[str, Any]
) -> None:
    """It still serves the repository of an account that it does not call active."""
    verifier.publish(lens, "codeReview")
    network.tell(on("getRepoStatus", lambda _: Answer.json({"did": bob.did, **said})))
    assert reasons(report(network, lens, bob)) == [Discount.INACTIVE]
    network.tell(on("getRepoStatus", lambda _: Answer.error(501, "MethodNotImplemented", "no")))
    [judged] = report(network, lens, bob)
    assert judged.reason == Discount.UNPROVEN
    assert judged.error is not None


def on(method: str, change: Callable[[Answer], Answer]) -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: change(answer) if request.path.endswith(f"sync.{method}") else answer


def test_arguments_that_cannot_be_meant_write_nothing(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    for wrong in (
        {"method": "signedHash"},
        {"method": "vibes"},
        {"method": "codeReview", "verdict": "maybe"},
        {"method": "codeReview", "counterexample": {}},
        {"method": "automatedTest", "trial": {"samples": 3}},
        {"method": "signedHash", "code_hash": {"algorithm": "none", "digest": ""}},
    ):
        with pytest.raises(UsageError):
            verifier.publish(lens, **wrong)
    with pytest.raises(LensError):
        verifier.publish(lens, "formalProof", proof_ref={"repository": "https://example.com/r", "commit": "main"})
    with pytest.raises(NotFoundError):
        verifier.publish(f"{lens}x", "codeReview")
    with pytest.raises(UsageError, match="names no lens"):
        verifier.publish(lens.replace(".lens/", ".entry/"), "codeReview")
    with pytest.raises(UsageError):
        verifier.publish(lens, "codeReview", description="the key is AKIAIOSFODNN7EXAMPL3")
    assert listed(bob) == []


def test_an_answer_that_is_lost_leaves_one_record(
    network: Network, lens: str, bob: DevAccount, verifier: VerificationPublisher
) -> None:
    lost = []

    def lose(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("applyWrites") and not lost:
            lost.append(request)
            return Answer.error(502, "UpstreamFailure", "gone")
        return answer

    network.tell(lose)
    uri = verifier.publish(lens, "codeReview")
    assert lost
    assert [record["uri"] for record in listed(bob)] == [uri]


# --- lies


@dataclass
class Scene:
    """A verified lens; the repositories' trees are deep, so that there is something to lie about."""

    network: Network
    author: DevAccount
    verifier: DevAccount
    other: DevAccount
    lens: str
    other_car: bytes

    def lies(self) -> list[Lie]:
        return [*proof_lies(lambda _: self.other_car), *identity_lies(self.verifier.did, self.other.did)[:-1]]

    def judged(self) -> list[JudgedVerification]:
        return list(report(self.network, self.lens, self.verifier))


_scenes: dict[int, Scene] = {}


@pytest.fixture
def scene(network: Network) -> Scene:
    if id(network) not in _scenes:
        author, verifier, other = (network.create_account(fresh_handle(), server=number) for number in (0, 1, 0))
        client = network.client(author)
        schemas = SchemaPublisher(client)
        ends = {"source_schema": schemas.publish(Full), "target_schema": schemas.publish(Simple)}
        lens = str(LensPublisher(client).publish(name="keep", program=KEEP, rkey="keep", **ends))
        for account in (author, verifier):
            fill(network.client(account))
        VerificationPublisher(network.client(verifier)).publish(lens, "codeReview")
        car = get(other.pds_url, "com.atproto.sync.getRecord", did=other.did, collection=COLLECTION, rkey="-")
        _scenes[id(network)] = Scene(network, author, verifier, other, lens, car)
    return _scenes[id(network)]


def fill(client: AtmosphereClient) -> None:
    """Write sixty verifications of another lens, in one commit: a tree with inner nodes, the same each time."""

    def decide(state: State) -> Decision[None]:
        lens = AtUri.of(state.did, LensRecord.NSID, RecordKey("another"))
        filler = LensVerification(lens=lens, lens_commit=str(state.commit), method="codeReview")
        placed = [state.place(filler, RecordKey(f"filler{number}")) for number in range(60)]
        return Decision(None, list(map(Write.create, placed)))

    client.records.transact([LensVerification], decide)


LIES = [*(lie.name for lie in proof_lies(lambda _: b"")), *(lie.name for lie in identity_lies("", "")[:-1])]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_a_verification_is_found_out(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    assert [item.reason for item in scene.judged()] == [None]  # the control
    teller = Teller(lie)
    for server in (scene.network.plc_server, scene.network.pds_servers[1]):  # not the one that has the lens
        server.tamper = teller
    [judged] = scene.judged()
    assert teller.told, "the lie was never told"
    assert judged.reason == Discount.UNPROVEN
    assert judged.error is not None
    assert judged.error.step in lie.steps


@pytest.mark.parametrize("name", [lie.name for lie in proof_lies(lambda _: b"")])
def test_a_lie_about_the_lens_is_an_error(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    teller = Teller(lie)
    scene.network.pds_servers[0].tamper = teller
    with pytest.raises(VerificationError) as caught:
        scene.judged()
    assert teller.told
    assert caught.value.step in lie.steps


def test_an_older_state_than_one_seen_brings_back_nothing(scene: Scene) -> None:
    """A verdict that was taken back is not shown again to who has seen that."""
    client = scene.network.client(folder=f"verifications{id(scene)}")

    def judged() -> list[JudgedVerification]:
        return list(VerificationLoader(client).of(scene.lens, verifiers=[scene.verifier.did]))

    old = OldState()
    scene.network.tell(old)
    assert [item.reason for item in judged()] == [None]
    scene.network.tell(None)
    writer = scene.network.client(scene.verifier)
    negative = VerificationPublisher(writer).publish(scene.lens, "codeReview", verdict="fails")
    assert [item.reason for item in judged()] == [Discount.NEGATIVE, Discount.SUPERSEDED]
    old.recording = False
    scene.network.tell(old)
    [found] = judged()
    assert (found.reason, type(found.error)) == (Discount.UNPROVEN, RollbackError)
    scene.network.tell(None)
    writer.records.delete(negative)


def test_one_verifier_takes_nothing_from_the_others(scene: Scene) -> None:
    third = scene.network.create_account(fresh_handle())
    VerificationPublisher(scene.network.client(third)).publish(scene.lens, "codeReview")
    nobody = "did:plc:" + "a" * 24
    scene.network.pds_servers[1].tamper = lambda _request, _answer: Answer.error(500, "InternalServerError", "down")
    loader = VerificationLoader(scene.network.client())
    found = loader.of(scene.lens, verifiers=[nobody, scene.verifier.did, "nobody.test", third.did])
    assert reasons(found) == [Discount.UNPROVEN, Discount.UNPROVEN, Discount.UNPROVEN, None]


def test_it_is_read_as_a_record_of_its_own_kind(scene: Scene) -> None:
    records = VerificationLoader(scene.network.client()).list_all(scene.verifier.did)
    assert [type(record) for record in records] == [LensVerification] * 61
    with pytest.raises(UsageError, match="names no lensVerification"):
        VerificationLoader(scene.network.client()).get(scene.lens)
