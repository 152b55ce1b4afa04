"""What `concurrent.futures.Executor` documents, asked of every kind of executor in conftest.

Futures by themselves are in test_future. The standard library's threads are in the list so that a wrong expectation
here cannot pass unseen.
"""

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future, wait
from pathlib import Path
from typing import Any

import pytest

from tests.contract.client.conftest import LONG, Gate, Kind


def test_submit_returns_a_future_of_the_result(executor: Executor) -> None:
    future = executor.submit(pow, 2, 8)
    assert isinstance(future, Future)
    assert future.result(LONG) == 256


def test_keywords_are_passed_even_when_they_look_like_parameters_of_submit(executor: Executor) -> None:
    def capture(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert executor.submit(capture, 1, self=2, fn=3, timeout=4).result(LONG) == (
        (1,),
        {"self": 2, "fn": 3, "timeout": 4},
    )


def test_submit_without_a_function_is_a_type_error(executor: Executor) -> None:
    with pytest.raises(TypeError):
        executor.submit()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        executor.submit(fn=pow)  # type: ignore[call-arg]


def test_an_exception_of_the_function_is_raised_by_result(executor: Executor) -> None:
    future = executor.submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        future.result(LONG)
    assert isinstance(future.exception(LONG), ZeroDivisionError)


def test_the_traceback_leads_to_the_line_that_raised(executor: Executor) -> None:
    def fail_here() -> None:
        raise ValueError("for this reason")

    with pytest.raises(ValueError, match="for this reason") as caught:
        executor.submit(fail_here).result(LONG)
    shown = str(caught.getrepr(style="native")) + str(caught.value.__cause__)
    assert "fail_here" in shown


def test_result_waits_no_longer_than_asked(executor: Executor, gate: Gate) -> None:
    future = executor.submit(gate.waiter(), 1)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    gate.open()
    assert future.result(LONG) == 1


# --- map ------------------------------------------------------------------------------------------------------------


def test_map_yields_results_in_order(executor: Executor) -> None:
    assert list(executor.map(pow, range(50), range(50))) == list(map(pow, range(50), range(50)))


def test_map_in_chunks_yields_the_same(executor: Executor) -> None:
    assert list(executor.map(pow, range(40), range(40), chunksize=6)) == list(map(pow, range(40), range(40)))
    assert list(executor.map(pow, range(40), range(40), chunksize=50)) == list(map(pow, range(40), range(40)))


def test_map_ends_with_the_shortest_iterable(executor: Executor) -> None:
    assert list(executor.map(pow, [2, 3, 4], itertools.repeat(2, 2))) == [4, 9]


def test_map_raises_an_exception_where_its_result_would_be(executor: Executor) -> None:
    results = executor.map(divmod, [1, 1, 1, 1], [1, 1, 0, 1])
    assert next(results) == (1, 0)
    assert next(results) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_submits_at_once(executor: Executor, gate: Gate) -> None:
    results = executor.map(gate.waiter(), [1, 2])
    gate.expect({1, 2})
    gate.open()
    assert list(results) == [1, 2]


def test_map_raises_timeout_error_counted_from_the_call(executor: Executor, gate: Gate) -> None:
    results = executor.map(gate.waiter(), [1, 2], timeout=0.02)
    with pytest.raises(TimeoutError):
        list(results)


def test_an_abandoned_map_cancels_what_has_not_begun(executor: Executor, gate: Gate) -> None:
    task = gate.waiter()

    def slow(number: int) -> int:
        if number:
            task(number)
            time.sleep(0.05)  # long enough for the order to cancel to get anywhere
        return number

    results: Iterator[int] = executor.map(slow, range(20))
    assert next(results) == 0
    gate.expect({1})  # the second to begin need not be 2
    results.close()  # type: ignore[attr-defined]  # Executor.map is a generator, though typed as an iterator
    gate.open()
    executor.shutdown(wait=True)
    assert len(gate.arrived()) < 19


def test_map_of_nothing_is_empty(executor: Executor) -> None:
    assert list(executor.map(pow, [], [])) == []


def test_a_buffersize_bounds_how_far_map_runs_ahead(kind: Kind, executor: Executor) -> None:
    if not kind.has_buffersize:
        pytest.skip("this Python's Executor.map has no buffersize")
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            drawn.append(number)
            yield number

    results: Any = executor.map(abs, numbers(), buffersize=4)  # type: ignore[call-arg, unused-ignore]
    assert len(drawn) == 4
    assert next(results) == 0
    assert len(drawn) == 5
    assert list(itertools.islice(results, 10)) == list(range(1, 11))
    results.close()


@pytest.mark.parametrize("buffersize", [0, -1])
def test_a_buffersize_that_makes_no_sense_is_refused(kind: Kind, executor: Executor, buffersize: int) -> None:
    if not kind.has_buffersize:
        pytest.skip("this Python's Executor.map has no buffersize")
    with pytest.raises(ValueError, match="buffersize"):
        executor.map(abs, [1], buffersize=buffersize)  # type: ignore[call-arg, unused-ignore]


# --- cancelling -----------------------------------------------------------------------------------------------------


def test_what_waits_can_be_cancelled_and_does_not_run(kind: Kind, executor: Executor, gate: Gate) -> None:
    task = gate.waiter()
    running = [executor.submit(task, number) for number in (1, 2)]
    gate.expect({1, 2})
    waiting = executor.submit(task, 3)
    assert waiting.cancel()
    assert waiting.cancelled()
    with pytest.raises(CancelledError):
        waiting.result(LONG)
    gate.open()
    assert [future.result(LONG) for future in running] == [1, 2]
    executor.shutdown(wait=True)
    if kind.shares_memory:  # elsewhere the order to cancel may meet a worker that has just begun
        assert gate.arrived() == {1, 2}


def test_what_has_ended_cannot_be_cancelled(executor: Executor) -> None:
    future = executor.submit(pow, 2, 2)
    future.result(LONG)
    assert not future.cancel()


# --- shutdown -------------------------------------------------------------------------------------------------------


def test_after_shutdown_nothing_is_taken(executor: Executor) -> None:
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(pow, 2, 2)
    with pytest.raises(RuntimeError):
        executor.map(abs, [1])


def test_shutdown_may_be_repeated(executor: Executor) -> None:
    executor.shutdown()
    executor.shutdown(wait=False)
    executor.shutdown(wait=True, cancel_futures=True)


def test_shutdown_waits_for_what_was_submitted(executor: Executor, gate: Gate) -> None:
    futures = [executor.submit(gate.waiter(), number) for number in range(6)]
    opener = threading.Timer(0.01, gate.open)
    opener.start()
    executor.shutdown(wait=True)
    assert [future.done() for future in futures] == [True] * 6
    assert [future.result() for future in futures] == list(range(6))
    opener.join()


def test_shutdown_without_waiting_returns_and_the_tasks_end_all_the_same(executor: Executor, gate: Gate) -> None:
    futures = [executor.submit(gate.waiter(), number) for number in range(4)]
    executor.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(LONG) for future in futures] == list(range(4))


def test_shutdown_can_cancel_what_has_not_begun(executor: Executor, gate: Gate) -> None:
    futures = [executor.submit(gate.waiter(), number) for number in range(6)]
    gate.expect({0, 1})
    futures[5].add_done_callback(lambda _: gate.open())
    executor.shutdown(wait=True, cancel_futures=True)
    assert [future.result() for future in futures[:2]] == [0, 1]
    assert all(future.cancelled() for future in futures[4:])
    assert all(future.done() for future in futures)


def test_a_with_block_waits_for_everything(kind: Kind) -> None:
    with kind.make(2) as executor:
        futures = [executor.submit(pow, 2, number) for number in range(20)]
    assert [future.result(0) for future in futures] == [2**number for number in range(20)]


def test_the_callbacks_of_everything_have_run_after_shutdown(executor: Executor) -> None:
    seen: list[int] = []
    for number in range(20):
        executor.submit(abs, number).add_done_callback(lambda future: seen.append(future.result()))
    executor.shutdown(wait=True)
    assert sorted(seen) == list(range(20))


# --- many threads, collection, exit ---------------------------------------------------------------------------------


def test_many_threads_may_submit_at_once(executor: Executor) -> None:
    results: dict[int, list[int]] = {}

    def submit_some(base: int) -> None:
        futures = [executor.submit(abs, base + number) for number in range(50)]
        results[base] = [future.result(LONG) for future in futures]

    threads = [threading.Thread(target=submit_some, args=(base,)) for base in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert results == {base: list(range(base, base + 50)) for base in range(0, 400, 50)}


def test_a_callback_may_submit(executor: Executor) -> None:
    chained: list[Future[int]] = []
    added = threading.Event()

    def go_on(future: "Future[int]") -> None:
        chained.append(executor.submit(abs, future.result() - 10))
        added.set()

    executor.submit(abs, -3).add_done_callback(go_on)
    assert added.wait(LONG)
    assert chained[0].result(LONG) == 7


def test_an_executor_that_was_not_shut_down_can_be_collected_and_finishes_its_tasks(kind: Kind, gate: Gate) -> None:
    executor = kind.make(2)
    futures = [executor.submit(gate.waiter(), number) for number in range(4)]
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    gate.open()
    assert [future.result(LONG) for future in futures] == list(range(4))


def test_arguments_and_results_are_not_kept_alive(kind: Kind, executor: Executor) -> None:
    if not kind.shares_memory:
        pytest.skip("the objects are copies in another process")

    class Big:
        pass

    argument = Big()
    gone = threading.Event()
    weakref.finalize(argument, gone.set)
    executor.submit(id, argument).result(LONG)
    del argument
    assert gone.wait(LONG)


EXIT_SCRIPT = """
import concurrent.futures, sys, time
import blockyard

def work(number, path=sys.argv[1]):
    time.sleep(0.05)
    with open(path, "a") as file:
        file.write(f"{{number}} ")

if __name__ == "__main__":
    executor = {make}
    for number in range(5):
        executor.submit(work, number)
"""


def test_what_was_submitted_is_run_before_the_interpreter_exits(kind: Kind, tmp_path: Path) -> None:
    script, done = tmp_path / "script.py", tmp_path / "done"
    script.write_text(EXIT_SCRIPT.format(make=kind.script))
    ended = subprocess.run([sys.executable, script, done], capture_output=True, text=True, timeout=LONG, check=True)
    assert sorted(done.read_text().split()) == ["0", "1", "2", "3", "4"]
    assert ended.stderr == ""


# --- asyncio --------------------------------------------------------------------------------------------------------


def test_it_serves_as_an_executor_of_asyncio(executor: Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, number) for number in range(10))))

    assert asyncio.run(asyncio.wait_for(main(), LONG)) == [2**number for number in range(10)]


def test_wait_works_on_its_futures(executor: Executor) -> None:
    futures = [executor.submit(abs, number) for number in range(10)]
    done, not_done = wait(futures, timeout=LONG)
    assert (done, not_done) == (set(futures), set())
