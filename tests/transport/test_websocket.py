"""A WebSocket client: to checked addresses only, bounded whatever a server sends, and never waiting without an end."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from atdata.errors import AddressError, LimitError, NetworkError
from atdata.transport import Transport
from atdata.transport.websocket import WebSocket
from support.rawhttp import RESET, Piece, RawServer, Request, answer, certificate

MOST = 1000


def accepting(request: Request, **headers: str) -> bytes:
    """The answer with which a server goes over to WebSocket."""
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, **headers}
    return "\r\n".join(["HTTP/1.1 101 Said", *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()


def message(data: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def saying(*pieces: Piece) -> RawServer:
    """A server that sends this, once it speaks WebSocket."""
    return RawServer(lambda request: [accepting(request), *pieces])


def opened(server: RawServer, silence: float = 10.0, **more: object) -> WebSocket:
    url = server.url.replace("http", "ws")
    return WebSocket(f"{url}/x?cursor=1", max_message=MOST, allow_loopback=None, silence=silence, **more)  # type: ignore[arg-type]


def heard(client: WebSocket) -> list[bytes]:
    """All messages up to the end of the connection, which must come."""
    got: list[bytes] = []
    with pytest.raises(NetworkError), client:
        got.extend(client)
    return got


@pytest.fixture
def honest() -> Iterator[str]:
    """A server by the library: sends what a client asks for, as many messages as its path says, and echoes."""

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        for number in range(int(connection.request.path[1:])):
            connection.send(str(number).encode())
        for received in connection:
            connection.send(received)

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


# --- what comes ------------------------------------------------------------------------------------------------------


def test_messages_come_in_order(honest: str) -> None:
    with WebSocket(f"{honest}/500", max_message=MOST, allow_loopback=True) as client:
        stream = iter(client)
        assert [next(stream) for _ in range(500)] == [str(number).encode() for number in range(500)]
        assert client.receive(0.05) == []


def test_a_request_says_who_asks_and_offers_nothing() -> None:
    with saying(message(b"x")) as server:
        assert heard(opened(server)) == [b"x"]
        (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/x?cursor=1")
    assert request.headers["user-agent"] == "atdata"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & request.headers.keys()


def test_fragments_are_one_message() -> None:
    parts = [
        message(b"a", fin=False),
        message(b"?", Opcode.PING),
        message(b"b", Opcode.CONT, fin=False),
        message(b"c", Opcode.CONT),
        message("é".encode(), Opcode.TEXT),
    ]
    with saying(*parts, message(Close(1000, "").serialize(), Opcode.CLOSE), 0.5) as server:
        assert heard(opened(server)) == [b"abc", "é".encode()]


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_pieces_may_come_as_they_like(cut: int) -> None:
    whole = message(b"a" * 300) + message(b"b")
    with saying(*(whole[at : at + cut] for at in range(0, len(whole), cut))) as server:
        assert heard(opened(server)) == [b"a" * 300, b"b"]


def test_what_came_before_the_end_is_given() -> None:
    with saying(
        message(b"x") + message(b"y") + message(Close(1008, "FutureCursor").serialize(), Opcode.CLOSE)
    ) as server:
        client = opened(server)
        assert client.receive() == [b"x", b"y"]
        for _ in range(2):
            with pytest.raises(NetworkError, match="closed the connection") as caught:
                client.receive()
            assert caught.value.actual == "1008 FutureCursor"


# --- what must not come ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        message(bytes(MOST + 1)),
        b"\x82\x7f" + (2**62).to_bytes(8),
        message(bytes(MOST), fin=False) + message(b"x", Opcode.CONT),
        message(b"", fin=False) + message(b"x" * 10, Opcode.CONT, fin=False) * 200,
    ],
)
def test_a_message_that_is_too_long(said: bytes) -> None:
    with saying(message(b"x"), said, 5.0) as server:
        client = opened(server)
        assert next(iter(client)) == b"x"
        with pytest.raises(LimitError, match="message is too long"), client:
            while client.receive():
                raise AssertionError("nothing more was sent whole")


@pytest.mark.parametrize(
    "said",
    [
        b"\xc2\x01x",  # compressed, without having been agreed
        b"\x83\x01x",  # an unknown kind
        b"\x82\x81....x",  # masked
        message(b"x", Opcode.CONT),
        message(b"x", fin=False) + message(b"y"),
        b"\x89\x7e\x00\x7e" + bytes(126),  # a long ping
    ],
)
def test_what_is_no_websocket(said: bytes) -> None:
    with saying(said, 5.0) as server, pytest.raises(NetworkError, match="WebSocket protocol"), opened(server) as client:
        client.receive()


@pytest.mark.parametrize("status", [200, 301, 302, 400, 401, 429, 500])
def test_a_server_that_answers_otherwise(status: int) -> None:
    """No redirect is followed."""
    with RawServer(lambda _: answer(200, b"never")) as other:
        script = answer(status, b"why", location=f"{other.url}/")
        with (
            RawServer(lambda _: script) as server,
            pytest.raises(NetworkError, match=f"answered {status}") as caught,
        ):
            opened(server)
        assert caught.value.actual == "why"
        assert not other.requests


@pytest.mark.parametrize(
    "said",
    [
        lambda _: b"SSH-2.0\r\n",
        lambda _: b"HTTP/1.1 101 Said\r\n\r\n",
        lambda _: b"HTTP/1.1 101 Said\r\nx: " + b"y" * 100_000,
        lambda _: b"HTTP/1.1 101 Said\r\n" + b"x: y\r\n" * 1000,
        lambda request: accepting(request).replace(b"Accept: ", b"Accept: x"),
        lambda request: accepting(request, **{"Sec-WebSocket-Extensions": "permessage-deflate"}),
        lambda request: accepting(request, **{"Sec-WebSocket-Protocol": "mqtt"}),
        lambda _: b"",
        lambda _: [RESET],
    ],
)
def test_a_handshake_that_is_none(said: object) -> None:
    with RawServer(said) as server, pytest.raises(NetworkError):  # type: ignore[arg-type]
        opened(server)


def test_nobody_waits_for_a_handshake_that_is_wanted_no_more() -> None:
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Timer(0.2, stopping.set).start()
        with pytest.raises(NetworkError, match="does not answer"):  # the test's own patience is far below this one
            WebSocket(
                f"ws://127.0.0.1:{silent.getsockname()[1]}/",
                max_message=MOST,
                allow_loopback=True,
                handshake=10_000,
                stopping=stopping,
            )


@pytest.mark.parametrize("end", [b"", RESET])
def test_a_connection_that_breaks_off(end: Piece) -> None:
    with saying(message(b"x"), message(b"y" * 100)[:50], end) as server:
        client = opened(server)
        with pytest.raises(NetworkError, match="dropped the connection"), client:
            while client.receive():
                pass


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_silent_server_is_asked_and_stays(honest: str) -> None:
    with WebSocket(f"{honest}/0", max_message=MOST, allow_loopback=True, silence=0.2) as client:
        assert client.receive(1.0) == [], "it answered each time that it was asked"


def test_a_server_that_has_fallen_silent_is_left() -> None:
    with saying(message(b"x"), 30.0) as server:
        client = opened(server, silence=0.2)
        assert client.receive() == [b"x"]
        with pytest.raises(NetworkError, match="fallen silent"), client:
            client.receive()


@pytest.mark.parametrize("headed", [True, False])
def test_a_server_that_sends_byte_by_byte_is_left(headed: bool) -> None:
    """Each byte is a sign of life, and none of them is a message."""

    def slowly(request: Request) -> Iterable[Piece]:
        whole = (b"" if headed else accepting(request)) + message(b"x" * 900)
        yield accepting(request) if headed else b""
        for byte in whole:
            yield bytes([byte])
            yield 0.05

    silence = 0.3
    with RawServer(slowly) as server, pytest.raises(NetworkError):
        opened(server, silence=silence, handshake=silence).receive()


def test_a_reader_that_takes_its_time_costs_the_server_nothing() -> None:
    with saying(message(b"x"), message(b"y"), 30.0) as server, opened(server, silence=0.3) as client:
        assert client.receive() in ([b"x"], [b"x", b"y"])
        time.sleep(0.5)
        assert client.receive(0.01) in ([b"y"], [])
        assert client.receive(0.01) == []


def test_a_fast_server_does_not_fill_the_memory() -> None:
    """What nobody asks for stays with the server."""
    whole = message(bytes(900)) * 1000

    def endless(request: Request) -> Iterable[Piece]:
        yield accepting(request)
        while True:
            yield whole

    with RawServer(endless) as server:
        tracemalloc.start()
        with opened(server) as client:
            for _ in range(50):
                assert client.receive()
            time.sleep(0.1)
            before = tracemalloc.get_traced_memory()[0]
            time.sleep(0.3)
            assert tracemalloc.get_traced_memory()[0] - before < 1 << 20
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()


# --- the end ---------------------------------------------------------------------------------------------------------


def test_another_thread_may_end_it(honest: str) -> None:
    client = WebSocket(f"{honest}/0", max_message=MOST, allow_loopback=True)
    got: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: got.append(client.receive()))
    reader.start()
    time.sleep(0.1)
    closer = threading.Thread(target=client.close)
    closer.start()
    reader.join(10)
    assert got == [[]], "it was woken, long before the server would have been asked"
    closer.join()
    client.close()
    assert list(client) == []


def test_the_server_is_told_of_the_end() -> None:
    codes: list[int | None] = []
    done = threading.Event()

    def handle(connection: ServerConnection) -> None:
        for _ in connection:
            pass
        codes.append(connection.close_code)
        done.set()

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with WebSocket(url, max_message=MOST, allow_loopback=True):
            pass
        assert done.wait(5)
        server.shutdown()
        thread.join()
    assert codes == [1000]


# --- the guard -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ws://example.com/x",
        "ws://127.0.0.1:1/x",
        "wss://127.0.0.1:1/x",
        "wss://10.0.0.5/x",
        "wss://[::1]:1/x",
        "wss://user:word@example.com/",
        "https://example.com/",
        "file:///etc/passwd",
        "wss:///x",
        "wss://exa mple.com",
        "ws://example.com:99999/",
    ],
)
def test_a_stranger_may_name_only_public_servers_over_tls(url: str) -> None:
    with pytest.raises(AddressError):
        Transport().websocket(url, MOST)


def test_loopback_is_allowed_where_it_was_asked_for(honest: str) -> None:
    with Transport(allow_loopback=True).websocket(f"{honest}/1", MOST) as client:
        assert client.receive() == [b"0"]
    with pytest.raises(AddressError):
        Transport().websocket(f"{honest}/1", MOST)
    with Transport().trusting(honest.replace("ws", "http", 1)).websocket(f"{honest}/1", MOST) as client:
        assert client.receive() == [b"0"]


def test_nobody_listens() -> None:
    with pytest.raises(NetworkError, match="cannot be reached"):
        WebSocket("ws://127.0.0.1:1/", max_message=MOST, allow_loopback=True)


@pytest.mark.parametrize(
    ("names", "trusted", "expected"),
    [(("localhost",), True, "x"), (("localhost",), False, "NetworkError"), (("other.test",), True, "NetworkError")],
)
def test_tls_is_spoken_only_with_the_server_that_was_named(
    tmp_path: Path, names: tuple[str, ...], trusted: bool, expected: str
) -> None:
    script = """
        import sys
        from atdata.errors import NetworkError
        from atdata.transport import Transport
        try:
            with Transport(allow_loopback=True).websocket(sys.argv[1], 100) as client:
                print(client.receive()[0].decode(), end="")
        except NetworkError as error:
            print(type(error).__name__, end="")
    """
    context, pem = certificate(tmp_path, *names)
    with RawServer(lambda request: [accepting(request), message(b"x"), 1.0], tls=context) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script), f"wss://localhost:{server.port}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **({"SSL_CERT_FILE": str(pem)} if trusted else {})},
        )
    assert (done.stdout, done.stderr) == (expected, "")
