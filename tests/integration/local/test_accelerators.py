"""A task that asks for accelerators knows which ones it has, and nobody else has them meanwhile."""

import os
import signal
import time
from collections.abc import Sequence
from itertools import combinations

import pytest

from blockyard import Client, LocalPool
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

NAMES = ("gpu-a", "gpu-b", "gpu-c", "gpu-d")
Use = tuple[list[str], float, float]
"""Names of what a task had, and when it began and ended by the machine's monotonic clock."""


def use(seconds: float) -> Use:
    """Have accelerators for a while."""
    began = time.monotonic()
    given = os.environ["BLOCKYARD_ACCELERATORS"]
    assert given == os.environ["CUDA_VISIBLE_DEVICES"]
    time.sleep(seconds)
    return given.split(","), began, time.monotonic()


def _wait_for_workers(client: Client, count: int) -> None:
    """A block that comes up late finds nothing left to do."""
    wait_until("all workers are there", lambda: pool_status(client).workers, lambda found: found == count)


def assert_nobody_shared(uses: Sequence[Use]) -> None:
    """No two that ran at the same time had the same one."""
    for (names, began, ended), (others, other_began, other_ended) in combinations(uses, 2):
        together = began < other_ended and other_began < ended
        assert not together or not set(names) & set(others), (names, others)


@pytest.mark.parametrize(
    "shape",
    [
        {"workers_per_node": 4, "init_blocks": 1},
        {"workers_per_node": 2, "max_blocks": 2, "init_blocks": 2},
        {"workers_per_node": 2, "nodes_per_block": 2, "init_blocks": 1},
    ],
    ids=["one block", "two blocks", "two nodes"],
)
def test_no_two_tasks_have_the_same_one(house: House, shape: dict[str, int]) -> None:
    pool = LocalPool(accelerators=NAMES, start_cost=0.0, **shape)  # type: ignore[arg-type]  # all are numbers
    with Client.local(pools={"default": pool}, folder=house.folder) as client:
        _wait_for_workers(client, 4)
        uses = [future.result(WITHIN) for future in client.options(accelerators=1).submit_many(use, [0.05] * 40)]
        uses += [future.result(WITHIN) for future in client.options(accelerators=2).submit_many(use, [0.02] * 10)]
    assert {name for names, _, _ in uses for name in names} == set(NAMES), "all of them were used"
    assert {len(names) for names, _, _ in uses[40:]} == {2}
    assert_nobody_shared(uses)


def test_a_block_that_replaces_another_has_its_share(house: House) -> None:
    pool = LocalPool(accelerators=2, max_blocks=2, min_blocks=2, init_blocks=2)
    with Client.local(pools={"default": pool}, folder=house.folder) as client:
        _wait_for_workers(client, 2)
        job = client.options(accelerators=1)
        futures = job.submit_many(use, [0.05] * 40)
        wait_until(
            "some have ended on each",
            lambda: {name for future in futures if future.done() for name in future.result()[0]},
            lambda names: names == {"0", "1"},
        )
        for manager in wait_until("both run", house.managers, lambda there: len(there) == 2):
            os.kill(manager.pid, signal.SIGKILL)
        uses = [future.result(WITHIN) for future in futures]
    assert {name for names, _, _ in uses for name in names} == {"0", "1"}
    assert_nobody_shared(uses)


def test_more_than_a_node_has_is_refused_and_so_is_what_two_pools_name(house: House) -> None:
    from blockyard.errors import ConfigError, RequestTooLarge

    with Client.local(pools={"default": LocalPool(accelerators=2, max_blocks=2)}, folder=house.folder) as client:
        error = client.options(accelerators=2).submit(use, 0).exception(WITHIN)
        assert isinstance(error, RequestTooLarge)
        assert "the largest that fits in pool 'default' is accelerators=1" in str(error)
    both = {"one": LocalPool(accelerators=("x",)), "two": LocalPool(accelerators=("x",))}
    with pytest.raises(ConfigError, match="pools 'one' and 'two' both name accelerator 'x'"):
        Client.local(pools=both, folder=house.folder)
