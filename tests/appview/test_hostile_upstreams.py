"""A whole ingester against upstreams, servers and accounts that lie, send too much, or do not answer.

What is shown in the end is what the repositories have; nothing ends the ingester; what it keeps is bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atdata.appview import operator
from atdata.appview.ingest import Ingester
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.firehose import encode_frame
from atdata.atproto.plc import build_tombstone, sign_operation
from atdata.atproto.repo.car import read_car, write_car
from atdata.atproto.syntax import Did, Tid
from atdata.replica import Replica
from atdata.replica.changes import log_bounds
from atdata.testing import Devnet, firehose_lies
from atdata.testing.http import Answer, Request
from support.histories import ENTRY, entry, shown, stored
from support.ingesting import (
    PACE,
    Writer,
    ingesting,
    reasons,
    replica_at,
    settings_of,
    until,
    until_begun,
    until_heard,
    until_shown,
)
from support.networks import fresh_handle
from support.upstreams import Dripping, TestedUpstream

A, B, C = f"{ENTRY}/a", f"{ENTRY}/b", f"{ENTRY}/c"
LIES = [lie.name for lie in firehose_lies(lambda did: pytest.fail("not asked"))]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Devnet, Replica, Ingester, str]]:
    """A server that an ingester follows."""
    replica = replica_at(f"sqlite:///{tmp_path_factory.mktemp('lies')}/appview.db")
    with Devnet(servers=1) as net:
        url = "ws" + net.pds_url.removeprefix("http")
        with ingesting(replica, net, url) as ingester:
            until_begun(replica)
            yield net, replica, ingester, url
    replica.close()


@pytest.mark.parametrize("name", LIES)
def test_whatever_lie_a_stream_tells_what_is_shown_is_what_is_there(
    followed: tuple[Devnet, Replica, Ingester, str], name: str
) -> None:
    net, replica, ingester, url = followed
    account = net.create_account(fresh_handle())
    pds, repo = net.host(account.did), net.account(account.did).repo

    def expected() -> dict[str, str]:
        return {f"at://{account.did}/{key}": str(Cid.of_cbor(block)) for key, block in repo.records.items()}

    def mine() -> dict[str, str]:
        return {at: cid for at, cid in shown(replica).items() if account.did in at}

    pds.write(account.did, {A: entry("before")})
    until(lambda: mine() == expected())
    lie = next(each for each in firehose_lies(lambda did: net.account(did).repo.key) if each.name == name)
    net.tell(lie)
    cursor = until(lambda: operator.status(replica).upstreams[0].cursor)
    operator.replay(replica, url, cursor)  # connects again
    pds.write(account.did, {A: entry("other"), B: entry("b"), C: entry("c")})
    until(lambda: lie.told)
    net.tell(None)
    if name == "byte by byte":  # nobody waits for all of them here
        operator.replay(replica, url, cursor)
    pds.write(account.did, {A: entry("after"), C: None})
    pds.write(account.did, {B: None})
    until(lambda: mine() == expected() and not operator.status(replica).behind)
    assert ingester.connected[url] or until(lambda: ingester.connected[url])


def test_a_list_without_end_fills_nothing(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.replica.writing.WAITING", 20)
    monkeypatch.setattr("atdata.appview.ingest.reconciling.GIVEN_UP", 1)
    given = iter(range(10**9))

    def endless(status: int, body: bytes) -> tuple[int, bytes]:
        names = ",".join(f'{{"did": "did:plc:{next(given):024d}"}}'.replace("0", "a") for _ in range(30))
        return (
            200,
            f'{{"repos": [{names.replace("1", "b").replace("8", "c").replace("9", "d")}], "cursor": "x"}}'.encode(),
        )

    def slow(request: Request, answer: Answer) -> Answer:
        if answer.status == 404:
            time.sleep(0.1)
        return answer

    net.tell(slow)
    writer.upstream.lists, writer.upstream.answered = dict, endless
    most = 0
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        until(lambda: len(writer.upstream.asked) > 2)
        for _ in range(20):
            most = max(most, sum(operator.status(replica).accounts.values()))
            time.sleep(0.05)
        writer.tell({A: entry("a")})
        until(lambda: shown(replica) == writer.shown(A))
    assert most <= 60


def test_another_upstream_has_its_turn_beside_a_list_without_end(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.appview.ingest.listing.PAGES_AT_ONCE", 3)
    writer.upstream.lists = dict
    writer.upstream.answered = lambda status, body: (200, b'{"repos": [{"did": "did:web:a.test"}], "cursor": "x"}')
    net.host(writer.did).write(writer.did, {A: entry("a")})
    direct = ["ws" + server.url.removeprefix("http") for server in net.pds_servers]
    with ingesting(replica, net, writer.upstream.url, *direct):
        until(lambda: writer.shown(A).items() <= shown(replica).items())
        assert len(writer.upstream.asked) >= 3


@pytest.mark.parametrize("what", ["malformed", "of the future"])
def test_frames_that_cannot_be_taken_fill_nothing(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("atdata.replica.writing.WAITING", 20)
    monkeypatch.setattr("atdata.appview.ingest.applier.BATCH", 10)
    went_on = threading.Event()

    def hang(request: Request, answer: Answer) -> Answer:
        if answer.status == 404:
            went_on.wait(60)
        return answer

    net.tell(hang)
    event = writer.write({A: entry("a")})
    later = replace(event, rev=Tid.from_microseconds(time.time_ns() // 1000 + 10**11))
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        for number in range(100):
            did = Did(f"did:plc:{number:024d}".translate(str.maketrans("0189", "abcd")))
            if what == "malformed":
                writer.upstream.number += 1
                frame = encode_frame(replace(event, did=did, seq=writer.upstream.number))
                writer.upstream.send(frame.replace(b"crev", b"crew", 1), writer.upstream.number)
            else:
                writer.upstream.emit(replace(later, did=did))
        until_heard(replica, writer.upstream)
        assert sum(operator.status(replica).accounts.values()) <= 40
        assert ingester.counted["let go"] >= 60
        went_on.set()
    net.tell(None)


def test_a_stream_of_whom_nobody_knows_fills_nothing(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom it speaks of meanwhile is found on its list."""
    monkeypatch.setattr("atdata.replica.writing.WAITING", 20)
    monkeypatch.setattr("atdata.appview.ingest.reconciling.GIVEN_UP", 1)
    monkeypatch.setattr("atdata.appview.ingest.listing.AGAIN_AFTER", 0)
    monkeypatch.setattr("atdata.appview.ingest.applier.BATCH", 10)
    other, went_on = Writer(net, writer.upstream), threading.Event()

    def hang(request: Request, answer: Answer) -> Answer:
        if answer.status == 404:
            went_on.wait(60)
        return answer

    net.tell(hang)
    writer.upstream.lists = lambda: {ENTRY: [other.did] if other.held.repo.records else []}
    try:
        with ingesting(replica, net, writer.upstream.url) as ingester:
            until_begun(replica)
            writer.tell({A: entry("a")})
            until_shown(replica, writer.shown(A))
            event = writer.write({B: entry("b")})
            for number in range(200):
                name = f"did:plc:{number:024d}".translate(str.maketrans("0189", "abcd"))
                writer.upstream.emit(replace(event, did=Did(name)))
            other.tell({A: entry("a")})
            writer.upstream.emit(event)
            until_heard(replica, writer.upstream)
            assert ingester.counted["let go"] > 150
            assert sum(operator.status(replica).accounts.values()) <= 31
            assert writer.shown(B).items() <= shown(replica).items(), "who is known is heard"
            went_on.set()
            until(lambda: shown(replica) == {**writer.shown(A, B), **other.shown(A)})
            until(lambda: operator.status(replica).accounts == {"active": 2})
    finally:
        went_on.set()


def test_an_account_that_turns_out_to_have_nothing_is_not_followed(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    writer.write({"app.bsky.feed.post/x": {"$type": "app.bsky.feed.post"}})
    writer.upstream.lists = lambda: {ENTRY: [writer.did]}
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until(lambda: ingester.counted["without records"])
        until(lambda: operator.status(replica).accounts == {})  # it may be listed, and looked at, once more
        for table in ("replica_identities", "replica_nodes", "ingest_hosting"):
            assert replica.read(lambda reading, name=table: reading.sql.first(f"SELECT count(*) FROM {name}")) == (0,)
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        writer.tell({A: None})
        until_shown(replica, {})
        assert operator.status(replica).accounts == {"active": 1}, "it had something: who follows changes was told"


def test_an_identity_that_was_ended_hides_the_account_and_is_not_asked_for_again(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        plc = net.host(writer.did)._plc
        ended = sign_operation(build_tombstone(Cid.parse(plc.newest(writer.did))), writer.held.rotation_key)
        plc.submit(writer.did, ended)
        operator.add(replica, writer.did)
        replica.write(lambda writing: writing.sql.run("UPDATE replica_identities SET checked_at = 0") and None)
        until_shown(replica, {})
        assert operator.status(replica).accounts == {"deleted": 1}
        assert stored(replica) == writer.shown(A)
        assert replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM replica_identities")) == (0,)
        compared = ingester.counted["failed comparisons"]
        writer.tell({B: entry("b")})  # with a key that is nobody's any more
        until_heard(replica, writer.upstream)
        until(lambda: not operator.status(replica).behind)
        assert (shown(replica), ingester.counted["failed comparisons"]) == ({}, compared)


def test_an_end_of_which_there_are_news_meanwhile_hides_nothing(replica: Replica, net: Devnet, writer: Writer) -> None:
    """A directory takes an end back where an older key of the owner disputes it."""
    ended = list[str]()

    def disputed(request: Request, answer: Answer) -> Answer:
        if ended or request.path != f"/{writer.did}":
            return answer
        ended.append(request.path)
        operator.add(replica, writer.did)
        return Answer(410, b"{}")

    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        net.tell(disputed)
        replica.write(lambda writing: writing.sql.run("UPDATE replica_identities SET checked_at = 0") and None)
        operator.add(replica, writer.did)
        until(lambda: ended)
        until_shown(replica, writer.shown(A))
    hidden = "SELECT count(*) FROM replica_changes WHERE action = 'hide'"
    assert replica.read(lambda reading: reading.sql.first(hidden)) == (0,)


def test_a_record_that_is_too_large_is_not_taken_and_the_others_of_the_stream_are(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    other = Writer(net, writer.upstream)
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        writer.tell({B: entry("b", description="x" * 1_000_001)})
        other.tell({A: entry("a")})
        until(lambda: shown(replica) == {**other.shown(A), **writer.shown(A)})
        assert any("too large" in reason for reason in reasons(replica))
        writer.tell({B: entry("b")})
        until(lambda: shown(replica) == {**other.shown(A), **writer.shown(A, B)})


def test_a_server_that_hangs_keeps_nobody_else_from_being_compared(replica: Replica, net: Devnet) -> None:
    went_on = threading.Event()

    def hang(request: Request, answer: Answer) -> Answer:
        if request.path.startswith("/xrpc/com.atproto.sync.getRepoStatus") and request.param("did") == hung.did:
            went_on.wait(60)
        return answer

    with TestedUpstream() as upstream:
        hung, others = Writer(net, upstream), [Writer(net, upstream, server=1) for _ in range(4)]
        net.tell(hang)
        try:
            with ingesting(replica, net, upstream.url):
                until_begun(replica)
                hung.tell({A: entry("a")})
                for each in others:
                    each.tell({A: entry("a")})
                until(lambda: len(shown(replica)) == 4)
                went_on.set()
                until(lambda: len(shown(replica)) == 5)
        finally:
            went_on.set()


def test_servers_that_drip_keep_nobody_else_from_being_compared_nor_the_end_from_coming(
    replica: Replica, net: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is at a name of its own, and just fast enough to be read on."""
    monkeypatch.setattr("atdata.appview.ingest.claims.LONG", 0.5)
    monkeypatch.setattr("atdata.settings.Settings.least_rate", 100.0)
    with TestedUpstream() as upstream, Dripping(net.pds_url, "getRecord") as dripping:
        net.pdses[0].url = dripping.url
        bad = [Writer(net, upstream) for _ in range(6)]
        good = [Writer(net, upstream, server=1) for _ in range(3)]
        monkeypatch.setattr("atdata.appview.ingest.claims.AT_ONE_SERVER", 6)
        with ingesting(replica, net, upstream.url):
            until_begun(replica)
            for each in bad:
                each.tell({A: entry("a")})
            until(lambda: dripping.held >= PACE.workers // 2)
            for each in good:
                each.tell({A: entry("a")})
                until(lambda each=each: each.shown(A).items() <= shown(replica).items(), 30)
            assert dripping.held, "it drips still"
            ended = time.monotonic()
        assert time.monotonic() - ended < 15


def test_what_repositories_hold_while_they_are_compared_is_bounded(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few large ones are fetched at a time, and small ones meanwhile."""
    monkeypatch.setattr("atdata.appview.ingest.claims.SMALL", 300_000)
    monkeypatch.setattr("atdata.appview.ingest.claims.LARGE_AT_ONCE", 1)
    monkeypatch.setattr("atdata.appview.ingest.reconciling.LARGE_PAUSE", 100_000)
    large = [Writer(net, writer.upstream) for _ in range(3)]
    small = Writer(net, writer.upstream, server=1)
    fetching, most, went_on = set[str](), 0, threading.Event()

    def note(request: Request, answer: Answer) -> Answer:
        nonlocal most
        if "getRepo" in request.path and "Status" not in request.path:
            fetching.add(request.param("did"))
            most = max(most, len(fetching))
            went_on.wait(60)
            fetching.discard(request.param("did"))
        return answer

    net.tell(note)
    try:
        with ingesting(replica, net, writer.upstream.url):
            until_begun(replica)
            for each in large:
                each.tell({f"{ENTRY}/{number}": entry(str(number)) for number in range(1000)})
            until(lambda: fetching)
            small.tell({A: entry("a")})
            until(lambda: shown(replica) == small.shown(A))
            went_on.set()
            until(lambda: len(shown(replica)) == 3001)
    finally:
        went_on.set()
    assert most == 1


def test_a_repository_of_more_blocks_than_are_read_at_once_is_read_by_parts(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends more with it than it has: so does one whose files expand."""
    monkeypatch.setattr("atdata.atproto.repo.car.MAX_CAR_BLOCKS", 1500)
    fill = {Cid.of_cbor(block): block for block in map(cbor.encode, range(2000))}
    told = []

    def add(request: Request, answer: Answer) -> Answer:
        if "getRepo" in request.path and "Status" not in request.path:
            told.append(request.path)
            car = read_car(answer.body)
            return replace(answer, body=write_car(car.roots, {**car.blocks, **fill}))
        return answer

    net.tell(add)
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        monkeypatch.setattr("atdata.atproto.fetch.MANY", 10)
        writer.tell({f"{ENTRY}/{number}": entry(str(number)) for number in range(400)})
        until(lambda: len(shown(replica)) == 400)
    assert told


@pytest.mark.parametrize("address", ["http://10.0.0.1", "http://169.254.169.254", "http://[fd00::1]", "http://0.0.0.0"])
def test_a_document_that_leads_inside_dials_nothing(
    replica: Replica, net: Devnet, writer: Writer, address: str
) -> None:
    net.pdses[0].url = address
    net.pdses[0].rename(writer.did, fresh_handle())
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until(lambda: ingester.counted["failed: AddressError"])
    assert shown(replica) == {}


def test_a_server_that_leads_elsewhere_is_not_followed_inside(replica: Replica, net: Devnet, writer: Writer) -> None:
    def lead(request: Request, answer: Answer) -> Answer:
        if "getRepoStatus" in request.path:
            return Answer(302, b"", {"location": "http://169.254.169.254/latest/meta-data/"})
        return answer

    net.tell(lead)
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until(lambda: ingester.counted["failed comparisons"])
        assert ingester.counted["failed: AddressError"] == ingester.counted["failed comparisons"]
    net.tell(None)


def test_old_changes_go_while_an_ingester_runs(
    tmp_path: Path, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.appview.ingest.ingester.NOTED_EVERY", 0.1)
    replica = replica_at(f"sqlite:///{tmp_path}/appview.db")
    with ingesting(replica, net, writer.upstream.url, pace=replace(PACE, changes=3)):
        until_begun(replica)
        for number in range(6):
            writer.tell({A: entry(str(number))})
            until_shown(replica, writer.shown(A))
        until(lambda: replica.read(lambda reading: log_bounds(reading.sql)) == (4, 6))
    replica.close()


def test_what_nobody_can_be_is_not_followed(replica: Replica, net: Devnet) -> None:
    """A DID of an unknown method, of a port, of this machine."""
    with TestedUpstream() as upstream:
        names = [
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
            "did:web:127.0.0.1%3A1",
            "did:web:localhost",
        ]
        upstream.lists = lambda: {ENTRY: names}
        ingester = Ingester(replica, [upstream.url], settings_of(net), PACE)
        thread = threading.Thread(target=ingester.run)
        thread.start()
        until(lambda: ingester.counted["failed comparisons"] >= 3)
        assert shown(replica) == {}
        ingester.stop()
        thread.join()
    assert {Did(name) for name in names} >= set(operator.accounts(replica))
