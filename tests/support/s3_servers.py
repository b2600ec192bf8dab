"""Real S3 servers for tests: the one in `TEST_S3_URL`, else Ceph's RGW, else moto; and a proxy that fails as told.

`TEST_S3_URL` is `http://KEY:SECRET@host:port`. What is started here is ended here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from atdata.testing.services import CephServer, MotoServer
from support.services import running, temporary


@dataclass(frozen=True)
class S3Server:
    """A running server, and an account there."""

    kind: str
    url: str
    key: str
    secret: str = field(repr=False)

    @property
    def credentials(self) -> dict[str, str]:
        return {"AWS_ENDPOINT": self.url, "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}

    @cached_property
    def client(self) -> Any:
        """A plain client, for what the tests do and check themselves."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )

    @contextmanager
    def new_bucket(self) -> Iterator[str]:
        """A bucket of its own, which goes afterwards with all that is in it."""
        name = f"test-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=name):
                for upload in page.get("Uploads", ()):
                    self.client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
            for key in self.keys(name):
                self.client.delete_object(Bucket=name, Key=key)
            self.client.delete_bucket(Bucket=name)

    @contextmanager
    def new_public_bucket(self) -> Iterator[str]:
        """One that anybody may read from."""
        with self.new_bucket() as name:
            what = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [what]})
            self.client.put_bucket_policy(Bucket=name, Policy=policy)
            yield name

    def keys(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def read(self, bucket: str, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def unfinished(self, bucket: str) -> list[str]:
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@contextmanager
def running_server() -> Iterator[S3Server]:
    """The best server that there is here; skips where there is none."""
    if address := os.environ.get("TEST_S3_URL"):
        parts = urlsplit(address)
        url = f"{parts.scheme}://{parts.hostname}:{parts.port}"
        yield S3Server("given", url, parts.username or "test", parts.password or "test")
        return
    program = next((one for one in (CephServer, MotoServer) if one.installed()), None)
    if program is None:
        pytest.skip("there is no S3 server: neither TEST_S3_URL, nor radosgw, nor moto")
    with temporary("s3-") as folder, running(program(folder / "s3")) as server:
        keys = server.environment
        kind = "ceph" if program is CephServer else "moto"
        yield S3Server(kind, server.url, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])


# --- faults ----------------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What happens to one request in place of what should.

    Attributes:
        answer: sent at once, and the connection closed; the server never sees the request.
        before: the connection is reset as soon as the request has begun; the server never sees it.
        within: the connection is reset after so many bytes of the request's body were sent on.
        after: the server gets all of it and answers, but the client's connection is reset.
        cut: the answer is sent with so many bytes of its body, and then the connection closed or reset.
        stall: seconds before the request is sent on.
    """

    answer: bytes | None = None
    before: bool = False
    within: int | None = None
    after: bool = False
    cut: int | None = None
    reset: bool = False
    stall: float = 0.0


Chooser = Callable[[str, str], "Fault | None"]


def refusal(status: int, code: str) -> Fault:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    head = f"HTTP/1.1 {status} Told\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n"
    return Fault(answer=head.encode() + b"connection: close\r\n\r\n" + body)


class FaultProxy:
    """Stands between a client and an S3 server, byte by byte, and breaks what `choose(method, target)` says.

    The Host header stays as the client signed it, so signatures hold. It counts what it did.

    Attributes:
        choose: gives the fault for a request, or none.
        fired: how many faults happened.
        requests: `METHOD target` of each request, in order.
        sent: bytes of bodies that went to the server.
    """

    def __init__(self, server: S3Server) -> None:
        self._to = urlsplit(server.url)
        self.choose: Chooser = lambda _method, _target: None
        self.fired = 0
        self.requests: list[str] = []
        self.sent = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)
        self._listener.close()

    def forget(self) -> None:
        """Begin anew, without faults."""
        self.choose = lambda _method, _target: None
        self.fired = self.sent = 0
        self.requests.clear()

    def once(self, method: str, fault: Fault, *, nth: int = 1, times: int = 1, target: str = "") -> None:
        """Break the nth request of a method (and the next ones), of those whose target matches."""
        seen = 0

        def choose(asked: str, where: str) -> Fault | None:
            nonlocal seen
            if asked != method or not re.search(target, where):
                return None
            seen += 1
            return fault if nth <= seen < nth + times else None

        self.choose = choose

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client:
            while head := _head(client):
                if not self._exchange(client, head):
                    return

    def _exchange(self, client: socket.socket, head: bytes) -> bool:
        """One request and its answer; whether the connection goes on."""
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin1").split(" ")
        with self._lock:
            self.requests.append(f"{method} {target}")
            fault = self.choose(method, target) or Fault()
            self.fired += fault != Fault() and fault.cut is None
        if fault.answer is not None:
            client.sendall(fault.answer)
            return False
        if fault.before:
            _reset(client)
            return False
        time.sleep(fault.stall)
        headers = _headers(head)
        with socket.create_connection((self._to.hostname, self._to.port), 60) as server:  # type: ignore[arg-type]
            server.sendall(_replaced(head))
            if headers.get("expect", "").lower() == "100-continue":
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            left = int(headers.get("content-length", 0))
            if fault.within is not None:
                self._pass(client, server, min(left, fault.within))
                _reset(client)
                _reset(server)
                return False
            self._pass(client, server, left)
            return self._answer(client, server, method, fault)

    def _answer(self, client: socket.socket, server: socket.socket, method: str, fault: Fault) -> bool:
        answered = _head(server)
        while answered.startswith(b"HTTP/1.1 100"):
            answered = _head(server)
        if fault.after:
            _reset(client)
            return False
        client.sendall(answered)
        headers = _headers(answered)
        if method == "HEAD" or answered.split(b" ", 2)[1] in (b"204", b"304"):
            return True
        if "content-length" not in headers:
            while piece := server.recv(1 << 16):
                client.sendall(piece)
            return False
        length = int(headers["content-length"])
        self._pass(server, client, length if fault.cut is None else min(length, fault.cut), counted=False)
        if fault.cut is not None and fault.cut < length:
            self.fired += 1
            time.sleep(0.05)  # for what was sent to arrive
            if fault.reset:
                _reset(client)
            return False
        return True

    def _pass(self, one: socket.socket, other: socket.socket, count: int, counted: bool = True) -> None:
        while count:
            piece = one.recv(min(count, 1 << 16))
            if not piece:
                raise EOFError
            other.sendall(piece)
            count -= len(piece)
            if counted:
                with self._lock:
                    self.sent += len(piece)


def _head(connection: socket.socket) -> bytes:
    """Everything up to the empty line, and nothing after it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        some = connection.recv(1 << 16, socket.MSG_PEEK)
        if not some:
            return b""
        end = (data + some).find(b"\r\n\r\n")
        take = len(some) if end < 0 else end + 4 - len(data)
        data += connection.recv(take)
    return data


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _replaced(head: bytes) -> bytes:
    """Without `Expect`, which is answered here, and for one exchange only."""
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in (b"expect", b"connection")]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
