"""The queue of the thread engine decides by priority, order, room and time; no clock, no threads."""

from typing import Any

import pytest

from blockyard.threads.queue import Stage, TaskQueue, ThreadTask, Timer, may_retry, slots_of
from blockyard.wire.records import TaskSpec


def a_task(number: int, *, unmet: int = 0, at: float = 0.0, **options: Any) -> ThreadTask:
    spec = TaskSpec(function=b"", **options)
    return ThreadTask(number, spec, None, at, slots_of(spec), unmet=unmet)


def a_queue(threads: int, *tasks: ThreadTask) -> TaskQueue:
    queue = TaskQueue(threads)
    for task in tasks:
        queue.add(task)
    return queue


def started(queue: TaskQueue, now: float = 0.0) -> list[int]:
    """The numbers of all tasks that begin now, in order."""
    return [task.number for task in iter(lambda: queue.start_next(now), None)]


def test_tasks_begin_in_the_order_of_submission() -> None:
    assert started(a_queue(3, a_task(1), a_task(2), a_task(3))) == [1, 2, 3]


def test_a_higher_priority_goes_first() -> None:
    assert started(a_queue(3, a_task(1), a_task(2, priority=5), a_task(3, priority=-1))) == [2, 1, 3]


def test_no_more_begin_than_threads_are_free() -> None:
    queue = a_queue(2, a_task(1), a_task(2), a_task(3))
    assert started(queue) == [1, 2]
    queue.release(task := queue.unfinished[1])
    queue.end(task)
    assert started(queue) == [3]


def test_a_task_of_several_cores_waits_for_room_and_is_not_overtaken() -> None:
    queue = a_queue(2, a_task(1), a_task(2, cores=2), a_task(3))
    assert started(queue) == [1]
    queue.release(queue.unfinished[1])
    assert started(queue) == [2]


@pytest.mark.parametrize("cores, slots", [(0, 1), (0.5, 1), (1, 1), (1.5, 2), (3, 3)])
def test_cores_are_rounded_up_to_threads(cores: float, slots: int) -> None:
    assert slots_of(TaskSpec(function=b"", cores=cores)) == slots


def test_a_task_begins_when_all_that_it_needs_has_ended() -> None:
    task = a_task(1, unmet=2)
    queue = a_queue(1, task)
    queue.met(task)
    assert started(queue) == []
    queue.met(task)
    assert started(queue) == [1]


def test_a_task_that_ended_meanwhile_does_not_begin() -> None:
    first, second = a_task(1), a_task(2, unmet=1)
    queue = a_queue(2, first, second)
    assert queue.end(first)
    assert not queue.end(first)
    queue.end(second)
    queue.met(second)
    assert started(queue) == []


@pytest.mark.parametrize(
    "retry_on, names, again",
    [
        ((), ("builtins.ValueError",), True),
        (("ValueError",), ("builtins.ValueError", "builtins.Exception"), True),
        (("builtins.Exception",), ("builtins.ValueError", "builtins.Exception"), True),
        (("KeyError",), ("builtins.ValueError", "builtins.Exception"), False),
        (("other.ValueError",), ("builtins.ValueError",), False),
    ],
)
def test_retry_on_is_compared_with_qualified_and_bare_names(
    retry_on: tuple[str, ...], names: tuple[str, ...], again: bool
) -> None:
    assert may_retry(TaskSpec(function=b"", retries=1, retry_on=retry_on), 1, names) is again


def test_retries_are_counted_beyond_the_first_try() -> None:
    spec = TaskSpec(function=b"", retries=2)
    assert [may_retry(spec, tries, ()) for tries in (1, 2, 3)] == [True, True, False]


def test_a_retry_goes_before_what_was_submitted_later() -> None:
    first, second = a_task(1, retries=1), a_task(2)
    queue = a_queue(1, first, second)
    started(queue)
    queue.release(first)
    queue.retry(first, 0.0)
    assert started(queue) == [1]


def test_the_back_off_doubles_with_each_try() -> None:
    task = a_task(1, retries=3, backoff=2.0)
    queue = a_queue(1, task)
    dues = []
    for now in (0.0, 10.0, 20.0):
        assert started(queue, now) == [1]
        queue.release(task)
        queue.retry(task, now)
        assert started(queue, now) == []
        dues.append((queue.next_due() or 0) - now)
        assert queue.expire(now + dues[-1]) == []
    assert dues == [2.0, 4.0, 8.0]


def test_a_timeout_is_counted_from_the_start_of_the_try() -> None:
    task = a_task(1, timeout=5.0)
    queue = a_queue(1, task)
    started(queue, 100.0)
    assert queue.next_due() == 105.0
    assert queue.expire(104.9) == []
    assert queue.expire(105.0) == [(task, Timer.TIMEOUT)]


def test_the_timeout_of_an_earlier_try_does_not_touch_a_later_one() -> None:
    task = a_task(1, timeout=5.0, retries=1)
    queue = a_queue(1, task)
    started(queue, 0.0)
    queue.release(task)
    queue.retry(task, 4.0)
    started(queue, 4.0)
    assert queue.expire(5.0) == []
    assert queue.expire(9.0) == [(task, Timer.TIMEOUT)]


def test_a_deadline_is_counted_from_the_submission_whatever_the_task_does() -> None:
    waiting, running = a_task(1, deadline=5.0, at=10.0, unmet=1), a_task(2, deadline=5.0, at=10.0)
    queue = a_queue(1, waiting, running)
    started(queue, 11.0)
    assert queue.expire(14.9) == []
    assert queue.expire(15.0) == [(waiting, Timer.DEADLINE), (running, Timer.DEADLINE)]


def test_timers_of_ended_tasks_are_dropped() -> None:
    task = a_task(1, deadline=5.0)
    queue = a_queue(1, task)
    queue.end(task)
    assert queue.expire(6.0) == []
    assert queue.next_due() is None


def test_a_thread_stays_occupied_until_its_function_returns() -> None:
    task = a_task(1, timeout=1.0)
    queue = a_queue(1, task, a_task(2))
    started(queue)
    queue.end(task)
    assert started(queue) == []
    queue.release(task)
    queue.release(task)
    assert (started(queue), queue.free) == ([2], 0)


def test_a_joining_task_occupies_nothing_and_has_not_ended() -> None:
    task = a_task(1)
    queue = a_queue(1, task, a_task(2))
    started(queue)
    queue.release(task)
    queue.joined(task)
    assert started(queue) == [2]
    assert (task.stage, 1 in queue.unfinished) == (Stage.JOINING, True)
