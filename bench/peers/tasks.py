"""The tasks that the neighbours run, as those of `bench/bench_*.py`: at module level, so that any engine sends them."""

import time
from typing import Any

import numpy as np

LENGTH = 0.010
ARRAY_LENGTH = 12_500  # of 8 bytes: 100 KB


def noop(value: object) -> object:
    return value


def following(number: int) -> int:
    return number + 1


def total(*numbers: int) -> int:
    return sum(numbers)


def array(number: int) -> Any:
    return np.full(ARRAY_LENGTH, float(number))


def next_after(given: Any) -> Any:
    return given + 1.0


def ten_ms(_: int) -> None:
    end = time.perf_counter() + LENGTH
    while time.perf_counter() < end:
        pass
