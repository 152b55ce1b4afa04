"""After many tasks, with the hub killed and the database restarted again and again, the history is whole.

What is compared: the interchange's own counters with the rows in PostgreSQL, and with what a program saw that followed
meanwhile. By `udp` what tries used is missing while no hub is there, and nothing else is; as many messages as the last
hub counts as lost, which counts from the first one of each sender. Such a follower may miss what a hub had stored and
not yet shown when it was killed, and is told so; of what happens while the hub lives it misses nothing.
"""

import time
from pathlib import Path
from typing import NamedTuple

import pytest

from blockyard import Client
from blockyard.ids import TaskId, task_name
from blockyard.monitoring import Monitoring, Sink
from blockyard.radios import FilesystemRadio, InterchangeRadio, RadioConfig, UdpRadio, ZmqRadio
from tests.contract.monitoring.databases import PostgresDatabase
from tests.fixtures.postgres import Postgres, running_postgres
from tests.integration.metrics.conftest import scrape
from tests.integration.monitoring import jobs
from tests.integration.monitoring.following import Follower, Tries
from tests.integration.processes import House, kill, wait_until
from tests.integration.questions import pool_status
from tests.machine import Size
from tests.ports import free_port

pytestmark = [pytest.mark.soak, pytest.mark.needs_postgres, pytest.mark.timeout(3600)]

PATIENCE = 600.0
ARRIVED, LOST = "blockyard_hub_packets_total", "blockyard_hub_lost"


class Proof(NamedTuple):
    """How large it is: `tasks` each round, and as many in the end."""

    radio: type[RadioConfig]
    rounds: int
    restarts: int
    tasks: int

    @classmethod
    def of(cls, size: Size, radio: type[RadioConfig]) -> "Proof":
        rounds, restarts, count = (20, 5, 5_000) if size is Size.FULL else (3, 1, 2_000)
        return cls(radio, rounds, restarts, count // 10 if radio is UdpRadio else count)


def rows(database: PostgresDatabase, table: str) -> int:
    """How many there are; 0 while there is no such table yet."""
    if database.ask(f"SELECT to_regclass('{table}')") == [(None,)]:
        return 0
    count: int = database.ask(f"SELECT count(*) FROM {table}")[0][0]
    return count


def tries_of(database: PostgresDatabase) -> dict[str, Tries]:
    """Those that ended, by submission."""
    found: dict[str, Tries] = {}
    for submission, task, epoch in database.ask("SELECT submission, task, epoch FROM tries WHERE state >= 0"):
        found.setdefault(task_name(TaskId(submission)), set()).add((task_name(TaskId(task)), epoch))
    return found


def run(client: Client, count: int, radio: type[RadioConfig], fails: int | None = None) -> None:
    """So many tasks, and one that fails twice if told; by `udp` one after the other, so that each try is a message."""
    if radio is UdpRadio:
        for number in range(count):
            client.submit(jobs.twice, number).result(PATIENCE)
    else:
        client.submit_many(jobs.twice, range(count))
    if fails is not None:
        failing = client.options(retries=1).submit(jobs.fails, fails)
        if radio is UdpRadio:
            failing.exception(PATIENCE)


def run_under_kills(client: Client, house: House, server: Postgres, proof: Proof) -> None:
    """Rounds of tasks; at each end the hub is killed, now and then the database, too."""
    for number in range(proof.rounds):
        run(client, proof.tasks, proof.radio, fails=number)
        (hub,) = wait_until("a hub is there", house.hubs, lambda found: len(found) == 1)
        kill(hub)
        if number % (proof.rounds // proof.restarts) == 0:
            server.kill()
            server.start()


@pytest.mark.parametrize("radio", [InterchangeRadio, ZmqRadio, FilesystemRadio, UdpRadio])
def test_nothing_is_missing_whoever_is_killed(tmp_path: Path, size: Size, radio: type[RadioConfig]) -> None:
    proof = Proof.of(size, radio)
    house, follower, port = House(tmp_path / "state"), Follower(), free_port()
    sinks = (Sink("prometheus", {"listen": f"127.0.0.1:{port}"}),)
    sample_seconds = 0.0 if radio is UdpRadio else 0.2  # samples would be messages, too
    with running_postgres() as server:
        database = PostgresDatabase(server.url)
        monitoring = Monitoring(database=server.url, radio=radio(), sample_seconds=sample_seconds, sinks=sinks)
        with Client.local(workers=2, folder=house.folder, monitoring=monitoring) as client:
            with follower.following(client):
                more = until_it_is_told(client, database, follower)
                first = all_stored(client, database)
                run_under_kills(client, house, server, proof)
                more += until_it_is_told(client, database, follower)
                before = all_stored(client, database)
                run(client, proof.tasks // 2, radio)
            run(client, proof.tasks // 2, radio)  # which the follower sees when it is there again
            stored = all_stored(client, database)
            calm = {name: own for name, own in stored.items() if name not in before}
            with follower.following(client):
                wait_until(
                    "the follower has seen what was told to a hub that lives",
                    lambda: {name: follower.tries.get(name) for name in calm},
                    lambda found: found == calm,
                )
            status, used = pool_status(client), sum(map(len, stored.values()))
            lost = lost_by_udp(port, used) if radio is UdpRadio else 0.0
            # A manager that ends does not wait for long for a hub that is just being started again.
            told = wait_until(
                "what workers told is there",
                lambda: rows(database, "worker_tasks"),
                lambda found: used - lost <= found <= used,
            )
        assert told < used or radio is not UdpRadio, "nobody listened for a while"
        done = (proof.rounds + 1) * proof.tasks + more
        assert (status.submitted, status.done, status.failed) == (done + proof.rounds, done, proof.rounds)
        assert database.ask("SELECT state, count(*) FROM tries WHERE is_last = 1 GROUP BY 1 ORDER BY 1") == [
            (0, status.done),
            (1, status.failed),
        ]
        assert database.ask("SELECT sum(count) FROM submissions") == [(status.submitted,)]
        assert all(own <= stored[name] for name, own in follower.tries.items()), "nobody saw what is not stored"
        seen = {name: follower.tries.get(name) for name in stored if name not in first}
        assert follower.has_missed or seen == {name: stored[name] for name in seen}
        assert database.ask("SELECT what, count FROM orphans WHERE count > 0") == []


def all_stored(client: Client, database: PostgresDatabase) -> dict[str, Tries]:
    """The tries that ended, by submission, when they are as many as the interchange counts."""
    return wait_until(
        "all that ended is stored",
        lambda: tries_of(database),
        lambda found: (
            (now := pool_status(client)).submitted == now.done + now.failed
            and sum(map(len, found.values())) == now.done + 2 * now.failed
        ),
        PATIENCE,
    )


def until_it_is_told(client: Client, database: PostgresDatabase, follower: Follower) -> int:
    """Run tasks until a hub is there that stores what they used, and shows how they ended; returns how many."""
    used, seen = rows(database, "worker_tasks"), follower.seen()
    for number in range(1, 1000):
        client.submit(jobs.twice, 1).result(PATIENCE)
        if rows(database, "worker_tasks") > used and follower.seen() > seen:
            return number
        time.sleep(0.05)
    raise AssertionError(f"no hub stores and shows what tasks do: {used} uses are stored, {seen} tries were seen")


def lost_by_udp(port: int, sent: int) -> float:
    """Messages that the hub that lives counts as missing; with those that came they are all that was sent."""
    found = wait_until(
        "what workers sent has arrived or is counted as lost",
        lambda: [scrape(f"127.0.0.1:{port}").of(name, radio="udp") for name in (ARRIVED, LOST)],
        lambda found: sum(found) == sent,
    )
    return found[1]
