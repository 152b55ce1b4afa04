"""Tasks whose every execution leaves a mark in a file, and a graph of them whose right answers are known beforehand."""

import os
from collections import Counter
from pathlib import Path

from blockyard.futures import TaskFuture
from blockyard.submitter import Submitter

_MARK_BYTES = 8
_MODULUS = 1_000_003


def step(path: str, number: int, *parts: int) -> int:
    """Leave a mark, which `O_APPEND` puts in one piece behind all others, and mix the parts."""
    mark(path, number)
    return (number * 31 + sum(parts)) % _MODULUS


def mark(path: str, number: int) -> None:
    """Note that this task is executed, before anything else of it is."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, number.to_bytes(_MARK_BYTES, "big"))
    finally:
        os.close(file)


def executions(path: Path) -> Counter[int]:
    """How often each task was begun."""
    marks = path.read_bytes() if path.exists() else b""
    assert len(marks) % _MARK_BYTES == 0, f"{len(marks)} bytes of marks: one was written in pieces"
    places = range(0, len(marks), _MARK_BYTES)
    return Counter(int.from_bytes(marks[place : place + _MARK_BYTES], "big") for place in places)


class Graph:
    """Layers of tasks; each one beyond the first layer needs its two neighbours of the layer before."""

    def __init__(self, client: Submitter, path: Path, *, width: int) -> None:
        self.futures: list[TaskFuture[int]] = []
        self._client = client
        self._width = width
        self._path = str(path)

    def grow(self, layers: int) -> None:
        """Submit so many further layers."""
        for _ in range(layers):
            before = self.futures[-self._width :]
            first = len(self.futures)
            calls = [
                (self._path, first + place, *(before[other] for other in self._needs(place) if before))
                for place in range(self._width)
            ]
            self.futures += self._client.starmap(step, calls)

    def _needs(self, place: int) -> tuple[int, int]:
        return place, (place + 1) % self._width

    def expected(self) -> list[int]:
        """The results, in the order of `futures`."""
        results: list[int] = []
        for number in range(len(self.futures)):
            start = number // self._width * self._width - self._width
            needs = [results[start + other] for other in self._needs(number % self._width)] if start >= 0 else []
            results.append((number * 31 + sum(needs)) % _MODULUS)
        return results
