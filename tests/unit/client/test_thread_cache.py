"""`Client.threads` with `cache=True`: as with an interchange, in one process."""

import threading
from collections.abc import Iterator

import pytest

from blockyard import Client
from blockyard.errors import DependencyError, NotCacheable, TaskTimeout

WITHIN = 60.0
RAN: list[int] = []
GATE = threading.Event()
FAILURES: list[Exception] = []


def square(number: int) -> int:
    RAN.append(number)
    return number * number


def gated(number: int) -> int:
    assert GATE.wait(WITHIN)
    RAN.append(number)
    if FAILURES:
        raise FAILURES.pop()
    return number


@pytest.fixture
def client() -> Iterator[Client]:
    RAN.clear()
    GATE.clear()
    with Client.threads(2) as client:
        yield client


def test_the_same_call_runs_once(client: Client) -> None:
    cached = client.options(cache=True)
    assert [one.result(WITHIN) for one in cached.submit_many(square, [1, 2, 1, 2])] == [1, 4, 1, 4]
    assert cached.submit(square, number=2).result(WITHIN) == 4
    assert sorted(RAN) == [1, 2]
    assert client.submit(square, 2).result(WITHIN) == 4
    assert len(RAN) == 3


def test_who_comes_while_it_runs_waits_and_runs_when_it_fails(client: Client) -> None:
    FAILURES[:] = [ValueError("the first time")]
    cached = client.options(cache=True)
    futures = [cached.submit(gated, 7) for _ in range(5)]
    GATE.set()
    with pytest.raises(ValueError, match="first time"):
        futures[0].result(WITHIN)
    assert [one.result(WITHIN) for one in futures[1:]] == [7] * 4
    assert RAN == [7, 7]


def test_who_waits_goes_on_when_the_first_has_timed_out_or_is_cancelled(client: Client) -> None:
    cached = client.options(cache=True)
    first = client.options(cache=True, timeout=0.05).submit(gated, 8)
    second, third = cached.submit(gated, 8), cached.submit(gated, 8)
    with pytest.raises(TaskTimeout):
        first.result(WITHIN)
    assert third.cancel()
    GATE.set()
    assert second.result(WITHIN) == 8


def test_futures_of_cached_tasks_may_be_arguments(client: Client) -> None:
    cached = client.options(cache=True)
    for _ in range(2):
        parts = [cached.submit(square, number) for number in range(3)]
        assert cached.submit(sum, parts).result(WITHIN) == 5
    assert sorted(RAN) == [0, 1, 2]
    with pytest.raises(NotCacheable, match=r"sum: argument iterable\[0\]: a future"):
        cached.submit(sum, [client.submit(square, 1)])


def test_a_needed_task_that_failed_ends_who_needs_it(client: Client) -> None:
    cached = client.options(cache=True)
    failed = cached.submit(int, "x")
    with pytest.raises(DependencyError):
        cached.submit(square, failed).result(WITHIN)


def test_results_go_by_age_and_number() -> None:
    now = [0.0]
    with Client.threads(1, clock=lambda: now[0], cache_ttl=10.0, cache_max_results=2) as client:
        cached = client.options(cache=True)

        def ran(number: int) -> bool:
            RAN.clear()
            cached.submit(square, number).result(WITHIN)
            return bool(RAN)

        assert [ran(1), ran(1), ran(2), ran(3), ran(1), ran(3)] == [True, False, True, True, True, False]
        now[0] = 11.0
        assert ran(3)
