"""What does a no-op task cost in manager and workers together? A router in this process feeds one real manager.

Run: ``python -m tests.integration.worker.measure_cpu [tasks] [window]``. It is no test: it writes rate and CPU a task.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from blockyard.wire.records import TaskSpec
from tests.integration.worker.peer import Peer

FRAME = 256
FIRST = 10_000


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The children of a process's main thread."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run(peer: Peer, tasks: int, window: int) -> float:
    """Feed no-op tasks, at most `window` unfinished; return the seconds that all took."""
    spec, started, sent = TaskSpec(peer.function(int)), time.monotonic(), 0
    while len(peer.outcomes) < tasks:
        while sent < tasks and sent - len(peer.outcomes) < window:
            peer.assign_spec(spec, [b"\x80\x05)."] * FRAME, FIRST + sent, 1, {})
            sent += FRAME
        peer.step(0.1)
    return time.monotonic() - started


def main(tasks: int, window: int) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder))
        manager = peer.start(workers=2)
        try:
            peer.wait_joined()
            peer.wait_for(peer.assign(int, [()] * 2000))
            peer.outcomes.clear()
            pids = [manager.pid, *children(manager.pid)]
            before = [cpu_seconds(pid) for pid in pids]
            seconds = run(peer, tasks, window)
            used = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
            done = len(peer.outcomes)
            each = ", ".join(f"{one / done * 1e6:.2f}" for one in used)
            sys.stdout.write(
                f"{done / seconds:,.0f} tasks/s, {sum(used) / done * 1e6:.2f} us of CPU a task"
                f" (manager, template, workers: {each})\n"
            )
        finally:
            manager.send_signal(signal.SIGTERM)
            manager.wait(10)
            peer.close()


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [100_000, 4096][len(given) :]))
