"""A look at real processes by /proc: a tree is one sample."""

import os
import subprocess
import sys

from blockyard_worker.shell.sampling import sample

_PROGRAM = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import sys; print(1, flush=True); sys.stdin.read()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(1, flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""


def test_a_process_with_a_child_is_one_sample_of_both() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = sample(5, 6, 1, process.pid, 99)
        process.communicate(b"")
    assert found is not None
    assert (found.task, found.epoch, found.worker, found.pid, found.at_us) == (5, 6, 1, process.pid, 99)
    assert found.children == 1
    assert found.threads == 2
    assert found.resident_bytes > 8 << 20, "two interpreters"
    assert found.peak_bytes >= found.resident_bytes
    assert found.read_bytes > 0
    assert found.status in ("S", "R")


def test_who_is_gone_gives_no_sample() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    assert sample(1, 1, 0, process.pid, 0) is None


def test_this_process_has_used_something() -> None:
    found = sample(1, 1, 0, os.getpid(), 0)
    assert found is not None
    assert found.cpu_user_us > 0
