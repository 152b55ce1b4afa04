"""The prometheus sink: ``http://HOST:PORT/metrics``, few numbers from many messages. See ``docs/metrics.md``.

Labels are bounded: pools and functions beyond a number are `other`. Numbers begin at 0 with each hub.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from blockyard.errors import ConfigError
from blockyard.few_requests import FewRequests
from blockyard.ids import TaskId, task_name
from blockyard.radios import Arrival
from blockyard_monitoring.figures import HubFigures
from blockyard_monitoring.sinks.tallies import BOUNDS, MEMORY_BOUNDS, Example, Histogram, Tallies

if TYPE_CHECKING:
    from socket import socket

_IDLE_SECONDS: Final = 5.0


class PrometheusSink:
    """`listen`: ``HOST:PORT``. `most_functions`: that are told apart by the label `function`."""

    must_not_miss = False

    def __init__(self, listen: str, most_functions: int = 50) -> None:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"sink 'prometheus': listen={listen!r}; give HOST:PORT, for example 127.0.0.1:9301")
        if most_functions < 1:
            raise ConfigError(f"sink 'prometheus': most_functions={most_functions}; at least 1")
        self._address = host.removeprefix("[").removesuffix("]"), int(port)
        self._lock = threading.Lock()
        self._tallies = Tallies(most_functions)
        self._figures: Callable[[], HubFigures] | None = None
        self._server: _Server | None = None

    def attach(self, figures: Callable[[], HubFigures]) -> None:
        """Show how the hub fares, too."""
        self._figures = figures

    @property
    def port(self) -> int:
        """Where it listens, since `start`."""
        return self._server.server_port if self._server is not None else 0

    def start(self) -> None:
        """Listen. Raises ConfigError when that address can't be had."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self._collect))
        registry.register(ProcessCollector(namespace="hub", registry=None))
        try:
            self._server = _Server(self._address, _Handler)
        except OSError as error:
            host, port = self._address
            raise ConfigError(f"sink 'prometheus': {host}:{port} cannot be bound: {error.strerror}") from error
        self._server.set_app(make_wsgi_app(registry, disable_compression=True))
        threading.Thread(target=self._server.serve_forever, name="prometheus", daemon=True).start()

    def write(self, batch: Sequence[Arrival]) -> None:
        """Count."""
        with self._lock:
            for arrival in batch:
                for record in arrival.packet.records:
                    self._tallies.take(record)

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """It was logged and counted by who runs this; there is no place for it here."""

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _collect(self) -> list[Metric]:
        with self._lock:
            found = list(_of_tallies(self._tallies))
        if self._figures is not None:
            found += _of_hub(self._figures())
        return found


class _Snapshot(Collector):
    def __init__(self, collect: Callable[[], list[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


class _Server(FewRequests, WSGIServer):
    def get_request(self) -> "tuple[socket, tuple[str, int]]":
        connection, peer = super().get_request()
        connection.settimeout(_IDLE_SECONDS)
        return connection, peer


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape is no event."""


def _of_tallies(tallies: Tallies) -> Iterator[Metric]:
    by_function = ("pool", "function")
    yield _counter("tasks_submitted", "Tasks that were submitted.", by_function, tallies.submitted)
    yield _counter("tasks_ended", "Tasks that ended.", (*by_function, "state"), tallies.tasks)
    yield _counter("tries_ended", "Tries that ended.", (*by_function, "state"), tallies.tries)
    yield _counter("tries_failed", "Tries that did not succeed, by why.", ("pool", "reason"), tallies.reasons)
    seconds = {key: value / 1e6 for key, value in tallies.cpu.items()}
    yield _counter("tries_cpu_seconds", "CPU that tries used.", ("pool", "mode"), seconds)
    queued = {(pool,): found for pool, found in tallies.queued.items()}
    yield _histogram("tries_queued_seconds", "From when a try could start until it was assigned.", ("pool",), queued)
    yield _histogram("tries_ran_seconds", "How long tries ran.", by_function, tallies.ran)
    peaks = {(pool,): found for pool, found in tallies.peaks.items()}
    yield _histogram("tries_peak_bytes", "Most memory of tries.", ("pool",), peaks, MEMORY_BOUNDS)
    resident: Counter[str] = Counter()
    for (pool, _), size in tallies.resident.items():
        resident[pool] += size
    yield _gauge("running_resident_bytes", "Memory of running tries at the last look.", ("pool",), _single(resident))
    blocks = Counter((pool, state) for (pool, _), state in tallies.blocks.items())
    yield _gauge("blocks", "Blocks by the last state that was reported.", ("pool", "state"), blocks)
    managers = Counter(pool for pool, _ in tallies.managers.values())
    yield _gauge("managers", "Managers that are there.", ("pool",), _single(managers))
    workers: Counter[str] = Counter()
    for pool, count in tallies.managers.values():
        workers[pool] += count
    yield _gauge("workers", "Their workers.", ("pool",), _single(workers))


def _of_hub(figures: HubFigures) -> Iterator[Metric]:
    radios = figures.radios
    for name, text in (
        ("packets", "Messages that came."), ("records", "Records in them."),
        ("lost", "Messages that are missing."), ("late", "Messages that came after later ones."),
        ("doubled", "Messages that had come before."),
    ):  # fmt: skip
        values = {(radio,): getattr(one, name) for radio, one in radios.items()}
        # What is missing may still come late, so it is no counter.
        yield (_gauge if name == "lost" else _counter)(f"hub_{name}", text, ("radio",), values)
    refused = {(radio, reason): count for radio, one in radios.items() for reason, count in one.refused.items()}
    yield _counter("hub_refused", "What came and was no message.", ("radio", "reason"), refused)
    sinks = figures.sinks
    written = {(one.name,): float(one.written) for one in sinks}
    yield _counter("hub_sink_written", "Messages written.", ("sink",), written)
    failures = {(one.name,): float(one.failures) for one in sinks}
    yield _counter("hub_sink_failures", "Times it was unavailable.", ("sink",), failures)
    quarantined = {(one.name,): float(one.quarantined) for one in sinks}
    yield _counter("hub_sink_quarantined", "Messages put aside.", ("sink",), quarantined)
    available = {(one.name,): float(one.is_available) for one in sinks}
    yield _gauge("hub_sink_available", "1: the sink can be written to.", ("sink",), available)
    waiting = {(one.name,): float(one.waiting_parts) for one in sinks}
    yield _gauge("hub_sink_waiting", "Rows, about, that wait for the sink.", ("sink",), waiting)
    dropped = {(one.name, kind): count for one in sinks for kind, count in one.dropped.items()}
    yield _counter("hub_sink_dropped", "Records that did not fit.", ("sink", "kind"), dropped)
    expired = {(one.name, table): float(count) for one in sinks for table, count in one.expired.items()}
    yield _counter("hub_sink_expired", "Rows that went because of their age.", ("sink", "table"), expired)


def _single(counts: "Counter[str]") -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(_name(name), text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(_name(name), text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, text: str, labels: Sequence[str], values: Mapping[Any, Histogram], bounds: Sequence[float] = BOUNDS
) -> Metric:
    family = HistogramMetricFamily(_name(name), text, labels=labels)
    limits = (*map(floatToGoString, bounds), "+Inf")
    for key, found in values.items():
        buckets = [
            (limit, count) if example is None else (limit, count, _exemplar(example))
            for limit, count, example in zip(limits, accumulate(found.counts), found.examples, strict=True)
        ]
        family.add_metric(key, buckets, found.sum)
    return family


def _exemplar(example: Example) -> Exemplar:
    """Shown to who asks for OpenMetrics, as Prometheus does."""
    return Exemplar({"task": task_name(TaskId(example.task))}, example.value, example.at_us / 1e6)


def _name(name: str) -> str:
    return f"blockyard_{name}" if name.startswith("hub_") else f"blockyard_history_{name}"
