"""How much memory do all processes take together, at the peak of a batch of tasks that do nothing?

PSS: a page that several processes share is counted once. Each subject runs in an interpreter of its own, so that
neither inherits what the other has allocated.
"""

import subprocess
import sys

from bench import engines, harness, memory_watch

TASKS, SMALL = 100_000, 10_000


def ours(tasks: int) -> None:
    with engines.blockyard() as client:
        for done in client.submit_many(engines.noop, range(tasks)):
            done.result()


def stdlib(tasks: int) -> None:
    with engines.stdlib_pool() as pool:
        for done in [pool.submit(engines.noop, number) for number in range(tasks)]:
            done.result()


def peak(name: str, tasks: int) -> harness.Figures:
    program = f"from bench import bench_memory\nif __name__ == '__main__': bench_memory.{name}({tasks})"
    with subprocess.Popen([sys.executable, "-c", program]) as process, memory_watch.watched(process.pid) as seen:
        process.wait()
    if process.returncode != 0:
        raise AssertionError(f"the measured program exited with {process.returncode}; its message is above")
    return {"peak_pss_mib": seen.pss_bytes / 2**20, "peak_rss_mib": seen.rss_bytes / 2**20}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else TASKS
    subjects = [
        harness.Subject(engines.BLOCKYARD, lambda: peak("ours", tasks)),
        harness.Subject(engines.STDLIB, lambda: peak("stdlib", tasks)),
    ]
    goals = [harness.Goal("peak_pss_mib", engines.STDLIB, required=1.8, aim=1.5, at_least=False)]
    harness.run("memory", question, subjects, goals, given)


if __name__ == "__main__":
    main()
