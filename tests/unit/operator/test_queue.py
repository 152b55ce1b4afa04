"""The queue of keys: once each, never two at a time, later after failures. In virtual time, without sleeping."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from blockyard_operator.queue import FIRST_PAUSE, LONGEST_PAUSE, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(steps)


async def ready(queue: WorkQueue[str]) -> list[str]:
    """All keys that can be had now."""
    found: list[str] = []
    while True:
        task = asyncio.ensure_future(queue.get())
        for _ in range(3):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return found
        found.append(task.result()[0])


def test_a_key_is_there_once_and_in_order() -> None:
    async def steps() -> None:
        queue: WorkQueue[str] = WorkQueue(Clock())
        for key in ("a", "b", "a"):
            queue.add(key)
        assert await ready(queue) == ["a", "b"]

    run(steps())


def test_a_key_that_comes_while_it_is_worked_on_is_done_once_more() -> None:
    async def steps() -> None:
        queue: WorkQueue[str] = WorkQueue(Clock())
        queue.add("a")
        assert await ready(queue) == ["a"]
        queue.add("a")
        queue.add("a")
        assert await ready(queue) == []
        queue.done("a")
        assert await ready(queue) == ["a"]
        queue.done("a")
        assert await ready(queue) == []

    run(steps())


def test_a_key_that_fails_comes_back_after_a_pause_that_doubles() -> None:
    async def steps() -> None:
        clock = Clock()
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        pauses = []
        for _ in range(20):
            assert await ready(queue) == ["a"]
            queue.add("a")  # news do not shorten the pause
            pauses.append(queue.failed("a"))
            assert await ready(queue) == []
            clock.now += pauses[-1]
        assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
        assert pauses[-1] == LONGEST_PAUSE
        assert await ready(queue) == ["a"]
        queue.done("a")
        queue.add("a")
        assert await ready(queue) == ["a"]
        assert queue.failed("a") == FIRST_PAUSE, "success forgets failures"

    run(steps())


def test_of_several_appointments_the_earliest_counts() -> None:
    async def steps() -> None:
        clock = Clock()
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add_at("a", 120.0)
        queue.add_at("a", 110.0)
        queue.add_at("a", 130.0)
        assert await ready(queue) == []
        clock.now = 110.0
        assert await ready(queue) == ["a"]
        queue.done("a")
        clock.now = 200.0
        assert await ready(queue) == []

    run(steps())


def test_the_oldest_wait_can_be_seen() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add("a")
    clock.now = 101.0
    queue.add("b")
    assert (queue.waits_since, len(queue)) == (100.0, 2)


@pytest.mark.timeout(20)
def test_who_waits_is_woken_by_a_key_and_by_an_appointment() -> None:
    async def steps() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(loop.time)
        waiter = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        assert (await waiter)[0] == "a"
        queue.add_at("b", loop.time() + 0.01)
        assert (await queue.get())[0] == "b"

    run(steps())
