"""The handle on a pool of a real system: what is told and done by hand, and what giving up means for futures."""

import time

import pytest

from blockyard import Client, LocalPool
from blockyard.blocks.states import JobState
from blockyard.errors import DependencyError, PoolFailed
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import engine_of

pytestmark = pytest.mark.timeout(300)

POOLS = {
    "default": LocalPool(workers_per_node=1, max_blocks=2, strategy="none"),
    "other": LocalPool(workers_per_node=1, min_blocks=1, init_blocks=1),
}


def test_blocks_are_scaled_by_hand_and_a_pool_given_up_fails_its_futures_alone(house: House) -> None:
    with Client.local(pools=POOLS, folder=house.folder) as client:
        pool = client.pool("default")
        assert (pool.label, pool.workers_per_node, pool.status_polling_interval) == ("default", 1, 0)
        first = pool.submit(abs, None, -1)
        assert pool.outstanding() == 1
        (block,) = pool.scale_out(1)
        assert first.result(WITHIN) == 1
        wait_until("it runs", lambda: pool.status()[block].state, lambda state: state is JobState.RUNNING)
        wait_until("nothing is outstanding", pool.outstanding, lambda left: left == 0)
        assert pool.scale_in(1) == [block]
        wait_until("it is gone", lambda: pool.status()[block].state, lambda state: state is JobState.SCALED_IN)

        done, *waiting = [pool.submit(time.sleep, {"priority": 1}, 600) for _ in range(3)]
        assert done.cancel()
        assert set(pool.tasks) >= {future.task for future in waiting}  # type: ignore[attr-defined]  # ours have it
        pool.set_bad_state_and_fail_all(LookupError("given up"))
        assert pool.bad_state_is_set
        for future in waiting:
            with pytest.raises(LookupError, match="given up"):
                future.result(WITHIN)
        with pytest.raises(LookupError, match="given up"):
            pool.submit(abs, None, -1)
        with pytest.raises(LookupError, match="given up"):
            client.submit(abs, -1)
        assert client.options(pool="other").submit(abs, -2).result(WITHIN) == 2


def test_a_pool_that_is_given_up_fails_for_other_clients_too_and_holds_nobody_up(house: House) -> None:
    pools = {"bad": LocalPool(worker_init="nowhere:nothing", error_policy="simple"), "good": LocalPool()}
    with Client.local(pools=pools, folder=house.folder) as client, Client.connect(house.folder) as other:
        bad = client.options(pool="bad").submit(abs, -1)
        needs = client.options(pool="good").submit(abs, bad)
        theirs = other.options(pool="bad").submit(abs, -2)
        for future in (bad, theirs):
            with pytest.raises(PoolFailed, match="No module named 'nowhere'"):
                future.result(WITHIN)
        with pytest.raises(DependencyError, match="No module named 'nowhere'"):
            needs.result(WITHIN)
        with pytest.raises(PoolFailed, match="No module named 'nowhere'"):
            other.options(pool="bad").submit(abs, -3).result(WITHIN)
        engine = engine_of(client)
        wait_until("nothing is left to wait for", engine._unfinished.tasks, lambda left: not left)
