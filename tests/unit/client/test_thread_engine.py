"""The thread engine keeps the promises of tasks: dependencies, retries, limits of time, priorities, keys, join.

Waiting is for events that tasks set; the clock is the test's own where time matters.
"""

import functools
import gc
import operator
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard.errors import (
    BrokenBlockyard,
    ConfigError,
    DeadlineExceeded,
    DependencyError,
    RequestTooLarge,
    TaskTimeout,
    UnknownPool,
)
from blockyard.futures import TaskFuture
from blockyard.ids import TaskId, task_name
from blockyard.joining import join
from blockyard.threads import ThreadEngine
from blockyard.wire.records import TaskSpec

LONG = 30.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def submit(engine: ThreadEngine, fn: Any, *args: Any, key: str = "", **options: Any) -> TaskFuture[Any]:
    keys = [key] if key else []
    return engine.submit(TaskSpec(function=b"", **options), fn, [(args, {})], keys)[0]


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    made = ThreadEngine(2)
    yield made
    made.shutdown(cancel_futures=True)


@pytest.fixture
def single() -> Iterator[ThreadEngine]:
    made = ThreadEngine(1)
    yield made
    made.shutdown(cancel_futures=True)


class Busy:
    """Keeps a thread of an engine busy until `release`."""

    def __init__(self, engine: ThreadEngine, **options: Any) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self.future = submit(engine, self._run, **options)
        assert self._begun.wait(LONG)

    def _run(self) -> str:
        self._begun.set()
        assert self._go.wait(LONG)
        return "released"

    def release(self) -> None:
        self._go.set()


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


# --- retries and limits of time -------------------------------------------------------------------------------------


class Flaky:
    """Raises so often, then returns the number of its calls."""

    def __init__(self, failures: int, error: type[BaseException] = ValueError) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return self.calls


def test_a_task_is_retried_as_often_as_asked(engine: ThreadEngine) -> None:
    assert submit(engine, Flaky(2), retries=2).result(LONG) == 3


def test_the_last_error_is_raised_when_retries_are_used_up(engine: ThreadEngine) -> None:
    flaky = Flaky(5)
    assert isinstance(submit(engine, flaky, retries=2).exception(LONG), ValueError)
    assert flaky.calls == 3


def test_only_named_errors_are_retried(engine: ThreadEngine) -> None:
    flaky = Flaky(5, KeyError)
    assert isinstance(submit(engine, flaky, retries=2, retry_on=("ValueError",)).exception(LONG), KeyError)
    assert flaky.calls == 1
    assert submit(engine, Flaky(1, KeyError), retries=2, retry_on=("builtins.LookupError",)).result(LONG) == 2


def test_system_exit_is_the_tasks_end_and_not_the_threads(single: ThreadEngine) -> None:
    flaky = Flaky(1, SystemExit)
    assert isinstance(submit(single, flaky, retries=3).exception(LONG), SystemExit)
    assert submit(single, abs, -1).result(LONG) == 1


def test_between_tries_a_task_is_pending_and_can_be_cancelled(single: ThreadEngine) -> None:
    future = submit(single, Flaky(1), retries=1, backoff=3600.0)
    submit(single, abs, 1).result(LONG)  # the only thread has done with the first try
    assert "waiting for its next try: try 1 of at most 2" in future.explain()
    assert future.cancel()


def test_a_task_that_runs_too_long_fails_and_its_thread_goes_on(single: ThreadEngine) -> None:
    busy = Busy(single, timeout=0.001)
    with pytest.raises(TaskTimeout, match=r"timeout of 0\.001 s"):
        busy.future.result(LONG)
    behind = submit(single, abs, -1)
    assert not behind.done()
    busy.release()
    assert behind.result(LONG) == 1
    assert isinstance(busy.future.exception(), TaskTimeout)


def test_a_deadline_ends_what_waits(single: ThreadEngine) -> None:
    busy = Busy(single)
    with pytest.raises(DeadlineExceeded, match=r"0\.001 s after it was submitted"):
        submit(single, abs, 1, deadline=0.001).result(LONG)
    busy.release()


def test_limits_are_measured_by_the_clock_that_was_given() -> None:
    clock = Clock()
    engine = ThreadEngine(1, clock=clock)
    busy = Busy(engine, timeout=60.0)
    clock.now += 61.0
    submit(engine, abs, 1, deadline=3600.0)  # whatever touches the timers makes them be looked at
    assert isinstance(busy.future.exception(LONG), TaskTimeout)
    busy.release()
    engine.shutdown()


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


# --- threads, ends --------------------------------------------------------------------------------------------------


def names_of_threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_threads_are_started_when_needed_and_end_with_the_engine() -> None:
    engine = ThreadEngine(3, thread_name_prefix="counted")
    assert names_of_threads("counted") == []
    submit(engine, abs, 1).result(LONG)
    assert names_of_threads("counted") == ["counted-0"]
    submit(engine, abs, 1, timeout=100.0).result(LONG)
    engine.shutdown()
    assert names_of_threads("counted") == []


def test_an_engine_that_was_dropped_ends_its_threads() -> None:
    engine = ThreadEngine(2, thread_name_prefix="dropped")
    future = submit(engine, threading.current_thread)
    thread = future.result(LONG)
    gone = weakref.ref(engine)
    del engine, future
    gc.collect()
    assert gone() is None
    thread.join(LONG)
    assert not thread.is_alive()


def test_the_initializer_runs_once_in_each_thread() -> None:
    seen: list[tuple[str, int]] = []
    engine = ThreadEngine(
        2, initializer=lambda value: seen.append((threading.current_thread().name, value)), initargs=(7,)
    )
    together = threading.Barrier(2, timeout=LONG)
    for _ in range(3):
        for future in [submit(engine, together.wait) for _ in range(2)]:
            future.result(LONG)
    engine.shutdown()
    assert sorted(seen) == [("blockyard-0", 7), ("blockyard-1", 7)]


def test_an_initializer_that_raises_breaks_the_engine() -> None:
    go = threading.Event()

    def fail() -> None:
        assert go.wait(LONG)
        raise OSError("no device")

    engine = ThreadEngine(1, initializer=fail)
    futures = [submit(engine, abs, number) for number in range(3)]
    go.set()
    for future in futures:
        with pytest.raises(BrokenBlockyard, match="the initializer of a thread raised OSError: no device"):
            future.result(LONG)
    with pytest.raises(BrokenBlockyard):
        submit(engine, abs, 1)
    engine.shutdown()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads=0"):
        ThreadEngine(0)
    with pytest.raises(TypeError, match="initializer=5"):
        ThreadEngine(1, initializer=5)  # type: ignore[arg-type]


def test_a_running_task_cannot_be_cancelled(single: ThreadEngine) -> None:
    busy = Busy(single)
    assert not busy.future.cancel()
    busy.release()
    assert busy.future.result(LONG) == "released"


def test_a_task_may_submit_to_its_own_engine(engine: ThreadEngine) -> None:
    inner = submit(engine, functools.partial(submit, engine), abs, -5)
    assert inner.result(LONG).result(LONG) == 5


@pytest.mark.parametrize("stage", ["running", "waiting"])
def test_a_forked_process_is_told_that_it_has_no_threads(single: ThreadEngine, stage: str) -> None:
    busy = Busy(single)
    watched = busy.future if stage == "running" else submit(single, abs, 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            words = [type(watched.exception(LONG)).__name__]
            try:
                submit(single, abs, 1)
            except BrokenBlockyard as error:
                words.append(str(error))
            os.write(writing, " ".join(words).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 1000).decode()
    os.close(reading)
    busy.release()
    assert said.startswith("BrokenBlockyard process")
    assert "was forked" in said
    assert watched.result(LONG) in ("released", 1)


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
