"""Work that takes longer than a page may: done by a few threads, once for each key, and kept for a while."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")
log = logging.getLogger("atdata.preview")
Waiting: TypeAlias = Literal["pending", "busy", "unasked"]
"""Nothing yet: it is being done; too much else is; nobody asked for it."""


@dataclass
class _Job(Generic[T]):
    work: Callable[[], T]
    done: threading.Event
    found: T | None = None


class Background(Generic[T]):
    """Does work in threads that end with the process.

    Args:
        threads: how many.
        waiting: pieces of work that may wait for one.
        kept: results that are kept, the last ones.
        patience: seconds that whoever asks waits.
        lasting: seconds for which a result is kept.
    """

    def __init__(self, threads: int, waiting: int, kept: int, patience: float, lasting: Callable[[T], float]) -> None:
        self._lock, self._patience, self._kept, self._lasting = threading.Lock(), patience, kept, lasting
        self._queue: queue.Queue[tuple[Hashable, _Job[T]]] = queue.Queue(waiting)
        self._jobs: dict[Hashable, _Job[T]] = {}
        self._found: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._threads, self._started = threads, 0

    def ask(self, key: Hashable, work: Callable[[], T] | None) -> T | Waiting:
        """The result of the work of a key, or that there is none yet.

        Args:
            key: equal for equal work.
            work: begins where nobody has asked for it; it raises nothing. `None` begins nothing.
        """
        with self._lock:
            until, found = self._found.get(key, (0.0, None))
            if found is not None and time.monotonic() < until:
                self._found.move_to_end(key)
                return found
            job = self._jobs.get(key)
            if job is None:
                if work is None:
                    return "unasked"
                job = _Job(work, threading.Event())
                try:
                    self._queue.put_nowait((key, job))
                except queue.Full:
                    return "busy"
                self._jobs[key] = job
                if self._started < self._threads:
                    self._started += 1
                    threading.Thread(target=self._run, name="atdata-preview", daemon=True).start()
        job.done.wait(self._patience)
        return "pending" if job.found is None else job.found

    def _run(self) -> None:
        while True:
            key, job = self._queue.get()
            try:
                job.found = job.work()
            except Exception as error:
                log.error("a fault in the background", exc_info=error)
            finally:
                with self._lock:
                    del self._jobs[key]
                    if job.found is not None:
                        self._found[key] = time.monotonic() + self._lasting(job.found), job.found
                        self._found.move_to_end(key)
                    while len(self._found) > self._kept:
                        self._found.popitem(last=False)
                job.done.set()
