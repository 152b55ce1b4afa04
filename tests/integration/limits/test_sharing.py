"""Who gets the workers: a client with little to do beside one with very much, long tasks beside short ones, a wide task
beside endless small ones, and a client that does not read its results. Durations are compared within one run only."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import pool_status
from tests.machine import ROOT, Size

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """Two workers."""
    with Client.local(workers=2, folder=house.folder) as client:
        wait_until("the workers are there", lambda: pool_status(client).workers, lambda workers: workers == 2)
        client.submit_many(abs, range(100))[-1].result(WITHIN)
        yield client


def _seconds_of_ten(client: Client, seconds: float) -> float:
    start = time.perf_counter()
    for future in client.submit_many(time.sleep, [seconds] * 10):
        future.result(WITHIN)
    return time.perf_counter() - start


@pytest.mark.scale
def test_ten_tasks_are_not_held_up_by_another_clients_many(client: Client, size: Size) -> None:
    """Small: beside 10^5 queued tasks; full: 10^6. Within twice the time of an idle system, and one task.

    The best of some, each: whom the others' tasks hold up, they hold up each time; a busy machine does not.
    """
    mine, theirs = 0.05, 0.005
    with Client.connect(client.folder) as little:
        idle = min(_seconds_of_ten(little, mine) for _ in range(3))
        many = client.submit_many(time.sleep, [theirs] * (1_000_000 if size is Size.FULL else 100_000))
        wait_until("they are queued", lambda: pool_status(client).submitted, lambda found: found >= len(many))
        beside = min(_seconds_of_ten(little, mine) for _ in range(5))
        assert pool_status(client).queued > len(many) // 2, "they still are"
        assert beside <= 2 * idle + mine, f"{beside:.3f} s beside others, {idle:.3f} s alone"
    client.shutdown(wait=True, cancel_futures=True)


def test_ten_tasks_are_not_held_up_by_another_clients_longer_ones(client: Client) -> None:
    """They wait for the one that runs on a worker, and not for another one behind it."""
    with Client.connect(client.folder) as little:
        idle = min(_seconds_of_ten(little, 0.01) for _ in range(3))
        many = client.submit_many(_naps, [0.3] * 1_000)
        wait_until("they are queued", lambda: pool_status(client).submitted, lambda found: found >= len(many))
        wait_until("some have run", lambda: sum(one.done() for one in many), lambda found: found >= 4)
        beside = min(_seconds_of_ten(little, 0.01) for _ in range(5))
        assert beside <= 2 * idle + 1.5 * 0.3, f"{beside:.3f} s beside others, {idle:.3f} s alone"
    client.shutdown(wait=True, cancel_futures=True)


def _naps(seconds: float, gate: str = "") -> None:
    """Sleep, and then until there is the file, if one is named."""
    time.sleep(seconds)
    while gate and not os.path.exists(gate):
        time.sleep(0.01)


@pytest.mark.scale
def test_short_tasks_use_the_worker_that_a_long_one_leaves(client: Client, size: Size, tmp_path: Path) -> None:
    """Full: 10 s and 200 of 10 ms end within 10.3 s. Small: 40 end while the long one waits for that."""
    long, count, gate = (10.0, 200, "") if size is Size.FULL else (0.0, 40, str(tmp_path / "gate"))
    start = time.perf_counter()
    waits = client.submit(_naps, long, gate)
    for future in client.submit_many(_naps, [0.01] * count):
        future.result(WITHIN)
    (tmp_path / "gate").touch()
    waits.result(WITHIN)
    took = time.perf_counter() - start
    assert took <= 1.03 * long or size is not Size.FULL, f"{took:.2f} s for what lasts {long} s"


def test_a_long_task_among_short_ones_holds_nobody_up(client: Client, tmp_path: Path) -> None:
    client.submit_many(_naps, [0.001] * 400)[-1].result(WITHIN)  # they are known to be short
    gate = tmp_path / "gate"
    futures = client.starmap(_naps, [(0.001,)] * 200 + [(0.0, str(gate))] + [(0.001,)] * 200)
    try:
        for future in (*futures[:200], *futures[201:]):
            future.result(WITHIN)
    finally:
        gate.touch()
    futures[200].result(WITHIN)


def test_a_wide_task_starts_beside_endless_small_ones(house: House) -> None:
    pools = {"default": LocalPool(workers_per_node=2, min_blocks=1, init_blocks=1)}
    ending = threading.Event()
    with Client.local(pools=pools, folder=house.folder) as client:

        def keep_busy() -> None:
            while not ending.is_set():
                for future in client.submit_many(time.sleep, [0.005] * 100):
                    future.result(WITHIN)

        small = [threading.Thread(target=keep_busy, daemon=True) for _ in range(2)]
        for thread in small:
            thread.start()
        try:
            wait_until("small tasks are queued", lambda: pool_status(client).queued, lambda queued: queued > 50)
            wide = client.options(cores=2).submit(abs, -1)
            whole = client.options(nodes=1).submit(abs, -2)
            assert wide.result(WITHIN) == 1
            assert whole.result(WITHIN) == 2
            assert not ending.is_set()
        finally:
            ending.set()
            for thread in small:
                thread.join(WITHIN)


SLOW = """
import sys, time
from blockyard import Client
client = Client.connect(sys.argv[1])
futures = client.submit_many(bytes, [20_000] * 5_000)
futures[0].result(60)
sys.stdout.write("ready\\n")
sys.stdout.flush()
time.sleep(3600)
"""


def test_a_client_that_does_not_read_holds_up_nobody_else(client: Client, house: House, tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    slow = subprocess.Popen(
        [sys.executable, script, house.folder], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    try:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "ready\n"
        slow.send_signal(signal.SIGSTOP)
        before = pool_status(client)
        futures = client.submit_many(bytes, [20_000] * 2_000)
        assert all(len(future.result(WITHIN)) == 20_000 for future in futures)
        assert pool_status(client).done >= before.done + 2_000
    finally:
        slow.kill()
        slow.wait()
        if slow.stdout is not None:
            slow.stdout.close()
