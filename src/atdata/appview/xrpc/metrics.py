"""Counters and gauges for Prometheus (docs/operating.md lists them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from atdata.appview.operator import IngestStatus
from atdata.appview.xrpc.health import ServiceHealth

CONTENT_TYPE = CONTENT_TYPE_LATEST
_FAILED = "failed: "


class IngestCounts(Protocol):
    """Counts of an ingester of this process.

    Attributes:
        counted: what happened, by words; those of failures begin with `failed: `.
        queued: frames that wait.
        connected: the upstreams, and whether events come from each.
    """

    @property
    def counted(self) -> Mapping[str, int]:
        """Counts of what happened, by words."""

    @property
    def queued(self) -> int:
        """Frames that wait."""

    @property
    def connected(self) -> Mapping[str, bool]:
        """The upstreams, and whether events come from each."""


class ServiceMetrics(Collector):
    """Measures of a service.

    Args:
        ingest: counts what is taken in by this process, where it is.
    """

    def __init__(self, ingest: IngestCounts | None = None) -> None:
        self._registry, self._ingest = CollectorRegistry(), ingest
        labels, registry = ("method", "status"), self._registry
        self._requests = Counter("atdata_requests", "Requests that were answered.", labels, registry=registry)
        self._seconds = Histogram("atdata_request_seconds", "How long answers took.", ("method",), registry=registry)
        self._subscribers = Gauge("atdata_subscribers", "Connections that follow changes.", registry=registry)
        self._health: ServiceHealth | None = None
        self._status: IngestStatus | None = None
        registry.register(self)

    def answered(self, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds)

    def subscribed(self, change: int) -> None:
        """Count a subscriber that came or went."""
        self._subscribers.inc(change)

    def text(self, health: ServiceHealth | None, status: IngestStatus | None) -> bytes:
        """All that is measured, as Prometheus reads it."""
        self._health, self._status = health, status
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Measures of what the database has, and of what ingest counted."""
        yield GaugeMetricFamily("atdata_ready", "Whether questions can be answered.", int(self._health is not None))
        if self._health is not None:
            yield from _of_health(self._health)
        if self._status is not None:
            yield from _of_status(self._status)
        if self._ingest is not None:
            yield from _of_ingest(self._ingest)


def _of_health(health: ServiceHealth) -> Iterator[Metric]:
    yield GaugeMetricFamily("atdata_change_seq", "The number of the last change.", health.seq)
    yield GaugeMetricFamily("atdata_last_change_seconds", "When it was, since 1970.", health.last_change / 1e6)
    yield GaugeMetricFamily("atdata_last_event_seconds", "When the last event was written.", health.last_event / 1e6)
    yield GaugeMetricFamily("atdata_repositories_behind", "Repositories to be compared.", health.behind)


def _of_status(status: IngestStatus) -> Iterator[Metric]:
    yield GaugeMetricFamily("atdata_repositories_failing", "Of these, tried in vain.", status.failing)
    yield GaugeMetricFamily("atdata_records", "Records that are kept.", status.records)
    yield GaugeMetricFamily("atdata_search_pending", "Tasks that the search has put off.", status.search_pending)
    yield GaugeMetricFamily("atdata_database_bytes", "The size of the database.", status.bytes)
    yield CounterMetricFamily("atdata_rejected", "Things that could not be taken.", status.rejected)
    accounts = GaugeMetricFamily("atdata_accounts", "Accounts that are followed.", labels=("status",))
    for word, count in status.accounts.items():
        accounts.add_metric((word,), count)
    lags = GaugeMetricFamily("atdata_upstream_lag_seconds", "Since its last event was written.", labels=("upstream",))
    for upstream in status.upstreams:
        if upstream.event_at:
            lags.add_metric((upstream.url,), max(0.0, (status.moment - upstream.event_at) / 1e6))
    yield from (accounts, lags)


def _of_ingest(ingest: IngestCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily("atdata_ingest_queue_frames", "Frames that wait to be applied.", ingest.queued)
    connected = GaugeMetricFamily("atdata_upstream_connected", "Whether events come.", labels=("upstream",))
    for url, whether in ingest.connected.items():
        connected.add_metric((url,), int(whether))
    done = CounterMetricFamily("atdata_ingest", "What ingest did, by words.", labels=("what",))
    failed = CounterMetricFamily("atdata_ingest_failures", "Comparisons that failed, by reason.", labels=("reason",))
    for word, count in dict(ingest.counted).items():
        if word.startswith(_FAILED):
            failed.add_metric((word.removeprefix(_FAILED),), count)
        else:
            done.add_metric((word,), count)
    yield from (connected, done, failed)
