"""What `concurrent.futures.Future` documents, asked of the standard library's class and of ours alike.

The standard class is in the list so that a wrong expectation here cannot pass unseen.
"""

import asyncio
import concurrent.futures
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    InvalidStateError,
)
from typing import Any

import pytest

from blockyard.futures import FutureHome, TaskFuture, as_completed

LONG = 30.0
"""Longer than anything here takes; nothing waits for it to pass."""

Make = Callable[[], "Future[Any]"]


def one_home() -> Make:
    home = FutureHome(cancels_running=False)
    return lambda: TaskFuture(home, 1)


@pytest.fixture(params=["standard", "task", "task, each with a home of its own"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "standard":
        return Future
    if request.param == "task":
        return one_home()
    return lambda: TaskFuture(FutureHome(cancels_running=False), 1)


@pytest.fixture(params=["standard", "ours"])
def in_order(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return concurrent.futures.as_completed if request.param == "standard" else as_completed


def pending(make: Make) -> "Future[Any]":
    return make()


def running(make: Make) -> "Future[Any]":
    future = make()
    assert future.set_running_or_notify_cancel()
    return future


def cancelled(make: Make) -> "Future[Any]":
    future = make()
    assert future.cancel()
    future.set_running_or_notify_cancel()
    return future


def returned(make: Make, value: object = 42) -> "Future[Any]":
    future = running(make)
    future.set_result(value)
    return future


def raised(make: Make) -> "Future[Any]":
    future = running(make)
    future.set_exception(OSError("broken"))
    return future


def soon(act: Callable[[], object]) -> threading.Thread:
    """Do something in another thread, about when this one begins to wait."""
    thread = threading.Thread(target=act)
    thread.start()
    return thread


STATES = [pending, running, cancelled, returned, raised]


@pytest.mark.parametrize(
    "state, answers",
    [
        (pending, (False, False, False)),
        (running, (False, True, False)),
        (cancelled, (True, False, True)),
        (returned, (False, False, True)),
        (raised, (False, False, True)),
    ],
)
def test_it_knows_its_state(make: Make, state: Callable[[Make], "Future[Any]"], answers: tuple[bool, ...]) -> None:
    future = state(make)
    assert (future.cancelled(), future.running(), future.done()) == answers


@pytest.mark.parametrize(
    "state, can", [(pending, True), (running, False), (cancelled, True), (returned, False), (raised, False)]
)
def test_only_what_has_not_begun_can_be_cancelled(make: Make, state: Any, can: bool) -> None:
    future = state(make)
    assert future.cancel() is can
    assert future.cancelled() is can


def test_a_cancelled_future_does_not_start(make: Make) -> None:
    future = make()
    future.cancel()
    assert future.set_running_or_notify_cancel() is False


@pytest.mark.parametrize("state", [running, returned, raised])
def test_a_future_starts_once(make: Make, state: Any, caplog: pytest.LogCaptureFixture) -> None:
    future = state(make)
    with pytest.raises(RuntimeError):
        future.set_running_or_notify_cancel()
    assert "unexpected state" in caplog.text


@pytest.mark.parametrize("state", [cancelled, returned, raised])
@pytest.mark.parametrize("end", [lambda f: f.set_result(1), lambda f: f.set_exception(OSError())])
def test_a_future_ends_once(make: Make, state: Any, end: Any) -> None:
    with pytest.raises(InvalidStateError):
        end(state(make))


@pytest.mark.parametrize("timeout", [0, 0.0, -1, 0.001])
@pytest.mark.parametrize("state", [pending, running])
def test_waiting_ends_with_the_timeout(make: Make, state: Any, timeout: float) -> None:
    future = state(make)
    with pytest.raises(TimeoutError):
        future.result(timeout)
    with pytest.raises(TimeoutError):
        future.exception(timeout)


def test_result_returns_the_value(make: Make) -> None:
    assert returned(make).result() == 42
    assert returned(make).result(timeout=0) == 42
    assert returned(make).exception() is None


def test_result_raises_the_very_exception(make: Make) -> None:
    future = raised(make)
    with pytest.raises(OSError, match="broken") as first:
        future.result(timeout=0)
    with pytest.raises(OSError, match="broken") as second:
        future.result(timeout=0)
    assert first.value is second.value is future.exception()


def test_a_cancelled_future_raises_cancelled_error(make: Make) -> None:
    future = cancelled(make)
    with pytest.raises(CancelledError):
        future.result(timeout=0)
    with pytest.raises(CancelledError):
        future.exception(timeout=0)


def test_a_result_wakes_who_waits(make: Make) -> None:
    future = running(make)
    thread = soon(lambda: future.set_result(42))
    assert future.result(timeout=LONG) == 42
    thread.join()


def test_an_exception_wakes_who_waits(make: Make) -> None:
    future = running(make)
    thread = soon(lambda: future.set_exception(OSError("broken")))
    assert isinstance(future.exception(timeout=LONG), OSError)
    thread.join()


def test_cancelling_wakes_who_waits(make: Make) -> None:
    future = make()
    thread = soon(future.cancel)
    with pytest.raises(CancelledError):
        future.result(timeout=LONG)
    thread.join()


def test_many_threads_may_wait_for_one_future(make: Make) -> None:
    future = running(make)
    seen: list[object] = []
    threads = [soon(lambda: seen.append(future.result(timeout=LONG))) for _ in range(8)]
    future.set_result(7)
    for thread in threads:
        thread.join(LONG)
    assert seen == [7] * 8


# --- callbacks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [lambda f: f.set_result(1), lambda f: f.set_exception(OSError()), lambda f: f.cancel()])
def test_callbacks_are_called_once_in_order_with_the_future(make: Make, end: Any) -> None:
    future = make()
    seen: list[tuple[int, object]] = []
    for number in range(3):
        future.add_done_callback(lambda ended, number=number: seen.append((number, ended)))  # type: ignore[misc]
    end(future)
    assert seen == [(0, future), (1, future), (2, future)]


@pytest.mark.parametrize("state", [cancelled, returned, raised])
def test_a_callback_added_late_is_called_at_once(make: Make, state: Any) -> None:
    seen: list[object] = []
    future = state(make)
    future.add_done_callback(seen.append)
    assert seen == [future]


def test_a_callback_that_raises_is_logged_and_the_next_is_called(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    future = make()
    seen: list[object] = []

    def fail(ended: object) -> None:
        raise RuntimeError("doh")

    future.add_done_callback(fail)
    future.add_done_callback(seen.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.set_result(1)
        future.add_done_callback(fail)
    assert seen == [future]
    assert caplog.text.count("exception calling callback") == 2
    assert caplog.text.count("RuntimeError: doh") == 2


def test_a_callback_may_ask_for_the_result_and_add_another(make: Make) -> None:
    future = make()
    seen: list[object] = []

    def first(ended: "Future[Any]") -> None:
        seen.append(ended.result())
        ended.add_done_callback(lambda again: seen.append(again.result() + 1))

    future.add_done_callback(first)
    future.set_result(1)
    assert seen == [1, 2]


# --- wait and as_completed ------------------------------------------------------------------------------------------


def test_wait_returns_at_once_when_all_have_ended(make: Make) -> None:
    futures = [cancelled(make), returned(make), raised(make)]
    done, not_done = concurrent.futures.wait(futures, timeout=0)
    assert (done, not_done) == (set(futures), set())


def test_wait_tells_what_has_not_ended_in_time(make: Make) -> None:
    futures = [pending(make), running(make), returned(make)]
    done, not_done = concurrent.futures.wait(futures, timeout=0.001, return_when=ALL_COMPLETED)
    assert (done, not_done) == ({futures[2]}, set(futures[:2]))


@pytest.mark.parametrize(
    "when, end",
    [
        (FIRST_COMPLETED, lambda f: f.set_result(1)),
        (FIRST_COMPLETED, lambda f: f.set_exception(OSError())),
        (FIRST_EXCEPTION, lambda f: f.set_exception(OSError())),
    ],
)
def test_wait_returns_when_the_first_has_ended(make: Make, when: str, end: Any) -> None:
    futures = [running(make), running(make)]
    thread = soon(lambda: end(futures[1]))
    done, not_done = concurrent.futures.wait(futures, timeout=LONG, return_when=when)
    thread.join()
    assert (done, not_done) == ({futures[1]}, {futures[0]})


def test_wait_for_all_is_woken_by_the_last(make: Make) -> None:
    futures = [running(make) for _ in range(20)]

    def end_all() -> None:
        for future in reversed(futures):
            future.set_result(None)

    thread = soon(end_all)
    done, not_done = concurrent.futures.wait([*futures, *futures], timeout=LONG)
    thread.join()
    assert (done, not_done) == (set(futures), set())


def test_wait_counts_a_cancelled_future_as_done(make: Make) -> None:
    futures = [make(), running(make)]

    def cancel() -> None:
        futures[0].cancel()
        futures[0].set_running_or_notify_cancel()

    thread = soon(cancel)
    done, _ = concurrent.futures.wait(futures, timeout=LONG, return_when=FIRST_COMPLETED)
    thread.join()
    assert done == {futures[0]}


def test_two_waits_at_once_do_not_disturb_each_other(make: Make) -> None:
    futures = [running(make) for _ in range(3)]
    sizes: list[int] = []
    threads = [
        soon(lambda: sizes.append(len(concurrent.futures.wait(futures, timeout=LONG).done))),
        soon(lambda: sizes.append(len(list(concurrent.futures.as_completed(futures, timeout=LONG))))),
        soon(lambda: sizes.append(len(list(as_completed(futures, timeout=LONG))))),
    ]
    for future in futures:
        future.set_result(None)
    for thread in threads:
        thread.join(LONG)
    assert sizes == [3, 3, 3]


def test_as_completed_yields_each_once_and_the_ended_ones_first(make: Make, in_order: Any) -> None:
    last, first = running(make), returned(make)
    iterator = in_order([last, first, last, cancelled(make)], timeout=LONG)
    assert {next(iterator).done(), next(iterator).done()} == {True}
    thread = soon(lambda: last.set_result(1))
    assert list(iterator) == [last]
    thread.join()


def test_as_completed_yields_in_the_order_of_ending(make: Make, in_order: Any) -> None:
    futures = [running(make) for _ in range(10)]
    order = [futures[index] for index in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)]
    ended = returned(make)
    iterator = in_order([*futures, ended], timeout=LONG)
    assert next(iterator) is ended  # now it watches the others
    for future in order:
        future.set_result(None)
    assert list(iterator) == order


def test_as_completed_times_out(make: Make, in_order: Any) -> None:
    futures = [running(make), returned(make)]
    seen: list[object] = []

    def collect() -> None:
        for future in in_order(futures, timeout=0.001):
            seen.append(future)  # noqa: PERF402 - what came before the error is wanted

    with pytest.raises(TimeoutError, match="1"):
        collect()
    assert seen == [futures[1]]
    futures[0].set_result(1)
    assert futures[0].result() == 1


def test_as_completed_of_nothing_ends(in_order: Any) -> None:
    assert list(in_order([])) == []


def test_an_abandoned_as_completed_leaves_the_futures_as_they_were(make: Make, in_order: Any) -> None:
    futures = [running(make), returned(make)]
    iterator = in_order(futures)
    next(iterator)
    iterator.close()
    futures[0].set_result(1)
    assert list(in_order(futures, timeout=0)) != []


def test_as_completed_does_not_keep_what_it_has_yielded_alive(make: Make, in_order: Any) -> None:
    futures = [returned(make), running(make)]
    gone = weakref.ref(futures[0])
    iterator = in_order(futures, timeout=LONG)
    assert next(iterator) is futures.pop(0)
    gc.collect()
    assert gone() is None
    iterator.close()


# --- asyncio --------------------------------------------------------------------------------------------------------


def test_asyncio_gets_the_result(make: Make) -> None:
    async def main() -> object:
        future = running(make)
        thread = soon(lambda: future.set_result(5))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), LONG)
        finally:
            thread.join()

    assert asyncio.run(main()) == 5


def test_asyncio_gets_the_exception(make: Make) -> None:
    async def main() -> None:
        await asyncio.wait_for(asyncio.wrap_future(raised(make)), LONG)

    with pytest.raises(OSError, match="broken"):
        asyncio.run(main())


def test_cancelling_travels_from_asyncio(make: Make) -> None:
    async def main() -> bool:
        future = make()
        wrapped = asyncio.wrap_future(future)
        wrapped.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return future.cancelled()

    assert asyncio.run(main())


def test_cancelling_travels_to_asyncio(make: Make) -> None:
    async def main() -> None:
        future = make()
        wrapped = asyncio.wrap_future(future)
        future.cancel()
        future.set_running_or_notify_cancel()
        await asyncio.wait_for(wrapped, LONG)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_the_exception_of_a_future_is_freed_with_it(make: Make) -> None:
    class Marked(Exception):
        pass

    future = running(make)
    future.set_exception(Marked())
    with pytest.raises(Marked):
        future.result()
    gone = weakref.ref(future)
    gc.collect()
    gc.disable()  # from here on only reference counts may free it: result() must leave no cycle behind
    try:
        del future
        assert gone() is None
    finally:
        gc.enable()
