"""An AppView answers what its lexicons say, of what is proven, and with errors that have names."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.appview import operator
from atdata.appview.xrpc import RateLimit
from atdata.atproto.repo.proof import prove_record
from atdata.atproto.syntax import AtUri, Nsid, RecordKey
from atdata.errors import NotFoundError
from atdata.records import Schema
from atdata.records.nsids import LENS_VERIFICATION
from atdata.records.record import lexicons
from atdata.replica import Replica
from support.appviews import (
    ALICE,
    BOB,
    ENTRY,
    KEY,
    LABEL,
    LENS,
    NAMESPACE,
    SCHEMA,
    Asker,
    Author,
    answering,
    at,
    entry,
    label,
    lens,
)

BY_HANDLE = "alice.example"


@atdata.packable
class Point:
    x: NDArray[np.float32]
    y: int


def schema(version: str, name: str = "Point") -> dict[str, Any]:
    return Schema.of(Point, name=name, version=version).to_record()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def appview(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Replica, Asker]]:
    where = request.getfixturevalue("postgres_url") if request.param == "postgresql" else tmp_path / "appview.db"
    with answering(where) as pair:
        yield pair


# --- names


def test_a_label_stands_for_the_entry_of_its_newest_version(appview: tuple[Replica, Asker]) -> None:
    replica, asker = appview
    uris = {version: at(f"{ENTRY}/{number}") for number, version in enumerate(["1.9.0", "1.10.0", "2.0.0-rc.1"])}
    changes = {f"{ENTRY}/{number}": entry(f"e{number}") for number in range(3)}
    dates = ["2026-03-01", "2026-01-01", "2026-01-01"]  # by time, the first would be the newest
    labels = {
        f"{LABEL}/{n}": label("mnist", uri, version, createdAt=f"{dates[n]}T00:00:00.000Z")
        for n, (version, uri) in enumerate(uris.items())
    }
    Author(replica).write({**changes, **labels})
    # A version to come is newer than what it leads to precedes, and 2.0.0 itself is not there.
    assert asker.get("resolveLabel", handle=BY_HANDLE, name="mnist").json["uri"] == uris["2.0.0-rc.1"]
    for version, uri in uris.items():
        said = asker.get("resolveLabel", handle=ALICE, name="mnist", version=version)
        found = replica.read(lambda reading, uri=uri: reading.get(AtUri(uri)))
        assert (said.json["uri"], said.json["cid"], said.json["label"]["version"]) == (uri, str(found.cid), version)
    assert asker.error("resolveLabel", handle=ALICE, name="mnist", version="9.9.9") == (404, "LabelNotFound")
    assert asker.error("resolveLabel", handle=ALICE, name="other") == (404, "LabelNotFound")
    assert asker.error("resolveLabel", handle="nobody.example", name="mnist") == (404, "LabelNotFound")
    assert asker.error("resolveLabel", handle="no handle", name="mnist") == (400, "InvalidRequest")
    assert asker.error("resolveLabel", handle=ALICE) == (400, "InvalidRequest")


def test_a_label_without_its_entry_says_so_and_a_retracted_one_stands_for_nothing(appview: Any) -> None:
    replica, asker = appview
    gone = label("gone", at(f"{ENTRY}/0"))
    withdrawn = {"reason": "wrong", "createdAt": "2026-01-02T00:00:00.000Z"}
    ends = label("ends", at(f"{ENTRY}/1"), "1.0.0", retraction=withdrawn)
    Author(replica).write({f"{LABEL}/a": gone, f"{LABEL}/b": ends, f"{ENTRY}/1": entry("e")})
    assert asker.error("resolveLabel", handle=ALICE, name="gone") == (404, "TargetNotFound")
    assert asker.error("resolveLabel", handle=ALICE, name="ends") == (404, "LabelNotFound")
    assert asker.error("resolveLabel", handle=ALICE, name="ends", version="1.0.0") == (404, "LabelNotFound")


def test_a_schema_is_found_by_its_name_and_by_its_key(appview: Any) -> None:
    replica, asker = appview
    versions = ("1.0.0", "1.10.0", "1.9.0")
    Author(replica).write({f"{SCHEMA}/point:{version}": schema(version) for version in versions})
    for name in ("Point", "point"):
        assert asker.get("resolveSchema", handle=ALICE, schemaId=name).json["record"]["version"] == "1.10.0"
        said = asker.get("resolveSchema", handle=BY_HANDLE, schemaId=name, version="1.9.0").json
        assert said["uri"] == at(f"{SCHEMA}/point:1.9.0")
    assert asker.error("resolveSchema", handle=ALICE, schemaId="poin") == (404, "SchemaNotFound")
    assert asker.get("getSchema", uri=at(f"{SCHEMA}/point:1.0.0")).json["version"] == "1.0.0"


def test_a_record_that_cannot_be_read_makes_its_name_mean_nothing(appview: Any) -> None:
    replica, asker = appview
    broken = {**schema("3.0.0"), "createdAt": "yesterday"}
    Author(replica).write({f"{SCHEMA}/point:1.0.0": schema("1.0.0"), f"{SCHEMA}/point:3.0.0": broken})
    assert asker.error("resolveSchema", handle=ALICE, schemaId="Point") == (400, "RecordInvalid")
    assert asker.get("resolveSchema", handle=ALICE, schemaId="Point", version="1.0.0").status == 200


# --- records


def test_a_view_has_the_record_whole_and_what_is_known_of_it(appview: Any) -> None:
    replica, asker = appview
    record = entry("mnist", tags=["digits"], somethingNew={"deep": [1, {"$bytes": "AAE"}]}, uri="mine", rev="mine")
    commit = Author(replica).write({f"{ENTRY}/a": {**record, "somethingNew": {"deep": [1, b"\x00\x01"]}}})
    view = asker.get("getEntry", uri=at(f"{ENTRY}/a", BY_HANDLE)).json["entry"]
    assert view["record"] == record
    own = {"uri": at(f"{ENTRY}/a"), "did": ALICE, "handle": BY_HANDLE, "rev": str(commit.rev), "validity": "valid"}
    assert {name: view[name] for name in own} == own
    assert view["verified"] is True
    assert view["tags"] == ["digits"]
    assert view["storage"] == record["storage"]
    assert asker.error("getEntry", uri=at(f"{ENTRY}/b")) == (404, "RecordNotFound")
    assert asker.error("getEntry", uri=at(f"{SCHEMA}/a")) == (400, "InvalidRequest")
    assert asker.error("getEntry", uri="at://nonsense") == (400, "InvalidRequest")


def test_records_of_an_older_era_and_broken_ones_say_what_they_are(appview: Any) -> None:
    replica, asker = appview
    legacy = "ac.foundation.dataset.label"
    old = {**label("old", at(f"{ENTRY}/a")), "$type": legacy}
    Author(replica).write({f"{legacy}/a": old, f"{ENTRY}/x": {"$type": ENTRY, "name": 7}})
    (view,) = asker.get("listLabels").json["labels"]
    assert (view["validity"], view["record"]["$type"], view["name"]) == ("older", legacy, "old")
    broken = asker.get("getEntry", uri=at(f"{ENTRY}/x")).json["entry"]
    assert (broken["validity"], broken["record"]["name"]) == ("invalid", 7)
    assert broken["reason"]
    assert "name" not in broken
    assert asker.get("listEntries").json["entries"] == []


def test_entries_come_in_the_order_asked(appview: Any) -> None:
    replica, asker = appview
    Author(replica).write({f"{ENTRY}/{n}": entry(f"e{n}") for n in range(5)})
    asked = [at(f"{ENTRY}/{n}") for n in (3, 1, 9, 4)]
    assert [view["uri"] for view in asker.get("getEntries", uris=asked).json["entries"]] == [
        asked[0],
        asked[1],
        asked[3],
    ]
    assert asker.error("getEntries", uris=asked * 7) == (400, "InvalidRequest")


def test_whatever_is_served_is_proved_to_its_reader(appview: Any) -> None:
    replica, asker = appview
    keys = [f"{ENTRY}/{n}" for n in range(20)]
    commit = Author(replica).write({**{key: entry(key[-2:]) for key in keys}, f"{LABEL}/a": label("a", at(keys[0]))})

    def proved(view: dict[str, Any], uri: str, cid: str) -> None:
        collection, rkey = AtUri(uri).collection, AtUri(uri).rkey
        found = prove_record(
            base64.b64decode(view["proof"]), ALICE, KEY.public, Nsid(str(collection)), RecordKey(str(rkey))
        )
        assert (str(found.cid), str(found.commit.rev)) == (cid, view["proofRev"])

    views = [asker.get("getEntry", uri=at(keys[3]), proof="true").json["entry"]]
    views += asker.get("listEntries", proof="true").json["entries"]
    views += asker.get("searchDatasets", proof="true").json["entries"]
    assert len(views) == 41
    for view in views:
        proved(view, view["uri"], view["cid"])
    operator.reindex(replica, ALICE)  # until it was fetched it is shown, and proven, as it was
    for view in asker.get("listEntries", proof="true").json["entries"]:
        proved(view, view["uri"], view["cid"])
    said = asker.get("resolveLabel", handle=ALICE, name="a", proof="true")
    proved(said.json, said.json["labelUri"], said.json["labelCid"])
    assert said.headers["atproto-repo-rev"] == said.json["proofRev"] == str(commit.rev)
    assert "proof" not in asker.get("getEntry", uri=at(keys[3])).json["entry"]
    assert asker.error("resolveLabel", handle=ALICE, name="a", proof="yes") == (400, "InvalidRequest")


def test_lenses_between_two_schemas_hold_both(appview: Any) -> None:
    replica, asker = appview
    one, two, three = (at(f"{SCHEMA}/{name}") for name in ("one", "two", "three"))
    made = {f"{LENS}/a": lens(one, two), f"{LENS}/b": lens(one, three), f"{LENS}/c": lens(two, one)}
    Author(replica).write(made)

    def found(method: str, **params: str) -> set[str]:
        return {view["uri"][-1] for view in asker.get(method, **params).json["lenses"]}

    for method in ("listLenses", "searchLenses"):
        assert found(method) == {"a", "b", "c"}
        assert found(method, sourceSchema=one) == {"a", "b"}
        assert found(method, targetSchema=one) == {"c"}
        assert found(method, sourceSchema=one, targetSchema=three) == {"b"}
        assert found(method, sourceSchema=three, targetSchema=one) == set()
    assert asker.get("getLens", uri=at(f"{LENS}/a")).json["lens"]["sourceSchema"] == one


def test_verifications_say_whether_the_lens_has_changed_since(appview: Any) -> None:
    replica, asker = appview
    author = Author(replica)
    author.write({f"{LENS}/a": lens(at(f"{SCHEMA}/one"), at(f"{SCHEMA}/two"))})
    uri = at(f"{LENS}/a")
    cid = str(replica.read(lambda reading: reading.get(AtUri(uri))).cid)
    said = {"lens": uri, "lensCommit": cid, "verificationMethod": "codeReview", "createdAt": "2026-01-01T00:00:00.000Z"}
    said |= {"codeHash": {"algorithm": "sha256", "digest": "ab" * 32}, "$type": str(LENS_VERIFICATION)}
    lexicons().validate_record(said, str(LENS_VERIFICATION))
    Author(replica, BOB).write({f"{LENS_VERIFICATION}/v": said})
    (view,) = asker.get("listVerifications", lens=uri).json["verifications"]
    assert (view["did"], view["stale"]) == (BOB, False)
    author.write({f"{LENS}/a": lens(at(f"{SCHEMA}/one"), at(f"{SCHEMA}/three"))})
    assert asker.get("listVerifications", lens=uri).json["verifications"][0]["stale"] is True


def test_backlinks_are_walked_whole_also_where_one_record_names_another_twice(appview: Any) -> None:
    replica, asker = appview
    target = at(f"{SCHEMA}/one")
    Author(replica).write(
        {
            **{f"{LENS}/{n}": lens(target, target) for n in range(5)},
            **{f"{ENTRY}/{n}": entry("e", target) for n in range(5)},
        }
    )
    for limit in (1, 3, 100):
        seen: list[tuple[str, str]] = []
        params: dict[str, Any] = {"uri": target, "limit": limit}
        while True:
            said = asker.get("listBacklinks", **params).json
            seen += [(link["record"]["uri"], link["relation"]) for link in said["backlinks"]]
            if "cursor" not in said:
                break
            params["cursor"] = said["cursor"]
        assert len(seen) == len(set(seen)) == 15
    only = asker.get("listBacklinks", uri=target, relation="schema").json["backlinks"]
    assert {link["record"]["name"] for link in only} == {"e"}


@pytest.mark.parametrize("method", ["listEntries", "listBacklinks", "searchDatasets"])
def test_a_page_of_large_records_ends_early_and_a_walk_gives_each(appview: Any, method: str) -> None:
    replica, asker = appview
    target = at(f"{SCHEMA}/one")
    Author(replica).write({f"{ENTRY}/{n}": entry("e", target, more="x" * 450_000) for n in range(10)})
    params: dict[str, Any] = {"uri": target} if method == "listBacklinks" else {"repo": ALICE}
    sizes, seen = list[int](), list[str]()
    while True:
        said = asker.get(method, limit=100, **params).json
        views = [link["record"] for link in said["backlinks"]] if method == "listBacklinks" else said["entries"]
        seen += [view["uri"] for view in views]
        sizes.append(len(views))
        if "cursor" not in said:
            break
        params["cursor"] = said["cursor"]
    assert sizes == [4, 4, 2]
    assert sorted(seen) == [at(f"{ENTRY}/{n}") for n in range(10)]


@pytest.mark.parametrize("method", ["resolveLabel", "resolveSchema"])
def test_more_records_of_a_name_than_are_read_for_a_question_are_an_error(appview: Any, method: str) -> None:
    replica, asker = appview
    named = label("l", at(f"{ENTRY}/e")) if method == "resolveLabel" else {**schema("1.0.0"), "name": "other"}
    key = f"{LABEL}/" if method == "resolveLabel" else f"{SCHEMA}/l:1.0."
    records = {f"{key}{n}": {**named, "more": "x" * 900_000} for n in range(9)}
    Author(replica).write(records)
    asked = {"handle": ALICE, "name" if method == "resolveLabel" else "schemaId": "l"}
    assert asker.error(method, **asked) == (400, "RecordInvalid")


def test_datasets_are_found_by_words_tags_schema_and_account(appview: Any) -> None:
    replica, asker = appview
    other = at(f"{SCHEMA}/other")
    Author(replica).write(
        {f"{ENTRY}/a": entry("retinal scans", tags=["eyes"]), f"{ENTRY}/b": entry("street scenes", other)}
    )
    Author(replica, BOB).write({f"{ENTRY}/c": entry("retinal atlas"), f"{SCHEMA}/retinal:1.0.0": schema("1.0.0")})

    def found(**params: Any) -> set[str]:
        return {view["name"] for view in asker.get("searchDatasets", **params).json["entries"]}

    assert found() == {"retinal scans", "street scenes", "retinal atlas"}
    assert found(q="retinal") == {"retinal scans", "retinal atlas"}
    assert found(q="retinal", repo=BY_HANDLE) == {"retinal scans"}
    assert found(tags="eyes") == {"retinal scans"}
    assert found(schemaRef=other) == {"street scenes"}
    said = asker.get("searchDatasets", q="retinal", facets="true", limit=1).json
    counts = {facet["kind"]: {one["value"]: one["count"] for one in facet["values"]} for facet in said["facets"]}
    assert (counts["tag"], counts["publisher"], counts["kind"]) == ({"eyes": 1}, {ALICE: 1, BOB: 1}, {"dataset": 2})
    assert (said["hitsTotal"], said["exact"], len(said["entries"])) == (2, True, 1)
    assert "facets" not in asker.get("searchDatasets", q="retinal").json
    assert asker.get("searchDatasets", q="nothing so", facets="true").json["facets"] == []
    assert asker.error("searchDatasets", q="samples:>=7M") == (400, "InvalidRequest")
    assert asker.error("searchDatasets", cursor="nonsense") == (400, "InvalidRequest")


def test_blobs_are_where_their_accounts_servers_are(appview: Any) -> None:
    replica, asker = appview
    blob = {"$type": "blob", "ref": atdata.atproto.cid.Cid.of_raw(b"x"), "mimeType": "application/x-tar", "size": 1}
    storage = {"$type": f"{NAMESPACE}.storageBlobs", "blobs": [{"blob": blob}]}
    Author(replica).write({f"{ENTRY}/a": {**entry("blobs"), "storage": storage}})
    ref = f"at://{ALICE}/blob/{blob['ref']}"
    other = f"at://{ALICE}/blob/{atdata.atproto.cid.Cid.of_raw(b'y')}"
    said = asker.get("resolveBlobs", uris=[ref, other, "nonsense", ref.replace(ALICE, BOB)]).json["blobs"]
    url = f"https://pds.example.org/xrpc/com.atproto.sync.getBlob?did={ALICE}&cid={blob['ref']}"
    assert said[0] == {"uri": ref, "cid": str(blob["ref"]), "url": url}
    assert [each.get("error") for each in said[1:]] == ["BlobNotFound", "InvalidRequest", "RepoNotFound"]


# --- accounts


def test_what_is_hidden_is_gone_from_every_answer_at_once(appview: Any) -> None:
    replica, asker = appview
    Author(replica).write({f"{ENTRY}/a": entry("a"), f"{LABEL}/a": label("a", at(f"{ENTRY}/a"))})
    tag = asker.get("getEntry", uri=at(f"{ENTRY}/a")).headers["etag"]
    assert asker.get("describeService").json["recordCount"] == 2
    assert asker.get("getProfile", repo=ALICE).json["counts"]["entries"] == 1
    replica.write(lambda writing: writing.set_status(ALICE, "takendown", 1))
    assert asker.get("getEntry", {"If_None_Match": tag}, uri=at(f"{ENTRY}/a")).status == 404
    assert asker.error("resolveLabel", handle=ALICE, name="a") == (404, "LabelNotFound")
    assert (
        asker.error("getProfile", repo=ALICE)
        == asker.error("getProfile", repo="did:plc:nobody")
        == (404, "RepoNotFound")
    )
    assert asker.error("listEntries", repo=ALICE) == (404, "RepoNotFound")
    for method, member in (("listEntries", "entries"), ("searchDatasets", "entries"), ("listLabels", "labels")):
        assert asker.get(method).json[member] == []
    assert asker.get("getEntries", uris=at(f"{ENTRY}/a")).json["entries"] == []
    assert asker.get("listBacklinks", uri=at(f"{ENTRY}/a")).json["backlinks"] == []
    assert asker.get("describeService").json["recordCount"] == 0
    replica.write(lambda writing: writing.set_status(ALICE, "active", 1))
    assert asker.get("getEntry", {"If_None_Match": tag}, uri=at(f"{ENTRY}/a")).status == 304
    assert asker.get("describeService").json["recordCount"] == 2


def test_a_record_that_was_taken_down_is_gone_from_every_answer_and_nothing_else_is(appview: Any) -> None:
    replica, asker = appview
    author, gone, stays = Author(replica), at(f"{ENTRY}/a"), at(f"{ENTRY}/b")
    labels = {f"{LABEL}/a": label("cats", gone), f"{LABEL}/b": label("dogs", stays), f"{LABEL}/c": label("rude", stays)}
    other = lens(at(f"{SCHEMA}/point:1.0.0"), at(f"{SCHEMA}/point:1.0.0"))
    records = {f"{ENTRY}/a": entry("felines"), f"{ENTRY}/b": entry("hounds"), f"{SCHEMA}/point:1.0.0": schema("1.0.0")}
    author.write({**records, **labels, f"{LENS}/l": other})
    for place in (gone, at(f"{LABEL}/c"), at(f"{SCHEMA}/point:1.0.0")):
        operator.takedown(replica, AtUri(place), "spam")
    for method, params, name in (
        ("getEntry", {"uri": gone}, "RecordNotFound"),
        ("getEntry", {"uri": gone, "proof": "true"}, "RecordNotFound"),
        ("resolveLabel", {"handle": ALICE, "name": "cats"}, "TargetNotFound"),
        ("resolveLabel", {"handle": ALICE, "name": "rude"}, "LabelNotFound"),
        ("resolveSchema", {"handle": ALICE, "schemaId": "Point"}, "SchemaNotFound"),
        ("resolveSchema", {"handle": ALICE, "schemaId": "point"}, "SchemaNotFound"),
    ):
        assert asker.error(method, **params) == (404, name)
    found = lambda **params: [view["uri"] for view in asker.get("searchDatasets", **params).json["entries"]]
    assert (found(), found(q="felines"), found(q="rude"), found(q="hounds")) == ([stays], [], [], [stays])
    assert [view["uri"] for view in asker.get("listEntries", repo=ALICE).json["entries"]] == [stays]
    assert [view["uri"] for view in asker.get("getEntries", uris=[gone, stays]).json["entries"]] == [stays]
    assert asker.get("listSchemas").json["schemas"] == []
    links = asker.get("listBacklinks", uri=stays).json["backlinks"]
    assert [link["record"]["uri"] for link in links] == [at(f"{LABEL}/b")]
    assert asker.get("describeService").json["recordCount"] == 4
    assert asker.get("getProfile", repo=ALICE).json["counts"]["entries"] == 1
    with pytest.raises(NotFoundError):
        replica.read(lambda reading: reading.account(ALICE).proofs([f"{ENTRY}/a"]))
    author.write({f"{ENTRY}/a": None})
    author.write({f"{ENTRY}/a": entry("felines again")})
    assert (found(q="felines"), asker.error("getEntry", uri=gone)) == ([], (404, "RecordNotFound"))
    operator.restore(replica, AtUri(gone))
    assert found(q="felines") == [gone]
    assert asker.get("getEntry", uri=gone, proof="true").json["entry"]["name"] == "felines again"
    with pytest.raises(NotFoundError, match="not taken down"):
        operator.restore(replica, AtUri(gone))


# --- pages


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 7),
    st.lists(st.tuples(st.sampled_from(["add", "delete", "update"]), st.integers(0, 20)), max_size=30),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
def test_a_walk_gives_each_once_that_is_there_all_the_while(
    tmp_path_factory: pytest.TempPathFactory, limit: int, writes: list[tuple[str, int]], days: list[int]
) -> None:
    def made(number: int, words: str = "") -> dict[str, Any]:
        return entry(f"e{number}", createdAt=f"2026-01-0{days[number % 12] + 1}T00:00:00.000Z", description=words)

    with answering(tmp_path_factory.mktemp("walk") / "appview.db") as (replica, asker):
        author = Author(replica)
        author.write({f"{ENTRY}/{number}": made(number) for number in range(12)})
        pending, touched, seen = list(writes), set[str](), list[str]()
        params: dict[str, Any] = {"limit": limit}
        while True:
            said = asker.get("listEntries", **params).json
            seen += [view["uri"].rpartition("/")[2] for view in said["entries"]]
            if "cursor" not in said:
                break
            params["cursor"] = said["cursor"]
            for verb, number in pending[:2]:
                author.write({f"{ENTRY}/{number}": None if verb == "delete" else made(number, verb)})
                touched |= {str(number)} if verb != "update" or number >= 12 else set()
            del pending[:2]
        stayed = {str(number) for number in range(12)} - touched
        assert len(seen) == len(set(seen)) or touched
        assert all(seen.count(key) == 1 for key in stayed)


def test_pages_are_of_a_size_and_newest_first(appview: Any) -> None:
    replica, asker = appview
    Author(replica).write(
        {f"{ENTRY}/{n:02}": entry(f"e{n}", createdAt=f"2026-01-{n + 1:02}T00:00:00Z") for n in range(30)}
    )
    names = [view["name"] for view in asker.get("listEntries", limit=30).json["entries"]]
    assert names == [f"e{n}" for n in reversed(range(30))]
    for limit in ("0", "101", "-1", "1.5", "", "9" * 30, "ten"):
        assert asker.error("listEntries", limit=limit) == (400, "InvalidRequest")
    cursor = asker.get("listEntries", limit=3).json["cursor"]
    assert asker.error("listSchemas", cursor=cursor) == (400, "InvalidRequest")
    for bad in ("", "x", "\x00", "é", "A" * 5000, base64.urlsafe_b64encode(b"listEntries:1").decode().rstrip("=")):
        assert asker.error("listEntries", cursor=bad) == (400, "InvalidRequest")


# --- the wire


def test_an_answer_that_is_there_already_is_not_sent_again(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        author = Author(replica)
        author.write({f"{ENTRY}/a": entry("a")})
        said = asker.get("listEntries")
        assert asker.get("listEntries", {"If_None_Match": said.headers["etag"]}).status == 304
        author.write({f"{ENTRY}/b": entry("b")})
        assert asker.get("listEntries", {"If_None_Match": said.headers["etag"]}).status == 200
        assert asker.get("listEntries", {"Origin": "https://a.example"}).headers["access-control-allow-origin"] == "*"
        wanted = {"Origin": "https://a.example", "Access_Control_Request_Method": "POST"}
        assert asker.send("OPTIONS", f"/xrpc/{NAMESPACE}.indexNow", **wanted).status == 200


def test_every_refusal_has_a_name(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (_, asker):
        for verb, path, status, name in (
            ("GET", "/xrpc/com.example.other", 501, "MethodNotImplemented"),
            ("GET", "/xrpc/getEntry", 501, "MethodNotImplemented"),
            ("GET", f"/xrpc/{NAMESPACE}.entry", 400, "InvalidRequest"),
            ("GET", f"/xrpc/{NAMESPACE}.subscribeChanges", 400, "InvalidRequest"),
            ("POST", f"/xrpc/{NAMESPACE}.getEntry", 405, "InvalidRequest"),
            ("GET", "/xrpc/no/where", 404, "NotFound"),
            ("GET", f"/xrpc/{NAMESPACE}.listEntries?limit=1&limit=2", 400, "InvalidRequest"),
            ("GET", f"/xrpc/{NAMESPACE}.listEntries?repo=%ff%fe", 400, "InvalidRequest"),
            ("GET", f"/xrpc/{NAMESPACE}.searchDatasets?q=%00", 400, "InvalidRequest"),
            ("GET", f"/xrpc/{NAMESPACE}.listEntries?{'a=1&' * 300}", 400, "InvalidRequest"),
        ):
            said = asker.send(verb, path)
            assert (said.status, said.json["error"]) == (status, name), path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["getEntry", "getEntries", "listEntries", "listBacklinks", "resolveLabel", "searchDatasets", "resolveBlobs"]
    ),
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "uri",
                    "uris",
                    "repo",
                    "limit",
                    "cursor",
                    "handle",
                    "name",
                    "q",
                    "tags",
                    "schemaRef",
                    "proof",
                    "relation",
                ]
            ),
            st.one_of(
                st.text(max_size=40), st.sampled_from([at(f"{ENTRY}/a"), ALICE, BY_HANDLE, "true", "5", "-" * 600])
            ),
        ),
        max_size=6,
    ),
)
def test_nothing_that_is_asked_is_a_fault(fuzzed: Asker, method: str, params: list[tuple[str, str]]) -> None:
    from urllib.parse import quote

    query = "&".join(f"{name}={quote(text.encode('utf-8', 'surrogatepass'))}" for name, text in params)
    assert fuzzed.send("GET", f"/xrpc/{NAMESPACE}.{method}?{query}").status in (200, 400, 404)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with answering(tmp_path_factory.mktemp("fuzzed") / "a.db") as (replica, asker):
        Author(replica).write({f"{ENTRY}/a": entry("a"), f"{LABEL}/a": label("a", at(f"{ENTRY}/a"))})
        yield asker


def test_one_address_may_ask_so_much_and_no_more(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db", limit=RateLimit(per_second=0.001, burst=5)) as (_, asker):
        said = [asker.get("describeService") for _ in range(6)]
        assert [each.status for each in said] == [200] * 5 + [429]
        assert said[-1].json["error"] == "RateLimitExceeded"
        assert int(said[-1].headers["retry-after"]) > 0
        assert asker.send("GET", "/health").status == 200


def test_a_row_that_was_changed_by_somebody_else_is_not_served(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        Author(replica).write({f"{ENTRY}/a": entry("a")})
        changed = atdata.atproto.cbor.encode(entry("b"))
        replica.write(lambda writing: writing.sql.run("UPDATE replica_records SET block = ?", changed) and None)
        assert asker.error("getEntry", uri=at(f"{ENTRY}/a")) == (503, "RecordDamaged")


def test_who_watches_sees_whether_it_is_ready(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, asker):
        nothing = {"seq": 0, "lastChange": None, "lastEvent": None, "lagSeconds": None, "behind": 0}
        assert asker.send("GET", "/ready").json == {"ready": True, **nothing}
        Author(replica).write({f"{ENTRY}/a": entry("a")})
        replica.write(lambda writing: writing.mark_behind(BOB, "a test"))
        ready = asker.send("GET", "/ready").json
        assert (ready["seq"], ready["behind"]) == (1, 1)
        known = "INSERT INTO ingest_upstreams (url, event_at) VALUES ('wss://a.example', 1000000)"
        replica.write(lambda writing: writing.sql.run(known) and None)
        ready = asker.send("GET", "/ready").json
        assert ready["lastEvent"] == "1970-01-01T00:00:01.000Z"
        assert ready["lagSeconds"] > 1e9
        asker.get("listEntries")
        text = asker.send("GET", "/metrics").body.decode()
        assert 'atdata_requests_total{method="listEntries",status="200"} 1.0' in text
        assert "atdata_repositories_behind 1.0" in text


def test_a_record_is_indexed_now_by_whoever_fetches_it(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (_, asker):
        path, uri = f"/xrpc/{NAMESPACE}.indexNow", json.dumps({"uri": at(f"{ENTRY}/a")}).encode()
        as_json = {"Content_Type": "application/json"}
        assert asker.send("POST", path, uri, **as_json).json["error"] == "MethodNotImplemented"
        for body in (b"", b"[]", b"{", b'{"uri": 5}', b'{"uri": "x"}', b"[" * 5000):
            assert asker.send("POST", path, body, **as_json).json["error"] == "InvalidRequest"
        assert asker.send("POST", path, uri).json["error"] == "InvalidRequest"
        assert asker.send("POST", path, b" " * 70_000, **as_json).status == 413


@pytest.mark.parametrize(
    ("path", "most"), [("/metrics", 2), ("/ready", 10), ("/openapi.json", 10), ("/.well-known/did.json", 10)]
)
def test_what_is_no_query_is_counted_too(tmp_path: Path, path: str, most: int) -> None:
    with answering(tmp_path / "a.db", limit=RateLimit(per_second=0.001, burst=10)) as (_, asker):
        assert [asker.send("GET", path).status for _ in range(most + 1)] == [200] * most + [429]
        assert asker.send("GET", "/health").status == 200


@pytest.mark.parametrize(
    ("did", "endpoint"),
    [
        ("did:web:appview.example.org", "https://appview.example.org"),
        ("did:web:appview.example.org%3A8443", "https://appview.example.org:8443"),
        ("", None),
        ("did:web:example.org:a", ""),
        ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", ""),
    ],
)
def test_a_service_whose_did_is_that_of_its_host_has_the_document_of_it(
    tmp_path: Path, did: str, endpoint: str | None
) -> None:
    with answering(tmp_path / "a.db", did=did) as (_, asker):
        said = asker.send("GET", "/.well-known/did.json")
        if endpoint == "":
            assert said.status == 404
            return
        document = said.json
        assert document["id"] == asker.get("describeService").json["did"]
        (service,) = document["service"]
        assert service["type"] == "AtdataAppView"
        assert service["id"] == "#atdata_appview"
        assert service["serviceEndpoint"] == (endpoint or asker.url)


def test_reading_writes_nothing(tmp_path: Path) -> None:
    where = tmp_path / "a.db"
    with answering(where) as (replica, asker):
        Author(replica).write({f"{ENTRY}/a": entry("a"), f"{LABEL}/a": label("a", at(f"{ENTRY}/a"))})
        version = lambda: replica.read(lambda reading: reading.sql.first("PRAGMA data_version")[0])
        before = version()
        asker.get("resolveLabel", handle=ALICE, name="a", proof="true")
        asker.get("searchDatasets", q="a")
        asker.get("describeService")
        assert version() == before


def test_half_a_request_does_no_harm(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (_, asker):
        where = asker.url.removeprefix("http://")
        broken = http.client.HTTPConnection(where, timeout=5)
        broken.putrequest("POST", f"/xrpc/{NAMESPACE}.indexNow")
        broken.putheader("Content-Type", "application/json")
        broken.putheader("Content-Length", "100")
        broken.endheaders(b"{")
        broken.close()
        assert asker.get("describeService").status == 200


def test_an_answer_over_an_open_connection_is_not_held_back(appview: tuple[Replica, Asker]) -> None:
    _, asker = appview

    def seconds() -> float:
        began = time.perf_counter()
        assert asker.send("GET", "/health").status == 200
        return time.perf_counter() - began

    assert min(seconds() for _ in range(10)) < 0.03, "a kernel waits 40 ms for an acknowledgement"
