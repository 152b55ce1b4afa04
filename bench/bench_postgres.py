"""How many tasks that do nothing pass through in a second, when the journal is PostgreSQL on the same cores?

The server is started for the measurement, as the tests start theirs. Its share of the machine's CPU is shown. `fsync`
waits for the disk at each commit, and so is as fast as this machine's disk; it is reported without a goal.
"""

import os

from bench import engines, harness, process_tree
from tests.fixtures.postgres import Postgres, running_postgres

TASKS, SMALL = 100_000, 10_000


def on_postgres(server: Postgres, tasks: int, durability: str) -> harness.Figures:
    before = process_tree.cpu_seconds(server.pid)
    with engines.blockyard(journal=server.socket_url, durability=durability) as client, harness.clocked() as taken:
        results = [done.result() for done in client.submit_many(engines.noop, range(tasks))]
    if results != list(range(tasks)):
        raise AssertionError("results came back that are not those of the tasks")
    theirs = process_tree.cpu_seconds(server.pid) - before
    share = theirs / taken.wall / len(os.sched_getaffinity(0))
    return {**taken.per_task(tasks), "postgres_share_of_cpu": share}


def on_sqlite(tasks: int, durability: str) -> harness.Figures:
    with engines.blockyard(durability=durability) as client, harness.clocked() as taken:
        for done in client.submit_many(engines.noop, range(tasks)):
            done.result()
    return taken.per_task(tasks)


def stdlib(tasks: int) -> harness.Figures:
    with engines.stdlib_pool() as pool, harness.clocked() as taken:
        for done in [pool.submit(engines.noop, number) for number in range(tasks)]:
            done.result()
    return taken.per_task(tasks)


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS
    with running_postgres() as server:
        subjects = [
            harness.Subject("on PostgreSQL", lambda: on_postgres(server, tasks, "journal")),
            harness.Subject("on PostgreSQL, fsync", lambda: on_postgres(server, tasks, "fsync")),
            harness.Subject("on SQLite, fsync", lambda: on_sqlite(tasks, "fsync")),
            harness.Subject(engines.STDLIB, lambda: stdlib(tasks)),
        ]
        goals = [harness.Goal("rate_per_s", engines.STDLIB, required=2, aim=3)]
        harness.run("postgres", question, subjects, goals, given, durability="journal unless said otherwise, CURVE on")


if __name__ == "__main__":
    main()
