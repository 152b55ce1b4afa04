"""Does it cost the two that work anything, when thousands of other managers are connected?

The others belong to a pool of their own, hold a CURVE connection each, and send heartbeats; they live in a few
processes on the same machine, whose share of its CPU is shown, because it is taken from the measured ones.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import engines, harness, process_tree
from blockyard import Client, LocalPool

TASKS, SMALL = 100_000, 10_000
CROWDS, SMALL_CROWDS = (1_000, 10_000), (50,)
IN_ONE_PROCESS = 2_500
"""Each manager needs a few open files, and a process may have 20,000 or so."""


@contextmanager
def crowd(client: Client, count: int) -> Iterator[list[int]]:
    """That many idle managers at the client's interchange; yields the processes they live in."""
    processes = []
    try:
        for first in range(0, count, IN_ONE_PROCESS):
            size = str(min(IN_ONE_PROCESS, count - first))
            argv = [sys.executable, "-m", "bench.idle_managers", str(client.folder), "others", str(first), size]
            processes.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "joined\n":
                raise AssertionError("the idle managers have not joined; the reason is above")
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.communicate()


def rate_beside(count: int, tasks: int) -> harness.Figures:
    """Tasks a second on two workers, with `count` idle managers beside them."""
    others = LocalPool(min_blocks=0, init_blocks=0, max_blocks=1, strategy="none")
    working = LocalPool(workers_per_node=1, min_blocks=2, init_blocks=2, max_blocks=2)
    with Client.local(pools={"default": working, "others": others}) as client:
        for done in client.submit_many(engines.noop, range(1000)):
            done.result()
        began = time.perf_counter()
        with crowd(client, count) as processes:
            joined = time.perf_counter() - began
            before = sum(process_tree.cpu_seconds(pid) for pid in processes)
            with harness.clocked() as taken:
                for done in client.submit_many(engines.noop, range(tasks)):
                    done.result()
            theirs = sum(process_tree.cpu_seconds(pid) for pid in processes) - before
    cpus = len(os.sched_getaffinity(0))
    return {"rate_per_s": tasks / taken.wall, "join_s": joined, "share_of_cpu": theirs / taken.wall / cpus}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS
    sizes = SMALL_CROWDS if given.small else CROWDS

    def measured() -> harness.Figures:
        alone = rate_beside(0, tasks)["rate_per_s"]
        figures = {"rate_per_s alone": alone}
        for size in sizes:
            found = rate_beside(size, tasks)
            figures |= {f"{name} beside {size:,}": value for name, value in found.items()}
            figures[f"share of the rate beside {size:,}"] = found["rate_per_s"] / alone
        return figures

    required = {1_000: 0.9, 10_000: 0.7}
    goals = [
        harness.Goal(f"share of the rate beside {size:,}", None, required=required[size], aim=0.95)
        for size in sizes
        if size in required
    ]
    harness.run("managers", question, [harness.Subject(engines.BLOCKYARD, measured)], goals, given)


if __name__ == "__main__":
    main()
