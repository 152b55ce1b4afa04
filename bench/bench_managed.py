"""What does the supervision of a managed task cost on a warm worker, and how many messages a second can it say?

A program that does nothing (`true`), and a function that does nothing in a process of its own, run one after the other
inside a task on one worker; beside them the same program by `subprocess.run` there, and a bare fork. Messages are lines
that a program writes as fast as it can; the clock is that of the whole managed task.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from bench import harness
from blockyard import Client
from blockyard.managed import BinaryExecutor, Executor
from blockyard.managed.executor import BaseExecutor

TASKS, SMALL = 200, 20
MESSAGES, FEW = 500_000, 20_000
BARE_NAME = "by hand"
SPEAKER = """
import os
out = int(os.environ["BLOCKYARD_CHANNEL"][5:].split(",")[0])
line = b'{"signal":"TASK_METRIC","contents":{"name":"n","value":1.5}}\\n'
for _ in range(%d):
    os.write(out, line)
"""


def nothing() -> None:
    """The function that is run."""


def measured(act: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        found.append(1000 * (time.perf_counter() - begun))
    return found


def timed(executor: BaseExecutor, times: int) -> list[float]:
    """Milliseconds of each run."""
    return measured(lambda: executor.execute_task().check(), times)


def managed(tasks: int, messages: int) -> dict[str, float]:
    """On the worker: all figures."""
    timed(BinaryExecutor("warm", ["true"]), 3)
    first = timed(Executor(nothing), 3)[0]
    binary = timed(BinaryExecutor("true", ["true"]), tasks)
    function = timed(Executor(nothing), tasks)
    speaker = BinaryExecutor("speaker", [sys.executable, "-S", "-c", SPEAKER % messages])
    begun = time.perf_counter()
    found = speaker.execute_task().check()
    seconds = time.perf_counter() - begun
    assert (found.record.metrics, found.record.dropped_lines) == ({"n": 1.5}, 0)
    return {
        "binary_p50_ms": statistics.median(binary),
        "binary_p95_ms": harness.quantile(binary, 0.95),
        "function_first_ms": first,
        "function_p50_ms": statistics.median(function),
        "function_p95_ms": harness.quantile(function, 0.95),
        "messages_per_s": messages / seconds,
    }


def bare(tasks: int) -> dict[str, float]:
    """On the worker: program and function without supervision."""

    def program() -> None:
        subprocess.run(["true"], capture_output=True, check=True)

    def function() -> None:
        pid = os.fork()
        if pid == 0:
            nothing()
            os._exit(0)
        os.waitpid(pid, 0)

    found = {}
    for name, act in (("binary", program), ("function", function)):
        milliseconds = measured(act, tasks)
        found[f"{name}_p50_ms"] = statistics.median(milliseconds)
        found[f"{name}_p95_ms"] = harness.quantile(milliseconds, 0.95)
    return found


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    tasks, messages = (SMALL, FEW) if given.small else (TASKS, MESSAGES)

    def ours() -> harness.Figures:
        with Client.local(workers=1) as client:
            return client.submit(managed, tasks, messages).result()

    def without() -> harness.Figures:
        with Client.local(workers=1) as client:
            return client.submit(bare, tasks).result()

    subjects = [harness.Subject("blockyard", ours), harness.Subject(BARE_NAME, without)]
    goals = [
        harness.Goal("binary_p50_ms", None, required=20.0, aim=10.0, at_least=False),
        harness.Goal("function_p50_ms", None, required=5.0, aim=4.0, at_least=False),
        harness.Goal("messages_per_s", None, required=50_000, aim=100_000),
    ]
    harness.run("managed", question, subjects, goals, given)


if __name__ == "__main__":
    main()
