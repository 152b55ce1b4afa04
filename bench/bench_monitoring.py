"""What does monitoring cost: all of it on, history to PostgreSQL on the same cores, beside ours without it?

A process follows everything over ZeroMQ meanwhile. CPU is that of our processes until the history is whole;
PostgreSQL's own is shown apart, and so is that of the follower, which is a user's program. `added_cpu_us` is taken
against our unmonitored figure of the same round, which is measured right before. Rates of tasks of a millisecond lie so
close together that one pair says little: each round takes several, by turns, and of them the ratio in the middle.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing

import psycopg

from bench import engines, follower, harness, process_tree
from blockyard.monitoring import Monitoring, Sink
from tests.fixtures.postgres import Postgres, running_postgres
from tests.ports import free_port

TASKS, SMALL = 100_000, 10_000
MILLISECOND_TASKS, SMALL_MILLISECOND_TASKS = 6_000, 1_000
PAIRS, SMALL_PAIRS = 4, 1
MONITORED, UNMONITORED = "monitored", "unmonitored"
PATIENCE_SECONDS = 300.0
WARMING = 200
"""Tasks that `engines.blockyard` runs before anything is measured."""

Function = Callable[[object], object]


def millisecond(value: object) -> object:
    """A task that is busy for a millisecond."""
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass
    return value


def monitored(server: Postgres, tasks: int, function: Function) -> harness.Figures:
    server.run("DROP DATABASE IF EXISTS history")
    server.run("CREATE DATABASE history")
    url = server.url.rpartition("/")[0] + "/history"
    metrics = Sink("prometheus", {"listen": f"127.0.0.1:{free_port()}"})
    apart: list[int] = [server.pid]

    def used() -> list[float]:
        """CPU seconds of everything, of PostgreSQL, of the follower."""
        return [process_tree.cpu_seconds(pid) for pid in (os.getpid(), *apart)]

    with (
        engines.blockyard(monitoring=Monitoring(database=url, sinks=(metrics,))) as client,
        follower.following(client) as following,
    ):
        apart.append(following.pid)
        before = WARMING + following.tasks
        wait_for(url, before)
        spent = used()
        began = time.perf_counter()
        results = [done.result() for done in client.submit_many(function, range(tasks))]
        wall = time.perf_counter() - began
        checked(results, tasks)
        wait_for(url, before + tasks)
        behind = time.perf_counter() - began - wall
        everything, postgres, followed = (
            (now - then) / tasks * 1e6 for now, then in zip(used(), spent, strict=True)
        )  # fmt: skip
    return {
        "rate_per_s": tasks / wall,
        "cpu_us": everything - postgres - followed,
        "postgres_cpu_us": postgres,
        "follower_cpu_us": followed,
        "follower_saw": following.saw.get(follower.TRIES, 0) / tasks,
        "history_behind_s": behind,
    }


def unmonitored(tasks: int, function: Function) -> harness.Figures:
    with engines.blockyard() as client, harness.clocked() as taken:
        results = [done.result() for done in client.submit_many(function, range(tasks))]
    checked(results, tasks)
    return taken.per_task(tasks)


def stdlib(tasks: int, function: Function) -> harness.Figures:
    with engines.stdlib_pool() as pool, harness.clocked() as taken:
        results = list(pool.map(function, range(tasks)))
    checked(results, tasks)
    return taken.per_task(tasks)


def of_a_millisecond(server: Postgres, tasks: int, pairs: int) -> dict[str, float]:
    """Rates with and without monitoring, and their ratio: the middle of so many pairs, each begun with the other."""
    ways = {
        MONITORED: lambda: monitored(server, tasks, millisecond),
        UNMONITORED: lambda: unmonitored(tasks, millisecond),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(pairs):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            rates[name].append(ways[name]()["rate_per_s"])
    ratios = [mine / other for mine, other in zip(rates[MONITORED], rates[UNMONITORED], strict=True)]
    return {
        "ms_rate_per_s": statistics.median(rates[MONITORED]),
        "ms_unmonitored_rate_per_s": statistics.median(rates[UNMONITORED]),
        "ms_ratio": statistics.median(ratios),
        "ms_ratio_least": min(ratios),
        "ms_ratio_most": max(ratios),
    }


def checked(results: list[object], tasks: int) -> None:
    if results != list(range(tasks)):
        raise AssertionError(f"{tasks} results were to come back in order; {len(results)} came, not those")


def wait_for(url: str, tasks: int) -> None:
    """Until so many tasks have ended in the history, and what they used is there; an error when more have."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    question = "SELECT (SELECT count(*) FROM tries WHERE is_last = 1), (SELECT count(*) FROM worker_tasks)"
    found: tuple[int, ...] = ()
    while time.monotonic() < deadline:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            if connection.execute("SELECT to_regclass('worker_tasks') IS NOT NULL").fetchone() == (True,):
                found = tuple(connection.execute(question).fetchone() or ())
        if found == (tasks, tasks):
            return
        if any(count > tasks for count in found):
            break
        time.sleep(0.05)
    raise AssertionError(f"{tasks} tasks were to be in the history; there are {found}")


def measured(server: Postgres, small: bool) -> list[harness.Subject]:
    """Two kinds of task, each with and without monitoring; the figures of long ones bear the name `ms_`."""
    tasks = SMALL if small else TASKS
    long, pairs = (SMALL_MILLISECOND_TASKS, SMALL_PAIRS) if small else (MILLISECOND_TASKS, PAIRS)

    def with_monitoring() -> harness.Figures:
        plain = unmonitored(tasks, engines.noop)
        figures = monitored(server, tasks, engines.noop)
        added = {"added_cpu_us": figures["cpu_us"] - plain["cpu_us"]}
        return {**figures, **added, **of_a_millisecond(server, long, pairs)}

    return [
        harness.Subject(MONITORED, with_monitoring),
        harness.Subject(UNMONITORED, lambda: unmonitored(tasks, engines.noop)),
        harness.Subject(engines.STDLIB, lambda: stdlib(tasks, engines.noop)),
    ]


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    with running_postgres() as server:
        goals = [
            harness.Goal("rate_per_s", engines.STDLIB, required=2, aim=3),
            harness.Goal("rate_per_s", UNMONITORED, required=0.5, aim=0.7),
            harness.Goal("ms_ratio", None, required=0.97, aim=0.99),
            harness.Goal("added_cpu_us", None, required=20, aim=10, at_least=False),
        ]
        harness.run("monitoring", question, measured(server, given.small), goals, given)


if __name__ == "__main__":
    main()
