"""An account that is taken down or blocked is answered for as one that never was there, whatever is asked, and of whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.appview import operator
from atdata.appview.ingest.accounts import Decision
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, MarkingFetcher
from atdata.appview.xrpc.identities import KeptHandleBook
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Did
from atdata.records import Schema
from atdata.records.nsids import LENS_VERIFICATION
from atdata.replica import Replica
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer
from support.appviews import (
    ALICE,
    ENTRY,
    LABEL,
    LENS,
    NAMESPACE,
    SCHEMA,
    Asker,
    Author,
    Said,
    answering,
    at,
    entry,
    follow,
    label,
    lens,
)
from support.ingesting import Writer, ingesting, until_begun, until_shown
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

BLOB = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
OF_ONE = ("getProfile", "listEntries", "listSchemas", "listLenses", "listLabels", "listVerifications", "searchDatasets")
OF_ALL = (*OF_ONE[1:], "searchLenses", "searchRecords", "getTrustedVerifiers", "describeService", "getLabelers")
GETTERS = {"getEntry": ENTRY, "getSchema": SCHEMA, "getLens": LENS}


@atdata.packable
class Point:
    x: NDArray[np.float32]
    y: int


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet(servers=2) as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Replica, Asker]]:
    with answering(tmp_path / "a.db", book=KeptHandleBook()) as pair:
        yield pair


def records_of(me: str, other: str) -> dict[str, dict[str, Any]]:
    """Records of an account that name its own, and those of another."""
    mine, theirs = (f"at://{who}/{SCHEMA}/point:1.0.0" for who in (me, other))
    digest = {"algorithm": "sha256", "digest": "ab" * 32}
    verified = {"lens": f"at://{other}/{LENS}/l", "lensCommit": str(Cid.of_cbor(cbor.encode(lens(theirs, mine))))}
    verified |= {"verificationMethod": "codeReview", "codeHash": digest, "createdAt": "2026-01-01T00:00:00.000Z"}
    return {
        f"{SCHEMA}/point:1.0.0": Schema.of(Point, name="Point", version="1.0.0").to_record(),
        f"{ENTRY}/a": entry("felines", mine),
        f"{ENTRY}/b": entry("hounds", theirs, predecessor={"uri": f"at://{other}/{ENTRY}/a"}),
        f"{LABEL}/a": label("cats", f"at://{me}/{ENTRY}/a", "1.0.0"),
        f"{LABEL}/b": label("cats", f"at://{other}/{ENTRY}/a", "2.0.0"),
        f"{LENS}/l": lens(mine, theirs),
        f"{LENS_VERIFICATION}/v": {"$type": str(LENS_VERIFICATION), **verified},  # type: ignore[dict-item]
    }


def questions(*accounts: DevAccount) -> Iterator[str]:
    """The paths of all that can be asked of accounts and of what they have, as programs and as people ask."""

    def query(method: str, **params: str) -> str:
        return f"/xrpc/{NAMESPACE}.{method}?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in params.items())

    yield from (query(method) for method in OF_ALL)
    yield from ("/", "/search?q=", "/search?q=felines+hounds", "/openapi.json")
    for account in accounts:
        did = account.did
        for name in (did, str(account.handle)):
            yield from (query(method, repo=name) for method in OF_ONE)
            yield query("resolveLabel", handle=name, name="cats")
            yield query("resolveLabel", handle=name, name="cats", version="2.0.0")
            yield query("resolveSchema", handle=name, schemaId="Point")
            yield from (f"/at/{name}", f"/@{name}", f"/@{name}/cats", f"/@{name}/cats@2.0.0")
            yield f"/search?q=publisher:{name}"
            for key in records_of("did:web:a.test", "did:web:b.test"):
                uri = f"at://{name}/{key}"
                yield from (f"/at/{name}/{key}{more}" for more in ("", "/proof", "/proof.car"))
                yield from (query(method, uri=uri) for method, kind in GETTERS.items() if key.startswith(kind))
                yield from (query("listBacklinks", uri=uri), query("getEntries", uris=uri))
                yield from (query("listEntries", schemaRef=uri), query("searchDatasets", schemaRef=uri))
                yield from (query("listLenses", sourceSchema=uri), query("listLenses", targetSchema=uri))
                yield from (query("listLabels", entry=uri), query("listVerifications", lens=uri))
        yield query("resolveBlobs", uris=f"at://{did}/blob/{BLOB}")
        yield query("listVerifications", verifiers=did)
        yield query("searchDatasets", q=f"reaches:at://{did}/{SCHEMA}/point:1.0.0", verifiers=did, facets="true")
        yield query("searchRecords", q=f"compatible:at://{did}/{SCHEMA}/point:1.0.0", facets="true")


def answers(asker: Asker, *accounts: DevAccount) -> dict[str, tuple[Any, ...]]:
    """What is answered to each question, asked for whole and for its headers alone."""
    found = dict[str, tuple[Any, ...]]()
    for path in questions(*accounts):
        for verb in ("GET", "HEAD"):
            said = asker.send(verb, path)
            headers = {name: value for name, value in said.headers.items() if name not in ("date", "server")}
            body = said.body if not path.endswith("/proof") else said.status  # it says when it was checked
            found[f"{verb} {path}"] = (said.status, headers if body is said.body else None, body)
    return found


@pytest.mark.parametrize("decision", ["takedown", "block"])
def test_a_hidden_account_is_answered_for_as_one_that_never_was_there(
    scene: tuple[Replica, Asker], net: Devnet, decision: Decision
) -> None:
    (replica, asker), hidden, stays = scene, net.create_account(fresh_handle()), net.create_account(fresh_handle())
    for one, other in ((hidden, stays), (stays, hidden)):
        net.account(one.did).repo.write(records_of(one.did, other.did))
    follow(replica, net, stays.did)
    operator.trust_verifier(replica, hidden.did, "it reads code")
    before = answers(asker, hidden, stays)
    follow(replica, net, hidden.did)
    handle, pages = str(hidden.handle).encode(), ("/about", f"/at/{stays.did}", "/")
    there = answers(asker, hidden, stays)
    assert there[f"GET /at/{hidden.did}"][0] == 200
    assert there[f"GET /at/{hidden.handle}"][0] == 302
    assert handle in asker.send("GET", "/about").body
    held = {"If_None_Match": str(asker.send("GET", f"/at/{hidden.did}").headers["etag"])}
    operator.takedown(replica, Did(hidden.did), "spam", decision)
    after = answers(asker, hidden, stays)
    assert {path for path in before if before[path] != after[path]} == set()
    assert asker.send("GET", f"/at/{hidden.did}", **held).status == 404
    assert all(handle not in asker.send("GET", page).body for page in pages)
    operator.restore(replica, Did(hidden.did))
    if decision == "takedown":  # the numbers on the first page may be some seconds old
        again = answers(asker, hidden, stays)
        assert {path for path in there if there[path] != again[path] and not path.endswith(" /")} == set()


def test_a_decision_changes_the_numbers_of_the_first_page_at_once(scene: tuple[Replica, Asker]) -> None:
    replica, asker = scene
    Author(replica).write({f"{ENTRY}/a": entry("a"), f"{ENTRY}/b": entry("b")})
    for subject, left in ((AtUri(at(f"{ENTRY}/a")), 1), (ALICE, 0)):
        assert _datasets(asker) == 2
        operator.takedown(replica, subject, "spam")
        assert _datasets(asker) == left
        operator.restore(replica, subject)


def _datasets(asker: Asker) -> int:
    found = re.search(r"<strong>(\d+)</strong> datasets", asker.send("GET", "/").body.decode())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("decision", ["takedown", "block"])
def test_who_asks_for_a_hidden_account_now_hears_what_one_of_nobody_gives(
    tmp_path: Path, net: Devnet, upstream: TestedUpstream, decision: Decision
) -> None:
    where = tmp_path / "a.db"
    with answering(where, book=KeptHandleBook()) as (replica, _):
        writer, nobody = Writer(net, upstream), Writer(net, upstream)
        with ingesting(replica, net, upstream.url), _fetching(replica) as asker:
            until_begun(replica)
            writer.tell({f"{ENTRY}/a": entry("a")})
            until_shown(replica, writer.shown(f"{ENTRY}/a"))
            assert _index(asker, writer.did).status == 200
            operator.takedown(replica, writer.did, "spam", decision)
            expected = _index(asker, nobody.did)
            assert expected.json["error"] == "RepoNotFound"
            found = _index(asker, writer.did)
            assert (found.status, found.body) == (expected.status, expected.body)
            net.tell(lambda request, answer: Answer.json({"error": "Down"}, 503))
            replica.write(lambda writing: writing.sql.run("UPDATE replica_identities SET checked_at = 0") and None)
            found = _index(asker, writer.did)
            net.tell(None)
            assert (found.status, found.body) == (expected.status, expected.body)


@contextmanager
def _fetching(replica: Replica) -> Iterator[Asker]:
    with (
        AppViewServer(AppViewService(replica, fetcher=MarkingFetcher(replica))) as server,
        closing(Asker(server.url)) as asker,
    ):
        yield asker


def _index(asker: Asker, did: str) -> Said:
    body = json.dumps({"uri": f"at://{did}/{ENTRY}/a"}).encode()
    return asker.send("POST", f"/xrpc/{NAMESPACE}.indexNow", body, Content_Type="application/json")
