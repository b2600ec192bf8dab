"""A queue of frames between those who read and the one who applies; bounded, so that a reader waits."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_FRAMES = 4000
MAX_BYTES = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class Interruption:
    """The end of a connection to an upstream, after the frames that came over it.

    Attributes:
        too_large: whether a frame was not taken for its size.
        applied: set once all that came before is durable.
    """

    too_large: bool = False
    applied: threading.Event = field(default_factory=threading.Event)


Item: TypeAlias = "tuple[int, bytes | Interruption]"
"""The number of an upstream, and what came from it."""


class FrameQueue:
    """Frames in the order in which they came."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._bytes, self._changed, self._ended = 0, threading.Condition(), False

    def put(self, upstream: int, item: bytes | Interruption) -> bool:
        """Add something, once there is room; `False` where the queue has ended."""
        size = len(item) if isinstance(item, bytes) else 0
        with self._changed:
            while not self._ended and self._items and self._is_full(size):
                self._changed.wait()
            if not self._ended:
                self._items.append((upstream, item))
                self._bytes += size
                self._changed.notify_all()
            return not self._ended

    def _is_full(self, size: int) -> bool:
        return len(self._items) >= MAX_FRAMES or self._bytes + size > MAX_BYTES

    def take(self, most: int, wait: float) -> list[Item]:
        """The next ones; none where none came in time, or where the queue has ended."""
        with self._changed:
            if not self._items and not self._ended:
                self._changed.wait(wait)
            if self._ended:
                return []
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._bytes -= sum(len(item) for _, item in taken if isinstance(item, bytes))
            self._changed.notify_all()
            return taken

    def __len__(self) -> int:
        return len(self._items)

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
