"""The work of an AppView beside answering: it follows upstreams, and makes what was left for later."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

from atdata.appview.ingest import Crew, Ingester, IngestPace
from atdata.replica import Replica
from atdata.search import SearchIndex
from atdata.settings import Settings
from atdata.trust.reading import LabelerReader

_PAUSE = 1.0


class Following:
    """Follows upstreams into a replica, in threads of its own, until the end of the block, which raises what it failed with.

    Args:
        replica: of `open_appview`.
        upstreams: roots of servers.
        doorbells: roots of Jetstream servers; without any upstream or doorbell nothing is followed.
        settings: in force.
        ended: ends it, and is set where it ends by itself.
        pace: how fast and how often.

    Attributes:
        ingester: that follows, if any does.

    Raises:
        UsageError: an upstream is no root of a server.
    """

    def __init__(
        self,
        replica: Replica,
        upstreams: Sequence[str],
        settings: Settings,
        ended: threading.Event,
        *,
        doorbells: Sequence[str] = (),
        pace: IngestPace | None = None,
    ) -> None:
        self._replica, self._crew = replica, Crew(ended)
        follows = bool(upstreams or doorbells)
        self.ingester = Ingester(replica, upstreams, settings, pace, doorbells=doorbells) if follows else None
        self._labelers = LabelerReader(replica, settings)

    def _catch_up(self) -> None:
        """Make the documents of a search that were left for later."""
        ended, search = self._crew.stopping, SearchIndex()
        while not ended.wait(_PAUSE):
            while not ended.is_set() and self._replica.read(lambda reading: search.is_behind(reading.sql)):
                self._replica.write(lambda writing: search.catch_up(writing.sql))

    def __enter__(self) -> Self:
        if self.ingester is not None:
            self._crew.start("ingester", self.ingester.run)
            self._crew.start("search", self._catch_up)
            self._crew.start("labelers", self._labelers.run, self._crew.stopping)
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stopping.set()
        if self.ingester is not None:
            self.ingester.stop()
        self._crew.join()
