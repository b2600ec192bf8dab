"""Segments of memory that a worker lends to the process that reads its batches: arrays come there without being copied.

A segment is a memory file without a name (`memfd_create`), so none is left behind, whoever is killed. It begins with a
page of leases, a byte each: the worker sets one to `_LENT` for each batch that lies in the segment, the reader frees it when
nothing refers to that batch any more. Only then does the worker write to the segment again.

A reader who keeps many batches would take much of what there is of descriptors. So beyond `_MOST` lent segments, batches
are sent to be copied out; and beyond as many again, or where a system has no such files, they go through the pipe.
"""

from __future__ import annotations

import math
import mmap
import os
import secrets
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.errors import StorageError

Bytes: TypeAlias = NDArray[np.uint8]

_POOLED = 1 << 20  # bytes; less than that is had from malloc
_PAGE = 4096
_LEASES = _PAGE - 32  # bytes of the first page; then one that says that the segment is given up, then the token
_RETIRED, _TOKEN = _LEASES, _LEASES + 16
_FREE, _LENT, _TAKEN = range(3)
_MOST = 16
_IDLE = 64  # times that segments were taken, after which one that was not goes


class Lease(NamedTuple):
    """A segment as a reader is told of it.

    Attributes:
        process, descriptor: where its file is open.
        token: of the segment.
        number: of the lease in the first page.
        size: bytes of the file.
        kept: true if the reader may keep it, else it copies what it needs.
    """

    process: int
    descriptor: int
    token: bytes
    number: int
    size: int
    kept: bool


class _Segment:
    """A segment of this worker."""

    def __init__(self, size: int) -> None:
        self.token = secrets.token_bytes(16)
        self.descriptor = os.memfd_create("atdata", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, _PAGE + size)
            self.memory = mmap.mmap(self.descriptor, _PAGE + size)
        except OSError:
            os.close(self.descriptor)
            raise
        self.page = np.frombuffer(self.memory, np.uint8, _PAGE)
        self.page[_TOKEN:] = np.frombuffer(self.token, np.uint8)
        self.start = self.page.ctypes.data + _PAGE
        self.size, self.leases, self.used = size, 0, 0
        self._root: weakref.ref[Bytes] | None = None

    @property
    def free(self) -> bool:
        """True if nobody refers to it, here or there."""
        return (self._root is None or self._root() is None) and not self.lent

    @property
    def lent(self) -> bool:
        """True if a reader has it, or is about to."""
        return self.memory[: self.leases].count(_FREE) < self.leases

    def take(self, size: int) -> Bytes:
        """The first bytes of it. As long as anything refers to them it is not free."""
        root = np.frombuffer(self.memory, np.uint8, size, _PAGE)
        self.leases, self._root = 0, weakref.ref(root)
        return root

    def lend(self, kept: bool) -> Lease | None:
        """A new lease; `None` if there are no more."""
        if self.leases == _LEASES:
            return None
        self.page[self.leases] = _LENT
        self.leases += 1
        return Lease(os.getpid(), self.descriptor, self.token, self.leases - 1, _PAGE + self.size, kept)

    def retire(self) -> None:
        """Give it up."""
        self.page[_RETIRED] = 1
        os.close(self.descriptor)


class SegmentPool:
    """The segments of a worker. Its feeder thread sends batches while the main thread makes others."""

    def __init__(self) -> None:
        self._segments: list[_Segment] = []
        self._taken = 0
        self._lock = threading.RLock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array, uninitialized; in a segment if it is large and there is one."""
        size = math.prod(shape) * dtype.itemsize
        with self._lock:
            segment = self._find(size, _MOST) if size >= _POOLED else None
            if segment is not None:
                return segment.take(size).view(dtype).reshape(shape)
        return np.empty(shape, dtype)

    def lend(self, buffers: Sequence[Any]) -> tuple[list[Lease], list[tuple[int, int, int]]] | None:
        """The leases of the segments where buffers lie, and for each buffer which of these it is in, where, and its size.
        Those that lie in none are copied to one; `None` if there is no room.
        """
        arrays = [np.frombuffer(buffer, np.uint8) for buffer in buffers]
        with self._lock:
            homes = [self._home(array) for array in arrays]
            kept = sum(segment.lent for segment in self._segments) < _MOST
            if homeless := [array for array, home in zip(arrays, homes, strict=True) if home is None]:
                new = self._find(sum(_rounded(len(array)) for array in homeless), 2 * _MOST)
                if new is None:
                    return None
                root, offset = new.take(new.size), 0
                for number, (array, home) in enumerate(zip(arrays, homes, strict=True)):
                    if home is None:
                        root[offset : offset + len(array)] = array
                        homes[number] = new, offset
                        offset += _rounded(len(array))
            used = list({id(home[0]): home[0] for home in homes if home}.values())
            leases = [segment.lend(kept) for segment in used]
            if None in leases:
                for lease, segment in zip(leases, used, strict=True):
                    if lease is not None:
                        segment.page[lease.number] = _FREE
                return None
        places = [(used.index(home[0]), home[1], len(array)) for home, array in zip(homes, arrays, strict=True) if home]
        return [lease for lease in leases if lease], places

    def _home(self, array: Bytes) -> tuple[_Segment, int] | None:
        address = array.__array_interface__["data"][0]
        for segment in self._segments:
            if segment.start <= address < segment.start + segment.size:
                return segment, address - segment.start
        return None

    def _find(self, size: int, most: int) -> _Segment | None:
        """A free segment of about this size, or a new one, if there are fewer than `most`."""
        self._taken += 1
        for segment in self._segments:
            if size <= segment.size <= 4 * size + _POOLED and segment.free:
                segment.used = self._taken
                return segment
        for segment in [segment for segment in self._segments if segment.free]:
            if len(self._segments) >= most or self._taken - segment.used > _IDLE:
                segment.retire()
                self._segments.remove(segment)
        if len(self._segments) >= most:
            return None
        try:
            self._segments.append(_Segment(_stepped(size)))
        except (OSError, AttributeError):  # no memory, no descriptors, no such files
            return None
        self._segments[-1].used = self._taken
        return self._segments[-1]


def _rounded(size: int) -> int:
    """A size so that what comes behind begins at a cache line."""
    return -(-size // 64) * 64


def _stepped(size: int) -> int:
    """A size not much larger, of which there are few: what is nearly as large then fits too."""
    step = max(_PAGE, 1 << max(size.bit_length() - 3, 0))
    return -(-size // step) * step


pool: SegmentPool | None = None
"""The pool of this process, if it is a worker that lends."""


def begin_lending() -> None:
    """Have this worker lend from now on."""
    global pool
    if pool is None and _readable():
        pool = SegmentPool()


def _readable() -> bool:
    """True if another process can open what this one has open: as far as this one can see what its parent has."""
    try:
        os.scandir(f"/proc/{os.getppid()}/fd").close()
        descriptor = os.memfd_create("atdata", os.MFD_CLOEXEC)
        try:
            os.close(os.open(f"/proc/{os.getpid()}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC))
        finally:
            os.close(descriptor)
    except (OSError, AttributeError):
        return False
    return True


# The reader.


class _Attached(NamedTuple):
    process: int
    memory: mmap.mmap
    page: Bytes

    @property
    def over(self) -> bool:
        """True if nothing will be lent in it any more."""
        return bool(self.page[_RETIRED]) or not _lives(self.process)


class _Loan(weakref.ref[Bytes]):
    """A reference to what was received of a segment, which is given back when nothing else refers to it."""

    __slots__ = ("lease", "process", "segment")
    lease: Lease
    process: int
    segment: _Attached


_attached: dict[bytes, _Attached] = {}
_loans: dict[tuple[bytes, int], _Loan] = {}


def receive(leases: Sequence[Lease], places: Sequence[tuple[int, int, int]]) -> list[Bytes]:
    """The buffers that a worker has lent. When nothing refers to those of a lease any more, it is given back.

    Args:
        leases, places: what `SegmentPool.lend` gave.

    Raises:
        StorageError: the worker is gone, or they were received before.
    """
    segments = [_attached.get(lease.token) or _open(lease) for lease in leases]
    roots = []
    for lease, segment in zip(leases, segments, strict=True):
        if segment.page[lease.number] != _LENT:
            raise StorageError("a batch was received twice", actual=f"of process {lease.process}")
        segment.page[lease.number] = _TAKEN
        roots.append(root := np.frombuffer(segment.memory, np.uint8, lease.size - _PAGE, _PAGE))
        loan = _loans[lease.token, lease.number] = _Loan(root, _give_back)
        loan.lease, loan.process, loan.segment = lease, os.getpid(), segment
    parts = [(leases[number].kept, roots[number][start : start + size]) for number, start, size in places]
    return [part if kept else part.copy() for kept, part in parts]


def _give_back(loan: weakref.ref[Bytes]) -> None:
    if not isinstance(loan, _Loan) or loan.process != os.getpid():  # a forked child has copies of all references
        return
    _loans.pop((loan.lease.token, loan.lease.number), None)
    loan.segment.page[loan.lease.number] = _FREE
    if loan.segment.over:
        _detach_old()


def _open(lease: Lease) -> _Attached:
    _detach_old()
    try:
        descriptor = os.open(f"/proc/{lease.process}/fd/{lease.descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            memory = mmap.mmap(descriptor, lease.size)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise StorageError(
            "a batch cannot be read: its worker has ended", actual=f"process {lease.process}: {error}"
        ) from error
    page = np.frombuffer(memory, np.uint8, _PAGE)
    if page[_TOKEN:].tobytes() != lease.token:
        raise StorageError("a batch cannot be read: its worker has ended", actual=f"process {lease.process}")
    segment = _attached[lease.token] = _Attached(lease.process, memory, page)
    return segment


def _detach_old() -> None:
    for token, segment in list(_attached.items()):
        if segment.over:
            _attached.pop(token, None)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _forget() -> None:
    """Forget all, in a child that was forked: it has lent nothing, and received nothing."""
    global pool
    pool = None
    _attached.clear()
    _loans.clear()


os.register_at_fork(after_in_child=_forget)
