"""`subscribeChanges`: whoever follows it sees every change, once and in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atdata.appview.opening import TABLES
from atdata.appview.operator import restore, takedown
from atdata.appview.xrpc.lexicons import method_lexicons
from atdata.atproto.datamodel import from_json
from atdata.atproto.syntax import AtUri, Did
from atdata.databases import open_connection
from atdata.errors import NetworkError
from atdata.replica import Replica
from atdata.replica.changes import ChangeHorizon, changes_between, log_bounds, prune_log
from support.appviews import ALICE, BOB, ENTRY, NAMESPACE, Asker, Author, answering, entry, frames

THIRD = Did("did:plc:44ybard66vv44zksje25o7dz")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def appview(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Replica, Asker]]:
    where = request.getfixturevalue("postgres_url") if request.param == "postgresql" else tmp_path / "appview.db"
    with answering(where) as pair:
        yield pair


def said(frame: dict[str, Any]) -> tuple[str, str | bool]:
    """What happened, and where, or whether an account is shown; the frame is what the lexicon says."""
    method = f"{NAMESPACE}.subscribeChanges"
    kind = "account" if frame["type"] == "account" else "change"
    method_lexicons().validate_message(method, from_json({**frame, "$type": f"{method}#{kind}"}))
    return frame["type"], frame["active"] if kind == "account" else frame["rkey"]


def test_changes_come_as_they_are_made_and_again_from_a_cursor(appview: Any) -> None:
    replica, asker = appview
    author = Author(replica)
    author.write({f"{ENTRY}/before": entry("before")})
    with asker.follow() as live:
        time.sleep(0.5)  # it begins where the log is now
        author.write({f"{ENTRY}/a": entry("a")})
        author.write({f"{ENTRY}/a": entry("a", description="new"), f"{ENTRY}/b": entry("b")})
        author.write({f"{ENTRY}/a": None})
        seen = frames(live, 4)
    assert [said(frame) for frame in seen] == [("create", "a"), ("update", "a"), ("create", "b"), ("delete", "a")]
    assert [frame["seq"] for frame in seen] == sorted({frame["seq"] for frame in seen})
    assert seen[2]["record"] == entry("b")
    assert "record" not in seen[3]
    with asker.follow(seen[1]["seq"]) as again:
        assert frames(again, 2) == seen[2:]
    with asker.follow(0) as whole:
        replayed = frames(whole, 5)
    assert [said(frame) for frame in replayed] == [("create", "before"), *map(said, seen)]
    assert "record" not in replayed[1]  # that version is there no more
    assert replayed[0]["record"] == entry("before")


def test_large_records_are_read_a_few_at_once(appview: Any) -> None:
    replica, asker = appview
    Author(replica).write({f"{ENTRY}/{n}": entry("e", description="x" * 450_000) for n in range(10)})
    sizes, after = list[int](), 0
    while some := replica.read(lambda reading, after=after: changes_between(reading.sql, after, 10, 200)):
        assert [change.number for change in some] == list(range(after + 1, some[-1].number + 1))
        sizes.append(len(some))
        after = some[-1].number
    assert sizes == [4, 4, 2]
    with asker.follow(0) as live:
        assert {frame["rkey"] for frame in frames(live, 10)} == {str(n) for n in range(10)}


def test_a_cursor_that_cannot_be_is_an_error_and_one_that_is_too_old_says_so(appview: Any) -> None:
    replica, asker = appview
    author = Author(replica)
    for number in range(4):
        author.write({f"{ENTRY}/{number}": entry("e")})
    for cursor, name in (
        (99, "FutureCursor"),
        ("x", "InvalidRequest"),
        (-1, "InvalidRequest"),
        ("9" * 40, "InvalidRequest"),
    ):
        with asker.follow(cursor) as socket:
            assert frames(socket, 1)[0]["error"] == name
            with pytest.raises(NetworkError):
                socket.receive(5.0)
    replica.write(lambda writing: writing.sql.run("DELETE FROM replica_changes WHERE number < 3") and None)
    with asker.follow(1) as socket:
        info, *rest = frames(socket, 3)
    assert (info["type"], info["name"]) == ("info", "OutdatedCursor")
    assert [frame["rkey"] for frame in rest] == ["2", "3"]


def test_of_a_hidden_account_only_what_is_gone_is_said(appview: Any) -> None:
    replica, asker = appview
    author, other = Author(replica), Author(replica, BOB)
    author.write({f"{ENTRY}/a": entry("a")})
    replica.write(lambda writing: writing.set_status(ALICE, "deleted", 1))
    replica.write(lambda writing: writing.purge(ALICE, 0) and None)
    other.write({f"{ENTRY}/b": entry("b")})
    with asker.follow(0) as socket:
        seen = frames(socket, 3)
    happened = [(ALICE, "account", False), (ALICE, "delete", "a"), (BOB, "create", "b")]
    assert [(frame["did"], *said(frame)) for frame in seen] == happened


def test_who_follows_learns_what_is_hidden_and_shown_again(appview: Any) -> None:
    replica, asker = appview
    author = Author(replica)
    author.write({f"{ENTRY}/a": entry("a"), f"{ENTRY}/b": entry("b")})
    with asker.follow(2) as live:
        takedown(replica, AtUri(f"at://{ALICE}/{ENTRY}/a"), "spam")
        author.write({f"{ENTRY}/a": entry("a", description="still there"), f"{ENTRY}/b": None})
        seen = frames(live, 2)
        restore(replica, AtUri(f"at://{ALICE}/{ENTRY}/a"))
        seen += frames(live, 1)
        takedown(replica, ALICE, "spam")
        restore(replica, ALICE)
        seen += frames(live, 2)
    happened = [("delete", "a"), ("delete", "b"), ("create", "a"), ("account", False), ("account", True)]
    assert [said(frame) for frame in seen] == happened
    assert seen[2]["record"]["description"] == "still there"
    assert {"cid", "record"} & set(seen[0]) == set()


def test_the_log_is_kept_so_long_and_no_longer(appview: Any) -> None:
    replica, asker = appview
    author = Author(replica)
    for number in range(6):
        author.write({f"{ENTRY}/{number}": entry("e")})
    moments = [m for (m,) in replica.read(lambda reading: reading.sql.all("SELECT moment FROM replica_changes"))]
    pruned = lambda *bounds: replica.write(lambda writing: prune_log(writing.sql, *bounds))
    assert [pruned(0, 100), pruned(0, 4), pruned(sorted(moments)[3], 100)] == [0, 2, 1]
    assert replica.read(lambda reading: log_bounds(reading.sql)) == (4, 6)
    assert [pruned(2**60, 0, 1), pruned(2**60, 0), pruned(2**60, 0)] == [1, 1, 0], "the newest stays"
    with asker.follow(3) as socket:
        info, last = frames(socket, 2)
    assert (info["name"], last["seq"]) == ("OutdatedCursor", 6)
    with asker.follow(6) as socket:
        author.write({f"{ENTRY}/x": entry("e")})
        assert said(frames(socket, 1)[0]) == ("create", "x")


@pytest.mark.served
def test_a_change_that_is_committed_late_is_not_missed(postgres_url: str) -> None:
    """A number is given out before another that is committed first."""
    with answering(postgres_url) as (replica, asker):
        Author(replica).write({f"{ENTRY}/first": entry("first")})
        writers = Replica(open_connection(postgres_url, TABLES))  # no derivation makes one wait for the other
        may_end, has_begun = threading.Event(), threading.Event()

        def wait() -> None:
            has_begun.set()
            assert may_end.wait(60)

        late = threading.Thread(target=lambda: Author(writers, BOB).write({f"{ENTRY}/late": entry("late")}, wait))
        late.start()
        try:
            assert has_begun.wait(60)
            Author(writers, THIRD).write({f"{ENTRY}/early": entry("early")})
            horizon = ChangeHorizon()
            looks = [replica.read(lambda reading: horizon.look(reading.sql)) for _ in range(5)]
            assert set(looks) == {0}  # what this one has not seen yet may still be preceded
            with asker.follow(0) as socket:
                assert socket.receive(1.0) == []
                may_end.set()
                late.join()
                seen = frames(socket, 3)
        finally:
            may_end.set()
            late.join()
            writers.close()
        assert [frame["rkey"] for frame in seen] == ["first", "late", "early"]


def test_subscribers_that_go_are_forgotten(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (_, asker):
        for _turn in range(3):
            asker.follow().close()
        until = time.monotonic() + 20
        while "atdata_subscribers 0.0" not in asker.send("GET", "/metrics").body.decode():
            assert time.monotonic() < until
            time.sleep(0.1)


def test_frames_are_text_of_json(appview: Any) -> None:
    replica, asker = appview
    Author(replica).write({f"{ENTRY}/a": entry("a")})
    with asker.follow(0) as socket:
        (frame,) = socket.receive(20.0)
    change = json.loads(frame)
    assert {"seq", "type", "collection", "did", "rkey", "timestamp", "record", "cid"} == set(change)
