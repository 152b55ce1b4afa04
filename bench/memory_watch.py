"""A process beside the measured ones: samples the memory of a tree until its standard input closes, prints the peak.

In a process of its own, and left out of the sum, so that watching costs the watched nothing but a little of a core.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import process_tree

PERIOD = 0.1


@dataclass(slots=True)
class Peak:
    """Highest sums seen, in bytes; filled in when the watch ends."""

    pss_bytes: int = 0
    rss_bytes: int = 0
    samples: int = 0


@contextmanager
def watched(root: int) -> Iterator[Peak]:
    """Watch the tree of `root` for the length of the block."""
    peak = Peak()
    argv = [sys.executable, "-m", "bench.memory_watch", str(root)]
    watcher = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield peak
    finally:
        output, _ = watcher.communicate()
    found = json.loads(output)
    peak.pss_bytes, peak.rss_bytes, peak.samples = found["pss_bytes"], found["rss_bytes"], found["samples"]


def watch(root: int) -> Peak:
    peak = Peak()
    while True:
        pids = [pid for pid in process_tree.tree(root) if pid != os.getpid()]
        now = process_tree.memory(pids)
        peak.pss_bytes = max(peak.pss_bytes, now.pss_bytes)
        peak.rss_bytes = max(peak.rss_bytes, now.rss_bytes)
        peak.samples += 1
        readable, _, _ = select.select([sys.stdin], [], [], PERIOD)
        if readable:
            return peak


if __name__ == "__main__":
    seen = watch(int(sys.argv[1]))
    print(json.dumps({"pss_bytes": seen.pss_bytes, "rss_bytes": seen.rss_bytes, "samples": seen.samples}))
