"""Tasks of these tests."""

import os
import time


def works(number: int) -> int:
    """Some CPU, and a while."""
    time.sleep(0.005)
    return sum(range(20_000)) + number


def naps(seconds: float) -> None:
    time.sleep(seconds)


def fails() -> None:
    raise ValueError("on purpose")


def dies() -> None:
    os._exit(3)
