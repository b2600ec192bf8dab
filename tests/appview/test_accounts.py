"""Accounts are shown as their own servers say, hidden on anybody's word, and forgotten only once that is confirmed."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from atdata.appview import operator
from atdata.appview.ingest.accounts import decide, hear
from atdata.atproto.events import AccountEvent, IdentityEvent
from atdata.atproto.syntax import AtUri, Did, Handle
from atdata.errors import NotFoundError
from atdata.replica import KeptIdentity, Replica, Writing
from atdata.replica.pages import page_of
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.histories import ENTRY, FOREIGN, entry, named, shown, stored
from support.ingesting import (
    PACE,
    Writer,
    asked,
    ingesting,
    reasons,
    replica_at,
    until,
    until_begun,
    until_heard,
    until_shown,
)
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

A, B = f"{ENTRY}/a", f"{ENTRY}/b"


def status_of(replica: Replica, did: Did) -> str:
    found = "SELECT status FROM replica_accounts WHERE did = ?"
    return str(replica.read(lambda reading: reading.sql.first(found, did))[0])


def say(writer: Writer, active: bool, status: str | None = None) -> bytes:
    """Say something of the account on the upstream."""
    return writer.upstream.emit(AccountEvent(0, writer.did, active, status))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts that show nothing are given up soon."""
    monkeypatch.setattr("atdata.appview.ingest.reconciling.GIVEN_UP", 2)


def begun(replica: Replica, writer: Writer) -> None:
    """Let ingest begin, and follow the account."""
    until_begun(replica)
    writer.tell({A: entry("a")})
    until_shown(replica, writer.shown(A))


@pytest.mark.parametrize("status", ["deactivated", "takendown", "unheard-of"])
def test_an_account_that_is_not_active_is_hidden_and_comes_back(
    replica: Replica, net: Devnet, writer: Writer, status: str
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        writer.held.status = status
        say(writer, False, status)
        until_shown(replica, {})
        assert status_of(replica, writer.did) == (status if status != "unheard-of" else "deactivated")
        assert stored(replica) == writer.shown(A), "it is kept"
        uri = AtUri(f"at://{writer.did}/{A}")
        assert replica.read(lambda reading: (reading.get(uri), page_of(reading.sql, ENTRY, 9).records)) == (None, [])
        writer.tell({B: entry("b")})
        writer.held.status = None
        say(writer, True)
        until_shown(replica, writer.shown(A, B))


def test_an_account_is_hidden_at_once_where_its_server_does_not_answer(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    def silent(request: Request, answer: Answer) -> Answer:
        return Answer.json({"error": "InternalServerError"}, 400) if "getRepoStatus" in request.path else answer

    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        net.tell(silent)
        say(writer, False, "deleted")
        until(lambda: shown(replica) == {})
        assert stored(replica) == writer.shown(A), "that it is deleted nobody has confirmed"
        say(writer, True)
        until_heard(replica, writer.upstream)
        until(lambda: operator.status(replica).failing)
        assert shown(replica) == {}, "nobody has confirmed that it is active"
        net.tell(None)
        until_shown(replica, writer.shown(A))


def test_what_a_deleted_account_wrote_is_purged_once_its_server_confirms(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        net.pdses[0].delete_account(writer.did)
        frame = say(writer, False, "deleted")
        until(lambda: stored(replica) == {})
        until_shown(replica, {})
        log = replica.read(lambda reading: reading.sql.all("SELECT action FROM replica_changes ORDER BY number"))
        assert log == [("create",), ("hide",), ("delete",)]
        writer.held.repo.records.clear()
        net.pdses[0].take_in(writer.held)
        writer.held = net.account(writer.did)
        say(writer, True)
        writer.tell({B: entry("b")})
        until_shown(replica, writer.shown(B))
        number = writer.upstream.number
        writer.upstream.send(frame, number)  # replayed, or from a server that is late
        writer.tell({A: entry("again")})
        until_shown(replica, writer.shown(A, B))


def test_a_deletion_that_the_server_does_not_know_of_removes_nothing(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        say(writer, False, "deleted")
        until_heard(replica, writer.upstream)
        until_shown(replica, writer.shown(A))
        log = replica.read(lambda reading: reading.sql.all("SELECT action FROM replica_changes ORDER BY number"))
        assert log == [("create",), ("hide",), ("show",)]


def test_an_upstream_that_takes_an_account_down_decides_for_those_who_follow_it(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        say(writer, False, "takendown")
        until_shown(replica, {})
        assert status_of(replica, writer.did) == "takendown"
        say(writer, True)
        until_shown(replica, writer.shown(A))


@pytest.mark.parametrize("says", ["active", "takendown", "nothing"])
def test_an_upstream_that_lifts_what_it_took_down_is_asked_where_its_word_was_lost(
    replica: Replica, net: Devnet, writer: Writer, says: str
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        begun(replica, writer)
        say(writer, False, "takendown")
        until_shown(replica, {})
        if says != "nothing":
            said = {"did": writer.did, "active": says == "active", "status": says}
            writer.upstream.statuses = lambda did: said
        compared = ingester.counted["comparisons"]
        writer.upstream.skip()  # it was that word
        writer.upstream.emit(IdentityEvent(0, "did:web:another.test"))
        until(lambda: ingester.counted["comparisons"] > compared and not operator.status(replica).behind)
        assert shown(replica) == (writer.shown(A) if says == "active" else {})


def test_an_account_that_names_an_upstream_as_its_server_does_not_lift_what_that_took_down(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    """Whatever an account writes in its log: a relay has never hosted it."""
    with ingesting(replica, net, writer.upstream.url) as ingester:
        begun(replica, writer)
        said = {"did": writer.did, "active": False, "status": "takendown"}
        writer.upstream.statuses = lambda did: said
        say(writer, False, "takendown")
        until_shown(replica, {})
        home = net.pdses[0].url
        net.pdses[0].url = "http" + writer.upstream.url.removeprefix("ws")
        net.pdses[0].rename(writer.did, str(writer.held.handle))
        net.pdses[0].url = home
        net.pdses[0].rename(writer.did, str(writer.held.handle))
        compared = ingester.counted["comparisons"]
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until(lambda: ingester.counted["comparisons"] > compared and not operator.status(replica).behind)
        assert shown(replica) == {}


def test_an_upstream_that_says_something_while_it_is_asked_is_believed_that(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    """Nothing but the newest lifts what it took down: an answer may be older than an event."""
    asked = list[str]()

    def older(did: str) -> dict[str, Any]:
        asked.append(did)
        if len(asked) == 1:
            say(writer, False, "takendown")
            until_heard(replica, writer.upstream)
        return {"did": did, "active": len(asked) == 1, "status": "takendown"}

    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        writer.upstream.statuses = older
        say(writer, False, "takendown")
        until(lambda: len(asked) == 2)
        until_shown(replica, {})


def test_what_an_upstream_said_counts_only_while_it_is_followed(replica: Replica, net: Devnet, writer: Writer) -> None:
    with TestedUpstream() as other:
        with ingesting(replica, net, writer.upstream.url, other.url):
            begun(replica, writer)
            other.emit(IdentityEvent(0, writer.did))
            say(writer, False, "takendown")
            until_shown(replica, {})
            until(lambda: operator.status(replica).upstreams[1].cursor == 1)
        with ingesting(replica, net, other.url):
            until_shown(replica, writer.shown(A))
            until(lambda: other.connections == [None, 1])


def test_an_older_state_of_an_account_changes_nothing(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        begun(replica, writer)
        frame = say(writer, False, "deactivated")
        until_heard(replica, writer.upstream)
        until_shown(replica, writer.shown(A))
        compared, past = ingester.counted["comparisons"], ingester.counted["past"]
        writer.upstream.send(frame, writer.upstream.number)
        until(lambda: ingester.counted["past"] == past + 1)
        assert (ingester.counted["comparisons"], shown(replica)) == (compared, writer.shown(A))


def test_a_former_server_has_no_say(replica: Replica, net: Devnet) -> None:
    old, new = ("ws" + server.url.removeprefix("http") for server in net.pds_servers)
    account = net.create_account(fresh_handle())
    with ingesting(replica, net, old, new):
        until_begun(replica)
        net.host(account.did).write(account.did, {A: entry("a")})
        until(lambda: len(shown(replica)) == 1)
        net.migrate(account, 1)
        net.host(account.did).write(account.did, {B: entry("b")})
        until(lambda: len(shown(replica)) == 2 and not operator.status(replica).behind)
        kept = replica.read(lambda reading: KeptIdentity.of_account(reading, account.did))
        assert kept is not None
        assert kept.pds == net.pds_servers[1].url
        for happens in (net.pdses[0].take_down, net.pdses[0].delete_account):
            happens(account.did)
            seq = net.pdses[0].firehose.seq
            until(lambda seq=seq: operator.status(replica).upstreams[0].cursor == seq)
            until(lambda: len(shown(replica)) == 2 and not operator.status(replica).behind)


def test_a_new_key_is_followed_and_the_old_one_is_good_for_nothing(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        begun(replica, writer)
        net.pdses[0].rotate_key(writer.did)
        identities = ingester.counted["identities"]
        writer.tell({B: entry("b")})  # nobody said that the key has changed
        until_shown(replica, writer.shown(A, B))
        assert ingester.counted["identities"] == identities + 1
        kept = replica.read(lambda reading: KeptIdentity.of_account(reading, writer.did))
        assert kept is not None
        assert kept.key == writer.held.repo.key.public.did_key
        assert kept.verify().key == writer.held.repo.key.public
        paths = asked(net)
        writer.tell({A: None})
        until_shown(replica, writer.shown(B))
        assert paths == []
    net.tell(None)


def test_a_handle_is_shown_while_it_leads_both_ways(replica: Replica, net: Devnet, writer: Writer) -> None:
    other = Writer(net, writer.upstream, server=1)
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        first = str(writer.held.handle)
        until(lambda: named(replica) == {writer.did: first})
        found = replica.read(lambda reading: KeptIdentity.of_handle(reading, Handle(first.upper())))
        assert found is not None
        assert found.did == writer.did
        writer.held.handle = Handle(fresh_handle()).normalized  # the server, not the directory
        writer.upstream.emit(IdentityEvent(0, writer.did, writer.held.handle))
        until(lambda: named(replica) == {writer.did: None})
        net.rename(writer.account, writer.held.handle)
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until(lambda: named(replica) == {writer.did: str(writer.held.handle)})
        # Another account gets the handle: of two that claim it, it is that of the one to which it leads.
        taken = str(writer.held.handle)
        writer.held.handle = Handle(fresh_handle()).normalized
        net.rename(other.account, taken)
        other.tell({A: entry("a")})
        until(lambda: named(replica) == {writer.did: None, other.did: taken})


def test_a_handle_that_leads_to_another_account_is_not_shown(
    replica: Replica, net: Devnet, upstream: TestedUpstream
) -> None:
    stranger, pretender = net.create_account(fresh_handle()), Writer(net, upstream, server=1)
    net.host(pretender.did).rename(pretender.did, stranger.handle)
    with ingesting(replica, net, upstream.url):
        begun(replica, pretender)
        assert named(replica) == {pretender.did: None}


def test_an_old_identity_is_looked_at_again(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        net.rename(writer.account, fresh_handle())
        assert named(replica) != {writer.did: str(writer.held.handle)}
        day = 86_400 * 1_000_000
        older = "UPDATE replica_identities SET checked_at = checked_at - ?"
        replica.write(lambda writing: writing.sql.run(older, day + 1) and None)
        until(lambda: named(replica) == {writer.did: str(writer.held.handle)})


def test_an_account_that_writes_while_its_handle_is_asked_for_is_shown_with_it_and_meanwhile_doubts_stand(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    """What was found out before news of an account came is kept, and found out again."""
    resolved, names, checked = list[str](), list[Any](), list[Any]()

    def busy(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("resolveHandle"):
            resolved.append(request.path)
            if len(resolved) == 1:
                writer.tell({B: entry("b")})
                until_heard(replica, writer.upstream)
        elif request.path.endswith("getRepoStatus"):
            names.append(named(replica))
            checked.append(replica.read(lambda reading: reading.sql.first("SELECT checked_at FROM replica_identities")))
        return answer

    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        net.tell(busy)
        writer.tell({A: entry("a")})
        until(lambda: len(checked) == 2)
        until_shown(replica, writer.shown(A, B))
        net.tell(None)
        assert names == [{writer.did: str(writer.held.handle)}] * 2
        assert checked[0] == (0,)
        assert checked[1] > (0,)
        assert len(resolved) == 2


def test_who_is_looked_at_while_events_are_lost_is_looked_at_once_more(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    renamed = list[str]()

    def late(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("resolveHandle") and not renamed:
            swept = operator.status(replica).upstreams[0].swept_at
            renamed.append(fresh_handle())
            net.rename(writer.account, renamed[0])
            writer.upstream.skip()  # it was the event of that
            writer.upstream.emit(IdentityEvent(0, "did:web:another.test"))
            until(lambda: operator.status(replica).upstreams[0].swept_at != swept)
        return answer

    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        net.tell(late)
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until(lambda: renamed and not operator.status(replica).behind)
        net.tell(None)
        assert named(replica) == {writer.did: renamed[0]}


def test_a_handle_that_could_not_be_asked_for_is_asked_for_again_soon(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.appview.ingest.reconciling.HANDLE_AGAIN", 1_000_000)

    def down(request: Request, answer: Answer) -> Answer:
        return Answer.json({"error": "Down"}, 418) if request.path.endswith("resolveHandle") else answer

    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        net.tell(down)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        assert named(replica) == {writer.did: None}
        net.tell(None)
        until(lambda: named(replica) == {writer.did: str(writer.held.handle)})


def test_what_the_operator_decides_stands_whatever_upstreams_say(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        operator.takedown(replica, writer.did, "spam")
        assert shown(replica) == {}
        say(writer, False, "deactivated")
        say(writer, True)
        writer.tell({B: entry("b")})
        until(lambda: stored(replica) == writer.shown(A, B) and not operator.status(replica).behind)
        assert (shown(replica), status_of(replica, writer.did)) == ({}, "takendown")
        operator.restore(replica, writer.did)
        until_shown(replica, writer.shown(A, B))


def test_of_an_account_that_is_blocked_nothing_is_kept(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        operator.takedown(replica, writer.did, "no", "block")
        assert (stored(replica), shown(replica)) == ({}, {})
        assert replica.read(lambda reading: KeptIdentity.of_account(reading, writer.did)) is None, "nor who it is"
        paths = asked(net)
        writer.tell({B: entry("b")})
        writer.upstream.emit(IdentityEvent(0, writer.did))
        say(writer, True)
        until_heard(replica, writer.upstream)
        assert (stored(replica), paths) == ({}, [])
        net.tell(None)
        operator.restore(replica, writer.did)
        until_shown(replica, writer.shown(A, B))


def test_nothing_is_kept_of_an_account_that_is_blocked_while_it_is_looked_at(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    blocked = list[str]()

    def late(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("getRepoStatus") and not blocked:
            blocked.append(request.path)
            operator.takedown(replica, writer.did, "no", "block")
        return answer

    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        net.tell(late)
        writer.tell({A: entry("a")})
        until(lambda: blocked and not operator.status(replica).behind)
        net.tell(None)
        assert stored(replica) == {}
        assert replica.read(lambda reading: reading.sql.first("SELECT 1 FROM replica_nodes")) is None


def test_an_account_whose_document_leads_inside_is_not_dialled(
    replica: Replica, net: Devnet, upstream: TestedUpstream, impatient: None
) -> None:
    inside = Writer(net, upstream)
    net.pdses[0].url = "http://169.254.169.254"
    net.pdses[0].rename(inside.did, fresh_handle())
    other = Writer(net, upstream, server=1)
    with ingesting(replica, net, upstream.url):
        until_begun(replica)
        inside.tell({A: entry("a")})
        other.tell({A: entry("a")})
        until(lambda: shown(replica) == other.shown(A))
        until(lambda: operator.status(replica).failing == 1)
        until(
            lambda: (
                inside.did
                not in [did for (did,) in replica.read(lambda r: r.sql.all("SELECT did FROM replica_accounts"))]
            )
        )
    assert reasons(replica) == []


def test_who_does_not_exist_is_forgotten(replica: Replica, net: Devnet, writer: Writer, impatient: None) -> None:
    nobody = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
    with ingesting(replica, net, writer.upstream.url):
        begun(replica, writer)
        operator.add(replica, nobody)
        until(lambda: operator.status(replica).accounts == {"active": 1})
        with pytest.raises(NotFoundError, match="not followed"):
            operator.reindex(replica, nobody)


def test_an_account_is_followed_once_it_is_added(replica: Replica, net: Devnet, writer: Writer) -> None:
    writer.write({A: entry("a")})
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        operator.add(replica, writer.did)
        until_shown(replica, writer.shown(A))
        writer.tell({f"{FOREIGN[0]}/x": {"$type": FOREIGN[0]}})
        writer.tell({A: None})
        until_shown(replica, {})
        assert ingester.counted["broken chains"] == 0


def test_a_decision_stands_whatever_is_heard_while_it_is_written(replica: Replica, database: str) -> None:
    other, decided, heard = replica_at(database), threading.Event(), threading.Event()
    did = Did("did:web:a.test")

    def begin(writing: Writing) -> None:
        writing.head(did)
        writing.sql.run("INSERT INTO ingest_upstreams (url) VALUES ('ws://a.test')")

    def decide_slowly(writing: Writing) -> None:
        decide(writing, did, "takedown", "spam", 1)
        decided.set()
        heard.wait(0.5)  # that it was heard waits for this, where it has to

    replica.write(begin)
    thread = threading.Thread(target=lambda: replica.write(decide_slowly))
    thread.start()
    decided.wait(60)
    other.write(lambda writing: hear(writing, 1, AccountEvent(7, did, True, None), 2) and None)
    heard.set()
    thread.join()
    other.close()
    assert status_of(replica, did) == "takendown"


def test_who_was_marked_first_has_the_first_turn(replica: Replica) -> None:
    first, second = Did("did:web:a.test"), Did("did:web:b.test")

    def due() -> list[Did]:
        return [mark.did for mark in replica.read(lambda reading: reading.behind(2**62, 9))]

    def again(writing: Writing) -> None:
        assert writing.caught_up(first, 1)
        writing.mark_behind(first, "it has written once more")

    for did in (first, second):
        replica.write(lambda writing, it=did: writing.mark_behind(it, "it has written"))
    assert due() == [first, second]
    replica.write(again)
    assert due() == [second, first]


def test_who_changes_again_and_again_while_it_is_looked_at_leaves_others_their_turn(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    other, asked_for = Writer(net, writer.upstream, server=1), list[str]()

    def busy(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("getRepoStatus") and request.param("did") == writer.did:
            asked_for.append(request.path)
            writer.upstream.emit(IdentityEvent(0, writer.did))
            until_heard(replica, writer.upstream)
        return answer

    with ingesting(replica, net, writer.upstream.url, pace=replace(PACE, workers=1)):
        begun(replica, writer)
        net.tell(busy)
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until(lambda: len(asked_for) > 2)
        other.tell({A: entry("other")})
        try:
            until(lambda: other.shown(A).items() <= shown(replica).items(), 30)
        finally:
            net.tell(None)
