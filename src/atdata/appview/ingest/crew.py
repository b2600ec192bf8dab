"""Threads that end together: what one of them fails with ends all, and is raised where they are waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Crew:
    """Threads with one end.

    Args:
        stopping: ends them; one of their own by default.

    Attributes:
        stopping: set once they are to end.
    """

    def __init__(self, stopping: threading.Event | None = None) -> None:
        self.stopping = stopping or threading.Event()
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def start(self, name: str, work: Callable[..., None], *args: Any) -> None:
        """Let a thread do some work, which returns soon after `stopping` is set."""

        def guarded() -> None:
            try:
                work(*args)
            except BaseException as error:  # noqa: BLE001  it is raised again by `join`
                self._failure = self._failure or error
                self.stopping.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until all have ended. Raises what one of them failed with."""
        while not self.stopping.wait(0.5):
            pass
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
