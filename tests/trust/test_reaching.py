"""Datasets that can be seen as a schema through lenses that somebody on a list has verified: the same served and without a service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.appview import operator
from atdata.atproto.syntax import AtUri, Did
from atdata.databases import open_connection
from atdata.policy import Policy, Verify
from atdata.records import Schema
from atdata.records.nsids import LENS_VERIFICATION
from atdata.replica import Replica
from atdata.replica.tables import TABLES as REPLICA
from atdata.samples import packable
from atdata.search import TABLES as SEARCH
from atdata.search import Question, SearchAnswer, SearchIndex, reaching, search
from atdata.trust import TABLES as TRUST
from atdata.trust import VerifierList, lists_of
from support.appviews import ALICE, BOB, ENTRY, LENS, SCHEMA, Asker, Author, answering, entry

CAROL, DAN = Did("did:plc:vpkhqolt662uhesyj6nxm7ys"), Did("did:web:dan.example")
CODE = {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}
SIZE = 6


def schema(number: int) -> dict[str, Any]:
    kind = packable(type(f"Kind{number}", (), {"__annotations__": {f"x{number}": int}, "__module__": __name__}))
    return Schema.of(kind, name=f"Kind{number}", version="1.0.0").to_record()


def schema_uri(number: int, did: str = ALICE) -> str:
    return f"at://{did}/{SCHEMA}/kind{number}:1.0.0"


def lens(source: int, target: int, name: str = "a lens") -> dict[str, Any]:
    ends = {"sourceSchema": schema_uri(source), "targetSchema": schema_uri(target)}
    said = {"name": name, "createdAt": "2026-01-01T00:00:00.000Z", "getterCode": CODE, "putterCode": CODE}
    return {"$type": LENS, **said, **ends}


SCHEMAS = {f"{SCHEMA}/kind{number}:1.0.0": schema(number) for number in range(SIZE)}
ENTRIES = {f"{ENTRY}/e{number}": entry(f"e{number}", schema_uri(number)) for number in range(SIZE)}


@dataclass
class Both:
    """A service, and a copy of the same repositories without one."""

    served: Replica
    asker: Asker
    copy: Replica
    authors: dict[str, list[Author]] = field(default_factory=dict)

    def write(self, who: Did, changes: dict[str, dict[str, Any] | None]) -> None:
        authors = self.authors.setdefault(who, [Author(replica, who) for replica in (self.served, self.copy)])
        for author in authors:
            author.write(changes)

    def cid(self, uri: str) -> str:
        found = self.served.read(lambda reading: reading.get(AtUri(uri)))
        assert found is not None
        return str(found.cid)

    def verify(self, who: Did, key: str, lens_key: str, **members: Any) -> None:
        uri = f"at://{ALICE}/{LENS}/{lens_key}"
        said = {"lens": uri, "lensCommit": self.cid(uri), "verificationMethod": "codeReview"}
        made = {"$type": str(LENS_VERIFICATION), **said, "createdAt": "2026-02-01T00:00:00.000Z", **members}
        self.write(who, {f"{LENS_VERIFICATION}/{key}": made})

    def ways(self, number: int, verifiers: list[str]) -> dict[str, list[str]]:
        """The datasets that reach a schema, each with the keys of the lenses on its way: served, and the same without."""
        text = f"reaches:{schema_uri(number)}"
        said = self.asker.get("searchDatasets", q=text, verifiers=verifiers, limit=100).json
        served = {view["name"]: view["way"] for view in said["entries"]}
        answer = self.without(f"{text} kind:dataset", [VerifierList.of(verifiers)])
        found = {hit.record.value["name"]: hit.way for hit in answer.hits}
        assert [view["name"] for view in said["entries"]] == list(found)
        assert said["hitsTotal"] == answer.total
        for name, way in found.items():
            assert way is not None
            shown = [(str(one.uri), str(one.cid), list(one.verifiers)) for one in way]
            assert shown == [
                (one["lens"], one["cid"], [(who["did"], who["method"]) for who in one["verifiers"]])
                for one in served[name]
            ]
        return {name: [one["lens"].rpartition("/")[2] for one in way] for name, way in served.items()}

    def without(self, text: str, trusted: list[VerifierList]) -> SearchAnswer:
        index = SearchIndex()
        while self.copy.write(lambda writing: index.follow_log(writing.sql) or index.catch_up(writing.sql)):
            pass
        return self.copy.read(lambda reading: search(reading.sql, Question.parse(text), limit=100, trusted=trusted))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with answering(tmp_path / "appview.db") as (replica, asker):
        copy = Replica(open_connection(tmp_path / "copy.db", [REPLICA, TRUST, SEARCH], durable=False))
        made = Both(replica, asker, copy)
        made.write(ALICE, {**SCHEMAS, **ENTRIES})
        yield made
        copy.close()


def test_a_way_is_of_verified_lenses_and_says_who_verified_them(both: Both) -> None:
    both.write(
        ALICE, {f"{LENS}/a": lens(1, 0), f"{LENS}/b": lens(2, 1), f"{LENS}/c": lens(3, 0), f"{LENS}/d": lens(0, 4)}
    )
    assert both.ways(0, [BOB]) == {"e0": []}
    both.verify(BOB, "a", "a")
    both.verify(BOB, "b", "b", verificationMethod="formalProof")
    both.verify(BOB, "d", "d")
    both.verify(CAROL, "c", "c")
    assert both.ways(0, [BOB]) == {"e0": [], "e1": ["a"], "e2": ["b", "a"]}
    assert both.ways(0, [CAROL]) == {"e0": [], "e3": ["c"]}
    assert both.ways(0, [BOB, CAROL]) == {"e0": [], "e1": ["a"], "e2": ["b", "a"], "e3": ["c"]}
    assert both.ways(4, [BOB]) == {"e4": [], "e0": ["d"], "e1": ["a", "d"], "e2": ["b", "a", "d"]}
    (first,) = both.asker.get("searchDatasets", q=f"reaches:{schema_uri(0)} e1", verifiers=[BOB]).json["entries"]
    assert first["way"][0]["verifiers"] == [{"did": BOB, "method": "codeReview"}]


def test_the_operators_list_is_used_where_a_client_has_none_of_its_own(both: Both) -> None:
    both.write(ALICE, {f"{LENS}/a": lens(1, 0), f"{LENS}/b": lens(2, 0)})
    both.verify(BOB, "a", "a")
    both.verify(BOB, "b", "b", verificationMethod="formalProof")

    def found() -> tuple[set[str], Any]:
        said = both.asker.get("searchDatasets", q=f"reaches:{schema_uri(0)}").json
        return {view["name"] for view in said["entries"]}, said["trust"]

    assert found() == ({"e0"}, {"list": "service", "serviceVersion": 0})
    operator.trust_verifier(both.served, BOB, "x", ["formalProof"])
    assert found() == ({"e0", "e2"}, {"list": "service", "serviceVersion": 1})
    operator.distrust_verifier(both.served, BOB, "x")
    assert found()[0] == {"e0"}


def test_a_policy_is_as_strict_here_as_where_data_are_loaded(both: Both) -> None:
    both.write(ALICE, {f"{LENS}/a": lens(1, 0), f"{LENS}/b": lens(2, 0)})
    both.verify(BOB, "a", "a")
    both.verify(CAROL, "a", "a", verificationMethod="formalProof")
    both.verify(BOB, "b", "b")

    def found(*rules: Verify) -> set[str]:
        answer = both.without(f"reaches:{schema_uri(0)} kind:dataset", list(lists_of(Policy(verify=rules))))
        return {hit.record.value["name"] for hit in answer.hits}

    assert found(Verify((BOB,))) == {"e0", "e1", "e2"}
    assert found(Verify((BOB, CAROL), count=2)) == {"e0", "e1"}
    assert found(Verify((BOB,)), Verify((CAROL,), ("formalProof",))) == {"e0", "e1"}
    assert found(Verify((BOB,)), Verify((CAROL,), ("codeReview",))) == {"e0"}
    assert found(Verify(("local",))) == {"e0"}
    assert found() == {"e0"}
    both.verify(CAROL, "n", "a", verdict="fails", createdAt="2026-03-01T00:00:00.000Z")
    assert found(Verify((BOB,))) == {"e0", "e1", "e2"}
    assert found(Verify((BOB, CAROL))) == {"e0", "e2"}


def test_what_is_no_longer_so_reaches_nothing(both: Both) -> None:
    both.write(ALICE, {f"{LENS}/a": lens(1, 0)})
    both.verify(BOB, "a", "a")
    assert set(both.ways(0, [BOB])) == {"e0", "e1"}
    both.write(ALICE, {f"{LENS}/a": lens(1, 0, "another")})  # of which nobody has said anything
    assert set(both.ways(0, [BOB])) == {"e0"}
    both.verify(BOB, "b", "a")
    assert set(both.ways(0, [BOB])) == {"e0", "e1"}
    both.write(ALICE, {f"{SCHEMA}/kind1:1.0.0": None})
    assert set(both.ways(0, [BOB])) == {"e0"}
    both.write(ALICE, {f"{SCHEMA}/kind0:1.0.0": None})
    assert both.ways(0, [BOB]) == {}


def test_schemas_are_what_they_say_and_not_where_they_are(both: Both) -> None:
    both.write(BOB, {f"{SCHEMA}/kind1:1.0.0": schema(1), f"{ENTRY}/copied": entry("copied", schema_uri(1, BOB))})
    both.write(ALICE, {f"{LENS}/a": lens(1, 0)})
    both.verify(CAROL, "a", "a")
    assert set(both.ways(0, [CAROL])) == {"e0", "e1", "copied"}


def test_the_ways_are_bounded(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "MAX_LENSES", 2)
    both.write(ALICE, {f"{LENS}/{number}": lens(number + 1, number) for number in range(SIZE - 1)})
    for number in range(SIZE - 1):
        both.verify(BOB, f"v{number}", str(number))
    assert set(both.ways(0, [BOB])) == {"e0", "e1", "e2"}
    monkeypatch.setattr(reaching, "MAX_REACHED", 2)
    assert set(both.ways(0, [BOB])) == {"e0", "e1"}
    monkeypatch.setattr(reaching, "MAX_VERIFIED", 1)
    monkeypatch.setattr(reaching, "MAX_REACHED", 200)
    assert set(both.ways(SIZE - 2, [BOB])) == {f"e{SIZE - 2}", f"e{SIZE - 1}"}  # the newest verification


@pytest.mark.parametrize(
    "text", ["reaches:alice", "reaches:", "reaches:at://", f"reaches:{schema_uri(99)}", "reaches:at://x.y/z/w"]
)
def test_what_is_no_schema_is_reached_by_nothing(both: Both, text: str) -> None:
    said = both.asker.get("searchDatasets", q=text)
    assert said.status == 400 or said.json["entries"] == []


def test_rows_that_lie_about_their_ends_do_no_harm(both: Both) -> None:
    nowhere = {"sourceSchema": f"at://{BOB}/{ENTRY}/x", "targetSchema": schema_uri(0)}
    odd = {"a": lens(0, 0), "b": {**lens(1, 0), **nowhere}, "c": {**lens(1, 0), "name": 3}}
    both.write(ALICE, {f"{LENS}/{key}": value for key, value in odd.items()})
    for key in odd:
        both.verify(BOB, key, key)
    both.verify(BOB, "d", "a", lens="at://alice.example/x.y.z/1")
    both.verify(BOB, "e", "a", lens=f"at://{ALICE}")
    both.verify(BOB, "f", "a", lens=f"at://{ALICE}/{ENTRY}/e0")
    assert both.ways(0, [BOB]) == {"e0": []}


EDGES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), max_size=9)
WORDS = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from([BOB, CAROL, DAN]), st.sampled_from(["holds", "fails", "stale"])),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edges=EDGES,
    words=WORDS,
    listed=st.sets(st.sampled_from([BOB, CAROL, DAN]), min_size=1),
    target=st.integers(0, SIZE - 1),
)
def test_what_is_reached_is_what_a_walk_over_all_lenses_reaches(
    both: Both, edges: list[tuple[int, int]], words: list[tuple[int, Did, str]], listed: set[Did], target: int
) -> None:
    lenses = {f"{LENS}/l{number}": lens(*ends) for number, ends in enumerate(edges)}
    both.write(ALICE, {**{key: None for key in both.authors[ALICE][0].records if key.startswith(LENS)}, **lenses})
    last: dict[tuple[int, Did], str] = {}
    for who in (BOB, CAROL, DAN):
        said: dict[str, dict[str, Any] | None] = {}
        if who in both.authors:
            said = dict.fromkeys(both.authors[who][0].records)
        for number, (place, speaker, verdict) in enumerate(words):
            if speaker == who and place < len(edges):
                uri = f"at://{ALICE}/{LENS}/l{place}"
                record = {"lens": uri, "lensCommit": both.cid(uri), "verificationMethod": "codeReview"}
                record |= {"$type": str(LENS_VERIFICATION), "createdAt": f"2026-02-01T00:00:{number:02}.000Z"}
                if verdict == "stale":
                    record["lensCommit"] = "bafyreistale"
                else:
                    record["verdict"] = verdict
                    last[place, who] = verdict
                said[f"{LENS_VERIFICATION}/v{number}"] = record
        if said:
            both.write(who, said)
    good = {
        place
        for place in range(len(edges))
        if (of := {last[place, who] for who in listed if (place, who) in last}) and of == {"holds"}
    }
    distance = {target: 0}
    for step in range(1, reaching.MAX_LENSES + 1):
        for place in good:
            source, end = edges[place]
            if distance.get(end) == step - 1:
                distance.setdefault(source, step)
    found = both.ways(target, sorted(listed))
    assert {name: len(way) for name, way in found.items()} == {f"e{n}": steps for n, steps in distance.items()}
