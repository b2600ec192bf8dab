"""Large bodies: read through cuts, or refused; never shorter, never another body's bytes."""

from __future__ import annotations

import gc
import io
import itertools
import os
import random
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import NetworkError, ShardError, ShardNotFoundError, XrpcError
from atdata.transport import Transport
from atdata.transport.budget import TRIES
from atdata.transport.download import Download
from support.rawhttp import RESET, FileServer, RawServer, answer

BODY = random.Random(1).randbytes(50_000)


def download(server: RawServer, offset: int = 0, path: str = "/a.tar", least_rate: float = 0.001) -> Download:
    transport = Transport(sleep=lambda _: None, least_rate=least_rate).trusting(server.url)
    return Download(transport, server.url + path, offset)


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_open():
    yield
    gc.collect()  # what was not closed warns, and a warning is an error


def test_a_body_is_read_as_a_stream():
    with FileServer(files={"/a.tar": BODY}) as server, download(server) as body:
        assert body.readable()
        assert body.size == len(BODY)
        assert body.read(10) == BODY[:10]
        assert body.read() == BODY[10:]
        assert body.read(1) == b""
        assert io.BufferedReader(download(server)).read() == BODY


CUTS = [[100], [0], [-1], [1, 1, 1], [30_000, 5_000, -1, 14_000], [49_999], [-1, -1, -1, -1]]


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("etag", ['"v1"', None])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("offset", [0, 20_000])
def test_a_body_that_breaks_off_goes_on_where_it_stopped(cuts, ranges, etag, lengths, offset):
    with FileServer(files={"/a.tar": BODY}, cuts=list(cuts), ranges=ranges, etag=etag, lengths=lengths) as server:
        with download(server, offset) as body:
            assert body.read() == BODY[offset:]
        assert len(server.requests) > 1 or cuts[0] >= len(BODY) - offset
        starts = [int(request.headers.get("range", "bytes=0-")[6:-1]) for request in server.requests]
        assert starts == sorted(starts)
        assert starts[0] == offset


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-1, 3000), max_size=4), st.booleans(), st.integers(0, 3000), st.integers(1, 2000) | st.none()
)
def test_any_cuts_give_the_same_bytes(cuts, ranges, offset, most):
    files = {"/a.tar": BODY[:3000]}
    with FileServer(files=files, cuts=list(cuts), ranges=ranges, most=most) as server, download(server, offset) as body:
        assert body.read() == BODY[:3000][offset:]


def test_a_server_that_sends_less_of_a_range_than_was_asked_is_asked_on():
    with FileServer(files={"/a.tar": BODY}, most=7_000) as server, download(server, 1_000) as body:
        assert body.read() == BODY[1_000:]
        assert len(server.requests) == 7


def test_a_server_that_brings_nothing_new_is_given_up():
    with FileServer(files={"/a.tar": BODY}, cuts=[1000, *[0] * 20]) as server, download(server) as body:
        with pytest.raises(NetworkError):
            body.read()
        assert len(server.requests) == TRIES


def test_a_slow_but_steady_server_is_not():
    with FileServer(files={"/a.tar": BODY[:2000]}, cuts=[100] * 19) as server, download(server) as body:
        assert body.read() == BODY[:2000]


def test_a_server_that_brings_too_little_is_given_up():
    """A try that brought less than the least rate counts as one that brought nothing."""
    with FileServer(files={"/a.tar": BODY[:2000]}, cuts=[100] * 19) as server:
        with download(server, least_rate=1e9) as body, pytest.raises(NetworkError):
            body.read()
        assert len(server.requests) == TRIES


@pytest.mark.parametrize("ranges", [True, False])
def test_a_body_that_changes_between_two_tries_is_refused(ranges):
    def change(server: FileServer, etag: str | None, body: bytes) -> None:
        server.etag, server.files["/a.tar"] = etag, body

    for etag, body in (('"v2"', BODY), ('"v1"', BODY + b"more"), ('"v2"', BODY[:20_000])):
        with FileServer(files={"/a.tar": BODY}, cuts=[30_000], ranges=ranges) as server, download(server) as stream:
            assert stream.read(100) == BODY[:100]
            change(server, etag, body)
            with pytest.raises(ShardError):
                stream.read()


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("status", [404, 410])
def test_a_body_that_is_not_there_is_told(status, offset):
    with RawServer(lambda _: answer(status)) as server, pytest.raises(ShardNotFoundError) as caught:
        download(server, offset)
    assert caught.value.uri == server.url + "/a.tar"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": "AccountTakedown", "message": "gone"}', "AccountTakedown"),
        (b"", ""),
        (b"<html>", ""),
        (b"[1]", ""),
        (b"\xff\xfe", ""),
        (b"[" * 9000, ""),
        (b'{"error": ' + b"[" * 9000, ""),
        (b'{"error": null}', "None"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 416, 418])
def test_a_server_that_refuses_is_told_with_its_reason(status, body, error):
    with RawServer(lambda _: answer(status, body)) as server:
        with pytest.raises(XrpcError) as caught:
            download(server)
        assert len(server.requests) == 1
    assert (caught.value.status, caught.value.error) == (status, error)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status):
    answers = iter([answer(status), answer(status), answer(200, BODY)])
    with RawServer(lambda _: next(answers)) as server, download(server) as body:
        assert body.read() == BODY
    with RawServer(lambda _: answer(status)) as server:
        with pytest.raises(NetworkError):
            download(server)
        assert len(server.requests) == TRIES


def test_each_try_begins_at_the_address_that_was_given():
    """A redirect may lead to an address that is good for minutes only."""
    turns = itertools.count()

    def script(request: Any) -> Any:
        if request.target == "/a.tar":
            return answer(302, location=f"/signed-{next(turns)}")
        return files._file(type(request)("GET", "/a.tar", request.headers, b""))

    with FileServer(files={"/a.tar": BODY}, cuts=[10_000, 10_000]) as files, RawServer(script) as server:
        assert download(server).read() == BODY
    targets = [request.target for request in server.requests]
    assert targets == ["/a.tar", "/signed-0", "/a.tar", "/signed-1", "/a.tar", "/signed-2"]


WRONG_RANGES = [
    "bytes 0-9/50000",
    "bytes 999-49999/50000",
    "bytes */50000",
    "octets 1000-49999/50000",
    "",
    "bytes 1000-49999",
    "bytes \xb2-3/4",
]


@pytest.mark.parametrize("sent", WRONG_RANGES)
def test_another_range_than_was_asked_for_is_not_taken(sent):
    with RawServer(lambda _: answer(206, BODY[1000:], content_range=sent)) as server, pytest.raises(NetworkError):
        download(server, 1000)


def test_a_cut_may_fall_on_the_very_end():
    """All bytes came, the end of the chunked body did not."""
    ending = answer(200, content_length=None, transfer_encoding="chunked", etag='"v1"') + b"3\r\nabc\r\n"
    answers = iter([[ending, 0.05, RESET], answer(416, content_range="bytes */3")])
    with RawServer(lambda _: next(answers)) as server, download(server) as body:
        assert body.read() == b"abc"


def a_download(server: RawServer) -> Any:
    body = download(server)
    body.read(1)
    return body


def a_generator_over_a_download(server: RawServer) -> Any:
    def pieces() -> Iterator[bytes]:
        with download(server) as body:
            while piece := body.read(1):
                yield piece

    generator = pieces()
    next(generator)
    return generator


def a_generator_over_an_answer(server: RawServer) -> Any:
    def chunks() -> Iterator[bytes]:
        with Transport().trusting(server.url).stream("GET", server.url + "/a.tar") as stream:
            yield from stream.chunks

    generator = chunks()
    next(generator)
    return generator


def the_chunks_of_an_answer(server: RawServer) -> Any:
    asked = Transport().trusting(server.url).stream("GET", server.url + "/a.tar")
    chunks = asked.__enter__().chunks
    next(chunks)
    return asked, chunks


READERS = [a_download, a_generator_over_a_download, a_generator_over_an_answer, the_chunks_of_an_answer]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.timeout(60)
def test_a_body_that_is_dropped_unclosed_never_stops_the_process(reader, monkeypatch):
    """The garbage collector may run while the pool holds its lock: what it closed then would wait for ever."""
    assign, collected = httpcore.ConnectionPool._assign_requests_to_connections, []

    def collecting(pool: Any) -> Any:
        collected.append(gc.collect())
        return assign(pool)

    monkeypatch.setattr(httpcore.ConnectionPool, "_assign_requests_to_connections", collecting)
    gc.disable()  # so that it is found in there and nowhere else
    gc.freeze()  # what was there before need not be looked at
    try:
        with FileServer(files={"/a.tar": BODY * 100}) as server:
            for _ in range(50):  # more than there are connections
                cycle: list[Any] = [reader(server)]  # as an exception's traceback makes one
                cycle.append(cycle)
                del cycle
    finally:
        gc.unfreeze()
        gc.enable()
        gc.collect()
    assert sum(map(bool, collected)) >= 40


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a server runs in a thread
def test_a_body_that_is_open_when_the_process_forks_is_the_parents():
    with FileServer(files={"/a.tar": BODY * 10}) as server, download(server) as body:
        body.read(1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                body.close()
                with download(server) as own:  # by a connection of its own
                    status = int(own.read() != BODY * 10)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert body.read() == (BODY * 10)[1:]


def test_a_body_that_was_read_to_its_end_gives_the_connection_back_at_once():
    with FileServer(files={"/a.tar": BODY}) as server:
        bodies = [download(server) for _ in range(30)]
        assert all(body.read() == BODY for body in bodies)
        assert download(server).read(1) == BODY[:1]
        assert all(body.read() == b"" for body in bodies)


def test_closing_early_gives_the_connection_back():
    with FileServer(files={"/a.tar": BODY * 100}) as server:
        for _ in range(50):  # more than there are connections
            with download(server) as body:
                body.read(1)
