"""Tasks of these tests."""

import time

import blockyard


def twice(number: int) -> int:
    return 2 * number


def fails(number: int) -> None:
    raise ValueError(f"number {number} is not wanted")


def naps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def says_and_fails(words: str) -> None:
    print(f"{words} before it fails")  # noqa: T201 - what it says is looked for
    raise ValueError(words)


def says(words: list[str]) -> list[bool]:
    return [blockyard.event(word, place=place) for place, word in enumerate(words)]
