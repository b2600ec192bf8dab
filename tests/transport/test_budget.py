"""A logical request ends: whatever its server sends, however slowly, over however many tries and redirects."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.atmosphere import AtmosphereClient
from atdata.errors import LimitError, NetworkError
from atdata.transport import Get, Transport
from atdata.transport.budget import HEADERS, TRIES, Budget, Patience
from atdata.transport.download import Download, read_range
from support.rawhttp import RESET, Piece, RawServer, Request, answer

pytestmark = pytest.mark.slow

HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"


def whole(transport: Transport, url: str) -> Any:
    return transport.get(Get(url))


def streamed(transport: Transport, url: str) -> Any:
    with Download(transport, url) as body:
        return body.read()


def ranged(transport: Transport, url: str) -> Any:
    return read_range(transport, url, 0, 1 << 20)


WAYS = [whole, streamed, ranged]
Way = Callable[[Transport, str], Any]


def hurried(server: RawServer, **changes: Any) -> Transport:
    """A transport that gives up after a second, and pauses only in its own count."""
    return replace(Transport(sleep=lambda _: None, patience=1.0).trusting(server.url), **changes)


def endless(*pieces: Piece) -> Iterator[Piece]:
    return itertools.cycle(pieces)


def slowly(text: bytes) -> Iterator[Piece]:
    """A text byte by byte, and then nothing."""
    for index in range(len(text)):
        yield text[index : index + 1]
        yield 0.05
    yield from endless(0.05)


PART = answer(206, content_length=1 << 20, content_range=f"bytes 0-{(1 << 20) - 1}/9999999")
HEAD = {whole: answer(200, content_length=1 << 20), streamed: answer(200, content_length=1 << 20), ranged: PART}
CHUNKED = {way: head.replace(b"content-length: 1048576", b"transfer-encoding: chunked") for way, head in HEAD.items()}

FLOODS: dict[str, Callable[[Way], Iterator[Piece]]] = {
    "informational answers": lambda way: endless(HINT * 1000),
    "a header without end": lambda way: itertools.chain([b"HTTP/1.1 200 OK\r\n"], endless(b"x-filler: " + b"y" * 9000)),
}
TRICKLES: dict[str, Callable[[Way], Iterator[Piece]]] = {
    "informational answers": lambda way: endless(HINT, 0.02),
    "the status line": lambda way: slowly(b"HTTP/1.1 200 OK" + b" " * 1000),
    "a header": lambda way: itertools.chain([b"HTTP/1.1 200 OK\r\nx: "], endless(b"y", 0.02)),
    "many headers": lambda way: itertools.chain([b"HTTP/1.1 200 OK\r\n"], endless(b"x: y\r\n", 0.02)),
    "the body": lambda way: itertools.chain([HEAD[way]], endless(b"y", 0.02)),
    "chunks": lambda way: itertools.chain([CHUNKED[way]], endless(b"1\r\ny\r\n", 0.02)),
    "a chunk's length": lambda way: itertools.chain([CHUNKED[way]], endless(b"0", 0.02)),
    "the end of chunks": lambda way: itertools.chain([CHUNKED[way] + b"0\r\n"], endless(b"x: y\r\n", 0.02)),
    "nothing": lambda way: endless(0.05),
    "nothing more": lambda way: itertools.chain([HEAD[way] + b"yyy"], endless(0.05)),
}


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("way", WAYS)
def test_a_flood_before_the_body_ends(way, name):
    with RawServer(lambda _: FLOODS[name](way)) as server, pytest.raises((LimitError, NetworkError)):
        way(hurried(server, patience=30.0), server.url)
    assert len(server.requests) <= TRIES


@pytest.mark.parametrize("name", TRICKLES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.timeout(60)
def test_a_trickle_ends(way, name):
    """Each byte comes in time."""
    with RawServer(lambda _: TRICKLES[name](way)) as server, pytest.raises(NetworkError):
        way(hurried(server), server.url)
    assert len(server.requests) <= TRIES


def test_a_byte_a_connection_is_no_progress():
    def script(request: Request) -> list[Piece]:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        head = answer(206 if start else 200, content_length=1000 - start, etag='"v"')
        if start:
            head = head.replace(b"etag", f"content-range: bytes {start}-999/1000\r\netag".encode())
        return [head + b"x", 0.01, RESET]

    with RawServer(script) as server:
        with pytest.raises(NetworkError):
            streamed(hurried(server, patience=300.0), server.url)
        assert len(server.requests) == TRIES


@pytest.mark.timeout(60)
def test_what_surrounds_a_body_is_no_progress():
    """A byte of the body for each 60 kB on the wire, as fast as it goes."""
    padded = b"1;" + b"e" * 60_000 + b"\r\ny\r\n"
    with RawServer(lambda _: itertools.chain([CHUNKED[streamed]], endless(padded))) as server:
        with pytest.raises(NetworkError):
            streamed(hurried(server, least_rate=1_000_000), server.url)
        assert len(server.requests) <= TRIES


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.timeout(60)
def test_redirects_are_on_one_budget(way):
    """Each hop is slow, none too slow for itself."""
    hops = itertools.count()

    def script(_: Request) -> list[Piece]:
        return [0.15, answer(302, location=f"/{next(hops)}")]

    with RawServer(script) as server:
        if way is ranged:
            assert way(hurried(server, patience=100.0), server.url) is None  # not this part: no error of its own
        with pytest.raises(NetworkError):
            way(hurried(server, patience=0.5), server.url)
    assert next(hops) <= 12


def test_pauses_that_a_server_asks_for_are_on_its_budget():
    naps: list[float] = []
    with RawServer(lambda _: answer(429, retry_after="90")) as server:
        assert hurried(server, sleep=naps.append, patience=200.0).send("GET", server.url).status == 429
    assert naps == [90.0, 90.0]


def test_the_bytes_of_all_tries_count_together():
    limit = 4 << 20
    almost = [answer(200, bytes(limit))[:-10]]  # closed, not reset: what was sent arrives, however slow the reader is
    with RawServer(lambda _: almost) as server:
        with pytest.raises(LimitError):
            hurried(server, patience=300.0).get(Get(server.url, max_bytes=limit))
        assert len(server.requests) == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rest", [0, 1000])
def test_a_server_that_does_not_take_what_it_is_sent_is_left(rest):
    """It reads nothing, or a little now and then."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        kept: list[socket.socket] = []
        done = threading.Event()

        def take() -> None:
            connection, _ = listener.accept()
            kept.append(connection)
            while rest and not done.wait(0.02) and connection.recv(rest):
                pass

        taking = threading.Thread(target=take)
        taking.start()
        transport = Transport(sleep=lambda _: None, patience=1.0, least_rate=1e6).trusting(url)
        try:
            with pytest.raises(NetworkError):
                transport.send("POST", url, content=bytes(30_000_000), idempotent=False)
        finally:
            done.set()
            taking.join()
            for connection in kept:
                connection.close()


def test_a_reader_that_takes_its_time_spends_no_patience():
    body = bytes(3_000_000)
    with RawServer(lambda _: answer(200, body)) as server, Download(hurried(server, patience=1.0), server.url) as got:
        count = 0
        while piece := got.read(1_000_000):
            count += len(piece)
            time.sleep(0.03)
    assert count == len(body)


# --- the count -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 10_000)), max_size=50))
def test_patience_bounds_time_by_bytes(waits):
    """As long as patience lasts, all that was waited is at most what there was, and bytes at the least rate."""
    patience, waited, brought = Patience(100, 100), 0.0, 0
    for seconds, count in waits:
        patience.spend(seconds)
        waited += seconds
        if patience.left <= 0:
            break
        assert waited <= 100 + brought / 100
        patience.gain(count)
        brought += count
        assert patience.left <= 100


@given(st.lists(st.booleans(), max_size=30))
def test_tries_are_counted_from_the_last_that_made_progress(progress):
    budget = Budget("u", 1e9, 1e-6, sleep=lambda _: None)
    in_a_row = 0
    for made in progress:
        if made:
            budget.progressed(1)
        in_a_row = 1 if made else in_a_row + 1
        assert budget.another(0.1) == (in_a_row < TRIES)
        if in_a_row >= TRIES:
            return


def test_what_comes_before_a_body_is_bounded_for_each_request():
    budget = Budget("u")
    for _ in range(3):
        budget.begin()
        budget.received(HEADERS)
        with pytest.raises(LimitError):
            budget.received(1)
    budget.begin()
    budget.body_begins()
    budget.received(1 << 40)


# --- settings --------------------------------------------------------------------------------------------------------


def test_a_client_has_the_patience_that_it_was_given(tmp_path: Path) -> None:
    transport = AtmosphereClient(patience=7, least_rate=8, cache=tmp_path, data=tmp_path).reader.transport
    assert (transport.patience, transport.least_rate) == (7, 8)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["the body", "informational answers", "nothing more"])
def test_a_dataset_on_a_server_that_trickles_ends(tmp_path: Path, name: str) -> None:
    with RawServer(lambda _: TRICKLES[name](streamed)) as server, pytest.raises(NetworkError):
        list(atdata.load_dataset(f"{server.url}/a.tar", split="train", patience=1, cache=tmp_path, streaming=True))
