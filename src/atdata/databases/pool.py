"""Connections of a driver that the threads of a process share. A fork begins with none, and leaves its parent's alone."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

_PATIENCE = 60.0  # seconds that a fork waits for calls of other threads


class Pooled(Protocol):
    """A connection of a driver."""

    @property
    def closed(self) -> bool:
        """True if it is of no more use."""

    def close(self) -> None:
        """End it."""


C = TypeVar("C", bound=Pooled)


class Pool(Generic[C]):
    """Connections, each for one thread at a time; a thread waits where all are taken.

    Args:
        most: the number of connections at which threads wait.
        at_fork: whether those that are idle may be open while the process is forked.
    """

    def __init__(self, most: int, *, at_fork: bool = True) -> None:
        self._most = most
        self.at_fork = at_fork
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._free = threading.BoundedSemaphore(self._most)
        self._lock = threading.Lock()
        self._open: set[C] = set()
        self._idle: list[C] = []
        self._generation = 0
        self._process = os.getpid()

    @contextmanager
    def taken(self, connect: Callable[[], C], stale: Callable[[C], bool] | None = None) -> Iterator[C]:
        """A connection, until the end of the block. One that is closed then is forgotten.

        Args:
            connect: makes one where none is idle.
            stale: says of an idle one that it must not be used any more.
        """
        with self._free:
            generation = self._generation
            connection = self._take(stale) or connect()
            with self._lock:
                self._open.add(connection)
            try:
                yield connection
            finally:
                self._give_back(connection, generation)

    def _take(self, stale: Callable[[C], bool] | None) -> C | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if stale is None or not stale(connection):
                return connection
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _give_back(self, connection: C, generation: int) -> None:
        if self._process != os.getpid() or connection not in self._open:
            return  # this process was forked meanwhile
        with self._lock:
            keep = generation == self._generation and not connection.closed
            if keep:
                self._idle.append(connection)
            else:
                self._open.discard(connection)
        if not keep:
            connection.close()

    def close(self) -> None:
        """Close the connections: those that are taken when they are given back."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
            self._open.difference_update(idle)
        for connection in idle:
            connection.close()

    def forked(self) -> None:
        """Begin anew in a child process. The parent's connections stay as they are: closing one, if only as garbage, would end it there."""
        _abandoned.append(self._open)
        self._begin()


class _Forks:
    """Forks wait until no other thread is in a call that would be cut in half, and such calls begin after them."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._calls: Counter[int] = Counter()  # of each thread
        self._forking = False

    def begin_call(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._forking and me not in self._calls:  # who is in a call already is waited for
                self._changed.wait()
            self._calls[me] += 1

    def end_call(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._calls[me] -= 1
            if self._calls[me] <= 0:
                del self._calls[me]
            self._changed.notify_all()

    def before(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._forking = True
            self._changed.wait_for(lambda: self._calls.keys() <= {me}, _PATIENCE)
        for pool in list(_pools):
            if not pool.at_fork:
                pool.close()

    def in_parent(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def in_child(self) -> None:
        calls = self._calls[threading.get_ident()]
        self._begin()
        if calls:
            self._calls[threading.get_ident()] = calls
        for pool in list(_pools):
            pool.forked()


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
_abandoned: list[object] = []
_forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)


@contextmanager
def whole_at_forks() -> Iterator[None]:
    """Do all of a block before, or after, any fork of this process by another thread."""
    _forks.begin_call()
    try:
        yield
    finally:
        _forks.end_call()
