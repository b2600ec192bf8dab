"""Large bodies: as streams that survive a dropped connection, and in parts (RFC 9110, section 14: Range Requests)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from atdata.errors import AddressError, DataModelError, NetworkError, ShardError, ShardNotFoundError, XrpcError
from atdata.json_reader import read_json
from atdata.transport.budget import Budget
from atdata.transport.http import MAX_REDIRECTS, REDIRECTS, RETRIED, Stream, Transport
from atdata.urls import join_url

_MAX_ERROR = 10_000


class Download(io.RawIOBase):
    """The body of one URL from `offset` on, as a readable stream.

    After a cut it goes on where it stopped: by Range where the server answers 206 for the same ETag and
    size, else by reading the whole body again and skipping what was had. It gives up after five attempts
    in a row that bring nothing new, or too little for their time, and where patience ends (`atdata.settings`).

    Raises:
        ShardNotFoundError: the server has no such thing.
        XrpcError: the server refuses, with its status and reason.
        ShardError: the body changed while it was read, or is sent compressed.
        LimitError: there is no end of what comes before the body.
        NetworkError: the server cannot be reached, keeps breaking off, or is too slow.
    """

    def __init__(self, transport: Transport, url: str, offset: int = 0) -> None:
        self._transport, self._url, self._position = transport, url, offset
        self._version: tuple[str | None, int | None] = (None, None)  # ETag and size, as far as they are known
        self._stack = ExitStack()
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._budget = transport.budget(url)
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int | None:
        """Bytes of the whole body, where the server says."""
        return self._version[1]

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as the next piece holds; 0 at the end."""
        while not self._rest:
            try:
                chunk = next(self._chunks, None)
                if chunk is None:
                    self._check_end()
                    self._stack.close()
                    return 0
            except NetworkError as error:
                self._budget.failed(error)
                self._connect()
                continue
            self._budget.progressed(len(chunk))
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._position += count
        return count

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            super().close()
            self._stack.close()

    def _connect(self) -> None:
        while True:
            try:
                return self._begin(self._ask())
            except (AddressError, XrpcError):
                raise
            except NetworkError as error:
                self._budget.failed(error)

    def _ask(self) -> Stream:
        headers = {}
        if self._position:
            headers["range"] = f"bytes={self._position}-"
            if self._version[0]:
                headers["if-range"] = self._version[0]
        return _answer(self._transport, self._stack, self._url, headers, self._budget)

    def _begin(self, stream: Stream) -> None:
        sent = stream.headers.get("content-range", "")
        if stream.status == 416 and sent == f"bytes */{self._position}":
            self._chunks = iter(())  # nothing is left after the position
            return
        if stream.status not in (200, 206):
            self._refuse(stream)
        if stream.encoding:
            raise compressed(self._url, stream.encoding)
        skip, length = self._position, stream.headers.get("content-length", "")
        total = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        if stream.status == 206:
            match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", sent)
            if not match or int(match[1]) != self._position:
                raise NetworkError("a server sent another range than requested", uri=self._url)
            skip, total = 0, None if match[2] == "*" else int(match[2])
        self._expect(stream.headers.get("etag"), total)
        self._chunks = _without(stream.chunks, skip)

    def _check_end(self) -> None:
        if self.size is not None and self._position < self.size:  # a server may send less of a range than was asked
            raise NetworkError(
                "a server ended a body early", uri=self._url, actual=f"{self._position} of {self.size} bytes"
            )

    def _expect(self, etag: str | None, size: int | None) -> None:
        """Take up the body only where nothing that is known of it has changed."""
        known, found = self._version, (etag, size)
        if any(a is not None and b is not None and a != b for a, b in zip(known, found, strict=True)):
            raise ShardError(
                "a shard changed while it was read", uri=self._url, expected=known, actual=found, hint="Load it again."
            )
        self._version = (known[0] or etag, size if known[1] is None else known[1])

    def _refuse(self, stream: Stream) -> None:
        if stream.status in RETRIED:
            raise NetworkError(f"a server answered {stream.status}", uri=self._url)
        if stream.status in (404, 410):
            raise ShardNotFoundError("there is no such shard", uri=self._url, actual=f"status {stream.status}")
        body = next(stream.chunks, b"")[:_MAX_ERROR]
        try:
            reason = read_json(body)
        except DataModelError:
            reason = {}
        error = str(reason.get("error", "")) if isinstance(reason, dict) else ""
        raise XrpcError(
            f"a server answered {stream.status} {error}".rstrip(), status=stream.status, error=error, uri=self._url
        )


def compressed(uri: str, encoding: str) -> ShardError:
    """The error for a shard that its server compresses, or says that it does."""
    return ShardError(
        "a shard is sent compressed",
        uri=uri,
        expected="a tar file as it is, with no Content-Encoding",
        actual=f"Content-Encoding: {encoding}",
        hint="Store it uncompressed, and without that header; samples may be compressed in it.",
    )


def _without(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def read_range(transport: Transport, url: str, start: int, stop: int) -> bytes | None:
    """The bytes of a body in `[start, stop)`; `None` where the server answers anything but this part.

    It may know no ranges, have a shorter body, or refuse: that is for who reads the whole body to find out.

    Raises:
        AddressError: the server must not be dialled.
        LimitError: there is no end of what comes before the part.
        NetworkError: it cannot be reached, is busy or too slow, or keeps breaking off, five times in a row.
    """
    budget = transport.budget(url)
    while True:
        try:
            return _ask_range(transport, url, start, stop, budget)
        except XrpcError:
            return None
        except AddressError:
            raise
        except NetworkError as error:
            budget.failed(error)


def _ask_range(transport: Transport, url: str, start: int, stop: int, budget: Budget) -> bytes | None:
    with ExitStack() as stack:
        answer = _answer(transport, stack, url, {"range": f"bytes={start}-{stop - 1}"}, budget)
        if answer.status in RETRIED:
            raise NetworkError(f"a server answered {answer.status}", uri=answer.url)
        sent = answer.headers.get("content-range", "")
        if answer.status != 206 or answer.encoding or not sent.startswith(f"bytes {start}-{stop - 1}/"):
            return None
        part = bytearray()
        for chunk in answer.chunks:
            part += chunk
            if len(part) > stop - start:
                return None
        if len(part) < stop - start:
            actual = f"{len(part)} of {stop - start} bytes of a range"
            raise NetworkError("a server ended a body early", uri=answer.url, actual=actual)
        return bytes(part)


def _answer(transport: Transport, stack: ExitStack, url: str, headers: Mapping[str, str], budget: Budget) -> Stream:
    """The answer to a GET, with redirects followed; the stack closes it."""
    for _ in range(MAX_REDIRECTS + 1):
        stack.close()
        stream = stack.enter_context(transport.stream("GET", url, headers=headers, budget=budget))
        location = stream.headers.get("location")
        if stream.status not in REDIRECTS or not location:
            return stream
        url = join_url(url, location)
    raise XrpcError("a server redirects too often", uri=url, status=stream.status)
