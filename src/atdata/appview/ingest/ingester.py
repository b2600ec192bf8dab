"""The one process that follows upstreams into a database."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atdata.appview.ingest.accounts import settle
from atdata.appview.ingest.applier import Applier
from atdata.appview.ingest.crew import Crew
from atdata.appview.ingest.doorbell import Doorbell, doorbell_url
from atdata.appview.ingest.frames import FrameQueue
from atdata.appview.ingest.lease import IngestLease
from atdata.appview.ingest.listing import Lister
from atdata.appview.ingest.reconciling import IDENTITY_AGE, Reconciler
from atdata.appview.ingest.upstream import Upstream, UpstreamReader, upstream_url
from atdata.replica import Replica, Writing, now
from atdata.replica.changes import prune_log
from atdata.settings import Settings
from atdata.transport import Transport

log = logging.getLogger("atdata.appview.ingest")

NOTED_EVERY = 60.0
"""Seconds after which it is logged what was done, and old changes go."""
RECHECKED_AT_ONCE = 20
"""Identities that are looked at anew in one round."""


@dataclass(frozen=True)
class IngestPace:
    """The pace of ingest.

    Attributes:
        workers: repositories that are compared with their servers at once.
        lease_seconds: after which another process may ingest, where this one has gone.
        sweep_seconds: least time between two comparisons of all repositories, for events that may have been lost.
        retry_seconds: before a comparison that failed is tried again; doubled each time.
        changes_seconds: for which the log of changes is kept.
        changes: how many of them are kept at most.
    """

    workers: int = 8
    lease_seconds: float = 15.0
    sweep_seconds: float = 900.0
    retry_seconds: float = 1.0
    changes_seconds: float = 7 * 86_400.0
    changes: int = 2_000_000


class Ingester:
    """Follows upstreams: one reader for each, one applier, and workers that compare repositories with their servers.

    Args:
        replica: what is kept; its database has the tables of `atdata.appview.ingest.TABLES` too.
        upstreams: roots of servers, `wss://HOST` or `ws://HOST:PORT`.
        settings: in force.
        pace: how fast and how often.
        doorbells: roots of Jetstream servers, which say who has written and are believed nothing.

    Attributes:
        counted: counts what happened, by words.

    Raises:
        UsageError: an upstream is no root of a server.
    """

    def __init__(
        self,
        replica: Replica,
        upstreams: Sequence[str],
        settings: Settings,
        pace: IngestPace | None = None,
        *,
        doorbells: Sequence[str] = (),
    ) -> None:
        self._replica, self._settings, self._pace = replica, settings, pace or IngestPace()
        self._urls = tuple(dict.fromkeys(map(upstream_url, upstreams)))
        self._doorbells = tuple(dict.fromkeys(map(doorbell_url, doorbells)))
        self._crew, self._queue, self._followed = Crew(), FrameQueue(), set[str]()
        self._lease = IngestLease(replica, self._pace.lease_seconds)
        self._readers: list[UpstreamReader] = []
        self.counted = Counter[str]()

    def run(self) -> None:
        """Follow the upstreams until `stop` is called, once no other process does.

        Raises:
            ContentionError: another process took over, as this one had not been heard of.
            AtdataError: the database failed.
            Exception: an error of ours: better no word than a false one.
        """
        while not self._lease.take():
            if self._crew.stopping.wait(self._lease.pause):
                return
        try:
            self._start()
            self._crew.join()
        finally:
            self._queue.end()
            self._crew.stopping.set()
        self._lease.end()

    @property
    def connected(self) -> dict[str, bool]:
        """The upstreams, and whether events come from each."""
        return {reader.upstream.url: reader.connected for reader in self._readers}

    @property
    def queued(self) -> int:
        """Frames that wait to be applied."""
        return len(self._queue)

    def stop(self) -> None:
        """End, soon; from any thread."""
        self._crew.stopping.set()
        self._queue.end()

    def _start(self) -> None:
        stopping, replica, counted = self._crew.stopping, self._replica, self.counted
        self._followed.update(replica.read(lambda r: [did for (did,) in r.sql.all("SELECT did FROM replica_accounts")]))
        upstreams = self._lease.write(self._known_upstreams)
        doorbells = self._lease.write(lambda writing: [Upstream.known(writing.sql, url) for url in self._doorbells])
        pause, workers = self._pace.retry_seconds, self._pace.workers
        reconciler = Reconciler(replica, self._settings, self._followed, self._lease, counted, pause, workers)
        sweep_after = int(self._pace.sweep_seconds * 1e6)
        applier = Applier(replica, self._queue, self._followed, self._lease, reconciler.wake, sweep_after, counted)
        transport = Transport.of(self._settings).trusting(*(upstream.server for upstream in upstreams))
        lister = Lister(replica, transport, self._lease, reconciler.wake, counted)
        self._readers = [UpstreamReader(replica, one, self._queue, self._lease, sweep_after) for one in upstreams]
        self._crew.start("applier", applier.run, stopping)
        for reader in self._readers:
            self._crew.start(f"reader {reader.upstream.url}", reader.run, stopping)
        for upstream in doorbells:
            doorbell = Doorbell(replica, upstream, self._followed, self._lease, reconciler.wake, sweep_after, counted)
            self._crew.start(f"doorbell {upstream.url}", doorbell.run, stopping)
        for number in range(workers):
            self._crew.start(f"worker {number}", reconciler.run, stopping)
        self._crew.start("lister", lister.run, self._readers, stopping)
        self._crew.start("keeper", self._keep, stopping)

    def _known_upstreams(self, writing: Writing) -> list[Upstream]:
        """The rows of the upstreams. What others said of accounts, which are followed no more, counts no more."""
        upstreams = [Upstream.known(writing.sql, url) for url in self._urls]
        said = writing.sql.all("SELECT did, upstream FROM ingest_statements WHERE hides IS NOT NULL")
        for did, upstream in said:
            if upstream not in [each.number for each in upstreams]:
                writing.sql.run("DELETE FROM ingest_statements WHERE did = ? AND upstream = ?", did, upstream)
                settle(writing, did, now())
        return upstreams

    def _keep(self, stopping: threading.Event) -> None:
        """Renew the lease, and do what is due."""
        renewed = noted = time.monotonic()
        before = Counter[str]()
        while not stopping.wait(min(0.25, self._lease.pause)):
            if time.monotonic() - renewed > self._lease.pause:
                self._lease.take()  # where that fails, whoever writes next says so
                renewed = time.monotonic()
            if self._replica.read(lambda reading: reading.sql.first(_DUE, now(), now() - IDENTITY_AGE)) is not None:
                self._lease.write(self._do_what_is_due)
            if time.monotonic() - noted > NOTED_EVERY:
                done, noted = Counter(self.counted), time.monotonic()
                log.info("ingest", extra={"facts": {**(done - before), "queued": self.queued}})
                before = done
                self._prune(stopping)
            rewinds = self._replica.read(lambda reading: reading.sql.all("SELECT id, rewinds FROM ingest_upstreams"))
            for reader in self._readers:
                reader.notice_rewind(dict(rewinds).get(reader.upstream.number, 0))

    def _prune(self, stopping: threading.Event) -> None:
        """Let changes go that are kept no more, some at a time."""
        before, most = now() - int(self._pace.changes_seconds * 1e6), self._pace.changes

        def prune(writing: Writing) -> int:
            return prune_log(writing.sql, before, most)

        while not stopping.is_set() and (count := self._lease.write(prune)):
            self.counted["changes let go"] += count

    def _do_what_is_due(self, writing: Writing) -> None:
        sql, moment = writing.sql, now()
        if sql.first("SELECT 1 FROM ingest_upstreams WHERE sweep_at <= ?", moment) is not None:
            sql.run("UPDATE replica_identities SET checked_at = 0")  # events of whomever may have been lost
            sql.run(_MARKED_AGAIN)
            swept = "UPDATE ingest_upstreams SET sweep_at = NULL, swept_at = ?, listed_at = 0 WHERE sweep_at <= ?"
            sql.run(swept, moment, moment)
        for (did,) in sql.all(_OLD, moment - IDENTITY_AGE, RECHECKED_AT_ONCE):
            writing.mark_behind(did, "it was long not looked at, or events may have been lost")


# What is being compared just now may be of before: it is compared once more.
_MARKED_AGAIN = "UPDATE replica_accounts SET marks = marks + 1 WHERE behind IS NOT NULL"
_OLD = """SELECT a.did FROM replica_identities i JOIN replica_accounts a ON a.id = i.account
    WHERE i.checked_at < ? AND a.behind IS NULL ORDER BY i.checked_at LIMIT ?"""
_DUE = """SELECT 1 FROM ingest_upstreams WHERE sweep_at <= ? UNION ALL
    SELECT 1 FROM replica_identities i JOIN replica_accounts a ON a.id = i.account
    WHERE i.checked_at < ? AND a.behind IS NULL LIMIT 1"""
