"""Connections over `httpcore`, shared by the process: guarded as they are dialled, and held to a budget byte by byte."""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from atdata.errors import AddressError, AtdataError, MissingExtraError, NetworkError, UsageError, bare
from atdata.transport.budget import Budget
from atdata.transport.guard import to_dial

if TYPE_CHECKING:
    import ssl

    import httpcore

CONNECT_TIMEOUT = 10.0
_TOO_SLOW = "a server is too slow"


class Exchange:
    """A request and its answer, whose body is still to be read, and which anybody may drop.

    What is dropped the garbage collector closes. It runs anywhere, so also in a thread that holds the lock of
    httpcore's pool, and closing would wait there for that lock for ever. So what httpcore gives is held in `_open`, where
    no collector finds it, until it is closed here; and a thread that is inside httpcore closes nothing, but leaves it
    in `_left` for the next request.

    Args:
        method: of the request.
        url: http or https.
        headers: all that is sent.
        content: the body, or what makes it, so that nobody else holds a password in it.
        allow_loopback: what the guard lets pass; `None` dials anything.
        budget: what it may take.

    Raises:
        AddressError: the server must not be dialled.
        LimitError: what it sends before the body is longer than allowed.
        NetworkError: it cannot be reached, breaks off, or is too slow.
        UsageError: a header cannot be sent.
    """

    _open: ClassVar[set[Exchange]] = set()
    _left: ClassVar[deque[Exchange]] = deque()

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | Callable[[], Iterable[bytes]] | None,
        allow_loopback: bool | None,
        budget: Budget,
    ) -> None:
        self._process, self._stack, self._budget = os.getpid(), ExitStack(), budget
        self._close_left()
        for name, value in headers.items():
            if not re.fullmatch(r"[\t -~]*", value):
                raise UsageError("a request header is invalid", path=name, expected="ASCII, in one line")
        read = budget.patience / 10
        timeout = {"connect": min(CONNECT_TIMEOUT, read), "read": read, "write": read, "pool": read}
        with _Inside(budget, url):
            asked: AbstractContextManager[httpcore.Response] = _pool(allow_loopback).stream(
                method,
                url,
                headers=list(headers.items()),
                content=content() if callable(content) else content,
                extensions={"timeout": timeout},
            )
            self._url, answer = url, self._stack.enter_context(asked)
            self._body = answer.iter_stream()
            self._open.add(self)
        budget.body_begins()
        self.status = answer.status
        self.headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in answer.headers}

    def chunks(self) -> Iterator[bytes]:
        """The body.

        Raises:
            NetworkError: it breaks off, or comes too slowly.
        """
        while True:
            with _Inside(self._budget, self._url):
                chunk = next(self._body, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        """Give the connection back, now or before the next request."""
        if self._process != os.getpid():
            return  # the connection is the parent's, and its lock may have been held when it forked
        if _Inside.now():
            self._left.append(self)
            return
        with _Inside(None, self._url):
            self._stack.close()
        self._open.discard(self)

    @classmethod
    def close_all(cls) -> None:
        """Close what is still open, as the process ends."""
        for exchange in list(cls._open):
            exchange.close()

    @classmethod
    def _close_left(cls) -> None:
        if not _Inside.now():
            with suppress(IndexError):  # empty; other threads do the same
                while True:
                    cls._left.popleft().close()


class _Inside:
    """Runs httpcore's code in this thread on a budget; what goes wrong is one of our errors."""

    __slots__ = ("_before", "_budget", "_url")
    _thread: ClassVar[threading.local] = threading.local()

    def __init__(self, budget: Budget | None, url: str) -> None:
        self._budget, self._url = budget, url

    def __enter__(self) -> None:
        self._before = getattr(self._thread, "entered", None)
        self._thread.entered = self
        if self._budget:
            self._budget.__enter__()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._thread.entered = self._before
        if self._budget:
            self._budget.__exit__()
        if isinstance(error, Exception) and not isinstance(error, AtdataError) and _is_drivers(error):
            actual = f"{type(error).__name__}: {error}".rstrip(": ")
            raise NetworkError(
                "a server cannot be reached, or dropped the connection",
                uri=self._url,
                actual=actual,
                hint="Check the address and the network.",
            ) from bare(error)
        if isinstance(error, AtdataError):
            bare(error)  # it came through the driver's frames as well

    @classmethod
    def now(cls) -> bool:
        """True if this thread is executing httpcore's code."""
        return getattr(cls._thread, "entered", None) is not None

    @classmethod
    def budget(cls) -> Budget | None:
        """The budget of the request that this thread is making."""
        entered: _Inside | None = getattr(cls._thread, "entered", None)
        return None if entered is None else entered._budget


def _is_drivers(error: Exception) -> bool:
    """True if an error is the driver's own; a source of a request's content has others."""
    import h11
    import httpcore

    return isinstance(
        error,
        httpcore.NetworkError
        | httpcore.TimeoutException
        | httpcore.ProtocolError
        | httpcore.UnsupportedProtocol
        | h11.ProtocolError,  # content that is not as long as was said
    )


# Connections belong to the process, not to a transport: they hold no identity, and all may share them. They do not
# survive a fork; the child opens its own.
_pools: dict[tuple[int, bool | None], Any] = {}


def _pool(allow_loopback: bool | None) -> Any:
    """The process's connections; `None` dials anything, otherwise each address is checked."""
    key = (os.getpid(), allow_loopback)
    if key not in _pools:
        _pools.setdefault(key, _open_pool(allow_loopback))
    return _pools[key]


@atexit.register
def _close_pools() -> None:
    Exchange.close_all()
    for (pid, _), pool in _pools.items():
        if pid == os.getpid():
            with _Inside(None, ""):
                pool.close()


def _open_pool(allow_loopback: bool | None) -> Any:
    context = tls_context()
    import httpcore

    return httpcore.ConnectionPool(
        ssl_context=context, network_backend=_backend(allow_loopback), max_connections=32, keepalive_expiry=20
    )


def tls_context() -> ssl.SSLContext:
    """A client's side of TLS, with the authorities that are trusted here.

    Raises:
        MissingExtraError: what brings them is not installed.
    """
    try:
        import certifi
        import httpcore  # noqa: F401  comes with the same extra
    except ImportError as error:
        raise MissingExtraError.of("atmosphere", "Reading over HTTP") from error
    import ssl

    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ:  # some Pythons ship without access to the system's authorities
        context.load_verify_locations(certifi.where())
    return context


def _backend(allow_loopback: bool | None) -> httpcore.NetworkBackend:
    """The backend that opens connections: `None` dials anything, otherwise each address is checked."""
    import httpcore

    def within(timeout: float | None, late: type[Exception]) -> float | None:
        """The seconds that one call may take."""
        budget = _Inside.budget()
        if budget is None:
            return timeout
        left = budget.within(timeout)
        if left <= 0:
            raise late(_TOO_SLOW)
        return left

    class Counted(httpcore.NetworkStream):
        """A connection whose bytes and waits are counted against the request's budget."""

        def __init__(self, stream: httpcore.NetworkStream) -> None:
            self._stream = stream

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            try:
                data = self._stream.read(max_bytes, within(timeout, httpcore.ReadTimeout))
            except httpcore.ReadTimeout:
                within(timeout, httpcore.ReadTimeout)  # says so where it was patience that ended
                raise
            if budget := _Inside.budget():
                budget.received(len(data))
            return data

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            socket, rest = self._stream.get_extra_info("socket"), memoryview(buffer)
            while rest:  # piece by piece: the stream's own loop gives each piece the whole time
                socket.settimeout(within(timeout, httpcore.WriteTimeout))
                try:
                    count = socket.send(rest)
                except TimeoutError as error:
                    raise httpcore.WriteTimeout(str(error)) from error
                except OSError as error:
                    raise httpcore.WriteError(str(error)) from error
                rest = rest[count:]
                if budget := _Inside.budget():
                    budget.sent(count)

        def start_tls(
            self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> httpcore.NetworkStream:
            left = within(timeout, httpcore.ConnectTimeout)
            return Counted(self._stream.start_tls(ssl_context, server_hostname, left))

        def get_extra_info(self, info: str) -> Any:
            return self._stream.get_extra_info(info)

        def close(self) -> None:
            self._stream.close()

    class Dialling(httpcore.SyncBackend):
        """Resolves a name itself. Where guarded, dials only an address that passed the check."""

        def connect_tcp(
            self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
        ) -> httpcore.NetworkStream:
            failure: Exception = AddressError(
                "a host name does not resolve", actual=host, hint="Check the name and the network."
            )
            for address in to_dial(host, allow_loopback):
                left = within(timeout, httpcore.ConnectTimeout)
                try:
                    return Counted(super().connect_tcp(str(address), port, left, *args, **kwargs))
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failure = error
            raise failure

    return Dialling()
