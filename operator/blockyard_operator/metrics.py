"""What the operator knows about its own health, for Prometheus. No label follows the number of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from blockyard.blocks.states import MEANINGS_OF_ENDS

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.reconciles = self._counter("reconciles", "Reconciles, by kind and how they ended", "kind", "result")
        self.seconds = self._histogram("reconcile_seconds", "From taking a key to having carried its plan out", "kind")
        self.waited = self._histogram("queue_wait_seconds", "From news to the reconcile that takes it up", "kind")
        self.effects = self._counter("effects", "Effects carried out", "effect")
        self.requests = self._counter("api_requests", "Requests to the API server", "verb", "resource", "code")
        self.request_seconds = self._histogram("api_request_seconds", "Their duration", "verb", "resource")
        self.events = self._counter("watch_events", "Events of watches", "resource")
        self.missed = self._counter("watch_missed", "Changes that only a resync brought to light", "resource")
        self.refusals = self._counter("refusals", "Pods that the API server would not make", "reason")
        self.ends = self._counter("block_ends", "Ends of blocks, by state", "state")
        for state in MEANINGS_OF_ENDS:
            self.ends.labels(str(state))  # a series that begins with its first end shows no increase

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        Gauge(f"blockyard_operator_{name}", text, registry=self._registry).set_function(read)

    def render(self) -> bytes:
        """All of them as text."""
        return generate_latest(self._registry)

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request; `code` 0: no answer."""
        self.requests.labels(verb, resource, str(code)).inc()
        self.request_seconds.labels(verb, resource).observe(seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"blockyard_operator_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"blockyard_operator_{name}", text, labels, buckets=_SECONDS, registry=self._registry)
