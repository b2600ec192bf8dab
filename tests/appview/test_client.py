"""A client of an AppView believes nothing: what it gives is true, whatever the service answers, and whatever its database holds."""

from __future__ import annotations

import base64
import copy
import json
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atdata
from atdata.appview.opening import open_appview
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, RateLimit
from atdata.atmosphere import AppViewClient, AtmosphereClient, AtmosphereIndex, ServiceRecord
from atdata.atmosphere.evidence import newest_seen
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import read_car, write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import Tid
from atdata.errors import (
    AtdataError,
    IdentifierError,
    IdentityError,
    LexiconError,
    NetworkError,
    NotFoundError,
    ProofError,
    UsageError,
    VerificationError,
)
from atdata.records import Schema
from atdata.replica import Replica
from atdata.search.packing import rank_of
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, HttpServer, Request
from support.appviews import ENTRY, LABEL, LENS, SCHEMA, Asker, entry, follow, label
from support.networks import fresh_handle
from support.terminal import Terminal
from support.upstreams import Dripping

VERIFICATION = "science.alt.dataset.lensVerification"


@atdata.packable
class Point:
    x: float


@dataclass
class Scene:
    """Two accounts whose repositories a service shows.

    `front` is where the service is asked: it can answer something else.
    """

    net: Devnet
    replica: Replica
    path: Path
    front: HttpServer
    alice: DevAccount
    bob: DevAccount

    def service(self, client: AtmosphereClient | None = None) -> AppViewClient:
        made = AppViewClient(self.front.url, client or self.net.client())
        made._transport = replace(made._transport, sleep=lambda _: None)  # between tries
        return made

    def at(self, key: str, account: DevAccount | None = None) -> str:
        return f"at://{(account or self.alice).did}/{key}"

    def lie(self, change: Callable[[Any], Any]) -> None:
        """Have the service give other answers."""

        def tamper(_: Request, answer: Answer) -> Answer:
            return Answer.json(change(json.loads(answer.body)))

        self.front.tamper = tamper


def code() -> dict[str, str]:
    return {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}


def lens(source: str, target: str) -> dict[str, Any]:
    ends = {"sourceSchema": source, "targetSchema": target, "getterCode": code(), "putterCode": code()}
    return {"$type": LENS, "name": "a lens", "createdAt": "2026-01-01T00:00:00.000Z", **ends}


def fill(net: Devnet, alice: DevAccount, bob: DevAccount) -> None:
    """Write records of every kind."""
    schemas = {f"{SCHEMA}/Point:{v}": Schema.of(Point, version=v).to_record() for v in ("1.0.0", "1.1.0")}
    one, other = (f"at://{bob.did}/{key}" for key in schemas)
    net.account(bob.did).repo.write({**schemas, f"{LENS}/a": lens(one, other), f"{LENS}/b": lens(other, one)})
    lens_cid = str(Cid.of_cbor(net.account(bob.did).repo.records[f"{LENS}/a"]))
    entries = {
        f"{ENTRY}/{n}": entry(f"retina {n}", one, tags=["eye"], license="MIT", description=f"Of {n}.") for n in range(4)
    }
    at = f"at://{alice.did}/{ENTRY}"
    labels = {
        f"{LABEL}/{n}": label("retina", f"{at}/{n}", version) for n, version in enumerate(["1.0.0", "1.1.0", "2.0.0"])
    }
    verification = {
        "$type": VERIFICATION,
        "lens": f"at://{bob.did}/{LENS}/a",
        "lensCommit": lens_cid,
        "verificationMethod": "codeReview",
        "verifier": str(alice.did),
        "createdAt": "2026-01-01T00:00:00.000Z",
    }
    older = {**entry("older", one), "$type": "ac.foundation.dataset.record"}
    net.account(alice.did).repo.write(
        {**entries, **labels, f"{VERIFICATION}/a": verification, "ac.foundation.dataset.record/x": older}
    )


@pytest.fixture(scope="module")
def shown(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    alice, bob = devnet.create_account(fresh_handle()), devnet.create_account(fresh_handle(), server=1)
    fill(devnet, alice, bob)
    path = tmp_path_factory.mktemp("appview") / "appview.db"
    replica = open_appview(path)
    follow(replica, devnet, alice.did, bob.did)
    service = AppViewService(replica, limit=RateLimit(per_second=0))
    with AppViewServer(service) as server:
        asker = Asker(server.url)

        def forward(request: Request) -> Answer:
            said = asker.send(request.method, request.target)
            return Answer(said.status, said.body, {"content-type": "application/json"})

        with HttpServer(forward) as front:
            yield Scene(devnet, replica, path, front, alice, bob)
        asker.close()
    replica.close()


@pytest.fixture
def scene(shown: Scene) -> Iterator[Scene]:
    yield shown
    shown.front.tamper = None
    shown.front.before = None


QUESTIONS: dict[str, Callable[[Scene, AppViewClient], Any]] = {
    "entry": lambda s, c: [c.entry(s.at(f"{ENTRY}/1"))],
    "schema": lambda s, c: [c.schema(s.at(f"{SCHEMA}/Point:1.0.0", s.bob))],
    "lens": lambda s, c: [c.lens(s.at(f"{LENS}/a", s.bob))],
    "label": lambda s, c: [(r := c.resolve_label(s.alice.did, "retina", "1.1.0")).label, r.entry],
    "name": lambda s, c: [c.resolve_schema(s.bob.did, "Point", "1.0.0")],
    "search": lambda s, c: [*c.search("retina")],
    "older": lambda s, c: [*c.search("older")],
    "entries": lambda s, c: [*c.entries(repo=s.alice.did)],
    "schemas": lambda s, c: [*c.schemas(repo=s.bob.did)],
    "lenses": lambda s, c: [*c.lenses(s.at(f"{SCHEMA}/Point:1.0.0", s.bob))],
    "labels": lambda s, c: [*c.labels(entry=s.at(f"{ENTRY}/1"))],
    "verifications": lambda s, c: [*c.verifications(s.at(f"{LENS}/a", s.bob))],
    "backlinks": lambda s, c: [*c.backlinks(s.at(f"{SCHEMA}/Point:1.0.0", s.bob))],
}


def truths(scene: Scene) -> dict[str, str]:
    """Every record that the accounts have, by its address."""
    return {
        f"at://{account.did}/{key}": str(Cid.of_cbor(block))
        for account in (scene.alice, scene.bob)
        for key, block in scene.net.account(account.did).repo.records.items()
    }


def check_true(scene: Scene, found: list[ServiceRecord[Any]]) -> None:
    known = truths(scene)
    for one in found:
        assert known[str(one.record.located)] == str(one.record.cid)
        assert one.record.evidence is not None
        verified = one.record.evidence.verify()
        assert (verified.cid, verified.commit.rev) == (one.record.cid, one.rev)
        account = next(a for a in (scene.alice, scene.bob) if a.did == one.record.located.authority)
        assert one.handle in (None, account.handle)


# --- the truth


def test_each_question_is_answered_with_proven_records(scene: Scene) -> None:
    client = scene.service()
    counts = {}
    for name, question in QUESTIONS.items():
        found = question(scene, client)
        check_true(scene, found)
        assert all(one.handle for one in found) or name in ("label", "name"), name
        counts[name] = len(found)
    assert counts == {
        **dict.fromkeys(("entry", "schema", "lens", "name", "older", "labels", "verifications", "lenses"), 1),
        "label": 2,
        "search": 4,
        "entries": 5,
        "schemas": 2,
        "backlinks": 7,
    }


def test_pages_tell_what_is_the_services_word(scene: Scene) -> None:
    answers = scene.service().search("kind:dataset", limit=2)
    pages = list(answers.pages())
    assert [len(page.records) for page in pages] == [2, 2, 1]
    assert {page.total for page in pages} == {5}
    assert pages[0].exact
    assert dict(pages[0].facets["license"]) == {"MIT": 4}
    assert answers.refused == []
    middle = scene.service().search("kind:dataset", limit=2, cursor=pages[0].cursor)
    assert [one.record.uri for one in next(middle.pages()).records] == [one.record.uri for one in pages[1].records]


def test_a_name_stands_for_its_newest_version_and_what_is_absent_has_a_typed_error(scene: Scene) -> None:
    client = scene.service()
    resolved = client.resolve_label(scene.alice.handle, "retina")
    assert (resolved.label.record.version, resolved.entry.record.name) == ("2.0.0", "retina 2")
    assert client.resolve_schema(scene.bob.handle, "Point").record.version == "1.1.0"
    for ask in (
        lambda: client.resolve_label(scene.alice.did, "nothing"),
        lambda: client.resolve_label(scene.alice.did, "retina", "9.0.0"),
        lambda: client.resolve_schema(scene.bob.did, "Nothing"),
        lambda: client.entry(scene.at(f"{ENTRY}/nothing")),
        lambda: [*client.entries(repo=scene.net.create_account(fresh_handle()).did)],
    ):
        with pytest.raises(NotFoundError) as error:
            ask()
        assert scene.front.url in str(error.value)
        assert "word" in str(error.value)
    with pytest.raises(IdentityError):
        client.resolve_label("nobody.test", "retina")


def test_a_label_whose_entry_is_gone(scene: Scene) -> None:
    carol = scene.net.create_account(fresh_handle())
    gone = f"at://{carol.did}/{ENTRY}/gone"
    scene.net.account(carol.did).repo.write({f"{LABEL}/a": label("gone", gone)})
    follow(scene.replica, scene.net, carol.did)
    with pytest.raises(NotFoundError, match="the entry"):
        scene.service().resolve_label(carol.did, "gone")


def test_what_cannot_be_asked_is_refused_here(scene: Scene) -> None:
    client = scene.service()
    before = len(scene.front.requests)
    for ask in (
        lambda: client.entry("nowhere"),
        lambda: client.entry(scene.at(f"{LABEL}/1")),
        lambda: client.search("a", limit=0),
        lambda: [*client.search("\ud800")],
        lambda: AppViewClient("ftp://a.example", scene.net.client()),
        lambda: AppViewClient("https://a.example/?q=1", scene.net.client()),
        lambda: AppViewClient("a.example", scene.net.client()),
    ):
        with pytest.raises((UsageError, IdentifierError, NetworkError)):
            ask()
    assert len(scene.front.requests) == before
    with pytest.raises(UsageError):
        [*client.search("size:huge")]
    with pytest.raises(UsageError):
        [*client.search("a", cursor="x")]


# --- rollback


def test_where_a_newer_commit_is_known_the_accounts_own_server_is_asked(scene: Scene) -> None:
    carol = scene.net.create_account(fresh_handle())
    repo = scene.net.account(carol.did).repo
    uri, other, gone = (f"at://{carol.did}/{ENTRY}/{key}" for key in "abc")
    repo.write(
        {f"{ENTRY}/{key}": entry(f"plasma {key}") for key in "abc"} | {f"{LABEL}/a": label("plasma", uri, "1.0.0")}
    )
    follow(scene.replica, scene.net, carol.did)
    client = scene.net.client()
    service = scene.service(client)
    at_first = service.entry(uri)
    assert not at_first.confirmed
    assert newest_seen(client.reader, carol.did) is None, "a service's answer is no memory"
    repo.write({f"{ENTRY}/a": entry("plasma anew"), f"{ENTRY}/c": None, f"{LABEL}/b": label("plasma", other, "2.0.0")})
    assert service.entry(uri).record == at_first.record, "who has seen nothing newer cannot know"
    AtmosphereIndex(client).list_datasets(carol.did)
    assert newest_seen(client.reader, carol.did) == repo.head.rev
    now = service.entry(uri)
    assert (now.confirmed, now.record.name, now.rev) == (True, "plasma anew", repo.head.rev)
    assert service.entry(other).confirmed
    with pytest.raises(NotFoundError):
        service.entry(gone)
    answers = service.search("plasma kind:dataset")
    assert {one.record.name for one in answers} == {"plasma anew", "plasma b"}
    assert [(item.uri, type(item.error)) for item in answers.refused] == [(gone, NotFoundError)]
    resolved = service.resolve_label(carol.did, "plasma")
    assert (resolved.label.record.version, resolved.entry.record.name) == ("2.0.0", "plasma b")


# --- lies


def flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(data).decode()


def signed_by_another(text: str) -> str:
    car = read_car(base64.b64decode(text))
    commit = Commit.decode(car.blocks[car.roots[0]])
    forged = Commit.sign(PrivateKey.generate("k256"), commit.did, commit.rev, commit.data)
    return base64.b64encode(write_car([forged.cid], {**car.blocks, forged.cid: forged.encode()})).decode()


def forged_record(view: dict[str, Any]) -> dict[str, Any]:
    """Another record, its CID made to fit everywhere but in the signed tree."""
    car = read_car(base64.b64decode(view["proof"]))
    block = cbor.encode({**cbor.decode(car.blocks[Cid.parse(view["cid"])]), "name": "forged"})
    blocks = {**car.blocks, Cid.of_cbor(block): block}
    shown = {**view, "name": "forged", "cid": str(Cid.of_cbor(block)), "record": {**view["record"], "name": "forged"}}
    return {**shown, "proof": base64.b64encode(write_car(car.roots, blocks)).decode()}


LIES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "no proof": ("proof", lambda v: {name: value for name, value in v.items() if name != "proof"}),
    "a proof that is no base64": ("car", lambda v: {**v, "proof": "*" * 40}),
    "a proof of the wrong type": ("proof", lambda v: {**v, "proof": 7}),
    "a byte of the proof": ("car", lambda v: {**v, "proof": flip(v["proof"])}),
    "a commit signed by another key": ("signature", lambda v: {**v, "proof": signed_by_another(v["proof"])}),
    "another record with a CID that fits": ("proof|record", forged_record),
    "another CID": ("record", lambda v: {**v, "cid": "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}),
    "another revision of the proof": ("record", lambda v: {**v, "proofRev": str(Tid.now())}),
    "a version newer than its proof": ("rev", lambda v: {**v, "rev": str(Tid.now())}),
    "a version of no revision": ("rev", lambda v: {**v, "rev": 5}),
    "another name": ("members", lambda v: {**v, "name": "another"}),
    "another member of the record": ("members", lambda v: {**v, "record": {**v["record"], "name": "another"}}),
    "a member left out": ("members", lambda v: {name: value for name, value in v.items() if name != "schemaRef"}),
    "a member that is not there": ("members", lambda v: {**v, "contentMetadata": {"a": 1}}),
    "another form": ("members", lambda v: {**v, "validity": "older"}),
    "a handle of somebody else": ("handle", lambda v: {**v, "handle": "somebody.else.test"}),
    "a malformed handle": ("handle", lambda v: {**v, "handle": ["a"]}),
    "another account": ("uri", lambda v: {**v, "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz"}),
    "an account that is none": ("uri", lambda v: {**v, "did": "nobody", "uri": v["uri"]}),
    "an address that is none": ("uri", lambda v: {**v, "uri": "at://"}),
    "an address of the wrong type": ("uri", lambda v: {**v, "uri": {"a": 1}}),
    "a record of another kind": ("uri|proof|record", lambda v: {**v, "uri": v["uri"].replace(".entry/", ".label/")}),
    "a record of none of ours": ("uri", lambda v: {**v, "uri": v["uri"].replace(ENTRY, "app.bsky.feed.post")}),
    "a record that is not there": ("proof", lambda v: {**v, "uri": v["uri"] + "0"}),
    "an account that is not registered": (
        "did",
        lambda v: {
            **v,
            "uri": v["uri"].replace(v["did"], "did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
            "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
        },
    ),
    "no view": ("uri", lambda v: None),
    "a list": ("uri", lambda v: [v]),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_caught_in_a_list_and_alone(scene: Scene, name: str) -> None:
    steps, tell = LIES[name]
    told = []

    def change(said: Any) -> Any:
        said = copy.deepcopy(said)
        if "entry" in said:
            said["entry"] = tell(said["entry"])
            told.append(said)
        elif said.get("entries"):
            said["entries"][1] = tell(said["entries"][1])
            told.append(said)
        return said

    scene.lie(change)
    client = scene.service()
    with pytest.raises((VerificationError, LexiconError)) as error:
        client.entry(scene.at(f"{ENTRY}/1"))
    assert error.value.step in (*steps.split("|"), "uri")
    assert scene.front.url in str(error.value)
    assert error.value.uri == scene.at(f"{ENTRY}/1")
    answers = client.entries(repo=scene.alice.did)
    found = [*answers]
    assert len(found) == 4
    check_true(scene, found)
    assert next(item.error.step for item in answers.refused) in steps.split("|")
    assert len(told) == 2


def test_the_proof_of_another_record_and_of_an_older_state(scene: Scene) -> None:
    carol = scene.net.create_account(fresh_handle())
    repo = scene.net.account(carol.did).repo
    repo.write({f"{ENTRY}/{key}": entry(f"serum {key}") for key in "ab"})
    follow(scene.replica, scene.net, carol.did)
    uri = f"at://{carol.did}/{ENTRY}/a"
    asker = Asker(scene.front.url)
    old = asker.get("getEntry", uri=uri, proof="true").json
    repo.write({f"{ENTRY}/a": entry("serum anew")})
    follow(scene.replica, scene.net, carol.did)
    other = asker.get("getEntry", uri=f"at://{carol.did}/{ENTRY}/b", proof="true").json
    asker.close()
    client = scene.service()
    scene.lie(lambda said: other)
    with pytest.raises(ProofError) as error:
        client.entry(uri)
    assert error.value.step == "uri"
    scene.lie(lambda said: {"entry": {**said["entry"], "proof": other["entry"]["proof"]}})
    with pytest.raises(VerificationError):
        client.entry(uri)
    scene.lie(
        lambda said: {"entry": {**said["entry"], "proof": old["entry"]["proof"], "proofRev": old["entry"]["proofRev"]}}
    )
    with pytest.raises(ProofError) as error:
        client.entry(uri)
    assert error.value.step == "record"
    # An older state that is whole is true of its time, and who knows nothing newer is told that time.
    scene.lie(lambda said: old)
    assert client.entry(uri).rev < repo.head.rev


def test_a_record_that_is_none_of_its_collection_is_not_given(scene: Scene) -> None:
    carol = scene.net.create_account(fresh_handle())
    broken = {"$type": ENTRY, "name": 5}
    scene.net.account(carol.did).repo.write({f"{ENTRY}/a": broken})
    follow(scene.replica, scene.net, carol.did)
    with pytest.raises(LexiconError) as error:
        scene.service().entry(f"at://{carol.did}/{ENTRY}/a")
    assert error.value.step == "lexicon"


def test_what_was_not_asked_for_is_not_given(scene: Scene) -> None:
    client = scene.service()
    asker = Asker(scene.front.url)
    everything = {
        "entries": asker.get("listEntries", proof="true").json["entries"],
        "lenses": asker.get("listLenses", proof="true").json["lenses"],
        "labels": asker.get("listLabels", proof="true").json["labels"],
        "backlinks": [
            {"relation": "schema", "record": view} for view in asker.get("listLenses", proof="true").json["lenses"]
        ],
    }
    resolved = asker.get("resolveLabel", handle=scene.alice.did, name="retina", version="2.0.0", proof="true").json
    asker.close()
    scene.lie(lambda said: everything)
    answers = client.entries(repo=scene.bob.did)
    assert [*answers] == []
    assert {item.error.step for item in answers.refused} == {"question"}
    assert [str(one.record.uri) for one in client.lenses(scene.at(f"{SCHEMA}/Point:1.1.0", scene.bob))] == [
        scene.at(f"{LENS}/b", scene.bob)
    ]
    assert [one.record.version for one in client.labels(entry=scene.at(f"{ENTRY}/2"))] == ["2.0.0"]
    assert [*client.backlinks(scene.at(f"{SCHEMA}/Point:1.1.0", scene.bob))] == []
    assert [*client.backlinks(scene.at(f"{SCHEMA}/Point:1.1.0", scene.bob), relation="sourceSchema")] == []
    scene.lie(lambda said: resolved)
    for ask in (
        lambda: client.resolve_label(scene.alice.did, "retina", "1.0.0"),
        lambda: client.resolve_label(scene.alice.did, "iris"),
    ):
        with pytest.raises(ProofError) as error:
            ask()
        assert error.value.step == "question"


# --- the database of the service


def columns(path: Path) -> list[tuple[str, str]]:
    """Every column of a table that views are made from."""
    with sqlite3.connect(path) as sql:
        return [
            (table, column)
            for table in ("replica_accounts", "replica_nodes", "replica_records", "replica_links", "replica_identities")
            for _, column, *_ in sql.execute(f"PRAGMA table_info({table})")
            if column not in ("id", "account", "record")
        ]


def mutated(value: Any) -> list[Any]:
    match value:
        case bytes():
            at = len(value) // 2
            return [value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] if value else b"a", value + b"a", value[:-1]]
        case str():
            return [value[:-1] + ("b" if value[-1:] != "b" else "c"), "older" if value == "valid" else "valid"]
        case int():
            return [value + 1, 0]
    return ["a"]


def test_whatever_is_changed_in_the_database_what_is_given_is_true(scene: Scene) -> None:
    """Each column of each table that views are made from, changed in some ways: nothing false comes out of it."""
    client = scene.service()
    caught = 0
    honest = {name: question(scene, client) for name, question in QUESTIONS.items()}
    with sqlite3.connect(scene.path, isolation_level=None) as sql:
        sql.execute("PRAGMA foreign_keys = OFF")
        sql.execute("PRAGMA synchronous = OFF")
        for table, column in columns(scene.path):
            for before, *_ in sql.execute(f"SELECT DISTINCT {column} FROM {table} LIMIT 1").fetchall():
                for after in mutated(before):
                    kept = sql.execute(f"SELECT * FROM {table}").fetchall()
                    try:
                        sql.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS ?", (after, before))
                    except sqlite3.IntegrityError:
                        continue
                    for name in ("entry", "lens", "label", "name", "entries", "search", "verifications", "backlinks"):
                        try:
                            found = QUESTIONS[name](scene, client)
                        except AtdataError:
                            caught += 1
                            continue
                        check_true(scene, found)
                        caught += found != honest[name]
                    sql.execute("BEGIN IMMEDIATE")
                    sql.execute(f"DELETE FROM {table}")
                    sql.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept[0]))})", kept)
                    sql.execute("COMMIT")
    assert caught > 100
    assert {name: question(scene, client) for name, question in QUESTIONS.items()} == honest


# --- hostile services


def test_services_that_do_not_end(scene: Scene) -> None:
    client, asker = scene.service(), Asker(scene.front.url)
    honest = asker.get("searchRecords", q="retina", proof="true").json
    asker.close()
    scene.lie(lambda _: {**honest, "cursor": "again"})
    with pytest.raises(NetworkError, match="circle"):
        [*client.search("retina")]
    number = iter(range(10**6))
    scene.lie(lambda _: {**honest, "cursor": f"c{next(number)}"})
    with pytest.raises(NetworkError, match="nothing"):
        [*client.search("retina")]
    assert next(number) < 60
    many = []
    scene.lie(lambda _: {**honest, "records": honest["records"] * 200})
    for page in client.search("retina", limit=5).pages():
        many += page.records
    assert len(many) == 4


def test_a_service_that_drips_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.atmosphere.services.ANSWER_SECONDS", 1.0)
    with Dripping(scene.front.url, "searchRecords") as dripping:
        client = AppViewClient(dripping.url, scene.net.client())
        client._transport = replace(client._transport, least_rate=100.0)
        with pytest.raises(NetworkError, match="too long"):
            [*client.search("retina")]
        assert client.entry(scene.at(f"{ENTRY}/1")).record.name == "retina 1"


def test_accounts_that_nobody_knows_are_looked_up_once_and_not_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.atmosphere.service_records._PAGE_SECONDS", 1.0)
    asked = list[str]()

    def slow(request: Request) -> None:
        if "aaaa" in request.path:
            asked.append(request.path)
            time.sleep(0.2)

    def crowd(said: Any) -> Any:
        names = [f"did:plc:{number:024d}".translate(str.maketrans("0189", "abcd")) for number in range(99)]
        nobody = [{**said["records"][0], "did": did, "uri": f"at://{did}/{ENTRY}/1"} for did in names]
        return {**said, "records": [said["records"][0], *nobody]}

    scene.lie(crowd)
    scene.net.plc_server.before = slow
    try:
        (page,) = scene.service().search("retina", limit=100).pages()
    finally:
        scene.net.plc_server.before = None
    assert (len(page.records), len(page.refused)) == (1, 99)
    assert len(set(asked)) == len(asked) < 90


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"{"),
        Answer(200, b"[]"),
        Answer(200, b'{"entry": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
        Answer(200, b"\xff\xfe"),
        Answer(200, b""),
        Answer.json({"entry": {"uri": "at://" + "a" * 10**6}}),
        Answer(200, b'{"a": "' + b"a" * (1 << 25) + b'"}'),
        Answer(200, b"\x1f\x8b" + b"\0" * 40, {"content-encoding": "gzip"}),
        Answer(302, b"", {"location": "http://169.254.169.254/latest"}),
        Answer(404, b"no"),
        Answer.json(["RecordNotFound"], 404),
        Answer.error(501, "MethodNotImplemented", "\x1b[31mno"),
        Answer.error(418, "RecordInvalid", "no"),
    ],
)
def test_answers_that_are_none(scene: Scene, answer: Answer) -> None:
    scene.front.before = lambda _: answer
    client = scene.service()
    with pytest.raises(AtdataError) as error:
        client.entry(scene.at(f"{ENTRY}/1"))
    assert "\x1b" not in str(error.value)
    with pytest.raises(AtdataError):
        [*client.search("retina")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_put_into_an_answer_what_is_given_is_true(scene: Scene, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(QUESTIONS)))

    def spoil(value: Any, depth: int = 0) -> Any:
        if depth > 3 or not isinstance(value, dict | list) or not value or data.draw(st.integers(0, 3)) == 0:
            return data.draw(JSON)
        places = sorted(value) if isinstance(value, dict) else range(len(value))
        place = data.draw(st.sampled_from(list(places)))
        value[place] = spoil(value[place], depth + 1)
        return value

    scene.lie(spoil)
    try:
        found = QUESTIONS[name](scene, scene.service())
    except (AtdataError, UsageError):
        return
    finally:
        scene.front.tamper = None
    check_true(scene, found)


# --- the command line


def test_the_command_line_asks_services_and_shows_what_was_proven(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in scene.net.environment.items():
        monkeypatch.setenv(name, value)
    terminal, url = Terminal(capsys, monkeypatch), scene.front.url
    said = terminal.json("search", "retina", "--service", url)
    assert {hit["name"] for hit in said["hits"]} == {f"retina {n}" for n in range(4)}
    assert said["hits"] == sorted(said["hits"], key=lambda hit: rank_of(hit["uri"]))
    assert {(hit["by"], hit["license"]) for hit in said["hits"]} == {(f"@{scene.alice.handle}", "MIT")}
    assert {(hit["kind"], type(hit["size"]), hit["size"]) for hit in said["hits"]} <= {("dataset", type(None), None)}
    assert {hit["rev"] for hit in said["hits"]} == {str(scene.net.account(scene.alice.did).repo.head.rev)}
    assert (said["total"], said["exact"], said["services"][0]["refused"]) == (4, True, [])
    page = terminal.json("search", "retina", "--service", url, "--limit", "3")
    after = terminal.json("search", "retina", "--service", url, "--cursor", page["cursor"])
    assert [hit["name"] for hit in [*page["hits"], *after["hits"]]] == [hit["name"] for hit in said["hits"]]
    assert terminal.json("search", "retina")["hits"] == [], "without a service none is asked"
    monkeypatch.setenv("ATDATA_APPVIEW_URL", f"{url},http://localhost:1")
    both = terminal.json("search", "retina")
    assert len(both["hits"]) == 4
    assert [one["error"] is None for one in both["services"]] == [True, False]
    assert terminal.run("search", "retina", "--service", url) == 0
    assert "proven to be in its account's repository" in terminal.out
    named = [name.strip() for name in terminal.out.splitlines()[1].split("┃")]
    cells = dict(zip(named, (cell.strip() for cell in terminal.out.splitlines()[3].split("│")), strict=True))
    assert cells["address"].startswith(f"at://{scene.alice.did}/")
    assert cells["proven at"] == said["hits"][0]["rev"]
    assert cells["by"] == f"@{scene.alice.handle}"
    assert terminal.run("search", "retina", "--service", url, "--repo", scene.alice.handle) == 2
    assert terminal.run("search", "retina", "--cursor", "a") == 2
    assert terminal.run("search", "size:huge", "--service", url) == 2
    assert terminal.run("search", "retina", "--service", "http://localhost:1") not in (0, 2)

    def forged(said: Any) -> Any:
        said["records"][0]["license"] = "CC0-1.0\x1b[31m"
        return said

    scene.lie(forged)
    lied = terminal.json("search", "retina", "--service", url)
    assert len(lied["hits"]) == 3
    assert [item["step"] for item in lied["services"][0]["refused"]] == ["members"]
    assert terminal.run("search", "retina", "--service", url) == 0
    assert "not proven" in terminal.err
    assert "\x1b" not in terminal.out + terminal.err
    scene.lie(lambda said: {**said, "records": [forged(said)["records"][0]]})
    assert terminal.run("search", "retina", "--service", url) == 1
    assert "Of 1 record that the service found, none was proven." in terminal.out
    assert terminal.run("search", "retina", "--service", url, "--json") == 1
    scene.lie(lambda said: {**said, "cursor": "a; touch 'b'"})
    assert terminal.run("search", "retina", "--service", url) == 0
    (more,) = [line for line in terminal.out.splitlines() if line.startswith("More: ")]
    assert shlex.split(more)[-1] == "a; touch 'b'", "a line that is copied into a shell runs nothing else"
