"""Tasks of these tests."""

import os
import signal
import time

import blockyard


def twice(number: int) -> int:
    return 2 * number


def fails(number: int) -> None:
    raise ValueError(f"number {number} is not wanted")


def naps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def prints(path: str) -> None:
    """By the way of a program, then on until the file is there."""
    os.system("echo from a shell")  # its output goes past Python's streams
    while not os.path.exists(path):
        time.sleep(0.01)


def prints_and_dies() -> None:
    print("last words", flush=True)  # noqa: T201 - that it printed is looked for
    os.kill(os.getpid(), signal.SIGKILL)


def says_and_fails(words: str) -> None:
    print(f"{words} before it fails")  # noqa: T201 - what it says is looked for
    raise ValueError(words)


def says(words: list[str]) -> list[bool]:
    return [blockyard.event(word, place=place) for place, word in enumerate(words)]
