"""The interchange's figures for Prometheus, at ``http://HOST:PORT/metrics``; nothing listens unless that is set.

Requests are answered by threads of their own, which see nothing of the interchange's tables: each asks, the loop copies
the figures between two turns and hands them over when the journal holds them. So a counter never goes back when the
interchange is killed and started again. What each metric means is in `docs/metrics.md`.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from blockyard.blocks.states import JobState
from blockyard.few_requests import FewRequests
from blockyard_interchange.commits import CommitFigures
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.figures import Figures, PoolFigures
from blockyard_interchange.core.stages import BOUNDS, Histogram, Stage
from blockyard_interchange.settings import address

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 5.0
"""How long a request waits for the loop."""
_IDLE_SECONDS: Final = 5.0
"""How long a connection may say nothing."""
_LIMITS: Final = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


class MetricsPort:
    """The port, and the place where requests and the loop meet.

    `descriptor` is readable when somebody asks; then `take`, and `answer` what was taken.
    """

    def __init__(self, endpoint: str) -> None:
        """Bind and serve. Raises ConfigError when `endpoint` is not HOST:PORT, OSError when it can't be bound."""
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changed = threading.Condition()
        self._asked = self._taken = self._answered = 0
        self._last: tuple[Figures, CommitFigures] | None = None
        self._process = ProcessCollector(registry=None)
        self._server = _bind(endpoint)
        self._server.set_app(self._serve)
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        host, port = self._server.server_address[:2]
        self.address = (str(host), int(port))
        _log.info("metrics at http://%s:%d/metrics", *self.address)

    def take(self) -> None:
        """Note who has asked so far; called by the loop."""
        os.eventfd_read(self.descriptor)
        with self._changed:
            self._taken = self._asked

    def answer(self, figures: Figures, commits: CommitFigures) -> None:
        """Answer everybody who was taken; called by the loop."""
        with self._changed:
            self._last, self._answered = (figures, commits), self._taken
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        os.close(self.descriptor)

    def _ask(self) -> tuple[Figures, CommitFigures] | None:
        with self._changed:
            self._asked += 1
            number = self._asked
            os.eventfd_write(self.descriptor, 1)
            self._changed.wait_for(lambda: self._answered >= number, ANSWER_SECONDS)
            return self._last if self._answered >= number else None

    def _serve(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("/", "/metrics"):
            return _say(start_response, "404 Not Found", "the metrics are at /metrics")
        found = self._ask()
        if found is None:
            sentence = f"the interchange's loop did not answer within {ANSWER_SECONDS:g} s: it is busy, or ending"
            return _say(start_response, "503 Service Unavailable", sentence)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Snapshot(*found))
        registry.register(self._process)
        answer: Iterable[bytes] = make_wsgi_app(registry)(environ, start_response)
        return answer


class Snapshot(Collector):
    """Figures as metrics."""

    def __init__(self, figures: Figures, commits: CommitFigures) -> None:
        self._figures = figures
        self._commits = commits

    def collect(self) -> Iterator[Metric]:
        """All metrics, each once."""
        yield from _of_interchange(self._figures)
        yield from _of_commits(self._commits)
        yield from _of_tasks(self._figures.pools)
        yield from _of_tries(self._figures.pools)
        yield from _of_managers(self._figures.pools)


def _of_interchange(figures: Figures) -> Iterator[Metric]:
    counters = figures.counters
    yield GaugeMetricFamily("blockyard_opening", "Opening of the journal, counted from 1.", figures.opening)
    yield GaugeMetricFamily("blockyard_uptime_seconds", "Since the interchange began.", figures.uptime_seconds)
    yield GaugeMetricFamily("blockyard_clients", "Clients that are connected.", figures.clients)
    yield GaugeMetricFamily("blockyard_unfreed_tasks", "Tasks with their results, until collected.", figures.tasks)
    yield GaugeMetricFamily("blockyard_body_bytes", "Arguments and results of unfreed tasks.", figures.body_bytes)
    yield GaugeMetricFamily("blockyard_journal_live_bytes", "What the journal must keep, roughly.", figures.live_bytes)
    yield GaugeMetricFamily("blockyard_cached_results", "Results in the cache.", figures.cached_results)
    yield GaugeMetricFamily("blockyard_cached_bytes", "How much of its limit they take.", figures.cached_bytes)
    yield GaugeMetricFamily(
        "blockyard_monitoring_unconfirmed_bytes", "History that the hub has not confirmed.", figures.unconfirmed_bytes
    )
    yield CounterMetricFamily("blockyard_monitoring_dropped_packets", "Samples dropped.", figures.dropped_packets)
    refused = CounterMetricFamily("blockyard_refused", "What was not taken in, by what it was.", labels=["what"])
    refused.add_metric(["frame"], counters.refused_frames)
    refused.add_metric(["key"], counters.refused_peers)
    refused.add_metric(["request"], counters.refused)
    yield refused
    yield CounterMetricFamily("blockyard_repeated_submissions", "Submissions known already.", counters.duplicates)


def _of_commits(commits: CommitFigures) -> Iterator[Metric]:
    seconds = HistogramMetricFamily("blockyard_journal_commit_seconds", "Duration of a commit.", labels=[])
    _add(seconds, [], commits.seconds)
    yield seconds
    yield CounterMetricFamily("blockyard_journal_failures", "Commits that failed.", commits.failures)
    yield GaugeMetricFamily("blockyard_journal_failing", "1 while the journal can't be written.", commits.is_failing)


def _of_tasks(pools: list[PoolFigures]) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("blockyard_tasks", "Tasks that have not ended, by state.", labels=["pool", "state"])
    oldest = GaugeMetricFamily("blockyard_oldest_queued_seconds", "Age of the first queued task.", labels=["pool"])
    submitted = CounterMetricFamily("blockyard_tasks_submitted", "Tasks submitted.", labels=["pool"])
    ended = CounterMetricFamily("blockyard_tasks_ended", "Tasks ended, by how.", labels=["pool", "outcome"])
    stages = HistogramMetricFamily("blockyard_stage_seconds", "Durations by stage.", labels=["pool", "stage"])
    for pool in pools:
        counters = pool.counters
        for state, count in (("queued", pool.queued), ("assigned", pool.assigned), ("held_back", pool.held_back)):
            tasks.add_metric([pool.name, state], count)
        oldest.add_metric([pool.name], pool.oldest_seconds)
        submitted.add_metric([pool.name], counters.submitted)
        for how, count in (("done", counters.done), ("failed", counters.failed), ("cancelled", counters.cancelled)):
            ended.add_metric([pool.name, how], count)
        for stage in Stage:
            _add(stages, [pool.name, stage.value], pool.stages[stage])
    yield from (tasks, oldest, submitted, ended, stages)


def _of_tries(pools: list[PoolFigures]) -> Iterator[Metric]:
    tries = CounterMetricFamily("blockyard_tries", "Tries given to managers.", labels=["pool"])
    retried = CounterMetricFamily("blockyard_tries_retried", "Tries that failed and had others.", labels=["pool"])
    lost = CounterMetricFamily("blockyard_tries_lost", "Infrastructure losses.", labels=["pool", "reason"])
    late = CounterMetricFamily("blockyard_results_late", "Results whose lease had ended.", labels=["pool"])
    cached = CounterMetricFamily("blockyard_cache_looked_up", "Cached tasks, by result.", labels=["pool", "result"])
    evicted = CounterMetricFamily("blockyard_cache_evicted", "Cached results given up.", labels=["pool"])
    for pool in pools:
        counters = pool.counters
        cached.add_metric([pool.name, "hit"], counters.cache_hits)
        cached.add_metric([pool.name, "miss"], counters.cache_misses)
        evicted.add_metric([pool.name], counters.cache_evicted)
        tries.add_metric([pool.name], sum(pool.stages[Stage.QUEUED].counts))
        retried.add_metric([pool.name], counters.retried)
        late.add_metric([pool.name], counters.late)
        for loss in Loss:
            lost.add_metric([pool.name, loss.value], counters.losses.get(loss.value, 0))
    yield from (tries, retried, lost, late, cached, evicted)


def _of_managers(pools: list[PoolFigures]) -> Iterator[Metric]:
    blocks = GaugeMetricFamily("blockyard_blocks", "Blocks by JobState.", labels=["pool", "state"])
    managers = GaugeMetricFamily("blockyard_managers", "Managers by state.", labels=["pool", "state"])
    workers = GaugeMetricFamily("blockyard_workers", "Workers by state.", labels=["pool", "state"])
    resident = GaugeMetricFamily("blockyard_workers_resident_bytes", "Memory of workers.", labels=["pool"])
    silent = GaugeMetricFamily("blockyard_manager_silence_seconds", "Of the quietest manager.", labels=["pool"])
    restarts = CounterMetricFamily("blockyard_worker_restarts", "Workers started again.", labels=["pool"])
    hungry = CounterMetricFamily("blockyard_tries_out_of_memory", "Tries ended out of memory.", labels=["pool"])
    dropped = CounterMetricFamily("blockyard_output_dropped_bytes", "Output of tasks not kept.", labels=["pool"])
    for pool in pools:
        counters = pool.counters
        for state in JobState:
            blocks.add_metric([pool.name, state.name], pool.blocks.get(state.name, 0))
        managers.add_metric([pool.name, "serving"], pool.managers - pool.draining)
        managers.add_metric([pool.name, "draining"], pool.draining)
        workers.add_metric([pool.name, "busy"], pool.busy)
        workers.add_metric([pool.name, "idle"], pool.workers - pool.busy)
        resident.add_metric([pool.name], pool.resident_bytes)
        silent.add_metric([pool.name], pool.silent_seconds)
        restarts.add_metric([pool.name], counters.restarts)
        hungry.add_metric([pool.name], counters.out_of_memory)
        dropped.add_metric([pool.name], counters.output_dropped_bytes)
    yield from (blocks, managers, workers, resident, silent, restarts, hungry, dropped)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, list(zip(_LIMITS, accumulate(histogram.counts), strict=True)), histogram.sum)


class _Handler(WSGIRequestHandler):
    """Quiet, and not to be kept waiting."""

    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Requests are worth a line when one looks for them."""
        _log.debug(format, *args)


class _Server(FewRequests, WSGIServer):
    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking a name server who we are."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of one that was killed linger
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "blockyard", int(self.server_address[1])
        self.setup_environ()


def _bind(endpoint: str) -> _Server:
    host, port = address("metrics", endpoint)
    try:
        family, *_, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _Server((str(found[0]), int(found[1])), family)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(error.errno, f"metrics={endpoint!r}: {why}; name another port, or none") from error


def _say(start_response: "StartResponse", status: str, sentence: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{sentence}\n".encode()]
