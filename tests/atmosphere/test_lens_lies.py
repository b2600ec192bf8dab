"""Lies about the lenses that lead to somebody's type: none of them changes a sample. A repository that lies is passed over, and
it is said why; an address that was named is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import atdata
from atdata import load_dataset
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
    VerificationPublisher,
)
from atdata.atmosphere.lens_network import LensNetwork
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import AtUri, Did, RecordKey
from atdata.errors import CompatibilityError, LensNotFoundError, PolicyError, VerificationError
from atdata.index.deciding import Decision, Write
from atdata.lens import Program
from atdata.policy import Forbid, Policy, Verify
from atdata.records import LensRecord, LensVerification, Schema
from atdata.testing import DevAccount, Devnet, Labeler, Lie, OldState, Teller, identity_lies, proof_lies
from atdata.testing.http import Answer
from support.networks import Network, fresh_handle, get


@atdata.packable
class Newest:
    length: float
    note: str


@atdata.packable
class Oldest:
    size: float
    note: str


RENAME = Program.of({"op": "rename", "field": "length", "to": "size"})
AGAIN = Program.of({"op": "rename", "field": "length", "to": "x"}, {"op": "rename", "field": "x", "to": "size"})
DOUBLE = Program.of({"op": "scale", "field": "length", "factor": 2}, *RENAME.value["steps"])


@dataclass
class Scene:
    """A dataset of one account, a lens of another with the type that it leads to, and a verifier; the lens and what is said of it
    stand in deep trees, on the second server.
    """

    network: Network
    author: DevAccount
    verifier: DevAccount
    other: DevAccount
    ref: str
    schema: str
    lens: str
    other_car: bytes

    def lies(self) -> list[Lie]:
        return [*proof_lies(lambda _: self.other_car), *identity_lies(self.author.did, self.other.did)[:-1]]

    def load(self, client: AtmosphereClient | None = None, **options: Any) -> list[Any]:
        client = client or self.network.client()
        return list(load_dataset(self.ref, Oldest, split="train", client=client, **options))

    def tell(self, teller: Any) -> None:
        """Have it told of the lens, and not of the data."""
        for server in (self.network.plc_server, self.network.pds_servers[1]):
            server.tamper = teller

    @property
    def policy(self) -> Policy:
        return Policy(verify=(Verify((Did(self.verifier.did),)),))


_scenes: dict[int, Scene] = {}


def _fresh(network: Network, folder: Path) -> Scene:
    owner, other = (network.create_account(fresh_handle()) for _ in range(2))
    author, verifier = (network.create_account(fresh_handle(), server=1) for _ in range(2))
    client, lab = network.client(owner), network.client(author)
    data = atdata.write_samples([Newest(n / 2, f"n{n}") for n in range(10)], folder / "train.tar")
    schema = SchemaPublisher(client).publish(Newest, version="2.0.0")
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(data, name="sizes", version="1.0.0", schema_ref=str(schema))
    ends = {"source_schema": str(schema), "target_schema": str(SchemaPublisher(lab).publish(Oldest))}
    lens = LensPublisher(lab).publish(name="older", program=RENAME, rkey="keep", **ends)
    for account in (author, verifier):
        fill(network.client(account))
    VerificationPublisher(network.client(verifier)).publish(str(lens), "codeReview")
    car = get(other.pds_url, "com.atproto.sync.getRecord", did=other.did, collection=LensRecord.NSID, rkey="-")
    ref = f"@{owner.handle}/sizes"
    return Scene(network, author, verifier, other, ref, str(schema), str(lens), car)


def fill(client: AtmosphereClient) -> None:
    """Write sixty verifications of another lens, in one commit: a tree with inner nodes, the same each time."""

    def decide(state: State) -> Decision[None]:
        lens = AtUri.of(state.did, LensRecord.NSID, RecordKey("another"))
        filler = LensVerification(lens=lens, lens_commit=str(state.commit), method="codeReview")
        placed = [state.place(filler, RecordKey(f"filler{number}")) for number in range(60)]
        return Decision(None, list(map(Write.create, placed)))

    client.records.transact([LensVerification], decide)


@pytest.fixture
def scene(network: Network, tmp_path: Path) -> Scene:
    if id(network) not in _scenes:
        _scenes[id(network)] = _fresh(network, tmp_path)
    return _scenes[id(network)]


WANT = [Oldest(n / 2, f"n{n}") for n in range(10)]
PROOFS = [lie.name for lie in proof_lies(lambda _: b"")]
LIES = [*PROOFS, *(lie.name for lie in identity_lies("", "")[:-1])]


@pytest.mark.parametrize("name", LIES)
def test_a_repository_that_lies_is_passed_over(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    assert scene.load(lenses=[scene.author.did]) == WANT  # the control
    teller = Teller(lie)
    scene.tell(teller)
    with pytest.raises(CompatibilityError) as caught:
        scene.load(lenses=[scene.author.did])
    assert teller.told, "the lie was never told"
    assert f"Passed over: {scene.author.did}: " in (caught.value.hint or "")
    client = scene.network.client()
    network = LensNetwork(client, [scene.author.did])
    with pytest.raises(LensNotFoundError):
        network.find(client.read(scene.schema, Schema), Oldest)
    assert network.passed.keys() == {scene.author.did}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_an_address_that_is_named_is_an_error(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    assert scene.load(lenses=[scene.lens]) == WANT
    teller = Teller(lie)
    scene.tell(teller)
    with pytest.raises(atdata.AtdataError) as caught:
        scene.load(lenses=[scene.lens])
    assert teller.told, "the lie was never told"
    assert caught.value.step in lie.steps


@pytest.mark.parametrize("name", PROOFS)
def test_a_lie_about_a_verification_opens_no_policy(scene: Scene, name: str) -> None:
    lie = next(lie for lie in scene.lies() if lie.name == name)
    assert scene.load(lenses=[scene.lens], policy=scene.policy) == WANT
    asked = Teller(lie)

    def about_the_verifier(request: Any, answer: Any) -> Any:
        return asked(request, answer) if scene.verifier.did in request.target.replace("%3A", ":") else answer

    scene.tell(about_the_verifier)
    with pytest.raises(PolicyError) as caught:
        scene.load(lenses=[scene.lens], policy=scene.policy)
    assert asked.told, "the lie was never told"
    assert caught.value.verdict.refusals


def test_an_older_lens_is_not_shown_to_who_has_seen_a_newer(network: Network, tmp_path: Path) -> None:
    """Nor to a policy, whose verifier has verified the older one."""
    scene = _fresh(network, tmp_path)
    publisher, reader = LensPublisher(network.client(scene.author)), network.client(folder=f"lenses{id(scene)}")
    old = OldState()
    scene.tell(old)
    assert scene.load(reader, lenses=[scene.lens]) == WANT
    scene.tell(None)
    publisher.update(scene.lens, program=DOUBLE)
    want = [Oldest(2 * sample.size, sample.note) for sample in WANT]
    again = network.client(folder=f"lenses{id(scene)}")
    assert scene.load(again, lenses=[scene.lens]) == want
    old.recording = False
    scene.tell(old)
    for options in ({}, {"policy": scene.policy}):
        with pytest.raises(VerificationError) as caught:
            scene.load(network.client(folder=f"lenses{id(scene)}"), lenses=[scene.lens], **options)
        assert caught.value.step == "rollback"
    with pytest.raises(CompatibilityError, match="older"):
        scene.load(network.client(folder=f"lenses{id(scene)}"), lenses=[scene.author.did])


def test_what_was_kept_of_a_labeler_says_nothing_of_another_lens(devnet: Devnet, tmp_path: Path) -> None:
    """`max_age` is of facts about just these records: a lens, a schema on the way, and nobody's verifications."""
    scene, labeler = _fresh(devnet, tmp_path), devnet.create_labeler()
    forbid = (Forbid(("retracted",), (labeler.did,)),)
    strict = Policy(forbid=forbid, unverified=frozenset({"lenses"}))
    patient = replace(strict, max_age=3600)
    folder = f"kept{scene.author.did}"

    def load(policy: Policy = patient, lens: str = scene.lens) -> list[Any]:
        return scene.load(devnet.client(folder=folder), lenses=[lens], policy=policy)

    with silent(devnet, labeler), pytest.raises(PolicyError):
        load()
    assert load(strict) == WANT
    author = devnet.client(scene.author)
    record = author.read(scene.lens, LensRecord)
    ends = {"source_schema": str(record.source_schema), "target_schema": str(record.target_schema)}
    another = LensPublisher(author).publish(name="another", program=AGAIN, rkey="again", **ends)
    with silent(devnet, labeler):
        assert load() == WANT
        with pytest.raises(PolicyError):
            load(strict)
        with pytest.raises(PolicyError) as caught:
            load(lens=str(another))
        assert str(another) in str(caught.value.verdict)
    for uri in (scene.lens, str(record.target_schema)):
        cid = author.read(uri, LensRecord if uri == scene.lens else Schema).cid
        labeler.label(uri, "retracted", cid)
        with pytest.raises(PolicyError) as caught:
            load()
        assert any(uri in str(finding.record) for finding in caught.value.verdict.refusals)
        with silent(devnet, labeler), pytest.raises(PolicyError):
            load()
        labeler.negate(uri, "retracted", cid)
        assert load() == WANT

    verified = replace(scene.policy, max_age=3600)
    assert load(verified) == WANT
    server = devnet.pds_servers[1]
    server.before = lambda request: (
        Answer.error(500, "InternalServerError", "down") if scene.verifier.did in unquote(request.target) else None
    )
    try:
        with pytest.raises(PolicyError):
            load(verified)
    finally:
        server.before = None


@contextmanager
def silent(net: Devnet, labeler: Labeler) -> Iterator[None]:
    """A labeler that answers nothing meanwhile."""
    server = next(s for s in net.labeler_servers if s._handle.__self__ is labeler)  # type: ignore[attr-defined]
    server.before = lambda _request: Answer(501, b"{}", {"content-type": "application/json"})
    try:
        yield
    finally:
        server.before = None
