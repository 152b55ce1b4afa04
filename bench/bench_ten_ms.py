"""How much of the ideal time do tasks of 10 ms get, on two workers?

A task watches the clock until 10 ms are over instead of counting to something: what a worker loses to the other
processes of the machine is then the engine's loss, and a slow machine is not. What the machine itself loses
to others that share it shows in two bare processes that run the same tasks with nothing in between.
"""

import subprocess
import sys
import time
from concurrent.futures import Executor

from bench import engines, harness

TASKS, SMALL = 2_000, 200
LENGTH = 0.010
BARE_NAME = "bare processes"


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


BARE = """
import sys
from bench.bench_ten_ms import ten_ms
print(flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[1])):
    ten_ms(number)
"""


def bare(tasks: int) -> harness.Figures:
    """The same with a process for each worker and no engine: they are told to begin, and end."""
    each = tasks // engines.WORKERS
    command = [sys.executable, "-c", BARE, str(each)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(engines.WORKERS)
    ]
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()
    with harness.clocked() as taken:
        for one in running:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        for one in running:
            one.wait()
    for one in running:
        one.communicate()
        if one.returncode:
            raise AssertionError(f"a bare process ended with exit code {one.returncode}")
    return {"share_of_ideal": each * LENGTH / taken.wall}


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

    subjects = [
        harness.Subject(engines.BLOCKYARD, ours),
        harness.Subject(engines.STDLIB, stdlib),
        harness.Subject(BARE_NAME, lambda: bare(tasks)),
    ]
    goals = [
        harness.Goal("share_of_ideal", None, required=0.97, aim=0.99),
        harness.Goal("share_of_ideal", BARE_NAME, required=0.97, aim=0.99),
    ]
    harness.run("ten_ms", question, subjects, goals, given)


if __name__ == "__main__":
    main()
