"""While the database is away tasks go on, and what they leave waits in the interchange's journal: nothing is spilt."""

from concurrent.futures import wait
from pathlib import Path

import pytest

from blockyard import Client
from tests.contract.monitoring.databases import PostgresDatabase
from tests.fixtures.postgres import running_postgres
from tests.integration.monitoring import jobs
from tests.integration.processes import WITHIN, House, kill, wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]


def test_tasks_go_on_without_their_database_and_it_catches_up_whoever_dies_meanwhile(tmp_path: Path) -> None:
    house, count = House(tmp_path / "state"), 1000
    with running_postgres() as server:
        database = PostgresDatabase(server.url)
        with Client.local(workers=2, folder=house.folder, monitoring=server.url) as client:
            client.submit(jobs.twice, 1).result(WITHIN)
            wait_until("the history has begun", lambda: database.ask("SELECT to_regclass('tries')"), lambda a: a[0][0])
            server.kill()
            try:
                before = {path for path in house.folder.rglob("*") if path.is_file()}
                assert not wait(client.submit_many(jobs.twice, range(count)), WITHIN).not_done
                spilt = {path.name for path in house.folder.rglob("*") if path.is_file()} - {one.name for one in before}
                assert {name for name in spilt if "monitoring" in name or "hub" in name} == set()
                (hub,) = house.hubs()
                kill(hub)  # what it had taken, and not stored, is told again
                assert not wait(client.submit_many(jobs.twice, range(count)), WITHIN).not_done
            finally:
                server.start()
            wait_until(
                "the history has caught up",
                lambda: database.ask("SELECT count(*) FROM tries WHERE is_last = 1 AND state = 0"),
                lambda found: found == [(2 * count + 1,)],
            )
        assert database.ask("SELECT what, count FROM orphans WHERE count > 0") == []
