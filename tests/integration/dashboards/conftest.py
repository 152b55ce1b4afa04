"""A real run that goes on, with everything that the dashboards ask: Prometheus, PostgreSQL, an interchange, a hub.

Of the operator there is what it counts, told by its own code, but no cluster below it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from blockyard import Client
from blockyard.errors import BlockyardError
from blockyard.monitoring import Monitoring, Sink
from blockyard_monitoring.sinks.sql import SqlSink
from blockyard_operator.program import Operator
from blockyard_operator.settings import Settings
from tests.cluster.prometheus import Prometheus, running_prometheus
from tests.contract.monitoring.databases import PostgresDatabase
from tests.fixtures.postgres import running_postgres
from tests.integration.dashboards import jobs
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.ports import free_port
from tests.unit.monitoring.messages import an_arrival, an_event


class World(NamedTuple):
    """What there is to be asked."""

    prometheus: Prometheus
    database: PostgresDatabase
    began: float
    """Seconds UTC."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Up while the module's tests run; tasks come and go, some fail, and one runs for long."""
    folder = tmp_path_factory.mktemp("dashboards") / "state"
    began = time.time()
    interchange, hub = _free_address(), _free_address()
    with running_postgres() as server, _operator() as operator:
        monitoring = Monitoring(database=server.url, sinks=(Sink("prometheus", {"listen": hub}),), sample_seconds=0.2)
        with (
            Client.local(workers=2, folder=folder, monitoring=monitoring, metrics=interchange) as client,
            running_prometheus([interchange, hub, operator]) as prometheus,
        ):
            _misfortunes(client, House(folder))
            database = PostgresDatabase(server.url)
            wait_until("there are tables", lambda: database.ask("SELECT to_regclass('quarantine')"), lambda a: a[0][0])
            _put_aside(server.url)
            with _working(client):
                yield World(prometheus, database, began)
            client.shutdown(cancel_futures=True)


def _misfortunes(client: Client, house: House) -> None:
    """Once each: a block that is killed, a worker that dies, a try that is retried."""
    client.submit(jobs.works, 1).result(WITHIN)
    (manager,) = house.managers()
    kill(manager)
    lost = client.options(idempotent=False).submit(jobs.dies)
    with suppress(BlockyardError):
        lost.result(WITHIN)
    with suppress(ValueError):
        client.options(retries=1).submit(jobs.fails).result(WITHIN)


def _put_aside(url: str) -> None:
    """A row in `quarantine`, where there rightly is none."""
    sink = SqlSink(url)
    sink.start()
    sink.quarantine(an_arrival(an_event()), "ValueError: on purpose")
    sink.close()


@contextmanager
def _working(client: Client) -> Iterator[None]:
    """Tasks all the time, until the end of the block."""
    ending = threading.Event()

    def work() -> None:
        long = client.submit(jobs.naps, 600.0)
        while not ending.wait(0.3):
            client.submit_many(jobs.works, range(10))
            client.submit(jobs.fails)
        long.cancel()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@contextmanager
def _operator() -> Iterator[str]:
    """The address of what an operator tells; every scrape finds that something has happened."""
    operator = Operator(Settings())
    operator._gauges()
    metrics = operator._metrics

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metrics.reconciles.labels("pool", "done").inc()
            metrics.seconds.labels("pool").observe(0.01)
            metrics.waited.labels("pool").observe(0.001)
            metrics.refusals.labels("Quota").inc()
            metrics.ends.labels("FAILED").inc()
            metrics.request("get", "pods", 500, 0.01)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.render())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _free_address() -> str:
    return f"127.0.0.1:{free_port()}"
