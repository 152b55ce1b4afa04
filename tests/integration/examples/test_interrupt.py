"""Ctrl-C ends the main job and every process that it started.

The signal goes to the whole process group, as a terminal sends it. Out of scope: what the job works out.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import process_tree
from tests.machine import ROOT

STARTED = "blocks: 2 running"
END_SECONDS = 30.0


@pytest.fixture
def job(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The main job in a process group of its own; whatever the test did, it is killed, and its children with it."""
    argv = [sys.executable, "-u", "-m", "examples.sweep", "--folder", str(tmp_path)]
    job = subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield job
    if job.poll() is None:
        job.kill()
    job.communicate()


def alive(process: tuple[int, str]) -> bool:
    """Whether a process, by id and start time, still runs; one that nobody has waited for yet does not."""
    fields = process_tree.stat_fields(process[0])
    return bool(fields) and fields[19] == process[1] and fields[0] != "Z"


def test_an_interrupted_job_leaves_no_process_behind(job: subprocess.Popen[str]) -> None:
    assert job.stdout is not None
    seen = []
    for line in job.stdout:
        seen.append(line)
        if STARTED in line:
            break
    assert job.poll() is None, "".join(seen)
    started = [(pid, process_tree.stat_fields(pid)[19]) for pid in process_tree.tree(job.pid)]
    assert len(started) >= 6, "the job, an interchange, and two blocks with a manager and a worker each"
    os.killpg(job.pid, signal.SIGINT)
    try:
        rest, _ = job.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGABRT)  # it says where each of its threads is
        pytest.fail(f"it goes on for {END_SECONDS:g} s:\n{''.join(seen)}{job.communicate()[0]}")
    assert job.returncode == 130, rest
    assert "Traceback" not in rest
    left = [(process_tree.command(pid), pid) for pid, start in started if alive((pid, start))]
    assert left == []
