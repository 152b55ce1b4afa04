"""How one waits for futures: `wait`, `as_completed` and asyncio, of the standard library's class and of ours alike."""

import asyncio
import concurrent.futures
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from typing import Any

import pytest

from blockyard.futures import as_completed
from tests.contract.client.futures import LONG, Make, cancelled, pending, raised, returned, running, soon


@pytest.fixture(params=["standard", "ours"])
def in_order(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return concurrent.futures.as_completed if request.param == "standard" else as_completed


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
