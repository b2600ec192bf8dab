"""Counters and gauges for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from atdata.appview.xrpc.health import ServiceHealth

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServiceMetrics:
    """Measures of a service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        labels = ("method", "status")
        self._requests = Counter("atdata_requests", "Requests that were answered.", labels, registry=registry)
        self._seconds = Histogram("atdata_request_seconds", "How long answers took.", ("method",), registry=registry)
        self._subscribers = Gauge("atdata_subscribers", "Connections that follow changes.", registry=registry)
        self._state = {
            "behind": Gauge("atdata_repositories_behind", "Repositories to be compared.", registry=registry),
            "seq": Gauge("atdata_change_seq", "The number of the last change.", registry=registry),
            "last": Gauge("atdata_last_change_seconds", "When the last change was, since 1970.", registry=registry),
            "event": Gauge("atdata_last_event_seconds", "When the last event was written.", registry=registry),
            "ready": Gauge("atdata_ready", "Whether questions can be answered.", registry=registry),
        }

    def answered(self, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, str(status)).inc()
        self._seconds.labels(method).observe(seconds)

    def subscribed(self, change: int) -> None:
        """Count a subscriber that came or went."""
        self._subscribers.inc(change)

    def text(self, state: ServiceHealth | None) -> bytes:
        """All that is measured, as Prometheus reads it."""
        self._state["ready"].set(state is not None)
        if state is not None:
            self._state["behind"].set(state.behind)
            self._state["seq"].set(state.seq)
            self._state["last"].set(state.last_change / 1_000_000)
            self._state["event"].set(state.last_event / 1_000_000)
        return generate_latest(self._registry)
