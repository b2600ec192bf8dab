"""Kinds whose values a library takes long to write and to read, and the memory of a trial, which makes the same again and
again.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from atdata.samples.kinds.kind import Derived, FieldType, Misfit
from atdata.samples.kinds.scalars import Scalar

MOST = 1 << 26
"""Bytes in a memory: past them it begins anew."""


class Costly(Derived):
    """A kind whose values are stored as the bytes of a library. To write or read them takes many times as long as to look at
    or copy them, so that `remembering` does each once.
    """

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("bytes")

    def to_bytes(self, value: Any) -> bytes:
        """The bytes of a value. Raises `Misfit`."""
        raise NotImplementedError

    def from_bytes(self, data: bytes) -> Any:
        """The value in bytes. Raises `Misfit`."""
        raise NotImplementedError

    def state(self, value: Any) -> bytes | None:
        """All that the bytes of a value are made of; `None` where that is not known. Raises `Misfit`."""
        return _pickled(value)

    def copier(self, value: Any, pickled: bytes) -> Callable[[], Any]:
        """Makes copies of a value that share nothing that may change.

        Args:
            value: as the library read it.
            pickled: the same.
        """
        return partial(pickle.loads, pickled)

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        memory = _memory.get()
        return self.to_bytes(value) if memory is None else memory.written(self, value)

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        memory = _memory.get()
        return self.from_bytes(stored) if memory is None or type(stored) is not bytes else memory.read(self, stored)


class Memory:
    """The values of costly kinds that were written and read, each once. A value is known by its state alone, never by its
    identity: one that was changed in place is another. Whoever reads bytes again gets a copy.
    """

    def __init__(self) -> None:
        self._written: dict[tuple[Costly, bytes], bytes] = {}
        self._read: dict[tuple[Costly, bytes], Callable[[], Any]] = {}
        self._size = 0

    def written(self, kind: Costly, value: Any) -> bytes:
        """The bytes of a value."""
        state = kind.state(value)
        if state is None:
            return kind.to_bytes(value)
        found = self._written.get((kind, state))
        if found is None:
            found = kind.to_bytes(value)
            self._make_room(len(state) + len(found))
            self._written[kind, state] = found
        return found

    def read(self, kind: Costly, data: bytes) -> Any:
        """The value in bytes, which nobody else has."""
        copy = self._read.get((kind, data))
        if copy is None:
            value = kind.from_bytes(data)
            if (pickled := _pickled(value)) is None:
                return value
            copy = kind.copier(value, pickled)
            try:
                if self.written(kind, copy()) != kind.to_bytes(value):
                    return value
            except Misfit:  # what is read cannot always be written
                return value
            self._make_room(len(data) + 2 * len(pickled))
            self._read[kind, data] = copy
        return copy()

    def _make_room(self, size: int) -> None:
        self._size += size
        if self._size > MOST:
            self._written.clear()
            self._read.clear()
            self._size = size


_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Write and read equal values of costly kinds once, in this thread. What comes out is the same as without."""
    token = _memory.set(_memory.get() or Memory())
    try:
        yield
    finally:
        _memory.reset(token)


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001  a value may hold any objects
        return None
