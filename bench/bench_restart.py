"""How long until tasks flow again, when the interchange is killed with a long queue in its journal?

The queue waits in a pool without workers. After SIGKILL a task is submitted to a pool that has some; the time runs from
the kill to its result, and so holds the restart, the replay of the journal, and the workers' and the client's return.
"""

import os
import signal
import time

from bench import engines, harness

QUEUED, SMALL = 1_000_000, 20_000


def until_tasks_flow(tasks: int) -> harness.Figures:
    with engines.beside_a_queue() as client:
        queued = client.options(pool="asleep").submit_many(engines.noop, range(tasks))
        awake = client.options(pool="awake")
        awake.submit(engines.noop).result()  # taken after the queue, so the journal holds all of it
        began = time.perf_counter()
        os.kill(engines.interchange_of(os.getpid()), signal.SIGKILL)
        awake.submit(engines.noop).result(timeout=600)
        taken = time.perf_counter() - began
        if any(future.done() for future in queued):
            raise AssertionError("a task of a pool without workers has ended")
    return {"restart_s": taken}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else QUEUED
    goals = [harness.Goal("restart_s", None, required=15, aim=5, at_least=False)]
    subjects = [harness.Subject(engines.BLOCKYARD, lambda: until_tasks_flow(tasks))]
    harness.run("restart", question, subjects, goals, given)


if __name__ == "__main__":
    main()
