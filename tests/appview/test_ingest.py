"""Upstreams are followed into verified copies: each promise of ingest by itself."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from atdata.appview import operator
from atdata.appview.ingest import Ingester, batch
from atdata.appview.ingest.batch import Batch, FrameRead, verify_commits
from atdata.appview.ingest.rejected import KEPT, Rejected
from atdata.atproto.events import AccountEvent, IdentityEvent, SyncEvent, UnknownEvent
from atdata.atproto.firehose import MAX_FRAME, encode_frame
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import Tid
from atdata.errors import ContentionError, UsageError
from atdata.replica import Replica, Writing
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.histories import ENTRY, FOREIGN, entry, logged, shown
from support.ingesting import (
    PACE,
    Writer,
    asked,
    ingesting,
    reasons,
    replica_at,
    settings_of,
    until,
    until_begun,
    until_heard,
    until_shown,
)
from support.upstreams import TestedUpstream

A, B, C = f"{ENTRY}/a", f"{ENTRY}/b", f"{ENTRY}/c"


def test_a_commit_of_an_account_that_is_followed_is_applied_without_asking_anybody(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        paths = asked(net)
        writer.tell({B: entry("b"), A: entry("other")})
        until_shown(replica, writer.shown(A, B))
        writer.tell({A: None, f"{FOREIGN[0]}/x": {"$type": FOREIGN[0]}})
        until_shown(replica, writer.shown(B))
        writer.tell({f"{FOREIGN[0]}/y": {"$type": FOREIGN[0]}})
        head = lambda: replica.read(lambda reading: reading.account(writer.did).head())
        until(lambda: head() == writer.held.repo.head)
        assert paths == []
        assert ingester.counted["commits"] == 3
    net.tell(None)


def test_a_copy_that_lacks_a_node_is_made_anew(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({f"{ENTRY}/{number}": entry(str(number)) for number in range(40)})
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A, *(f"{ENTRY}/{number}" for number in range(40))))
        replica.write(lambda writing: writing.sql.run("DELETE FROM replica_nodes") and None)
        writer.tell({B: entry("b")})
        until_shown(replica, writer.shown(A, B, *(f"{ENTRY}/{number}" for number in range(40))))
        assert ingester.counted["failed comparisons"] == 0
        assert operator.status(replica).changes == 42, "what was there stayed as it was"


def test_foreign_frames_cost_nothing_and_move_the_cursor(replica: Replica, net: Devnet, writer: Writer) -> None:
    paths = asked(net)
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        for number in range(20):
            writer.tell({f"{FOREIGN[0]}/{number}": {"$type": FOREIGN[0]}})
        writer.upstream.emit(AccountEvent(0, writer.did, False, "deleted"))
        writer.upstream.emit(IdentityEvent(0, writer.did))
        writer.upstream.emit(UnknownEvent("#later", 0))
        until(lambda: operator.status(replica).upstreams[0].cursor == 23)
        assert ingester.counted["foreign"] == 22
    assert operator.status(replica).accounts == {}
    assert [path for path in paths if "listRepos" not in path] == []
    net.tell(None)


@pytest.mark.parametrize("spoil", ["key", "rev", "cid", "block", "nodes", "previous"])
def test_a_commit_that_does_not_hold_is_not_shown_and_the_repository_is_compared(
    replica: Replica, net: Devnet, writer: Writer, spoil: str
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        event = writer.write({B: entry("b")})
        before = ingester.counted["comparisons"]
        head = writer.held.repo.head
        forged = Commit.sign(PrivateKey.generate("k256"), writer.did, Tid.now(), head.data)
        ahead = Commit.sign(
            writer.held.repo.key, writer.did, Tid.from_microseconds(time.time_ns() // 1000 + 10**9), head.data
        )
        bare = write_car([head.cid], {head.cid: head.encode()})
        spoiled = {
            "key": replace(
                event, rev=forged.rev, commit=forged.cid, blocks=write_car([forged.cid], {forged.cid: forged.encode()})
            ),
            "rev": replace(
                event, rev=ahead.rev, commit=ahead.cid, blocks=write_car([ahead.cid], {ahead.cid: ahead.encode()})
            ),
            "cid": replace(event, commit=forged.cid),
            "block": replace(event, blocks=event.blocks[:-1] + bytes([event.blocks[-1] ^ 1])),
            "nodes": replace(event, blocks=bare),
            "previous": replace(event, prev_data=forged.cid),
        }
        writer.upstream.emit(spoiled[spoil])
        until_shown(replica, writer.shown(A, B))
        if spoil == "previous":  # what a server claims of the tree before is nothing that the signed trees do not say
            assert (ingester.counted["broken chains"], ingester.counted["comparisons"]) == (1, before)
            return
        assert ingester.counted["comparisons"] > before
        assert (spoil == "nodes") == (reasons(replica) == [])


@pytest.mark.parametrize("state", ["deactivated", None])
def test_what_is_marked_is_not_applied_and_what_is_marked_meanwhile_stays_so(
    replica: Replica, net: Devnet, writer: Writer, state: str | None
) -> None:
    """An identity that is doubted may have another key: nothing is taken on the word of the old one."""
    asked, go = list[threading.Event](), [threading.Event(), threading.Event()]

    def slow(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("getRepoStatus") and len(asked) < 2:
            asked.append(go[len(asked)])
            asked[-1].wait(60)
        return answer

    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        applied = ingester.counted["commits"]
        net.tell(slow)
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until(lambda: len(asked) == 1)
        writer.tell({B: entry("b")})
        if state is not None:
            writer.upstream.emit(AccountEvent(0, writer.did, False, state))
        until_heard(replica, writer.upstream)
        assert ingester.counted["commits"] == applied
        writer.held.status = state  # the answer that is on its way is older
        go[0].set()
        until(lambda: len(asked) == 2)
        assert (shown(replica) == {}) == (state is not None)
        net.tell(None)
        go[1].set()
        until(lambda: not operator.status(replica).behind)
        assert operator.status(replica).accounts == {state or "active": 1}
        assert shown(replica) == ({} if state else writer.shown(A, B))


def test_a_commit_of_the_future_is_not_taken_from_its_own_server_either(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        repo, before = writer.held.repo, writer.shown(A)
        repo.write({B: entry("b")})
        repo.blocks.pop(repo.head.cid)
        repo.head = Commit.sign(
            repo.key, writer.did, Tid.from_microseconds(time.time_ns() // 1000 + 10**10), repo.head.data
        )
        repo.blocks[repo.head.cid] = repo.head.encode()
        repo.since[repo.head.cid] = repo.head.rev
        writer.upstream.emit(repo.state())
        until(lambda: any("a commit is of the future" in reason for reason in reasons(replica)))
        assert shown(replica) == before


def test_an_update_that_leaves_its_operations_out_is_found_all_the_same(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a"), B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        writer.upstream.emit(replace(writer.write({A: entry("z"), B: None}), operations=()))
        until_shown(replica, writer.shown(A))


def test_a_silent_upstream_is_seen_to_be_silent(replica: Replica, net: Devnet, writer: Writer) -> None:
    with TestedUpstream() as other, ingesting(replica, net, writer.upstream.url, other.url):
        until_begun(replica)
        other.emit(IdentityEvent(0, "did:web:another.test"))
        until_heard(replica, other)

        def heard() -> dict[str, int]:
            return {each.url: each.event_at for each in operator.status(replica).upstreams}

        until(lambda: heard()[other.url])
        before = heard()
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        until(lambda: heard()[writer.upstream.url] > before[writer.upstream.url])
        assert heard()[other.url] == before[other.url]


def test_what_was_sent_before_or_twice_changes_nothing(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        frames = [writer.tell({A: entry(str(number))}) for number in range(5)]
        until_shown(replica, writer.shown(A))
        changes, compared = len(logged(replica)), ingester.counted["comparisons"]
        log = replica.read(lambda reading: reading.sql.all("SELECT * FROM replica_changes"))
        for number, frame in enumerate([*frames, *reversed(frames)]):
            writer.upstream.send(frame, number % 5 + 1)
        until(lambda: ingester.counted["past"] >= 10)
        assert replica.read(lambda reading: reading.sql.all("SELECT * FROM replica_changes")) == log
        assert (len(logged(replica)), ingester.counted["comparisons"]) == (changes, compared)
        writer.tell({B: entry("next")})
        until_shown(replica, writer.shown(A, B))
        assert ingester.counted["gaps"] == 0, "the place in the stream never goes back"


def test_a_gap_makes_all_repositories_be_compared(replica: Replica, net: Devnet, writer: Writer) -> None:
    other = Writer(net, writer.upstream, server=1)
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        other.tell({A: entry("a")})
        until_shown(replica, writer.shown(A) | other.shown(A))
        other.write({A: None, B: entry("b")})
        writer.upstream.skip()
        writer.tell({B: entry("b")})
        until_shown(replica, writer.shown(A, B) | other.shown(B))


def test_what_happened_while_nobody_listened_is_read_from_the_cursor(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
    writer.tell({B: entry("b")})
    with ingesting(replica, net, writer.upstream.url):
        until_shown(replica, writer.shown(A, B))
    assert writer.upstream.connections == [None, 1]


@pytest.mark.parametrize("how", ["future", "outdated"])
def test_a_cursor_that_the_server_does_not_have_makes_all_be_compared(
    replica: Replica, net: Devnet, writer: Writer, how: str
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        for number in range(4):
            writer.tell({A: entry(str(number))})
        until_shown(replica, writer.shown(A))
    writer.write({B: entry("b"), A: None})
    if how == "future":
        writer.upstream.forget()
    else:
        writer.upstream.window = writer.upstream.number = 99
    with ingesting(replica, net, writer.upstream.url):
        until_shown(replica, writer.shown(B))
        until(lambda: len(writer.upstream.connections) == (3 if how == "future" else 2))
        writer.tell({C: entry("c")})
        until_shown(replica, writer.shown(B, C))
        assert operator.status(replica).upstreams[0].cursor == (1 if how == "future" else 100)


def test_a_state_without_history_makes_the_repository_be_compared(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        writer.write({A: None, B: entry("b")})
        head = writer.held.repo.head
        event = SyncEvent(0, writer.did, head.rev, write_car([head.cid], {head.cid: head.encode()}))
        frame = writer.upstream.emit(event)
        until_shown(replica, writer.shown(B))
        compared = ingester.counted["comparisons"]
        writer.upstream.send(frame, writer.upstream.number)
        writer.tell({C: entry("c")})
        until_shown(replica, writer.shown(B, C))
        assert ingester.counted["comparisons"] == compared, "that state is past"


def test_a_frame_that_is_too_large_is_passed_over(replica: Replica, net: Devnet, writer: Writer) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        writer.write({B: entry("b")})
        writer.upstream.number += 1
        writer.upstream.send(b"\xa2" + bytes(MAX_FRAME), writer.upstream.number)
        writer.tell({C: entry("c")})
        until_shown(replica, writer.shown(A, B, C))
        until_heard(replica, writer.upstream)
        assert reasons(replica) == [f"frame: a frame is larger than {MAX_FRAME} bytes"]


def test_what_cannot_be_read_is_kept_with_its_reason_and_the_next_is_taken(
    replica: Replica, net: Devnet, writer: Writer
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        frame = writer.tell({A: entry("a")})
        for bad in (b"", b"\xff", frame[:-10], frame + b"\x00"):
            writer.upstream.send(bad, writer.upstream.number)
        writer.tell({B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        found = operator.rejected(replica)
        assert [(item.seq, item.did, item.head) for item in found][-2:] == [(None, None, b"\xff"), (None, None, b"")]
        assert [(item.seq, item.did) for item in found][:2] in ([(1, writer.did)] * 2, [(None, None), (1, writer.did)])
        writer.upstream.send(b"\xfe")  # and nothing else
        until(lambda: len(operator.rejected(replica)) == len(found) + 1)


@pytest.mark.parametrize("meanwhile", ["another key", "a mark", "nothing"])
def test_a_commit_that_was_held_against_a_key_is_applied_if_nothing_has_changed_meanwhile(
    replica: Replica, net: Devnet, writer: Writer, meanwhile: str
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
    read = FrameRead.of(1, encode_frame(replace(writer.write({B: entry("b")}), seq=2)), {writer.did})
    replica.read(lambda reading: verify_commits(reading, [read]))
    assert read.proven is not None

    def change(writing: Writing) -> None:
        if meanwhile == "another key":
            other = PrivateKey.generate("k256").public.did_key
            writing.sql.run("UPDATE replica_identities SET key = ?", other)
        elif meanwhile == "a mark":
            writing.mark_behind(writer.did, "its identity may have changed")

    def marks() -> int:
        return int(replica.read(lambda reading: reading.sql.first("SELECT marks FROM replica_accounts"))[0])

    replica.write(change)
    before, applied = marks(), meanwhile == "nothing"
    replica.write(lambda writing: Batch(writing, time.time_ns() // 1000, 0).take(read))
    assert marks() == before + (not applied)
    assert shown(replica) == (writer.shown(A, B) if applied else writer.shown(A))
    assert operator.status(replica).behind == (not applied)


def test_the_list_of_what_was_rejected_is_bounded(replica: Replica) -> None:
    def fill(writing: Any) -> None:
        for number in range(KEPT + 20):
            Rejected("frame", "\ud800 x" * 1000, 1, number, "d\x00", bytes(9000)).write(writing.sql, number)

    replica.write(fill)
    (count,) = replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM ingest_rejected"))
    (longest,) = replica.read(
        lambda reading: reading.sql.first("SELECT max(length(head) + length(reason)) FROM ingest_rejected")
    )
    assert (count, longest <= 1256) == (KEPT, True)
    assert operator.status(replica).rejected == KEPT + 20
    assert [item.seq for item in operator.rejected(replica, 2)] == [KEPT + 19, KEPT + 18]


def test_an_error_of_ours_stops_ingest_and_nothing_is_passed(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ingesting(replica, net, writer.upstream.url):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("atdata.replica.writing.columns_of", lambda *_: 1 // 0)
        with ingesting(replica, net, writer.upstream.url) as ingester:
            writer.tell({B: entry("b")})
            until(ingester._crew.stopping.is_set)
    assert operator.status(replica).upstreams[0].cursor == 1
    with ingesting(replica, net, writer.upstream.url):
        until_shown(replica, writer.shown(A, B))


def test_one_process_ingests_and_the_next_takes_over(
    database: str, replica: Replica, net: Devnet, writer: Writer
) -> None:
    quick = replace(PACE, lease_seconds=1.0)
    second = replica_at(database)
    with ingesting(replica, net, writer.upstream.url, pace=quick) as first:
        until_begun(replica)
        waiting = Ingester(second, [writer.upstream.url], settings_of(net), quick)
        thread = threading.Thread(target=waiting.run)
        thread.start()
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        time.sleep(1.5)
        assert (len(writer.upstream.connections), waiting.counted["frames"]) == (1, 0)
        first.stop()
        until(lambda: len(writer.upstream.connections) == 2)
        writer.tell({B: entry("b")})
        until_shown(replica, writer.shown(A, B))
        waiting.stop()
        thread.join()
    second.close()


def test_who_lost_the_lease_writes_nothing_and_says_so(replica: Replica, net: Devnet, writer: Writer) -> None:
    taken = "UPDATE ingest_lease SET holder = 'another', ends_at = ends_at * 2"
    with (
        pytest.raises(ContentionError, match="another process ingests"),
        ingesting(replica, net, writer.upstream.url) as ingester,
    ):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
        replica.write(lambda writing: writing.sql.run(taken) and None)
        writer.tell({B: entry("b")})
        until(ingester._crew.stopping.is_set)
    assert shown(replica) == writer.shown(A)


@pytest.mark.parametrize(
    "text", ["https://a.example", "wss://", "wss://a.example/xrpc", "wss://u:p@a.example", "a.example"]
)
def test_an_upstream_is_the_root_of_a_server(replica: Replica, net: Devnet, text: str) -> None:
    from atdata.errors import AddressError

    with pytest.raises((UsageError, AddressError)):
        Ingester(replica, [text], settings_of(net))


def test_news_of_an_account_have_it_tried_again_soon(
    replica: Replica, net: Devnet, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "NEWS", 100_000)
    refuse = [True]

    def refused(request: Request, answer: Answer) -> Answer:
        is_asked = refuse[0] and "getRepoStatus" in request.path
        return Answer(503, b"{}") if is_asked else answer

    net.tell(refused)
    slow = replace(PACE, retry_seconds=10_000.0)
    with ingesting(replica, net, writer.upstream.url, pace=slow) as ingester:
        until_begun(replica)
        writer.tell({A: entry("a")})
        until(lambda: ingester.counted["failed comparisons"] == 1)
        refuse[0] = False
        writer.upstream.emit(IdentityEvent(0, writer.did))
        until_shown(replica, writer.shown(A))
