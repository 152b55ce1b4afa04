"""The arithmetic of the benchmarks: a wrong ratio would be a wrong claim.

Out of scope: how fast anything is.
"""

import os
import subprocess
import sys

import pytest

from bench import harness, process_tree


def test_a_ratio_is_taken_inside_each_round() -> None:
    rounds = [{"ours": {"rate": 40.0}, "pool": {"rate": 10.0}}, {"ours": {"rate": 20.0}, "pool": {"rate": 2.0}}]
    verdicts = harness.judge("ours", rounds, [harness.Goal("rate", "pool", required=4, aim=7)])
    (found,) = verdicts.values()
    assert (found["minimum"], found["median"], found["maximum"]) == (4.0, 7.0, 10.0)
    assert found["verdict"] == "aim reached"


@pytest.mark.parametrize("value,verdict", [(7.0, "aim reached"), (4.0, "as required"), (3.99, "MISSED")])
def test_more_is_better_unless_told(value: float, verdict: str) -> None:
    assert harness.Goal("rate", None, required=4, aim=7).verdict(value) == verdict


@pytest.mark.parametrize("value,verdict", [(0.2, "aim reached"), (0.35, "as required"), (0.36, "MISSED")])
def test_less_is_better_when_told(value: float, verdict: str) -> None:
    assert harness.Goal("cpu", None, required=0.35, aim=0.2, at_least=False).verdict(value) == verdict


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert harness.quantile(values, 0.5) == 51.0
    assert harness.quantile(values, 0.99) == 100.0


def test_the_cpu_of_a_child_counts_while_it_runs_and_after_it_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.35: pass\nprint(1, flush=True)\ninput()"
    before = process_tree.cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = process_tree.cpu_seconds(os.getpid()) - before
        child.communicate(b"\n")
    ended = process_tree.cpu_seconds(os.getpid()) - before
    assert running >= 0.28
    assert ended >= running


def test_a_grandchild_is_in_the_tree_and_a_stranger_is_not() -> None:
    shell = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        pids = process_tree.tree(os.getpid())
        grandchildren = [pid for pid in pids if process_tree.stat_fields(pid)[1] == str(child.pid)]
        child.communicate(b"\n")
    assert len(grandchildren) == 1
    assert os.getppid() not in pids


def test_memory_of_a_process_that_has_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert process_tree.memory([gone.pid]) == process_tree.Memory(0, 0)
    assert process_tree.memory([os.getpid()]).pss_bytes > 1_000_000
