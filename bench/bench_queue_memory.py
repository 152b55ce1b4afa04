"""How much memory does the interchange need for each task that waits in its queue?

Tasks go to a pool without workers. That all of them have arrived is known by a task in another pool that was submitted
after them: what one client sends is taken in its order.
"""

import os

from bench import engines, harness, process_tree

QUEUED, SMALL = 1_000_000, 20_000


def per_task(tasks: int) -> harness.Figures:
    """Growth of the interchange's own memory by `tasks` queued tasks, for each of them."""
    with engines.beside_a_queue() as client:
        pid = engines.interchange_of(os.getpid())
        before = process_tree.memory([pid])
        with harness.clocked() as taken:
            queued = client.options(pool="asleep").submit_many(engines.noop, range(tasks))
            client.options(pool="awake").submit(engines.noop).result()
        after = process_tree.memory([pid])
        if any(future.done() for future in queued):
            raise AssertionError("a task of a pool without workers has ended")
    return {
        "bytes_per_task": (after.pss_bytes - before.pss_bytes) / tasks,
        "interchange_mib": after.pss_bytes / 2**20,
        "queued_per_s": tasks / taken.wall,
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else QUEUED
    goals = [harness.Goal("bytes_per_task", None, required=800, aim=500, at_least=False)]
    subjects = [harness.Subject(engines.BLOCKYARD, lambda: per_task(tasks))]
    harness.run("queue_memory", question, subjects, goals, given)


if __name__ == "__main__":
    main()
