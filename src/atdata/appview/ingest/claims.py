"""The bounds of comparisons: accounts, servers, memory and time that those of one process take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atdata.atproto.syntax import Did
from atdata.errors import LimitError, NetworkError
from atdata.replica.reading import BehindMark

AT_ONE_SERVER = 4
"""Repositories that are compared with one server at a time."""
LONG = 15.0
"""Seconds after which a comparison takes long; those that do have to be few."""
IN_LINE = 1.0
"""Seconds that are waited for a server's turn, before another repository is taken."""
SMALL = 1 << 25
"""Bytes that each comparison may hold; those that hold more have to be few."""
MOST_HELD = 1 << 29
"""Bytes that one may hold."""
LARGE_AT_ONCE = 2


class NoRoomError(Exception):
    """Too many comparisons hold much memory already."""


class Claims:
    """The accounts that are being compared just now, the servers that are asked, memory and time; of this process.

    Args:
        workers: how many compare at once; half of them are kept from what takes long.
    """

    def __init__(self, workers: int) -> None:
        self._changed = threading.Condition()
        self._accounts = set[Did]()
        self._servers = Counter[str]()
        self._failing = set[str]()
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self._mine = threading.local()
        self._long = threading.BoundedSemaphore(max(1, workers // 2))

    def account(self, marks: list[BehindMark]) -> BehindMark | None:
        """Take the first that nobody has."""
        with self._changed:
            free = next((mark for mark in marks if mark.did not in self._accounts), None)
            if free is not None:
                self._accounts.add(free.did)
            return free

    def leave(self, did: Did) -> None:
        """Give an account back."""
        with self._changed:
            self._accounts.discard(did)

    @contextmanager
    def server(self, url: str) -> Iterator[bool]:
        """A place among those who ask a server; `False` where none is free in time. One that failed last has one place."""
        with self._changed:
            most = 1 if url in self._failing else AT_ONE_SERVER
            free = self._changed.wait_for(lambda: self._servers[url] < most, IN_LINE)
            self._servers[url] += free
        try:
            yield free
            self._failing.discard(url)
        except NetworkError:
            self._failing.add(url)
            raise
        finally:
            with self._changed:
                self._servers[url] -= free
                self._servers += Counter[str]()  # drops those that nobody asks
                self._changed.notify_all()

    @contextmanager
    def time(self, stopping: threading.Event) -> Iterator[None]:
        """Time for one comparison in this thread, which `watch` measures; it ends where all are to end."""
        self._mine.begun, self._mine.is_long, self._mine.stopping = time.monotonic(), False, stopping
        try:
            yield
        finally:
            if self._mine.is_long:
                self._long.release()

    def watch(self) -> None:
        """Go on waiting for a server, in a comparison of this thread.

        Raises:
            NetworkError: it takes long, and so do others just now; or all are to end.
        """
        mine = self._mine
        if mine.stopping.is_set():
            raise NetworkError("a server is waited for no longer")
        if not mine.is_long and time.monotonic() - mine.begun > LONG:
            mine.is_long = self._long.acquire(blocking=False)
            if not mine.is_long:
                raise NetworkError("a server takes longer than there is time for", expected=f"at most {LONG:.0f} s")

    @contextmanager
    def memory(self) -> Iterator[Callable[[int], None]]:
        """Memory for one comparison: what it gives is told of all bytes that are held, before they are.

        Raises:
            NoRoomError: they are many, and others hold many just now.
            LimitError: they are more than is ever held.
        """
        held, is_large = 0, False

        def reserve(count: int) -> None:
            nonlocal held, is_large
            held += count
            if held > MOST_HELD:
                raise LimitError("a repository is too large to compare", expected=f"at most {MOST_HELD} bytes")
            if held > SMALL and not is_large:
                is_large = self._large.acquire(blocking=False)
                if not is_large:
                    raise NoRoomError

        try:
            yield reserve
        finally:
            if is_large:
                self._large.release()
