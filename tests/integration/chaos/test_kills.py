"""Any process of a system is killed, again and again, while short tasks run.

Whatever dies: every future ends with the right result, every task is recorded exactly once, a task that may be repeated
ran at least once, one that may not ran at most once and says so when it was lost. The client's own death is
`test_client_dies`.
"""

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import TaskLost
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.killer import Target, plan, strike
from tests.integration.chaos.workload import Graph, executions, mark
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import pool_status
from tests.machine import Size

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

LONG = 10 * WITHIN
"""For the end of everything that is still to be done."""


def _wait_for(futures: Sequence[Future[Any]], share: float) -> None:
    least = round(share * len(futures))
    wait_until(f"{least} tasks ended", lambda: sum(map(Future.done, futures)), lambda ended: ended >= least, 4 * WITHIN)


def test_every_task_ends_right_and_once_whatever_is_killed(house: House, tmp_path: Path, size: Size) -> None:
    """Small: 10^4 tasks and 3 kills of each target; full: 10^5 and 200 kills."""
    dice = random.Random(20)
    targets = plan(size, dice)
    width, layers = (100, 1000) if size is Size.FULL else (100, 100)
    with Client.local(workers=2, folder=house.folder) as client:
        graph = Graph(client, tmp_path / "marks", width=width)
        for target in targets:
            start = len(graph.futures)
            graph.grow(layers // (len(targets) + 1))
            _wait_for(graph.futures[start:], dice.random())
            strike(house, target, dice)
        graph.grow(layers - len(graph.futures) // width)
        results = [future.result(LONG) for future in graph.futures]
        count = len(results)
        assert count == width * layers
        assert results == graph.expected()
        status = pool_status(client)
        assert (status.submitted, status.done, status.failed) == (count, count, 0), status
    assert set(executions(tmp_path / "marks")) == set(range(count))
    assert set(times_recorded(house.folder).values()) == {1}


def test_a_task_that_may_not_run_twice_never_does(house: House, tmp_path: Path, size: Size) -> None:
    """Small: 2,000 tasks and 3 kills of each target; full: 2*10^4 and 200 kills. They last some milliseconds each, so
    that kills hit them while they run; those that were hit end as lost, with the evidence."""
    dice = random.Random(7)
    targets = plan(size, dice)
    count = 20_000 if size is Size.FULL else 2000
    marks = tmp_path / "marks"

    def once(path: str, number: int, seconds: float = 0.004) -> int:
        mark(path, number)
        time.sleep(seconds)
        return number

    with Client.local(workers=2, folder=house.folder) as client:
        careful = client.options(idempotent=False)
        portion = count // (len(targets) + 1)
        futures: list[Future[int]] = []
        for target in targets:
            start = len(futures)
            futures += careful.starmap(once, ((str(marks), start + place) for place in range(portion)))
            _wait_for(futures[start:], 0.9 * dice.random())
            strike(house, target, dice)
        futures += careful.starmap(once, ((str(marks), number) for number in range(len(futures), count - 1)))
        # On a busy machine each blow may come when all that was to be done has been done; this one hits for certain.
        futures.append(careful.submit(once, str(marks), count - 1, LONG))
        wait_until("the last one runs", lambda: executions(marks)[count - 1], bool, LONG)
        strike(house, Target.BLOCK, dice)
        errors = [future.exception(LONG) for future in futures]
        status = pool_status(client)
    ran = executions(marks)
    lost = [error for error in errors if error is not None]
    assert errors[-1] is not None, "it was hit while it ran"
    assert all(isinstance(error, TaskLost) and "not idempotent" in str(error) for error in lost), lost
    assert max(ran.values()) == 1
    fine = [number for number, error in enumerate(errors) if error is None]
    assert all(ran[number] == 1 and futures[number].result() == number for number in fine)
    assert (status.submitted, status.done, status.failed) == (count, count - len(lost), len(lost)), status
    assert set(times_recorded(house.folder).values()) == {1}
