"""The write path: on the state that was decided on, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from atdata.atmosphere import repository as module
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import AtUri, RecordKey, Tid
from atdata.errors import ConflictError, ContentionError, LimitError, RollbackError, VerificationError, XrpcError
from atdata.index.deciding import Decision, Write, located
from atdata.records import Label
from atdata.testing import DevAccount
from atdata.testing.http import Answer, Request
from support.networks import Network, list_records, post

LABEL = str(Label.NSID)


def label(name: str, did: str, **facts: Any) -> Label:
    return Label(name=name, dataset_uri=AtUri(f"at://{did}/science.alt.dataset.entry/3jzfcijpj2z2a"), **facts)


def adding(record: Label) -> Callable[[State], Decision[Label]]:
    def decide(state: State) -> Decision[Label]:
        if there := state.named(Label, record.name).records:
            return Decision(there[0])
        placed = state.place(record, Tid.now())
        return Decision(placed, [Write.create(placed)])

    return decide


def names(account: DevAccount) -> list[str]:
    return sorted(record["value"]["name"] for record in list_records(account.pds_url, account.did, LABEL))


def rival_writes(network: Network, account: DevAccount, times: int) -> list[str]:
    """Let another client write a record just before each of our writes comes in."""
    token = post(
        account.pds_url,
        "com.atproto.server.createSession",
        {"identifier": account.handle, "password": account.password},
    )["accessJwt"]
    written: list[str] = []

    def before(request: Request) -> Answer | None:
        if request.path.endswith("applyWrites") and len(written) < times:
            record = label(f"other{len(written)}", account.did).to_record()
            body = {"repo": account.did, "collection": LABEL, "record": record, "validate": False}
            written.append(record["name"])
            post(account.pds_url, "com.atproto.repo.createRecord", body, token)
        return None

    network.pds_servers[0].before = before
    return written


def test_creating_changing_and_deleting_together(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    first, second = (
        client.records.create(label(name, alice.did), Tid.now(), lambda _: False) for name in ("one", "two")
    )

    def decide(state: State) -> Decision[int]:
        assert {found.name for found in state.all(Label)} == {"one", "two"}
        (old,) = state.named(Label, "one").records
        placed = state.place(label("three", alice.did), RecordKey("three"))
        changed = located(label("one", alice.did, description="changed"), old.located)
        return Decision(3, [Write.create(placed), Write.update(changed), Write.delete(second.located)])

    assert client.records.transact([Label], decide) == 3
    assert names(alice) == ["one", "three"]
    assert client.read(first.located, Label).description == "changed"


def test_others_were_faster_again_and_again(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    written = rival_writes(network, alice, 5)
    made = client.records.transact([Label], adding(label("mine", alice.did)))
    assert names(alice) == sorted([*written, "mine"])
    assert len(written) == 5
    assert client.read(made.located, Label).name == "mine"


def test_others_are_faster_for_ever(network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    client = network.client(alice)
    written = rival_writes(network, alice, 10_000)
    with pytest.raises(ContentionError, match="nothing was written") as caught:
        client.records.transact([Label], adding(label("mine", alice.did)))
    network.pds_servers[0].before = None
    assert names(alice) == sorted(written)
    assert written
    assert "Try again" in str(caught.value)


def test_a_server_that_does_not_know_since(network: Network, alice: DevAccount) -> None:
    client, refused = network.client(alice), []
    repository = client.records.repository()
    repository.read()
    client.records.create(label("other", alice.did), Tid.now(), lambda _: False)

    def before(request: Request) -> Answer | None:
        if request.path.endswith("getRepo"):
            refused.append(request.target)
            return Answer.error(400, "InvalidRequest", "no such parameter")
        return None

    network.pds_servers[0].before = before
    repository.transact(adding(label("mine", alice.did)))
    network.pds_servers[0].before = None
    assert refused
    assert names(alice) == ["mine", "other"]


def test_a_server_that_does_not_say_what_it_stored(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)

    def tamper(request: Request, answer: Answer) -> Answer:
        return Answer.json({}) if request.path.endswith("applyWrites") else answer

    network.pds_servers[0].tamper = tamper
    made = client.records.transact([Label], adding(label("mine", alice.did)))
    assert client.read(made.located, Label).name == "mine"
    assert names(alice) == ["mine"]


def test_a_lie_about_what_changed_is_found_out(network: Network, alice: DevAccount) -> None:
    client, told = network.client(alice), list[str]()
    repository = client.records.repository()
    repository.read()
    client.records.create(label("other", alice.did), Tid.now(), lambda _: False)

    def tamper(request: Request, answer: Answer) -> Answer:
        if not request.path.endswith("getRepo"):
            return answer
        told.append(request.target)
        return Answer(200, answer.body[:-1] + bytes([answer.body[-1] ^ 1]), answer.headers)

    network.pds_servers[0].tamper = tamper
    with pytest.raises(VerificationError):
        repository.transact(adding(label("mine", alice.did)))
    network.pds_servers[0].tamper = None
    assert told
    assert names(alice) == ["other"]


def test_an_old_state_is_not_decided_on(network: Network, alice: DevAccount) -> None:
    client, kept = network.client(alice), dict[str, Answer]()

    def record(request: Request, answer: Answer) -> Answer:
        return kept.setdefault("old", answer) if request.path.endswith("sync.getRecord") else answer

    network.pds_servers[0].tamper = record
    client.records.repository().read()
    network.pds_servers[0].tamper = None
    client.records.create(label("other", alice.did), RecordKey("other"), lambda _: False)
    client.records.repository().read()
    network.pds_servers[0].tamper = lambda request, answer: kept["old"] if "sync.getRepo" in request.path else answer
    with pytest.raises(RollbackError):
        client.records.transact([Label], adding(label("mine", alice.did)))
    assert names(alice) == ["other"]


def test_what_the_server_refuses_is_said_at_once(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    network.pds_servers[0].before = lambda request: (
        Answer.error(400, "InvalidRequest", "no") if request.path.endswith("applyWrites") else None
    )
    with pytest.raises(XrpcError, match="InvalidRequest"):
        client.records.transact([Label], adding(label("mine", alice.did)))
    network.pds_servers[0].before = None
    assert names(alice) == []


def test_all_together_must_fit_into_a_request(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)

    def decide(count: int, length: int) -> Callable[[State], Decision[None]]:
        def decided(state: State) -> Decision[None]:
            made = [label("x", alice.did, description="x" * length) for _ in range(count)]
            return Decision(None, [Write.create(state.place(one, Tid.now())) for one in made])

        return decided

    before = len(network.pds_servers[0].requests)
    for count, length in ((201, 1), (190, 1_000)):
        with pytest.raises(LimitError):
            client.records.transact([Label], decide(count, length))
    assert not [r for r in network.pds_servers[0].requests[before:] if r.startswith("POST")]
    client.records.transact([Label], decide(190, 300))
    assert len(names(alice)) == 100  # a page


def test_a_key_that_is_taken(network: Network, alice: DevAccount) -> None:
    """Also by a record that cannot be read."""
    client = network.client(alice)
    body = {"repo": alice.did, "collection": LABEL, "rkey": "taken", "record": {"$type": LABEL}, "validate": False}
    client.account.procedure("com.atproto.repo.putRecord", body)
    with pytest.raises(ConflictError, match="the key of a record is taken"):
        client.records.create(label("mine", alice.did), RecordKey("taken"), lambda _: True)
