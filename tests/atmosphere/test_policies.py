"""A policy is judged before a byte of a shard moves, wherever an entry becomes a dataset; and lies of labelers close it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    DatasetLoader,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
    VerificationPublisher,
    check_policy,
)
from atdata.atmosphere.labelers import LabelReader
from atdata.atmosphere.trust import judge
from atdata.atproto.syntax import Did
from atdata.errors import AddressError, AtdataError, DataModelError, PolicyError, UsageError
from atdata.lens import Program
from atdata.policy import Forbid, Policy, Require, Verify
from atdata.records import Entry, LensRecord
from atdata.testing import DevAccount, Devnet, Labeler, Lie, Teller, label_lies
from atdata.testing.http import Answer, Request, ask
from support.networks import Network, fresh_handle, post


@atdata.packable
class Reading:
    value: float


@dataclass
class Scene:
    """A published dataset, and a labeler who has labelled it `spam`."""

    net: Devnet
    owner: DevAccount
    labeler: Labeler
    index: AtmosphereIndex
    folder: Path

    @property
    def entry(self) -> Entry:
        return self.index.get_dataset("data")

    @property
    def policy(self) -> Policy:
        return Policy(forbid=(Forbid(("retracted",), (self.labeler.did,)),))

    @property
    def file(self) -> Path:
        path = self.folder / "policy.toml"
        path.write_text(f'[[forbid]]\nlabels = ["retracted"]\nlabelers = ["{self.labeler.did}"]\n')
        return path

    def load(self, client: AtmosphereClient | None = None, policy: Any = None) -> Any:
        client = client or self.net.client()
        chosen = self.policy if policy is None else policy
        return atdata.load_dataset(f"@{self.owner.handle}/data", split="train", client=client, policy=chosen)

    def is_open(self, client: AtmosphereClient | None = None, policy: Policy | None = None) -> bool:
        try:
            dataset = self.load(client, policy)
        except PolicyError:
            return False
        return len(dataset.head(1)) == 1

    def shard_requests(self) -> int:
        return sum("getBlob" in line for server in self.net.pds_servers for line in server.requests)


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet() as net:
        yield net


@pytest.fixture
def scene(net: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    owner, labeler = net.create_account(fresh_handle()), net.create_labeler()
    client = net.client(owner)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    rows = atdata.write_samples([Reading(1.0), Reading(2.0)], tmp_path / "data.tar")
    entry = index.insert_dataset(rows, name="data", version="1.0.0")
    labeler.label(entry.located, "spam", entry.cid)
    yield Scene(net, owner, labeler, index, tmp_path)
    net.tell(None)


# --- where it is judged


def ways(scene: Scene) -> dict[str, Callable[[AtmosphereClient], Any]]:
    ref, uri = f"@{scene.owner.handle}/data", str(scene.entry.located)
    return {
        "load_dataset": lambda client: atdata.load_dataset(ref, client=client),
        "load_dataset at once": lambda client: atdata.load_dataset(ref, client=client, streaming=False),
        "load_dataset of an address": lambda client: atdata.load_dataset(uri, Reading, split="train", client=client),
        "load_dataset of a version": lambda client: atdata.load_dataset(f"{ref}@1.0.0", client=client),
        "DatasetLoader": lambda client: DatasetLoader(client).to_dataset(uri, Reading),
        "AtmosphereIndex.load": lambda client: AtmosphereIndex(client).load(ref),
        "AtmosphereIndex.open": lambda client: AtmosphereIndex(client).open(client.read(uri, Entry)),
        "AtmosphereIndex.dataset": lambda client: AtmosphereIndex(client).dataset(client.read(uri, Entry)),
    }


WAYS = (
    "load_dataset",
    "load_dataset at once",
    "load_dataset of an address",
    "load_dataset of a version",
    "DatasetLoader",
    "AtmosphereIndex.load",
    "AtmosphereIndex.open",
    "AtmosphereIndex.dataset",
)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_a_dataset_obeys_the_policy_of_the_settings_before_a_byte_moves(
    scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ways(scene)[name]
    monkeypatch.setenv("ATDATA_POLICY", str(scene.file))
    load(scene.net.client())  # the control: it is not refused
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    before = scene.shard_requests()
    client = scene.net.client()
    with pytest.raises(PolicyError) as caught:
        load(client)
    assert scene.shard_requests() == before
    assert caught.value.verdict.refusals[0].rule == "no retracted"
    monkeypatch.delenv("ATDATA_POLICY")
    load(scene.net.client())


def test_all_ways_are_tried(scene: Scene) -> None:
    assert tuple(ways(scene)) == WAYS


def test_the_argument_wins_over_the_setting(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_POLICY", str(scene.file))
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    assert not scene.is_open(policy=scene.file)
    assert scene.is_open(policy=Policy())
    monkeypatch.delenv("ATDATA_POLICY")
    for given in (scene.file, str(scene.file)):
        assert not scene.is_open(policy=given)
        uri = str(scene.entry.located)
        with pytest.raises(PolicyError):
            DatasetLoader(scene.net.client()).to_dataset(uri, Reading, policy=given)


def test_a_policy_that_cannot_be_read_lets_nothing_through(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scene.shard_requests()
    for text in (None, "[[forbid]]", "publisher = []"):
        place = scene.folder / "other.toml"
        if text is not None:
            place.write_text(text)
        monkeypatch.setenv("ATDATA_POLICY", str(place))
        with pytest.raises(UsageError):
            atdata.load_dataset(f"@{scene.owner.handle}/data", client=scene.net.client(), streaming=False)
    assert scene.shard_requests() == before


def test_the_file_is_read_at_each_load(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_POLICY", str(scene.file))
    client, ref = scene.net.client(), f"@{scene.owner.handle}/data"
    atdata.load_dataset(ref, client=client)
    scene.file.write_text('publishers = ["did:web:elsewhere.test"]')
    with pytest.raises(PolicyError):
        atdata.load_dataset(ref, client=client)


def test_a_policy_is_about_the_network(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="on the network"):
        atdata.load_dataset("data.tar", policy=scene.policy)
    monkeypatch.setenv("ATDATA_POLICY", str(scene.file))
    assert len(atdata.load_dataset("data.tar", split="train").head(2)) == 2


def test_an_entry_that_nobody_has_signed_is_not_judged(scene: Scene) -> None:
    unsigned = Entry.from_record(dict(scene.entry))
    with pytest.raises(UsageError, match="from the network"):
        judge(scene.net.client(), unsigned, scene.policy)


def test_the_error_says_why_and_carries_the_verdict(scene: Scene) -> None:
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    with pytest.raises(PolicyError) as caught:
        scene.load()
    lines = str(caught.value).splitlines()
    assert lines[0] == "a trust policy refuses a dataset"
    assert "labels this version of the dataset" in str(caught.value)
    assert "atdata policy check" in lines[-1]
    (refusal,) = caught.value.verdict.refusals
    assert refusal.record == f"{scene.entry.located} {scene.entry.cid}"
    proven = [finding for finding in caught.value.verdict.findings if finding.rule == "proven"]
    assert [finding.fact for finding in proven] == ["the dataset", "the schema"]
    assert all(finding.proof.startswith("commit bafy") for finding in proven)


# --- what counts


def test_the_label_of_a_publisher_and_of_a_schema_count(scene: Scene) -> None:
    for uri in (scene.owner.did, scene.entry.schema_ref):
        scene.labeler.label(uri, "retracted")
        assert not scene.is_open()
        scene.labeler.negate(uri, "retracted")
        assert scene.is_open()


def test_a_label_ends_by_itself(scene: Scene) -> None:
    now = datetime.now(UTC)
    scene.labeler.label(scene.entry.located, "retracted", exp=now + timedelta(hours=1))
    assert not scene.is_open()
    scene.labeler.label(scene.entry.located, "retracted", exp=now)
    assert scene.is_open()


def test_other_content_at_the_address_is_not_what_was_labelled(scene: Scene) -> None:
    """Who has judged the labelled version knows what it said; to who has not, it may say the same."""
    knows = scene.net.client(folder="knows")
    assert scene.is_open(knows)
    before, account = scene.entry, scene.net.account(scene.owner.did)
    key = f"{before.located.collection}/{before.located.rkey}"
    scene.labeler.label(before.located, "retracted", before.cid)
    elsewhere = f"at://{scene.owner.did}/science.alt.dataset.schema/another"
    account.repo.write({key: {**before.to_record(), "schemaRef": elsewhere}})  # the same data, under another schema
    verdict = judge(knows, knows.read(before.located, Entry), scene.policy)
    assert any(found.fact.endswith("the same content") for found in verdict.refusals)
    rows = atdata.write_samples([Reading(3.0)], scene.folder / "more.tar")
    other = scene.index.insert_dataset(rows, name="more")
    account.repo.write({key: {**other.to_record(), "name": "data", "createdAt": before.created_at}})
    assert scene.is_open(knows)
    assert not scene.is_open(scene.net.client())


def test_shards_without_a_digest_need_the_word_of_the_policy(scene: Scene) -> None:
    from atdata.atmosphere import DatasetPublisher

    publisher = DatasetPublisher(scene.net.client(scene.owner))
    uri = publisher.publish_with_urls(["https://data.example.org/a.tar"], scene.entry.schema_ref, name="elsewhere")
    options: Any = {"split": "train", "client": scene.net.client(), "allow_unverified": True}
    with pytest.raises(PolicyError, match="without a digest"):
        atdata.load_dataset(str(uri), policy=Policy(), **options)
    allowed = Policy(unverified=frozenset({"shards"}))
    assert len(atdata.load_dataset(str(uri), policy=allowed, **options).shards) == 1


def test_who_is_no_labeler_says_nothing(scene: Scene) -> None:
    for nobody in (scene.owner.did, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:localhost%3A1"):
        policy = Policy(forbid=(Forbid(("retracted",), (nobody,)),))
        assert not scene.is_open(policy=policy)


def test_many_labels_are_read_page_by_page(scene: Scene) -> None:
    for number in range(600):
        scene.labeler.label(scene.entry.located, f"tag-{number}")
    assert scene.is_open()
    scene.labeler.label(scene.entry.located, "retracted")
    assert not scene.is_open()


# --- lenses on the way, on the Devnet and on the official server


@atdata.packable
class Full:
    label: str
    score: float


@atdata.packable
class Simple:
    label: str


@dataclass
class Way:
    """An entry, and the lens through which it is to be seen."""

    network: Network
    client: AtmosphereClient
    entry: Entry
    uri: str

    def verdict(self, *rules: Verify, **more: Any) -> Any:
        reader = self.network.client()
        lens = reader.read(self.uri, LensRecord)
        try:
            return check_policy(reader, reader.read(self.entry.located, Entry), Policy(verify=rules, **more), [lens])
        except PolicyError as refused:
            return refused.verdict


@pytest.fixture
def way(network: Network, alice: DevAccount, tmp_path: Path) -> Way:
    client = network.client(alice)
    index, schemas = AtmosphereIndex(client, data_store=PDSBlobStore(client)), SchemaPublisher(client)
    rows = atdata.write_samples([Full("a", 1.0)], tmp_path / "full.tar")
    entry = index.insert_dataset(rows, name="full")
    ends = {"source_schema": str(entry.schema_ref), "target_schema": schemas.publish(Simple)}
    keep = Program.of({"op": "drop", "field": "score"})
    return Way(network, client, entry, str(LensPublisher(client).publish(name="keep", program=keep, rkey="k", **ends)))


def test_a_lens_is_refused_until_it_is_verified_in_its_version(way: Way, bob: DevAccount) -> None:
    rule = Verify((bob.did,), ("codeReview",))
    assert not way.verdict().allowed
    assert way.verdict(unverified=frozenset({"lenses"})).allowed
    assert not way.verdict(rule).allowed
    verifier = VerificationPublisher(way.network.client(bob))
    verifier.publish(way.uri, "automatedTest")
    assert not way.verdict(rule).allowed
    uri = verifier.publish(way.uri, "codeReview")
    verdict = way.verdict(rule)
    assert verdict.allowed, verdict
    assert any(found.record.startswith(uri) and found.proof.startswith("commit bafy") for found in verdict.findings)
    lens = way.client.read(way.uri, LensRecord)
    way.client.records.swap(replace(lens, description="another version"), lens)
    changed = way.verdict(rule)
    assert not changed.allowed
    assert "of another version" in str(changed)
    verifier.publish(way.uri, "codeReview")
    assert way.verdict(rule).allowed
    verifier.publish(way.uri, "codeReview", verdict="fails")
    refused = way.verdict(rule)
    assert "it fails" in str(refused)
    assert not refused.allowed


def test_a_verifier_that_is_gone_says_nothing_and_one_that_cannot_be_read_refuses(way: Way, bob: DevAccount) -> None:
    VerificationPublisher(way.client).publish(way.uri, "codeReview")
    VerificationPublisher(way.network.client(bob)).publish(way.uri, "codeReview")
    either = Verify((Did(way.client.did), bob.did))
    assert way.verdict(either).allowed
    session = {"identifier": bob.handle, "password": bob.password}
    token = post(bob.pds_url, "com.atproto.server.createSession", session)["accessJwt"]
    ask(
        "POST",
        f"{bob.pds_url}/xrpc/com.atproto.server.deactivateAccount",
        {"authorization": f"Bearer {token}", "content-type": "application/json"},
        b"{}",
    )
    gone = way.verdict(either)
    assert gone.allowed, gone
    assert "not active" in str(gone)
    assert not way.verdict(Verify((bob.did,))).allowed
    unknown = way.verdict(Verify((Did(way.client.did), Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))))
    assert not unknown.allowed
    assert {found.outcome for found in unknown.refusals} == {"unknown"}


# --- what labelers and their servers make of it

LIES = [lie.name for lie in label_lies("")]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_labels_closes_the_policy(scene: Scene, name: str) -> None:
    lie = next(lie for lie in label_lies(scene.labeler.did) if lie.name == name)
    assert scene.is_open()  # the control: the label that is there is not forbidden
    teller, before = Teller(lie), scene.shard_requests()
    scene.net.tell(teller)
    with pytest.raises(PolicyError) as caught:
        scene.load()
    assert teller.told, "the lie was never told"
    assert {finding.outcome for finding in caught.value.verdict.refusals} == {"unknown"}
    assert scene.shard_requests() == before
    required = Policy(require=(Require(("spam",), (scene.labeler.did,)),))
    assert not scene.is_open(policy=required)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_remembered_by_nobody(scene: Scene, name: str) -> None:
    lie = next(lie for lie in label_lies(scene.labeler.did) if lie.name == name)
    reader = scene.net.client(folder=f"reader {name} {scene.owner.did}")
    scene.net.tell(lie.tell)
    assert not scene.is_open(reader)
    scene.net.tell(None)
    assert scene.is_open(reader)


def dropping(*, negations: bool) -> Lie:
    """The lie of a labeler's server that leaves its negations out, or its labels."""

    def tell(request: Request, answer: Answer) -> Answer:
        if "queryLabels" not in request.path:
            return answer
        body = json.loads(answer.body)
        kept = [label for label in body["labels"] if label.get("neg", False) is not negations]
        return Answer.json({"labels": kept}) if len(kept) < len(body["labels"]) else answer

    return Lie("labels left out", (), tell)


def test_a_label_that_is_left_out_is_believed_gone_by_nobody_who_has_seen_it(scene: Scene) -> None:
    reader = scene.net.client(folder=f"has seen {scene.owner.did}")
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    assert not scene.is_open(reader)
    teller = Teller(dropping(negations=False))
    scene.net.tell(teller)
    assert not scene.is_open(reader)
    assert teller.told
    assert scene.is_open()  # who has never seen it cannot know
    scene.net.tell(None)
    scene.labeler.negate(scene.entry.located, "retracted", scene.entry.cid)
    assert scene.is_open(reader)


def test_a_negation_that_is_left_out_leaves_the_policy_closed(scene: Scene) -> None:
    reader = scene.net.client(folder=f"has seen it too {scene.owner.did}")
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    old = scene.labeler.handle(Request("GET", "/xrpc/com.atproto.label.queryLabels", QUERY(scene), {}, b"", ""))
    scene.labeler.negate(scene.entry.located, "retracted", scene.entry.cid)
    assert scene.is_open(reader)

    def replay(request: Request, answer: Answer) -> Answer:
        if "queryLabels" not in request.path:
            return answer
        return Answer.json({"labels": []}) if "cursor" in request.query else old

    scene.net.tell(replay)
    assert not scene.is_open()
    assert scene.is_open(reader)  # who has seen the negation still has its signature


def QUERY(scene: Scene) -> dict[str, list[str]]:
    return {"uriPatterns": [str(scene.entry.located)]}


def test_a_labeler_that_cannot_be_reached_closes_unless_the_policy_takes_what_was_kept(scene: Scene) -> None:
    reader = scene.net.client(folder=f"offline {scene.owner.did}")
    patient = Policy(forbid=scene.policy.forbid, max_age=3600)
    server = next(s for s in scene.net.labeler_servers if s._handle.__self__ is scene.labeler)  # type: ignore[attr-defined]
    server.before = lambda _request: Answer(501, b"{}", {"content-type": "application/json"})
    assert not scene.is_open(reader, patient)  # nothing was ever read
    server.before = None
    assert scene.is_open(reader, patient)
    server.before = lambda _request: Answer(501, b"{}", {"content-type": "application/json"})
    assert scene.is_open(reader, patient)
    assert not scene.is_open(reader, scene.policy)
    assert not scene.is_open(scene.net.client(), patient)
    verdict = judge(reader, scene.entry, patient)
    assert any("kept since" in finding.proof for finding in verdict.findings)
    server.before = None
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    assert not scene.is_open(reader, patient)
    server.before = lambda _request: Answer(501, b"{}", {"content-type": "application/json"})
    assert not scene.is_open(reader, patient)
    server.before = None


def test_what_was_kept_is_believed_only_while_its_signatures_hold(scene: Scene) -> None:
    reader = scene.net.client(folder=f"kept {scene.owner.did}")
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    assert not scene.is_open(reader)
    changed = 0
    for path in (reader.settings.cache / "labels").rglob("*.json"):
        text = path.read_text()
        path.write_text(text.replace('"retracted"', '"redacted"'))
        changed += path.read_text() != text
    assert changed == 1
    with pytest.raises(DataModelError):
        LabelReader(reader.reader).read(scene.labeler.did, [scene.entry.located])
    with pytest.raises(PolicyError, match="cannot be read"):
        scene.load(reader)


def test_a_slow_labeler_is_left(scene: Scene) -> None:
    ended = threading.Event()
    server = next(s for s in scene.net.labeler_servers if s._handle.__self__ is scene.labeler)  # type: ignore[attr-defined]

    def wait(_request: Request) -> None:
        ended.wait(20)

    server.before = wait
    client = AtmosphereClient(
        plc_url=scene.net.plc_url,
        resolver_url=scene.net.environment["ATDATA_RESOLVER_URL"],
        allow_loopback=True,
        cache=scene.folder / "cache",
        data=scene.folder / "data",
        patience=1,
    )
    try:
        assert not scene.is_open(client)
        assert not ended.is_set()
    finally:
        ended.set()
        server.before = None


def test_a_labeler_at_an_address_that_must_not_be_dialled_is_not(scene: Scene) -> None:
    client = AtmosphereClient(
        plc_url=scene.net.plc_url, cache=scene.folder / "cache", data=scene.folder / "data", allow_loopback=False
    )
    asked = sum(len(server.requests) for server in scene.net.labeler_servers)
    with pytest.raises(AddressError):
        LabelReader(client.reader).read(scene.labeler.did, [scene.entry.located])
    assert sum(len(server.requests) for server in scene.net.labeler_servers) == asked


def test_a_key_that_was_changed_is_looked_up_again(scene: Scene) -> None:
    reader = scene.net.client(folder=f"rotation {scene.owner.did}")
    scene.labeler.label(scene.entry.located, "retracted", scene.entry.cid)
    assert not scene.is_open(reader)
    scene.labeler.rotate()
    scene.labeler.negate(scene.entry.located, "retracted", scene.entry.cid)
    assert scene.is_open(reader)
    old_key = scene.labeler.key
    scene.labeler.rotate()
    scene.labeler.key = old_key  # it goes on signing with a key that its document does not name any more
    scene.labeler.label(scene.entry.located, "spam")
    assert not scene.is_open(reader)


def test_a_reading_is_of_what_was_asked(scene: Scene) -> None:
    reader = LabelReader(scene.net.client().reader)
    reading = reader.read(scene.labeler.did, [scene.entry.located, scene.entry.located])
    assert [label.val for label in reading.labels] == ["spam"]
    assert reading.key == scene.labeler.key.public.did_key
    with pytest.raises(AtdataError):
        reader.read(Did("did:web:localhost%3A1"), [scene.entry.located])
