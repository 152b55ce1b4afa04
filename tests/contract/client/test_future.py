"""What `concurrent.futures.Future` documents, asked of the standard library's class and of ours alike.

The standard class is in the list so that a wrong expectation here cannot pass unseen.
"""

import gc
import logging
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

import pytest

from tests.contract.client.futures import LONG, Make, cancelled, pending, raised, returned, running, soon

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
