"""How long from an empty process (no interpreter yet) to its first result?

Each round starts a new interpreter, several times; imports, keys, journal, interchange, manager and worker are in it.
The time stops when the program says that it holds the result; its clean end is not in it.
"""

import os
import statistics
import subprocess
import sys
import time

from bench import engines, harness

STARTS, SMALL = 10, 3

OURS = """
from blockyard import Client
if __name__ == "__main__":
    with Client.local(workers=2) as client:
        print(client.submit(pow, 2, 10).result(), flush=True)
"""
STDLIB = """
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(pool.submit(pow, 2, 10).result(), flush=True)
"""


def first_result(program: str) -> float:
    """Seconds until the program has printed its first result."""
    # Byte code is kept, as on any user's machine: whoever forbids that pays for compiling at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - start
    if line.strip() != "1024" or process.returncode != 0:
        raise AssertionError(f"the program was to print 1024; it printed {line!r} and exited with {process.returncode}")
    return taken


def starts(program: str, count: int) -> harness.Figures:
    first_result(program)  # files in the page cache and byte code compiled
    taken = [first_result(program) for _ in range(count)]
    return {"first_result_s": statistics.median(taken), "slowest_s": max(taken)}


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    count = SMALL if given.small else STARTS
    subjects = [
        harness.Subject(engines.BLOCKYARD, lambda: starts(OURS, count)),
        harness.Subject(engines.STDLIB, lambda: starts(STDLIB, count)),
    ]
    goals = [harness.Goal("first_result_s", None, required=0.4, aim=0.25, at_least=False)]
    harness.run("start", question, subjects, goals, given)


if __name__ == "__main__":
    main()
