"""The thread engine keeps the promises of tasks: dependencies, priorities, keys, join.

Waiting is for events that tasks set; the clock is the test's own where time matters.
"""

import functools
import operator
import threading
from typing import Any

import pytest

from blockyard.errors import DependencyError, RequestTooLarge, UnknownPool
from blockyard.ids import TaskId, task_name
from blockyard.joining import join
from blockyard.threads import ThreadEngine
from tests.unit.client.thread_engines import LONG, Busy, Flaky, submit

# --- dependencies ---------------------------------------------------------------------------------------------------


def test_futures_in_arguments_are_replaced_by_their_values(engine: ThreadEngine) -> None:
    first, second = submit(engine, pow, 2, 3), submit(engine, pow, 2, 4)
    assert submit(engine, sum, [first, second]).result(LONG) == 24
    assert submit(engine, dict, {"a": (first,)}).result(LONG) == {"a": (8,)}


def test_a_long_chain_is_worked_off_on_one_thread(single: ThreadEngine) -> None:
    future = submit(single, int, 0)
    for _ in range(3000):
        future = submit(single, operator.add, future, 1)
    assert future.result(LONG) == 3000


def test_a_failure_fails_a_long_chain_at_once_naming_the_first(single: ThreadEngine) -> None:
    busy = Busy(single)
    first = future = submit(single, operator.truediv, busy.future, 1)
    for _ in range(3000):
        future = submit(single, operator.add, future, 1)
    busy.release()
    with pytest.raises(DependencyError, match=f"task {task_name(TaskId(first.task))}, .*TypeError") as caught:
        future.result(LONG)
    assert (caught.value.task, caught.value.cause_type) == (first.task, "builtins.TypeError")


def test_cancelling_fails_the_dependents_at_once(single: ThreadEngine) -> None:
    busy = Busy(single)
    waiting = submit(single, abs, 1)
    dependent = submit(single, abs, waiting)
    waiting.cancel()
    assert isinstance(dependent.exception(0), DependencyError)
    busy.release()


def test_a_dependency_that_has_failed_already_fails_the_task(engine: ThreadEngine) -> None:
    failed = submit(engine, divmod, 1, 0)
    failed.exception(LONG)
    assert isinstance(submit(engine, abs, failed).exception(LONG), DependencyError)


def test_futures_of_another_engine_are_dependencies_too(engine: ThreadEngine, single: ThreadEngine) -> None:
    busy = Busy(single)
    dependent = submit(engine, str.upper, busy.future)
    busy.release()
    assert dependent.result(LONG) == "RELEASED"


# --- order, room, keys ----------------------------------------------------------------------------------------------


def test_a_higher_priority_runs_first(single: ThreadEngine) -> None:
    busy = Busy(single)
    order: list[str] = []
    futures = [submit(single, order.append, name, priority=priority) for name, priority in [("low", 0), ("high", 9)]]
    busy.release()
    for future in futures:
        future.result(LONG)
    assert order == ["high", "low"]


def test_a_task_of_two_cores_has_two_threads_to_itself(engine: ThreadEngine) -> None:
    busy = Busy(engine)
    wide = submit(engine, abs, 1, cores=2)
    behind = submit(engine, abs, 2)
    assert "it needs 2, 1 of 2 are free" in wide.explain()
    assert not behind.done()
    busy.release()
    assert (wide.result(LONG), behind.result(LONG)) == (1, 2)


def test_all_threads_work_when_there_is_work_for_all() -> None:
    engine = ThreadEngine(4)
    together = threading.Barrier(4, timeout=LONG)
    for _ in range(20):
        futures = [submit(engine, together.wait) for _ in range(4)]
        assert sorted(future.result(LONG) for future in futures) == [0, 1, 2, 3]
    engine.shutdown()


def test_a_second_task_does_not_wait_for_a_thread_that_was_idle_before(engine: ThreadEngine) -> None:
    submit(engine, abs, 1).result(LONG)
    busy = Busy(engine)
    assert submit(engine, abs, -2).result(LONG) == 2
    busy.release()


def test_all_threads_that_a_wide_task_frees_are_used(engine: ThreadEngine) -> None:
    submit(engine, abs, 1).result(LONG)
    busy = Busy(engine, cores=2)
    together = threading.Barrier(2, timeout=LONG)
    futures = [submit(engine, together.wait) for _ in range(2)]
    busy.release()
    assert sorted(future.result(LONG) for future in futures) == [0, 1]


def test_the_same_key_is_the_same_task(engine: ThreadEngine) -> None:
    flaky = Flaky(0)
    first, second = submit(engine, flaky, key="k"), submit(engine, flaky, key="k")
    other = submit(engine, flaky, key="other")
    assert first is second
    assert other is not first
    assert first.result(LONG) + other.result(LONG) == 3


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"pool": "gpu"}, UnknownPool, "one pool, 'default'"),
        ({"cores": 3}, RequestTooLarge, "cores=3: .* at most 2"),
        ({"accelerators": 1}, RequestTooLarge, "accelerators=1: .* at most 0"),
        ({"nodes": 2}, RequestTooLarge, "nodes=2"),
        ({"ranks": 2}, RequestTooLarge, "ranks=2"),
    ],
)
def test_what_threads_can_never_offer_is_refused(
    engine: ThreadEngine, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        submit(engine, abs, 1, **options)


# --- join -----------------------------------------------------------------------------------------------------------


def test_a_joined_task_has_the_results_of_its_calls_in_order(single: ThreadEngine) -> None:
    assert submit(single, lambda: join(abs, [-1, -2, -3])).result(LONG) == [1, 2, 3]
    assert submit(single, lambda: join([])).result(LONG) == []


def test_joins_may_nest_on_one_thread(single: ThreadEngine) -> None:
    def tree(depth: int) -> Any:
        return join(tree, [depth - 1] * 2) if depth else "leaf"

    assert submit(single, tree, 3).result(LONG) == [[["leaf"] * 2] * 2] * 2


def test_the_first_failure_among_joined_calls_fails_the_task(single: ThreadEngine) -> None:
    future = submit(single, lambda: join([(abs, 1), (divmod, 1, 0), (abs, 2)]))
    assert isinstance(future.exception(LONG), DependencyError)
    assert "ZeroDivisionError" in str(future.exception())


def test_joined_calls_are_retried_as_their_task_would_be(single: ThreadEngine) -> None:
    tries: list[str] = []

    def fails_twice(kind: type[Exception]) -> str:
        tries.append(kind.__name__)
        if len(tries) < 3:
            raise kind
        return "at last"

    future = submit(single, lambda: join(fails_twice, [ConnectionResetError]), retries=2, retry_on=("ConnectionError",))
    assert future.result(LONG) == ["at last"]
    tries.clear()
    future = submit(single, lambda: join(fails_twice, [KeyError]), retries=2, retry_on=("ConnectionError",))
    assert isinstance(future.exception(LONG), DependencyError)
    assert tries == ["KeyError"]


def test_a_joined_task_can_be_a_dependency(single: ThreadEngine) -> None:
    assert submit(single, sum, submit(single, lambda: join(abs, [1, 2]))).result(LONG) == 3


def test_shutdown_waits_for_joined_calls_too(single: ThreadEngine) -> None:
    busy = Busy(single)
    future = submit(single, lambda: join(abs, range(5)))
    busy.release()
    single.shutdown(wait=True)
    assert future.result(0) == list(range(5))


def test_a_running_task_cannot_be_cancelled(single: ThreadEngine) -> None:
    busy = Busy(single)
    assert not busy.future.cancel()
    busy.release()
    assert busy.future.result(LONG) == "released"


def test_a_task_may_submit_to_its_own_engine(engine: ThreadEngine) -> None:
    inner = submit(engine, functools.partial(submit, engine), abs, -5)
    assert inner.result(LONG).result(LONG) == 5


def test_explain_says_what_a_task_waits_for(single: ThreadEngine) -> None:
    busy = Busy(single)
    dependent = submit(single, abs, busy.future)
    assert "1 of the futures in its arguments have not ended" in dependent.explain()
    assert "running: try 1 of at most 1" in busy.future.explain()
    busy.release()
    dependent.exception(LONG)
    name = task_name(TaskId(dependent.task))
    assert dependent.explain() == f"task {name} failed: TypeError: bad operand type for abs(): 'str'"
    assert busy.future.explain() == f"task {task_name(TaskId(busy.future.task))} is done."
