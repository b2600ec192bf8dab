"""A Jetstream as a doorbell: over a real socket, in the form of its JSON, and believed of nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from atdata.appview import operator
from atdata.appview.ingest import Ingester
from atdata.errors import UsageError
from atdata.replica import Replica
from atdata.replica.tables import COLLECTIONS
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.histories import ENTRY, entry, shown
from support.ingesting import PACE, Writer, asked, ingesting, settings_of, until, until_begun, until_shown
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

A, B = f"{ENTRY}/a", f"{ENTRY}/b"
HOUR = 3600 * 1_000_000


class Jetstream:
    """Sends messages to who subscribes, and notes what was asked for; earlier ones only where it `replays`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.cut = self.replays = False
        self._messages: list[str | bytes] = []
        self._changed = threading.Condition()
        self._ended = False

    def __enter__(self) -> Self:
        self._server = serve(self._handle, "127.0.0.1", 0)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._server.shutdown()

    @property
    def url(self) -> str:
        host, port = self._server.socket.getsockname()[:2]
        return f"ws://{host}:{port}"

    def send(self, *messages: Any) -> None:
        with self._changed:
            self._messages += [each if isinstance(each, str | bytes) else json.dumps(each) for each in messages]
            self._changed.notify_all()

    def ring(self, did: str, **commit: Any) -> None:
        said = {"rev": "3zzzzzzzzzz2z", "operation": "create", "collection": ENTRY, "rkey": "a", **commit}
        self.send({"did": did, "time_us": time.time_ns() // 1000, "kind": "commit", "commit": said})

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        assert parts.path == "/subscribe"
        with self._changed:  # who sees that it was asked sends what comes after
            self.asked.append(parse_qs(parts.query))
            at = len(self._messages) if len(self.asked) > 1 else 0
            if self.replays and "cursor" in self.asked[-1]:
                since = int(self.asked[-1]["cursor"][0])
                at = sum(json.loads(message)["time_us"] < since for message in self._messages)
        while not self._ended and not self.cut:
            with self._changed:
                self._changed.wait_for(lambda at=at: len(self._messages) > at, 0.05)
                new, at = self._messages[at:], len(self._messages)
            try:
                for message in new:
                    connection.send(message)
            except ConnectionClosed:
                return
        self.cut = False


@pytest.fixture
def jetstream() -> Iterator[Jetstream]:
    with Jetstream() as served:
        yield served


@pytest.fixture
def writer(net: Devnet) -> Iterator[Writer]:
    """An account, and a firehose that nobody follows."""
    with TestedUpstream() as unheard:
        yield Writer(net, unheard)


def listening(replica: Replica, net: Devnet, jetstream: Jetstream) -> Any:
    return ingesting(replica, net, doorbells=[jetstream.url])


def test_what_is_written_while_nobody_listens_is_found_at_once_where_it_never_rang(
    replica: Replica, net: Devnet, jetstream: Jetstream, writer: Writer
) -> None:
    seldom = replace(PACE, sweep_seconds=900)
    writer.write({A: entry("a")})
    with ingesting(replica, net, doorbells=[jetstream.url], pace=seldom):
        until_begun(replica)
        operator.add(replica, writer.did)
        until_shown(replica, writer.shown(A))
    writer.write({B: entry("b")})
    with ingesting(replica, net, doorbells=[jetstream.url], pace=seldom):
        until_shown(replica, writer.shown(A, B))


def test_it_is_asked_for_our_collections(replica: Replica, net: Devnet, jetstream: Jetstream) -> None:
    with listening(replica, net, jetstream):
        until(lambda: jetstream.asked)
    assert jetstream.asked == [{"wantedCollections": list(COLLECTIONS)}]


def test_who_has_written_is_compared_with_its_own_server(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    with listening(replica, net, jetstream) as ingester:
        writer.write({A: entry("a")})
        jetstream.ring(writer.did, record=entry("what a liar says"), cid="bafyreiabc")
        until_shown(replica, writer.shown(A))
        writer.write({B: entry("b")})
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A, B))
        last = writer.write({A: None})
        jetstream.ring(writer.did, operation="delete")
        until_shown(replica, writer.shown(B))
        compared, heard = ingester.counted["comparisons"], ingester.counted["rings"]
        jetstream.ring(writer.did, rev=str(last.rev))
        jetstream.ring(writer.did, collection="app.bsky.feed.post", rev="3aaaaaaaaaa2a")
        until(lambda: ingester.counted["rings"] == heard + 2)
        assert ingester.counted["comparisons"] == compared, "what it has already it asks for no more"


def test_what_it_says_of_an_account_is_asked_for(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    with listening(replica, net, jetstream) as ingester:
        writer.write({A: entry("a")})
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))
        moment = time.time_ns() // 1000
        said = {"did": writer.did, "seq": 7, "time": "2026-01-01T00:00:00Z"}
        compared = ingester.counted["comparisons"]
        lie = {"active": False, "status": "takendown", **said}
        jetstream.send({"did": writer.did, "time_us": moment, "kind": "account", "account": lie})
        until(lambda: ingester.counted["comparisons"] > compared)
        until_shown(replica, writer.shown(A))
        writer.held.status = "deactivated"
        jetstream.send({"did": writer.did, "time_us": moment, "kind": "account", "account": {"active": True, **said}})
        until_shown(replica, {})
        identities = ingester.counted["identities"]
        jetstream.send({"did": writer.did, "time_us": moment, "kind": "identity", "identity": said})
        until(lambda: ingester.counted["identities"] > identities)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        b"\x00\xff",
        "[]",
        "null",
        '{"did": "did:plc:x", "time_us": 1}',
        '{"did": 1, "time_us": 1, "kind": "commit"}',
        '{"did": "nobody", "time_us": 1, "kind": "identity"}',
        '{"did": "did:web:localhost", "time_us": 1.5, "kind": "identity"}',
        '{"did": "did:web:localhost", "time_us": 1, "kind": "other"}',
        '{"did": "did:web:localhost", "time_us": 1, "kind": "commit", "commit": []}',
        "[" * 100_000,
        '"' + "a" * 1_000_000 + '"',
    ],
    ids=lambda message: repr(message)[:30],
)
def test_nonsense_is_passed_over(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream, message: str | bytes
) -> None:
    with listening(replica, net, jetstream) as ingester:
        writer.write({A: entry("a")})
        jetstream.send(message)
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))
        assert ingester.counted["unread rings"] == 1


def test_it_is_read_on_from_a_little_before_the_last_ring(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    writer.write({A: entry("a")})
    future = time.time_ns() // 1000 + 1000 * HOUR
    commit = {"collection": ENTRY, "rev": "3zzzzzzzzzz2z"}
    with listening(replica, net, jetstream):
        jetstream.send({"did": writer.did, "time_us": future, "kind": "commit", "commit": commit})
        until_shown(replica, writer.shown(A))
        jetstream.cut = True
        until(lambda: len(jetstream.asked) == 2)
    moment = time.time_ns() // 1000
    (cursor,) = map(int, jetstream.asked[1]["cursor"])
    assert moment - HOUR < cursor < moment - 5_000_000 + 1, "and no time of the future is believed"


def test_after_a_long_silence_all_are_compared(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    writer.write({A: entry("a")})
    with listening(replica, net, jetstream):
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))
    writer.write({B: entry("b")})  # for which nobody rings
    with listening(replica, net, jetstream):
        until(lambda: len(jetstream.asked) == 2)
        assert shown(replica) == writer.shown(A)
    replica.write(lambda writing: writing.sql.run("UPDATE ingest_upstreams SET cursor = cursor - ?", HOUR + 1) and None)
    with listening(replica, net, jetstream):
        until_shown(replica, writer.shown(A, B))


def test_a_doorbell_that_is_away_is_called_again(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    with listening(replica, net, jetstream):
        until(lambda: jetstream.asked)
        for turns in (2, 3):
            jetstream.cut = True
            until(lambda turns=turns: len(jetstream.asked) >= turns)
        writer.write({A: entry("a")})
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))
    assert [each.url for each in operator.status(replica).upstreams] == [f"{jetstream.url}/subscribe"]


@pytest.mark.parametrize("text", ["https://jet.example", "wss://jet.example/subscribe", "wss://a:b@jet.example", "jet"])
def test_what_is_no_root_of_a_server_is_refused(replica: Replica, net: Devnet, text: str) -> None:
    with pytest.raises(UsageError, match="not the root of an upstream"):
        Ingester(replica, [], settings_of(net), doorbells=[text])


def test_one_that_rings_for_whom_nobody_knows_fills_nothing(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    jetstream.replays = True
    monkeypatch.setattr("atdata.replica.writing.WAITING", 20)
    monkeypatch.setattr("atdata.appview.ingest.reconciling.GIVEN_UP", 1)
    monkeypatch.setattr("atdata.transport.websocket.PIECE", 2000)

    looked_at = set[str]()

    def slow(request: Request, answer: Answer) -> Answer:
        if answer.status == 404:
            looked_at.add(request.path)
            time.sleep(0.05)
        return answer

    net.tell(slow)
    writer.write({A: entry("a")})
    with listening(replica, net, jetstream) as ingester:
        for number in range(200):
            jetstream.ring(f"did:plc:{number:024d}".translate(str.maketrans("0189", "abcd")))
        jetstream.ring(writer.did)
        most = 0
        while shown(replica) != writer.shown(A):
            most = max(most, sum(operator.status(replica).accounts.values()))
            time.sleep(0.02)
        until(lambda: len(looked_at) == 200)
        until(lambda: operator.status(replica).accounts == {"active": 1})
        assert ingester.counted["rings"] >= 201, "what it said while there was no room is asked for once more"
    assert most <= 50, "as many as may wait, and those that came with the last of them"


def test_those_that_are_followed_do_not_wait_for_those_of_whom_nothing_is_known(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    jetstream.replays = True
    monkeypatch.setattr("atdata.replica.writing.WAITING", 3)
    went_on, other = threading.Event(), Writer(net, writer.upstream)
    unknown = [net.create_account(fresh_handle()).did for _ in range(3)]

    def hang(request: Request, answer: Answer) -> Answer:
        if request.path.endswith("getRepoStatus") and request.param("did") in unknown:
            went_on.wait(60)
        return answer

    with listening(replica, net, jetstream):
        writer.write({A: entry("a")})
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))
        net.tell(hang)
        for did in unknown:
            jetstream.ring(did)
        until(lambda: operator.status(replica).behind == 3)
        time.sleep(1)  # for it to be seen that there is no room
        other.write({A: entry("other")})
        jetstream.ring(other.did)
        writer.write({B: entry("b")})
        jetstream.ring(writer.did)
        until(lambda: shown(replica) == writer.shown(A, B) and operator.status(replica).behind == 3)
        went_on.set()
        until(lambda: shown(replica) == writer.shown(A, B) | other.shown(A))
    net.tell(None)


def test_an_account_for_which_it_rings_and_that_has_nothing_is_not_followed(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    writer.write({"app.bsky.feed.post/x": {"$type": "app.bsky.feed.post"}})
    with listening(replica, net, jetstream) as ingester:
        jetstream.ring(writer.did)
        until(lambda: ingester.counted["without records"])
        assert operator.status(replica).accounts == {}
        writer.write({A: entry("a")})
        jetstream.ring(writer.did)
        until_shown(replica, writer.shown(A))


def test_one_that_is_away_again_and_again_lets_nobody_else_be_asked_each_time(
    replica: Replica, net: Devnet, writer: Writer, jetstream: Jetstream
) -> None:
    with ingesting(replica, net, writer.upstream.url, pace=replace(PACE, sweep_seconds=3600.0)):
        until_begun(replica)
        writer.tell({A: entry("a")})
        until_shown(replica, writer.shown(A))
    with (
        TestedUpstream() as silent,
        ingesting(replica, net, silent.url, pace=replace(PACE, sweep_seconds=3600.0), doorbells=[jetstream.url]),
    ):
        until(lambda: len(operator.status(replica).upstreams) == 3)
        until_begun(replica)
        old = "SELECT 1 FROM replica_identities WHERE checked_at = 0"
        until(lambda: not replica.read(lambda reading: reading.sql.all(old)) and not operator.status(replica).behind)
        paths = asked(net)
        for turns in range(2, 5):
            jetstream.cut = True
            until(lambda turns=turns: len(jetstream.asked) >= turns)
            silent.forget()  # ends its connections, and begins anew
            until(lambda turns=turns: len(silent.connections) >= turns)
        assert paths == []
