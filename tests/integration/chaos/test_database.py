"""A whole system whose journal is PostgreSQL, while the server is restarted and killed and the interchange, too.

The store alone is held to the same in `tests/contract/journal/test_postgres_faults`.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from tests.fixtures.postgres import Postgres, running_postgres
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.workload import Graph, executions
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.integration.questions import pool_status
from tests.machine import Size

pytestmark = [pytest.mark.soak, pytest.mark.needs_postgres, pytest.mark.timeout(3600)]

LONG = 10 * WITHIN


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of the test's own, to be killed."""
    with running_postgres() as server:
        yield server


def _wait_for(futures: Sequence[Future[Any]], share: float) -> None:
    least = round(share * len(futures))
    wait_until(f"{least} tasks ended", lambda: sum(map(Future.done, futures)), lambda ended: ended >= least, LONG)


def _restart(server: Postgres, _: House) -> None:
    server.stop()
    time.sleep(0.3)
    server.start()


def _kill(server: Postgres, _: House) -> None:
    server.kill()
    time.sleep(0.3)
    server.start()


def _kill_the_interchange(_: Postgres, house: House) -> None:
    wait_until("there is one", lambda: [one for one in house.interchanges() if kill(one)], bool)


FAULTS: tuple[Callable[[Postgres, House], None], ...] = (_restart, _kill, _kill_the_interchange)


def test_no_fault_of_the_database_costs_a_task(server: Postgres, house: House, tmp_path: Path, size: Size) -> None:
    """Small: 2,000 tasks and 2 faults of each kind; full: 5*10^4 and 20."""
    dice = random.Random(15)
    each, layers = (20, 500) if size is Size.FULL else (2, 20)
    faults = dice.sample(FAULTS * each, 3 * each)
    with Client.local(workers=2, folder=house.folder, journal=server.url) as client:
        graph = Graph(client, tmp_path / "marks", width=100)
        for fault in faults:
            start = len(graph.futures)
            graph.grow(layers // (len(faults) + 1))
            _wait_for(graph.futures[start:], dice.random())
            fault(server, house)
        graph.grow(layers - len(graph.futures) // 100)
        assert [future.result(LONG) for future in graph.futures] == graph.expected()
        count = len(graph.futures)
        status = pool_status(client)
        assert (status.submitted, status.done, status.failed) == (count, count, 0), status
    assert set(executions(tmp_path / "marks")) == set(range(count))
    assert set(times_recorded(house.folder, server.url).values()) <= {1}
