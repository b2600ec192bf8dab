"""HTTP over `httpcore`: pooled, capped in bytes and time, patient, and never led astray.

A server that the caller spelled out (an argument or a setting) is dialled as it is. Every other address came
from a record, a DID document or a redirect, and passes the guard.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from atdata.errors import AddressError, LimitError, MissingExtraError, NetworkError
from atdata.transport.dns import lookup_txt
from atdata.transport.guard import check_address, check_scheme, origin_of, resolve
from atdata.transport.steps import SMALL, Effect, Get, Steps, TxtLookup, drive

if TYPE_CHECKING:
    import httpcore

T = TypeVar("T")

MAX_REDIRECTS = 5
TRIES = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_WAIT = 120.0
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
SLOWEST = 50_000  # bytes per second under which a long answer counts as stalled
MAX_ADDRESSES = 4  # of one name: each may take CONNECT_TIMEOUT


@dataclass(frozen=True)
class Response:
    """A whole answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass
class Stream:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Transport:
    """Everything that leaves the process goes through one of these. It pickles, and survives a fork.

    Attributes:
        allow_loopback: strangers' addresses may be plain http, on this machine.
        spelled: origins that the caller spelled out.
        sleep: how to wait between tries.
    """

    allow_loopback: bool = False
    spelled: frozenset[str] = frozenset()
    sleep: Callable[[float], None] = time.sleep

    def trusting(self, *urls: str) -> Transport:
        """A transport to which these servers too are spelled out by the caller."""
        return Transport(self.allow_loopback, self.spelled | {origin_of(url) for url in urls}, self.sleep)

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
        asked = origin_of(url)
        for hop in range(MAX_REDIRECTS + 1):
            headers = request.headers if origin_of(url) == asked else {}  # what was meant for one is not told another
            response = self.send("GET", url, headers=headers, max_bytes=request.max_bytes)
            location = response.headers.get("location")
            if response.status not in REDIRECTS or not location:
                break
            if hop == MAX_REDIRECTS:
                raise NetworkError("a server redirects in circles", uri=url)
            url = urljoin(url, location)
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
    ) -> Response:
        """One request and its whole answer, whatever its status; no redirect is followed.

        An idempotent request is tried again, with growing pauses, after a failed connection and after 429 and 5xx.
        A callable `content` is called once for each try.

        Raises:
            AddressError: the server must not be dialled.
            LimitError: the answer is longer than `max_bytes`.
            NetworkError: the server cannot be reached, or breaks off.
        """
        for attempt in range(TRIES if idempotent else 1):
            last = attempt == (TRIES if idempotent else 1) - 1
            try:
                with self.stream(method, url, headers=headers, content=content, max_bytes=max_bytes) as stream:
                    response = Response(stream.status, stream.headers, b"".join(stream.chunks), url)
            except AddressError:
                raise
            except NetworkError:
                if last:
                    raise
                self.sleep(backoff(attempt))
                continue
            wait = _wait_asked(response, attempt)
            if response.status not in RETRIED or last or wait > MAX_WAIT:
                return response
            self.sleep(wait)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        max_bytes: int | None = None,
    ) -> Iterator[Stream]:
        """One request, its answer read piece by piece. Nothing is tried again, no redirect followed."""
        guarded = origin_of(url) not in self.spelled
        if guarded:
            check_scheme(url, self.allow_loopback)
        sent = {"accept-encoding": "identity", "user-agent": "atdata", "host": _host(url), **(headers or {})}
        body = content() if callable(content) else content
        timeout = {"connect": CONNECT_TIMEOUT, "read": READ_TIMEOUT, "write": READ_TIMEOUT, "pool": READ_TIMEOUT}
        with _network_errors(url):
            asked = _pool(self.allow_loopback if guarded else None).stream(
                method, url, headers=list(sent.items()), content=body, extensions={"timeout": timeout}
            )
            with closing(_Exchange(asked)) as exchange:
                answer = exchange.answer
                fields = {name.decode("latin1").lower(): value.decode("latin1") for name, value in answer.headers}
                yield Stream(answer.status, fields, url, _capped(exchange.chunks(), url, max_bytes))

    def _perform(self, effect: Effect) -> Any:
        return lookup_txt(effect.name) if isinstance(effect, TxtLookup) else self.get(effect)


class _Exchange:
    """A request and its answer, whose body is still to be read, and which anybody may drop.

    What is dropped the garbage collector closes. It runs anywhere, so also in a thread that holds the lock of
    httpcore's pool, and closing would wait there for that lock for ever. So what httpcore gives is held in `_open`, where
    no collector finds it, until it is closed here; and a thread that is inside httpcore closes nothing, but leaves it
    in `_left` for the next request.
    """

    _open: ClassVar[set[_Exchange]] = set()
    _left: ClassVar[deque[_Exchange]] = deque()
    _thread: ClassVar[threading.local] = threading.local()

    def __init__(self, asked: AbstractContextManager[httpcore.Response]) -> None:
        self._process, self._stack = os.getpid(), ExitStack()
        self._close_left()
        with self.inside():
            self.answer = self._stack.enter_context(asked)
            self._body = self.answer.iter_stream()
            self._open.add(self)

    def chunks(self) -> Iterator[bytes]:
        """The body."""
        while True:
            with self.inside():
                chunk = next(self._body, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        """Give the connection back, now or before the next request."""
        if self._process != os.getpid():
            return  # the connection is the parent's, and its lock may have been held when it forked
        if self._is_inside():
            self._left.append(self)
            return
        with self.inside():
            self._stack.close()
        self._open.discard(self)

    @classmethod
    def close_all(cls) -> None:
        """Close what is still open, as the process ends."""
        for exchange in list(cls._open):
            exchange.close()

    @classmethod
    @contextmanager
    def inside(cls) -> Generator[None]:
        """While this thread executes httpcore's code."""
        before, cls._thread.inside = cls._is_inside(), True
        try:
            yield
        finally:
            cls._thread.inside = before

    @classmethod
    def _is_inside(cls) -> bool:
        return getattr(cls._thread, "inside", False)

    @classmethod
    def _close_left(cls) -> None:
        if not cls._is_inside():
            with suppress(IndexError):  # empty; other threads do the same
                while True:
                    cls._left.popleft().close()


# Connections belong to the process, not to a transport: they hold no identity, and all may share them. They do not
# survive a fork; the child opens its own.
_pools: dict[tuple[int, bool | None], Any] = {}


def _pool(allow_loopback: bool | None) -> Any:
    """The process's connections; `None` dials anything, otherwise the guard stands at the door."""
    key = (os.getpid(), allow_loopback)
    if key not in _pools:
        _pools.setdefault(key, _open_pool(allow_loopback))
    return _pools[key]


@atexit.register
def _close_pools() -> None:
    _Exchange.close_all()
    for (pid, _), pool in _pools.items():
        if pid == os.getpid():
            with _Exchange.inside():
                pool.close()


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _open_pool(allow_loopback: bool | None) -> Any:
    try:
        import certifi
        import httpcore
    except ImportError as error:
        raise MissingExtraError.of("atmosphere", "Reading over HTTP") from error
    import ssl

    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ:  # some Pythons ship without access to the system's authorities
        context.load_verify_locations(certifi.where())
    return httpcore.ConnectionPool(
        ssl_context=context, network_backend=_backend(allow_loopback), max_connections=32, keepalive_expiry=20
    )


def _backend(allow_loopback: bool | None) -> httpcore.NetworkBackend:
    """What opens connections: `None` dials anything, otherwise the guard stands at the door."""
    import httpcore

    class Watched(httpcore.NetworkStream):
        """A connection that is given up where an answer dribbles: each byte in time, but all of them never."""

        def __init__(self, stream: httpcore.NetworkStream) -> None:
            self._stream = stream
            self._waited, self._received = 0.0, 0

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            began = time.monotonic()
            data = self._stream.read(max_bytes, timeout)
            self._waited += time.monotonic() - began
            self._received += len(data)
            if self._waited > 2 * READ_TIMEOUT + self._received / SLOWEST:
                raise httpcore.ReadTimeout("a server sends too slowly")
            return data

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._waited, self._received = 0.0, 0  # another request begins
            self._stream.write(buffer, timeout)

        def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            return Watched(self._stream.start_tls(*args, **kwargs))

        def get_extra_info(self, info: str) -> Any:
            return self._stream.get_extra_info(info)

        def close(self) -> None:
            self._stream.close()

    class Dialling(httpcore.SyncBackend):
        """Where guarded, resolves a name itself and dials only an address that passed the check."""

        def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            if allow_loopback is None:
                return Watched(super().connect_tcp(host, *args, **kwargs))
            failure: Exception = AddressError("a server's name does not resolve", actual=host)
            for address in resolve(host)[:MAX_ADDRESSES]:
                check_address(address, host, allow_loopback)
                try:
                    return Watched(super().connect_tcp(str(address), *args, **kwargs))
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failure = error
            raise failure

    return Dialling()


@contextmanager
def _network_errors(url: str) -> Generator[None]:
    """Turn the driver's exceptions into ours."""
    import httpcore

    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise NetworkError(
            "a server cannot be reached, or broke off", uri=url, actual=f"{type(error).__name__}: {error}".rstrip(": ")
        ) from error


def _capped(chunks: Iterable[bytes], url: str, max_bytes: int | None) -> Iterator[bytes]:
    """A body, not longer than allowed."""
    total = 0
    with _network_errors(url):  # it is read where `stream` no longer sees what goes wrong
        for chunk in chunks:
            total += len(chunk)
            if max_bytes is not None and total > max_bytes:
                raise LimitError("a server's answer is too long", uri=url, expected=f"at most {max_bytes} bytes")
            yield chunk


def backoff(attempt: int) -> float:
    """Seconds to wait before another try: growing, and a little random."""
    spread = 0.5 + random.random() / 2  # noqa: S311  not a secret: clients that failed together come back apart
    return min(0.25 * 2.0**attempt, 8.0) * spread


def _wait_asked(response: Response, attempt: int) -> float:
    """Seconds to wait: what the server asks for (`retry-after`, `ratelimit-reset`), else a growing pause."""
    after, reset = response.headers.get("retry-after", ""), response.headers.get("ratelimit-reset", "")
    if after.isdecimal():
        return float(after)
    if response.status == 429 and reset.isdecimal():
        return max(0.0, float(reset) - time.time())
    return backoff(attempt)
