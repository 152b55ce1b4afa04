"""Does offering 10^7 tasks of 400 B need more memory than the limits allow, and does the journal's file stay short?

One client offers batches as fast as it can and lets results go as they come; at its limit `submit_many` waits. Memory
is the peak of all processes together (PSS), whose bound is stated in `docs/tuning.md`. The journal is looked at after
each few batches, and when everything has been collected and it has come to rest: then nothing is live, and what is left
is its floor of 12 MiB (`docs/durability.md`).
"""

import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bench import engines, harness, memory_watch
from blockyard.futures import TaskFuture

OFFERED, SMALL = 10_000_000, 200_000
BATCH = 10_000
LOOK_EVERY = 10
"""Batches between two looks at the journal."""
BODY = bytes(400)


def size_of(value: bytes) -> int:
    """The task: it takes 400 B and gives back a number."""
    return len(value)


def offered(tasks: int, folder: Path) -> Iterator[float]:
    """Offer so many tasks and collect them all; yields the size of the journal in MiB, now and then and in the end."""
    with engines.blockyard(folder=folder) as client:
        waiting: deque[TaskFuture[int]] = deque()
        collected = 0
        for batch in range(tasks // BATCH):
            waiting += client.submit_many(size_of, [BODY] * BATCH)
            while waiting and waiting[0].done():
                collected += waiting.popleft().result()
            if batch % LOOK_EVERY == 0:
                yield journal_mib(folder)
        while waiting:
            collected += waiting.popleft().result()
        if collected != tasks * len(BODY):
            raise AssertionError(f"{collected} bytes were counted, {tasks * len(BODY)} were sent")
        yield settled_mib(folder)


def settled_mib(folder: Path) -> float:
    """When it has not changed for a second: the word of what was collected, and compaction, come by themselves."""
    before, size = -1.0, journal_mib(folder)
    while size != before:
        time.sleep(1.0)
        before, size = size, journal_mib(folder)
    return size


def journal_mib(folder: Path) -> float:
    """All files of the journal together."""
    return sum(path.stat().st_size for path in folder.glob("journal.db*")) / 2**20


def main_of_child(tasks: int) -> None:
    """What is watched: it prints the largest and the last size of the journal."""
    with tempfile.TemporaryDirectory(prefix="blockyard-offered-") as name:
        sizes = list(offered(tasks, Path(name) / "state"))
    print(max(sizes), sizes[-1])


def measured(tasks: int) -> harness.Figures:
    program = f"from bench import bench_offered\nif __name__ == '__main__': bench_offered.main_of_child({tasks})"
    with (
        harness.clocked() as taken,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process,
        memory_watch.watched(process.pid) as seen,
    ):
        out, _ = process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"the measured program exited with {process.returncode}; its message is above")
    largest, last = map(float, out.split())
    return {
        "peak_pss_mib": seen.pss_bytes / 2**20,
        "rate_per_s": tasks / taken.wall,
        "journal_largest_mib": largest,
        "journal_last_mib": last,
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks = SMALL if given.small else OFFERED
    goals = [
        harness.Goal("peak_pss_mib", None, required=1536, aim=1024, at_least=False),
        harness.Goal("journal_last_mib", None, required=16, aim=12, at_least=False),
    ]
    harness.run("offered", question, [harness.Subject(engines.BLOCKYARD, lambda: measured(tasks))], goals, given)


if __name__ == "__main__":
    main()
