"""The work of an AppView beside answering: it follows upstreams, and makes what was left for later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Self

from atdata.appview.ingest import Ingester
from atdata.errors import AtdataError
from atdata.replica import Replica
from atdata.search import SearchIndex
from atdata.settings import Settings

_PAUSE = 1.0


class Following:
    """Follows upstreams into a replica, in threads of its own, until the end of the block.

    Args:
        replica: of `open_appview`.
        upstreams: roots of servers; without any, nothing is followed.
        settings: in force.
        ended: is set where it ends by itself.

    Attributes:
        failure: why it ended by itself, if it did.

    Raises:
        UsageError: an upstream is no root of a server.
    """

    def __init__(self, replica: Replica, upstreams: Sequence[str], settings: Settings, ended: threading.Event) -> None:
        self._replica, self._ended, self._stopping = replica, ended, threading.Event()
        self._ingester = Ingester(replica, upstreams, settings) if upstreams else None
        works = [self._ingester.run, self._catch_up] if self._ingester is not None else []
        self._threads = [threading.Thread(target=self._run, args=[work], daemon=True) for work in works]
        self.failure: BaseException | None = None

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised by `check`, in the thread that waits
            self.failure = self.failure or error
        finally:
            self._ended.set()

    def _catch_up(self) -> None:
        """Make the documents of a search that were left for later."""
        pending = "SELECT 1 FROM search_pending LIMIT 1"
        while not self._stopping.wait(_PAUSE):
            while not self._stopping.is_set() and self._replica.read(lambda reading: reading.sql.first(pending)):
                self._replica.write(lambda writing: SearchIndex().catch_up(writing.sql))

    def check(self) -> None:
        """Raise what it ended with, if it did.

        Raises:
            AtdataError: the database failed, or another process took over.
        """
        if isinstance(self.failure, AtdataError):
            raise self.failure
        if self.failure is not None:
            raise AssertionError("ingest has failed") from self.failure

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._ingester is not None:
            self._ingester.stop()
        for thread in self._threads:
            thread.join()
