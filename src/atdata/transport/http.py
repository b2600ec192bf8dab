"""HTTP requests: bounded in bytes and time, tried again after failures, to checked addresses only.

A server that the caller spelled out (an argument or a setting) is dialled as it is. Every other address came
from a record, a DID document or a redirect, and passes the guard.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from atdata.errors import AddressError, LimitError, NetworkError
from atdata.settings import Settings
from atdata.transport.budget import Budget, backoff, nothing
from atdata.transport.connections import Exchange
from atdata.transport.dns import lookup_txt
from atdata.transport.guard import check_scheme
from atdata.transport.steps import SMALL, Effect, Get, Steps, TxtLookup, drive
from atdata.transport.websocket import WebSocket
from atdata.urls import http_form, join_url, origin_of, split_url

T = TypeVar("T")

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_WAIT = 120.0


@dataclass(frozen=True)
class Response:
    """A whole answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str


@dataclass
class Stream:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Iterator[bytes]

    @property
    def encoding(self) -> str:
        """The content encoding of the body (RFC 9110, section 8.4: Content-Encoding); empty where it has none."""
        return encoding_of(self.headers.get("content-encoding", ""))


@dataclass(frozen=True)
class Transport:
    """A client for all requests of the process. It pickles, and survives a fork.

    Attributes:
        allow_loopback: strangers' addresses may be plain http, on this machine.
        trusted_origins: origins that the caller spelled out.
        sleep: how to wait between tries.
        patience: seconds that a logical request may wait for its server; see `atdata.settings`.
        least_rate: bytes a second that give patience back.
        watch: is called whenever a server is waited for, and raises a `NetworkError` where that is to end.
    """

    allow_loopback: bool = False
    trusted_origins: frozenset[str] = frozenset()
    sleep: Callable[[float], None] = time.sleep
    patience: float = Settings.patience
    least_rate: float = Settings.least_rate
    watch: Callable[[], None] = nothing

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """A transport as the settings want it."""
        return cls(settings.allow_loopback, patience=settings.patience, least_rate=settings.least_rate)

    def trusting(self, *urls: str) -> Self:
        """A transport that trusts the origins of these URLs too: the caller gave them."""
        return replace(self, trusted_origins=self.trusted_origins | {origin_of(url) for url in urls})

    def budget(self, url: str, max_bytes: int | None = None) -> Budget:
        """The budget of a logical request."""
        return Budget(url, self.patience, self.least_rate, max_bytes, self.sleep, self.watch)

    def run(self, steps: Steps[T]) -> T:
        """Drive network steps to their end."""
        return drive(steps, self._perform)

    def get(self, request: Get) -> Response:
        """Fetch a whole answer, with redirects followed and passing failures tried again.

        Raises:
            AddressError: the server must not be dialled.
            LimitError: the answer is longer than the request allows.
            NetworkError: no answer with an accepted status came.
        """
        url = f"{request.url}?{urlencode(request.params)}" if request.params else request.url
        asked, budget = origin_of(url), self.budget(url, request.max_bytes)
        for hop in range(MAX_REDIRECTS + 1):
            headers = request.headers if origin_of(url) == asked else {}  # what was meant for one is not told another
            response = self.send("GET", url, headers=headers, max_bytes=request.max_bytes, budget=budget)
            location = response.headers.get("location")
            if response.status not in REDIRECTS or not location:
                break
            if hop == MAX_REDIRECTS:
                raise NetworkError("a server redirects too often", uri=url)
            url = join_url(url, location)
        if response.status not in request.accept:
            raise NetworkError(
                f"a server answered {response.status}", uri=url, actual=response.body[:200].decode("utf-8", "replace")
            )
        return response

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        max_bytes: int = SMALL,
        idempotent: bool = True,
        budget: Budget | None = None,
    ) -> Response:
        """One request and its whole answer, whatever its status; no redirect is followed.

        An idempotent request is tried again, with growing pauses, after a failed connection and after 429 and 5xx.
        A callable `content` is called once for each try.

        Raises:
            AddressError: the server must not be dialled.
            LimitError: the answer is longer than `max_bytes`.
            NetworkError: the server cannot be reached, breaks off, or is too slow.
        """
        budget = budget or self.budget(url, max_bytes)
        while True:
            try:
                with self.stream(method, url, headers=headers, content=content, budget=budget) as stream:
                    body = b"".join(_capped(_unpacked(stream, max_bytes), stream, max_bytes))
                    response = Response(stream.status, stream.headers, body, url)
            except AddressError:
                raise
            except NetworkError as error:
                if not idempotent:
                    raise
                budget.failed(error)
                continue
            wait = _wait_asked(response, budget)
            if response.status not in RETRIED or not idempotent or wait > MAX_WAIT or not budget.another(wait):
                return response

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        budget: Budget | None = None,
    ) -> Iterator[Stream]:
        """One request, its answer read piece by piece. Nothing is tried again, no redirect followed.

        Raises:
            AddressError: the server must not be dialled.
            LimitError: what comes before the body is longer than the budget allows.
            NetworkError: the server cannot be reached, breaks off, or is too slow; also while the body is read.
        """
        guarded = origin_of(url) not in self.trusted_origins
        if guarded:
            check_scheme(url, self.allow_loopback)
        budget = budget or self.budget(url)
        budget.begin()
        host = split_url(url).netloc
        sent = {"accept-encoding": "identity", "user-agent": "atdata", "host": host, **(headers or {})}
        with closing(
            Exchange(method, url, sent, content, self.allow_loopback if guarded else None, budget)
        ) as exchange:
            yield Stream(exchange.status, exchange.headers, url, _counted(exchange.chunks(), budget))

    def websocket(self, url: str, max_message: int) -> WebSocket:
        """A connection over which a server sends messages. Nothing is tried again, no redirect followed.

        Raises:
            AddressError: the server must not be dialled.
            NetworkError: it cannot be reached, or does not speak WebSocket.
        """
        guarded = origin_of(http_form(url)) not in self.trusted_origins
        if guarded:
            check_scheme(http_form(url), self.allow_loopback)
        return WebSocket(
            url,
            max_message=max_message,
            allow_loopback=self.allow_loopback if guarded else None,
            silence=self.patience / 5,
            least_rate=self.least_rate,
        )

    def _perform(self, effect: Effect) -> Any:
        return lookup_txt(effect.name) if isinstance(effect, TxtLookup) else self.get(effect)


def encoding_of(header: str) -> str:
    """The encoding that a `Content-Encoding` says; empty where it says that nothing was done. Amazon's own says how it was sent."""
    names = [name.strip().lower() for name in header.split(",")]
    return ", ".join(name for name in names if name not in ("", "identity", "aws-chunked"))


def _counted(chunks: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    for chunk in chunks:
        budget.body_received(len(chunk))
        yield chunk


def _unpacked(stream: Stream, max_bytes: int) -> Iterator[bytes]:
    """A body without the compression that its server was asked not to use; no more of it than allowed."""
    if not stream.encoding:
        yield from stream.chunks
        return
    if stream.encoding not in ("gzip", "x-gzip", "deflate"):
        raise NetworkError("a server sent a compressed body", uri=stream.url, actual=stream.encoding)
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, as it says itself
    left, any_came = max_bytes + 1, False
    try:
        for chunk in stream.chunks:
            any_came = True
            piece = unpacking.decompress(chunk, left)
            left -= len(piece)
            yield piece
            if not left:
                return
    except zlib.error as error:
        raise NetworkError("a server sent a malformed compressed body", uri=stream.url) from error
    if any_came and not unpacking.eof:
        raise NetworkError(
            "a server ended a body early", uri=stream.url, actual="the end of what it compressed is missing"
        )


def _capped(chunks: Iterable[bytes], stream: Stream, max_bytes: int) -> Iterator[bytes]:
    """A body, not longer than allowed."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise LimitError("a server's answer is too long", uri=stream.url, expected=f"at most {max_bytes} bytes")
        yield chunk


def _wait_asked(response: Response, budget: Budget) -> float:
    """Seconds to wait: what the server asks for (`retry-after`, `ratelimit-reset`), else a growing pause."""
    after, reset = response.headers.get("retry-after", ""), response.headers.get("ratelimit-reset", "")
    if after.isdecimal():
        return float(after)
    if response.status == 429 and reset.isdecimal():
        return max(0.0, float(reset) - time.time())
    return backoff(budget.failures)
