"""A web server that does what it is told, byte by byte: also what no honest server does."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reset:
    """In an answer: break the connection off as a crash does, with a TCP reset."""


RESET = Reset()
Piece: TypeAlias = bytes | float | Reset  # bytes to send, seconds to wait, or the end
Script: TypeAlias = Callable[[Request], "bytes | Iterable[Piece]"]


def answer(status: int = 200, body: bytes = b"", **headers: object) -> bytes:
    """A whole answer. Header names are given with `_` for `-`; `None` leaves a default out."""
    given: dict[str, object] = {"content_length": len(body), "connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode("latin1") + body


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for some names, and the certificate that a client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    forms = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *forms))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class RawServer:
    """Listens on loopback and answers by its script; keeps every request, and counts every connection.

    With `tls` it speaks https.
    """

    script: Script
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)  # before its number may belong to another socket
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        tls = self.tls
        with contextlib.suppress(OSError), tls.wrap_socket(connection, True) if tls else connection as opened:
            self._converse(opened)

    def _converse(self, connection: socket.socket) -> None:
        while request := self._read(connection):
            self.requests.append(request)
            answered = self.script(request)
            for piece in [answered] if isinstance(answered, bytes) else answered:
                if isinstance(piece, Reset):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if isinstance(piece, float):
                    time.sleep(piece)
                else:
                    connection.sendall(piece)
            if not (isinstance(answered, bytes) and b"connection: keep-alive" in answered):
                return

    @staticmethod
    def _read(connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65_536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65_536)
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body)


@dataclass
class FileServer(RawServer):
    """Serves files as a good server does, Range included; `cuts` says after how many bytes each answer breaks off."""

    script: Script = field(default=lambda _: b"")
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"v1"'
    ranges: bool = True
    lengths: bool = True
    cuts: list[int | None] = field(default_factory=list)
    most: int | None = None

    def __post_init__(self) -> None:
        self.script = self._file

    def _file(self, request: Request) -> bytes | Iterable[Piece]:
        body = self.files.get(request.target)
        if body is None:
            return answer(404)
        headers: dict[str, object] = {"etag": self.etag}
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if asked and self.ranges and request.headers.get("if-range") in (None, self.etag):
            start = int(asked[1])
            if start >= len(body):
                return answer(416, content_range=f"bytes */{len(body)}")
            last = int(asked[2]) + 1 if asked[2] else len(body)
            end = min(len(body), last, start + (self.most or len(body)))
            status, headers["content_range"] = 206, f"bytes {start}-{end - 1}/{len(body)}"
            body = body[:end]
        part = body[start:]
        whole = answer(status, part, **headers) if self.lengths else self._chunked(status, part, headers)
        cut = self.cuts.pop(0) if self.cuts else None
        if cut is None:
            return whole
        head = whole.index(b"\r\n\r\n") + 4
        return [whole[: head + cut] if cut >= 0 else b"", 0.02, RESET]  # time for what was sent to arrive

    def _chunked(self, status: int, body: bytes, headers: dict[str, object]) -> bytes:
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(body[i : i + 1000]), body[i : i + 1000]) for i in range(0, len(body), 1000)
        )
        return answer(status, content_length=None, transfer_encoding="chunked", **headers) + chunks + b"0\r\n\r\n"
