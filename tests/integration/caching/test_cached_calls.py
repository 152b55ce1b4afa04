"""Cached calls on a real system: what has run is counted by what it wrote."""

from collections import Counter
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import NotCacheable
from blockyard.wire import control
from blockyard.workflow.building import Workflow
from tests.integration.caching import jobs
from tests.integration.processes import House, kill, wait_until
from tests.integration.questions import engine_of, pool_status

WITHIN = 60.0
SIZE = 200


def sweep(client: Client, log: Path) -> int:
    """A sweep and its sum: SIZE + 1 calls."""
    cached = client.options(cache=True)
    squares = [cached.submit(jobs.square, number, log=log) for number in range(SIZE)]
    return cached.submit(jobs.total, squares, log).result(WITHIN)


def cache_of(client: Client) -> control.CacheIs:
    return engine_of(client).ask(control.Cached(), control.CacheIs, WITHIN)


def test_a_sweep_that_is_run_again_by_another_process_of_the_same_run_runs_nothing(
    run_house: House, tmp_path: Path
) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    with Client.local(workers=2, run="sweep") as client:
        result = sweep(client, log)
        assert client.options(cache=True).submit(jobs.large, 7, log).result(WITHIN) == bytes([7]) * 200_000
    ran = Counter(jobs.lines(log))
    assert (len(ran), set(ran.values())) == (SIZE + 2, {1})
    with Client.local(workers=2, run="sweep") as client:
        assert sweep(client, log) == result
        assert client.options(cache=True).submit(jobs.large, 7, log).result(WITHIN) == bytes([7]) * 200_000
        ignoring = client.options(cache=True, ignore_for_cache=["log"])
        assert [ignoring.submit(jobs.square, 3, path).result(WITHIN) for path in (other, log)] == [9, 9]
        assert jobs.lines(other) == ["square 3"]
        (pool,) = cache_of(client).pools
        assert (pool.hits, pool.misses) == (SIZE + 3, SIZE + 3)
    assert Counter(jobs.lines(log)) == ran


def test_a_killed_interchange_finds_again_what_it_had_recorded(house: House, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Client.local(workers=1, folder=house.folder) as client:
        cached = client.options(cache=True)
        assert cached.submit(jobs.large, 7, log).result(WITHIN) == bytes([7]) * 200_000
        assert cached.submit(jobs.square, 7, log).result(WITHIN) == 49
        (interchange,) = house.interchanges()
        kill(interchange)
        wait_until("there is another", house.interchanges, lambda found: [interchange] != found != [], WITHIN)
        assert cached.submit(jobs.large, 7, log).result(WITHIN) == bytes([7]) * 200_000
        assert cached.submit(jobs.square, 7, log).result(WITHIN) == 49
        assert jobs.lines(log) == ["large 7", "square 7"]
        assert pool_status(client).done == 4


def test_what_fails_runs_again_and_who_waited_for_it_too(house: House, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Client.local(workers=2, folder=house.folder) as client:
        futures = client.options(cache=True).submit_many(jobs.fail_once, [log] * 20)
        with pytest.raises(ValueError, match="first time"):
            futures[0].result(WITHIN)
        assert {one.result(WITHIN) for one in futures[1:]} == {"good"}
        assert jobs.lines(log) == ["fail_once"] * 2
        assert "found in the cache" in futures[5].explain() or futures[5].done()
        with pytest.raises(NotCacheable, match=r"fail_once: argument log: a builtins\.object is not known"):
            client.options(cache=True).submit(jobs.fail_once, object())
        value = client.put([1, 2, 3])
        totals = [client.options(cache=True).submit(jobs.total, value, log).result(WITHIN) for _ in range(2)]
        assert (totals, jobs.lines(log)[2:]) == ([6, 6], ["total"])


def test_a_workflow_that_is_run_again_under_another_name_runs_nothing(house: House, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    flow = Workflow("squares")
    cached = {"cache": True}
    squares = [flow.step(jobs.noted_square, number=n, log=log, options=cached) for n in range(SIZE)]
    flow.step(jobs.noted_total, numbers=squares, log=log, step="total", options=cached)
    with Client.local(workers=2, folder=house.folder) as client:
        for name in ("first", "second"):
            run = client.run(flow, name=name).succeed(2 * WITHIN)
            assert run.result("total") == sum(n * n for n in range(SIZE))
            assert len(jobs.lines(Path(log))) == SIZE + 1
