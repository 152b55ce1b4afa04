"""After many tasks, with the hub killed and the database restarted again and again, the history is whole.

What is compared: the interchange's own counters with the rows in PostgreSQL. By `udp` what tries used is missing while
no hub is there, and nothing else is.
"""

import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.monitoring import Monitoring
from blockyard.radios import FilesystemRadio, InterchangeRadio, RadioConfig, UdpRadio, ZmqRadio
from tests.contract.monitoring.databases import PostgresDatabase
from tests.fixtures.postgres import running_postgres
from tests.integration.monitoring import jobs
from tests.integration.monitoring.test_history import hubs
from tests.integration.processes import House, kill, wait_until
from tests.integration.questions import pool_status
from tests.machine import Size

pytestmark = [pytest.mark.soak, pytest.mark.needs_postgres, pytest.mark.timeout(3600)]

PATIENCE = 600.0


def rows(database: PostgresDatabase, table: str) -> int:
    """How many there are; 0 while there is no such table yet."""
    if database.ask(f"SELECT to_regclass('{table}')") == [(None,)]:
        return 0
    count: int = database.ask(f"SELECT count(*) FROM {table}")[0][0]
    return count


@pytest.mark.parametrize("radio", [InterchangeRadio, ZmqRadio, FilesystemRadio, UdpRadio])
def test_nothing_is_missing_whoever_is_killed(tmp_path: Path, size: Size, radio: type[RadioConfig]) -> None:
    rounds, restarts, count = (20, 5, 5_000) if size is Size.FULL else (3, 1, 2_000)
    house = House(tmp_path / "state")
    with running_postgres() as server:
        database = PostgresDatabase(server.url)
        monitoring = Monitoring(database=server.url, radio=radio(), sample_seconds=0.2)
        with Client.local(workers=2, folder=house.folder, monitoring=monitoring) as client:
            futures: list[Any] = []
            for number in range(rounds):
                futures += client.submit_many(jobs.twice, range(count))
                futures += [client.options(retries=1).submit(jobs.fails, number)]
                (hub,) = wait_until("a hub is there", lambda: hubs(house), lambda found: len(found) == 1)
                kill(hub)
                if number % (rounds // restarts) == 0:
                    server.kill()
                    server.start()
            assert not wait(futures, PATIENCE).not_done
            more: list[Any] = []
            while radio is UdpRadio and not rows(database, "worker_tasks"):
                more.append(client.submit(jobs.twice, 1))
                assert not wait(more, PATIENCE).not_done
                time.sleep(0.05)
                assert len(more) < 1000, "a hub that is there again hears what tries used"
            status = pool_status(client)
            used = status.done + 2 * status.failed
            if radio is not UdpRadio:
                # A manager that ends does not wait for long for a hub that is just being started again.
                wait_until(
                    "all that workers told is there",
                    lambda: rows(database, "worker_tasks"),
                    lambda found: found == used,
                )
        done = rounds * count + len(more)
        assert (status.submitted, status.done, status.failed) == (done + rounds, done, rounds)
        assert database.ask("SELECT state, count(*) FROM tries WHERE is_last = 1 GROUP BY 1 ORDER BY 1") == [
            (0, status.done),
            (1, status.failed),
        ]
        assert database.ask("SELECT sum(count) FROM submissions") == [(status.submitted,)]
        told = rows(database, "worker_tasks")
        assert told == used or (radio is UdpRadio and 0 < told < used)
        assert database.ask("SELECT what, count FROM orphans WHERE count > 0") == []
