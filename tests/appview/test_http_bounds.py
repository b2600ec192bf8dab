"""What clients of an AppView can make it wait for, or keep, is bounded; and whoever watches it is told."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService
from atdata.replica import Replica
from atdata.testing import Devnet
from support.appviews import ENTRY, NAMESPACE, Asker, Author, answering, entry, frames
from support.histories import entry as valid
from support.ingesting import Writer, ingesting, replica_at, until, until_begun, until_shown
from support.memory import resident


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Replica, Asker]]:
    with answering(tmp_path / "a.db") as pair:
        yield pair


def raw(asker: Asker) -> socket.socket:
    where = urlsplit(asker.url)
    return socket.create_connection((str(where.hostname), where.port), timeout=10)


@pytest.mark.parametrize("said", [b"", b"GET /health HTTP/1.1\r\nHost: a\r\nX-", b"POST "])
def test_who_does_not_ask_to_the_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr("atdata.appview.connections.HEADERS_WITHIN", 0.5)
    with answering(tmp_path / "a.db") as (_, asker), raw(asker) as connection:
        for byte in said:  # each byte alone does not make it wait longer
            connection.sendall(bytes([byte]))
        began = time.monotonic()
        assert connection.recv(1000) == b""
        assert time.monotonic() - began < 5
        assert asker.send("GET", "/health").status == 200


def test_who_does_not_send_the_body_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.appview.connections.ANSWERED_WITHIN", 0.5)
    head = f"POST /xrpc/{NAMESPACE}.indexNow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    with answering(tmp_path / "a.db") as (_, asker), raw(asker) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000) == b""
        assert asker.send("GET", "/health").status == 200


def test_a_connection_that_is_used_again_and_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADERS_WITHIN", "ANSWERED_WITHIN"):
        monkeypatch.setattr(f"atdata.appview.connections.{name}", 2.0)
    with answering(tmp_path / "a.db") as (_, asker):
        for _turn in range(6):  # over one connection
            assert asker.send("GET", "/health").status == 200
            time.sleep(0.4)
        with asker.follow(0) as live:  # nor is one ended that went over to WebSocket
            time.sleep(2.2)
            assert live.receive(0.1) == []


@pytest.mark.parametrize(
    "path",
    ["/" + "a" * 20_000, f"/xrpc/{NAMESPACE}.searchDatasets?q={'a' * 20_000}", "/%00", "/xrpc/" + "%2e%2e/" * 500],
)
def test_what_is_odd_is_refused(served: tuple[Replica, Asker], path: str) -> None:
    _, asker = served
    assert 400 <= asker.send("GET", path).status < 500


def test_headers_are_bounded(served: tuple[Replica, Asker]) -> None:
    _, asker = served
    with raw(asker) as connection, pytest.raises((AssertionError, OSError)):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        for number in range(2000):
            connection.sendall(f"X-{number}: {'y' * 900}\r\n".encode())
        connection.sendall(b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert asker.send("GET", "/health").status == 200


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\nA: ", b"\0"])
def test_who_asks_too_much_at_once_reads_why_not(served: tuple[Replica, Asker], beginning: bytes) -> None:
    _, asker = served
    with raw(asker) as connection:
        connection.sendall(beginning + b"a" * (1 << 20))  # a connection that is reset has no answer, or takes not all
        head, _, body = b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body).keys() == {"error", "message"}
    assert b"32768 bytes" in body


def test_who_was_refused_and_goes_on_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.appview.connections.REFUSED_WITHIN", 0.5)
    with answering(tmp_path / "a.db") as (_, asker), raw(asker) as connection:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 30:
                connection.sendall(b"\0" * 1000)
                time.sleep(0.01)
        assert asker.send("GET", "/health").status == 200


def test_a_subscriber_that_does_not_read_is_left_and_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.appview.xrpc.changes.TAKEN_WITHIN", 0.5)
    with answering(tmp_path / "a.db") as (replica, asker):
        author = Author(replica)
        author.write({f"{ENTRY}/{n}": entry("e", description="x" * 400_000) for n in range(40)})
        where = urlsplit(asker.url)
        key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        path = f"/xrpc/{NAMESPACE}.subscribeChanges?cursor=0"
        before, silent = resident(), list[socket.socket]()
        try:
            for _ in range(5):
                silent.append(socket.socket())
                silent[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                silent[-1].connect((str(where.hostname), where.port))
                silent[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n".encode())
            subscribers = lambda: asker.send("GET", "/metrics").body.decode()
            until(lambda: "atdata_subscribers 5.0" in subscribers())
            until(lambda: "atdata_subscribers 0.0" in subscribers())
            assert resident() - before < 60 << 20
        finally:
            for each in silent:
                each.close()
        with asker.follow(0) as live:
            assert len(frames(live, 20)) >= 20


def test_one_address_takes_not_all_places(served: tuple[Replica, Asker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.appview.xrpc.changes.MAX_OF_ONE", 2)
    _, asker = served
    with asker.follow() as first, asker.follow() as second, asker.follow() as third:
        assert frames(third, 1)[0]["error"] == "RateLimitExceeded"
        assert first.receive(0.1) == second.receive(0.1) == []


def test_readiness_is_a_matter_of_lag_where_the_operator_says_so(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db", ready_lag=60.0) as (replica, asker):
        assert asker.send("GET", "/ready").status == 503, "nothing ever came"
        for ago, status in ((10, 200), (100, 503)):
            moment = time.time_ns() // 1000 - ago * 1_000_000
            add = f"INSERT INTO ingest_upstreams (url, event_at) VALUES ('wss://{ago}.example', {moment})"
            replica.write(lambda writing: writing.sql.run("DELETE FROM ingest_upstreams") and None)
            replica.write(lambda writing, add=add: writing.sql.run(add) and None)
            said = asker.send("GET", "/ready")
            assert (said.status, said.json["ready"]) == (status, status == 200)


def test_what_ingest_does_is_counted_and_logged(
    tmp_path: Path, net: Devnet, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    replica = replica_at(f"sqlite:///{tmp_path}/appview.db")
    caplog.set_level(logging.INFO, "atdata.appview.ingest")
    with (
        ingesting(replica, net, writer.upstream.url) as ingester,
        AppViewServer(AppViewService(replica, ingest=ingester)) as server,
    ):
        asker = Asker(server.url)
        until_begun(replica)
        writer.tell({f"{ENTRY}/a": valid("a")})
        until_shown(replica, writer.shown(f"{ENTRY}/a"))
        writer.tell({f"{ENTRY}/b": valid("b")})
        until_shown(replica, writer.shown(f"{ENTRY}/a", f"{ENTRY}/b"))
        writer.upstream.send(b"\xff")
        until(lambda: ingester.counted["rejected"])
        text = asker.send("GET", "/metrics").body.decode()
        for line in (
            'atdata_ingest_total{what="commits"} 1.0',
            'atdata_ingest_total{what="rejected"} 1.0',
            f'atdata_upstream_connected{{upstream="{writer.upstream.url}"}} 1.0',
            'atdata_accounts{status="active"} 1.0',
            "atdata_records 2.0",
            "atdata_rejected_total 1.0",
            "atdata_ingest_queue_frames 0.0",
            "atdata_search_pending 0.0",
            "atdata_ready 1.0",
        ):
            assert line in text.splitlines(), line
        assert f'atdata_upstream_lag_seconds{{upstream="{writer.upstream.url}"}}' in text
        assert "atdata_database_bytes" in text
        asker.close()
    replica.close()
    said = [record.getMessage() for record in caplog.records]
    assert "a stream has begun" in said
