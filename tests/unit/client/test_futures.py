"""What our futures do beyond the standard library's: batches, lazy unpacking, hooks, one lock for all.

What they share with the standard class is in tests/contract/client.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from blockyard.ending import Ending, dependency_error
from blockyard.errors import BlobMissing, DependencyError, NotLoadable, RemoteTraceback
from blockyard.futures import FutureHome, TaskFuture, as_completed
from blockyard.payload import dump_error, dump_result, packed_bytes
from blockyard.waiting import Stream

LONG = 30.0


def some(home: FutureHome, count: int) -> list[TaskFuture[Any]]:
    return [TaskFuture(home, number) for number in range(count)]


def packed(value: object) -> bytes:
    return packed_bytes(dump_result(value))


class Calls:
    """Records what it is called with."""

    def __init__(self, answer: object = None) -> None:
        self.seen: list[Any] = []
        self._answer = answer

    def __call__(self, *args: Any) -> Any:
        self.seen.append(args[0] if args else None)
        return self._answer


class Marked:
    """Counts how often it is unpickled."""

    loads = 0

    def __reduce__(self) -> Any:
        return _load_marked, ()


def _load_marked() -> Marked:
    Marked.loads += 1
    return Marked()


@pytest.fixture(autouse=True)
def _reset() -> None:
    Marked.loads = 0


@pytest.mark.parametrize(
    "ending, body, expected",
    [
        (Ending.VALUE, 7, 7),
        (Ending.RESULT, packed([1, 2]), [1, 2]),
        (Ending.RESULT, bytearray(packed([1, 2])), [1, 2]),
        (Ending.RESULT, memoryview(packed([1, 2])), [1, 2]),
        (Ending.RESULT, lambda: packed("fetched"), "fetched"),
        (Ending.VALUE_FROM, lambda: "made", "made"),
    ],
)
def test_a_future_is_completed_with_whatever_leads_to_a_result(ending: Ending, body: Any, expected: object) -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    assert home.complete([(future, ending, body)]) == 1
    assert future.result(0) == expected
    assert future.exception(0) is None
    assert not future.has_failed()


@pytest.mark.parametrize("body", [dump_error(KeyError("k")).body, lambda: dump_error(KeyError("k")).body])
def test_a_packed_error_is_raised_with_its_remote_traceback(body: Any) -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    home.complete([(future, Ending.ERROR, body)])
    assert future.has_failed()
    with pytest.raises(KeyError) as caught:
        future.result(0)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert future.exception(0) is caught.value


def test_cancelled_is_an_ending_too() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    home.complete([(future, Ending.CANCELLED, None)])
    assert future.cancelled()
    assert future.has_failed()


def test_a_result_is_unpacked_by_the_first_who_asks_and_once() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    home.complete([(future, Ending.RESULT, packed(Marked()))])
    assert Marked.loads == 0
    assert future.result(0) is future.result(0)
    assert Marked.loads == 1


def test_threads_that_ask_at_once_get_the_same_object() -> None:
    home = FutureHome()
    for _ in range(50):
        (future,) = some(home, 1)
        home.complete([(future, Ending.RESULT, packed(["x"]))])
        seen: list[object] = []
        together = threading.Barrier(4, timeout=LONG)

        def ask(
            future: TaskFuture[Any] = future,
            seen: list[object] = seen,
            together: threading.Barrier = together,
        ) -> None:
            together.wait()
            seen.append(future.result(0))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert len(seen) == 4
        assert all(each is seen[0] for each in seen)


def test_a_result_that_cannot_be_unpickled_is_an_exception_of_the_future() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    home.complete([(future, Ending.RESULT, b"\x80damaged")])
    error = future.exception(0)
    assert isinstance(error, NotLoadable)
    with pytest.raises(NotLoadable) as caught:
        future.result(0)
    assert caught.value is error


@pytest.mark.parametrize("error, kind", [(BlobMissing("gone"), BlobMissing), (PermissionError("no"), NotLoadable)])
def test_a_body_that_cannot_be_fetched_is_an_exception_of_the_future(error: Exception, kind: type[Exception]) -> None:
    def fetch() -> bytes:
        raise error

    home = FutureHome()
    (future,) = some(home, 1)
    home.complete([(future, Ending.RESULT, fetch)])
    with pytest.raises(kind):
        future.result(0)
    assert isinstance(future.exception(0), kind)


# --- batches --------------------------------------------------------------------------------------------------------


def test_what_has_ended_is_left_alone_and_not_counted() -> None:
    home = FutureHome()
    first, second, third = some(home, 3)
    first.cancel()
    second.set_result("kept")
    assert home.complete([(each, Ending.VALUE, "late") for each in (first, second, third, third)]) == 1
    assert first.cancelled()
    assert (second.result(0), third.result(0)) == ("kept", "late")


def test_callbacks_of_a_batch_run_in_its_order_when_all_have_ended() -> None:
    home = FutureHome()
    futures = some(home, 5)
    seen: list[tuple[int, bool]] = []

    def note(ended: "Future[Any]") -> None:
        assert isinstance(ended, TaskFuture)
        seen.append((ended.task, all(future.done() for future in futures)))

    for future in futures:
        future.add_done_callback(note)
    home.complete([(future, Ending.VALUE, None) for future in reversed(futures)])
    assert seen == [(number, True) for number in (4, 3, 2, 1, 0)]


def test_callbacks_run_without_the_lock() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    free: list[bool] = []

    def try_lock(_: object) -> None:
        def attempt() -> None:
            free.append(home.lock.acquire(timeout=LONG))
            home.lock.release()

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(LONG)

    future.add_done_callback(try_lock)
    home.complete([(future, Ending.VALUE, None)])
    assert free == [True]


def test_as_completed_is_woken_once_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    home = FutureHome()
    futures = some(home, 100)
    iterator = as_completed(futures, timeout=LONG)
    home.complete([(futures[0], Ending.VALUE, None)])
    next(iterator)
    woken = Calls()
    take = Stream.take
    monkeypatch.setattr(Stream, "take", lambda stream: (woken(stream), take(stream))[1])
    home.complete([(future, Ending.VALUE, None) for future in futures[1:]])
    assert list(iterator) == futures[1:]
    assert len(woken.seen) == 1


def test_an_abandoned_as_completed_leaves_no_waiter_behind() -> None:
    home = FutureHome()
    ended, waiting = some(home, 2)
    ended.set_result(1)
    iterator: Any = as_completed([ended, waiting])
    assert next(iterator) is ended
    assert len(waiting._waiters) == 1
    iterator.close()
    assert waiting._waiters == []


def test_as_completed_takes_futures_of_several_homes_and_of_the_standard_library() -> None:
    homes = [FutureHome(), FutureHome()]
    ours = [TaskFuture[int](home, 1) for home in homes]
    mixed: list[Future[int]] = [*ours, Future()]
    for future in mixed:
        future.set_result(1)
    assert set(as_completed(ours, timeout=0)) == set(ours)
    assert set(as_completed(mixed, timeout=0)) == set(mixed)


# --- hooks ----------------------------------------------------------------------------------------------------------


def test_collecting_is_told_once_however_the_outcome_is_looked_at() -> None:
    looks: list[Callable[[TaskFuture[Any]], object]] = [
        lambda future: future.result(0),
        lambda future: future.exception(0),
        lambda future: future._get_snapshot(),
    ]
    for look in looks:
        collected = Calls()
        home = FutureHome(on_collect=collected)
        (future,) = some(home, 1)
        home.complete([(future, Ending.RESULT, packed(1))])
        assert collected.seen == []
        look(future)
        look(future)
        assert collected.seen == [future]


@pytest.mark.parametrize("ending, body", [(Ending.VALUE, 1), (Ending.EXCEPTION, ValueError("x"))])
def test_an_outcome_that_was_never_packed_is_collected_too(ending: Ending, body: object) -> None:
    collected = Calls()
    home = FutureHome(on_collect=collected)
    (future,) = some(home, 1)
    home.complete([(future, ending, body)])
    future.exception(0)
    assert collected.seen == [future]


def test_cancelling_is_told_once_before_the_callbacks() -> None:
    order: list[str] = []
    home = FutureHome(on_cancel=lambda _: order.append("told"))
    (future,) = some(home, 1)
    future.add_done_callback(lambda _: order.append("called back"))
    assert future.cancel()
    assert future.cancel()
    assert order == ["told", "called back"]


def test_a_running_task_can_be_cancelled_if_its_client_can_end_it() -> None:
    told = Calls()
    home = FutureHome(on_cancel=told)
    (future,) = some(home, 1)
    home.started([future])
    assert future.running()
    assert future.cancel()
    assert told.seen == [future]


def test_waiting_is_told_before_the_thread_sleeps() -> None:
    def end(future: TaskFuture[Any], _: float | None) -> None:
        home.complete([(future, Ending.VALUE, "sent because somebody waited")])

    home = FutureHome(on_wait=end)
    first, second = some(home, 2)
    assert first.result(LONG) == "sent because somebody waited"
    assert list(as_completed([second], timeout=LONG)) == [second]


def test_explaining_is_the_homes_business() -> None:
    (future,) = some(FutureHome(explain=lambda each: f"about {each.task}"), 1)
    assert future.explain() == "about 0"
    assert some(FutureHome(), 1)[0].explain() == "the task is pending"


def test_a_try_that_was_lost_makes_the_future_pending_again() -> None:
    home = FutureHome()
    running, ended = some(home, 2)
    home.started([running, ended])
    ended.set_result(1)
    home.waiting_again([running, ended])
    assert (running.running(), ended.done()) == (False, True)
    assert running.set_running_or_notify_cancel()


# --- the rest -------------------------------------------------------------------------------------------------------


def test_a_snapshot_tells_all_at_once() -> None:
    """What asyncio of Python 3.14 asks for; older ones ask for the parts."""
    home = FutureHome()
    pending, cancelled, returned, raised = some(home, 4)
    cancelled.cancel()
    error = ValueError()
    home.complete([(returned, Ending.RESULT, packed(5)), (raised, Ending.EXCEPTION, error)])
    assert pending._get_snapshot() == (False, False, None, None)
    assert cancelled._get_snapshot() == (True, True, None, None)
    assert returned._get_snapshot() == (True, False, 5, None)
    assert raised._get_snapshot() == (True, False, None, error)


def test_repr_tells_the_task_and_its_state_without_unpacking() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    assert repr(future) == "<TaskFuture task=0-0 pending>", "as the command line wants it"
    home.complete([(future, Ending.RESULT, packed(Marked()))])
    assert repr(future) == "<TaskFuture task=0-0 finished, returned>"
    assert Marked.loads == 0


def test_the_error_of_dependents_names_the_first_in_a_chain() -> None:
    home = FutureHome()
    first, second, cancelled = some(home, 3)
    first.set_exception(ValueError("bad"))
    second.set_exception(dependency_error(first))
    cancelled.cancel()
    assert str(dependency_error(second)) == str(dependency_error(first))
    assert dependency_error(second).task == first.task
    assert dependency_error(first).__cause__ is first.exception()
    assert "cancelled" in str(dependency_error(cancelled))
    assert isinstance(dependency_error(cancelled), DependencyError)


def test_a_huge_timeout_is_as_good_as_none() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    thread = threading.Thread(target=future.set_result, args=(1,))
    thread.start()
    assert future.result(timeout=1e30) == 1
    thread.join()


def test_a_future_is_small() -> None:
    """The stated figure for a client is a few hundred bytes a task; the standard class takes 1,600."""
    (future,) = some(FutureHome(), 1)
    assert sys.getsizeof(future) <= 200


def test_a_forked_process_gets_a_free_lock() -> None:
    home = FutureHome()
    (future,) = some(home, 1)
    thread = threading.Thread(target=home.lock.acquire)
    thread.start()
    thread.join()
    home.after_fork_in_child()
    future.set_result(1)
    assert future.result(0) == 1
