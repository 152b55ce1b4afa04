"""Tasks of these tests."""

import time


def twice(number: int) -> int:
    return 2 * number


def fails(number: int) -> None:
    raise ValueError(f"number {number} is not wanted")


def naps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
