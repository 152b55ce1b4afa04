"""What a pool's settings do to its workers, from `Client.local` down: initialisation, replacement, cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

MODEL: list[str] = []
"""What an initialiser leaves in a worker."""


def prepare(*words: str) -> None:
    """Called once in each worker."""
    MODEL.append(" ".join(words))


def model() -> tuple[int, list[str]]:
    """Which worker, and what was left in it."""
    return os.getpid(), MODEL


def grow(size_bytes: int) -> int:
    """Keep so much for ever; returns which worker did."""
    globals()["_kept"] = b"x" * size_bytes
    return os.getpid()


def one_block(house: House, **settings: object) -> Client:
    """A system with one block."""
    pool = LocalPool(min_blocks=1, init_blocks=1, **settings)  # type: ignore[arg-type]  # the tests' business
    return Client.local(pools={"default": pool}, folder=house.folder)


@pytest.mark.parametrize("how", [{"initializer": prepare}, {"worker_init": f"{__name__}:prepare"}])
def test_an_initialiser_is_called_once_in_each_worker(house: House, how: dict[str, object]) -> None:
    with one_block(house, workers_per_node=2, initargs=("a", "model"), **how) as client:
        seen = [future.result(WITHIN) for future in client.starmap(model, [()] * 50)]
    assert [left for _, left in seen] == [["a model"]] * 50


@pytest.mark.parametrize(
    "how, size_bytes", [({"max_tasks_per_worker": 3}, 0), ({"max_rss": "150Mi"}, 200 * 1024 * 1024)]
)
def test_a_worker_that_leaks_is_replaced(house: House, how: dict[str, object], size_bytes: int) -> None:
    with one_block(house, **how) as client:
        first = client.submit(grow, size_bytes).result(WITHIN)
        wait_until("another worker does it", lambda: client.submit(os.getpid).result(WITHIN), lambda pid: pid != first)
        assert pool_status(client).lost == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core only")
def test_workers_stay_on_their_cores_when_asked(house: House, tmp_path: Path) -> None:
    with one_block(house, workers_per_node=2, pin_cores=True) as client:
        wait_until("both are there", lambda: pool_status(client).workers, lambda workers: workers == 2)
        # Each waits for the other, so that both workers are asked.
        asked = client.starmap(_cores_of_both, [(str(tmp_path), place) for place in range(2)])
        (left, right) = [set(future.result(WITHIN)) for future in asked]
    assert left
    assert right
    assert not left & right
    assert left | right <= os.sched_getaffinity(0)


def _cores_of_both(folder: str, place: int) -> list[int]:
    Path(folder, f"here-{place}").touch()
    wait_until("the other one runs", lambda: os.path.exists(Path(folder, f"here-{1 - place}")), bool)
    return sorted(os.sched_getaffinity(0))


PROGRAM = """
import sys
from blockyard import Client

model = None

def prepare(word):
    global model
    model = word

def use():
    return model

with Client.local(workers=2, initializer=prepare, initargs=("ready",), folder=sys.argv[1]) as client:
    print({future.result(30) for future in client.starmap(use, [()] * 20)})
"""


def test_tasks_of_a_program_find_the_globals_that_its_initialiser_binds(house: House) -> None:
    """As with ProcessPoolExecutor; what is in `__main__` travels by value."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, house.folder],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert ended.stdout == "{'ready'}\n", ended.stderr
