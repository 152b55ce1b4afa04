"""The port of a real interchange: what it says is what happened, a kill sets nothing back, unasked it is not there."""

import os
import socket
import urllib.error
import urllib.request
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard, ConfigError, TaskLost
from tests.integration.metrics import jobs
from tests.integration.metrics.conftest import Scraped, scrape
from tests.integration.processes import WITHIN, House, Process, kill, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

POOL = "default"
COUNT = 2000


def work(client: Client) -> None:
    """Tasks that end in each way."""
    done = client.submit_many(jobs.twice, range(COUNT))
    failed = [client.options(retries=2).submit(jobs.fails) for _ in range(3)]
    lost = client.options(idempotent=False).submit(jobs.dies)
    loud = client.submit(jobs.prints, 1_000_000)
    everything: list[Future[Any]] = [*done, *failed, lost, loud]
    assert not wait(everything, WITHIN).not_done
    assert [future.result() for future in done] == [2 * number for number in range(COUNT)]
    assert isinstance(lost.exception(), TaskLost)


def listens(process: Process) -> list[str]:
    """Addresses of the sockets, TCP of both kinds, on which a process accepts connections."""
    own: set[str] = set()
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            own.add(os.readlink(descriptor))
        except FileNotFoundError:  # closed meanwhile
            continue
    lines = [
        line.split()
        for family in ("tcp", "tcp6")
        for line in Path(f"/proc/{process.pid}/net/{family}").read_text().splitlines()[1:]
    ]
    return [fields[1] for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in own]


def hexadecimal(address: str) -> str:
    """As /proc writes an address of IPv4."""
    host, _, port = address.rpartition(":")
    return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{int(port):04X}"


def test_the_figures_are_those_of_what_was_done(house: House, address: str) -> None:
    with Client.local(workers=2, folder=house.folder, metrics=address) as client:
        work(client)
        seen = wait_until(
            "the managers' figures are there",
            lambda: scrape(address),
            lambda now: (
                now.of("blockyard_worker_restarts_total")
                and now.of("blockyard_output_dropped_bytes_total")
                and now.of("blockyard_workers_resident_bytes")
                and not now.of("blockyard_tasks", pool=POOL)
            ),
        )
        status = pool_status(client)
        tasks = COUNT + 5
        assert (status.submitted, status.done, status.failed) == (tasks, COUNT + 1, 4)
        for name, labels, expected in (
            ("blockyard_tasks_submitted_total", {}, status.submitted),
            ("blockyard_tasks_ended_total", {"outcome": "done"}, status.done),
            ("blockyard_tasks_ended_total", {"outcome": "failed"}, status.failed),
            ("blockyard_tasks_ended_total", {"outcome": "cancelled"}, status.cancelled),
            ("blockyard_tries_retried_total", {}, status.retried),
            ("blockyard_tries_lost_total", {}, status.lost),
            ("blockyard_tries_lost_total", {"reason": "worker"}, 1),
            ("blockyard_results_late_total", {}, status.late),
            ("blockyard_tasks", {}, 0),
            ("blockyard_workers", {}, 2),
            ("blockyard_blocks", {"state": "RUNNING"}, 1),
            ("blockyard_managers", {"state": "serving"}, 1),
        ):
            assert seen.of(name, pool=POOL, **labels) == expected, (name, labels)
        assert status.retried == 6
        tries = seen.of("blockyard_tries_total", pool=POOL)
        assert tries >= tasks + status.retried
        for stage, count in (("queued", tries), ("recording", tasks), ("total", tasks)):
            assert seen.of("blockyard_stage_seconds_count", pool=POOL, stage=stage) == count, stage
        for stage in ("assigned", "running"):
            reported = seen.of("blockyard_stage_seconds_count", pool=POOL, stage=stage)
            assert tasks + status.retried <= reported <= tries, stage
        assert seen.of("blockyard_output_dropped_bytes_total") == 1_000_000 - 64 * 1024
        assert seen.of("blockyard_journal_commit_seconds_count") > 0
        assert seen.of("process_resident_memory_bytes") > 0


def test_nothing_goes_back_when_the_interchange_is_killed(house: House, address: str) -> None:
    with Client.local(workers=2, folder=house.folder, metrics=address) as client:
        work(client)
        before = wait_until(
            "the managers' figures are there",
            lambda: scrape(address),
            lambda now: (
                now.of("blockyard_output_dropped_bytes_total")
                and now.of("blockyard_worker_restarts_total")
                and not now.of("blockyard_tasks", pool=POOL)
            ),
        )
        (interchange,) = house.interchanges()
        assert kill(interchange)
        after = wait_until("another one answers", lambda: _scrape_if_up(address), lambda now: now.get(OPENING) == 2.0)
        lasting = {
            key: value for key, value in before.items()
            if key[0].endswith(("_total", "_bucket", "_sum", "_count")) and ("pool", POOL) in key[1]
        }  # fmt: skip
        assert len(lasting) > 100
        assert {key: after[key] for key in lasting} == lasting
        assert client.submit(jobs.twice, 4).result(WITHIN) == 8
        assert scrape(address).of("blockyard_tasks_ended_total", outcome="done") == COUNT + 2


OPENING = ("blockyard_opening", ())


def _scrape_if_up(address: str) -> Scraped:
    try:
        return scrape(address)
    except (urllib.error.URLError, ConnectionError):
        return Scraped()


def test_nothing_listens_unless_it_is_asked_for(house: House, address: str) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(jobs.twice, 1).result(WITHIN) == 2
        everybody = house.everything()
        assert len(everybody) >= 3
        assert [(str(one), listens(one)) for one in everybody if listens(one)] == []
    house.wait_until_empty()
    with Client.local(workers=1, folder=house.folder, metrics=address) as client:
        assert client.submit(jobs.twice, 1).result(WITHIN) == 2
        (interchange,) = house.interchanges()
        assert listens(interchange) == [hexadecimal(address)]
        assert [one for one in house.everything() if one.pid != interchange.pid and listens(one)] == []


def test_a_port_that_is_taken_is_named(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokenBlockyard, match=f"metrics='{address}': Address already in use; name another port"):
            Client.local(workers=1, folder=house.folder, metrics=address)


def test_an_address_that_is_none_is_refused(house: House) -> None:
    with pytest.raises(ConfigError, match="metrics='9300'; give HOST:PORT"):
        Client.local(workers=1, folder=house.folder, metrics="9300")


def test_who_keeps_connections_open_holds_nobody_up(house: House, address: str) -> None:
    """More than it serves at a time: others are turned away until these were silent for too long; tasks go on."""
    host, _, port = address.rpartition(":")
    with Client.local(workers=1, folder=house.folder, metrics=address) as client:
        silent = [socket.create_connection((host, int(port))) for _ in range(20)]
        try:
            assert client.submit(jobs.twice, 1).result(WITHIN) == 2
            wait_until("it answers again", lambda: _scrape_if_up(address), len)
        finally:
            for one in silent:
                one.close()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{address}/tasks", timeout=30.0)
