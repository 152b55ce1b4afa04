"""How much of the ideal time do tasks of 10 ms get, on two workers?

A task watches the clock until 10 ms are over instead of counting to something: what a worker loses to the other
processes of the machine is then the engine's loss, and a slow machine is not.
"""

import time
from concurrent.futures import Executor

from bench import engines, harness

TASKS, SMALL = 2_000, 200
LENGTH = 0.010


def ten_ms(_: int) -> None:
    end = time.perf_counter() + LENGTH
    while time.perf_counter() < end:
        pass


def share(executor: Executor, tasks: int) -> harness.Figures:
    """Share of the ideal: the time that two workers need when nothing is in between."""
    with harness.clocked() as taken:
        for done in [executor.submit(ten_ms, number) for number in range(tasks)]:
            done.result()
    return {"share_of_ideal": tasks * LENGTH / engines.WORKERS / taken.wall}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            return share(client, tasks)

    def stdlib() -> harness.Figures:
        with engines.stdlib_pool() as pool:
            return share(pool, tasks)

    subjects = [harness.Subject(engines.BLOCKYARD, ours), harness.Subject(engines.STDLIB, stdlib)]
    goals = [harness.Goal("share_of_ideal", None, required=0.97, aim=0.99)]
    harness.run("ten_ms", question, subjects, goals, given)


if __name__ == "__main__":
    main()
