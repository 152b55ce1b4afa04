"""What does a no-op task cost in manager and workers together? A router in this process feeds one real manager.

Run: ``python -m tests.integration.worker.measure_cpu [tasks] [window]``. Prints rate, and CPU of manager, template and workers per task.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from blockyard.wire.records import TaskSpec
from tests.integration.worker.peer import Peer


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(tasks: int, window: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder))
        manager = peer.start(workers=2)
        try:
            peer.wait_joined()
            peer.wait_for(peer.assign(int, [()] * 2000))
            peer.outcomes.clear()
            peer.history.clear()
            pids = [
                manager.pid,
                *(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent(p) == manager.pid),
            ]
            before = {pid: cpu_seconds(pid) for pid in pids}
            started = time.monotonic()
            spec = TaskSpec(peer.function(int))
            sent = 10_000
            while len(peer.outcomes) < tasks:
                while sent - 10_000 - len(peer.outcomes) < window and sent - 10_000 < tasks:
                    peer.assign_spec(spec, [b"\x80\x05)."] * 256, sent, 1, {})
                    sent += 256
                peer.step(0.1)
            seconds = time.monotonic() - started
            print(f"{len(peer.outcomes) / seconds:,.0f} tasks/s")
            total = 0.0
            for pid in pids:
                used = cpu_seconds(pid) - before[pid]
                total += used
                print(
                    f"  pid {pid}{' (manager)' if pid == manager.pid else ''}: {used / len(peer.outcomes) * 1e6:.2f} us a task"
                )
            print(f"  together {total / len(peer.outcomes) * 1e6:.2f} us of CPU a task")
        finally:
            manager.send_signal(signal.SIGTERM)
            manager.wait(10)
            peer.close()


def parent(path: Path) -> int:
    """The parent of a process, 0 when it is gone."""
    try:
        return int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] + ["100000", "4096"][len(sys.argv) - 1 :])))
