"""The operator's verbs, and what is listed by upstreams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.atproto.fetch import fetch_update
from atdata.atproto.syntax import AtUri
from atdata.errors import NotFoundError, ProofError, UsageError
from atdata.replica import Moved, Replica, ReplicaCopy, Writing
from atdata.replica.tables import COLLECTIONS
from atdata.search import Question, search
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.histories import ENTRY, FOREIGN, OLD, entry, shown, stored
from support.ingesting import PACE, Writer, ingesting, until, until_begun, until_shown
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

A, B = f"{ENTRY}/a", f"{ENTRY}/b"


def test_what_a_relay_lists_is_followed_and_the_place_in_the_list_is_kept(
    replica: Replica, net: Devnet, upstream: TestedUpstream
) -> None:
    writers = [Writer(net, upstream, server=number % 2) for number in range(5)]
    for writer in writers:
        writer.write({A: entry("a")})
    writers[0].write({f"{OLD}/x": entry("old") | {"$type": OLD}})
    lists = {ENTRY: [str(writer.did) for writer in writers[1:]], OLD: [str(writers[0].did), "no DID"]}
    upstream.lists = lambda: lists
    expected = {at: cid for writer in writers for at, cid in writer.shown(A).items()} | writers[0].shown(f"{OLD}/x")
    with ingesting(replica, net, upstream.url):
        until_shown(replica, expected)
    late = Writer(net, upstream)
    late.write({A: entry("a")})
    lists[ENTRY].append(late.did)
    replica.write(lambda writing: writing.sql.run("UPDATE ingest_upstreams SET listed_at = 1") and None)
    upstream.asked.clear()
    with ingesting(replica, net, upstream.url):
        until_shown(replica, expected | late.shown(A))
        until(lambda: {collection for collection, _ in upstream.asked} == set(COLLECTIONS))
    cursors = {collection: cursor for collection, cursor in upstream.asked if cursor}
    assert cursors == {ENTRY: "4"} or cursors == {ENTRY: "2"}
    assert next(cursor for collection, cursor in upstream.asked if collection == ENTRY), "not from its beginning"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"[]"),
        (200, b"{"),
        (200, b'{"repos": 3}'),
        (200, b'{"repos": [], "cursor": 3}'),
        (200, b'{"repos": [{"did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz"}], "cursor": "\\ud800"}'),
        (200, b'{"repos": [3, {}, {"did": 3}, {"did": "\\u0000"}], "cursor": "' + b"x" * 1001 + b'"}'),
        (200, b" " * (1 << 21)),
        (400, b'{"error": "RepoNotFound"}'),
        (403, b"\xff"),
    ],
)
def test_a_list_that_is_none_is_noted_and_asked_for_again_later(
    replica: Replica, net: Devnet, writer: Writer, status: int, body: bytes
) -> None:
    writer.upstream.lists = dict
    writer.upstream.answered = lambda *_: (status, body)
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        until(lambda: any(item.what == "listing" for item in operator.rejected(replica)))
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        (upstream,) = operator.status(replica).upstreams
        assert upstream.listed_at < upstream.swept_at


def test_accounts_of_a_server_that_lists_no_collections_are_looked_at_one_by_one(replica: Replica, net: Devnet) -> None:
    ours, foreign = net.create_account(fresh_handle()), net.create_account(fresh_handle())
    net.host(ours.did).write(ours.did, {A: entry("a")})
    net.host(foreign.did).write(foreign.did, {f"{FOREIGN[0]}/x": {"$type": FOREIGN[0]}})
    fetched = set[str]()

    def note(request: Request, answer: Answer) -> Answer:
        if "sync.getRepo" in request.path:
            fetched.add(request.param("did"))
        return answer

    net.tell(note)
    with ingesting(replica, net, "ws" + net.pds_url.removeprefix("http")):
        until(lambda: len(shown(replica)) == 1)
        until_begun(replica)
        assert operator.status(replica).accounts == {"active": 1}
    assert fetched == {ours.did}


def test_a_repository_is_fetched_anew_where_what_is_kept_is_lost(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a"), B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        replica.write(lambda writing: writing.sql.run("DELETE FROM replica_nodes") and None)
        operator.reindex(replica, writer.did)
        until(lambda: not operator.status(replica).behind)
        assert replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM replica_nodes"))[0] > 0
        writer.tell({A: None})
        until_shown(replica, writer.shown(B))


def test_a_record_that_is_damaged_is_fetched_anew(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a"), B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        uri = AtUri(f"at://{writer.did}/{A}")
        found = replica.read(lambda reading: reading.get(uri))
        assert found is not None
        assert found.block is not None
        damaged = found.block[:-1] + b"?"
        damage = "UPDATE replica_records SET block = ? WHERE id = ?"
        replica.write(lambda writing: writing.sql.run(damage, damaged, found.number) and None)
        with pytest.raises(ProofError):
            replica.read(lambda reading: reading.get(uri))
        operator.reindex(replica, writer.did)
        until_shown(replica, writer.shown(A, B))
        again = replica.read(lambda reading: reading.get(uri))
        assert again is not None
        assert again.block == found.block


def test_what_is_derived_can_be_made_again(replica: Replica, net: Devnet, writer: Writer) -> None:
    def derived() -> list[object]:
        rows = "SELECT key, name, version, sort_key, content, target, sorted_at, validity, reason FROM replica_records ORDER BY key"
        links = "SELECT record, relation, target, cid FROM replica_links ORDER BY record, relation, target"
        return [replica.read(lambda reading, text=text: reading.sql.all(text)) for text in (rows, links)]

    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a"), B: {"$type": ENTRY, "name": 3}, f"{OLD}/x": {"$type": OLD}})
        until_shown(replica, writer.shown(A, B, f"{OLD}/x"))
    before = derived()
    replica.write(
        lambda w: w.sql.run("UPDATE replica_records SET name = NULL, validity = 'valid', sorted_at = 0") and None
    )
    replica.write(lambda w: w.sql.run("DELETE FROM replica_links") and None)
    assert derived() != before
    assert [operator.rebuild(replica, did) for did in operator.accounts(replica)] == [3]
    assert derived() == before


def test_an_upstream_is_read_again_from_where_the_operator_says(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        for number in range(6):
            writer.tell({A: entry(str(number))})
        until_shown(replica, writer.shown(A))
        until(lambda: operator.status(replica).upstreams[0].cursor == 6)
        past = ingester.counted["past"]
        operator.replay(replica, writer.upstream.url, 2)
        until(lambda: writer.upstream.connections == [None, 2])
        until(lambda: ingester.counted["past"] == past + 4)
        until(lambda: operator.status(replica).upstreams[0].cursor == 6)
        with pytest.raises(NotFoundError, match="never followed"):
            operator.replay(replica, "wss://relay.example", 2)
        with pytest.raises(UsageError, match="not read as far as that"):
            operator.replay(replica, writer.upstream.url, 7)
        assert operator.status(replica).upstreams[0].cursor == 6


def test_an_upstream_is_read_again_from_there_whatever_comes_before_it_is(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        for number in range(4):
            writer.tell({A: entry(str(number))})
        until(lambda: operator.status(replica).upstreams[0].cursor == 4)
        for cursor in (1, 2, 3):  # it is connected to the former place for a moment, and may get this from there
            operator.replay(replica, writer.upstream.url, cursor)
            writer.tell({A: entry(f"meanwhile {cursor}")})
            until(lambda cursor=cursor: writer.upstream.connections == [None, *range(1, cursor + 1)])
            until(lambda cursor=cursor: operator.status(replica).upstreams[0].cursor == 4 + cursor)
        until_shown(replica, writer.shown(A))


def test_what_is_written_while_nobody_follows_is_found_at_once_where_there_never_was_an_event(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    writer.write({A: entry("a")})
    writer.upstream.lists = lambda: {ENTRY: [writer.did]}
    seldom = replace(PACE, sweep_seconds=900)
    with ingesting(replica, net, writer.upstream.url, pace=seldom):
        until_shown(replica, writer.shown(A))
    writer.write({B: entry("b")})
    with ingesting(replica, net, writer.upstream.url, pace=seldom):
        until_shown(replica, writer.shown(A, B))
    assert writer.upstream.connections == [None, None]


def test_the_state_of_ingest_is_said(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a"), B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        status = operator.status(replica)
    (upstream,) = status.upstreams
    assert (upstream.url, upstream.cursor) == (writer.upstream.url, 1)
    assert 0 < upstream.event_at <= status.moment
    assert (status.accounts, status.behind, status.failing, status.records) == ({"active": 1}, 0, 0, 2)
    assert (status.changes, status.search_pending, status.bytes > 10_000) == (2, 0, True)
    assert stored(replica) == writer.shown(A, B)


def test_a_record_that_is_taken_down_while_it_is_written_is_not_found(database: str, net: Devnet) -> None:
    account = net.create_account(fresh_handle())
    net.host(account.did).write(account.did, {A: entry("zebra")})
    replica, other, written = open_appview(database), open_appview(database), threading.Event()
    reader = net.client().reader
    identity = reader.identity(account.did)

    def write(work: Callable[[Writing], Moved]) -> Moved:
        def slowly(writing: Writing) -> Moved:
            moved = work(writing)
            if not moved.missing:
                written.set()
                time.sleep(0.5)  # the rest of a batch
            return moved

        return replica.write(slowly)

    copy = ReplicaCopy(replica, identity.did, write=write)
    thread = threading.Thread(target=lambda: reader.transport.run(fetch_update(identity, copy)))
    thread.start()
    written.wait(60)
    uri = AtUri(f"at://{account.did}/{A}")
    operator.takedown(other, uri, "a court order")
    thread.join()
    assert replica.read(lambda reading: reading.get(uri)) is None
    answer = replica.read(lambda reading: search(reading.sql, Question.parse("zebra")))
    assert (answer.hits, answer.total) == ((), 0)
    replica.close()
    other.close()
