"""A program that owns a run: ``owner.py RUN COUNT MARKS``. It submits, collects a few results, says so, and waits.

`numbered` is what its tasks do; those who reattach know by the result which task it was.
"""

import sys
import time

from blockyard import Client


def numbered(path: str, number: int) -> int:
    """Leave a mark and return the number, after a while for every tenth."""
    from tests.integration.chaos.workload import mark

    mark(path, number)
    if number % 10 == 0:
        time.sleep(0.05)
    return number


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(run: str, count: int, marks: str) -> None:
    """Own the run until killed."""
    client = Client.local(workers=2, run=run)
    futures = client.starmap(numbered, ((marks, number) for number in range(count)))
    for future in futures[:20]:
        _say(f"collected {future.result()}")
    _say("ready")
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
