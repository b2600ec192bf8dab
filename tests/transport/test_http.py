"""Requests: patient where that helps, capped always, and every failure one of ours."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from atdata.errors import AtdataError, LimitError, NetworkError, UsageError
from atdata.transport import Get, Transport, TxtLookup
from atdata.transport.budget import TRIES
from atdata.transport.http import MAX_WAIT
from atdata.transport.steps import drive
from support.rawhttp import RESET, RawServer, answer, certificate


class Naps(list[float]):
    """Remembers how long it was told to sleep, and does not."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


def serving(*answers: Any) -> RawServer:
    """A server that gives these answers in turn, and then the last one for ever."""
    left = list(answers)
    return RawServer(lambda request: left.pop(0) if len(left) > 1 else left[0])


def patient(server: RawServer, naps: Naps) -> Transport:
    return Transport(sleep=naps).trusting(server.url)


# --- whole answers ---------------------------------------------------------------------------------------------------


def test_a_request_says_who_asks_and_for_what(naps):
    with serving(answer(200, b"body", x_thing="1")) as server:
        got = patient(server, naps).get(Get(f"{server.url}/a", (("q", "é&"), ("q", "2")), headers={"accept": "x/y"}))
        assert (got.status, got.body, got.headers["x-thing"]) == (200, b"body", "1")
        (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/a?q=%C3%A9%26&q=2")
    sent = request.headers
    assert (sent["host"], sent["accept"], sent["user-agent"]) == (f"127.0.0.1:{server.port}", "x/y", "atdata")
    assert sent["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & sent.keys()


def test_a_status_that_was_not_asked_for_is_an_error(naps):
    with serving(answer(404, b"nothing here")) as server:
        with pytest.raises(NetworkError) as caught:
            patient(server, naps).get(Get(server.url))
        assert (caught.value.what, caught.value.actual) == ("a server answered 404", "nothing here")
        assert patient(server, naps).get(Get(server.url, accept=frozenset({200, 404}))).status == 404
        assert patient(server, naps).send("GET", server.url).status == 404
    assert naps == []


FAILURES = {
    "429": answer(429),
    "500": answer(500),
    "502": answer(502),
    "503": answer(503),
    "504": answer(504),
    "a reset before the answer": [RESET],
    "a reset in the header": [b"HTTP/1.1 200 OK\r\ncontent-", RESET],
    "a reset in the body": [answer(200, bytes(100))[:-50], 0.05, RESET],
    "an end in the body": answer(200, bytes(100))[:-50],
    "an end in the last chunk": answer(200, content_length=None, transfer_encoding="chunked") + b"5\r\nabc",
    "a closed connection": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a chunk of no size": answer(200, content_length=None, transfer_encoding="chunked") + b"zz\r\nabc\r\n",
    "a length that is no number": answer(200, b"abc", content_length="abc"),
    "a length in other digits": answer(200, b"abc", content_length="\xb3"),
    "two lengths": answer(200, b"abc", content_length="3\r\ncontent-length: 4"),
    "a header of 200 kB": answer(200, b"abc", x="y" * 200_000),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_passing_failure_is_tried_again(naps, name):
    with serving(FAILURES[name], FAILURES[name], answer(200, b"at last")) as server:
        assert patient(server, naps).get(Get(server.url)).body == b"at last"
        assert len(server.requests) == 3
    assert len(naps) == 2
    assert 0 < naps[0] <= 0.25
    assert 0.25 <= naps[1] <= 0.5


@pytest.mark.parametrize("name", FAILURES)
def test_a_lasting_failure_is_told_after_five_tries(naps, name):
    with serving(FAILURES[name]) as server:
        with pytest.raises(NetworkError) as caught:
            patient(server, naps).get(Get(server.url))
        assert caught.value.uri == server.url
        assert len(server.requests) == TRIES == 5
    assert len(naps) == TRIES - 1


@pytest.mark.parametrize("name", FAILURES)
def test_what_must_not_be_done_twice_is_not(naps, name):
    with serving(FAILURES[name]) as server:
        try:
            status = patient(server, naps).send("POST", server.url, content=b"x", idempotent=False).status
        except NetworkError:
            status = 0
        assert status == (int(name) if name.isdigit() else 0)
        assert [request.body for request in server.requests] == [b"x"]
    assert naps == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, (7, 7)),
        ({"retry_after": "0"}, (0, 0)),
        ({"ratelimit_reset": "{soon}"}, (28, 31)),
        ({"ratelimit_reset": "0"}, (0, 0)),
        ({"retry_after": "3", "ratelimit_reset": "{soon}"}, (3, 3)),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, (0.1, 0.25)),
        ({"retry_after": "-1"}, (0.1, 0.25)),
        ({"retry_after": "\xb2"}, (0.1, 0.25)),
        ({"ratelimit_reset": "\xb2"}, (0.1, 0.25)),
        ({}, (0.1, 0.25)),
    ],
)
def test_a_server_is_given_the_pause_it_asks_for(naps, headers, expected):
    told = {name: value.format(soon=int(time.time()) + 30) for name, value in headers.items()}
    with serving(answer(429, **told), answer(200)) as server:
        assert patient(server, naps).get(Get(server.url)).status == 200
    (waited,) = naps
    assert expected[0] <= waited <= expected[1]


@pytest.mark.parametrize("asked", [str(int(MAX_WAIT) + 1), "9" * 400, "9" * 5000])
def test_a_pause_that_is_too_long_is_an_answer(naps, asked):
    with serving(answer(429, retry_after=asked)) as server:
        assert patient(server, naps).send("GET", server.url).status == 429
        assert len(server.requests) == 1
    assert naps == []


def test_content_is_sent_again_from_its_start(naps):
    with serving(answer(503), answer(503), answer(200)) as server:
        patient(server, naps).send(
            "PUT", server.url, content=lambda: iter([b"ab", b"cd"]), headers={"content-length": "4"}
        )
        assert [request.body for request in server.requests] == [b"abcd"] * 3


# --- caps ------------------------------------------------------------------------------------------------------------


def test_an_answer_may_be_as_long_as_was_allowed_and_no_longer(naps):
    with serving(answer(200, bytes(1000))) as server:
        assert len(patient(server, naps).get(Get(server.url, max_bytes=1000)).body) == 1000
        with pytest.raises(LimitError):
            patient(server, naps).get(Get(server.url, max_bytes=999))
        assert len(server.requests) == 2


def test_an_endless_answer_is_cut_off(naps):
    def endless(_: Any) -> Iterator[bytes]:
        yield answer(200, content_length=None)
        while True:
            yield bytes(65_536)

    with RawServer(endless) as server, pytest.raises(LimitError):
        patient(server, naps).get(Get(server.url))


@pytest.mark.parametrize("where", ["header", "body"])
def test_an_answer_that_dribbles_is_given_up(naps, where):
    """Each byte comes in time, and all of them never."""

    def dribble(_: Any) -> Iterator[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\n" if where == "header" else answer(200, content_length=10_000)
        while True:
            yield 0.02
            yield b"x"

    with RawServer(dribble) as server:
        began = time.monotonic()
        with pytest.raises(NetworkError) as caught:
            replace(patient(server, naps), patience=2).send("GET", server.url, idempotent=False)
        assert time.monotonic() - began < 5
    assert "slow" in (caught.value.actual or "")


def test_a_server_that_says_nothing_is_given_up(naps):
    with serving([5.0]) as server, pytest.raises(NetworkError):
        replace(patient(server, naps), patience=1).send("GET", server.url, idempotent=False)


def test_a_server_that_is_not_there_is_told(naps):
    with serving(b"") as server:
        gone = server.url
    with pytest.raises(NetworkError) as caught:
        Transport(sleep=naps).trusting(gone).get(Get(gone))
    assert caught.value.uri == gone
    assert len(naps) == TRIES - 1


def test_what_cannot_be_sent_is_one_of_our_errors(naps):
    """A header without an encoding, a header in a header, content that is not as long as was said."""
    said = {"content-length": "4"}
    with serving(answer(200)) as server:
        for headers, content, expected in (
            ({"authorization": "Bearer secret\u2028"}, b"", UsageError),
            ({"authorization": "Bearer secret\r\nb: c"}, b"", UsageError),
            (said, lambda: iter([b"abcdef"]), NetworkError),
            (said, lambda: iter([b"ab"]), NetworkError),
        ):
            with pytest.raises(expected, match=r"^(?!.*secret)"):
                patient(server, naps).send("PUT", server.url, headers=headers, content=content, idempotent=False)


def packed(body: bytes, how: str) -> bytes:
    packing = zlib.compressobj(wbits=zlib.MAX_WBITS | (16 if "gzip" in how.lower() else 0))
    return packing.compress(body) + packing.flush()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "identity, gzip"])
def test_an_answer_that_is_compressed_unasked_is_unpacked(naps, encoding):
    body = bytes(100_000)
    with serving(answer(200, packed(body, encoding), content_encoding=encoding)) as server:
        assert patient(server, naps).get(Get(server.url, max_bytes=len(body))).body == body
        with pytest.raises(LimitError):
            patient(server, naps).get(Get(server.url, max_bytes=len(body) - 1))


def test_a_compressed_answer_takes_no_more_memory_than_was_allowed(naps):
    bomb = packed(bytes(200_000_000), "gzip")
    with serving(answer(200, bomb, content_encoding="gzip")) as server, pytest.raises(LimitError):
        tracemalloc.start()
        try:
            patient(server, naps).get(Get(server.url, max_bytes=1_000_000))
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 10_000_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"x"),
        ("gzip, gzip", b"x"),
        ("zstd", b"x"),
        ("gzip", b"no gzip"),
        ("gzip", packed(b"abc" * 99, "gzip")[:-9]),
    ],
)
def test_an_answer_that_is_compressed_otherwise_is_told(naps, encoding, body):
    with serving(answer(200, body, content_encoding=encoding)) as server, pytest.raises(NetworkError) as caught:
        patient(server, naps).get(Get(server.url))
    assert "compress" in str(caught.value)


# --- streams ---------------------------------------------------------------------------------------------------------


def test_what_goes_wrong_while_a_stream_is_read_is_one_of_our_errors(naps):
    """Also where it is read after the call that opened it."""
    for name, broken in FAILURES.items():
        if "body" in name or "chunk" in name:
            with serving(broken) as server, patient(server, naps).stream("GET", server.url) as stream:
                chunks = stream.chunks
                with pytest.raises(NetworkError):
                    b"".join(chunks)


def test_a_stream_that_is_not_read_to_its_end_gives_its_connection_back(naps):
    with serving(answer(200, bytes(10_000_000))) as server:
        for _ in range(50):  # more than there are connections
            with patient(server, naps).stream("GET", server.url) as stream:
                next(stream.chunks)


def test_an_error_of_the_reader_passes_through(naps):
    with serving(answer(200, b"x")) as server, pytest.raises(KeyError), patient(server, naps).stream("GET", server.url):
        raise KeyError("mine")


def test_connections_are_used_again(naps):
    with serving(answer(200, b"x", connection="keep-alive")) as server:
        for _ in range(5):
            patient(server, naps).get(Get(server.url))
        assert len(server.requests) == 5
        assert server.connections == 1


# --- https -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "trusted", "expected"),
    [
        (["localhost"], True, "the body"),
        (["localhost"], False, "NetworkError"),
        (["other.test"], True, "NetworkError"),
    ],
)
@pytest.mark.parametrize("guarded", [True, False])
def test_https_is_spoken_only_with_the_server_that_was_named(tmp_path, names, trusted, expected, guarded):
    """Also where the guard dials an address: the name is what the certificate must hold."""
    script = """
        import sys
        from atdata.errors import NetworkError
        from atdata.transport import Get, Transport
        transport = Transport(sleep=lambda _: None)
        url, guarded = sys.argv[1:]
        transport = Transport(True, sleep=print) if guarded == "True" else Transport(sleep=print).trusting(url)
        try:
            for _ in range(2):
                body = transport.send("GET", url, idempotent=False).body
            print(body.decode(), end="")
        except NetworkError as error:
            print(type(error).__name__, end="")
    """
    context, pem = certificate(tmp_path, *names)
    trust = {"SSL_CERT_FILE": str(pem)} if trusted else {}
    with RawServer(lambda _: answer(200, b"the body", connection="keep-alive"), tls=context) as server:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), f"https://localhost:{server.port}"]
        done = subprocess.run(
            [*command, str(guarded)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **trust},
        )
        assert (done.stdout, done.stderr) == (expected, "")
        assert len(server.requests) == (2 if expected == "the body" else 0)


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_transport_pickles(naps):
    transport = Transport(True, frozenset({"https://a.test:443"}))
    assert pickle.loads(pickle.dumps(transport)) == transport
    with serving(answer(200, b"x")) as server:
        used = Transport().trusting(server.url)
        used.get(Get(server.url))
        back = pickle.loads(pickle.dumps(used))
        assert back == used
        assert back.get(Get(server.url)).body == b"x"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_transport_survives_a_fork():
    """A DataLoader worker is a fork: it may not speak on its parent's connection."""
    script = """
        import os, sys
        from atdata.transport import Get, Transport
        transport = Transport().trusting(sys.argv[1])
        def ask(text):
            body = transport.get(Get(sys.argv[1] + "/" + text)).body
            assert body == b"/" + text.encode(), body
        ask("parent")
        children = []
        for n in range(4):
            child = os.fork()
            if not child:
                for turn in range(10):
                    ask(f"child-{n}-{turn}")
                os._exit(0)
            children.append(child)
        for turn in range(10):
            ask(f"parent-{turn}")
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        print("fine")
    """
    with RawServer(lambda request: answer(200, request.target.encode(), connection="keep-alive")) as server:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.stderr) == ("fine\n", "")
        assert len(server.requests) == 51
        assert server.connections == 5


# --- steps -----------------------------------------------------------------------------------------------------------


def test_steps_are_driven_to_their_end_and_may_have_another_way():
    asked: list[Any] = []

    def perform(effect: Any) -> Any:
        asked.append(effect)
        if isinstance(effect, TxtLookup):
            raise NetworkError("no name server answered")
        return f"answer to {effect.url}"

    def steps() -> Any:
        try:
            yield TxtLookup("a.test")
        except NetworkError:
            first = yield Get("https://a.test/1")
        second = yield Get("https://a.test/2")
        return first, second

    assert drive(steps(), perform) == ("answer to https://a.test/1", "answer to https://a.test/2")
    assert asked == [TxtLookup("a.test"), Get("https://a.test/1"), Get("https://a.test/2")]


def test_an_error_that_steps_do_not_expect_ends_them():
    closed = []

    def steps() -> Any:
        try:
            yield Get("https://a.test")
        finally:
            closed.append(True)

    def perform(_: Any) -> Any:
        raise NetworkError("down")

    with pytest.raises(NetworkError, match="down"):
        drive(steps(), perform)
    assert closed


def test_steps_may_end_without_asking_and_may_answer_an_error_with_an_error():
    def none() -> Any:
        return 7
        yield

    def translating() -> Any:
        try:
            yield Get("https://a.test")
        except NetworkError as error:
            raise AtdataError("not found", uri="at://x") from error

    def perform(_: Any) -> Any:
        raise NetworkError("down")

    assert drive(none(), perform) == 7
    with pytest.raises(AtdataError, match="not found"):
        drive(translating(), perform)


def test_a_transport_drives_steps_over_the_network(naps):
    def steps() -> Any:
        response = yield Get(f"{server.url}/a")
        try:
            yield Get(f"{server.url}/b")
        except NetworkError:
            return response.body + b", then an error"

    with RawServer(lambda request: answer(200 if request.target == "/a" else 404, b"body")) as server:
        assert patient(server, naps).run(steps()) == b"body, then an error"
