"""How many tasks a second, when each takes a numpy array of 100 KB and returns another?"""

from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bench import engines, harness

TASKS, SMALL = 4_000, 400
LENGTH = 12_500  # of 8 bytes: 100 KB

Array = NDArray[np.float64]


def next_after(array: Array) -> Array:
    """A new array, so that nothing can be answered from what was sent."""
    return array + 1.0


def through(executor: Executor, tasks: int) -> harness.Figures:
    """Every array differs, so none is sent twice; each result is looked at."""
    arrays = [np.full(LENGTH, float(number)) for number in range(tasks)]
    with harness.clocked() as taken:
        futures = [executor.submit(next_after, array) for array in arrays]
        ends = [float(done.result()[-1]) for done in futures]
    if ends != [number + 1.0 for number in range(tasks)]:
        raise AssertionError("an array came back that is not the one which was sent, plus one")
    return taken.per_task(tasks)


def main() -> None:
    question = __doc__ or ""
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS

    def ours() -> harness.Figures:
        with engines.blockyard() as client:
            through(client, 20)
            return through(client, tasks)

    def stdlib() -> harness.Figures:
        with engines.stdlib_pool() as pool:
            through(pool, 20)
            return through(pool, tasks)

    subjects = [harness.Subject(engines.BLOCKYARD, ours), harness.Subject(engines.STDLIB, stdlib)]
    goals = [harness.Goal("rate_per_s", engines.STDLIB, required=0.35, aim=0.7)]
    harness.run("arrays", question, subjects, goals, given)


if __name__ == "__main__":
    main()
