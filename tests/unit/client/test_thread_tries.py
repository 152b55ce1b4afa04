"""The thread engine tries again as often as asked, and ends what takes too long."""

import pytest

from blockyard.errors import DeadlineExceeded, TaskTimeout
from blockyard.threads import ThreadEngine
from tests.unit.client.thread_engines import LONG, Busy, Clock, Flaky, submit


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
